"""How often attempts may start: evenly, or some at once after a rest; numbers alone, no clock.

A bucket holds `burst` tokens and gets one each interval; a start takes one. What is known of it is one number, when it
would be full again: the generic cell rate algorithm, in its form of virtual scheduling (ITU-T I.371, annex A).

Whoever looks at the very moment of a token comes too late, by what a timer and a commit take, and the next token would
be counted from there: of a hundred starts a second a fifth was lost. So one may start a little early.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

ROUNDING: Final = 1e-6
"""Seconds by which an instant may have been rounded, as a column keeps it."""

_EARLIEST: Final = 0.02
_PART: Final = 0.9
"""Seconds by which a start may come before its token, and the part of an interval by which it may at most."""

_UNITS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` starts in `period` seconds, `burst` of them at once after a rest: in any t seconds no more than
    burst + (t + early) × count / period, and so in any whole number of intervals, as a period is, no more than
    burst + t × count / period.
    """

    count: int
    period: float
    burst: int = 1

    @property
    def interval(self) -> float:
        """Seconds from one token to the next."""
        return self.period / self.count

    @property
    def early(self) -> float:
        """Seconds by which a start may come before its token: less than an interval, so that no other has that, too.

        >>> [round(rate.early, 4) for rate in (Rate(100, 60.0), Rate(10, 1.0), Rate(100, 1.0))]
        [0.02, 0.02, 0.009]
        """
        return min(_EARLIEST, _PART * self.interval)

    def __str__(self) -> str:
        length, unit = next((one for one in _UNITS if self.period >= one[0]), _UNITS[-1])
        often = f"{self.count:,} in {self.period / length:.12g} {unit}"
        return often if self.burst == 1 else f"{often}, {self.burst:,} of them at once"

    def next_at(self, full_at: float) -> float:
        """From when on an attempt may start, of a bucket that is full at that time.

        >>> Rate(10, 1.0, burst=3).next_at(100.0)
        99.78
        """
        return full_at - (self.burst - 1) * self.interval - self.early

    def tokens(self, full_at: float, now: float) -> int:
        """How many may start at once now.

        >>> rate = Rate(10, 1.0, burst=3)
        >>> [rate.tokens(full_at, 100.0) for full_at in (0.0, 100.01, 100.1, 100.11, 100.21, 100.3)]
        [3, 3, 2, 2, 1, 0]
        """
        rest = now - self.next_at(max(now, full_at)) + ROUNDING
        return 0 if rest < 0 else min(self.burst, math.floor(rest / self.interval) + 1)

    def after(self, full_at: float, starts: int, now: float) -> float:
        """When the bucket would be full again, once so many have started.

        >>> Rate(10, 1.0).after(0.0, 1, 100.0)
        100.1
        """
        return max(now, full_at) + starts * self.interval

    def latest_full_at(self, now: float) -> float:
        """When a bucket would be full again that is as empty now as one can be.

        >>> Rate(10, 1.0, burst=3).latest_full_at(100.0)
        100.32
        """
        return now + self.burst * self.interval + self.early


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it is stored; nothing starts before `held_until`, as the job `held_by` has asked."""

    full_at: float = 0.0
    held_until: float | None = None
    held_by: int | None = None

    def is_held(self, now: float) -> bool:
        return self.held_until is not None and self.held_until > now


FULL: Final = Bucket()


def scope_of_class(class_name: str) -> str:
    """By what name the bucket of a class is stored."""
    return f"class:{class_name}"


def scope_of_key(queue: str, key: str) -> str:
    """The same of a key in a queue, whose name has no colon."""
    return f"key:{queue}:{key}"
