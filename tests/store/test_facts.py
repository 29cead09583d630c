"""What happens to a job, in a real file: its row, its attempts, its log, and what is refused."""

from __future__ import annotations

import pytest
from peewee import DatabaseError

from bgjob.errors import InvalidStateError, JobNotFoundError
from bgjob.words import EntryType, Outcome, Status
from bgjobd.core.facts import AttemptStarted
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.store.committed import Committed, EndedAttempt, LostUpdateError, Stored
from bgjobd.store.items.attempts import JobFact, Noted
from bgjobd.store.items.daemons import Look
from bgjobd.store.ledger import Ledger
from bgjobd.store.statements import of_jobs
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    LOST,
    NO_SLOTS,
    NOW,
    STOPPED,
    USAGE,
    Store,
    asked,
    cancels,
    ends,
    new_database,
    overhear,
    retries,
    starts,
    submission,
    text,
)


def test_a_start_is_recorded_with_its_process_its_own_time_and_its_code(store: Store) -> None:
    job_id = store.run_one()
    store.now += 5
    job = store.answer(JobFact(job_id, AttemptStarted(1, pid=4711, at=NOW + 0.25, code_version="2024-12")))
    assert job.status is Status.RUNNING
    (attempt,) = store.attempts(job_id)
    assert (attempt["pid"], attempt["started_at"]) == (4711, text(NOW + 0.25))
    assert (attempt["code_version"], attempt["outcome"]) == ("2024-12", None)


def test_an_end_is_recorded_with_its_evidence_and_usage(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(starts(job_id), ends(job_id, COMPLETED, at=NOW + 1, usage=USAGE))
    job = store.job(job_id)
    assert (job["status"], job["result"], job["error"]) == ("completed", '{"sent":1}', None)
    assert (job["finished_at"], job["ready"]) == (text(NOW + 1), 1)
    (attempt,) = store.attempts(job_id)
    assert attempt | {"token": "", "boot_id": ""} == {
        "job_id": job_id,
        "number": 1,
        "token": "",
        "boot_id": "",
        "pid": 4711,
        "started_at": text(NOW),
        "finished_at": text(NOW + 1),
        "outcome": "completed",
        "exit_code": None,
        "signal": None,
        "error_type": None,
        "error_class": None,
        "error_message": None,
        "traceback": None,
        "max_rss": 1 << 20,
        "cpu_user": 0.25,
        "cpu_system": 0.125,
        "output_bytes": 42,
        "code_version": None,
        "noted": 0,
        "valued": 0,
        "host": None,
        "error_group": None,
        "waited": 0.0,
        "hook_host": None,
        "hook_called_at": None,
        "spends_retry": 1,
        "progress": None,
    }
    assert [after.id for after in committed.ended] == [job_id]


def test_a_failure_is_recorded_with_type_message_and_traceback(store: Store) -> None:
    job_id = store.run_one(retry_count=3)
    store.commit(ends(job_id, FAILED))
    (attempt,) = store.attempts(job_id)
    assert (attempt["outcome"], attempt["error_type"]) == ("failed", "ValueError")
    assert attempt["error_class"] == "builtins.ValueError"
    assert (attempt["error_message"], attempt["traceback"]) == ("no recipient", "Traceback …")
    assert attempt["max_rss"] is None
    job = store.job(job_id)
    assert (job["status"], job["error"]) == ("failed", "ValueError: no recipient")


@pytest.mark.parametrize(
    ("ending", "column", "value"),
    [
        (Ending.exited(3), "exit_code", 3),
        (Ending.exited(0), "exit_code", 0),
        (Ending.signalled(9), "signal", 9),
    ],
)
def test_an_end_without_an_outcome_is_recorded_by_its_number(
    store: Store, ending: Ending, column: str, value: int
) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, ending))
    assert store.attempts(job_id)[0][column] == value


def test_only_a_final_status_counts_as_ended(store: Store) -> None:
    job_id = store.run_one()
    assert store.commit(ends(job_id, FAILED)).ended == ()
    job = store.job(job_id)
    assert (job["status"], job["retry_count"], job["scheduled_at"]) == ("pending", 1, text(NOW + 5))
    assert job["finished_at"] is None


