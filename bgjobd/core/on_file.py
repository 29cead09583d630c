"""What the file says of a job, of one moment, as far as it bears on why that has not run or ended; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from bgjob.words import Status
from bgjobd.core.edges import Group, Node
from bgjobd.core.expectation import Expectation
from bgjobd.core.job import Ending, Job
from bgjobd.core.quarantine import ClassHold
from bgjobd.core.rates import FULL, Bucket

MOST_AHEAD: Final = 1000
"""So many jobs that go before one, or have a place of its key, are looked at; where there are more, that is said."""


@dataclass(frozen=True, slots=True)
class LatestAttempt:
    """A job's latest attempt as it is stored; instants are wall time, `ending` is None until its end is stored.

    `host` is where it is, None where there is but one.
    """

    number: int
    pid: int | None = None
    began_at: float | None = None
    ended_at: float | None = None
    ending: Ending | None = None
    host: str | None = None


class StepUnderWay(NamedTuple):
    """The step that the latest attempt began last, and has not finished."""

    name: str
    began_at: float


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that holds a slot."""

    id: int
    queue: str
    class_name: str


@dataclass(frozen=True, slots=True)
class Keeper:
    """The first of what a blocked job comes after that is not met: a job, by its status and whether it is blocked
    itself, or for review, or a group.
    """

    node: Node
    status: Status | None = None
    is_blocked: bool = False
    is_for_review: bool = False
    group: Group | None = None


class Ahead(NamedTuple):
    """How many jobs go before one, as far as that is known; `may_be_more`: others may get a turn before it yet."""

    number: int = 0
    may_be_more: bool = False


NOBODY: Final = Ahead()


@dataclass(frozen=True, slots=True)
class OfKey:
    """How it stands with the jobs of a pending job's queue and key.

    Those `running` and `ready`, which wait for a slot alone, have a place; of each MOST_AHEAD at most. `ahead` are
    those that get theirs before the job, or their slot, where it has a place. `has_come_in`: since the job is due it
    was looked at whether it gets one.
    """

    running: tuple[int, ...] = ()
    ready: tuple[int, ...] = ()
    ahead: Ahead = NOBODY
    bucket: Bucket = FULL
    has_come_in: bool = True


@dataclass(frozen=True, slots=True)
class OnFile:
    """What the file says of a job, of one moment.

    Of a pending one also since when its queue is paused and until when, how many that are due go before it in its
    queue (MOST_AHEAD or more where it is that), which jobs hold slots, what it comes after that keeps it, where it is
    blocked, how it stands with its key, if it has one, the bucket of its class, and what is known of that where its
    attempts crash. Of a running one the step it is in, and what is expected of it, where enough is known.
    Where several hosts work from the file `running` hold slots of one, and `everywhere` those of all. `was_due`: of a
    pending one the time has come, though the clock may have been set back behind that since.
    """

    job: Job
    latest: LatestAttempt | None = None
    paused_at: float | None = None
    ahead: Ahead = NOBODY
    running: tuple[RunningJob, ...] = ()
    keeper: Keeper | None = None
    resumes_at: float | None = None
    of_key: OfKey | None = None
    of_class: Bucket = FULL
    step: StepUnderWay | None = None
    everywhere: tuple[RunningJob, ...] = ()
    class_hold: ClassHold | None = None
    expected: Expectation | None = None
    was_due: bool = False

    @property
    def host(self) -> str | None:
        """Where its latest attempt is; None where there is but one host."""
        return None if self.latest is None else self.latest.host
