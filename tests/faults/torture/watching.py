"""How long a torture goes on: until it has come to what it aims at, so long at most, and while it gets on at all."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Final, NamedTuple

_LOOK: Final = 0.25
_TOLD_EVERY: Final = 60.0
_PATIENCE: Final = 900.0
"""Seconds in which no job is acknowledged."""


class Progress(NamedTuple):
    """So many jobs were acknowledged, daemons ended, and crashes of the server."""

    jobs: int = 0
    kills: int = 0
    crashes: int = 0

    def __str__(self) -> str:
        return f"{self.jobs:6} acknowledged  {self.kills:4} ends of a daemon  {self.crashes:3} crashes of the server"

    def has_come_to(self, aim: Progress) -> bool:
        return all(own >= wanted for own, wanted in zip(self, aim, strict=True))


NO_AIM: Final = Progress()


def watch(seconds: float, progress: Callable[[], Progress], aim: Progress = NO_AIM) -> None:
    """Wait for the end: so many seconds, or what is aimed at before. How it goes is a line on a terminal, else one a
    minute.
    """
    began = moved = told = time.monotonic()
    clock, so_far = threading.Event(), progress()
    while (left := began + seconds - (now := time.monotonic())) > 0 and now - moved < _PATIENCE:
        before, so_far = so_far, progress()
        if aim != NO_AIM and so_far.has_come_to(aim):
            break
        moved = now if so_far.jobs != before.jobs else moved
        if sys.stderr.isatty():
            _tell(f"\r\033[K{now - began:5.0f} s  {so_far}", end="")
        elif now - told >= _TOLD_EVERY:
            told = now
            _tell(f"{now - began:5.0f} s  {so_far}")
        clock.wait(min(_LOOK, left))
    if sys.stderr.isatty():
        _tell("\r\033[K", end="")


def _tell(line: str, end: str = "\n") -> None:
    print(line, end=end, file=sys.stderr, flush=True)