def test_the_log_tells_a_life_in_order(store: Store) -> None:
    store.commit(submission(asked()), lanes=Lanes(1))
    store.commit(starts(1), ends(1, FAILED))
    store.now += 5
    store.commit(Look(), lanes=Lanes(1))
    store.commit(starts(1, 2), ends(1, COMPLETED, 2))
    rows = store.rows("SELECT type, attempt, message FROM job_logs ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("success", None, "Background job initiated"),
        ("success", 1, "Background job dispatched on Linux platform"),
        ("success", 1, "Background job started"),
        ("failure", 1, "ValueError: no recipient (attempt 1 of 4, next at 14:31:58 UTC)"),
        ("info", 1, "Background job waits for retry 1 of 3 at 14:31:58 UTC"),
        ("success", 2, "Background job dispatched on Linux platform"),
        ("success", 2, "Background job started"),
        ("success", 2, "Background job completed processing"),
    ]


def test_each_entry_of_an_attempt_tells_how_many_there_were_to_be_then(store: Store) -> None:
    """As the messages do; later nobody could tell: a snooze adds one, a retry by a person as many as at first."""
    store.commit(submission(asked()), lanes=Lanes(1))
    store.commit(starts(1), ends(1, Ending.snoozed(5.0)))
    store.now += 5
    store.commit(Look(), lanes=Lanes(1))
    store.commit(starts(1, 2), ends(1, FAILED, 2))
    store.commit(cancels(1))
    store.commit(retries(1), lanes=Lanes(1))
    committed = store.commit(starts(1, 3), cancels(1), ends(1, STOPPED, 3))
    rows = store.rows("SELECT message, attempt, attempts_allowed FROM job_logs ORDER BY id")
    assert [tuple(row.values()) for row in rows] == [
        ("Background job initiated", None, None),
        ("Background job dispatched on Linux platform", 1, 4),
        ("Background job started", 1, 4),
        ("Background job snoozed until 14:31:58 UTC", 1, 4),
        ("Background job dispatched on Linux platform", 2, 5),
        ("Background job started", 2, 5),
        ("ValueError: no recipient (attempt 2 of 5, next at 14:32:03 UTC)", 2, 5),
        ("Background job waits for retry 1 of 3 at 14:32:03 UTC", 2, 5),
        ("Background job cancelled", 2, None),
        ("Background job retry requested", 2, None),
        ("Background job dispatched on Linux platform", 3, 6),
        ("Background job started", 3, 6),
        ("Background job cancel requested", 3, 6),
        ("Background job cancelled", 3, 6),
    ]
    assert [line.attempts_allowed for line in committed.lines] == [6, 6, 6]


def test_the_committed_lines_are_those_in_the_file(store: Store) -> None:
    store.submit(asked(), asked())
    committed = store.commit(cancels(2), lanes=Lanes(2))
    rows = store.rows("SELECT job_id, type, message FROM job_logs WHERE id > 2 ORDER BY id")
    assert [(line.job_id, line.type, line.message) for line in committed.lines] == [
        tuple(row.values()) for row in rows
    ]


# Attempts that could not start


def delays_of(store: Store, job_id: int, number: int, *endings: Ending) -> list[float]:
    """How long the job waits after each, its attempts being numbered on; each is claimed when it is due."""
    delays = []
    for ending in endings:
        after = store.answer(ends(job_id, ending, number))
        delays.append(after.scheduled_at - store.now)
        store.now = after.scheduled_at
        store.claim(Lanes(1))
        number += 1
    return delays


CANNOT_START = Ending.not_started("no memory")


def test_a_job_that_cannot_start_is_tried_ever_more_rarely_up_to_once_a_minute(store: Store) -> None:
    job_id = store.run_one()
    assert delays_of(store, job_id, 1, *[CANNOT_START] * 9) == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert store.job(job_id)["retry_count"] == 0


@pytest.mark.parametrize("begun", [FAILED, LOST, Ending.snoozed(7)], ids=lambda ending: ending.outcome)
def test_only_attempts_in_a_row_count(store: Store, begun: Ending) -> None:
    job_id = store.run_one()
    delays = delays_of(store, job_id, 1, CANNOT_START, CANNOT_START, begun, CANNOT_START, CANNOT_START)
    assert (delays[:2], delays[3:]) == ([1, 2], [1, 2])


def test_the_attempts_of_another_job_do_not_count(store: Store) -> None:
    other = store.run_one()
    store.commit(ends(other, FAILED), cancels(other))
    job_id = store.run_one()
    assert delays_of(store, job_id, 1, CANNOT_START, CANNOT_START) == [1, 2]


def test_a_delay_that_the_fact_names_is_taken_and_the_attempt_counts(store: Store) -> None:
    job_id = store.run_one()
    given_back = Ending.not_started("the daemon ended", delay=0.0)
    assert delays_of(store, job_id, 1, given_back, CANNOT_START, given_back) == [0, 2, 0]


