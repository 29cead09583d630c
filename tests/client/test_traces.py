"""Which trace a job belongs to: what is said, the current span of OpenTelemetry, or what this process was given."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bgjob import submitting_calls
from bgjob.errors import InvalidParameterError
from bgjob.submission_rules import check_shape
from bgjob.traces import is_traceparent, try_current

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"
OTHER = f"00-{TRACE[::-1]}-{SPAN[::-1]}-00"

HOSTILE = [
    *("", "00", GIVEN.upper(), f"{GIVEN}\n", f" {GIVEN}", f"{GIVEN}-x", GIVEN[:-1], f"ff{GIVEN[2:]}"),
    *(
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        GIVEN.replace("-", "_"),
        GIVEN.replace("4", "٤"),
    ),
    *(f"00-{'a' * 100_000}", "\0" * 55, f"{GIVEN[:-2]}\x1b[", GIVEN.replace("f", "g")),
]


@pytest.fixture(autouse=True)
def no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEPARENT", raising=False)
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)


def have_span(monkeypatch: pytest.MonkeyPatch, is_valid: bool = True) -> None:
    """Have the application have imported OpenTelemetry, and be in a span."""
    span = SimpleNamespace(trace_id=int(TRACE, 16), span_id=int(SPAN, 16), trace_flags=1, is_valid=is_valid)
    api: Any = ModuleType("opentelemetry.trace")
    api.get_current_span = lambda: SimpleNamespace(get_span_context=lambda: span)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", api)


def told(**options: Any) -> Any:
    job = submitting_calls.job_of("shop.Mail", "send", {}, 0, options)
    return submitting_calls.submission(job, None, None, None)["options"].get("traceparent")


def test_there_is_none_where_nobody_traces() -> None:
    assert try_current() is None
    assert told() is None


def test_the_variable_tells_it_and_a_bad_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    assert told() == GIVEN
    monkeypatch.setenv("TRACEPARENT", f"{GIVEN}-bad")
    assert told() is None


def test_the_current_span_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", OTHER)
    have_span(monkeypatch)
    assert told() == GIVEN
    have_span(monkeypatch, is_valid=False)
    assert told() == OTHER


def test_what_is_said_goes_before_all_and_none_is_as_good_as_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    have_span(monkeypatch)
    assert told(traceparent=OTHER) == OTHER
    assert told(traceparent=None) == GIVEN


def test_jobs_in_bulk_are_all_of_the_same_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    have_span(monkeypatch)
    jobs = [submitting_calls.job_of("shop.Mail", "send", {"to": number}, 0, {}) for number in range(3)]
    request = submitting_calls.submit_many(jobs, None, None).parameters
    assert (len(request["each"]), request["options"]["traceparent"]) == (3, GIVEN)


@pytest.mark.parametrize("text", [GIVEN, OTHER, f"cc{GIVEN[2:]}"])
def test_what_the_w3c_calls_one_is_one(text: str) -> None:
    assert is_traceparent(text)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:20]))
def test_anything_else_is_refused(text: str) -> None:
    assert not is_traceparent(text)
    with pytest.raises(InvalidParameterError) as refused:
        check_shape({"class_name": "shop.Mail", "method_name": "send", "options": {"traceparent": text}})
    assert refused.value.parameters["parameter"] == "options.traceparent"
