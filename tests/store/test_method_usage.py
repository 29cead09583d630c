"""What completed attempts of a method take: who counts, when it is written, what bounds it, and who is told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.core.digest import SECONDS, Digest
from bgjobd.core.expectation import OTHER
from bgjobd.core.job import Ending, Usage
from bgjobd.core.planner import Lanes
from bgjobd.store import method_usage
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.attempts import Note
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import UsageTrimming
from bgjobd.store.ledger import Ledger
from bgjobd.store.method_usage import REST, Gathering
from bgjobd.store.reader import Reader
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NOW,
    USAGE,
    Row,
    Store,
    asked,
    does,
    ends,
    starts,
    text,
)

LANES = Lanes(100_000, {"default": None})
REPORT = "myapp.reports.Report"


class Clock:
    """One that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(store: Store) -> Clock:
    clock = Clock()
    gather(store, clock)
    return clock


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def gather(store: Store, clock: Clock) -> Gathering:
    gathering = Gathering(clock)
    store.ledger = Ledger(store.database, BOOT, lambda: 1.0, gathering=gathering)
    return gathering


def run(store: Store, count: int = 1, class_name: str = REPORT, method: str = "build") -> list[int]:
    ids = store.submit(*(asked(class_name=class_name, method=method) for _ in range(count)))
    store.claim(LANES)
    return ids


def complete(store: Store, *seconds: float, ending: Ending = COMPLETED, **given: Any) -> list[int]:
    """Jobs that end so in one transaction, after so many seconds."""
    of_end = {name: given.pop(name) for name in ("usage", "oom_kills") if name in given}
    ids = run(store, len(seconds), **given)
    store.commit(*(ends(id, ending, seconds=took, **of_end) for id, took in zip(ids, seconds, strict=True)))
    return ids


def rows(store: Store) -> list[Row]:
    return store.rows("SELECT * FROM method_usage ORDER BY class_name, method_name")


def median(row: Row) -> float | None:
    return Digest.of(bytes(row["seconds"]), SECONDS).quantile(0.5)


# Who counts


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_commit_whose_answer_was_lost_counts_once(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch, is_stored: bool
) -> None:
    complete(store, 1.0)
    (late,) = run(store)
    complete(store, 1.0)  # which waits in memory
    clock.now += REST
    end = ends(late, COMPLETED, seconds=1.0)
    commit = store.database.commit_writing

    def lose_the_answer() -> None:
        if is_stored:
            commit()
        raise UncertainCommitError("the answer is lost")

    monkeypatch.setattr(store.database, "commit_writing", lose_the_answer)
    with pytest.raises(UncertainCommitError) as lost:
        store.commit(end)
    monkeypatch.setattr(store.database, "commit_writing", commit)
    if is_stored:
        assert lost.value.made is not None
        lost.value.made(1)
    else:
        store.commit(end)
    clock.now += REST
    store.commit(Look())
    (row,) = rows(store)
    assert row["runs"] == 3


def test_each_method_has_its_own_row_of_how_long_its_attempts_took(store: Store, clock: Clock) -> None:
    complete(store, 2.0, 2.0, usage=USAGE)
    clock.now += REST
    complete(store, 60.0, method="send")
    build, send = rows(store)
    assert (build["class_name"], build["method_name"], build["runs"]) == (REPORT, "build", 2)
    assert (send["method_name"], send["runs"], send["completed_at"]) == (
        "send",
        1,
        "2024-12-04T14:31:53.000000Z",
    )
    assert median(build) == pytest.approx(2.0, rel=0.3)
    assert median(send) == pytest.approx(60.0, rel=0.3)


@pytest.mark.parametrize(
    "ending", [FAILED, Ending.exited(1), Ending.snoozed(5.0), Ending.cancelled(Ending.signalled(15))]
)
def test_what_did_not_complete_does_not_count(store: Store, clock: Clock, ending: Ending) -> None:
    complete(store, 2.0, ending=ending)
    assert rows(store) == []


def test_an_end_that_tells_no_time_does_not_count(store: Store, clock: Clock) -> None:
    (job_id,) = run(store)
    store.commit(ends(job_id, COMPLETED))
    assert rows(store) == []


@pytest.mark.parametrize(("usage", "oom_kills"), [(None, 0), (Usage(max_rss=2**30), 1)])
def test_memory_that_is_not_counted_as_usual_leaves_that_open(
    store: Store, clock: Clock, usage: Usage | None, oom_kills: int
) -> None:
    complete(store, 2.0, usage=usage, oom_kills=oom_kills)
    (row,) = rows(store)
    assert row["runs"] == 1
    assert bytes(row["memory"]) == bytes(128)


