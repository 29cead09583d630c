"""The life of a job as a table: each row as an example, and every pair that it does not list."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from bgjob.words import FINAL, IfFailed, Outcome, Removable, Status
from bgjobd.core.edges import Fate, Node, Of, Place, Standing
from bgjobd.core.facts import (
    AttemptStarted,
    CancelRequested,
    Changed,
    ClockJumped,
    Fact,
    PredecessorDeleted,
    PredecessorMoved,
    Refused,
    RetryRequested,
    SettledAsCompleted,
    SettledAsFailed,
    SlotGranted,
    StepSettled,
    ValuesTaken,
)
from bgjobd.core.job import Carried, Ending, Job, RetryPolicy
from bgjobd.core.state_machine import TABLE, IllegalFactError, advance, is_allowed, try_misfit
from tests.core.samples import (
    BAD_ENDINGS,
    CALL,
    COMPLETED,
    CRASHED,
    FAILED,
    INTERRUPTED,
    LOST,
    NEVER_AGAIN,
    NOT_STARTED,
    NOW,
    SNOOZED,
    STOPPED,
    THROTTLED,
    UNKNOWN,
    ended,
    ends,
    for_review,
    pending,
    running,
    submitted,
)

# The rows


def test_a_job_that_is_refused_has_failed_with_the_reason_and_no_attempt() -> None:
    job = advance(pending(), Refused("uid 33 may not submit"), NOW)
    assert (job.status, job.error, job.attempt) == (Status.FAILED, "refused: uid 33 may not submit", 0)
    assert job.finished_at == NOW
    with pytest.raises(IllegalFactError):
        advance(running(), Refused("too late"), NOW)


def test_a_submitted_job_is_pending_with_what_the_caller_gave() -> None:
    policy = RetryPolicy(max_retries=5, retry_delay=1.5)
    fact = submitted(
        retry_count=2,
        policy=policy,
        queue="mail",
        priority=-3,
        timeout=60.0,
        scheduled_at=NOW + 30,
        idempotency_key="k",
    )
    assert advance(None, fact, NOW) == Job(
        id=7,
        call=CALL,
        status=Status.PENDING,
        retry_count=2,
        policy=policy,
        queue="mail",
        priority=-3,
        attempt=0,
        timeout=60.0,
        created_at=NOW,
        scheduled_at=NOW + 30,
        idempotency_key="k",
        carried=Carried(retry_count_at_submit=2),
    )


@pytest.mark.parametrize("attempt", [0, 4])
def test_a_granted_slot_starts_the_next_attempt(attempt: int) -> None:
    before = pending(attempt=attempt)
    assert advance(before, SlotGranted(), NOW) == before.changed(
        status=Status.RUNNING, attempt=attempt + 1, started_at=NOW
    )


def test_a_pending_job_is_cancelled_at_once() -> None:
    before = pending(scheduled_at=NOW + 60)
    assert advance(before, CancelRequested(), NOW) == before.changed(
        status=Status.CANCELLED, cancel_requested_at=NOW, finished_at=NOW
    )


def test_an_attempt_that_completed_completes_the_job() -> None:
    before = running(retry_count=2, error="ValueError: the time before")
    after = advance(before, ends(before, Ending.completed('{"sent":1}'), at=NOW + 9), NOW + 10)
    assert after == before.changed(
        status=Status.COMPLETED,
        outcome=Outcome.COMPLETED,
        result='{"sent":1}',
        error=None,
        finished_at=NOW + 9,
    )


@pytest.mark.parametrize("ending", BAD_ENDINGS, ids=lambda ending: f"{ending.outcome} {ending.exit_code}")
def test_an_attempt_that_ended_badly_is_tried_again_while_retries_are_left(ending: Ending) -> None:
    before = running(retry_count=2)
    assert advance(before, ends(before, ending), NOW) == before.changed(
        status=Status.PENDING,
        outcome=ending.outcome,
        retry_count=3,
        scheduled_at=NOW + 5,
        error=ending.error,
        crashes=int(ending.crash is not None),
    )


@pytest.mark.parametrize("ending", BAD_ENDINGS, ids=lambda ending: f"{ending.outcome} {ending.exit_code}")
def test_an_attempt_that_ended_badly_fails_the_job_when_no_retry_is_left(ending: Ending) -> None:
    before = running(retry_count=3)
    assert advance(before, ends(before, ending, at=NOW + 1), NOW + 2) == before.changed(
        status=Status.FAILED,
        outcome=ending.outcome,
        error=ending.error,
        finished_at=NOW + 1,
        crashes=int(ending.crash is not None),
    )


@pytest.mark.parametrize("retry_count", [0, 3])
def test_an_attempt_of_which_nobody_knows_what_it_did_leaves_its_job_for_review(retry_count: int) -> None:
    before = running(retry_count=retry_count, crashes=1)
    after = advance(before, ends(before, UNKNOWN, at=NOW + 1), NOW + 2)
    told = {"outcome": UNKNOWN.outcome, "error": UNKNOWN.error, "finished_at": NOW + 1, "crashes": 2}
    assert after == before.changed(status=Status.FAILED, review_since=NOW + 1, **told)
    assert not after.is_over


def test_a_job_is_for_review_only_once_no_other_attempt_follows() -> None:
    before = running()
    after = advance(before, ends(before, replace(UNKNOWN, may_retry=True)), NOW)
    assert (after.status, after.retry_count, after.is_for_review) == (Status.PENDING, 1, False)
    wanted = running(cancel_requested_at=NOW)
    stopped = advance(wanted, ends(wanted, UNKNOWN), NOW)
    assert (stopped.status, stopped.is_for_review) == (Status.CANCELLED, False)


def test_a_person_says_what_it_came_to() -> None:
    before = for_review()
    over = before.changed(review_since=None, finished_at=NOW + 5)
    completed = advance(before, SettledAsCompleted(1000, '{"id":1}'), NOW + 5)
    assert completed == over.changed(status=Status.COMPLETED, result='{"id":1}', error=None)
    assert advance(before, SettledAsFailed(1000, "the bank says no"), NOW + 5) == over.changed(
        error="the bank says no"
    )
    assert advance(before, SettledAsFailed(1000), NOW + 5) == over


def test_a_job_whose_step_a_person_has_settled_goes_on_with_all_its_retries() -> None:
    before = for_review(retry_count=3, carried=Carried(steps=2, retry_count_at_submit=1))
    after = advance(before, StepSettled(1000, "charge", "5"), NOW + 5)
    assert after == advance(before, RetryRequested(), NOW + 5)
    assert (after.status, after.retry_count, after.review_since) == (Status.PENDING, 0, None)


@pytest.mark.parametrize("ending", [NEVER_AGAIN, replace(LOST, may_retry=False)], ids=["failed", "lost"])
def test_an_attempt_that_may_not_be_retried_fails_the_job_whatever_is_left(ending: Ending) -> None:
    before = running()
    after = advance(before, ends(before, ending), NOW)
    assert (after.status, after.retry_count, after.error) == (Status.FAILED, 0, ending.error)


def test_a_lost_attempt_is_tried_again_like_any_that_ended_badly() -> None:
    before = running()
    after = advance(before, ends(before, LOST), NOW)
    assert (after.status, after.retry_count, after.scheduled_at) == (Status.PENDING, 1, NOW + 5)


@pytest.mark.parametrize("retry_count", [0, 3])
def test_an_attempt_that_ended_by_no_doing_of_its_own_is_put_back_for_free(retry_count: int) -> None:
    before = running(retry_count=retry_count)
    after = advance(before, ends(before, INTERRUPTED), NOW)
    assert (after.status, after.retry_count) == (Status.PENDING, retry_count)
    assert after.scheduled_at is not None


def test_a_job_without_retries_runs_once_at_most_whoever_ended_its_attempt() -> None:
    before = running(policy=RetryPolicy(max_retries=0))
    after = advance(before, ends(before, INTERRUPTED), NOW)
    assert (after.status, after.error) == (Status.FAILED, INTERRUPTED.error)


def test_a_class_that_wants_no_lost_attempt_repeated_gets_none_whoever_ended_it() -> None:
    before = running()
    assert advance(before, ends(before, replace(INTERRUPTED, may_retry=False)), NOW).status is Status.FAILED


@pytest.mark.parametrize("retry_count", [0, 3])
def test_an_attempt_that_could_not_start_is_put_back_without_spending_a_retry(retry_count: int) -> None:
    before = running(retry_count=retry_count)
    after = advance(before, ends(before, NOT_STARTED), NOW)
    assert (after.status, after.retry_count) == (Status.PENDING, retry_count)
    assert after.scheduled_at is not None
    assert after.scheduled_at > NOW


@pytest.mark.parametrize(("jitter", "delay"), [(0.0, 0.5), (1.0, 1.0)])
def test_an_attempt_that_could_not_start_waits_the_first_delay_where_the_fact_names_none(
    jitter: float, delay: float
) -> None:
    before = running()
    assert advance(before, ends(before, NOT_STARTED), NOW, jitter).scheduled_at == NOW + delay


def test_an_attempt_that_never_began_is_given_back_at_once_where_the_fact_says_so() -> None:
    before = running()
    after = advance(before, ends(before, Ending.not_started("the daemon ended", delay=0.0)), NOW)
    assert (after.status, after.scheduled_at) == (Status.PENDING, NOW)


@pytest.mark.parametrize(("crashes", "delay"), [(0, 1.0), (1, 2.0)])
def test_a_start_that_ended_its_fork_server_is_counted_and_comes_back_later_each_time_for_free(
    crashes: int, delay: float
) -> None:
    before = running(retry_count=3, crashes=crashes)
    assert advance(before, ends(before, CRASHED), NOW) == before.changed(
        status=Status.PENDING,
        outcome=Outcome.NOT_STARTED,
        scheduled_at=NOW + delay,
        crashes=crashes + 1,
    )


def test_the_third_start_in_a_row_that_ended_its_fork_server_fails_the_job_and_says_why() -> None:
    before = running(crashes=2)
    assert advance(before, ends(before, CRASHED, at=NOW + 1), NOW + 2) == before.changed(
        status=Status.FAILED,
        outcome=Outcome.NOT_STARTED,
        crashes=3,
        error="quarantined: 3 starts in a row ended their fork server (signal 11)",
        finished_at=NOW + 1,
    )


@pytest.mark.parametrize(
    "ending",
    [COMPLETED, NEVER_AGAIN, INTERRUPTED, SNOOZED, *(one for one in BAD_ENDINGS if one.crash is None)],
    ids=lambda ending: ending.outcome,
)
def test_any_other_end_of_an_attempt_that_began_clears_the_job(ending: Ending) -> None:
    before = running(crashes=2)
    assert advance(before, ends(before, ending), NOW).crashes == 0


def test_an_attempt_that_did_not_begin_for_another_reason_neither_clears_the_job_nor_counts() -> None:
    before = running(crashes=2)
    assert advance(before, ends(before, NOT_STARTED), NOW).crashes == 2


@pytest.mark.parametrize("ending", [SNOOZED, THROTTLED], ids=["snoozed", "throttled"])
@pytest.mark.parametrize("retry_count", [0, 3])
def test_a_snoozed_attempt_is_tried_when_it_asked_without_spending_a_retry(
    retry_count: int, ending: Ending
) -> None:
    before = running(retry_count=retry_count)
    assert advance(before, ends(before, ending), NOW) == before.changed(
        status=Status.PENDING, outcome=Outcome.SNOOZED, scheduled_at=NOW + 60
    )


def test_a_running_job_runs_on_when_cancel_is_requested_and_the_wish_is_kept() -> None:
    before = running()
    assert advance(before, CancelRequested(), NOW + 1) == before.changed(cancel_requested_at=NOW + 1)


def test_the_first_of_two_cancel_requests_is_the_one_that_is_kept() -> None:
    once = advance(running(), CancelRequested(), NOW + 1)
    assert advance(once, CancelRequested(), NOW + 2) == once


def test_a_job_that_completed_although_cancel_was_requested_is_completed() -> None:
    before = running(cancel_requested_at=NOW)
    assert advance(before, ends(before, COMPLETED), NOW).status is Status.COMPLETED


@pytest.mark.parametrize(
    "ending",
    [*BAD_ENDINGS, STOPPED, NEVER_AGAIN, NOT_STARTED, SNOOZED, CRASHED],
    ids=lambda ending: ending.outcome,
)
def test_any_other_end_after_cancel_was_requested_is_cancelled(ending: Ending) -> None:
    before = running(cancel_requested_at=NOW)
    assert advance(before, ends(before, ending, at=NOW + 1), NOW + 2) == before.changed(
        status=Status.CANCELLED,
        outcome=ending.outcome,
        error=ending.error,
        finished_at=NOW + 1,
        crashes=int(ending.crash is not None),
    )


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
def test_a_person_can_have_an_ended_job_run_again_and_attempt_numbers_go_on(status: Status) -> None:
    before = ended(
        status,
        attempt=4,
        retry_count=3,
        scheduled_at=NOW,
        cancel_requested_at=NOW,
        error="ValueError: no",
        crashes=3,
    )
    after = advance(before, RetryRequested(), NOW + 100)
    assert after == before.changed(
        status=Status.PENDING,
        retry_count=0,
        scheduled_at=None,
        finished_at=None,
        cancel_requested_at=None,
        error=None,
        crashes=0,
    )
    assert advance(after, SlotGranted(), NOW + 101).attempt == 5


def test_a_started_attempt_leaves_the_job_running() -> None:
    assert advance(running(), AttemptStarted(1, pid=4711, at=NOW), NOW) == running()


@pytest.mark.parametrize("delta", [-3600.0, 0.5, 86400.0])
def test_a_clock_jump_moves_a_waiting_retry_by_its_delta(delta: float) -> None:
    before = pending(attempt=1, retry_count=1, scheduled_at=NOW + 5)
    assert advance(before, ClockJumped(delta), NOW + delta) == before.changed(scheduled_at=NOW + 5 + delta)


@pytest.mark.parametrize(
    "before",
    [pending(), pending(scheduled_at=NOW + 5), pending(attempt=3)],
    ids=["waits for a slot", "asked for at a time", "asked to run again"],
)
def test_a_clock_jump_moves_no_other_pending_job(before: Job) -> None:
    assert advance(before, ClockJumped(3600), NOW + 3600) == before


@pytest.mark.parametrize(
    "before", [pending(), pending(waits_for=1), pending(attempt=1, retry_count=1, scheduled_at=NOW + 5)]
)
def test_a_job_that_waits_gets_the_terms_that_are_given_and_keeps_the_others(before: Job) -> None:
    fact = Changed(1000, priority=5, queue="mail", scheduled_at=NOW + 60, timeout=9.0, max_retries=7)
    policy = replace(before.policy, max_retries=7)
    after = before.changed(priority=5, queue="mail", scheduled_at=NOW + 60, timeout=9.0, policy=policy)
    assert advance(before, fact, NOW) == after
    assert advance(after, Changed(1000, expires_at=NOW + 90), NOW) == after.changed(expires_at=NOW + 90)
    assert advance(after, Changed(1000), NOW) == after


def test_a_change_takes_times_away() -> None:
    before = pending(scheduled_at=NOW + 60, expires_at=NOW + 90, timeout=9.0)
    assert advance(before, Changed(0, without=frozenset(Removable)), NOW) == pending()
    assert advance(before, Changed(0, without=frozenset({Removable.AT})), NOW) == before.changed(
        scheduled_at=None
    )


RETRYING = pending(attempt=1, retry_count=2, scheduled_at=NOW + 5, started_at=NOW, expires_at=NOW)


@pytest.mark.parametrize(
    ("before", "fact", "misfit"),
    [
        (pending(expires_at=NOW + 60), Changed(0, scheduled_at=NOW + 60), "at"),
        (pending(expires_at=NOW + 60), Changed(0, scheduled_at=NOW + 59), None),
        (pending(scheduled_at=NOW + 60), Changed(0, expires_at=NOW + 60), "expires_at"),
        (pending(), Changed(0, scheduled_at=NOW + 60, expires_at=NOW + 60), "at"),
        (
            pending(expires_at=NOW),
            Changed(0, scheduled_at=NOW, without=frozenset({Removable.EXPIRES_AT})),
            None,
        ),
        (RETRYING, Changed(0, scheduled_at=NOW + 60), None),
        (RETRYING, Changed(0, expires_at=NOW + 60), "expires_at"),
        (RETRYING, Changed(0, expires_at=NOW), None),
        (RETRYING, Changed(0, max_retries=1), "max_retries"),
        (RETRYING, Changed(0, max_retries=2), None),
        (pending(retry_count=9), Changed(0, max_retries=3), None),
        (pending(retry_count=9), Changed(0, max_retries=4), "max_retries"),
    ],
)
def test_a_change_leaves_no_job_that_starts_after_its_time_or_has_spent_more_retries_than_it_has(
    before: Job, fact: Changed, misfit: str | None
) -> None:
    assert try_misfit(before, advance(before, fact, NOW)) == misfit


# What a job comes after

TWELVE, FIVE = Node(Of.JOB, 12), Node(Of.GROUP, 5)
COMPLETES = PredecessorMoved(TWELVE, Standing.OPEN, Standing.MET, Fate.COMPLETED)
FAILS = PredecessorMoved(TWELVE, Standing.OPEN, Standing.FAILED, Fate.FAILED)
GOES_ON = PredecessorMoved(TWELVE, Standing.FAILED, Standing.OPEN, Fate.UNFINISHED)
DELETED = PredecessorDeleted(TWELVE, failed=1)


def blocked(waits_for: int = 1, policy: IfFailed = IfFailed.CANCEL, **given: Any) -> Job:
    return pending(waits_for=waits_for, if_failed=policy, **given)


def cancelled_for(**given: Any) -> Job:
    """What `blocked()` has become once job 12 has failed."""
    policy = given.pop("if_failed", IfFailed.CANCEL)
    error = "cancelled: job 12, which it came after, failed"
    given = {"waits_for": 1, "failed_before": 1, "cancelled_after": "12", "error": error} | given
    return pending(status=Status.CANCELLED, finished_at=NOW, if_failed=policy, **given)


def test_a_submitted_job_has_the_place_that_was_found_for_it() -> None:
    place = Place(2, IfFailed.WAIT, 5, '{"rows":{}}')
    job = advance(None, submitted(place=place), NOW)
    assert (job.waits_for, job.if_failed, job.group_id, job.takes) == (2, IfFailed.WAIT, 5, '{"rows":{}}')
    assert (job.status, job.is_blocked) == (Status.PENDING, True)


def test_a_job_is_free_once_all_that_it_waits_for_are_met() -> None:
    one = advance(blocked(2), COMPLETES, NOW)
    assert one == blocked(1)
    free = advance(one, COMPLETES, NOW)
    assert (free, free.is_blocked) == (blocked(0), False)
    assert advance(free, SlotGranted(), NOW).status is Status.RUNNING


def test_no_slot_is_granted_to_a_job_that_waits_for_another() -> None:
    with pytest.raises(IllegalFactError, match=r"job 7 \(pending, attempt 0\) cannot see SlotGranted"):
        advance(blocked(), SlotGranted(), NOW)


@pytest.mark.parametrize(
    ("policy", "fate", "after"),
    [
        (IfFailed.CANCEL, Fate.FAILED, cancelled_for()),
        (
            IfFailed.CANCEL,
            Fate.CANCELLED,
            cancelled_for(error="cancelled: job 12, which it came after, was cancelled"),
        ),
        (IfFailed.WAIT, Fate.FAILED, blocked(policy=IfFailed.WAIT)),
        (IfFailed.WAIT, Fate.CANCELLED, blocked(policy=IfFailed.WAIT)),
    ],
)
def test_the_policy_says_what_a_bad_end_means(policy: IfFailed, fate: Fate, after: Job) -> None:
    assert advance(blocked(policy=policy), replace(FAILS, fate=fate), NOW) == after


@pytest.mark.parametrize("fate", [Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED])
def test_with_run_every_end_counts_as_done(fate: Fate) -> None:
    assert advance(blocked(policy=IfFailed.RUN), replace(COMPLETES, fate=fate), NOW).waits_for == 0


def test_a_job_that_is_cancelled_for_a_group_names_it() -> None:
    after = advance(blocked(), replace(FAILS, node=FIVE), NOW)
    assert (after.cancelled_after, after.error) == (
        "group 5",
        "cancelled: group 5, which it came after, failed",
    )


def test_what_was_cancelled_for_another_is_as_before_once_that_goes_on() -> None:
    assert advance(cancelled_for(), GOES_ON, NOW) == blocked()
    assert advance(cancelled_for(), replace(GOES_ON, after=Standing.MET), NOW) == blocked(0)


def test_what_was_cancelled_for_two_is_revived_once_both_go_on() -> None:
    one = advance(cancelled_for(waits_for=2, failed_before=2), GOES_ON, NOW)
    assert one == cancelled_for(waits_for=2)
    assert advance(one, GOES_ON, NOW) == blocked(2)


def test_a_second_bad_end_cancels_nothing_twice() -> None:
    assert advance(cancelled_for(waits_for=2), replace(FAILS, node=FIVE), NOW + 9) == cancelled_for(
        waits_for=2, failed_before=2
    )


@pytest.mark.parametrize("fact", [COMPLETES, FAILS, GOES_ON])
def test_what_a_person_cancelled_stays_so_and_counts_on(fact: PredecessorMoved) -> None:
    before = cancelled_for(cancelled_after=None, error=None, cancel_requested_at=NOW)
    after = advance(before, fact, NOW)
    assert (after.status, after.cancelled_after, after.finished_at) == (Status.CANCELLED, None, NOW)
    assert (after.waits_for, after.failed_before) == {
        COMPLETES: (0, 1),
        FAILS: (1, 2),
        GOES_ON: (1, 0),
    }[fact]


def test_a_retry_anyway_takes_what_failed_as_done_and_waits_for_the_rest() -> None:
    after = advance(cancelled_for(waits_for=3, failed_before=2), RetryRequested(True, forgiven=2), NOW)
    assert after == blocked(1)


def test_what_waits_for_a_retry_is_cancelled_once_that_can_never_come() -> None:
    after = advance(blocked(policy=IfFailed.WAIT), DELETED, NOW)
    assert after == cancelled_for(error="cancelled: job 12, which it came after, failed, and is deleted")


def test_what_a_person_cancelled_is_not_free_to_be_retried_once_its_predecessor_is_deleted() -> None:
    before = cancelled_for(cancelled_after=None, error=None, failed_before=0, if_failed=IfFailed.WAIT)
    assert advance(before, DELETED, NOW) == before.changed(failed_before=1, if_failed=IfFailed.CANCEL)


@pytest.mark.parametrize("before", [blocked(), cancelled_for()], ids=["blocked", "cancelled"])
def test_results_are_put_into_the_parameters_of_who_takes_them(before: Job) -> None:
    after = advance(before, ValuesTaken('{"rows":[1]}', '{"rows":{}}'), NOW)
    assert after == before.changed(call=replace(CALL, parameters='{"rows":[1]}'), takes='{"rows":{}}')


# What is asked for, and where the delay comes from


@pytest.mark.parametrize("delay", [0.0, 0.25, 86400.0])
def test_a_delay_that_the_attempt_asked_for_overrides_the_policys(delay: float) -> None:
    before = running()
    after = advance(before, ends(before, replace(FAILED, delay=delay)), NOW)
    assert (after.retry_count, after.scheduled_at) == (1, NOW + delay)


def test_a_caller_that_gave_as_many_retries_as_there_are_gets_one_attempt() -> None:
    before = advance(advance(None, submitted(retry_count=3), NOW), SlotGranted(), NOW)
    assert advance(before, ends(before, FAILED), NOW).status is Status.FAILED


@pytest.mark.parametrize(
    ("retry_count", "max_retries", "attempt", "allowed"),
    [(0, 3, 1, 4), (3, 3, 4, 4), (9, 3, 1, 1), (1, 3, 5, 7)],
)
def test_attempts_allowed_are_those_made_and_the_retries_left(
    retry_count: int, max_retries: int, attempt: int, allowed: int
) -> None:
    job = running(retry_count=retry_count, policy=RetryPolicy(max_retries), attempt=attempt)
    assert job.attempts_allowed == allowed


# The pairs

FACTS: dict[str, Fact] = {
    "submitted": submitted(),
    "slot granted": SlotGranted(),
    "started": AttemptStarted(1, pid=4711, at=NOW),
    "completed": ends(running(), COMPLETED),
    "failed": ends(running(), FAILED),
    "never to be retried": ends(running(), NEVER_AGAIN),
    "lost": ends(running(), LOST),
    "not started": ends(running(), NOT_STARTED),
    "crashed": ends(running(), CRASHED),
    "snoozed": ends(running(), SNOOZED),
    "stopped": ends(running(), STOPPED),
    "cancel requested": CancelRequested(),
    "retry requested": RetryRequested(),
    "changed": Changed(1000, priority=5),
    "clock jumped": ClockJumped(60.0),
    "predecessor completed": PredecessorMoved(Node(Of.JOB, 1), Standing.OPEN, Standing.MET, Fate.COMPLETED),
    "predecessor failed": PredecessorMoved(Node(Of.JOB, 1), Standing.OPEN, Standing.FAILED, Fate.FAILED),
    "predecessor goes on": PredecessorMoved(Node(Of.JOB, 1), Standing.FAILED, Standing.OPEN, Fate.UNFINISHED),
    "predecessor deleted": PredecessorDeleted(Node(Of.JOB, 1), failed=1),
    "values taken": ValuesTaken("{}", "{}"),
    "left unknown": ends(running(), UNKNOWN),
    "settled as completed": SettledAsCompleted(1000, "5"),
    "settled as failed": SettledAsFailed(1000),
    "step settled": StepSettled(1000, "charge", "5"),
}

ENDS = {
    *("completed", "failed", "never to be retried", "lost", "not started", "crashed", "snoozed", "stopped"),
    "left unknown",
}

TIES = {
    *("predecessor completed", "predecessor failed", "predecessor goes on", "predecessor deleted"),
    "values taken",
}

SEES: dict[Status | None, set[str]] = {
    None: {"submitted"},
    Status.PENDING: {"slot granted", "cancel requested", "changed", "clock jumped", *TIES},
    Status.RUNNING: {"started", "cancel requested", *ENDS},
    Status.COMPLETED: set(),
    Status.FAILED: {"retry requested", "values taken"},
    Status.CANCELLED: {"retry requested", *TIES},
}

# `attempt=1` also where it is pending, so that it is the status and not the number that forbids an end; and what it
# comes after may have failed.
JOBS: dict[Status | None, Job | None] = {
    None: None,
    Status.PENDING: pending(attempt=1, if_failed=IfFailed.WAIT),
    Status.RUNNING: running(),
    **{status: ended(status) for status in sorted(FINAL)},
}

PAIRS = [(status, name) for status, name in product(JOBS, FACTS)]


@pytest.mark.parametrize(("status", "name"), [pair for pair in PAIRS if pair[1] not in SEES[pair[0]]])
def test_a_fact_that_a_status_cannot_see_raises(status: Status | None, name: str) -> None:
    for wish in (None, NOW) if status else (None,):
        job = JOBS[status]
        with pytest.raises(IllegalFactError, match="cannot see"):
            advance(job.changed(cancel_requested_at=wish) if job else None, FACTS[name], NOW)


@pytest.mark.parametrize(("status", "name"), [pair for pair in PAIRS if pair[1] in SEES[pair[0]]])
def test_a_fact_that_a_status_can_see_gives_a_job(status: Status | None, name: str) -> None:
    job = JOBS[status]
    if job is not None and name in TIES:
        job = job.changed(waits_for=1, failed_before=int(status is Status.CANCELLED))
    assert advance(job, FACTS[name], NOW).id == 7


@pytest.mark.parametrize("name", ["predecessor completed", "predecessor goes on"])
def test_no_edge_is_met_or_forgiven_twice(name: str) -> None:
    with pytest.raises(IllegalFactError, match="cannot see"):
        advance(ended(Status.CANCELLED), FACTS[name], NOW)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("settled as completed", Status.COMPLETED),
        ("settled as failed", Status.FAILED),
        ("step settled", Status.PENDING),
        ("retry requested", Status.PENDING),
        ("values taken", Status.FAILED),
    ],
)
def test_only_a_job_for_review_is_settled_and_by_that_is_it_no_more(name: str, status: Status) -> None:
    after = advance(for_review(), FACTS[name], NOW + 5)
    assert (after.status, after.is_for_review) == (status, name == "values taken")
    assert after.is_over == (name in ("settled as completed", "settled as failed"))


def test_a_completed_job_sees_nothing_at_all() -> None:
    assert not [cell for cell in TABLE if cell[0] is Status.COMPLETED]


@pytest.mark.parametrize(
    "fact", [AttemptStarted(1, 4711, NOW), *(ends(running(), e) for e in (COMPLETED, FAILED))]
)
def test_a_fact_of_an_attempt_that_is_not_the_latest_raises(fact: Fact) -> None:
    for latest in (0, 2):
        with pytest.raises(IllegalFactError, match=f"attempt {latest}"):
            advance(running(attempt=latest), fact, NOW)


def test_an_illegal_fact_says_which_job_stood_where() -> None:
    with pytest.raises(IllegalFactError) as caught:
        advance(ended(Status.COMPLETED), CancelRequested(), NOW)
    assert str(caught.value) == "job 7 (completed, attempt 1) cannot see CancelRequested()"
    assert (caught.value.job, caught.value.fact) == (ended(Status.COMPLETED), CancelRequested())


def test_an_illegal_fact_about_no_job_says_so() -> None:
    with pytest.raises(IllegalFactError, match=r"^no job cannot see SlotGranted\(\)$"):
        advance(None, SlotGranted(), NOW)


ASKED: list[tuple[CancelRequested | RetryRequested | Changed, set[Status]]] = [
    (CancelRequested(), {Status.PENDING, Status.RUNNING}),
    (RetryRequested(), {Status.FAILED, Status.CANCELLED}),
    (Changed(1000), {Status.PENDING}),
]


@pytest.mark.parametrize(("wish", "allowed"), ASKED)
def test_a_caller_may_ask_exactly_for_what_the_table_has(
    wish: CancelRequested | RetryRequested | Changed, allowed: set[Status]
) -> None:
    jobs = [job for job in JOBS.values() if job is not None]
    assert {job.status for job in jobs if is_allowed(job, wish)} == allowed


def test_every_outcome_can_end_a_running_job() -> None:
    for outcome in Outcome:
        assert advance(running(), ends(running(), Ending(outcome)), NOW).status is not Status.RUNNING
