"""The values of what waits for somebody: its kinds, the numbers they are looked for with, and what is looked at.

What is found among that is for `needs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from bgjobd.core.expectation import SLOW_TIMES
from bgjobd.core.peers import Peer

MOST: Final = 100
"""So many are told; beyond that, how many more there are."""

DAY: Final = 86_400.0


class Kind(StrEnum):
    """The kinds, in the order in which they are shown."""

    STORAGE = "storage"
    NO_CODE = "no_code"
    DAEMON = "daemon"
    UNAVAILABLE = "unavailable"
    QUARANTINED = "quarantined"
    REVIEW = "review"
    NEW_ERROR = "new_error"
    RISING_ERROR = "rising_error"
    PAUSED = "paused"
    OLDEST_PENDING = "oldest_pending"
    SLOW = "slow"
    REFUSED = "refused"
    MISSED = "missed"
    SCHEDULE_FAILS = "schedule_fails"
    DISK = "disk"
    HOST = "host"
    FAILED = "failed"
    FAILURE_RATE = "failure_rate"
    NO_SUCCESS = "no_success"


REASONS: Final = frozenset({Kind.STORAGE, Kind.NO_CODE, Kind.UNAVAILABLE, Kind.REFUSED, Kind.DISK})
"""Those by which a daemon does not do well; by the others it does."""


ASKED: Final = frozenset({Kind.FAILED, Kind.FAILURE_RATE, Kind.NO_SUCCESS})
"""Those that are looked for only where a rule asks for them."""

BY_ERROR: Final = frozenset({Kind.NEW_ERROR, Kind.RISING_ERROR, Kind.FAILED})
"""Those that are about an error, of which one is found at a time."""
KEYS: Final[Mapping[Kind, frozenset[str]]] = MappingProxyType(
    {kind: frozenset[str]() for kind in Kind}
    | dict.fromkeys(
        (Kind.UNAVAILABLE, Kind.QUARANTINED, Kind.REVIEW, Kind.NEW_ERROR, Kind.FAILED), frozenset({"job"})
    )
    | dict.fromkeys((Kind.REFUSED, Kind.MISSED), frozenset({"schedule"}))
    | {
        Kind.RISING_ERROR: frozenset({"least", "times"}),
        Kind.PAUSED: frozenset({"queue"}),
        Kind.OLDEST_PENDING: frozenset({"queue", "longer", "times"}),
        Kind.SLOW: frozenset({"job", "times", "least"}),
        Kind.SCHEDULE_FAILS: frozenset({"schedule", "last"}),
        Kind.HOST: frozenset({"longer"}),
        Kind.FAILURE_RATE: frozenset({"job", "over", "above", "least"}),
        Kind.NO_SUCCESS: frozenset({"job", "within"}),
    }
)
"""What of a rule means something to each kind."""

OF_METHODS: Final = frozenset({Kind.SLOW, Kind.NO_SUCCESS})
"""The kinds to which a method of the `job` means something."""

COUNTED_FOR: Final = 3600.0
"""Seconds for which it is counted how attempts end: the longest `over` of a rule."""


class Need(NamedTuple):
    """What waits for somebody since an instant: of each kind one for each `subject`; `hint` is what to do, `jobs` how
    many it is about, where it is about some. What has a higher `grade` is news, though the same was told with a lower.
    """

    kind: Kind
    subject: str
    since: float
    sentence: str
    hint: str | None = None
    jobs: int = 1
    grade: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """With which numbers a kind is looked for, and of what; None: of all. Times in seconds; `above` is a share."""

    kind: Kind
    job: str | None = None
    queue: str | None = None
    schedule: str | None = None
    longer: float = 0.0
    times: float = 0.0
    least: int = 0
    last: int = 0
    over: float = 0.0
    above: float = 0.0
    within: float = 0.0

    def is_of(self, class_name: str, method_name: str | None = None) -> bool:
        """Whether it asks for jobs of this class, or this method."""
        if self.job is None or self.job == class_name:
            return True
        return method_name is not None and self.job == f"{class_name}::{method_name}"


USUAL: Final[Mapping[Kind, Rule]] = MappingProxyType(
    {kind: Rule(kind) for kind in Kind}
    | {
        Kind.RISING_ERROR: Rule(Kind.RISING_ERROR, least=5, times=3.0),
        Kind.OLDEST_PENDING: Rule(Kind.OLDEST_PENDING, longer=600.0, times=3.0),
        Kind.SLOW: Rule(Kind.SLOW, times=SLOW_TIMES, least=20),
        Kind.SCHEDULE_FAILS: Rule(Kind.SCHEDULE_FAILS, last=3),
        Kind.HOST: Rule(Kind.HOST, longer=60.0),
        Kind.FAILURE_RATE: Rule(Kind.FAILURE_RATE, over=900.0, above=0.2, least=20),
    }
)
"""The numbers by which each kind is looked for where no configuration says other ones."""


# What is looked at


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: since when the oldest of its jobs that are due waits; what 95 of 100 wait at most, None: unknown."""

    name: str
    is_paused: bool = False
    resumes_at: float | None = None
    oldest_due: float | None = None
    usual_wait: float | None = None


