"""In which trace an attempt runs: that of its submit while it is near, and as a span that follows from its token."""

from __future__ import annotations

import hashlib

import pytest

from bgjob.traces import is_traceparent
from bgjobd.core.traces import span_of, trace_of_its_own, try_traceparent

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SUBMIT = f"00-{TRACE}-00f067aa0ba902b7-01"
TOKEN = "0123456789abcdef"


def handed_on(age: float, submitted_in: str | None = SUBMIT, token: str = TOKEN) -> str | None:
    return try_traceparent(submitted_in, token, age, 3600.0, "database", 7)


def test_an_attempt_goes_on_with_the_trace_as_a_span_of_its_own() -> None:
    span = hashlib.sha256(f"span {TOKEN}".encode()).hexdigest()[:16]
    assert handed_on(3600.0) == f"00-{TRACE}-{span}-01"
    assert TOKEN not in str(handed_on(1.0))


def test_each_attempt_is_another_span() -> None:
    assert span_of("a") != span_of("b")
    assert handed_on(1.0) != handed_on(1.0, token="b")


def test_what_starts_long_after_its_submit_has_a_trace_of_its_own_which_is_the_same_for_all_its_attempts() -> (
    None
):
    far = str(handed_on(3600.1))
    assert far.split("-")[1] == trace_of_its_own("database", 7) != TRACE
    assert str(handed_on(90_000.0, token="b")).split("-")[1] == far.split("-")[1]
    assert far.endswith("-01")
    assert trace_of_its_own("database", 7) != trace_of_its_own("database", 8)


def test_what_was_submitted_in_no_trace_runs_in_none() -> None:
    assert handed_on(1.0, submitted_in=None) is None


def test_whatever_version_it_came_in_it_is_handed_on_as_one_that_anybody_reads() -> None:
    told = handed_on(1.0, submitted_in=f"cc-{TRACE}-00f067aa0ba902b7-00")
    assert is_traceparent(told)
    assert str(told).startswith(f"00-{TRACE}-")
    assert str(told).endswith("-00")


@pytest.mark.parametrize("age", [0.0, 1e9])
def test_what_is_handed_on_is_a_traceparent(age: float) -> None:
    assert is_traceparent(handed_on(age))