def test_the_code_of_the_latest_is_known(store: Store, clock: Clock) -> None:
    (job_id,) = run(store)
    store.commit(starts(job_id))
    store.database.execute_sql("UPDATE job_attempts SET code_version = 'abc'")
    store.commit(ends(job_id, COMPLETED, seconds=1.0))
    assert [row["code_version"] for row in rows(store)] == ["abc"]


# When it is written


def test_it_is_written_with_what_is_written_anyway_every_ten_seconds_at_most(
    store: Store, clock: Clock
) -> None:
    complete(store, 1.0)
    complete(store, 1.0)
    assert [row["runs"] for row in rows(store)] == [1]
    clock.now += REST - 0.1
    store.commit(Look())
    assert [row["runs"] for row in rows(store)] == [1]
    clock.now += 0.1
    store.commit(Look())
    assert [row["runs"] for row in rows(store)] == [2]


def test_at_a_stop_all_is_written_and_what_ends_with_it_too(store: Store, clock: Clock) -> None:
    gathering = gather(store, clock)
    complete(store, 1.0)
    complete(store, 1.0)
    (job_id,) = run(store)
    gathering.hurry()
    store.commit(ends(job_id, COMPLETED, seconds=1.0))
    assert [row["runs"] for row in rows(store)] == [3]


