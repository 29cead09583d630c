"""What the jobs of the partition have told of themselves, and what of that must not be; pure, but for the reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.faults.books import Line

Key = tuple[int, int]
"""Of an attempt: its job, and its number."""


class Span(NamedTuple):
    """From the first to the last moment, of CLOCK_MONOTONIC, at which an attempt told that it ran; `told` is why it was
    to stop, if it was.
    """

    first: float
    last: float
    told: str = ""


class Ran(NamedTuple):
    """What the books say of an attempt, beside the name of its class and of its host."""

    class_name: str
    host: str
    outcome: str | None
    pid: int | None
    error: str | None = None


class Standstill(NamedTuple):
    """Daemon and fork server of a host were gone, or stood still, from then until then: what it ran may run twice."""

    host: str
    since: float
    until: float


class Overlap(NamedTuple):
    """Two attempts of a job that ran at once, the later one from `at` on; `host` is that of the earlier one."""

    job: int
    earlier: int
    later: int
    host: str
    at: float

    def __str__(self) -> str:
        return (
            f"job {self.job}: attempt {self.later} began while attempt {self.earlier}, on {self.host}, ran on"
        )


@dataclass(frozen=True)
class Evidence:
    """`lines` of the jobs' ledger, `effects` of what it has beside it, `attempts` as the books have them."""

    lines: Sequence[Line]
    effects: Sequence[Line]
    attempts: Mapping[Key, Ran]
    standstills: Sequence[Standstill] = field(default_factory=tuple)

    def spans(self) -> dict[Key, Span]:
        """Of each attempt that told something."""
        found: dict[Key, Span] = {}
        for line in self.effects:
            text, _, told = line.what.partition(":")
            at, key = float(text), (line.job, line.attempt)
            known = found.get(key, Span(at, at))
            found[key] = Span(min(known.first, at), max(known.last, at), known.told or told)
        return found

    def overlaps(self) -> list[Overlap]:
        """Of all jobs, by what they did, or by processes that had not ended."""
        spans = self.spans()
        pairs = {
            (job, a, b) for job, a, b in _consecutive(spans) if spans[job, b].first <= spans[job, a].last
        }
        pairs |= set(self._beside_processes())
        return [
            Overlap(job, a, b, self._host(job, a), spans[job, b].first if (job, b) in spans else 0.0)
            for job, a, b in sorted(pairs)
        ]

    def is_explained(self, overlap: Overlap) -> bool:
        """Whether the host of the earlier attempt had nobody who could have ended it."""
        return any(
            one.host == overlap.host and one.since <= overlap.at <= one.until for one in self.standstills
        )

    def margins(self) -> list[float]:
        """Seconds from the last that a lost attempt did to the first that the next one did, where hosts differ, and
        nothing has to be explained.
        """
        spans, explained = self.spans(), {one.job for one in self.overlaps() if self.is_explained(one)}
        return [
            spans[job, b].first - spans[job, a].last
            for job, a, b in _consecutive(spans)
            if self._host(job, a) != self._host(job, b)
            and self.attempts[job, a].outcome == "lost"
            and job not in explained
        ]

    def findings(self) -> Iterator[str]:
        """What must not be, in words."""
        yield from (str(overlap) for overlap in self.overlaps() if not self.is_explained(overlap))
        yield from self._once()
        yield from self._went_on()

    def _once(self) -> Iterator[str]:
        """What nobody may repeat began more than once, was told to stop, or did not come to its end."""
        begun: dict[int, int] = {}
        ended = {(line.job, line.attempt) for line in self.lines if line.what == "end"}
        for line in self.lines:
            ran = self.attempts.get((line.job, line.attempt))
            if line.what != "start" or ran is None or not ran.class_name.endswith(".Once"):
                continue
            begun[line.job] = begun.get(line.job, 0) + 1
            if (line.job, line.attempt) not in ended:
                yield f"job {line.job}, attempt {line.attempt}: nobody may repeat it, and it was ended"
        yield from (
            f"job {job}: nobody may repeat it, and it began {count} times"
            for job, count in begun.items()
            if count > 1
        )
        for (job, number), span in self.spans().items():
            ran = self.attempts.get((job, number))
            if span.told and ran is not None and ran.class_name.endswith(".Once"):
                yield f"job {job}, attempt {number}: nobody may repeat it, and it was told to stop: {span.told}"

    def _went_on(self) -> Iterator[str]:
        """What ran twice at once while its host stood still, and was not ended once that went on."""
        spans = self.spans()
        for overlap in filter(self.is_explained, self.overlaps()):
            last = spans[overlap.job, overlap.earlier].last
            until = max(
                one.until for one in self.standstills if one.host == overlap.host and one.since <= last
            )
            if last > until:
                yield f"job {overlap.job}: attempt {overlap.earlier} ran on for {last - until:.1f} s too long"

    def _beside_processes(self) -> Iterator[tuple[int, int, int]]:
        """Where an attempt found the process of an earlier one, which said so by its pid."""
        of_pids = {(line.job, line.pid): line.attempt for line in self.lines if line.what == "start"}
        for line in self.lines:
            if line.what == "overlap":
                yield line.job, of_pids[line.job, line.pid], line.attempt

    def _host(self, job: int, number: int) -> str:
        ran = self.attempts.get((job, number))
        return "" if ran is None else ran.host


def _consecutive(keys: Iterable[Key]) -> Iterator[tuple[int, int, int]]:
    """Each job's attempts, every two that follow each other."""
    for (job, earlier), (other, later) in pairwise(sorted(keys)):
        if job == other:
            yield job, earlier, later
