"""What ended, and how queues stood, by spans of time: which span a moment is in, what counts; no I/O.

Spans are of 5 minutes, of hours and of days, each from a whole multiple of its length since 1970 on, in UTC. What
is counted in one is counted in the hour and the day that it is in as well, so an hour is the sum of its spans.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import add
from struct import Struct
from types import MappingProxyType
from typing import Final

from bgjob.words import Outcome
from bgjobd.core.digest import COUNTS, SECONDS, value_at
from bgjobd.core.expectation import OTHER

FIVE_MINUTES: Final = 300
HOUR: Final = 3600
DAY: Final = 86_400

SPANS: Final = (FIVE_MINUTES, HOUR, DAY)
"""Seconds, the shortest first."""

OF_ERRORS: Final = (HOUR, DAY)

KEPT: Final[Mapping[int, int]] = MappingProxyType({FIVE_MINUTES: 2 * DAY, HOUR: 14 * DAY, DAY: 400 * DAY})
KEPT_OF_ERRORS: Final[Mapping[int, int]] = MappingProxyType({HOUR: 2 * DAY, DAY: 90 * DAY})
"""For how many seconds spans of each length are kept."""

MOST_CLASSES: Final = 100
"""So many are told apart in a span, the others are counted together, as OTHER."""

ALL: Final = ""
"""What all classes together are called."""

GOOD: Final = frozenset({Outcome.COMPLETED, Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED})
"""How an attempt can end that did not end badly."""

_COMPLETED: Final = Outcome.COMPLETED
_WITHOUT_PROCESS: Final = frozenset({Outcome.NOT_STARTED, Outcome.LOST})
"""Nobody knows how long these took, or it means nothing."""

_INNER: Final = SECONDS.bounds[:-1]
_STORED: Final = Struct(f"<{COUNTS}I")


def begin(at: float, span: int) -> int:
    """When the span of this length began that the moment is in.

    >>> begin(7199.9, HOUR), begin(7200.0, HOUR), begin(-0.5, FIVE_MINUTES)
    (3600, 7200, -300)
    """
    return int(at // span) * span


def kept_since(now: float, span: int, kept: Mapping[int, int] = KEPT) -> int:
    """The first span of this length that is still kept."""
    return begin(now - kept[span], span)


@dataclass(slots=True)
class OfClass:
    """What ended of a class in a span: attempts that `completed`, jobs that `failed` by one, attempts that were
    `retried`, those that ended badly by outcome; how long attempts took and had waited, as counts by the bounds of
    SECONDS; seconds of `cpu`, and the most `memory` of one, in bytes.
    """

    completed: int = 0
    failed: int = 0
    retried: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    seconds: list[int] = field(default_factory=lambda: [0] * COUNTS)
    waited: list[int] = field(default_factory=lambda: [0] * COUNTS)
    cpu: float = 0.0
    memory: int = 0

    @property
    def ended(self) -> int:
        """How many attempts completed or ended badly."""
        return self.completed + sum(self.bad.values())

    def note(
        self,
        outcome: Outcome,
        seconds: float,
        *,
        has_failed: bool,
        is_retried: bool,
        waited: float | None,
        cpu: float,
        memory: int,
    ) -> None:
        """Count an attempt that has ended. What only put its job off has waited, and used something, no more."""
        if outcome is _COMPLETED:
            self.completed += 1
            self.seconds[bisect_left(_INNER, seconds)] += 1
        elif outcome not in GOOD:
            self.bad[outcome.value] += 1
            self.failed += has_failed
            self.retried += is_retried
            if outcome not in _WITHOUT_PROCESS:
                self.seconds[bisect_left(_INNER, seconds)] += 1
        if waited is not None:
            self.waited[bisect_left(_INNER, waited)] += 1
        self.cpu += cpu
        if memory > self.memory:
            self.memory = memory

    def add(self, other: OfClass) -> None:
        """Count what another has as well."""
        self.completed += other.completed
        self.failed += other.failed
        self.retried += other.retried
        if other.bad:
            self.bad.update(other.bad)
        self.seconds = list(map(add, self.seconds, other.seconds))
        self.waited = list(map(add, self.waited, other.waited))
        self.cpu += other.cpu
        self.memory = max(self.memory, other.memory)


@dataclass(slots=True)
class OfQueue:
    """The most jobs of a queue that were `pending` and `running` in a span, and the longest that one had `waited`."""

    pending: int = 0
    running: int = 0
    waited: float = 0.0

    def add(self, other: OfQueue) -> None:
        self.pending = max(self.pending, other.pending)
        self.running = max(self.running, other.running)
        self.waited = max(self.waited, other.waited)


@dataclass(slots=True)
class OfError:
    """So many attempts an error has ended in a span, and so many jobs have `failed` by it."""

    attempts: int = 0
    failed: int = 0

    def add(self, other: OfError) -> None:
        self.attempts += other.attempts
        self.failed += other.failed


def total(parts: Iterable[OfClass]) -> OfClass:
    """All of them as one."""
    whole = OfClass()
    for part in parts:
        whole.add(part)
    return whole


def bounded(classes: Mapping[str, OfClass], there: Iterable[str]) -> dict[str, OfClass]:
    """What gets a row of its own in a span where these are `there`, the busiest first; OTHER has what is beyond."""
    known = {*there} - {ALL, OTHER}
    new = sorted(classes.keys() - known - {OTHER}, key=lambda name: (-classes[name].ended, name))
    beyond = new[max(0, MOST_CLASSES - len(known)) :]
    if not beyond:
        return dict(classes)
    kept = {name: one for name, one in classes.items() if name not in {*beyond, OTHER}}
    return kept | {OTHER: total(classes[name] for name in [*beyond, OTHER] if name in classes)}


# Counts by the bounds of SECONDS


def packed(counts: Sequence[int]) -> bytes:
    """Counts as they are stored: numbers of four bytes, the least significant first."""
    return _STORED.pack(*counts)


def sum_of(stored: Iterable[bytes]) -> list[int]:
    """The sums of counts that are stored; of anything else, which is none, nothing is counted.

    All counts of one are added at once, as one large number: none of them comes near to four bytes.
    """
    those = [one for one in stored if len(one) == _STORED.size]
    if len(those) == 1:
        return list(_STORED.unpack(those[0]))
    whole = sum(int.from_bytes(one, "little") for one in those)
    return list(_STORED.unpack((whole % (1 << 8 * _STORED.size)).to_bytes(_STORED.size, "little")))


def quantiles(counts: Sequence[int], *shares: float) -> list[float | None]:
    """How many seconds each of these shares of them does not exceed; None where there are none."""
    sums = list(accumulate(counts))
    whole = sums[-1]
    return [None if whole == 0 else value_at(counts, sums, share * whole, SECONDS) for share in shares]
