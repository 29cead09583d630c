"""The values: what of a call is shown, and how an ending names what caused it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Outcome, Status
from bgjobd.core.job import Call, Ending, Job
from bgjobd.core.masking import masked, masked_names
from tests.core.samples import CALL, FAILED, NEVER_AGAIN, seeded

SECRET = "hunter2"


def call(sensitive: tuple[str, ...], **parameters: object) -> Call:
    return replace(CALL, parameters=json.dumps(parameters), sensitive=sensitive)


# What is shown


def test_parameters_are_shown_as_the_text_they_are_where_none_is_sensitive() -> None:
    no_json = replace(CALL, parameters="{ as it came }")
    assert no_json.shown_parameters == "{ as it came }"


@pytest.mark.parametrize("value", [SECRET, {"deep": [SECRET]}, [SECRET], 0, None])
def test_a_sensitive_value_is_shown_as_stars_whatever_it_is(value: object) -> None:
    shown = call(("password",), user="é", password=value, n=2**63 - 1).shown_parameters
    assert shown == '{"user":"é","password":"***","n":9223372036854775807}'


def test_a_sensitive_parameter_that_was_not_given_is_not_shown() -> None:
    assert call(("password",), user="ann").shown_parameters == '{"user":"ann"}'


def test_a_call_never_tells_its_parameters_in_the_text_of_an_error() -> None:
    assert SECRET not in repr(call((), password=SECRET))


def test_calls_that_run_the_same_are_equal_whatever_they_may_show() -> None:
    assert call(("password",), password=SECRET) == call((), password=SECRET)
    assert call((), password=SECRET) != call((), password="other")


names = st.text(max_size=2)


@seeded
@given(st.dictionaries(names, st.integers()), st.sets(names))
def test_masking_keeps_names_and_order_and_every_other_value(
    parameters: dict[str, int], sensitive: set[str]
) -> None:
    before = dict(parameters)
    shown = masked(parameters, sensitive)
    assert list(shown) == list(before)
    assert parameters == before
    for name, value in shown.items():
        assert value == ("***" if name in sensitive else before[name])
    assert masked_names(json.dumps(before), sensitive) == sorted(sensitive.intersection(before))


# What caused an ending

STOPS = [
    (Ending.timed_out(5.0, Ending.signalled(15)), "timed_out: the attempt ran longer than 5 s"),
    (Ending.timed_out(0.25, Ending.exited(3)), "timed_out: the attempt ran longer than 0.25 s"),
    (
        Ending.timed_out(3_153_600_000.0, Ending.exited(0)),
        "timed_out: the attempt ran longer than 3153600000 s",
    ),
    (Ending.timed_out(0.1 + 0.2, Ending.exited(0)), "timed_out: the attempt ran longer than 0.3 s"),
    (Ending.cancelled(Ending.signalled(9)), "cancelled: a cancel was requested"),
    (Ending.cancelled(Ending.completed("1")), "cancelled: a cancel was requested"),
    (Ending.cancelled(Ending.lost("gone")), "cancelled: a cancel was requested"),
    (
        Ending.timed_out(5.0, Ending.failed("ValueError", "stopping")),
        "timed_out: the attempt ran longer than 5 s (ValueError: stopping)",
    ),
    (
        Ending.cancelled(Ending.failed("ValueError", "stopping")),
        "cancelled: a cancel was requested (ValueError: stopping)",
    ),
]


@pytest.mark.parametrize(("ending", "sentence"), STOPS)
def test_an_attempt_that_was_stopped_says_why_and_what_the_job_made_of_it(
    ending: Ending, sentence: str
) -> None:
    assert ending.error == sentence


def test_a_timeout_tells_where_it_was_and_then_what_it_raised() -> None:
    assert Ending.timed_out(5.0, Ending.signalled(15), "it was there\n").traceback == "it was there\n"
    raised = Ending.failed("ValueError", "stopping", "Traceback …")
    assert Ending.timed_out(5.0, raised, "it was there\n").traceback == "it was there\n\nTraceback …"
    assert Ending.timed_out(5.0, raised).traceback == "Traceback …"


def test_an_attempt_that_was_stopped_keeps_all_evidence_of_how_it_ended() -> None:
    beneath = replace(
        Ending.failed("ValueError", "stopping", "Traceback …", delay=7.5), exit_code=1, signal=15
    )
    assert Ending.timed_out(5.0, beneath) == Ending(
        Outcome.TIMED_OUT,
        exit_code=1,
        signal=15,
        error_type="ValueError",
        error_message="the attempt ran longer than 5 s (ValueError: stopping)",
        traceback="Traceback …",
        delay=7.5,
    )
    assert Ending.cancelled(Ending.exited(3)).exit_code == 3


def test_when_a_row_last_changed_tells_no_two_jobs_apart() -> None:
    job = Job(7, CALL, Status.RUNNING, queue="mail", attempt=2, updated_at=5.0)
    later = job.changed(updated_at=6.0)
    assert (later == job, later != job, hash(later) == hash(job)) == (True, False, True)
    other = job.changed(attempt=3)
    assert (other == job, other != job, job == tuple(job)) == (False, True, False)


def test_an_attempt_that_was_stopped_has_no_result() -> None:
    assert Ending.timed_out(5.0, Ending.completed("1")).result is None


def test_a_job_that_wants_no_retry_gets_none_though_it_was_stopped() -> None:
    assert not Ending.timed_out(5.0, NEVER_AGAIN).may_retry
    assert Ending.timed_out(5.0, FAILED).may_retry


def test_a_failure_may_name_the_delay_before_its_retry() -> None:
    assert Ending.failed("Retry", "busy", delay=0.0).delay == 0.0
    assert FAILED.delay is None
