"""A job's steps on one axis of time: what was before each attempt, what it waits for now, and where the axis ends."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bgjob.timelines import Kind, Timeline, timeline_of, waited_of

BEGIN = 1_700_000_000.0


def at(seconds: float) -> str:
    return datetime.fromtimestamp(BEGIN + seconds, UTC).isoformat()


def attempt(
    number: int, begin: float, end: float | None, outcome: str | None = "failed", **more: Any
) -> dict[str, Any]:
    told = {"number": number, "started_at": at(begin), "finished_at": None if end is None else at(end)}
    return {**told, "outcome": outcome, "spends_retry": outcome != "lost", **more}


def job(*attempts: dict[str, Any], **more: Any) -> dict[str, Any]:
    told = {
        "created_at": at(0), "scheduled_at": None, "status": "failed", "max_retries": 8, "retry_count": 0,
        "retry_delay": 8.0, "backoff": "exponential", "queue": "mail", "timeout": None, "cancel_requested_at": None,
        "finished_at": None, "key": None, "if_failed": None, "expected": None, "attempts": list(attempts),
    }  # fmt: skip
    return told | more


def read(told: Timeline) -> list[tuple[str, float, float]]:
    return [(one.words, round(one.begin - BEGIN, 3), round(one.end - BEGIN, 3)) for one in told.steps]


def test_an_attempt_that_tells_how_long_it_had_waited_has_its_delay_and_its_wait_apart() -> None:
    told = timeline_of(
        job(
            attempt(1, 58.2, 61.3, waited=58.2),
            attempt(2, 75.7, 78.8, "completed", waited=6.4),
            status="completed",
        ),
        BEGIN + 500,
    )
    assert read(told) == [
        ("Waited for a slot", 0, 58.2),
        ("Attempt 1", 58.2, 61.3),
        ("Delay before retry 1", 61.3, 69.3),
        ("Waited for a slot", 69.3, 75.7),
        ("Attempt 2", 75.7, 78.8),
    ]
    assert [one.kind for one in told.steps] == ["wait", "failed", "delay", "wait", "completed"]
    assert (told.begin, told.end) == (BEGIN, BEGIN + 78.8)


def test_where_no_attempt_tells_it_a_delay_that_is_always_the_same_does() -> None:
    told = job(attempt(1, 0, 3), attempt(2, 20, 21), backoff="constant")
    assert read(timeline_of(told, BEGIN + 30))[1:3] == [
        ("Delay before retry 1", 3, 11),
        ("Waited for a slot", 11, 20),
    ]
    assert (waited_of(told, 1), waited_of(told, 2)) == (0, 9)


def test_when_a_job_was_to_begin_tells_how_long_its_only_attempt_had_waited() -> None:
    told = job(attempt(1, 30, 31), scheduled_at=at(20))
    assert read(timeline_of(told, BEGIN + 40))[:2] == [
        ("Waited for its time", 0, 20),
        ("Waited for a slot", 20, 30),
    ]
    assert waited_of(told | {"scheduled_at": at(35)}, 1) == 30, "that is of the retry that it waits for"


def test_the_start_of_a_process_is_no_time_that_was_set() -> None:
    told = job(attempt(1, 0.2, 3, waited=0.02), attempt(2, 20, 21, waited=0.0), scheduled_at=at(19))
    assert read(timeline_of(told, BEGIN + 40))[:2] == [("Waited for a slot", 0, 0.2), ("Attempt 1", 0.2, 3)]
    behind = timeline_of(told | {"if_failed": "cancel"}, BEGIN + 40)
    assert read(behind)[0] == ("Waited for others", 0, 0.18), "which may have ended at any moment"


def test_a_time_that_was_set_is_told_however_near_it_was() -> None:
    told = job(attempt(1, 0.7, 3, waited=0.1), scheduled_at=at(0.5))
    assert read(timeline_of(told, BEGIN + 40))[:2] == [
        ("Waited for its time", 0, 0.5),
        ("Waited for a slot", 0.5, 0.7),
    ]


def test_where_nothing_tells_it_delay_and_wait_are_one_and_say_so() -> None:
    told = job(attempt(1, 0, 3), attempt(2, 20, 21))
    step = timeline_of(told, BEGIN + 30).steps[1]
    assert (step.words, step.seconds, step.note) == ("Delay before retry 1", 17, "and for a slot")
    assert waited_of(told, 2) is None


@pytest.mark.parametrize(
    ("outcome", "words", "kind"),
    [
        ("snoozed", "Snoozed", Kind.DELAY),
        ("suspended", "Waited", Kind.WAIT),
        ("cancelled", "Over, until it was retried", Kind.OVER),
        ("lost", "Delay, no retry spent", Kind.DELAY),
        ("timed_out", "Delay before retry 1", Kind.DELAY),
    ],
)
def test_what_came_after_an_attempt_is_told_by_its_end(outcome: str, words: str, kind: Kind) -> None:
    step = timeline_of(job(attempt(1, 0, 3, outcome), attempt(2, 20, 21, waited=0.0)), BEGIN + 30).steps[1]
    assert (step.words, step.kind) == (words, kind)


def test_a_job_that_was_given_up_was_over_until_somebody_retried_it_and_counts_anew() -> None:
    attempts = [attempt(number, 10.0 * number, 10.0 * number + 1, waited=0.0) for number in range(1, 6)]
    words = [
        one.words
        for one in timeline_of(job(*attempts, max_retries=1), BEGIN + 90).steps
        if one.number is None
    ]
    assert words == [
        "Waited for its time",
        "Delay before retry 1",
        "Over, until it was retried",
        "Delay before retry 1",
        "Over, until it was retried",
    ]


def test_a_wait_is_told_by_the_step_that_the_attempt_had_ended_for() -> None:
    told = job(attempt(1, 0, 1, "suspended"), attempt(2, 5, 6, "suspended"), attempt(3, 9, 10, "completed"))
    waits = [
        {"kind": "signal", "name": "packed", "attempt": 1, "began_at": at(1)},
        {"kind": "sleep", "name": "", "attempt": 2, "began_at": at(6)},
        {"kind": "step", "name": "charge", "attempt": 2, "began_at": at(7)},
    ]
    steps = timeline_of(told, BEGIN + 30, waits).steps
    assert [one.words for one in steps][1::2] == ["Waited for signal packed", "Slept"]


PENDING = {
    "its time": ({"scheduled_at": at(100)}, "Waits for its time", 100, 100),
    "a slot": ({}, "Waits for a slot", 50, None),
    "its key": ({"is_behind": True, "key": "customer:7"}, "Behind customer:7", 50, None),
    "others": ({"is_blocked": True, "waits_for": 3}, "Waits for 3 others", 50, None),
    "a signal": ({"waiting_on": "signal packed", "scheduled_at": at(80)}, "Waits for signal packed", 50, 80),
}


@pytest.mark.parametrize("name", PENDING)
def test_what_a_pending_job_waits_for_is_its_last_step(name: str) -> None:
    more, words, end, until = PENDING[name]
    told = timeline_of(job(status="pending", **more), BEGIN + 50)
    (step,) = told.steps
    assert (step.words, step.end - BEGIN, step.is_open) == (words, end, True)
    assert (step.until and step.until - BEGIN) == until
    assert told.end == BEGIN + max(end, until or 0)


def test_a_retry_that_is_due_is_told_with_its_delay_before() -> None:
    told = job(attempt(1, 0, 3), status="pending", scheduled_at=at(11), retry_count=1)
    assert read(timeline_of(told, BEGIN + 20))[1:] == [
        ("Delay before retry 1", 3, 11),
        ("Waits for a slot", 11, 20),
    ]
    assert read(timeline_of(told, BEGIN + 5))[1:] == [("Delay before retry 1", 3, 11)]


def test_while_it_runs_the_axis_goes_on_to_the_timeout_with_marks_where_others_end() -> None:
    expected = {"p50": 8.0, "p95": 45.0}
    running = job(attempt(1, 10, None, None), status="running", timeout=30.0, expected=expected)
    told = timeline_of(running, BEGIN + 15)
    assert (told.end, told.steps[-1].is_open) == (BEGIN + 40, True)
    assert told.marks == [(BEGIN + 18, "half end by here")]
    without = timeline_of(running | {"timeout": None}, BEGIN + 15)
    assert (without.end, len(without.marks)) == (BEGIN + 55, 2)


def test_a_cancel_that_was_asked_for_is_a_step_until_the_end() -> None:
    told = job(
        attempt(1, 0, 9, "cancelled"), status="cancelled", cancel_requested_at=at(4), finished_at=at(9)
    )
    assert read(timeline_of(told, BEGIN + 99))[-1] == ("Cancel asked", 4, 9)


def test_of_more_than_20_steps_the_first_5_and_the_last_14_are_told_and_how_many_are_between() -> None:
    attempts = [attempt(number, 10.0 * number, 10.0 * number + 1, waited=0.0) for number in range(1, 41)]
    told = timeline_of(job(*attempts, max_retries=99), BEGIN + 999)
    assert len(told.steps) == 20
    assert (told.steps[5].kind, told.steps[5].words) == (Kind.MORE, "31 more attempts")
    known = [*attempts[:3], *attempts[-20:]]
    assert timeline_of(job(*known, max_retries=99), BEGIN + 999).steps[5].words == "31 more attempts"


def test_what_is_not_known_and_what_is_left_out_are_one_step() -> None:
    attempts = [attempt(number, 10.0 * number, 10.0 * number + 9.99, waited=0.0) for number in range(1, 41)]
    told = timeline_of(job(*attempts[:3], *attempts[-20:], max_retries=99), BEGIN + 999)
    assert [one.words for one in told.steps if one.kind is Kind.MORE] == ["23 more attempts"]
    assert [one.number for one in told.steps[1:4]] == [1, 2, 3]


def test_earlier_attempts_that_are_not_known_are_counted() -> None:
    told = timeline_of(job(attempt(4, 30, 31), attempt(5, 40, 41)), BEGIN + 50)
    assert [one.words for one in told.steps] == [
        "3 more attempts",
        "Attempt 4",
        "Delay before a retry",
        "Attempt 5",
    ]


def test_an_attempt_that_never_began_has_no_length() -> None:
    lost = attempt(1, 0, 5, "not_started") | {"started_at": None}
    assert read(timeline_of(job(lost), BEGIN + 9))[-1] == ("Attempt 1", 5, 5)


def test_a_place_on_the_axis_is_within_it() -> None:
    told = Timeline((), 10.0, 20.0)
    assert [told.across(moment) for moment in (5, 10, 15, 20, 25)] == [0, 0, 0.5, 1, 1]
