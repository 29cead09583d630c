"""The rules of a wish about many jobs: which it can be about, whether they are others by now, when each starts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from bgjob.filters import CANCELLED, RETRIED, WAITS
from bgjob.words import Status
from bgjobd.core.job import Job


class Wish(StrEnum):
    """What may be asked of many jobs."""

    RETRY = "retry"
    CANCEL = "cancel"


USUAL: Final[Mapping[Wish, tuple[str, ...]]] = {
    Wish.RETRY: (Status.FAILED.value,),
    Wish.CANCEL: (Status.PENDING.value, Status.RUNNING.value),
}
"""Of jobs of which statuses it is asked where nobody says that."""

WORDS: Final[Mapping[Wish, frozenset[str]]] = {
    Wish.RETRY: frozenset(RETRIED),
    Wish.CANCEL: frozenset(CANCELLED),
}
"""Of jobs of which statuses it can be asked."""

_MARGIN: Final = 10
"""Of so many that were expected there may be one more."""


def statuses_of(words: Iterable[str]) -> frozenset[Status]:
    """How a job stands of which these are true, whatever it waits for."""
    return frozenset({Status.PENDING if word in WAITS else Status(word) for word in words})


def are_others(count: int, expected: int) -> bool:
    """Whether so many are more than what somebody has looked at."""
    return (count - expected) * _MARGIN > expected


def start_of(place: int, count: int, begin: float, spread: float) -> float | None:
    """When the job in this place, from 0, of so many starts; None: at once."""
    return begin + spread * min(1.0, place / max(1, count)) if spread and place else None


def is_meant(job: Job, wish: Wish, statuses: frozenset[Status], as_of: float, at_most_once: bool) -> bool:
    """Whether it is asked of the job as it stands: not where that has become another one since it was looked up, or
    somebody has asked the same before.
    """
    at = job.finished_at if job.status.is_final else job.created_at
    if job.status not in statuses or job.is_for_review or at is None or at > as_of:
        return False
    if wish is Wish.CANCEL:
        return job.cancel_requested_at is None
    return at_most_once or job.policy.max_retries > 0
