"""In which trace an attempt runs, and which span of that is its own: both follow from what is stored; no I/O."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple


class Belonging(NamedTuple):
    """To which trace an attempt belongs: the span that its job was submitted in, and how many seconds after that it got
    its slot; 0 for what is of no attempt.
    """

    submitted_in: str
    age: float


def span_of(token: str) -> str:
    """The span that stands for the attempt with this token, which it does not tell: 16 hex digits."""
    return sha256(f"span {token}".encode()).hexdigest()[:16]


def trace_of_its_own(database_id: str, job_id: int) -> str:
    """The trace of what runs long after its submit: 32 hex digits."""
    return sha256(f"trace {database_id} {job_id}".encode()).hexdigest()[:32]


def trace_of(place: Belonging, near: float, database_id: str, job_id: int) -> str:
    """The trace of an attempt: that of the submit, beyond `near` seconds after it one of its own; 32 hex digits."""
    if place.age > near:
        return trace_of_its_own(database_id, job_id)
    return place.submitted_in.split("-")[1]


def traceparent(place: Belonging, span: str, near: float, database_id: str, job_id: int) -> str:
    """What an attempt hands on as the `span` that it runs in."""
    flags = place.submitted_in.rpartition("-")[2]
    return f"00-{trace_of(place, near, database_id, job_id)}-{span}-{flags}"


def try_traceparent(
    submitted_in: str | None, token: str, age: float, near: float, database_id: str, job_id: int
) -> str | None:
    """The same, `age` seconds after its job was submitted in another span. None where the job belongs to none."""
    if submitted_in is None:
        return None
    return traceparent(Belonging(submitted_in, age), span_of(token), near, database_id, job_id)
