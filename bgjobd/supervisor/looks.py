"""Looks at attempts while they run: asks a process where it is, by the rules' order, and waits for what it tells.

One look at a time an attempt, which others share; nothing of one is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjobd.core.job import AttemptKey
from bgjobd.core.looking import PATIENCE, Way, order, why_silent
from bgjobd.forkserver.process_identity import parent
from bgjobd.supervisor.outputs import Outputs
from bgjobd.supervisor.process_view import SIGNALS, View, view
from bgjobd.supervisor.processes import is_unreaped, signal_alone
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.stacks import Stacks, text_of, try_printed, try_stacks

_FIRST_PAUSE: Final = 0.001
_LAST_PAUSE: Final = 0.05
"""Seconds until the first and the last of the looks at whether it has answered; each takes twice as long to come."""

BEGINNING: Final = 0.5
"""Seconds that an attempt has until its process is there."""

_TRIES: Final = 2
"""While the main thread starts another, that one may get the signal, of which Python knows nothing yet."""

_NOT_ASKED: Final = "no"
_MOST_PRINTED: Final = 256 * 1024


class Asked(NamedTuple):
    """Whether it may be signalled; also where that may end a call of C's; whether its copies are asked as well."""

    signal: bool = True
    insist: bool = False
    children: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, at this wall time: `answered` is who has told, "python", "c" or "no"."""

    at: float
    answered: str
    process: JsonObject
    threads: list[JsonObject] = field(default_factory=list)
    tasks: list[JsonObject] = field(default_factory=list)
    note: str | None = None

    @classmethod
    def of_nobody(cls, at: float) -> Look:
        """Of an attempt whose process is not there."""
        process: JsonObject = {"pid": 0, "state": "not there", "waits_in": None, "threads": 0, "cpu": 0.0}
        note = "it has not begun yet, or is about to end"
        return cls(at, _NOT_ASKED, process | {"children": []}, note=note)

    @property
    def text(self) -> str:
        """The same as a traceback is written."""
        process = self.process
        place = "" if process["waits_in"] is None else f" in {process['waits_in']}"
        note = "" if self.threads or self.note is None else f"; {self.note}"
        return text_of(f"it was {process['state']}{place}{note}", self.threads, self.tasks)


class GoneError(Exception):
    """Its process is not there: it has not begun, or has ended."""


class Looks:
    """Of all attempts. `ask` has a thread read what may be long, `now` is wall time."""

    def __init__(
        self, spool: Spool, outputs: Outputs, ask: Callable[..., Awaitable[Any]], now: Callable[[], float]
    ) -> None:
        self._spool, self._outputs, self._ask, self._now = spool, outputs, ask, now
        self._under_way: dict[AttemptKey, tuple[Asked, asyncio.Task[Look]]] = {}

    async def look(
        self,
        key: AttemptKey,
        pid: int,
        open_process: Callable[[], int | None],
        listens: Collection[str] | None,
        asked: Asked,
    ) -> Look:
        """Look, or share the look that is under way. `open_process` makes a pidfd of the process, None where it is
        gone; `listens` names the signals that it hears by our handlers, None where nobody knows.

        Raises GoneError, and OSError where no descriptor is to be had.
        """
        while key in self._under_way:
            others, task = self._under_way[key]
            if others == asked:
                return await asyncio.shield(task)
            await asyncio.wait([task])
        task = asyncio.get_running_loop().create_task(
            self._look(_Subject(key, pid, open_process, listens), asked)
        )
        self._under_way[key] = asked, task
        task.add_done_callback(lambda done: self._on_done(key, done))
        return await asyncio.shield(task)

    def _on_done(self, key: AttemptKey, task: asyncio.Task[Look]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever waits is told; perhaps nobody does any more

    def close(self) -> None:
        """Wait for no answer any more."""
        for _, task in self._under_way.values():
            task.cancel()

    async def _look(self, subject: _Subject, asked: Asked) -> Look:
        pidfd = subject.open_process()
        if pidfd is None:
            raise GoneError
        try:
            return await self._look_at(subject, pidfd, asked)
        finally:
            os.close(pidfd)

    async def _look_at(self, subject: _Subject, pidfd: int, asked: Asked) -> Look:
        seen = self._view(subject, pidfd)
        ways = order(seen.seen, asked.insist) if asked.signal else ()
        look = Look(self._now(), _NOT_ASKED, seen.state)
        for way in ways:
            if way is not ways[0] and way not in order(self._view(subject, pidfd).seen, asked.insist):
                continue  # it has gone on meanwhile, and waits where that would end its wait
            told = await self._tell(subject, pidfd, way, asked, seen)
            if told is not None:
                answered, stacks = told
                note = None if way is Way.ASK else why_silent(seen.seen, asked.insist)
                return Look(look.at, answered, seen.state, stacks.threads, stacks.tasks, note)
        if not asked.signal:
            return look
        note = why_silent(seen.seen, asked.insist) or "it does not answer"
        return Look(look.at, _NOT_ASKED, seen.state, note=note)

    @staticmethod
    def _view(subject: _Subject, pidfd: int) -> View:
        """Raises GoneError."""
        try:
            seen = view(subject.pid, subject.listens)
        except OSError:
            raise GoneError from None
        if seen.seen.state in ("Z", "X") or not is_unreaped(pidfd):
            raise GoneError  # or somebody else has its pid by now
        return seen

    async def _tell(self, subject: _Subject, pidfd: int, way: Way, asked: Asked, seen: View) -> _Told | None:
        """What it answers this way; None where nothing comes."""
        if way is Way.INSIST:
            return await self._told_by_c(subject, pidfd)
        return await self._told_by_python(subject, pidfd, seen.state["children"] if asked.children else [])

    async def _told_by_python(self, subject: _Subject, pidfd: int, children: list[int]) -> _Told | None:
        """What it tells in its journal, and copies of it, behind, each thread with the pid before its name; or what it
        prints, where its journal takes no more.
        """
        begin, printed = self._spool.size(subject.key), self._printed_from_now_on(subject)
        if not signal_alone(pidfd, SIGNALS[Way.ASK]):
            return None
        found: dict[int, Stacks] = {}

        async def have_recorded(pids: set[int]) -> bool:
            if self._spool.size(subject.key) > begin:
                found.update(await self._ask(self._read, subject.key, begin))
            return found.keys() >= pids

        async def has_told() -> bool:
            return await have_recorded({subject.pid}) or await printed.is_whole()

        await wait_until(has_told, PATIENCE[Way.ASK])
        own = found.get(subject.pid)
        if own is None:
            return _of_main_thread(subject, printed) if await printed.is_whole() else None
        # Not before: what they print goes to the same stderr.
        copies = {pid for pid in children if _ask_copy(subject, pid)}
        if copies:
            await wait_until(lambda: have_recorded(copies), PATIENCE[Way.ASK])
        threads, tasks = list(own.threads), list(own.tasks)
        for pid in sorted(found.keys() & copies):
            threads += [_named(one, pid) for one in found[pid].threads]
            tasks += [_named(one, pid) for one in found[pid].tasks]
        return Way.ASK, Stacks(threads, tasks)

    def _read(self, key: AttemptKey, begin: int) -> dict[int, Stacks]:
        """The newest answers by pid, of those that are some."""
        try:
            records = self._spool.read_stacks(key, begin)
        except OSError:
            return {}
        stacks = {record["pid"]: try_stacks(record) for record in records}
        return {pid: told for pid, told in stacks.items() if told is not None}

    async def _told_by_c(self, subject: _Subject, pidfd: int) -> _Told | None:
        """What it prints to stderr."""
        printed = self._printed_from_now_on(subject)
        for _ in range(_TRIES):
            if not printed.frames and signal_alone(pidfd, SIGNALS[Way.INSIST]):
                await wait_until(printed.is_whole, PATIENCE[Way.INSIST] / _TRIES)
        return _of_main_thread(subject, printed)

    def _printed_from_now_on(self, subject: _Subject) -> _Growth:
        return _Growth(self._outputs, self._ask, subject.key)


class _Growth:
    """What a process prints after this was made, and the frames of the stack in that."""

    def __init__(self, outputs: Outputs, ask: Callable[..., Awaitable[Any]], key: AttemptKey) -> None:
        self._outputs, self._ask, self._key = outputs, ask, key
        self._begin = self._seen = outputs.size(key)
        self._is_whole = False
        self.frames: list[JsonObject] = []

    async def is_whole(self) -> bool:
        """Whether all of a stack is there; reads what has come since it was last asked."""
        size = self._outputs.size(self._key)
        if size > self._seen:
            self._seen = size
            part = await self._outputs.read(self._key, self._begin, _MOST_PRINTED)
            printed = await self._ask(try_printed, part.data.decode("utf-8", "replace"))
            if printed is not None:
                self.frames, self._is_whole = printed
        return self._is_whole


_Told = tuple[Way, Stacks]
"""Who has told, and what."""


def _of_main_thread(subject: _Subject, printed: _Growth) -> _Told | None:
    if not printed.frames:
        return None
    thread = {"name": "MainThread", "native_id": subject.pid, "frames": printed.frames, "same": 1}
    return Way.INSIST, Stacks([thread], [])


class _Subject(NamedTuple):
    key: AttemptKey
    pid: int
    open_process: Callable[[], int | None]
    listens: Collection[str] | None


def _ask_copy(subject: _Subject, pid: int) -> bool:
    """Ask a process that comes from it, if that is a copy of it by fork; whether it was."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Opened before it is looked at: it is the one that came from there.
        is_from_there = _comes_from(pid, subject.pid) and os.path.samefile(
            f"/proc/{pid}/exe", f"/proc/{subject.pid}/exe"
        )
        if not is_from_there:
            return False
        ways = order(view(pid, subject.listens).seen, insist=False)
        return Way.ASK in ways and signal_alone(pidfd, SIGNALS[Way.ASK])
    except OSError:
        return False
    finally:
        os.close(pidfd)


def _comes_from(pid: int, ancestor: int) -> bool:
    while pid not in (0, 1, ancestor):
        pid = parent(pid)
    return pid == ancestor


def _named(told: JsonObject, pid: int) -> JsonObject:
    return told | {"name": f"{pid} {told['name']}"}


async def wait_until(question: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Come back once the answer is yes, or so many seconds are over."""
    pause = _FIRST_PAUSE
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await question():
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)
