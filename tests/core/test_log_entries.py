"""What the log says of each fact, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bgjob.words import EntryType, Removable, Status, Throttle
from bgjobd.core.facts import (
    AttemptStarted,
    CancelRequested,
    Changed,
    ClockJumped,
    Fact,
    RetryRequested,
    SettledAsCompleted,
    SettledAsFailed,
    SlotGranted,
    StepSettled,
)
from bgjobd.core.job import Ending, Job, RetryPolicy
from bgjobd.core.log_entries import Entry, entries, hook_could_not_start, progress_message, skip_entry
from bgjobd.core.schedules import Reason, Skipped, Span
from bgjobd.core.state_machine import IllegalFactError, advance
from tests.core.samples import (
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
    UNKNOWN,
    ended,
    ends,
    for_review,
    pending,
    running,
    submitted,
)

FAILED_AT = NOW + 6  # 14:31:59, as in the design's example


def told(before: Job | None, fact: Fact, now: float = NOW) -> list[tuple[EntryType, str]]:
    return [(entry.type, entry.message) for entry in entries(before, fact, advance(before, fact, now))]


@pytest.mark.parametrize(
    ("before", "fact", "message", "with_job"),
    [
        (None, submitted(), "Background job initiated", True),
        (None, submitted(by_job=12), "Background job initiated, submitted by job 12", True),
        (pending(), SlotGranted(), "Background job dispatched on Linux platform", False),
        (running(), AttemptStarted(1, 4711, NOW), "Background job started", True),
        (running(), ends(running(), COMPLETED), "Background job completed processing", False),
    ],
)
def test_a_job_that_goes_well_has_the_four_sentences_of_the_original(
    before: Job | None, fact: Fact, message: str, with_job: bool
) -> None:
    assert entries(before, fact, advance(before, fact, NOW)) == (
        Entry(EntryType.SUCCESS, message, with_job=with_job),
    )


def test_a_failure_tells_the_error_the_attempt_and_the_next_one() -> None:
    assert told(running(), ends(running(), FAILED), FAILED_AT) == [
        (EntryType.FAILURE, "ValueError: no recipient (attempt 1 of 4, next at 14:32:04 UTC)"),
        (EntryType.INFO, "Background job waits for retry 1 of 3 at 14:32:04 UTC"),
    ]


def test_the_last_failure_promises_no_next_attempt() -> None:
    last = running(attempt=4, retry_count=3)
    assert told(last, ends(last, FAILED)) == [
        (EntryType.FAILURE, "ValueError: no recipient (attempt 4 of 4)")
    ]


def test_a_failure_that_is_never_retried_says_so_where_retries_were_left() -> None:
    assert told(running(), ends(running(), NEVER_AGAIN)) == [
        (EntryType.FAILURE, "ValueError: no recipient (attempt 1 of 4, not retried)")
    ]
    last = running(attempt=4, retry_count=3)
    assert told(last, ends(last, NEVER_AGAIN)) == [
        (EntryType.FAILURE, "ValueError: no recipient (attempt 4 of 4)")
    ]


def test_the_attempts_of_a_caller_that_gave_a_count_are_those_it_gets() -> None:
    given = running(retry_count=2)
    assert told(given, ends(given, FAILED), FAILED_AT)[0] == (
        EntryType.FAILURE,
        "ValueError: no recipient (attempt 1 of 2, next at 14:32:04 UTC)",
    )
    only = running(retry_count=3)
    assert told(only, ends(only, FAILED)) == [
        (EntryType.FAILURE, "ValueError: no recipient (attempt 1 of 1)")
    ]


def test_each_attempt_in_a_row_is_told_with_its_number() -> None:
    job, messages = pending(policy=RetryPolicy(max_retries=2)), []
    while job.status is Status.PENDING:
        job = advance(job, SlotGranted(), NOW)
        fact = ends(job, LOST)
        messages.append(told(job, fact)[0][1])
        job = advance(job, fact, NOW)
    assert messages == [
        "lost: nobody saw how it ended (attempt 1 of 3, next at 14:31:58 UTC)",
        "lost: nobody saw how it ended (attempt 2 of 3, next at 14:31:58 UTC)",
        "lost: nobody saw how it ended (attempt 3 of 3)",
    ]


@pytest.mark.parametrize(
    ("ending", "sentence"),
    [
        (Ending.exited(0), "exited: the process ended with code 0 before the method returned"),
        (Ending.exited(3), "exited: the process ended with code 3"),
        (Ending.signalled(9), "signalled: the process was ended by signal 9"),
        (Ending.lost("no trace"), "lost: no trace"),
        (replace(LOST, error_message=None), "lost: no more is known"),
        (Ending.timed_out(5, Ending.signalled(15)), "timed_out: the attempt ran longer than 5 s"),
    ],
)
def test_an_ending_without_an_exception_is_told_by_its_evidence(ending: Ending, sentence: str) -> None:
    last = running(attempt=1, retry_count=3)
    assert told(last, ends(last, ending)) == [(EntryType.FAILURE, f"{sentence} (attempt 1 of 1)")]


def test_an_attempt_that_could_not_start_is_told_as_a_failure_that_cost_no_retry() -> None:
    assert told(running(), ends(running(), NOT_STARTED)) == [
        (
            EntryType.FAILURE,
            "not_started: the attempt could not start: no memory (attempt 1, no retry spent, next at 14:31:54 UTC)",
        )
    ]


def test_a_snooze_tells_until_when() -> None:
    assert told(running(), ends(running(), SNOOZED)) == [
        (EntryType.INFO, "Background job snoozed until 14:32:53 UTC")
    ]


@pytest.mark.parametrize(
    ("throttles", "whom"),
    [
        (Throttle.CLASS, "no other of its class starts until 14:32:53 UTC"),
        (Throttle.KEY, "no other of its key, customer:7, starts until 14:32:53 UTC"),
        (Throttle.JOB, "it alone, until 14:32:53 UTC, for its class may hold no others (throttle = false)"),
    ],
)
def test_a_throttled_attempt_tells_whom_it_holds_and_until_when(throttles: Throttle, whom: str) -> None:
    job, ending = running(key="customer:7"), replace(SNOOZED, throttles=throttles)
    assert told(job, ends(job, ending)) == [(EntryType.INFO, f"Background job throttled for 60 s: {whom}")]


def test_cancelling_tells_whether_it_is_done_or_only_wanted() -> None:
    assert told(pending(), CancelRequested()) == [(EntryType.INFO, "Background job cancelled")]
    assert told(running(), CancelRequested()) == [(EntryType.INFO, "Background job cancel requested")]


def test_an_attempt_that_was_stopped_tells_how_it_ended() -> None:
    wanted = running(cancel_requested_at=NOW)
    assert told(wanted, ends(wanted, STOPPED)) == [(EntryType.INFO, "Background job cancelled")]
    raised = Ending.cancelled(Ending.failed("ValueError", "leaving"))
    assert told(wanted, ends(wanted, raised)) == [
        (EntryType.INFO, "Background job cancelled (cancelled: a cancel was requested (ValueError: leaving))")
    ]


def test_a_job_that_completed_although_cancel_was_requested_is_told_as_completed() -> None:
    wanted = running(cancel_requested_at=NOW)
    assert told(wanted, ends(wanted, COMPLETED)) == [
        (EntryType.SUCCESS, "Background job completed processing")
    ]


def test_a_retry_by_a_person_is_told() -> None:
    assert told(ended(Status.FAILED), RetryRequested()) == [
        (EntryType.INFO, "Background job retry requested")
    ]


def test_what_nobody_knows_is_told_and_who_has_said_it() -> None:
    last = running(retry_count=3)
    assert told(last, ends(last, UNKNOWN)) == [
        (EntryType.FAILURE, "signalled: the process was ended by signal 9 (attempt 1 of 1)"),
        (EntryType.INFO, "Background job is for review: what it did nobody knows; `bgjob settle 7`"),
    ]
    for fact, sentence in (
        (SettledAsCompleted(1000, "5"), "Background job settled as completed by uid 1000"),
        (SettledAsFailed(1000), "Background job settled as failed by uid 1000"),
        (SettledAsFailed(1000, "no money"), "Background job settled as failed by uid 1000: no money"),
        (
            StepSettled(1000, "charge", "5"),
            "Background job goes on: step charge settled as finished by uid 1000",
        ),
    ):
        assert told(for_review(), fact) == [(EntryType.INFO, sentence)]


def test_a_change_tells_who_has_changed_what_from_what_to_what_and_nothing_where_all_is_as_it_was() -> None:
    before = pending(timeout=90.0, expires_at=NOW + 60)
    fact = Changed(1000, 5, "mail", NOW + 10, NOW + 70, max_retries=9, without=frozenset({Removable.TIMEOUT}))
    assert told(before, fact) == [
        (
            EntryType.INFO,
            "Background job changed by uid 1000: priority from 0 to 5, queue from default to mail, at from none to "
            "2024-12-04 14:32:03 UTC, expires_at from 2024-12-04 14:32:53 UTC to 2024-12-04 14:33:03 UTC, "
            "timeout from 90 s to none, max_retries from 3 to 9",
        )
    ]
    assert told(before, Changed(1000, timeout=0.25)) == [
        (EntryType.INFO, "Background job changed by uid 1000: timeout from 90 s to 0.25 s")
    ]
    assert told(before, Changed(1000, priority=0, queue="default", expires_at=NOW + 60)) == []


def test_a_clock_jump_tells_nothing_about_the_single_job() -> None:
    assert told(pending(attempt=1, scheduled_at=NOW), ClockJumped(60)) == []


def test_every_legal_fact_can_be_told_as_a_short_single_line() -> None:
    for before in (None, pending(), running(), running(cancel_requested_at=NOW), ended(Status.FAILED)):
        for fact in (
            submitted(),
            SlotGranted(),
            CancelRequested(),
            RetryRequested(),
            ends(running(), FAILED),
        ):
            try:
                lines = told(before, fact)
            except IllegalFactError:
                continue
            assert lines
            assert all("\n" not in message for _, message in lines)


@pytest.mark.parametrize(
    ("fraction", "message", "told"),
    [
        (0.0, "", "Background job is at 0%"),
        (0.255, "sorting", "Background job is at 26%: sorting"),
        (1.0, "done", "Background job is at 100%: done"),
    ],
)
def test_progress_is_told_in_whole_percent_and_with_its_message(
    fraction: float, message: str, told: str
) -> None:
    assert progress_message(fraction, message) == told


def test_a_start_that_ended_its_fork_server_tells_so_and_that_the_next_goes_alone() -> None:
    why = "not_started: the attempt could not start: its fork server ended before it began (signal 11)"
    assert told(running(), ends(running(), CRASHED)) == [
        (EntryType.FAILURE, f"{why} (attempt 1, no retry spent, next at 14:31:54 UTC, alone)")
    ]
    last = running(attempt=3, crashes=2)
    assert told(last, ends(last, CRASHED)) == [
        (EntryType.FAILURE, f"{why} (attempt 3, no retry spent)"),
        (
            EntryType.FAILURE,
            "quarantined: 3 starts in a row ended their fork server (signal 11); "
            "`bgjob retry 7` has it start again",
        ),
    ]


@pytest.mark.parametrize(
    ("before", "ending", "is_passing"),
    [
        (running(), FAILED, True),
        (running(), INTERRUPTED, True),
        (running(), NOT_STARTED, True),
        (running(), CRASHED, True),
        (running(retry_count=3), FAILED, False),
        (running(), NEVER_AGAIN, False),
        (running(crashes=2), CRASHED, False),
    ],
)
def test_what_went_wrong_passes_as_long_as_it_is_tried_again(
    before: Job, ending: Ending, is_passing: bool
) -> None:
    fact = ends(before, ending)
    found = entries(before, fact, advance(before, fact, NOW))
    assert {entry.is_passing for entry in found if entry.type is EntryType.FAILURE} == {is_passing}


def test_a_hook_that_cannot_start_is_told_of_seven_times_and_not_again_for_as_long_as_it_cannot() -> None:
    found = [hook_could_not_start("no room", in_vain) for in_vain in (1, 6, 7, 8, 10_000)]
    assert found == [
        "could not start: no room",
        "could not start: no room",
        "could not start: no room; 7 starts in a row were in vain: it is tried again each minute, "
        "and by `bgjob reload` at once, of which no more is told here",
        None,
        None,
    ]


AT = 1_700_000_000.0
ONE, SOME = Span(AT, AT), Span(AT, AT + 3600, 61)


@pytest.mark.parametrize(
    ("skipped", "entry"),
    [
        (
            Skipped(ONE, Reason.OVERLAP, 12),
            Entry(
                EntryType.INFO,
                "schedule nightly: occurrence 2023-11-14 22:13:20 UTC skipped: job 12 has not ended",
            ),
        ),
        (
            Skipped(ONE, Reason.HELD, 12),
            Entry(
                EntryType.INFO,
                "schedule nightly: occurrence 2023-11-14 22:13:20 UTC skipped: job 12 has its unique key",
            ),
        ),
        (
            Skipped(SOME, Reason.MISSED),
            Entry(
                EntryType.INFO,
                "schedule nightly: 61 occurrences from 2023-11-14 22:13:20 UTC to 2023-11-14 23:13:20 UTC "
                "skipped: missed",
            ),
        ),
        (
            Skipped(ONE, Reason.QUEUE_FULL),
            Entry(
                EntryType.FAILURE,
                "schedule nightly: occurrence 2023-11-14 22:13:20 UTC skipped: queue full",
            ),
        ),
    ],
)
def test_occurrences_that_became_no_job_are_told_with_their_times_and_why(
    skipped: Skipped, entry: Entry
) -> None:
    assert skip_entry("nightly", skipped) == entry
