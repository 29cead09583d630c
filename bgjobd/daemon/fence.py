"""Until when what others may repeat may run here: moved by each beat that was acknowledged, minded by a timer.

The rule is the core's, the file is the fork server's as well, which minds it by itself. Beats are not known here.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable
from pathlib import Path

from bgjob.words import EntryType
from bgjobd.core import host_fence as rules
from bgjobd.forkserver import host_fence

_UNFINISHED = ".new"


class Fence:
    """The daemon's side. `lost_after` in seconds, None where others never take over by themselves; without a `path`
    there are no others, and all of this does nothing.

    While it `is_over` nothing may start; who wants to hear of that, and of its end, sets `on_change`.
    """

    def __init__(self, path: Path | None, lost_after: float | None) -> None:
        self._path, self._lost_after = path, lost_after
        self._alarm = None if path is None else host_fence.Alarm()
        self._until = self._wakes_at = math.inf
        self.is_over = False
        self.on_change: Callable[[], None] = lambda: None
        self._is_unwritable = False
        self._stop: Callable[[], None] = lambda: None
        self._say: Callable[[EntryType, str], None] = lambda type, text: None

    def start(self, stop_left: Callable[[], None]) -> None:
        """Mind what an earlier daemon has left, which `stop_left` ends: at once, where its time is over."""
        if self._alarm is None or self._path is None:
            return
        self._stop = stop_left
        asyncio.get_running_loop().add_reader(self._alarm, self._on_alarm)
        found = host_fence.try_read(str(self._path))
        self._until = math.inf if found is None else found
        self._mind()

    def serve(self, stop: Callable[[], None], say: Callable[[EntryType, str], None]) -> None:
        """From now on `stop` ends what others may repeat, for all of it is known."""
        self._stop, self._say = stop, say
        self._is_unwritable = False  # of which nobody was told yet
        self._mind()

    def move(self, sent_at: float) -> None:
        """A beat was acknowledged that was sent then, by this process's CLOCK_BOOTTIME. On the loop."""
        if self._alarm is None or self._path is None:
            return
        if self._lost_after is None:
            self._lift(self._path)
            return
        self._until = rules.until(self._alarm.machine_time(sent_at), self._lost_after)
        self._write(self._path)
        if self._until < self._wakes_at or self.is_over:
            self._mind()

    def stop_all(self) -> None:
        """End at once what others may repeat: they have taken this host for lost."""
        self._stop()

    def close(self) -> None:
        """Mind it no more; the fork server does."""
        if self._alarm is not None:
            asyncio.get_running_loop().remove_reader(self._alarm)
            self._alarm.close()
            self._alarm = None

    def _lift(self, path: Path) -> None:
        """Others never take over any more: who minds the file of a daemon before is told."""
        self._until = math.inf
        if path.exists():
            self._write(path)
        self._mind()

    def _write(self, path: Path) -> None:
        """Put it whole. Where that fails fork servers know an earlier time, and end attempts too early."""
        made = path.with_name(path.name + _UNFINISHED)
        try:
            made.write_bytes(host_fence.text_of(self._until))
            os.replace(made, path)
        except OSError as error:
            if not self._is_unwritable:
                text = f"{path} cannot be written: {error.strerror}; what others may repeat ends, if that goes on"
                self._say(EntryType.FAILURE, text)
            self._is_unwritable = True
        else:
            self._is_unwritable = False

    def _on_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.take()
            self._wakes_at = math.inf
            self._mind()

    def _mind(self) -> None:
        """End what is to end; else look again when the time is over, as far as it is known by now."""
        if self._alarm is None:
            return
        was_over, self.is_over = self.is_over, self._until <= self._alarm.now()
        if was_over is not self.is_over:
            self.on_change()
        if not self.is_over:
            self._wakes_at = self._until
            self._alarm.set(self._until)
            return
        if self._lost_after is not None:
            told = f"no beat that was sent in the last {self._lost_after / 2:g} s was acknowledged"
            self._say(
                EntryType.FAILURE, f"cut off from the database: {told}; what others may repeat is ended"
            )
        self._stop()