def test_the_delay_is_jittered_and_told_as_it_is(store: Store) -> None:
    job_id = store.run_one()
    store.ledger = Ledger(store.database, BOOT, jitter=lambda: 0.0)
    assert delays_of(store, job_id, 1, CANNOT_START, CANNOT_START, CANNOT_START) == [0.5, 1.0, 2.0]
    (told,) = [message for message in store.messages(job_id) if "attempt 3" in message]
    assert (
        told
        == "not_started: the attempt could not start: no memory (attempt 3, no retry spent, next at 14:31:56 UTC)"
    )


# Notes


def test_a_note_is_an_entry_of_the_jobs_log_and_changes_nothing_else(store: Store) -> None:
    job_id = store.run_one()
    before = store.job(job_id)
    store.now += 1
    committed = store.commit(Noted(job_id, 1, EntryType.FAILURE, "the hook on_failure ended with code 1"))
    assert committed.answers == (None,)
    (line,) = committed.lines
    assert (line.at, line.type, line.job_id, line.attempt) == (store.now, EntryType.FAILURE, job_id, 1)
    assert (line.target, line.context) == ("myapp.jobs.ExampleJob::run", None)
    row = store.rows("SELECT * FROM job_logs ORDER BY id")[-1]
    assert (row["type"], row["attempt"], row["message"], row["created_at"]) == (
        "failure",
        1,
        "the hook on_failure ended with code 1",
        text(store.now),
    )
    assert store.job(job_id) == before


def test_a_note_about_a_job_as_a_whole_names_no_attempt(store: Store) -> None:
    (job_id,) = store.submit(asked())
    store.commit(Noted(job_id, None, EntryType.INFO, "n"))
    assert store.rows("SELECT attempt FROM job_logs WHERE message = 'n'") == [{"attempt": None}]


def test_a_note_about_a_job_that_does_not_exist_costs_its_neighbours_nothing(store: Store) -> None:
    committed = store.commit(Noted(99, 1, EntryType.INFO, "n"), submission(asked()))
    refused, stored = committed.answers
    assert isinstance(refused, JobNotFoundError)
    assert refused.parameters == {"id": 99}
    assert stored == (Stored(1, created=True),)
    assert store.messages(99) == []


def test_a_note_that_utf_8_cannot_hold_is_stored_with_what_it_can(store: Store) -> None:
    (job_id,) = store.submit(asked())
    store.commit(Noted(job_id, None, EntryType.INFO, "bad \ud800 text"))
    assert store.messages(job_id)[-1] == "bad ? text"


# Requests


def test_a_cancel_of_several_jobs_is_answered_with_them_in_order(store: Store) -> None:
    running = store.run_one()
    (waiting,) = store.submit(asked())
    committed = store.commit(cancels(waiting, running))
    ((first, second),) = committed.answers
    assert (first.id, first.status) == (waiting, Status.CANCELLED)
    assert (second.id, second.status) == (running, Status.RUNNING)
    assert [job.id for job in committed.ended] == [waiting]
    assert store.job(running)["cancel_requested_at"] == text(NOW)

    store.commit(ends(running, STOPPED))
    assert store.job(running)["status"] == "cancelled"


def stops(committed: Committed) -> list[tuple[int, int]]:
    return [(job.id, job.attempt) for job in committed.stops]


def test_the_running_jobs_that_somebody_wants_cancelled_are_told_with_their_attempts(store: Store) -> None:
    one, other = store.run_one(), store.run_one()
    (waiting,) = store.submit(asked())
    assert stops(store.commit(starts(one))) == []
    assert stops(store.commit(cancels(waiting, other), starts(other))) == [(other, 1)]
    assert stops(store.commit(cancels(other))) == [(other, 1)], "wanted again"
    assert stops(store.commit(Look())) == []


def test_a_request_that_is_refused_stops_none_of_its_jobs(store: Store) -> None:
    one, other = store.run_one(), store.run_one()
    committed = store.commit(cancels(one), cancels(other, 99), starts(other))
    assert stops(committed) == [(one, 1)]
    assert store.job(other)["cancel_requested_at"] is None


def test_a_job_whose_end_comes_in_with_the_request_has_nothing_to_stop(store: Store) -> None:
    one, other = store.run_one(), store.run_one()
    committed = store.commit(cancels(one, other), ends(one, COMPLETED), retries(one), lanes=Lanes(2))
    assert isinstance(committed.answers[2], InvalidStateError)
    assert stops(committed) == [(other, 1)]
    committed = store.commit(cancels(other), ends(other, FAILED), retries(other), lanes=Lanes(2))
    assert stops(committed) == []
    assert [(claim.job.id, claim.job.attempt) for claim in committed.claims] == [(other, 2)]


