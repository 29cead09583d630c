"""What a suspended job waits for: time, or a signal; no I/O, no clock."""

from __future__ import annotations

from enum import StrEnum, auto
from typing import NamedTuple


class WaitKind(StrEnum):
    """A sleep, a sleep until an instant, or the wait for a signal."""

    SLEEP = auto()
    UNTIL = auto()
    SIGNAL = auto()


class Wait(NamedTuple):
    """The `turn`-th of its kind, or of this signal's `name`, that the job comes to."""

    kind: WaitKind
    name: str
    turn: int

    def __str__(self) -> str:
        return f"{self.kind} {self.name if self.kind is WaitKind.SIGNAL else self.turn}"


def signal_of(waiting_on: str) -> str | None:
    """The signal that is waited for, by what a job's column says; None for time.

    >>> signal_of("signal packed"), signal_of("sleep 3")
    ('packed', None)
    """
    kind, _, name = waiting_on.partition(" ")
    return name if kind == WaitKind.SIGNAL else None


def moves_with_clock(waiting_on: str | None) -> bool:
    """Whether the wait is for a span of time, which goes on where a clock is set; an instant is what that shows."""
    return waiting_on is None or not waiting_on.startswith(f"{WaitKind.UNTIL} ")
