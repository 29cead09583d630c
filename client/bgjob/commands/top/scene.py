"""What `bgjob top` knows: how the daemon stood when it was last asked, and what follows from several answers; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from bgjob import text
from bgjob.words import Status

Key = tuple[int, int]
"""A job's id and the attempt's number."""

_SHORTEST: Final = 1.0
"""Seconds over which CPU time is compared at least: the kernel counts it in hundredths."""


class Look(NamedTuple):
    """The daemon's answers of one moment: as Stats, Running and List have them, the failed jobs newest first."""

    stats: Mapping[str, Any]
    attempts: list[dict[str, Any]]
    failed: list[dict[str, Any]]


class Rates(NamedTuple):
    """How many jobs ended a minute since somebody watches."""

    completed: float
    failed: float


class Scene(NamedTuple):
    """A look with what surrounds it: when it was (wall time), how busy each attempt is (per cent of a CPU).

    `away` says why there has been no newer one since.
    """

    look: Look
    at: float
    busy: Mapping[Key, float]
    rates: Rates | None = None
    away: str | None = None


class Sorting(Enum):
    """What the running attempts are sorted by, the largest first."""

    AGE = "age"
    CPU = "cpu"
    MEMORY = "memory"


class Kind(Enum):
    """What a row is about."""

    RUNNING = "running"
    FAILED = "failed"


class Row(NamedTuple):
    """Something that can be selected: an attempt that runs, or a failed job."""

    kind: Kind
    job_id: int
    number: int
    told: Mapping[str, Any]

    @property
    def name(self) -> tuple[Kind, int, int]:
        """The same from one look to the next."""
        return self.kind, self.job_id, self.number


def rows_of(scene: Scene, sorting: Sorting, only: str) -> list[Row]:
    """The running attempts as they are sorted, then the failed jobs, the latest first; those whose class is wanted."""
    running = [
        Row(Kind.RUNNING, one["job_id"], one["number"], one) for one in _wanted(scene.look.attempts, only)
    ]
    failed = [Row(Kind.FAILED, one["id"], 0, one) for one in _wanted(scene.look.failed, only)]
    return sorted(running, key=lambda row: (-_SIZES[sorting](row, scene), row.job_id)) + failed


def _wanted(jobs: Iterable[dict[str, Any]], only: str) -> list[dict[str, Any]]:
    return [job for job in jobs if only.casefold() in text.target(job).casefold()]


def key_of(attempt: Mapping[str, Any]) -> Key:
    return attempt["job_id"], attempt["number"]


def age_of(attempt: Mapping[str, Any], at: float) -> float:
    """Seconds since its start; 0 where that is not known."""
    return 0.0 if attempt["started_at"] is None else max(0.0, at - text.instant(attempt["started_at"]))


_SIZES: Final[Mapping[Sorting, Callable[[Row, Scene], float]]] = {
    Sorting.AGE: lambda row, scene: age_of(row.told, scene.at),
    Sorting.CPU: lambda row, scene: scene.busy.get(key_of(row.told), -1.0),
    Sorting.MEMORY: lambda row, scene: -1 if row.told["memory"] is None else row.told["memory"],
}


# What follows from several looks


class _Known(NamedTuple):
    at: float
    cpu: float
    busy: float


class Meter:
    """How busy the attempts are: by what they used since an earlier look, at first by all that they have used."""

    def __init__(self) -> None:
        self._known: dict[Key, _Known] = {}

    def take(self, attempts: Iterable[Mapping[str, Any]], at: float, now: float) -> dict[Key, float]:
        """Per cent of a CPU for each whose use is known; `at` is wall time, `now` of a clock that only goes forward."""
        self._known = {key_of(one): self._next(one, at, now) for one in attempts if one["cpu"] is not None}
        return {key: known.busy for key, known in self._known.items()}

    def _next(self, attempt: Mapping[str, Any], at: float, now: float) -> _Known:
        before, cpu = self._known.get(key_of(attempt)), attempt["cpu"]
        if before is None:
            age = age_of(attempt, at)
            return _Known(now, cpu, 100.0 * cpu / age if age >= _SHORTEST else 0.0)
        if now - before.at < _SHORTEST:
            return before
        return _Known(now, cpu, max(0.0, 100.0 * (cpu - before.cpu) / (now - before.at)))


class Tally:
    """Counts the ends of jobs since `since`, of a clock that only goes forward."""

    def __init__(self, since: float) -> None:
        self._since = since
        self._ends = {Status.COMPLETED: 0, Status.FAILED: 0}

    def note(self, status: str) -> None:
        """A job has changed, and stands like this now."""
        if status in self._ends:
            self._ends[Status(status)] += 1

    def rates(self, now: float) -> Rates:
        """A minute's share of them; all of them, as long as no minute has passed."""
        minutes = max(1.0, (now - self._since) / 60.0)
        return Rates(*(count / minutes for count in self._ends.values()))
