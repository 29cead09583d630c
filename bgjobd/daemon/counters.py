"""What attempts and jobs have come to since the daemon started: moved by each commit, in memory only; no I/O."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, TypeVar

from bgjob.codec import JsonObject
from bgjob.words import Outcome, Status
from bgjobd.core.schedules import Became, Skipped
from bgjobd.store.committed import Committed
from bgjobd.store.rows import text_of
from bgjobd.store.written import Kind, Row

BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Seconds up to which the buckets of a histogram reach, but for its last."""

MOST_NAMES: Final = 500
"""Of classes, queues and schedules: whoever collects what is told here keeps a series of each name for a long time."""

OTHER: Final = "(other)"
"""Where those beyond count; no class, queue or schedule can be called that."""

_FEW: Final = 20
"""Of fewer waits nobody knows what is usual."""

_WITHOUT_PROCESS: Final = frozenset({Outcome.NOT_STARTED, Outcome.LOST})
"""Nobody knows how long these took, or it means nothing."""

_SUBMITTED: Final = (Became.SUBMITTED.value, None)
"""The verdict and the reason, of which there is none."""

T = TypeVar("T")


@dataclass(slots=True)
class Histogram:
    """How many took how long, each in the first bucket whose bound it does not exceed."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def note(self, seconds: float) -> None:
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def as_json(self) -> JsonObject:
        return {"buckets": list(self.buckets), "sum": round(self.sum, 6)}

    def at_most(self, share: float, least: int) -> float | None:
        """The bound that this share of them did not exceed, or the largest there is; None of fewer than `least`."""
        count = sum(self.buckets)
        if count < least:
            return None
        place = bisect_left(list(accumulate(self.buckets)), share * count)
        return BOUNDS[min(place, len(BOUNDS) - 1)]


@dataclass(slots=True)
class ClassCounts:
    """Of one class: attempts by outcome, jobs by the status in which they ended, retries, how long attempts took."""

    attempts: Counter[Outcome] = field(default_factory=Counter)
    jobs: Counter[Status] = field(default_factory=Counter)
    retries: int = 0
    seconds: Histogram = field(default_factory=Histogram)

    def as_json(self) -> JsonObject:
        return {
            "attempts": dict(self.attempts),
            "jobs": dict(self.jobs),
            "retries": self.retries,
            "seconds": self.seconds.as_json(),
        }


@dataclass(slots=True)
class ScheduleCounts:
    """Of one schedule: occurrences by verdict and reason; when a job of it completed last, before this daemon too."""

    occurrences: Counter[tuple[str, str | None]] = field(default_factory=lambda: Counter({_SUBMITTED: 0}))
    last_success: float | None = None

    def as_json(self) -> JsonObject:
        return {
            "occurrences": [
                {"verdict": verdict, "reason": reason, "count": count}
                for (verdict, reason), count in self.occurrences.items()
            ],
            "last_success": text_of(self.last_success),
        }


class Counters:
    """All that a daemon counts; on the loop only."""

    def __init__(self) -> None:
        self._classes: dict[str, ClassCounts] = {}
        self._waits: dict[str, Histogram] = {}
        self._schedules: dict[str, ScheduleCounts] = {}

    def expect(self, classes: Iterable[str], queues: Iterable[str]) -> None:
        """Begin these at 0: who looks for a rise sees none where the first that is told is a 1."""
        for name in classes:
            _of(name, self._classes, ClassCounts)
        for name in queues:
            _of(name, self._waits, Histogram)

    def expect_schedules(self, successes: Mapping[str, float | None]) -> None:
        """The same of schedules, with when a job of each completed last."""
        for name, at in successes.items():
            counts = _of(name, self._schedules, ScheduleCounts)
            counts.last_success = at if counts.last_success is None else counts.last_success

    def note_skipped(self, name: str, skipped: Skipped) -> None:
        """Count occurrences of a schedule that became no job."""
        counts = _of(name, self._schedules, ScheduleCounts)
        counts.occurrences[Became.SKIPPED.value, skipped.reason.value] += skipped.span.count

    def note(self, committed: Committed) -> None:
        """Count what a transaction has made of attempts and jobs, and the occurrences that became jobs."""
        for attempt in committed.attempts:
            counts = _of(attempt.class_name, self._classes, ClassCounts)
            counts.attempts[attempt.outcome] += 1
            counts.retries += attempt.is_retried
            if attempt.outcome not in _WITHOUT_PROCESS:
                counts.seconds.note(attempt.seconds)
        for job in committed.ended:
            _of(job.call.class_name, self._classes, ClassCounts).jobs[job.status] += 1
            if job.schedule is not None and job.status is Status.COMPLETED:
                _of(job.schedule, self._schedules, ScheduleCounts).last_success = job.finished_at
        for row in _rows_of_occurrences(committed):
            # A row of those may have grown: their verdict tells how many.
            if row["verdict"] != Became.SKIPPED:
                _of(row["name"], self._schedules, ScheduleCounts).occurrences[str(row["verdict"]), None] += 1
        for claim in committed.claims:
            _of(claim.job.queue, self._waits, Histogram).note(claim.waited)

    def usual_wait(self, queue: str) -> float | None:
        """Seconds that 95 of 100 jobs of a queue have waited for a slot at most, as far as buckets tell; None where too
        few have.
        """
        waits = self._waits.get(queue)
        return None if waits is None else waits.at_most(0.95, _FEW)

    def as_json(self) -> JsonObject:
        """All of it, as `Stats` tells it."""
        return {
            "bounds": list(BOUNDS),
            "classes": {name: counts.as_json() for name, counts in sorted(self._classes.items())},
            "waits": {name: waits.as_json() for name, waits in sorted(self._waits.items())},
            "schedules": {name: counts.as_json() for name, counts in sorted(self._schedules.items())},
        }


def _rows_of_occurrences(committed: Committed) -> Iterator[Row]:
    for written in committed.written:
        yield from written.get(Kind.OCCURRENCES, ())


def _of(name: str, known: dict[str, T], new: Callable[[], T]) -> T:
    """What is counted for this name, or for all that came too late to have one of their own."""
    found = known.get(name)
    if found is not None:
        return found
    return known.setdefault(name if len(known) < MOST_NAMES else OTHER, new())
