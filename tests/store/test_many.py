"""A wish about all jobs that match: which those are, portion by portion, and what becomes of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bgjob.errors import InvalidParameterError
from bgjob.words import Status
from bgjobd.core.facts import CancelRequested, RetryRequested
from bgjobd.core.job import RetryPolicy
from bgjobd.core.many import Wish, statuses_of
from bgjobd.core.planner import Lanes
from bgjobd.core.unique import Unique
from bgjobd.host.clock import to_text
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.wishes import JobRequests, ManyAsked
from bgjobd.store.many import Portion
from bgjobd.store.matching import Matched, about
from bgjobd.store.reader import Reader
from tests.store.samples import FAILED, NOW, Store, asked, ends, retries

NO_RETRY = RetryPolicy(max_retries=0)
ONE_RETRY = RetryPolicy(max_retries=1)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def fails(store: Store, count: int = 1, **given: Any) -> list[int]:
    """So many jobs that have failed for good."""
    given = {"policy": ONE_RETRY, "retry_count": 1} | given
    jobs = store.submit(*[asked(**given) for _ in range(count)])
    for claim in store.claim(Lanes(1000, {given.get("queue", "default"): None})):
        store.commit(ends(claim.job.id, FAILED, at=store.now))
    return jobs


def found(
    reader: Reader, wanted: JobFilter, wish: Wish = Wish.RETRY, as_of: float = NOW, limit: int = 1000
) -> list[int]:
    """The ids of all that match, in the order of portions of so many."""
    ids: list[int] = []
    place = None
    while True:
        rows, place = reader.matching(about(wanted, wish), to_text(as_of), place, limit, as_of)
        ids += [row.id for row in rows]
        if place is None:
            return ids


def wish(ids: list[int], wish: Wish = Wish.RETRY, **given: Any) -> ManyAsked:
    fact = RetryRequested() if wish is Wish.RETRY else CancelRequested()
    words = ["failed", "cancelled"] if wish is Wish.RETRY else ["pending", "running"]
    item = ManyAsked(
        tuple(JobRequests((id,), fact) for id in ids),
        wish,
        statuses_of(words),
        as_of=NOW,
        at_most_once=False,
        what={"filter": {"status": words}},
        who="uid 7",
    )
    return replace(item, **given)


# Which


FILTERS = {
    "status": JobFilter(status=("failed",)),
    "class_name": JobFilter(class_name="a.B"),
    "both": JobFilter(status=("failed", "cancelled"), class_name="a.B", queue="mail"),
    "since": JobFilter(class_name="a.B", since=to_text(NOW - 1)),
    "schedule": JobFilter(schedule="nightly", since=to_text(NOW - 1)),
}


@pytest.mark.parametrize("wanted", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_all_that_failed_are_found_in_portions_of_any_size(
    store: Store, reader: Reader, wanted: JobFilter, limit: int
) -> None:
    jobs = fails(store, 5, class_name="a.B", queue="mail", schedule="nightly")
    store.submit(asked(class_name="a.B", queue="mail", schedule="nightly"))
    assert found(reader, wanted, limit=limit) == jobs


@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_those_that_met_an_error_are_found_once(store: Store, reader: Reader, limit: int) -> None:
    jobs = fails(store, 4)
    (error,) = {row["error_group"] for row in store.attempts(jobs[0])}
    assert found(reader, JobFilter(error=error), limit=limit) == jobs
    assert found(reader, JobFilter(error=error + 1)) == []


def test_what_ended_later_or_before_the_filters_time_is_none_of_them(store: Store, reader: Reader) -> None:
    store.now = NOW - 100
    old = fails(store)
    store.now = NOW
    (job,) = fails(store)
    store.now = NOW + 1
    fails(store)
    assert found(reader, JobFilter(status=("failed",))) == [*old, job]
    assert found(reader, JobFilter(status=("failed",), since=to_text(NOW - 50))) == [job]
    error = store.attempts(job)[0]["error_group"]
    assert found(reader, JobFilter(error=error)) == [*old, job]
    assert found(reader, JobFilter(error=error, since=to_text(NOW - 50))) == [job]


def test_a_cancel_is_of_what_was_submitted_by_then_and_has_not_ended(store: Store, reader: Reader) -> None:
    fails(store)
    running = store.run_one(queue="mail")
    (waiting,) = store.submit(asked(queue="mail", scheduled_at=NOW + 60))
    store.now = NOW + 1
    store.submit(asked(queue="mail"))
    wanted = JobFilter(class_name="myapp.jobs.ExampleJob")
    assert found(reader, wanted, Wish.CANCEL) == [running, waiting]
    assert found(reader, JobFilter(status=("scheduled",)), Wish.CANCEL) == [waiting]


@pytest.mark.parametrize(
    ("wanted", "wish", "parameter"),
    [
        (JobFilter(), Wish.RETRY, "filter"),
        (JobFilter(queue="mail", since=to_text(NOW), host="web1", method_name="run"), Wish.CANCEL, "filter"),
        (JobFilter(status=("failed", "pending")), Wish.RETRY, "filter.status.1"),
        (JobFilter(status=("completed",)), Wish.RETRY, "filter.status.0"),
        (JobFilter(status=("review",)), Wish.RETRY, "filter.status.0"),
        (JobFilter(status=("failed",)), Wish.CANCEL, "filter.status.0"),
        (JobFilter(status=("nonsense",)), Wish.CANCEL, "filter.status.0"),
    ],
)
def test_what_no_index_narrows_down_or_cannot_be_asked_is_refused(
    wanted: JobFilter, wish: Wish, parameter: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        about(wanted, wish)
    assert caught.value.parameters == {"parameter": parameter}


def test_what_matches_is_counted_by_class(store: Store, reader: Reader) -> None:
    fails(store, 2, class_name="a.B")
    store.now = NOW + 5
    fails(store, 3, class_name="c.D", policy=NO_RETRY, retry_count=0)
    matched = Matched()
    rows, _ = reader.matching(
        about(JobFilter(status=("failed",)), Wish.RETRY), to_text(NOW + 9), None, 10, NOW
    )
    matched.add(rows)
    assert matched.as_json() == {
        "count": 5,
        "running": 0,
        "at_most_once": 3,
        "classes": [
            {"class_name": "c.D", "count": 3, "at_most_once": 3},
            {"class_name": "a.B", "count": 2, "at_most_once": 0},
        ],
        "oldest": to_text(NOW),
        "newest": to_text(NOW + 5),
    }


# What becomes of them


def test_a_portion_is_retried_and_told_and_each_job_has_its_mark(store: Store) -> None:
    jobs = fails(store, 3)
    portion = store.answer(wish(jobs, is_last=True))
    assert portion == Portion(3, 0, portion.change)
    assert [(store.job(id)["status"], store.job(id)["bulk"]) for id in jobs] == [
        ("pending", portion.change)
    ] * 3
    (row,) = store.rows("SELECT kind, what, who FROM changes")
    assert (row["kind"], row["who"]) == ("retried_many", "uid 7")
    assert '"done":3,"left_out":0,"is_over":true' in row["what"]


def test_who_knows_a_job_by_heart_is_told_of_its_mark(store: Store) -> None:
    (job,) = fails(store)
    committed = store.commit(wish([job]))
    assert committed.placed == {job: {"bulk": committed.answers[0].change}}


def test_portions_are_one_change(store: Store) -> None:
    jobs = fails(store, 4)
    first = store.answer(wish(jobs[:2]))
    second = store.answer(wish(jobs[2:], change=first.change, done=2, left_out=1, is_last=True))
    assert second.change == first.change
    (row,) = store.rows("SELECT what FROM changes")
    assert '"done":4,"left_out":1,"is_over":true' in row["what"]
    assert {store.job(id)["bulk"] for id in jobs} == {first.change}


def test_what_was_done_before_a_kill_is_told_and_a_repeat_takes_up_the_rest(
    store: Store, reader: Reader
) -> None:
    jobs = fails(store, 4)
    store.answer(wish(jobs[:2]))
    store.close()  # killed between two portions
    store.open()
    (row,) = store.rows("SELECT what FROM changes")
    assert '"done":2,"left_out":0,"is_over":false' in row["what"]
    left = found(reader, JobFilter(status=("failed",)))
    assert left == jobs[2:]
    assert store.answer(wish(left, is_last=True)).done == 2


def test_what_has_become_another_since_it_was_looked_up_is_left_out(store: Store) -> None:
    job, other = fails(store, 2)
    store.commit(retries(other))
    store.now = NOW + 10
    (ended_later,), gone = fails(store, class_name="a.B", queue="mail"), 999
    assert store.job(ended_later)["status"] == "failed"
    assert store.answer(wish([job, other, ended_later, gone]))[:2] == (1, 3)
    assert store.job(job)["bulk"] is not None
    assert store.job(other)["bulk"] is None


def test_of_what_nothing_comes_there_is_no_change(store: Store) -> None:
    assert store.answer(wish([999])) == Portion(0, 1, None)
    assert store.count("changes") == 0


def test_jobs_that_may_be_tried_but_once_are_left_out_unless_asked_for(store: Store) -> None:
    jobs = fails(store, 2, policy=NO_RETRY, retry_count=0)
    assert store.answer(wish(jobs))[:2] == (0, 2)
    assert store.answer(wish(jobs, at_most_once=True))[:2] == (2, 0)


def test_what_runs_and_is_to_be_cancelled_already_is_left_out(store: Store) -> None:
    jobs = store.submit(asked(), asked())
    store.claim(Lanes(1))
    assert store.answer(wish(jobs, Wish.CANCEL))[:2] == (2, 0)
    assert store.answer(wish(jobs, Wish.CANCEL))[:2] == (0, 2)


def test_one_that_a_retry_would_be_refused_of_keeps_no_other(store: Store) -> None:
    free = fails(store)
    key = Unique("order-1")
    held = fails(store, unique=key)
    store.submit(asked(unique=key))
    assert store.answer(wish([*held, *free]))[:2] == (1, 1)
    assert store.job(held[0])["status"] == "failed"
    assert store.job(free[0])["status"] == "pending"


def test_starts_are_spread_where_that_is_asked(store: Store) -> None:
    first, second = fails(store, 2)
    requests = (JobRequests((first,), RetryRequested()), JobRequests((second,), RetryRequested(at=NOW + 30)))
    store.answer(wish([], requests=requests))
    assert store.job(first)["scheduled_at"] is None
    assert store.job(second)["scheduled_at"] == to_text(NOW + 30)
    assert [claim.job.id for claim in store.claim(Lanes(5))] == [first]
    store.now = NOW + 30
    assert [claim.job.id for claim in store.claim(Lanes(5))] == [second]


def test_many_are_cancelled_and_what_runs_is_stopped(store: Store) -> None:
    running = store.run_one()
    (waiting,) = store.submit(asked())
    committed = store.commit(wish([running, waiting], Wish.CANCEL))
    assert committed.answers[0][:2] == (2, 0)
    assert [job.id for job in committed.stops] == [running]
    assert store.job(waiting)["status"] == "cancelled"
    assert store.rows("SELECT kind FROM changes") == [{"kind": "cancelled_many"}]


def test_one_that_has_started_is_not_cancelled_by_a_wish_about_those_that_wait(store: Store) -> None:
    running = store.run_one()
    assert store.answer(wish([running], Wish.CANCEL, statuses=frozenset({Status.PENDING})))[:2] == (0, 1)


def test_a_cancel_of_what_was_retried_undoes_it(store: Store, reader: Reader) -> None:
    jobs = fails(store, 3)
    other = store.submit(asked())
    change = store.answer(wish(jobs)).change
    undone = found(reader, JobFilter(bulk=change), Wish.CANCEL, as_of=NOW + 1)
    assert undone == jobs
    store.answer(wish(undone, Wish.CANCEL))
    assert {store.job(id)["status"] for id in jobs} == {"cancelled"}
    assert store.job(other[0])["status"] == "pending"


def test_jobs_are_listed_by_the_change_that_they_were_part_of(store: Store, reader: Reader) -> None:
    jobs = fails(store, 3)
    change = store.answer(wish(jobs[:2])).change
    rows = reader.list(JobFilter(bulk=change), now=NOW, count=10)
    assert ([row["id"] for row in rows.rows], rows.total) == (jobs[1::-1], 2)
    shown = reader.job(jobs[0])
    assert shown is not None
    assert shown.columns["bulk"] == change


def test_those_that_ended_first_come_first(store: Store, reader: Reader) -> None:
    """So what others come after is retried before them, though they are in another portion."""
    jobs = fails(store, 3)
    assert found(reader, JobFilter(status=("failed",)), limit=1) == sorted(jobs)
