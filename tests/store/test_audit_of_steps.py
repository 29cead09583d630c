"""What the audit finds where steps, waits, signals and values contradict their jobs, or each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.words import MOST_STATE_BYTES
from bgjobd.core.planner import Lanes
from bgjobd.store.audit import Audit
from bgjobd.store.items.attempts import StateSaved, ValueNote
from tests.store.samples import NOW, Store, does, done, signal, waits


@pytest.fixture
def audit(store: Store) -> Iterator[Audit]:
    audit = Audit(store.state_dir)
    yield audit
    audit.close()


def told(audit: Audit) -> list[str]:
    return [odd.told for odd in audit.oddities()]


@pytest.fixture
def job_id(store: Store) -> int:
    """One that has a step, a state and values, has got a signal, has been sent another, and sleeps."""
    job_id = store.run_one()
    store.commit(StateSaved(job_id, 1, 1, "{}"))
    values = ValueNote(NOW, 1, None, "1"), ValueNote(NOW, 2, None, "22")
    store.commit(does(job_id, done("a", "12"), *values), signal(job_id), waits(job_id), lanes=Lanes(1))
    store.commit(signal(job_id), waits(job_id, "sleep", delay=60.0, number=2))
    return job_id


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("UPDATE background_jobs SET steps = 7", "it counts 7 steps, and has 2, the last is number 2"),
        ("UPDATE background_jobs SET step_bytes = 7", "its steps are said to take 7 bytes, and take 6"),
        ("UPDATE background_jobs SET carries = 0", "it has steps, which would not be deleted with it"),
        (
            "UPDATE background_jobs SET waiting_on = NULL",
            "its ready says that it waits, and nothing says for what",
        ),
        (
            "UPDATE background_jobs SET waiting_on = 'signal b'",
            "it waits for signal b, and its open wait is for sleep 1",
        ),
        ("DELETE FROM job_steps", "it counts steps, or waits, and no row tells of that"),
        (
            "INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, is_awaited, timed_out) "
            "SELECT job_id, kind, name, 2, attempt, 1, began_at, 0, 0 FROM job_steps WHERE kind = 'sleep'",
            "it waits for 2 things at once",
        ),
        (
            "UPDATE job_steps SET number = 3 WHERE number = 2",
            "it counts 2 steps, and has 2, the last is number 3",
        ),
        (
            "UPDATE job_signals SET taken_by = 'packed 7' WHERE number = 2",
            "its signal 2 was taken by wait packed 7, which knows nothing of it",
        ),
        (
            "UPDATE job_signals SET payload = '7' WHERE number = 1",
            "its signal 1 was taken by wait packed 1, which knows nothing of it",
        ),
        ("UPDATE job_signals SET taken_by = NULL", "its wait packed 1 is settled, and has taken 0 signals"),
        (
            "UPDATE job_signals SET taken_by = 'packed 1'",
            "its wait packed 1 is settled, and has taken 2 signals",
        ),
        (
            "UPDATE job_steps SET attempt = 0 WHERE kind = 'step'",
            "no attempt of it began its step a, and it has none of another job's",
        ),
        (
            "UPDATE job_steps SET attempt = 0 WHERE kind = 'sleep'",
            "no attempt of it began its step , and it has none of another job's",
        ),
        ("UPDATE background_jobs SET again_of = id", "it calls a job again that was submitted later"),
        (
            "UPDATE job_steps SET timed_out = 1 WHERE kind = 'signal'",
            "its wait packed 1 is settled, and has taken 1 signals",
        ),
        ("UPDATE job_states SET job_id = 99", "it has a state, and there is no such job"),
        ("UPDATE job_states SET attempt = 7", "its state was saved by attempt 7, and there is none"),
        ("UPDATE job_states SET value = '{'", "its state is none that an attempt can save"),
        ("UPDATE job_states SET value = '[]'", "its state is none that an attempt can save"),
        pytest.param(
            f'UPDATE job_states SET value = \'{{"a": "{"0" * MOST_STATE_BYTES}"}}\'',
            "its state is none that an attempt can save",
            id="too large a state",
        ),
        ("UPDATE job_signals SET job_id = 99", "it was sent signal 1, and there is no such job"),
        ("UPDATE job_values SET job_id = 99", "it has emitted values, and there is no such job"),
        (
            "UPDATE job_values SET number = 3 WHERE number = 2",
            "it has 2 values, whose numbers are of 3",
        ),
        (
            "UPDATE job_values SET ends = 9 WHERE number = 2",
            "its values are said to take 9 bytes, and take 3",
        ),
        ("UPDATE job_steps SET job_id = 99", "it has steps, and there is no such job"),
        (
            "UPDATE background_jobs SET status = 'cancelled', finished_at = '', cancel_requested_at = ''",
            "it is cancelled, and still waits for something",
        ),
        (
            "UPDATE background_jobs SET status = 'failed', finished_at = created_at, error = 'x', waiting_on = NULL",
            "it is failed, and its latest attempt (suspended) is no reason for that",
        ),
    ],
)
def test_what_contradicts_itself_is_told(
    store: Store, audit: Audit, job_id: int, change: str, found: str
) -> None:
    assert told(audit) == []
    store.database.execute_sql(change)
    assert found in told(audit)


def test_the_books_of_jobs_without_steps_are_read_as_before(store: Store, audit: Audit) -> None:
    store.run_one(retry_count=2)
    assert told(audit) == []
