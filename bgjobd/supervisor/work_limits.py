"""Which classes get no start, for their working directories together hold more than `work_limit`: measured when their
attempts start and end, on a thread; again and again only for a class that is held; it decides nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bgjob.amounts import size_text
from bgjob.words import EntryType
from bgjobd.host import threads
from bgjobd.supervisor.work_dirs import Holding

_PAUSE: Final = 1.0
"""Seconds from one measurement of a class to its next."""

_EASE: Final = 10
"""So many times as long as a measurement took is nothing measured for that class."""

_LONGEST_PAUSE: Final = 60.0


@dataclass(slots=True, eq=False)
class _Class:
    """What is known of a class: when it may be measured again, who waits for that, and why it is held, if it is.

    `has_changed` since what is being measured was begun.
    """

    free_at: float = 0.0
    pause: float = _PAUSE
    is_being_measured: bool = False
    has_changed: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    why_held: str | None = None


class WorkLimits:
    """Holds classes. `directories` tells which of a class are in use, `limit` its limit in bytes, None for none,
    `measure` what directories hold, up to so many bytes. `on_change` is called when a class is held or let go.
    """

    def __init__(
        self,
        directories: Callable[[str], Sequence[str]],
        limit: Callable[[str], int | None],
        measure: Callable[[Sequence[str], int], Holding],
        say: Callable[[EntryType, str], None],
        on_change: Callable[[], None],
    ) -> None:
        self._directories = directories
        self._limit = limit
        self._measure = measure
        self._say = say
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._measuring = threads.one("measuring")
        self._classes: dict[str, _Class] = {}
        self._is_closed = False

    def close(self) -> None:
        self._is_closed = True
        for one in self._classes.values():
            if one.timer is not None:
                one.timer.cancel()
        self._measuring.shutdown(wait=False, cancel_futures=True)

    def held(self) -> dict[str, str]:
        """The classes that get no start, each with why, and what to do."""
        return {name: one.why_held for name, one in self._classes.items() if one.why_held is not None}

    def look(self, class_name: str) -> None:
        """An attempt of the class has ended: measure, at once or as soon as it may be measured again."""
        if self._limit(class_name) is None:
            return
        if class_name in self._classes or self._directories(class_name):
            self._look_anew(class_name)

    def look_at_all(self) -> None:
        """Limits may have changed."""
        for class_name in list(self._classes):
            self._look_anew(class_name)

    def _look_anew(self, class_name: str) -> None:
        """Measure as soon as it may be, whatever comes of what is being measured."""
        one = self._classes.setdefault(class_name, _Class())
        one.has_changed = one.is_being_measured
        self._look_at(self._loop.time(), class_name)

    def before_start(self, class_name: str, then: Callable[[], None]) -> None:
        """Call `then` once it is known whether the class is held: now, if that is known, or nothing of it runs."""
        if self._limit(class_name) is None or not self._directories(class_name):
            then()
            return
        one = self._classes.setdefault(class_name, _Class())
        if self._loop.time() >= one.free_at:
            one.waiting.append(then)  # for what is measured now, or that which begins
            self._look_at(self._loop.time(), class_name)
        else:
            then()
            self._look_at(self._loop.time(), class_name)  # in a moment: it may have grown since

    def _look_at(self, at: float, class_name: str) -> None:
        one = self._classes.setdefault(class_name, _Class())
        if self._is_closed or one.is_being_measured:
            return
        at = max(at, one.free_at)
        if one.timer is not None:
            if one.timer.when() <= at:
                return
            one.timer.cancel()
            one.timer = None
        if at > self._loop.time():
            one.timer = self._loop.call_at(at, self._start_measuring, class_name)
        else:
            self._start_measuring(class_name)

    def _start_measuring(self, class_name: str) -> None:
        one = self._classes[class_name]
        one.timer, one.is_being_measured = None, True
        limit, names = self._limit(class_name), self._directories(class_name)
        if limit is None or not names:
            self._take(class_name, limit, Holding(), 0.0)
            return
        began = self._loop.time()
        measured = self._loop.run_in_executor(self._measuring, self._measure, names, limit)
        measured.add_done_callback(lambda done: self._on_measured(class_name, limit, began, done))

    def _on_measured(self, class_name: str, limit: int, began: float, done: asyncio.Future[Holding]) -> None:
        if not done.cancelled() and not self._is_closed:
            self._take(class_name, limit, done.result(), self._loop.time() - began)

    def _take(self, class_name: str, limit: int | None, found: Holding, took: float) -> None:
        """What a class holds is known: hold it, or let it go, and look again where it is held."""
        one = self._classes[class_name]
        one.is_being_measured = False
        one.free_at = self._loop.time() + max(_PAUSE, _EASE * took)
        before = one.why_held
        one.why_held = (
            None if limit is None or not found.is_beyond(limit) else _told(class_name, limit, found)
        )
        if one.why_held is None:
            one.pause = _PAUSE
        else:
            self._look_at(self._loop.time() + one.pause, class_name)
            one.pause = min(one.pause * 2, _LONGEST_PAUSE)
        if (before is None) != (one.why_held is None):
            self._tell(class_name, one.why_held)
            self._on_change()
        has_changed, one.has_changed = one.has_changed, False
        if one.why_held is None and not self._directories(class_name):
            del self._classes[class_name]
        elif has_changed:
            self._look_at(self._loop.time(), class_name)
        waiting, one.waiting = one.waiting, []
        for then in waiting:
            then()

    def _tell(self, class_name: str, why: str | None) -> None:
        if why is None:
            self._say(
                EntryType.INFO, f"the working directories of {class_name} are below its work_limit again"
            )
        else:
            self._say(EntryType.FAILURE, f"no job of {class_name} starts: {why}")


def _told(class_name: str, limit: int, found: Holding) -> str:
    holds = f"hold {size_text(found.size)} and more" if found.is_cut else f"hold {size_text(found.size)}"
    if found.size <= limit:
        holds = "have more files, or deeper, than are counted"
    return (
        f"the working directories of its attempts that run {holds}, and its work_limit is {size_text(limit)}; once "
        "they end, or remove files, it goes on; see what they write there, or raise work_limit"
    )
