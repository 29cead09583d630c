"""What goes to the writer and what comes back: plain values, no closures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bgjob.words import EntryType
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    ClockJumped,
    RetryRequested,
    Submitted,
)
from bgjobd.core.job import Job


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who asked, as the kernel says; None where it does not, as for a line of the named pipe."""

    uid: int | None
    gid: int | None
    pid: int | None


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs to store, all or none. Answered by a tuple of Stored, in order."""

    jobs: tuple[Submitted, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class JobFact:
    """What an attempt of a job came to. Answered by the job after it."""

    job_id: int
    fact: AttemptStarted | AttemptEnded


@dataclass(frozen=True, slots=True)
class JobRequests:
    """The same wish about several jobs, all or none. Answered by a tuple of the jobs after it, in order."""

    job_ids: tuple[int, ...]
    fact: CancelRequested | RetryRequested


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth an entry in a job's log that changes nothing about the job. Answered by None."""

    job_id: int
    attempt: int | None
    type: EntryType
    message: str


@dataclass(frozen=True, slots=True)
class QueuePaused:
    """Grant no slots to a queue until it is resumed. Answered by None."""

    queue: str


@dataclass(frozen=True, slots=True)
class QueueResumed:
    """Grant slots to a queue again. Answered by None."""

    queue: str


@dataclass(frozen=True, slots=True)
class DaemonStarted:
    """The clock may have been set while nobody ran: hold no retry longer than its own delay. Answered by None."""


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing happened but time: see what may start. Answered by None."""


Item = (
    Submission
    | JobFact
    | JobRequests
    | Noted
    | QueuePaused
    | QueueResumed
    | ClockJumped
    | DaemonStarted
    | Look
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A submitted job's id, and whether this submission made it."""

    id: int
    created: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A job whose next attempt is to start now; the claim is committed."""

    job: Job
    token: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """A log entry as it was committed; `at` in seconds since the epoch, `context` is JSON text."""

    at: float
    type: EntryType
    message: str
    job_id: int
    attempt: int | None
    target: str
    context: str | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction, on disk: an answer (a value or an exception) a item, and what follows from it.

    `stops` are the running jobs that somebody wants cancelled, with the attempt to stop.
    `next_due` is when to look again though nothing happens, in seconds since the epoch.
    """

    answers: tuple[Any, ...]
    claims: tuple[Claim, ...]
    ended: tuple[Job, ...]
    stops: tuple[Job, ...]
    lines: tuple[LogLine, ...]
    next_due: float | None
