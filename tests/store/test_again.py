"""The call of a job that has ended, run again as another job; and a retry from the start, that forgets what is done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bgjob.errors import (
    DuplicateError,
    IdempotencyConflictError,
    InvalidStateError,
    JobNotFoundError,
    QueueFullError,
    StepNotFoundError,
)
from bgjob.words import IfFailed, IfHeld
from bgjobd.core.edges import Node, Of, Ties
from bgjobd.core.facts import RetryRequested
from bgjobd.core.planner import Lanes
from bgjobd.core.unique import Unique
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Stored
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import AgainAsked, Flow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobRequests
from bgjobd.store.reader import Reader
from bgjobd.store.recent import RecentJobs
from tests.core.samples import UNKNOWN
from tests.store.samples import (
    COMPLETED,
    FAILED,
    SUBMITTER,
    Row,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    retries,
    signal,
    starts,
    submission,
    text,
    waits,
)

ONE = Lanes(1)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


@pytest.fixture(autouse=True)
def _balanced(store: Store) -> Iterator[None]:
    """After each test the books balance."""
    yield
    audit = Audit(store.state_dir)
    assert audit.oddities() == ()
    audit.close()


@pytest.fixture
def job_id(store: Store) -> int:
    """One that has charged, got its signal, slept, begun a label that it did not finish, mailed, and failed."""
    job_id = store.run_one(retry_count=1, unique=Unique("order 1"), parameters={"order": 1})
    store.commit(does(job_id, begun("charge"), done("charge", '"c-1"')), signal(job_id, payload=[1]))
    store.commit(waits(job_id), lanes=ONE)
    store.commit(waits(job_id, "sleep", delay=0.0, number=2), lanes=ONE)
    store.commit(does(job_id, begun("label"), done("mail", "7"), number=3), ends(job_id, FAILED, 3))
    store.now += 3600
    store.claim(ONE)
    for number in (4, 5, 6):
        store.commit(ends(job_id, FAILED, number))
        store.now += 3600
        store.claim(ONE)
    return job_id


def again(
    store: Store, reader: Reader, job_id: int, from_step: str | None = None, **given: Any
) -> AgainAsked:
    """As the api asks for it."""
    key, digest, by = given.pop("key", None), given.pop("digest", "d"), given.pop("by", SUBMITTER)
    known = reader.known(job_id)
    source = None if known is None or not known[0].status.is_final else known[0]
    wanted = None
    if source is not None:
        unique = None if source.unique_key is None else Unique(source.unique_key)
        wanted = asked(retry_count=1, unique=unique, idempotency_key=key, digest=digest, **given)
    return AgainAsked(job_id, from_step, source, wanted, key, digest, by)


def new_id(store: Store, reader: Reader, job_id: int, from_step: str | None = None, **given: Any) -> int:
    stored = store.answer(again(store, reader, job_id, from_step, **given))
    assert isinstance(stored, Stored), stored
    assert stored.created
    return stored.id


def steps(store: Store, job_id: int) -> list[Row]:
    order = "ORDER BY number IS NULL, number, name"
    return store.rows(f"SELECT * FROM job_steps WHERE job_id = ? {order}", job_id)


def from_start(*job_ids: int) -> JobRequests:
    return JobRequests(job_ids, RetryRequested(from_start=True))


# Again


def test_what_has_ended_runs_again_as_another_job_that_knows_it(
    store: Store, reader: Reader, job_id: int
) -> None:
    other = new_id(store, reader, job_id, parameters={"order": 2})
    row = store.job(other)
    assert (row["status"], row["again_of"], row["retry_count"], row["parameters"]) == (
        "pending",
        job_id,
        1,
        '{"order":2}',
    )
    assert (row["steps"], row["step_bytes"], row["carries"], row["retry_count_at_submit"]) == (0, 0, 0, 1)
    assert store.messages(job_id)[-1] == f"Background job runs again as {other}, by uid 1000"
    assert store.messages(other) == ["Background job initiated", f"Background job is again of {job_id}"]
    assert steps(store, other) == []
    (claim,) = store.claim(ONE)
    assert (claim.job.id, claim.carry) == (other, None)


def test_from_a_step_on_it_has_what_was_finished_before_that(
    store: Store, reader: Reader, job_id: int
) -> None:
    other = new_id(store, reader, job_id, "mail")
    theirs, own = steps(store, job_id), steps(store, other)
    kept = ("kind", "name", "turn", "number", "began_at", "finished_at", "result", "timed_out", "is_awaited")
    assert [[row[name] for name in kept] for row in own] == [
        [row[name] for name in kept] for row in theirs[:3]
    ]
    assert {(row["attempt"], row["tries"], row["unused_in"]) for row in own} == {(0, 0, None)}
    row = store.job(other)
    assert (row["steps"], row["step_bytes"], row["carries"]) == (3, len('"c-1"') + len("[1]"), 1)
    (claim,) = store.claim(ONE)
    assert json.loads(claim.carry or "") == {
        "steps": [["charge", '"c-1"', False]],
        "waits": [["signal", "packed", 1, "[1]", False], ["sleep", "", 1, None, False]],
        "state": None,
        "emitted": 0,
    }
    store.commit(starts(other), does(other, done("mail", "8")), ends(other, COMPLETED))
    assert [(row["name"], row["number"], row["attempt"]) for row in steps(store, other)][3:] == [
        ("mail", 4, 1)
    ]
    assert [row["result"] for row in steps(store, job_id)][3] == "7"


def test_before_the_first_step_nothing_was_finished(store: Store, reader: Reader, job_id: int) -> None:
    other = new_id(store, reader, job_id, "charge")
    assert (steps(store, other), store.job(other)["carries"]) == ([], 0)


@pytest.mark.parametrize("name", ["label", "packed", "nothing", "", "\ud800"])
def test_what_was_finished_before_a_step_nobody_knows_that_was_not_finished(
    store: Store, reader: Reader, job_id: int, name: str
) -> None:
    answer = store.answer(again(store, reader, job_id, name))
    assert isinstance(answer, StepNotFoundError)
    assert answer.parameters == {"id": job_id, "name": name}
    assert len(store.rows("SELECT id FROM background_jobs")) == 1


def test_several_steps_are_gone_on_at_in_one_transaction(store: Store, reader: Reader, job_id: int) -> None:
    store.database.execute_sql("UPDATE background_jobs SET unique_key = NULL")
    wanted = [again(store, reader, job_id, name) for name in ("mail", "charge", "mail")]
    answers = store.commit(*wanted).answers
    assert [store.job(one.id)["steps"] for one in answers] == [3, 0, 3]


def test_what_has_not_ended_does_not_run_again(store: Store, reader: Reader) -> None:
    (job_id,) = store.submit(asked())
    assert isinstance(store.answer(again(store, reader, job_id)), InvalidStateError)
    store.claim(ONE)
    assert isinstance(store.answer(again(store, reader, job_id)), InvalidStateError)
    assert isinstance(store.answer(again(store, reader, 99)), JobNotFoundError)
    store.commit(starts(job_id), ends(job_id, COMPLETED))
    assert new_id(store, reader, job_id) == job_id + 1


def test_what_waits_for_a_persons_word_does_not_run_again(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, UNKNOWN))
    answer = store.answer(again(store, reader, job_id))
    assert isinstance(answer, InvalidStateError)
    assert str(answer) == f"job {job_id} is failed, for review"


@pytest.mark.parametrize("deed", [retries, from_start], ids=["retried", "retried from the start"])
def test_what_has_changed_since_it_was_read_is_looked_at_again(
    store: Store, reader: Reader, job_id: int, deed: Any
) -> None:
    wanted = again(store, reader, job_id, "mail")
    answers = store.commit(deed(job_id), cancels(job_id), wanted).answers
    assert answers[-1] is None
    assert len(store.rows("SELECT id FROM background_jobs")) == 1


def test_a_retry_in_the_same_moment_does_not_take_the_steps_away(
    store: Store, reader: Reader, job_id: int
) -> None:
    store.database.execute_sql("UPDATE background_jobs SET unique_key = NULL")
    stored, _ = store.commit(again(store, reader, job_id, "mail"), from_start(job_id)).answers
    assert [row["number"] for row in steps(store, stored.id)] == [1, 2, 3]
    assert steps(store, job_id) == []


def test_a_job_that_runs_again_in_the_same_moment_is_not_deleted_and_one_that_is_gone_does_not_run(
    store: Store, reader: Reader, job_id: int
) -> None:
    store.commit(submission(asked()))  # which has the newest entry of the log
    wanted, newest = again(store, reader, job_id), store.rows("SELECT max(id) AS id FROM job_logs")[0]["id"]
    stored, deleted = store.commit(wanted, Deletion((job_id,), newest)).answers
    assert (stored.created, deleted.jobs) == (True, ())
    store.commit(cancels(stored.id))
    wanted = again(store, reader, job_id)
    deleted, answer = store.commit(Deletion((job_id,), 10**9), wanted).answers
    assert deleted.jobs == (job_id,)
    assert isinstance(answer, JobNotFoundError)
    assert store.job(stored.id)["again_of"] == job_id


def test_it_takes_its_unique_key_and_is_refused_where_another_has_that(
    store: Store, reader: Reader, job_id: int
) -> None:
    first = new_id(store, reader, job_id)
    for answer in (store.answer(again(store, reader, job_id)), store.answer(retries(job_id))):
        assert isinstance(answer, DuplicateError)
        assert answer.parameters["id"] == first
    store.commit(cancels(first))
    assert new_id(store, reader, job_id) == first + 1


def test_the_time_for_which_a_job_holds_its_key_goes_over_to_the_one_that_runs_it_again(
    store: Store, reader: Reader
) -> None:
    job_id = store.run_one(unique=Unique("k", held_for=600.0))
    store.commit(starts(job_id), ends(job_id, COMPLETED))
    other = new_id(store, reader, job_id)
    store.now += 60.0
    store.commit(cancels(other))
    (holding,) = store.rows("SELECT job_id, held_until FROM unique_keys")
    assert (holding["job_id"], holding["held_until"]) == (other, text(store.now + 540.0))
    assert isinstance(store.answer(again(store, reader, job_id)), DuplicateError)


def test_another_call_does_not_take_its_place_once_it_has_steps(
    store: Store, reader: Reader, job_id: int
) -> None:
    other = new_id(store, reader, job_id, "mail", parameters={"order": 1})
    unique = Unique("order 1", if_held=IfHeld.REPLACE)
    (stored,) = store.answer(submission(asked(unique=unique, parameters={"order": 3})))
    assert (stored.id, stored.replaced, store.job(other)["parameters"]) == (other, False, '{"order":1}')


def test_a_full_queue_refuses_it(store: Store, reader: Reader, job_id: int) -> None:
    full = Lanes(0, max_pending={"default": 0})
    (answer,) = store.commit(again(store, reader, job_id, "mail"), lanes=full).answers
    assert isinstance(answer, QueueFullError)
    assert [row["job_id"] for row in store.rows("SELECT DISTINCT job_id FROM job_steps")] == [job_id]


def test_a_key_of_its_own_stands_for_one_request(store: Store, reader: Reader, job_id: int) -> None:
    wanted = again(store, reader, job_id, key="k")
    first, second = store.commit(wanted, wanted).answers
    assert (first.created, second) == (True, Stored(first.id, created=False))
    store.commit(cancels(first.id), Deletion((job_id,), 10**9))
    assert store.answer(again(store, reader, job_id, key="k")) == second, "though the job is gone"
    for other in (
        again(store, reader, job_id, key="k", digest="another"),
        again(store, reader, job_id, key="k", by=Submitter(1001, 1001, 1)),
    ):
        answer = store.answer(other)
        assert isinstance(answer, IdempotencyConflictError)
        assert answer.parameters["id"] == first.id
    answer = store.answer(submission(asked(idempotency_key="k", digest="of a submit")))
    assert isinstance(answer, IdempotencyConflictError)


def test_those_that_run_a_job_again_are_listed_the_newest_first(
    store: Store, reader: Reader, job_id: int
) -> None:
    store.database.execute_sql("UPDATE background_jobs SET unique_key = NULL")
    ids = [new_id(store, reader, job_id) for _ in range(3)]
    store.commit(cancels(ids[1]))
    page = reader.list(JobFilter(again_of=job_id), now=store.now, limit=2, count=9)
    assert ([one["id"] for one in page.rows], page.next, page.total) == ([ids[2], ids[1]], ids[1], 3)
    listed = reader.list(JobFilter(status=("cancelled",), again_of=job_id), now=store.now)
    assert [one["id"] for one in listed.rows] == [ids[1]]


def test_what_is_known_in_memory_is_what_the_file_has(store: Store, reader: Reader, job_id: int) -> None:
    recent = RecentJobs()
    committed = store.commit(again(store, reader, job_id, "mail"))
    recent.take(committed)
    other = committed.answers[0].id
    assert recent.job(other) == reader.job(other)
    assert committed.tally.jobs == reader.tally(store.now).jobs


# From the start


def test_a_retry_from_the_start_forgets_what_was_done_and_not_what_was_told(
    store: Store, job_id: int
) -> None:
    store.database.execute_sql("INSERT INTO job_states VALUES (?, '{}', 1, 1)", (job_id,))
    store.commit(signal(job_id + 1, "late"))  # of no job
    after = store.commit(from_start(job_id)).answers[0][0]
    assert (after.carried.steps, after.carried.life) == (0, 1)
    assert (steps(store, job_id), store.rows("SELECT * FROM job_states")) == ([], [])
    row = store.job(job_id)
    assert (row["steps"], row["step_bytes"], row["life"], row["emitted"], row["carries"]) == (0, 0, 1, 0, 1)
    assert [one["taken_by"] for one in store.rows("SELECT taken_by FROM job_signals")] == [None]
    (claim,) = store.claim(ONE)
    assert claim.carry is None
    number = claim.job.attempt
    store.commit(waits(job_id, number=number), lanes=ONE)
    assert [(row["name"], row["result"]) for row in steps(store, job_id)] == [("packed", "[1]")]


def test_signals_are_taken_anew_in_their_order(store: Store) -> None:
    job_id = store.run_one()
    for n in range(3):
        store.commit(signal(job_id, payload=n, key=f"k{n}"))
    for turn in (1, 2):
        store.commit(waits(job_id, turn=turn, number=turn), lanes=ONE)
    store.commit(cancels(job_id))
    store.commit(ends(job_id, replace(FAILED, may_retry=False), 3))
    answers = store.commit(from_start(job_id), signal(job_id, payload="again", key="k1")).answers
    assert answers[1] == (job_id, False), "what it was told stays told"
    store.claim(ONE)
    for turn in (1, 2, 3):
        store.commit(waits(job_id, turn=turn, number=turn + 3), lanes=ONE)
    assert [row["result"] for row in steps(store, job_id)] == ["0", "1", "2"]


def test_a_job_without_steps_begins_another_life_too(store: Store) -> None:
    job_id = store.run_one()
    store.commit(cancels(job_id), ends(job_id, replace(FAILED, may_retry=False)))
    store.commit(from_start(job_id))
    store.commit(cancels(job_id))
    store.commit(from_start(job_id))
    assert store.job(job_id)["life"] == 2


def test_who_goes_on_as_another_does_forgets_what_it_did_all_the_same(store: Store) -> None:
    before = store.run_one()
    after = Ties((Node(Of.JOB, before),), IfFailed.CANCEL)
    (stored,), _ = store.answer(Flow((asked(ties=after),), SUBMITTER))
    store.commit(ends(before, replace(FAILED, may_retry=False)))
    assert store.job(stored.id)["cancelled_after"] == str(before)
    store.commit(from_start(before, stored.id))
    row = store.job(stored.id)
    assert (row["status"], row["waits_for"], row["life"]) == ("pending", 1, 1)


def test_steps_that_another_job_has_finished_are_forgotten_as_well(
    store: Store, reader: Reader, job_id: int
) -> None:
    other = new_id(store, reader, job_id, "mail")
    store.commit(cancels(other))
    store.commit(from_start(other))
    assert (steps(store, other), store.job(other)["steps"]) == ([], 0)
    assert len(steps(store, job_id)) == 5


def test_all_of_several_jobs_or_nothing_is_forgotten(store: Store, job_id: int) -> None:
    answer = store.answer(from_start(job_id, 99))
    assert isinstance(answer, JobNotFoundError)
    assert len(steps(store, job_id)) == 5


def test_late_words_of_the_same_transaction_are_forgotten_too(store: Store) -> None:
    job_id = store.run_one()
    told: list[Item] = [does(job_id, begun("a"), done("a"), begun("b")), cancels(job_id)]
    store.commit(*told, ends(job_id, replace(FAILED, may_retry=False)), from_start(job_id))
    assert (steps(store, job_id), store.job(job_id)["steps"]) == ([], 0)
