"""What callers read: jobs with the columns as keys, counts, queues, logs and open attempts."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.on_file import Ahead, LatestAttempt, RunningJob
from bgjobd.core.planner import Lanes
from bgjobd.store.database import FILE_NAME
from bgjobd.store.items.holds import QueuePaused
from bgjobd.store.pages.attempts import page_of_attempts
from bgjobd.store.pages.page import MOST_BYTES
from bgjobd.store.reader import Reader
from bgjobd.store.reads import due
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NOW,
    USAGE,
    Store,
    asked,
    cancels,
    ends,
    examples_on,
    new_database,
    retries,
    starts,
    statements_run_on,
    store_of_an_example,
    text,
)
from tests.store.test_migrations import COLUMNS


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def test_a_job_has_the_columns_as_keys_and_its_attempts(store: Store, reader: Reader) -> None:
    job_id = store.run_one(parameters={"to": "user@example.com"})
    store.commit(starts(job_id), ends(job_id, FAILED))
    store.now += 5
    store.claim(Lanes(1))
    store.commit(starts(job_id, 2, pid=4712), ends(job_id, COMPLETED, 2, usage=USAGE))
    job = reader.job(job_id)
    assert job is not None
    hidden = {"failed_before", "unique_while"}
    hidden |= {"carries", "step_bytes", "life", "retry_count_at_submit", "emitted"}
    assert (
        set(job.columns)
        == {*COLUMNS["background_jobs"].split(), "is_blocked", "is_behind", "sensitive"} - hidden
    )
    assert (job.columns["id"], job.columns["status"], job.columns["retry_count"]) == (job_id, "completed", 1)
    assert (job.columns["parameters"], job.columns["result"]) == ('{"to":"user@example.com"}', '{"sent":1}')
    assert job.next is None
    first, second = job.attempts
    unseen = {"token", "boot_id", "hook_host", "hook_called_at"}
    assert set(first) == set(COLUMNS["job_attempts"].split()) - unseen | {"span"}
    assert first["progress"] is None
    assert (first["number"], first["outcome"], first["pid"]) == (1, "failed", 4711)
    assert (second["number"], second["outcome"], second["cpu_user"]) == (2, "completed", 0.25)


def test_a_job_without_attempts_or_result_says_so(store: Store, reader: Reader) -> None:
    (job_id,) = store.submit(asked())
    job = reader.job(job_id)
    assert job is not None
    assert (job.attempts, job.columns["result"], job.columns["created_at"]) == ([], None, text(NOW))


def failing(store: Store, traceback: str, times: int) -> int:
    """The id of a job that failed so often, each time with this traceback."""
    job_id = store.run_one(policy=RetryPolicy(max_retries=times))
    for number in range(1, times + 1):
        store.commit(starts(job_id, number), ends(job_id, Ending.failed("E", "e", traceback), number))
        store.now += 5
        store.claim(Lanes(2))
    return job_id


def pages_of(reader: Reader, job_id: int, limit: int | None = None) -> list[list[int]]:
    """The numbers of the attempts on each page, the latest first."""
    found = []
    before = None
    while True:
        page = reader.job(job_id, before, limit)
        assert page is not None
        assert page.columns["id"] == job_id
        found.append([attempt["number"] for attempt in page.attempts])
        before = page.next
        if before is None:
            return found


def test_attempts_come_in_pages_from_the_latest_on(store: Store, reader: Reader) -> None:
    job_id = failing(store, "Traceback …", times=4)
    assert pages_of(reader, job_id) == [[1, 2, 3, 4, 5]]
    assert pages_of(reader, job_id, 5) == [[1, 2, 3, 4, 5]]
    assert pages_of(reader, job_id, 2) == [[4, 5], [2, 3], [1]]
    assert pages_of(reader, job_id, 1) == [[5], [4], [3], [2], [1]]
    nothing = reader.job(job_id, before=1)
    assert nothing is not None
    assert (nothing.attempts, nothing.next) == ([], None)


def test_a_page_of_attempts_has_no_more_bytes_than_other_pages(store: Store, reader: Reader) -> None:
    large = failing(store, "x" * (MOST_BYTES // 4), times=8)
    assert pages_of(reader, large) == [[6, 7, 8, 9], [3, 4, 5], [1, 2]]  # the last has only begun
    assert pages_of(reader, large, 2) == [[8, 9], [6, 7], [4, 5], [2, 3], [1]]
    larger = failing(store, "x" * (2 * MOST_BYTES), times=2)
    assert pages_of(reader, larger) == [[3], [2], [1]]


def test_a_page_does_not_read_the_attempts_before_it(store: Store, reader: Reader) -> None:
    job_id = failing(store, "x" * (MOST_BYTES // 4), times=8)
    with statements_run_on(store.database) as run:
        page_of_attempts(store.database.connection(), job_id, None, 2)
    (statement,) = run
    plan = store.rows(f"EXPLAIN QUERY PLAN {statement}")
    assert [step["detail"] for step in plan] == [
        "SEARCH job_attempts USING PRIMARY KEY (job_id=? AND number<?)",
        "CORRELATED SCALAR SUBQUERY 1",
        "SEARCH hosts USING INTEGER PRIMARY KEY (rowid=?)",
    ]


def test_there_is_no_job_that_was_never_submitted(reader: Reader) -> None:
    assert reader.job(1) is None


def test_sensitive_values_are_masked_and_the_rest_is_shown(store: Store, reader: Reader) -> None:
    parameters = {"to": "ann", "password": "hunter2", "token": {"deep": "hunter2"}}
    store.submit(asked(parameters=parameters, sensitive=("password", "token", "other")))
    job = reader.job(1)
    assert job is not None
    assert json.loads(job.columns["parameters"]) == {"to": "ann", "password": "***", "token": "***"}
    assert "hunter2" not in repr(job)


def test_a_result_that_is_null_is_told_from_none(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, COMPLETED.completed("null")))
    job = reader.job(job_id)
    assert job is not None
    assert (job.columns["status"], job.columns["result"]) == ("completed", "null")


def test_counts_are_those_of_each_status_that_has_jobs(store: Store, reader: Reader) -> None:
    assert reader.tally(NOW).jobs == {}
    done = store.run_one()
    store.commit(ends(done, COMPLETED))
    store.run_one()
    store.submit(asked(), asked(), asked())
    store.commit(cancels(3))
    assert reader.tally(NOW).jobs == {"completed": 1, "running": 1, "pending": 2, "cancelled": 1}


def test_queues_are_those_with_open_jobs_or_a_pause(store: Store, reader: Reader) -> None:
    assert (reader.queues(), reader.paused()) == (set(), {})
    store.run_one(queue="mail")
    store.submit(asked(queue="mail"), asked(queue="late", scheduled_at=NOW + 9), asked(queue="over"))
    store.commit(cancels(4), QueuePaused("mail"), QueuePaused("video", NOW + 60))
    assert reader.queues() == {"mail", "late", "video"}
    assert reader.paused() == {"mail": None, "video": text(NOW + 60)}


def test_the_oldest_pending_job_is_the_one_that_has_been_due_for_longest(
    store: Store, reader: Reader
) -> None:
    assert reader.oldest_pending(NOW) is None
    retried = store.run_one(retry_count=3)
    store.commit(ends(retried, FAILED))
    early, late = store.submit(asked(scheduled_at=NOW + 10), asked(scheduled_at=NOW + 20))
    assert reader.oldest_pending(NOW + 9) is None
    assert reader.oldest_pending(NOW + 30) == text(NOW + 10)
    store.now += 12
    (waiting,) = store.submit(asked())
    assert reader.oldest_pending(NOW + 9) == text(NOW + 12)
    assert reader.oldest_pending(NOW + 30) == text(NOW + 10)
    store.now += 18
    store.commit(retries(retried), lanes=Lanes(1, {"other": None}))  # which makes ready what is due
    assert [store.job(one)["ready"] for one in (early, late, waiting, retried)] == [1, 1, 1, 1]
    assert reader.oldest_pending(store.now) == text(NOW + 10)
    store.commit(cancels(early))
    assert reader.oldest_pending(store.now) == text(NOW + 12)
    store.commit(cancels(late, waiting))
    assert reader.oldest_pending(store.now) == text(NOW + 30)
    store.commit(cancels(retried))
    assert reader.oldest_pending(store.now) is None


def test_the_oldest_pending_job_of_a_queue_is_found_behind_those_of_higher_priority_and_of_other_queues(
    store: Store, reader: Reader
) -> None:
    def told(now: float) -> dict[str, str]:
        return reader.oldest_pending_by_queue(["default", "mail", "idle"], now)

    assert told(NOW) == {}
    store.submit(asked(queue="default", priority=-1), asked(queue="other"))
    store.now += 5
    store.submit(*(asked(queue="default", priority=9) for _ in range(300)))
    store.now += 5
    store.submit(asked(queue="mail", priority=3), asked(queue="mail", scheduled_at=NOW + 20))
    assert told(NOW + 15) == {"default": text(NOW), "mail": text(NOW + 10)}
    store.commit(cancels(1, 303))
    assert told(NOW + 15) == {"default": text(NOW + 5)}
    assert told(NOW + 25) == {"default": text(NOW + 5), "mail": text(NOW + 20)}
    store.now += 15
    store.commit(lanes=Lanes(1, {"none": None}))  # which makes ready what is due
    assert store.job(304)["ready"] == 1
    assert told(store.now) == {"default": text(NOW + 5), "mail": text(NOW + 20)}


def test_pending_jobs_are_due_or_for_later_as_time_goes_on_and_of_many_the_smaller_side_is_counted(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(now: float, **pending: int) -> list[tuple[int | None, int | None]]:
        found = reader.due_by_queue(["default", "mail"], now)
        return [found.of(queue, many) for queue, many in pending.items()]

    store.submit(*(asked(queue="mail") for _ in range(3)))
    store.submit(*(asked(queue="mail", scheduled_at=NOW + 20) for _ in range(2)))
    store.submit(asked(queue="default", scheduled_at=NOW + 10))
    assert told(NOW, default=1, mail=5) == [(0, 1), (3, 2)]
    assert told(NOW + 15, default=1, mail=5) == [(1, 0), (3, 2)]
    monkeypatch.setattr(due, "MOST_COUNTED", 3)
    assert told(NOW, default=1, mail=4) == [(0, 1), (None, None)]
    store.commit(cancels(1))
    assert told(NOW, default=1, mail=4) == [(0, 1), (2, 2)]


def test_of_many_priorities_those_are_looked_at_that_wait_longest(store: Store, reader: Reader) -> None:
    store.submit(asked(priority=50))
    store.now += 1
    store.submit(*(asked(priority=low) for low in range(10)))
    assert reader.oldest_pending_by_queue(["default"], store.now) == {"default": text(NOW + 1)}


def test_the_size_is_that_of_the_file_and_of_its_log(store: Store, reader: Reader) -> None:
    store.submit(asked())
    file = store.state_dir / FILE_NAME
    assert reader.size() == file.stat().st_size + Path(f"{file}-wal").stat().st_size


def test_open_attempts_are_those_whose_end_is_not_recorded(store: Store, reader: Reader) -> None:
    done = store.run_one()
    store.commit(ends(done, COMPLETED))
    started, claimed = store.run_one(), store.run_one()
    store.commit(starts(started))
    rows = sorted(reader.hosts.open_attempts(), key=lambda row: row["job_id"])
    assert [(row["job_id"], row["number"], row["pid"]) for row in rows] == [
        (started, 1, 4711),
        (claimed, 1, None),
    ]
    assert all(row["boot_id"] == BOOT and len(row["token"]) >= 16 for row in rows)


def test_an_open_attempt_has_what_its_job_says_of_it(store: Store, reader: Reader) -> None:
    bounded, free = store.run_one(timeout=2.5), store.run_one()
    store.commit(cancels(free))
    one, other = sorted(reader.hosts.open_attempts(), key=lambda row: row["job_id"])
    assert set(one) == {
        *("job_id", "number", "token", "boot_id", "pid", "started_at", "noted"),
        *("class_name", "timeout", "cancel_requested_at", "key"),
    }
    assert (one["job_id"], one["timeout"], one["cancel_requested_at"]) == (bounded, 2.5, None)
    assert (other["job_id"], other["timeout"], other["cancel_requested_at"]) == (free, None, text(NOW))
    assert one["class_name"] == "myapp.jobs.ExampleJob"


def test_what_runs_is_told_in_the_order_of_the_jobs(store: Store, reader: Reader) -> None:
    done = store.run_one()
    store.commit(ends(done, COMPLETED))
    bounded, claimed = store.run_one(timeout=2.5), store.run_one(queue="mail")
    store.commit(starts(bounded))
    one, other = reader.running()
    assert one == {
        "job_id": bounded,
        "number": 1,
        "class_name": "myapp.jobs.ExampleJob",
        "method_name": "run",
        "queue": "default",
        "pid": 4711,
        "started_at": text(NOW),
        "progress": None,
        "timeout": 2.5,
        "host": None,
    }
    assert (other["job_id"], other["pid"], other["queue"]) == (claimed, None, "mail")


def test_a_waiting_job_has_all_that_bears_on_it_and_an_ended_one_no_more_than_it_needs(
    store: Store, reader: Reader
) -> None:
    holder = store.run_one(class_name="other.Class")
    store.commit(QueuePaused("default", NOW + 600))
    store.now += 60
    retried = store.run_one(queue="mail")
    store.commit(starts(retried), ends(retried, Ending.failed("ValueError", "no", delay=30), at=NOW + 61))
    (job_id,) = store.submit(asked())
    waiting, retrying = reader.on_file(job_id, NOW), reader.on_file(retried, NOW)
    assert waiting is not None
    assert (waiting.job.id, waiting.latest, waiting.paused_at) == (job_id, None, NOW)
    assert waiting.resumes_at == NOW + 600
    assert waiting.running == (RunningJob(holder, "default", "other.Class"),)
    assert retrying is not None
    ending = Ending.failed("ValueError", "no")
    assert retrying.latest == LatestAttempt(1, 4711, NOW, NOW + 61, ending)
    assert retrying.paused_at is None
    store.commit(cancels(job_id))
    ended = reader.on_file(job_id, NOW)
    assert ended is not None
    assert (ended.job.status, ended.paused_at, ended.running) == ("cancelled", None, ())
    assert reader.on_file(4711, NOW) is None


def test_the_jobs_before_one_are_those_that_would_be_claimed_before_it(engine: str) -> None:
    """Each with a queue, a priority and whether it is to start before, at or after the instant that is asked about."""
    of_a_job = st.tuples(st.sampled_from(["default", "mail"]), st.integers(-1, 1), st.integers(-1, 1))

    @examples_on(engine)
    @given(st.lists(of_a_job, max_size=12))
    def counts(asked_for: list[tuple[str, int, int]]) -> None:
        with store_of_an_example() as store:
            jobs = [
                asked(queue="mail"),
                *(asked(queue=q, priority=p, scheduled_at=NOW + when) for q, p, when in asked_for),
            ]
            ids = store.submit(*jobs)
            reader = Reader(store.state_dir)
            counted = [on_file.ahead for id in ids if (on_file := reader.on_file(id, NOW)) is not None]
            reader.close()
        expected = [
            Ahead(
                sum(
                    job.queue == other.queue
                    and (other.scheduled_at is None or other.scheduled_at <= NOW)
                    and (-other.priority, its_id) < (-job.priority, id)
                    for its_id, other in zip(ids, jobs, strict=True)
                )
            )
            for id, job in zip(ids, jobs, strict=True)
        ]
        assert counted == expected

    counts()


def test_the_database_has_an_id(store: Store, reader: Reader) -> None:
    assert str(uuid.UUID(reader.database_id())) == reader.database_id()


def test_a_reader_sees_only_what_is_committed(store: Store, reader: Reader) -> None:
    store.submit(asked())
    store.database.begin_writing()
    store.database.execute_sql("UPDATE background_jobs SET status = 'running'")
    assert reader.tally(NOW).jobs == {"pending": 1}
    store.database.commit_writing()
    assert reader.tally(NOW).jobs == {"running": 1}


def test_a_reader_cannot_write(reader: Reader) -> None:
    with pytest.raises(peewee.DatabaseError, match=r"read-?only"):
        reader._database.execute_sql("DELETE FROM background_jobs")


@pytest.mark.parametrize("name", ["with space", "a?b", "a#b", "a%20b"])
def test_a_reader_finds_the_file_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    state_dir = tmp_path / name
    state_dir.mkdir()
    new_database(state_dir).close()
    reader = Reader(state_dir)
    assert reader.tally(NOW).jobs == {}
    reader.close()