def test_a_request_about_a_job_that_cannot_see_it_changes_none_of_its_jobs(store: Store) -> None:
    done = store.run_one()
    store.commit(ends(done, COMPLETED))
    (waiting,) = store.submit(asked())
    committed = store.commit(cancels(waiting, done))
    (refused,) = committed.answers
    assert isinstance(refused, InvalidStateError)
    assert refused.parameters == {"id": done, "status": "completed"}
    assert (committed.ended, committed.lines) == ((), ())
    assert store.job(waiting)["status"] == "pending"
    assert store.messages(waiting) == ["Background job initiated"]


def test_a_request_about_a_job_that_does_not_exist_changes_none_of_its_jobs(store: Store) -> None:
    (waiting,) = store.submit(asked())
    refused = store.answer(cancels(waiting, 99))
    assert isinstance(refused, JobNotFoundError)
    assert refused.parameters == {"id": 99}
    assert store.job(waiting)["status"] == "pending"


def test_a_retry_is_refused_while_the_job_is_not_over(store: Store) -> None:
    (waiting,) = store.submit(asked())
    assert isinstance(store.answer(retries(waiting)), InvalidStateError)


def test_a_retry_by_a_person_clears_the_end_and_keeps_the_attempts(store: Store) -> None:
    job_id = store.run_one(retry_count=3)
    store.commit(ends(job_id, FAILED))
    store.commit(retries(job_id))
    job = store.job(job_id)
    assert (job["status"], job["retry_count"], job["finished_at"], job["error"]) == ("pending", 0, None, None)
    assert (job["scheduled_at"], job["ready"]) == (None, 1)
    assert [row["outcome"] for row in store.attempts(job_id)] == ["failed"]


# What goes wrong


def test_a_bug_is_the_answer_of_its_item_and_costs_its_neighbours_nothing(store: Store) -> None:
    one, other = store.run_one(), store.run_one()
    committed = store.commit(
        ends(one, COMPLETED),
        ends(one, COMPLETED),
        ends(99, COMPLETED),
        ends(other, COMPLETED, 2),
        starts(other),
    )
    good, twice, unknown, wrong_number, started = committed.answers
    assert good.status is Status.COMPLETED
    assert isinstance(twice, IllegalFactError)
    assert isinstance(unknown, JobNotFoundError)
    assert isinstance(wrong_number, IllegalFactError)
    assert started.status is Status.RUNNING
    assert [job.id for job in committed.ended] == [one]
    assert store.messages(one).count("Background job completed processing") == 1


def test_an_end_that_came_twice_leaves_the_first_in_the_file(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, COMPLETED, usage=USAGE))
    assert isinstance(store.answer(ends(job_id, LOST)), IllegalFactError)
    (attempt,) = store.attempts(job_id)
    assert (attempt["outcome"], attempt["max_rss"]) == ("completed", 1 << 20)


def test_a_job_that_another_writer_changed_is_not_overwritten(store: Store) -> None:
    """It is found by the number of rows that were written together; who writes them apart knows whose they are."""
    one, other, third = store.run_one(), store.run_one(), store.run_one()
    database = new_database(store.state_dir)
    is_there = True

    def change(sql: str) -> None:
        if sql == of_jobs.UPDATE_JOB and is_there:
            database.execute_sql("UPDATE background_jobs SET status = 'failed' WHERE id = ?", (one,))

    overhear(database, change)
    ledger = Ledger(database, BOOT, jitter=lambda: 1.0)
    before = store.rows("SELECT * FROM job_logs"), store.attempts(one)
    facts = [ends(one, COMPLETED, usage=USAGE), ends(other, COMPLETED), ends(third, FAILED)]
    with pytest.raises(LostUpdateError) as lost:
        ledger.commit([*facts, submission(asked())], NO_SLOTS, NOW)
    assert str(lost.value) == (f"job {one} was running, or one of 2 others, a moment ago and is not any more")
    with pytest.raises(LostUpdateError) as lost:
        ledger.commit(facts[:1], NO_SLOTS, NOW)
    assert str(lost.value) == f"job {one} was running a moment ago and is not any more"
    assert [store.job(id)["status"] for id in (one, other, third)] == ["running"] * 3
    assert (store.rows("SELECT * FROM job_logs"), store.attempts(one)) == before
    is_there = False
    committed = ledger.commit([*facts[1:], submission(asked())], NO_SLOTS, NOW)
    database.close()
    assert [job.id for job in committed.ended] == [other]
    (new,) = committed.answers[-1]  # PostgreSQL leaves a gap for the one that came to nothing
    assert {line.job_id for line in committed.lines} == {other, third, new.id}
    assert store.attempts(one)[0]["outcome"] is None


