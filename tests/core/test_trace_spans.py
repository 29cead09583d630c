"""An attempt as a span: below the span that its job was submitted in, or with a link to it, and by no text too much."""

from __future__ import annotations

from typing import Any

import pytest

from bgjobd.core.trace_spans import MOST, AttemptSpan, SpanPlace, try_span

TRACE, OTHER = "4bf92f3577b34da6a3ce929d0e0e4736", "a" * 32
SUBMIT = SpanPlace(TRACE, "00f067aa0ba902b7")
JOB: dict[str, Any] = {
    "id": 12,
    "class_name": "shop.Email",
    "method_name": "send",
    "queue": "mail",
    "created_at": "2024-12-04T14:31:53.000001Z",
    "scheduled_at": None,
    "traceparent": f"00-{TRACE}-{SUBMIT.span}-01",
}
ATTEMPT: dict[str, Any] = {
    "number": 1,
    "pid": 99,
    "started_at": "2024-12-04T14:31:55.500001Z",
    "finished_at": "2024-12-04T14:31:56.500001Z",
    "outcome": "completed",
    "exit_code": 0,
    "signal": None,
    "error_type": None,
    "error_class": None,
    "error_message": None,
    "code_version": "c0de",
    "host": None,
    "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
}
FAILED = {
    "outcome": "failed",
    "error_type": "Unpaid",
    "error_class": "shop.Unpaid",
    "error_message": "no money",
}


def span(**changed: Any) -> AttemptSpan:
    made = try_span(JOB, ATTEMPT | changed)
    assert made is not None
    return made


def test_an_attempt_is_a_span_below_that_of_the_submit() -> None:
    told = span()
    assert (told.place, told.parent, told.link) == (SpanPlace(TRACE, "b7ad6b7169203331"), SUBMIT, None)
    assert (told.end - told.start, told.start) == (1_000_000_000, 1733322715_500001_000)
    assert (told.name, told.error) == ("run shop.Email::send", None)
    assert told.attributes == {
        "messaging.system": "bgjobd",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "messaging.message.id": "12",
        "bgjobd.class": "shop.Email",
        "bgjobd.method": "send",
        "bgjobd.attempt": 1,
        "bgjobd.outcome": "completed",
        "bgjobd.wait": 2.5,
        "process.pid": 99,
        "process.exit.code": 0,
        "bgjobd.code_version": "c0de",
    }


def test_one_with_a_trace_of_its_own_has_a_link_to_the_submit_and_no_parent() -> None:
    told = span(traceparent=f"00-{OTHER}-b7ad6b7169203331-01")
    assert (told.place.trace, told.parent, told.link) == (OTHER, None, SUBMIT)


def test_a_bad_end_is_an_error_with_its_type() -> None:
    told = span(**FAILED)
    assert (told.error, told.attributes["error.type"]) == ("no money", "shop.Unpaid")
    assert span(outcome="lost").attributes["error.type"] == "lost"


@pytest.mark.parametrize("outcome", ["completed", "cancelled", "snoozed", "suspended"])
def test_another_end_is_no_error(outcome: str) -> None:
    told = span(outcome=outcome)
    assert told.error is None
    assert "error.type" not in told.attributes


@pytest.mark.parametrize(
    "changed",
    [
        {"finished_at": None},
        {"started_at": None},
        {"traceparent": None},
        {"traceparent": f"00-{TRACE}-b7ad6b7169203331-00"},
    ],
    ids=["it runs", "it never began", "it is of no trace", "the trace is not sampled"],
)
def test_what_is_no_span(changed: dict[str, Any]) -> None:
    assert try_span(JOB, ATTEMPT | changed) is None


def test_what_an_older_daemon_tells_is_no_span() -> None:
    assert try_span(JOB, {name: value for name, value in ATTEMPT.items() if name != "traceparent"}) is None


def test_the_wait_of_a_retry_is_told_where_the_daemon_knows_it() -> None:
    assert "bgjobd.wait" not in span(number=2).attributes
    assert span(number=2, waited=0.25).attributes["bgjobd.wait"] == 0.25


def test_a_clock_that_was_set_back_makes_no_span_that_ends_before_it_began() -> None:
    told = span(finished_at="2024-12-04T14:31:50Z")
    assert told.end == told.start
    assert span(started_at="1960-01-01T00:00:00Z", finished_at="1960-01-01T00:00:01Z").start == 0


def test_a_text_of_somebody_elses_is_cut_and_is_text() -> None:
    told = span(**FAILED | {"error_message": "\ud800" + "x" * 100_000, "error_class": "e" * 5000})
    assert told.error == "?" + "x" * (MOST - 1)
    assert len(str(told.attributes["error.type"])) == MOST
