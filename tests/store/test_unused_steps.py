"""Finished steps that did not come again: they are marked, and the log tells which, and of which code they are."""

from __future__ import annotations

import pytest

from bgjobd.core.facts import AttemptStarted
from bgjobd.core.job import RetryPolicy
from bgjobd.core.log_entries import unused_steps
from bgjobd.core.planner import Lanes
from bgjobd.store.items.attempts import AttemptNotes, JobFact, StepNote, UnusedSteps
from tests.store.samples import COMPLETED, FAILED, NOW, Store, asked, ends


def start(store: Store, job_id: int, number: int, code: str | None) -> None:
    store.commit(JobFact(job_id, AttemptStarted(number, 4711, NOW, code)))


def finished(store: Store, job_id: int, number: int, *names: str) -> None:
    store.commit(AttemptNotes(job_id, number, 0, tuple(StepNote(NOW, name, "1") for name in names)))


def unused_in(store: Store, job_id: int) -> dict[str, int | None]:
    rows = store.rows("SELECT name, unused_in FROM job_steps WHERE job_id = ? ORDER BY number", job_id)
    return {row["name"]: row["unused_in"] for row in rows}


@pytest.fixture
def job_id(store: Store) -> int:
    """Of a job whose first attempt has finished three steps."""
    (job_id,) = store.submit(asked(policy=RetryPolicy(3)))
    store.claim(Lanes(1))
    start(store, job_id, 1, "736711a9ab89")
    finished(store, job_id, 1, "charge", "pack", "label 3")
    store.commit(ends(job_id, FAILED))
    store.now += 3600
    store.claim(Lanes(1))
    return job_id


def test_they_are_marked_with_the_attempt_and_told_with_both_codes(store: Store, job_id: int) -> None:
    start(store, job_id, 2, "9c01d2e4f7aa")
    unused = UnusedSteps(NOW, ("charge", "label 3", "charge", "never"))
    store.commit(AttemptNotes(job_id, 2, 0, (unused,)), ends(job_id, COMPLETED, 2))
    assert unused_in(store, job_id) == {"charge": 2, "pack": None, "label 3": 2}
    told = "2 finished steps did not come again: charge, label 3 (of code 736711a9ab89, this is 9c01d2e4f7aa)"
    (row,) = store.rows("SELECT type, attempt, message FROM job_logs WHERE message LIKE '%did not come%'")
    assert row == {"type": "info", "attempt": 2, "message": told}


def test_the_code_is_told_also_where_the_attempt_begins_and_ends_in_one_transaction(
    store: Store, job_id: int
) -> None:
    store.commit(
        JobFact(job_id, AttemptStarted(2, 4711, NOW, "9c01d2e4f7aa")),
        AttemptNotes(job_id, 2, 0, (UnusedSteps(NOW, ("pack",)),)),
        ends(job_id, COMPLETED, 2),
    )
    told = "1 finished step did not come again: pack (of code 736711a9ab89, this is 9c01d2e4f7aa)"
    assert told in store.messages(job_id)


def test_what_is_told_again_after_a_kill_is_told_once(store: Store, job_id: int) -> None:
    start(store, job_id, 2, None)
    for _ in range(2):
        store.commit(AttemptNotes(job_id, 2, 0, (UnusedSteps(NOW, ("charge",)),)))
    assert store.messages(job_id).count("1 finished step did not come again: charge") == 1


def test_names_of_no_finished_step_are_told_to_nobody(store: Store, job_id: int) -> None:
    store.commit(AttemptNotes(job_id, 2, 0, (StepNote(NOW, "begun"), UnusedSteps(NOW, ("never", "begun")))))
    assert not [message for message in store.messages(job_id) if "did not come" in message]


def test_of_many_the_first_ten_are_named() -> None:
    names = [f"label {n}" for n in range(1000)]
    message = unused_steps(names, ["a"] * 999 + [None], None)
    assert message == f"1,000 finished steps did not come again: {', '.join(names[:10])} and 990 more"
    two = unused_steps(["a", "b"], ["2", "1"], "3")
    assert two == "2 finished steps did not come again: a, b (of code 1, 2, this is 3)"