@pytest.mark.parametrize("delay", [1e15, 1e20, float("inf"), float("nan")])
def test_a_delay_that_no_date_can_hold_costs_its_neighbours_nothing(store: Store, delay: float) -> None:
    one, other = store.run_one(), store.run_one()
    committed = store.commit(ends(one, Ending.snoozed(delay)), ends(other, COMPLETED))
    refused, good = committed.answers
    assert isinstance(refused, Exception)
    assert good.status is Status.COMPLETED


def test_a_number_beyond_64_bit_costs_its_neighbours_nothing(store: Store) -> None:
    committed = store.commit(submission(asked(priority=2**63)), submission(asked()))
    refused, after = committed.answers
    assert isinstance(refused, Exception)
    assert after == (Stored(1, created=True),)


FULL = "CREATE TRIGGER full BEFORE INSERT ON {} BEGIN SELECT RAISE(FAIL, 'full'); END"


def test_a_transaction_that_failed_leaves_no_trace_and_can_be_repeated(store: Store) -> None:
    job_id = store.run_one()
    items = (ends(job_id, COMPLETED), submission(asked()))
    store.database.execute_sql(FULL.format("job_logs"))
    with pytest.raises(Exception, match="full"):
        store.commit(*items)
    assert store.job(job_id)["status"] == "running"
    assert store.count("background_jobs") == 1
    store.database.execute_sql("DROP TRIGGER full")
    done, stored = store.commit(*items).answers
    assert (done.status, stored) == (Status.COMPLETED, (Stored(2, created=True),))


@pytest.mark.parametrize("table", ["background_jobs", "job_attempts", "job_logs"])
def test_whatever_the_file_refuses_is_raised_as_peewees_error(store: Store, table: str) -> None:
    """The writer knows no other: one of sqlite3's own would end its thread."""
    store.database.execute_sql(FULL.format(table))
    with pytest.raises(DatabaseError, match="full"):
        store.commit(submission(asked()), lanes=Lanes(1))


# What is counted


def test_a_claim_says_for_how_long_its_job_was_due(store: Store) -> None:
    store.submit(asked(), asked(scheduled_at=NOW + 30), asked())
    store.now += 50
    waited = {claim.job.id: claim.waited for claim in store.claim(Lanes(5))}
    assert waited == {1: 50.0, 2: 20.0, 3: 50.0}
    store.commit(ends(1, FAILED, at=store.now))
    (row,) = store.rows("SELECT scheduled_at FROM background_jobs WHERE id = 1")
    assert row["scheduled_at"] == text(store.now + 5)
    store.now += 12
    assert [claim.waited for claim in store.claim(Lanes(5))] == [7.0]


def test_an_ended_attempt_is_told_with_its_commit_and_how_long_it_had_its_slot(store: Store) -> None:
    first, second = store.run_one(), store.run_one(retry_count=3)
    store.now += 40
    committed = store.commit(ends(first, FAILED, at=NOW + 10), ends(second, FAILED, at=NOW + 20))
    assert committed.attempts == (
        EndedAttempt("myapp.jobs.ExampleJob", Outcome.FAILED, 10.0, True, None, (first, 1), NOW + 10),
        EndedAttempt("myapp.jobs.ExampleJob", Outcome.FAILED, 20.0, False, None, (second, 1), NOW + 20, True),
    )
    assert store.commit(Look()).attempts == ()


def test_an_end_that_is_refused_is_not_counted(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(ends(job_id, COMPLETED), ends(job_id, COMPLETED), ends(99, COMPLETED))
    assert [attempt.outcome for attempt in committed.attempts] == [Outcome.COMPLETED]


@pytest.mark.parametrize("at", [NOW - 1e9, NOW + 1e9])
def test_no_time_of_an_end_can_spoil_what_attempts_add_up_to(store: Store, at: float) -> None:
    job_id = store.run_one()
    store.now += 3
    (attempt,) = store.commit(ends(job_id, COMPLETED, at=at)).attempts
    assert 0.0 <= attempt.seconds <= 3.0
