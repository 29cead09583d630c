"""Asks a daemon for two attempts that are to be compared; what differs is said by `comparing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgjob.client import Client
from bgjob.comparing import MOST_OUTPUT, Place, Side
from bgjob.errors import ElsewhereError
from bgjob.text import without_terminal
from bgjob.words import Status

_NEWEST = 2
"""Completed jobs that are looked at: one of them may be the very job that is compared."""


class NoAttemptError(Exception):
    """There is none to compare; its argument is the sentence that says so."""


def both_of(client: Client, a: Place, b: Place | None) -> tuple[Side, Side]:
    """The two; without `b` the other is the last that completed. Raises NoAttemptError, JobNotFoundError."""
    side = side_of(client, a)
    return side, side_of(client, last_completed(client, side.job) if b is None else b)


def side_of(client: Client, place: Place) -> Side:
    """The attempt with the end of its output. Raises NoAttemptError, JobNotFoundError."""
    before = None if place.number is None else place.number + 1
    job = client.get(place.job_id, before=before, limit=2).snapshot  # the one before tells how long it waited
    attempts = job["attempts"]
    if not attempts:
        raise NoAttemptError(f"job {place.job_id} has not been attempted yet")
    if place.number not in (None, attempts[-1]["number"]):
        raise NoAttemptError(f"job {place.job_id} has no attempt {place.number}")
    return Side(job, attempts[-1], _output(client, job["id"], attempts[-1]["number"]))


def last_completed(client: Client, job: Mapping[str, Any]) -> Place:
    """The latest attempt of another job: of those of its method, else of its class, the one that completed last.

    Raises NoAttemptError.
    """
    for method in (job["method_name"], None):
        found = client.list(
            status=Status.COMPLETED, class_name=job["class_name"], method_name=method, limit=_NEWEST
        )
        other = next((one for one in found.items if one["id"] != job["id"]), None)
        if other is not None:
            return Place(other["id"])
    raise NoAttemptError(f"no other job of {job['class_name']} has completed")


def _output(client: Client, job_id: int, number: int) -> str | None:
    """As a terminal leaves it; None where another host alone has it."""
    try:
        data = client.output(job_id, number, tail=MOST_OUTPUT)
    except ElsewhereError:
        return None
    return without_terminal(data.decode("utf-8", "replace"))