@dataclass(frozen=True, slots=True)
class Crashed:
    """Jobs of a class that were given up for their crashes within a day, `since` then until `last_at`; its words."""

    class_name: str
    jobs: int
    since: float
    last_at: float
    message: str


@dataclass(frozen=True, slots=True)
class HeldClass:
    """A class none of whose jobs start, for they crash, or somebody has asked for it."""

    class_name: str
    since: float
    message: str
    next_try_at: float | None = None
    is_asked: bool = False


@dataclass(frozen=True, slots=True)
class ForReview:
    """Failed jobs of a class of which nobody knows what they did; `is_more`: not all of them were counted."""

    class_name: str
    jobs: int
    since: float
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class MetError:
    """An error that is new, or back since `back_at`; `title` is as a list has it."""

    id: int
    title: str
    class_name: str
    first_at: float
    back_at: float | None
    attempts: int
    failed: int
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class RisingError:
    """An error by which so many jobs have `failed` in the last hour, and so many in a usual one; None: too little is
    known of it. `since` is when the first hour began that counts.
    """

    id: int
    title: str
    class_name: str
    failed: int
    usual: float | None
    since: float


class Minute(NamedTuple):
    """How many attempts of a class have ended in the minute that began at `at`, and how many of these badly."""

    at: float
    ended: int
    bad: int


@dataclass(frozen=True, slots=True)
class Run:
    """An attempt that runs, and the 95th percentile of so many `runs` of its method that completed, in seconds."""

    job_id: int
    class_name: str
    method_name: str
    started_at: float
    p95: float
    runs: int


@dataclass(frozen=True, slots=True)
class SkippedLast:
    """The last occurrences of a schedule, so many in a row, that should have become jobs."""

    schedule: str
    at: float
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class FailedInRow:
    """How many jobs of a schedule have failed in a row, up to the last that has ended, and when the first did."""

    schedule: str
    jobs: int
    since: float
    last_job: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What a daemon knows. `known_since` is when that was first seen which tells no time of its own, by kind, subject.

    `is_loading`: no code is there for it is being imported, which has not failed.
    `held_back` are classes that get no start for their working directories, `refused` schedules that make no jobs,
    `disks` file systems that are nearly full, by their path, each with why. `ended_early`: when it was found that the
    daemon before this one had ended without a word; `fork_server_ends` when fork servers ended by themselves.
    `failures` are errors by which jobs have failed within a day, `attempts` how those of each class have ended of late.
    `successes` has when the last of a rule's jobs completed, by its `job`, `loaded` since when the rule is there.
    """

    host: str
    storage_trouble: str | None = None
    has_code: bool = True
    is_loading: bool = False
    ended_early: float | None = None
    fork_server_ends: tuple[float, ...] = ()
    unavailable: Mapping[str, str] = field(default_factory=dict)
    hints: Mapping[str, str] = field(default_factory=dict)
    held_back: Mapping[str, str] = field(default_factory=dict)
    crashed: tuple[Crashed, ...] = ()
    held: tuple[HeldClass, ...] = ()
    review: tuple[ForReview, ...] = ()
    errors: tuple[MetError, ...] = ()
    rising: tuple[RisingError, ...] = ()
    queues: tuple[Queue, ...] = ()
    runs: tuple[Run, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[MetError, ...] = ()
    attempts: Mapping[str, tuple[Minute, ...]] = field(default_factory=dict)
    successes: Mapping[str, float] = field(default_factory=dict)
    loaded: Mapping[Rule, float] = field(default_factory=dict)
    skipped: tuple[SkippedLast, ...] = ()
    failed_in_row: tuple[FailedInRow, ...] = ()
    disks: Mapping[str, str] = field(default_factory=dict)
    peers: tuple[Peer, ...] = ()
    known_since: Mapping[tuple[str, str], float] = field(default_factory=dict)