def test_a_transaction_that_came_to_nothing_has_counted_nothing(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (job_id,) = run(store)
    end = ends(job_id, COMPLETED, seconds=1.0)
    with monkeypatch.context() as broken:
        broken.setattr(store.database, "commit_writing", lambda: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.commit(end)
    assert rows(store) == []
    store.commit(end)
    assert [row["runs"] for row in rows(store)] == [1]


def test_a_connection_that_is_made_anew_goes_on_with_what_was_gathered(store: Store, clock: Clock) -> None:
    gathering = gather(store, clock)
    complete(store, 1.0)
    complete(store, 1.0)
    store.ledger = Ledger(store.database, BOOT, lambda: 1.0, gathering=gathering)
    clock.now += REST
    store.commit(Look())
    assert [row["runs"] for row in rows(store)] == [2]


def test_what_two_count_of_one_method_adds_up(store: Store, clock: Clock) -> None:
    complete(store, *[1.0] * 20)
    gather(store, clock)
    complete(store, *[64.0] * 21)
    (row,) = rows(store)
    assert row["runs"] == 41
    assert median(row) == pytest.approx(64.0, rel=0.5)


def test_of_very_many_in_ten_seconds_all_are_counted_and_the_latest_say_how_long(
    store: Store, clock: Clock
) -> None:
    complete(store, 1.0)
    complete(store, *[1.0] * 400, *[64.0] * 600)
    clock.now += REST
    store.commit(Look())
    (row,) = rows(store)
    assert row["runs"] == 1001
    assert median(row) == pytest.approx(64.0, rel=0.3)


def test_what_somebody_waits_for_is_written_with_its_end_and_hurries_nothing_else(
    store: Store, clock: Clock
) -> None:
    complete(store, 1.0)
    for awaited in (f"{REPORT}::send", REPORT, f"{REPORT}::other"):
        ids = run(store, method="send") + run(store, method="build")
        clock.now += 1
        store.now += 60
        store.commit(
            *(ends(job_id, COMPLETED, seconds=1.0) for job_id in ids),
            lanes=Lanes(0, awaited=frozenset([awaited])),
        )
    build, send = rows(store)
    assert (build["runs"], send["runs"]) == (3, 2)
    assert send["completed_at"] == text(NOW + 120)
    clock.now += REST
    store.commit(Look())
    assert [row["runs"] for row in rows(store)] == [4, 3]


def test_what_somebody_waits_for_has_a_row_however_many_methods_there_are(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_usage, "MOST_METHODS", 1)
    complete(store, 1.0, method="build")
    ids = run(store, method="send")
    store.commit(ends(ids[0], COMPLETED, seconds=1.0), lanes=Lanes(0, awaited=frozenset([f"{REPORT}::send"])))
    assert [row["method_name"] for row in rows(store)] == ["build", "send"]


def test_the_last_success_of_a_method_and_of_all_of_a_class_is_read(
    store: Store, clock: Clock, reader: Reader
) -> None:
    complete(store, 1.0)
    clock.now += REST
    store.now += 60
    complete(store, 1.0, method="send")
    jobs = [REPORT, f"{REPORT}::build", f"{REPORT}::other", "myapp.Other"]
    assert reader.needs.last_successes(jobs) == {REPORT: NOW + 60, f"{REPORT}::build": NOW}


# What bounds it


def test_of_many_methods_each_transaction_writes_some(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_usage, "_AT_ONCE", 2)
    gather(store, clock)
    ids = [run(store, method=f"do_{number}")[0] for number in range(5)]
    store.commit(*(ends(id, COMPLETED, seconds=1.0) for id in ids))
    assert len(rows(store)) == 2
    store.commit(Look())
    store.commit(Look())
    assert [row["runs"] for row in rows(store)] == [1] * 5


def test_beyond_so_many_methods_the_others_are_counted_together(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_usage, "MOST_METHODS", 3)
    for number in range(5):
        complete(store, 1.0, method=f"do_{number}")
        clock.now += REST
    complete(store, 1.0, method="do_1")
    told = {(row["class_name"], row["method_name"]): row["runs"] for row in rows(store)}
    assert told == {
        (REPORT, "do_0"): 1,
        (REPORT, "do_1"): 2,
        (REPORT, "do_2"): 1,
        (OTHER, OTHER): 2,
    }


def test_what_waits_to_be_written_is_bounded_too(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(method_usage, "MOST_METHODS", 2)
    complete(store, 1.0)
    for number in range(4):
        complete(store, 1.0, method=f"do_{number}")
    clock.now += REST
    store.commit(Look())
    assert sum(row["runs"] for row in rows(store)) == 5
    assert len(rows(store)) <= 3


def test_a_class_that_is_gone_is_forgotten_after_its_time(store: Store, clock: Clock, reader: Reader) -> None:
    for class_name in (REPORT, "myapp.Gone"):
        complete(store, 1.0, class_name=class_name)
        clock.now += REST
    store.now += 60
    complete(store, 1.0, class_name="myapp.New")
    known = frozenset({REPORT})
    assert reader.old.oldest_usage(known) == NOW
    assert store.answer(UsageTrimming(NOW, known)) == 0
    assert store.answer(UsageTrimming(NOW + 1, known)) == 1
    assert [row["class_name"] for row in rows(store)] == ["myapp.New", REPORT]
    assert reader.old.oldest_usage(known) == NOW + 60
    assert reader.old.oldest_usage({REPORT, "myapp.New"}) is None


# Who is told


def test_what_runs_is_told_with_what_is_expected_of_it(store: Store, clock: Clock, reader: Reader) -> None:
    complete(store, *[40.0] * 9)
    (job_id,) = run(store)
    store.commit(starts(job_id))
    (attempt,) = reader.with_expected(reader.running(), NOW + 10)
    expected = attempt["expected"]
    assert (expected["runs"], expected["memory_p95"], expected["times"]) == (9, None, None)
    assert expected["p50"] == pytest.approx(40.0, rel=0.25)
    assert expected["left"] == pytest.approx(30.0, rel=0.4)
    listed = reader.with_expected(reader.list(JobFilter(), now=NOW + 10).rows, NOW + 10)
    assert [row["expected"] for row in listed] == [expected, *[None] * 9]
    job = reader.job(job_id)
    assert job is not None
    assert reader.try_expected(job, NOW + 10) == expected
    on_file = reader.on_file(job_id, NOW + 200)
    assert on_file is not None
    assert on_file.expected is not None
    assert on_file.expected.times == pytest.approx(5.0, rel=0.25)


def test_nothing_is_expected_of_what_does_not_run_or_is_hardly_known(
    store: Store, clock: Clock, reader: Reader
) -> None:
    ended = complete(store, *[1.0] * 4)
    (pending,) = store.submit(asked(class_name=REPORT, method="build", queue="later"))
    (running,) = run(store)
    for job_id in (*ended, pending, running):
        job = reader.job(job_id)
        assert job is not None
        assert reader.try_expected(job, NOW) is None
    assert [attempt["expected"] for attempt in reader.with_expected(reader.running(), NOW)] == [None]


def test_progress_that_was_told_twice_says_what_is_left(store: Store, clock: Clock, reader: Reader) -> None:
    complete(store, *[40.0] * 9)
    (job_id,) = run(store)
    store.commit(starts(job_id))
    half = Note(NOW + 10, EntryType.INFO, "half", 0.5)
    store.commit(does(job_id, half))
    (attempt,) = reader.with_expected(reader.running(), NOW + 10)
    assert attempt["progress"]["told"] == 1
    assert attempt["expected"]["left"] == pytest.approx(30.0, rel=0.4)
    store.commit(does(job_id, half, half, first=0))
    (attempt,) = reader.with_expected(reader.running(), NOW + 10)
    assert attempt["progress"]["told"] == 2
    assert attempt["expected"]["left"] == pytest.approx(10.0)
