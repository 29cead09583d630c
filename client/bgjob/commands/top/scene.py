"""What `bgjob top` knows: how the daemon stood when it was last asked, and what follows from several answers; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from bgjob import errors_told, text
from bgjob.commands.top.one_job import OneError, OneJob

Key = tuple[int, int]
"""A job's id and the attempt's number."""

_SHORTEST: Final = 1.0
"""Seconds over which CPU time is compared at least: the kernel counts it in hundredths."""


class Kind(Enum):
    """What a row is about."""

    RUNNING = "running"
    FAILED = "failed"
    ERROR = "error"
    QUEUE = "queue"


Name = tuple[Kind, int | str, int]


class Look(NamedTuple):
    """The daemon's answers of one moment: as Stats, Running and List have them, the failed jobs newest first.

    `needs` as Needs has them, `errors` as Errors, where somebody wants to see these; `one` is the job, or the
    error, that is `read`, None where it is not there.
    """

    stats: Mapping[str, Any]
    attempts: list[dict[str, Any]]
    failed: list[dict[str, Any]]
    needs: list[dict[str, Any]] = []  # noqa: RUF012  # never changed
    errors: list[dict[str, Any]] | None = None
    one: OneJob | OneError | None = None
    read: Name | None = None


class Rates(NamedTuple):
    """How many jobs end a minute."""

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


class Row(NamedTuple):
    """Something that can be selected: an attempt that runs, a failed job, an error, by its id, or a queue."""

    kind: Kind
    job_id: int
    number: int
    told: Mapping[str, Any]

    @property
    def name(self) -> Name:
        """The same from one look to the next."""
        return self.kind, self.told["name"] if self.kind is Kind.QUEUE else self.job_id, self.number


def rows_of(scene: Scene, sorting: Sorting, only: str) -> list[Row]:
    """The running attempts as they are sorted, then the failed jobs, or the errors, the latest first; those whose class
    is wanted, or which have that in their title. The queues are last, whatever is wanted.
    """
    running = [
        Row(Kind.RUNNING, one["job_id"], one["number"], one) for one in _wanted(scene.look.attempts, only)
    ]
    running.sort(key=lambda row: (-_SIZES[sorting](row, scene), row.job_id))
    queues = [Row(Kind.QUEUE, 0, 0, one) for one in scene.look.stats["queues"]]
    return [*running, *_below(scene, only), *queues]


def _below(scene: Scene, only: str) -> list[Row]:
    if scene.look.errors is None:
        return [Row(Kind.FAILED, one["id"], 0, one) for one in _wanted(scene.look.failed, only)]
    wanted = only.casefold()
    return [
        Row(Kind.ERROR, one["id"], 0, one)
        for one in scene.look.errors
        if wanted in errors_told.title_of(one).casefold()
    ]


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


def rates_of(stats: Mapping[str, Any], at: float) -> Rates:
    """Of the last sixty seconds: of the minute before this one that share is taken which is among them; `at` is wall
    time.
    """
    minutes = [dict.fromkeys(Rates._fields, 0), *stats.get("minutes", [])][-2:]
    shares = 1.0 - at % 60.0 / 60.0, 1.0
    counts = [
        sum(share * one[name] for share, one in zip(shares[-len(minutes) :], minutes, strict=True))
        for name in Rates._fields
    ]
    return Rates(*counts)
