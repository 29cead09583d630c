"""Which job holds a unique key, for how long, and what that means to the next one that asks for it; no I/O."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Any, Final, NamedTuple

from bgjob.words import IfHeld, Outcome, Status, UniqueWhile
from bgjobd.core.job import Job


class UniqueKey(NamedTuple):
    """A key, which counts within its class and method."""

    class_name: str
    method_name: str
    key: str


@dataclass(frozen=True, slots=True)
class Unique:
    """What a request says of its key: `held_for` at least so many seconds from the submit; `at_latest` after the first
    submit the job is to start, however often it was replaced.
    """

    key: str
    holds_while: UniqueWhile = UniqueWhile.UNFINISHED
    held_for: float | None = None
    if_held: IfHeld = IfHeld.RETURN
    at_latest: float | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """Who holds a key as it is stored: beside what its status says until `held_until`, None where that says all."""

    job_id: int
    held_until: float | None = None
    submitted_uid: int | None = None


_canonical: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def derived(values: Sequence[Any]) -> str:
    """The key that parameters' values are: a digest of 16 bytes of their canonical JSON.

    >>> derived([{"b": 1, "a": [None]}]) == derived([{"a": [None], "b": 1}])
    True
    """
    return hashlib.blake2b(_canonical(values).encode(errors="surrogatepass"), digest_size=16).hexdigest()


class Verdict(StrEnum):
    """What becomes of a submit whose key somebody holds."""

    RETURNED = auto()
    REFUSED = auto()
    REPLACES = auto()


def is_held(holding: Holding, job: Job | None, now: float) -> bool:
    """Whether a stored row still says so; `job` is None where that is deleted."""
    if holding.held_until is not None and holding.held_until > now:
        return True
    if job is None or job.is_over or job.has_expired(now):
        return False
    # A row without a time is deleted with the fact that releases it: as long as it is there it holds.
    # One that a person has run again has no error, and has its key again until the attempt that comes has started; one
    # that comes back by itself has not. Nothing tells these apart where the one came back from what the other ended by.
    comes_back = job.outcome in _COME_BACK or (job.outcome in _COME_BACK_AT and job.scheduled_at is not None)
    is_anew = job.error is None and not comes_back
    has_begun = job.attempt > 0 and job.outcome is not Outcome.NOT_STARTED and not is_anew
    return holding.held_until is None or job.unique_while is UniqueWhile.UNFINISHED or not has_begun


_COME_BACK: Final = frozenset({None, Outcome.SUSPENDED})
_COME_BACK_AT: Final = frozenset({Outcome.SNOOZED, Outcome.LOST, Outcome.SIGNALLED, Outcome.EXITED})
"""How attempts end after which another comes by itself, without an error; of these at a time, unless somebody changed
that. One that a person runs again at a time, and that has ended so, is taken for such a one, and has its key no more.
"""


def verdict(unique: Unique, holder: Job | None, may_replace: bool) -> Verdict:
    """Of a submit whose key is held; one that has had an attempt, or has ended, is never replaced."""
    match unique.if_held:
        case IfHeld.REFUSE:
            return Verdict.REFUSED
        case IfHeld.REPLACE if may_replace and holder is not None and is_replaceable(holder):
            return Verdict.REPLACES
        case _:
            return Verdict.RETURNED


def is_replaceable(job: Job) -> bool:
    """Whether another call may take its place: it has had no attempt, and has no steps of another job."""
    has_steps = job.carried is not None and job.carried.steps > 0
    return job.status is Status.PENDING and job.attempt == 0 and job.takes is None and not has_steps


def bounded(scheduled_at: float | None, created_at: float, at_latest: float | None) -> float | None:
    """When a replaced job is to start, so that a steady stream cannot put it off for ever."""
    if scheduled_at is None or at_latest is None:
        return scheduled_at
    return min(scheduled_at, created_at + at_latest)
