"""Items that ask something of jobs that are there: retry, cancel, change, settle, signal; of one, some or many."""

from __future__ import annotations

from dataclasses import dataclass

from bgjob.codec import JsonObject
from bgjob.words import Status
from bgjobd.core.facts import CancelRequested, Changed, RetryRequested, Settled
from bgjobd.core.many import Wish
from bgjobd.store.items.submitter import Submitter


@dataclass(frozen=True, slots=True)
class GroupCancelled:
    """Seal a group, and cancel its members that have not ended, some at a time. Answered by None."""

    id: int
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class JobRequests:
    """The same wish about several jobs, all or none. Answered by a tuple of the jobs after it, in order."""

    job_ids: tuple[int, ...]
    fact: CancelRequested | RetryRequested


@dataclass(frozen=True, slots=True)
class ManyAsked:
    """The same wish about some of many jobs, a request each, by itself: what is refused of it is left out, and so is a
    job of none of these `statuses` any more, or that has ended, or was submitted, after `as_of`.

    `what` tells of all of them in a row of changes: that of id `change`, None where there is none yet, by which
    so many were `done` and `left_out` before these, which are the last ones or not. Answered by many.Portion.
    """

    requests: tuple[JobRequests, ...]
    wish: Wish
    statuses: frozenset[Status]
    as_of: float
    at_most_once: bool
    what: JsonObject
    who: str
    change: int | None = None
    done: int = 0
    left_out: int = 0
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the job of this id, or idempotency key. Answered by the job's id, and whether it is a new one.

    `payload` is JSON text; `signal_key`, where it has one, tells it from others: one that is known is sent once.
    """

    job_id: int | None
    key: str | None
    name: str
    payload: str
    signal_key: str | None
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class JobSettled:
    """A person's word about a job for review. Answered by the job after it."""

    job_id: int
    fact: Settled


@dataclass(frozen=True, slots=True)
class JobsChanged:
    """Other terms for jobs that wait, all or none. Answered by a tuple of the ids of those that are not as before."""

    job_ids: tuple[int, ...]
    fact: Changed
    submitter: Submitter
