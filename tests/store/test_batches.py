"""Items of one transaction: what one sees of those before it, what a refused one leaves, how often SQL is run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from bgjob.errors import (
    IdempotencyConflictError,
    InvalidStateError,
    JobNotFoundError,
    QueueFullError,
)
from bgjob.words import EntryType, Status
from bgjobd.core.edges import Group, Of
from bgjobd.core.facts import ClockJumped
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.state_machine import IllegalFactError
from bgjobd.store.batch import Batch, Gathered, Overlay, Unsettled
from bgjobd.store.committed import Committed, Stored
from bgjobd.store.items.attempts import AttemptNotes, Note, Noted
from bgjobd.store.items.holds import QueuePaused
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.progress import Steps
from bgjobd.store.tally import NOTHING, Countable, Move
from tests.core.samples import ended, pending, running
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    statements_run_on,
    submission,
    text,
)

HALF = Note(NOW, EntryType.INFO, "half", 0.5)
TABLES = ("background_jobs", "job_attempts", "job_logs", "sqlite_sequence")


def everything(store: Store) -> list[Any]:
    return [store.rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def on_file(store: Store, job_id: int) -> tuple[Any, ...]:
    job = store.job(job_id)
    return job["status"], job["retry_count"], job["scheduled_at"], job["finished_at"], job["error"]


# What an item sees of those before it


def test_a_whole_life_may_be_in_one_batch(store: Store) -> None:
    job_id = store.run_one()
    notes = AttemptNotes(job_id, 1, 0, (HALF,))
    committed = store.commit(starts(job_id), notes, ends(job_id, FAILED), cancels(job_id), retries(job_id))
    *_, failed, (cancelled,), (retried,) = committed.answers
    assert [failed.status, cancelled.status, retried.status] == ["pending", "cancelled", "pending"]
    assert (failed.retry_count, failed.error) == (1, "ValueError: no recipient")
    assert json.loads(retried.progress)["fraction"] == 0.5
    assert on_file(store, job_id) == ("pending", 0, None, None, None)
    (attempt,) = store.attempts(job_id)
    assert (attempt["pid"], attempt["outcome"], attempt["noted"]) == (4711, "failed", 1)
    assert store.messages(job_id)[2:] == [
        "Background job started",
        "Background job is at 50%: half",
        "ValueError: no recipient (attempt 1 of 4, next at 14:31:58 UTC)",
        "Background job waits for retry 1 of 3 at 14:31:58 UTC",
        "Background job cancelled",
        "Background job retry requested",
    ]
    assert [line.message for line in committed.lines] == store.messages(job_id)[2:]
    assert committed.tally.jobs == {"pending": 1}


def test_two_facts_of_one_job_come_to_the_same_in_one_batch_as_in_two(store: Store) -> None:
    together, apart = store.run_one(), store.run_one()
    facts = [lambda id: cancels(id), lambda id: ends(id, FAILED), lambda id: retries(id)]
    store.commit(*[fact(together) for fact in facts])
    for fact in facts:
        store.commit(fact(apart))
    assert on_file(store, together) == on_file(store, apart)
    assert store.messages(together) == store.messages(apart)


def test_the_same_job_twice_in_one_request_is_asked_the_second_time_as_it_stands_then(store: Store) -> None:
    (job_id,) = store.submit(asked())
    before = everything(store)
    refused = store.answer(cancels(job_id, job_id))
    assert isinstance(refused, InvalidStateError)
    assert refused.parameters == {"id": job_id, "status": "cancelled"}
    assert everything(store) == before


def test_a_job_may_be_cancelled_in_the_batch_that_stores_it(store: Store) -> None:
    committed = store.commit(submission(asked()), cancels(1), Noted(1, None, EntryType.INFO, "n"))
    assert committed.answers[0] == (Stored(1, created=True),)
    assert [job.status for job in committed.ended] == [Status.CANCELLED]
    assert store.job(1)["status"] == "cancelled"
    assert store.messages(1) == ["Background job initiated", "Background job cancelled", "n"]


def test_notes_of_one_attempt_that_overlap_in_one_batch_are_written_once(store: Store) -> None:
    job_id = store.run_one()
    told = [replace(HALF, message=f"n{number}", progress=None) for number in range(4)]
    store.commit(AttemptNotes(job_id, 1, 0, tuple(told[:2])), AttemptNotes(job_id, 1, 1, tuple(told[1:])))
    assert store.messages(job_id)[2:] == ["n0", "n1", "n2", "n3"]
    assert store.attempts(job_id)[0]["noted"] == 4


def test_another_user_may_not_guess_at_the_secrets_of_a_job_of_the_same_batch(store: Store) -> None:
    secret = asked(idempotency_key="k", parameters={"password": "hunter2"}, sensitive=("password",))
    theirs = replace(submission(secret), submitter=Submitter(uid=2000, gid=2000, pid=1))
    mine, refused, again = store.commit(submission(secret), theirs, submission(secret)).answers
    assert (mine, again) == ((Stored(1, created=True),), (Stored(1, created=False),))
    assert isinstance(refused, IdempotencyConflictError)


def test_what_waits_for_a_retry_since_this_batch_moves_with_a_clock_that_is_set_in_it(store: Store) -> None:
    early, late = store.run_one(), store.run_one()
    store.commit(ends(early, FAILED), ClockJumped(100.0), ends(late, FAILED))
    assert store.job(early)["scheduled_at"] == text(NOW + 105)
    assert store.job(late)["scheduled_at"] == text(NOW + 5)


def test_a_job_that_ends_in_a_batch_may_be_deleted_in_it_unless_it_has_entries_to_come(store: Store) -> None:
    first, second = store.run_one(), store.run_one()
    store.commit(ends(first, COMPLETED), Noted(second, 1, EntryType.INFO, "the newest entry"))
    key = asked(idempotency_key="k")
    _, deleted, *stored = store.commit(
        ends(second, COMPLETED),
        Deletion((first, second), 10**9),
        cancels(first),
        submission(key),
        QueuePaused("mail"),
        submission(key),
    ).answers
    assert deleted.jobs == (first,)
    assert isinstance(stored[0], JobNotFoundError)
    assert stored[1:] == [(Stored(3, created=True),), None, (Stored(3, created=False),)]


# What a refused item leaves


def test_an_illegal_fact_between_good_ones_leaves_nothing(store: Store) -> None:
    one, other, third = store.run_one(), store.run_one(), store.run_one()
    committed = store.commit(
        ends(one, COMPLETED), ends(other, COMPLETED, number=7), starts(other, number=2), ends(third, FAILED)
    )
    good, wrong, early, failed = committed.answers
    assert [good.status, failed.status] == ["completed", "pending"]
    assert isinstance(wrong, IllegalFactError)
    assert isinstance(early, IllegalFactError)
    assert {line.job_id for line in committed.lines} == {job.id for job in committed.changed} == {one, third}
    assert len(committed.attempts) == 2
    assert store.job(other)["status"] == "running"
    assert [row["outcome"] for row in store.attempts(other)] == [None]
    assert committed.tally.jobs == {"completed": 1, "running": 1, "pending": 1}


def test_of_a_request_that_is_refused_in_the_end_nothing_is_left_for_those_after_it(store: Store) -> None:
    one, other = store.submit(asked(), asked())
    refused, (cancelled,) = store.commit(cancels(one, other, 99), cancels(one)).answers
    assert isinstance(refused, JobNotFoundError)
    assert cancelled.status is Status.CANCELLED
    assert store.job(other)["status"] == "pending"
    assert store.messages(one) == ["Background job initiated", "Background job cancelled"]


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (asked(queue="full", idempotency_key="k"), QueueFullError),
        (asked(queue="\ud800", idempotency_key="k"), ValueError),
        (asked(idempotency_key="\ud800"), ValueError),
        (asked(priority=2**63, idempotency_key="k"), OverflowError),
        (asked(scheduled_at=253_402_304_399.0, idempotency_key="k"), (ValueError, OverflowError)),
    ],
    ids=["full", "text", "key", "number", "time"],
)
def test_a_submit_that_is_refused_leaves_no_job_no_id_no_key_no_entry_and_no_place(
    store: Store, bad: Any, error: Any
) -> None:
    lanes = Lanes(0, {"default": None, "full": None}, max_pending={"full": 0, "default": 2})
    good = asked(idempotency_key="good")
    refused, stored = store.commit(submission(good, bad), submission(good, asked()), lanes=lanes).answers
    assert isinstance(refused, error)
    assert stored == (Stored(1, created=True), Stored(2, created=True))
    other = asked(idempotency_key="k", digest="other")
    store.now += 1
    assert store.answer(submission(other)) == (Stored(3, created=True),)
    assert [row["id"] for row in store.rows("SELECT id FROM job_logs")] == [1, 2, 3]


def test_a_job_that_a_refused_submit_would_have_stored_is_not_there_for_those_after_it(store: Store) -> None:
    refused, missing = store.commit(submission(asked(), asked(queue="\ud800")), cancels(1)).answers
    assert isinstance(refused, ValueError)
    assert isinstance(missing, JobNotFoundError)


def test_an_end_that_the_file_cannot_hold_is_refused_alone(store: Store) -> None:
    one, other, third = store.run_one(), store.run_one(), store.run_one()
    bad, good, large = store.commit(
        ends(one, Ending.failed("ValueError", "\ud800")),
        ends(other, COMPLETED),
        ends(third, Ending.exited(2**64)),
    ).answers
    assert isinstance(bad, ValueError)
    assert good.status is Status.COMPLETED
    assert isinstance(large, OverflowError)
    assert [store.job(id)["status"] for id in (one, other, third)] == ["running", "completed", "running"]


@pytest.mark.parametrize("id", [0, -1, 2**63 - 1, 2**63, 10**30])
def test_no_number_is_too_large_to_be_no_job(store: Store, id: int) -> None:
    good, *refused = store.commit(submission(asked()), cancels(id), ends(id, COMPLETED)).answers
    assert good == (Stored(1, created=True),)
    assert [type(error) for error in refused] == [JobNotFoundError] * 2


# How often the file is asked


def reads(store: Store, *items: Item) -> tuple[Committed, list[str]]:
    with statements_run_on(store.database) as run:
        committed = store.commit(*items)
    return committed, [statement for statement in run if not statement.startswith(("INSERT", "UPDATE"))]


def test_the_file_is_asked_as_often_for_many_items_as_for_one_of_each_kind(store: Store) -> None:
    def items(*job_ids: int) -> list[Item]:
        return [
            item
            for id in job_ids
            for item in (
                starts(id),
                AttemptNotes(id, 1, 0, (HALF,)),
                ends(id, Ending.not_started("no memory")),
                cancels(id),
                submission(asked(idempotency_key=f"k{id}"), asked()),
            )
        ]

    first, *others = [store.run_one() for _ in range(30)]
    of_one, asked_for_one = reads(store, *items(first))
    of_many, asked_for_many = reads(store, *items(*others))
    assert not [answer for answer in of_one.answers + of_many.answers if isinstance(answer, Exception)]
    # Beside others it locks, and asks for what they did.
    most = 12 if isinstance(store.state_dir, Path) else 14
    assert len(asked_for_many) == len(asked_for_one) < most
    assert SUBMITTER.uid == store.job(31)["submitted_uid"]


def empty() -> Batch:
    return Batch(now=NOW, jitter=lambda: 1.0, tally=NOTHING, max_pending={}, max_parameters=1)


NEW: Final = None, pending()


@pytest.mark.parametrize("moves", [(), (NEW,), (NEW, (None, pending(waits_for=1)))], ids=len)
def test_behind_new_jobs_that_are_in_no_group_nothing_is_to_be_settled(moves: tuple[Move, ...]) -> None:
    batch = empty()
    batch.moves += moves
    assert batch.is_followed_by_none


@pytest.mark.parametrize(
    "move",
    [
        (None, pending(group_id=5)),
        (None, Countable(Status.PENDING, "default", None)),
        (running(), ended(Status.COMPLETED)),
        (pending(waits_for=1), ended(Status.CANCELLED)),
        (ended(Status.FAILED), None),
    ],
    ids=["of a group", "of any kind", "ended", "cancelled", "deleted"],
)
def test_behind_any_other_change_of_a_job_something_may_be(move: Move) -> None:
    batch = empty()
    batch.moves += [NEW, move]
    assert not batch.is_followed_by_none


@pytest.mark.parametrize(
    "told",
    [
        {"unsettled": [Unsettled(Of.JOB, 1)]},
        {"groups": {5: Group(5, since_id=0)}},
        {"new_groups": [Group(5, since_id=0)]},
        {"sealed": [5]},
        {"grown": {5: 1000}},
    ],
    ids=lambda told: next(iter(told)),
)
def test_behind_new_jobs_something_may_be_where_groups_or_what_is_unsettled_come_too(
    told: dict[str, Any],
) -> None:
    batch = empty()
    batch.moves.append(NEW)
    vars(batch).update(told)
    assert not batch.is_followed_by_none


def test_whatever_an_item_has_gathered_the_transaction_takes_in() -> None:
    batch = empty()
    overlay = Overlay(batch)
    for name in vars(Gathered()):
        gathered = getattr(overlay, name)
        match gathered:
            case list():
                gathered.append("told")
            case set():
                gathered.add("told")
            case dict():
                gathered["told"] = Steps([], None) if name == "progressed" else 1
            case tuple():
                overlay.class_ends = ("told",)  # type: ignore[assignment]
            case float():
                overlay.next_expiry = NOW
    batch.take_in(overlay)
    assert {name for name in vars(Gathered()) if not getattr(batch, name)} == set()
    assert batch.next_expiry == NOW


def test_an_item_that_has_gathered_little_has_little() -> None:
    overlay = Overlay(Batch(now=NOW, jitter=lambda: 1.0, tally=NOTHING, max_pending={}, max_parameters=1))
    overlay.groups[1] = None  # type: ignore[assignment]
    assert overlay.seldom == ["groups"]
    with pytest.raises(AttributeError):
        overlay.unheard_of  # type: ignore[attr-defined]  # noqa: B018
