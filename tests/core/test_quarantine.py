"""Attempts that crash: which ends count, when a job is given up, when its class is held, tried and let go."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import pytest

from bgjob.words import Outcome, Status
from bgjobd.core.job import Ending
from bgjobd.core.quarantine import (
    ClassEnd,
    ClassHold,
    Reason,
    Says,
    after_end,
    after_trial,
    asked,
    began,
    says,
    told_of,
)
from bgjobd.core.state_machine import advance
from bgjobd.core.verdict import UNSEEN, StopReason, verdict
from tests.core.samples import BAD_ENDINGS, COMPLETED, CRASHED, NOT_STARTED, NOW, SNOOZED, ends, running

KILLED = Ending.signalled(11)
STARVED = Ending.exceeded(Outcome.OUT_OF_MEMORY, "2 GiB of 1 GiB", Ending.signalled(9))
RESTARTED = Ending.lost("the machine was restarted while it ran")
CUT_OFF = Ending.cut_off(Ending.signalled(15))
NAME = "myapp.jobs.Fragile"

SENTENCES = {
    Outcome.SIGNALLED: "attempts in a row were ended by signal 11",
    Outcome.OUT_OF_MEMORY: "attempts in a row ran out of memory",
    Outcome.LOST: "attempts in a row were lost",
    Outcome.NOT_STARTED: "starts in a row ended their fork server (signal 11)",
}


@pytest.mark.parametrize("ending", [KILLED, STARVED, UNSEEN, CRASHED], ids=lambda ending: ending.outcome)
@pytest.mark.parametrize("limit", [2, 3, 7, None])
@pytest.mark.parametrize("max_retries", [1, 100])
def test_so_many_crashes_in_a_row_fail_a_job_whatever_its_retries(
    ending: Ending, limit: int | None, max_retries: int
) -> None:
    at_start = ending.outcome is Outcome.NOT_STARTED
    most = limit or (3 if at_start else None)
    counted = verdict(ending, None, None, crashes=limit)
    policy = replace(running().policy, max_retries=max_retries)
    for before in range(9):
        job = running(crashes=before, policy=policy, retry_count=0)
        after = advance(job, ends(job, counted), NOW)
        if most is not None and before + 1 >= most:
            assert (after.status, after.crashes) == (Status.FAILED, before + 1)
            assert after.error == f"quarantined: {before + 1} {SENTENCES[ending.outcome]}"
        else:
            assert after.status is Status.PENDING
            assert after.crashes == (before + 1 if most is not None else 0)


@pytest.mark.parametrize(
    "ending",
    [
        *(one for one in BAD_ENDINGS if one.crash is None),
        *(COMPLETED, SNOOZED, RESTARTED, CUT_OFF, Ending.unrecorded("no room")),
        Ending.timed_out(5.0, KILLED),
        Ending.exceeded(Outcome.CPU_EXCEEDED, "9 s of 5 s", KILLED),
    ],
    ids=str,
)
def test_an_end_of_any_other_kind_begins_the_count_anew(ending: Ending) -> None:
    job = running(crashes=2)
    after = advance(job, ends(job, verdict(ending, None, 5.0)), NOW)
    assert after.crashes == 0
    assert not (after.error or "").startswith("quarantined")


@pytest.mark.parametrize("reason", StopReason)
@pytest.mark.parametrize("ending", [KILLED, UNSEEN], ids=["signalled", "lost"])
def test_what_our_own_stop_ended_is_no_crash(ending: Ending, reason: StopReason) -> None:
    assert verdict(ending, reason, 5.0).crash is None


def test_an_attempt_that_finished_a_step_has_got_on_and_its_crash_is_the_first() -> None:
    job = running(crashes=2)
    after = advance(job, replace(ends(job, KILLED), has_advanced=True), NOW)
    assert (after.status, after.crashes) == (Status.PENDING, 1)


def test_where_a_person_is_to_say_what_it_did_a_job_that_crashes_is_for_review_and_says_why() -> None:
    job = running(crashes=2)
    after = advance(job, ends(job, verdict(KILLED, None, None, retry_lost=False, reviews=True)), NOW)
    assert after.is_for_review
    assert after.error == "quarantined: 3 attempts in a row were ended by signal 11"


def test_an_attempt_that_is_to_be_cancelled_and_crashes_is_cancelled() -> None:
    job = running(crashes=2, cancel_requested_at=NOW)
    assert advance(job, ends(job, KILLED), NOW).status is Status.CANCELLED


@pytest.mark.parametrize(
    ("ending", "crashes", "told"),
    [
        (KILLED, 0, Says.CRASHES),
        (STARVED, 0, Says.CRASHES),
        (UNSEEN, 0, Says.CRASHES),
        (CRASHED, 0, Says.NOTHING),  # perhaps another's doing, which was on the way there as well
        (CRASHED, 1, Says.CRASHES),  # it started alone
        (NOT_STARTED, 1, Says.NOTHING),
        (RESTARTED, 0, Says.NOTHING),
        (CUT_OFF, 0, Says.NOTHING),
        (Ending.cancelled(KILLED), 0, Says.NOTHING),
        (verdict(KILLED, StopReason.SHUTDOWN, None), 0, Says.NOTHING),
        (verdict(KILLED, None, None, crashes=None), 0, Says.NOTHING),
        (COMPLETED, 0, Says.LIVES),
        (SNOOZED, 0, Says.LIVES),
        (Ending.failed("ValueError", "no"), 0, Says.LIVES),
        (Ending.exited(3), 0, Says.LIVES),
        (Ending.timed_out(5.0, KILLED), 0, Says.LIVES),
    ],
)
def test_of_its_class_an_end_says_what_is_its_doing_alone(ending: Ending, crashes: int, told: Says) -> None:
    assert says(ending, crashes) is told


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_says_something_or_nothing(outcome: Outcome) -> None:
    assert says(Ending(outcome), 0) in Says


def end(job_id: int, told: Says = Says.CRASHES, code: str | None = "new", how: Ending = KILLED) -> ClassEnd:
    return ClassEnd(NAME, job_id, 1, how.outcome, told, how.crash or "", code)


def after(*ended: ClassEnd, hold: ClassHold | None = None, now: float = NOW) -> ClassHold | None:
    return reduce(lambda known, one: after_end(known, one, now), ended, hold)


def held() -> ClassHold:
    hold = after(*(end(n) for n in range(10)))
    assert hold is not None
    return hold


def test_ten_crashes_in_a_row_of_three_jobs_hold_a_class_and_fewer_or_of_fewer_jobs_do_not() -> None:
    nine = after(*(end(n) for n in range(9)))
    two_jobs = after(*(end(n % 2) for n in range(50)))
    assert nine is not None
    assert two_jobs is not None
    assert (nine.since, two_jobs.since) == (None, None)
    hold = after(*(end(n % 3) for n in range(10)))
    assert hold is not None
    assert (hold.since, hold.next_try_at, hold.crashes, len(hold.jobs)) == (NOW, NOW + 10, 10, 3)
    assert hold.message == "10 attempts of 3 jobs in a row ended by signal 11 with code new"


def test_an_attempt_that_lives_begins_the_count_anew_and_lets_a_held_class_go() -> None:
    assert after(*(end(n) for n in range(9)), end(9, Says.LIVES)) is None
    assert after(end(1, Says.LIVES), hold=held()) is None


def test_an_end_that_says_nothing_changes_nothing() -> None:
    assert after(end(1, Says.NOTHING), hold=held()) == held()
    assert after(end(1, Says.NOTHING)) is None


def test_codes_count_apart_and_what_is_held_for_one_no_end_of_another_changes() -> None:
    mixed = after(*(end(n, code="old" if n % 2 else "new") for n in range(40)))
    assert mixed is not None
    assert (mixed.since, mixed.crashes) == (None, 1)
    old = [end(1, code="old"), end(2, Says.LIVES, code="old")]
    assert after(*old, hold=held()) == held()
    assert (held().holds("new"), held().holds("old"), held().holds(None)) == (True, False, True)


def test_ends_of_several_kinds_are_told_as_crashes() -> None:
    hold = after(*(end(n, how=KILLED if n else STARVED) for n in range(12)))
    assert hold is not None
    assert hold.message == "12 attempts of 12 jobs in a row crashed with code new"


def test_trials_come_after_ten_seconds_and_after_twice_as_long_each_time_up_to_five_minutes() -> None:
    hold, now, pauses = held(), NOW, []
    for job in range(8):
        assert hold.next_try_at is not None
        pauses.append(hold.next_try_at - now)
        now = hold.next_try_at
        assert (hold.slots(now - 0.1), hold.slots(now)) == (0, 1)
        hold = after_trial(hold, now)
        assert hold.slots(now) == 0
        crashed = after(end(job), hold=hold, now=now + 1)
        assert crashed is not None
        hold, now = crashed, now + 1
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert hold.since == NOW


def test_of_jobs_that_crash_the_last_hundred_are_kept() -> None:
    hold = after(*(end(n) for n in range(1000)))
    assert hold is not None
    assert hold.jobs == tuple(range(900, 1000))
    assert hold.crashes == 1000


def test_what_somebody_has_asked_for_holds_any_code_and_no_end_lets_it_go() -> None:
    hold = asked(NAME, 1000, NOW)
    assert after(end(1), end(2, Says.LIVES), hold=hold) == hold
    assert (hold.reason, hold.holds("any"), hold.slots(NOW + 1e9)) == (Reason.ASKED, True, 0)


def test_why_and_until_when_is_told_in_a_sentence() -> None:
    held_for = "held since 14:31:53 UTC: 10 attempts of 10 jobs in a row ended by signal 11 with code new"
    assert told_of(held(), NOW + 2) == f"{held_for}; next trial in 8 s"
    assert told_of(held(), NOW + 11) == f"{held_for}; its next job is a trial"
    assert began(held(), NOW) == f"class {NAME} is {held_for}; next trial in 10 s"
    resume = f"`bgjob class resume {NAME}` lets it go on"
    assert told_of(asked(NAME, 1000, NOW), NOW) == f"held since 14:31:53 UTC, as uid 1000 has asked; {resume}"
