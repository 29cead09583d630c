"""What fork servers print, on its way to the daemon's console: who does not read that holds up no import."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_STDERR: Final = 2
_AT_ONCE: Final = 64 * 1024


class Relay:
    """A pipe that is always read, where stderr is one that may not be: `take` gets what came, and never blocks.

    What lies on a disk, or goes to the journal, is written to directly: that outlives the daemon.
    """

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._ends: tuple[int, int] | None = None
        if _may_be_full(_STDERR):
            self._ends = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._ends[0], False)
            self._loop.add_reader(self._ends[0], self._on_data)

    def fileno(self) -> int:
        """What a fork server gets as its stdout and stderr."""
        return _STDERR if self._ends is None else self._ends[1]

    def close(self) -> None:
        if self._ends is None:
            return
        self._on_data()
        self._loop.remove_reader(self._ends[0])
        for end in self._ends:
            os.close(end)
        self._ends = None

    def _on_data(self) -> None:
        if self._ends is not None:
            with suppress(BlockingIOError):
                self._take(os.read(self._ends[0], _AT_ONCE))


def _may_be_full(descriptor: int) -> bool:
    """Whether it is a pipe or a terminal, which somebody has to read."""
    return stat.S_ISFIFO(os.fstat(descriptor).st_mode) or os.isatty(descriptor)
