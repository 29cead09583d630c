"""A job whose attempts end to wait: for time, an instant, a signal; and retries where an attempt has got on."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Outcome, Status
from bgjobd.core.facts import (
    AttemptEnded,
    CancelRequested,
    ClockJumped,
    Fact,
    RetryRequested,
    SignalSent,
    SlotGranted,
)
from bgjobd.core.job import Carried, Ending, Job, RetryPolicy
from bgjobd.core.state_machine import IllegalFactError, advance
from bgjobd.core.verdict import StopReason, verdict
from bgjobd.core.waiting import Wait, WaitKind
from tests.core.samples import (
    BAD_ENDINGS,
    COMPLETED,
    CRASHED,
    FAILED,
    INTERRUPTED,
    NEVER_AGAIN,
    NOT_STARTED,
    NOW,
    SNOOZED,
    ended,
    ends,
    running,
    seeded,
    submitted,
)

SLEEP: Final = Ending.suspended(Wait(WaitKind.SLEEP, "", 3), 60.0)
UNTIL: Final = Ending.suspended(Wait(WaitKind.UNTIL, "", 1), None, NOW + 60)
SIGNAL: Final = Ending.suspended(Wait(WaitKind.SIGNAL, "packed", 2), None)
TIMED: Final = Ending.suspended(Wait(WaitKind.SIGNAL, "packed", 2), 60.0)


@pytest.mark.parametrize(
    ("ending", "waiting_on", "at"),
    [
        (SLEEP, "sleep 3", NOW + 60),
        (UNTIL, "until 1", NOW + 60),
        (SIGNAL, "signal packed", None),
        (TIMED, "signal packed", NOW + 60),
    ],
)
def test_an_attempt_that_ends_to_wait_has_its_job_wait_and_spends_no_retry(
    ending: Ending, waiting_on: str, at: float | None
) -> None:
    before = running(
        retry_count=2, carried=Carried(steps=4, step_bytes=9, retry_count_at_submit=1), crashes=2
    )
    assert advance(before, ends(before, ending), NOW) == before.changed(
        status=Status.PENDING,
        scheduled_at=at,
        is_waiting=True,
        outcome=Outcome.SUSPENDED,
        crashes=0,
        carried=Carried(4, 9, 0, 1, waiting_on),
    )


def test_a_wait_for_no_time_that_a_forged_journal_asks_for_is_none() -> None:
    job = running()
    after = advance(job, ends(job, Ending.suspended(Wait(WaitKind.SLEEP, "", 1), None)), NOW)
    assert (after.status, after.is_waiting, after.scheduled_at) == (Status.PENDING, False, None)


def test_once_a_cancel_was_asked_for_an_attempt_that_ends_to_wait_is_the_last() -> None:
    job = running(cancel_requested_at=NOW)
    after = advance(job, ends(job, SIGNAL), NOW)
    assert (after.status, after.is_waiting, after.carried) == (Status.CANCELLED, False, None)


@pytest.mark.parametrize("reason", list(StopReason))
def test_a_stop_amid_a_suspension_leaves_the_wait_unless_it_was_for_a_cancel(reason: StopReason) -> None:
    found = verdict(SIGNAL, reason, 5.0)
    if reason is StopReason.CANCELLED:
        assert (found.outcome, found.wait) == (Outcome.CANCELLED, None)
    else:
        assert found == SIGNAL


def test_a_signal_has_a_job_that_waits_go_on_at_once() -> None:
    job = running()
    waits = advance(job, ends(job, TIMED), NOW)
    after = advance(waits, SignalSent("packed"), NOW + 1)
    assert after == waits.changed(is_waiting=False, scheduled_at=None)


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.PENDING])
def test_a_signal_wakes_none_but_who_is_pending(status: Status) -> None:
    job = running() if status is Status.RUNNING else ended(status)
    with pytest.raises(IllegalFactError):
        advance(job, SignalSent("packed"), NOW)


def test_a_cancel_ends_a_wait_at_once() -> None:
    job = running()
    after = advance(advance(job, ends(job, TIMED), NOW), CancelRequested(), NOW)
    assert (after.status, after.is_waiting, after.finished_at) == (Status.CANCELLED, False, NOW)


@pytest.mark.parametrize(("ending", "moves"), [(SLEEP, True), (TIMED, True), (UNTIL, False), (SIGNAL, False)])
def test_a_clock_that_is_set_moves_spans_of_time_and_no_instants(ending: Ending, moves: bool) -> None:
    job = running()
    before = advance(job, ends(job, ending), NOW)
    after = advance(before, ClockJumped(-3600.0), NOW)
    if not moves:
        assert after == before
    elif before.scheduled_at is not None:
        assert after == before.changed(scheduled_at=before.scheduled_at - 3600)


# Retries


@pytest.mark.parametrize("ending", BAD_ENDINGS)
def test_where_an_attempt_got_on_its_bad_end_is_the_first_again(ending: Ending) -> None:
    job = running(retry_count=3, carried=Carried(steps=1, retry_count_at_submit=1))
    after = advance(job, replace(ends(job, ending), has_advanced=True), NOW)
    assert (after.status, after.retry_count) == (Status.PENDING, 2)
    assert advance(job, ends(job, ending), NOW).status is Status.FAILED


def test_a_delay_grows_anew_where_an_attempt_got_on() -> None:
    policy = RetryPolicy(max_retries=9, retry_delay=1.0, backoff="exponential")  # type: ignore[arg-type]
    job = running(retry_count=6, policy=policy)
    assert advance(job, replace(ends(job, FAILED), has_advanced=True), NOW).scheduled_at == NOW + 1


def test_without_retries_one_attempt_is_all_though_it_got_on() -> None:
    job = running(policy=RetryPolicy(max_retries=0), carried=Carried(steps=1))
    for ending in (FAILED, INTERRUPTED):
        assert advance(job, replace(ends(job, ending), has_advanced=True), NOW).status is Status.FAILED


def test_what_may_not_be_retried_is_not_though_it_got_on() -> None:
    job = running(carried=Carried(steps=1))
    assert advance(job, replace(ends(job, NEVER_AGAIN), has_advanced=True), NOW).status is Status.FAILED


def test_a_job_remembers_the_retries_that_it_was_submitted_with_until_a_person_gives_it_all() -> None:
    job = advance(None, submitted(retry_count=2), NOW)
    assert job.carried == Carried(retry_count_at_submit=2)
    assert advance(None, submitted(), NOW).carried is None
    failed = ended(Status.FAILED, carried=Carried(7, 70, 0, 2))
    assert advance(failed, RetryRequested(), NOW).carried == Carried(7, 70, 0, 0)


# Histories

SUSPENDED: Final = (SLEEP, UNTIL, SIGNAL, TIMED)
OTHERS: Final = (COMPLETED, FAILED, NEVER_AGAIN, INTERRUPTED, NOT_STARTED, SNOOZED, CRASHED)
happenings = st.one_of(
    st.sampled_from(
        [SlotGranted(), SignalSent("packed"), CancelRequested(), RetryRequested(), ClockJumped(60.0)]
    ),
    st.tuples(st.sampled_from([*SUSPENDED, *OTHERS]), st.booleans()),
)


@seeded
@given(
    st.integers(0, 3), st.integers(0, 3), st.lists(st.one_of(st.just(SlotGranted()), happenings), max_size=60)
)
def test_whatever_happens_who_waits_is_pending_and_three_bad_ends_in_a_row_are_the_last(
    max_retries: int, given_count: int, facts: list[Fact | tuple[Ending, bool]]
) -> None:
    job = advance(None, submitted(policy=RetryPolicy(max_retries), retry_count=given_count), NOW)
    spent = given_count
    for one in facts:
        fact = AttemptEnded(job.attempt, one[0], NOW, has_advanced=one[1]) if isinstance(one, tuple) else one
        before = job
        try:
            job = advance(before, fact, NOW)
        except IllegalFactError:
            continue
        if isinstance(fact, RetryRequested):
            given_count = spent = 0
        elif isinstance(fact, AttemptEnded):
            spent = given_count if fact.has_advanced else spent
            spent += _is_spent(before, fact.ending, spent)
        assert job.retry_count == spent
        assert not job.is_waiting or job.status is Status.PENDING
        if isinstance(one, tuple) and one[0] in SUSPENDED:
            assert job.is_waiting is (before.cancel_requested_at is None)


def _is_spent(job: Job, ending: Ending, spent: int) -> bool:
    """Whether one more attempt follows a bad end, and is counted."""
    is_bad = ending.may_retry and ending.spends_retry and ending.outcome is not Outcome.COMPLETED
    return is_bad and job.cancel_requested_at is None and spent < job.policy.max_retries
