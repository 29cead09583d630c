"""The daemon's clock: monotonic seconds shown as wall time, and the stored form of an instant."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

JUMP: Final = 1.0
"""Seconds by which wall and monotonic clock must part to count as a jump."""


class Clock:
    """Seconds since the epoch that never step: the monotonic clock plus an offset taken at start.

    A wall clock that was set is noticed by `take_jump`, and only then do these seconds follow it.
    """

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """This instant, in seconds since the epoch."""
        return time.monotonic() + self._offset

    def take_jump(self) -> float | None:
        """By how many seconds the wall clock was set since the last look, or None; the clock follows it."""
        delta = time.time() - self.now()
        if abs(delta) <= JUMP:
            return None
        self._offset += delta
        return delta


@lru_cache(maxsize=64)  # one transaction writes the same instant many times
def to_text(at: float) -> str:
    """An instant as it is stored: `2024-12-04T14:31:53.000000Z`, UTC, fixed width. ValueError beyond year 9999."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(text: str) -> float:
    """The instant of a stored text, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def boot_id() -> str:
    """The kernel's name for this boot; processes and the spool do not outlive it."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
