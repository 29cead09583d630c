"""In which trace an attempt runs, and which span of that is its own: both follow from what is stored; no I/O."""

from __future__ import annotations

from hashlib import sha256


def span_of(token: str) -> str:
    """The span that stands for the attempt with this token, which it does not tell: 16 hex digits."""
    return sha256(f"span {token}".encode()).hexdigest()[:16]


def trace_of_its_own(database_id: str, job_id: int) -> str:
    """The trace of what runs long after its submit: 32 hex digits."""
    return sha256(f"trace {database_id} {job_id}".encode()).hexdigest()[:32]


def try_traceparent(
    submitted_in: str | None, token: str, age: float, near: float, database_id: str, job_id: int
) -> str | None:
    """What an attempt hands on as the span that it runs in, `age` seconds after its job was submitted in another one.

    It is of the same trace, beyond `near` seconds of one of its own. None where the job belongs to none.
    """
    if submitted_in is None:
        return None
    _, trace, _, flags = submitted_in.split("-")
    if age > near:
        trace = trace_of_its_own(database_id, job_id)
    return f"00-{trace}-{span_of(token)}-{flags}"
