"""What jobs add up to: carried along with the commits, it is at any time what counting in the file gives."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peewee import OperationalError

from bgjob.errors import JobNotFoundError
from bgjob.words import Status
from bgjobd.core.facts import Changed, ClockJumped
from bgjobd.core.planner import Lanes
from bgjobd.host.clock import to_text
from bgjobd.store.committed import Committed
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.wishes import JobsChanged
from bgjobd.store.tally import MINUTES, Tally, counted
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    STOPPED,
    SUBMITTER,
    Overheard,
    Store,
    asked,
    cancels,
    ends,
    retries,
    statements_run_on,
    submission,
    text,
)

HOUR: Final = 3600.0
QUEUES: Final = ("default", "mail")
OPEN: Final = (Status.PENDING, Status.RUNNING)


def told(tally: Tally, now: float) -> tuple[Any, ...]:
    """All that a tally tells."""
    queues = {(name, status): tally.of_queue(name, status) for name in QUEUES for status in OPEN}
    return tally.jobs, queues, tally.minutes(now)


def looked_at(store: Store) -> tuple[Any, ...]:
    """The same from a look at every row."""
    rows = store.rows("SELECT status, queue, finished_at FROM background_jobs")
    open_ones = Counter((row["queue"], row["status"]) for row in rows if row["status"] in OPEN)
    ended = Counter((row["finished_at"][:16], row["status"]) for row in rows if row["finished_at"])
    begins = [to_text((store.now // 60 - back) * 60) for back in reversed(range(MINUTES))]
    return (
        dict(Counter(row["status"] for row in rows)),
        {(name, status): open_ones[name, status] for name in QUEUES for status in OPEN},
        [
            {"at": at, "completed": ended[at[:16], "completed"], "failed": ended[at[:16], "failed"]}
            for at in begins
        ],
    )


def in_the_last_hour(committed: Committed, now: float) -> dict[str, tuple[int, int]]:
    """The minutes in which jobs ended: how many completed and failed."""
    minutes = committed.tally.minutes(now)
    return {
        one["at"]: (one["completed"], one["failed"]) for one in minutes if one["completed"] or one["failed"]
    }


class Failing(Overheard):
    """A connection whose disk fails at a commit; `is_done`: all of it is on the disk nevertheless."""

    def __init__(self, real: Any, is_done: bool) -> None:
        super().__init__(real, lambda sql: None)
        self._is_done = is_done

    def execute(self, sql: str, *given: Any) -> Any:
        if sql != "COMMIT":
            return super().execute(sql, *given)
        if self._is_done:
            super().execute(sql)
        raise OperationalError("disk I/O error")


class Life:
    """A store to which anything may happen; the same number leads to the same deed."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.tally: Tally | None = None
        self.deeds = (
            self.submit, self.submit, self.claim, self.claim, self.complete, self.complete, self.fail, self.fail,
            self.stop, self.cancel, self.retry, self.be_refused, self.wait, self.lose_the_disk, self.start_again,
            self.set_the_clock, self.delete, self.change,
        )  # fmt: skip

    def commit(self, *items: Item, slots: int = 0) -> None:
        lanes = Lanes(slots, dict.fromkeys(QUEUES))
        self.tally = self.store.commit(*items, lanes=lanes).tally

    def some(self, number: int, *status: str) -> list[tuple[int, int]]:
        """Up to three jobs with one of these statuses, and the numbers of their latest attempts."""
        words = ", ".join(f"'{one}'" for one in status)
        rows = self.store.rows(
            "SELECT id, (SELECT max(number) FROM job_attempts WHERE job_id = id) AS attempt "
            f"FROM background_jobs WHERE status IN ({words}) ORDER BY id"
        )
        start = number % max(1, len(rows))
        return [(row["id"], row["attempt"]) for row in rows[start : start + 1 + number % 3]]

    def submit(self, number: int) -> None:
        at = self.store.now + 30 if number % 3 == 0 else None
        jobs = [asked(queue=QUEUES[number % 2], scheduled_at=at, retry_count=number % 5)] * (number % 4)
        self.commit(submission(*jobs), slots=number % 2)

    def claim(self, number: int) -> None:
        self.commit(Look(), slots=1 + number)

    def complete(self, number: int) -> None:
        self._end(number, COMPLETED)

    def fail(self, number: int) -> None:
        self._end(number, FAILED)

    def stop(self, number: int) -> None:
        self._end(number, STOPPED)

    def _end(self, number: int, ending: Any) -> None:
        at = self.store.now - number  # the daemon may hear of it late
        found = self.some(number, "running")
        self.commit(*[ends(id, ending, attempt, at) for id, attempt in found], slots=number % 3)

    def cancel(self, number: int) -> None:
        self.commit(*[cancels(id) for id, _ in self.some(number, "pending", "running")])

    def retry(self, number: int) -> None:
        self.commit(*[retries(id) for id, _ in self.some(number, "failed", "cancelled")])

    def delete(self, number: int) -> None:
        ids = [id for id, _ in self.some(number, "completed", "failed", "cancelled", "pending")]
        self.commit(submission(asked()), Deletion(tuple(ids), 10**9), slots=number % 2)

    def change(self, number: int) -> None:
        """Which is refused now and then, for a queue that is full."""
        ids = [id for id, _ in self.some(number, "pending")]
        fact = Changed(1000, queue=QUEUES[number % 2], scheduled_at=self.store.now + number - 9)
        lanes = Lanes(number % 2, dict.fromkeys(QUEUES), max_pending={QUEUES[0]: 4})
        self.tally = self.store.commit(JobsChanged(tuple(ids), fact, SUBMITTER), lanes=lanes).tally

    def be_refused(self, number: int) -> None:
        ids = [id for id, _ in self.some(number, "pending", "running")]
        self.commit(cancels(*ids, 99_999), submission(asked()))

    def wait(self, number: int) -> None:
        self.store.now += number * 100.0
        self.commit(Look())

    def lose_the_disk(self, number: int) -> None:
        """A batch whose commit fails, or seems to; then the same once more, on a new connection where it has to be."""
        items = [submission(asked()), *[cancels(id) for id, _ in self.some(number, "pending")]]
        is_done = number % 2 == 0
        database = cast(Any, self.store.database)
        failing = Failing(database.connection(), is_done)
        database.connection = lambda: failing
        with pytest.raises(UncertainCommitError):
            self.commit(*items, slots=1)
        del database.connection
        if is_done or number % 3:
            self.start_again(number)
        self.commit(*items)

    def start_again(self, number: int) -> None:
        self.store.close()
        self.store.open()
        self.commit(Look())

    def set_the_clock(self, number: int) -> None:
        delta = (number - 18) * 900.0
        self.store.now += delta
        self.commit(ClockJumped(delta))


@settings(deadline=None, max_examples=settings().max_examples * 3 // 10)  # each is many commits
@given(st.lists(st.tuples(st.integers(0, 17), st.integers(0, 36)), max_size=40))
def test_the_tally_of_a_commit_is_what_counting_gives(happened: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as directory:
        store = Store(Path(directory))
        life = Life(store)
        try:
            life.commit(Look())
            for deed, number in happened:
                life.deeds[deed](number)
                assert life.tally is not None
                assert told(life.tally, store.now) == looked_at(store)
                assert told(counted(store.database, store.now), store.now) == looked_at(store)
        finally:
            store.close()


def test_only_the_first_commit_counts(store: Store) -> None:
    store.submit(*[asked() for _ in range(3)])
    with statements_run_on(store.database) as run:
        store.commit(*[submission(asked()) for _ in range(20)], lanes=Lanes(5))
    assert run
    assert not [statement for statement in run if "INDEXED BY" in statement]


def test_a_refused_item_leaves_no_trace_in_the_tally(store: Store) -> None:
    store.submit(asked(), asked())
    committed = store.commit(cancels(1, 99), cancels(2))
    assert isinstance(committed.answers[0], JobNotFoundError)
    assert committed.tally.jobs == {"pending": 1, "cancelled": 1}


def test_the_minutes_are_sixty_and_end_with_the_present_one(store: Store) -> None:
    minutes = store.commit(Look()).tally.minutes(NOW)
    assert [minutes[0]["at"], minutes[-1]["at"]] == [
        "2024-12-04T13:32:00.000000Z",
        "2024-12-04T14:31:00.000000Z",
    ]
    assert [one["at"] for one in minutes] == sorted({one["at"] for one in minutes})
    assert len(minutes) == MINUTES
    assert not any(one["completed"] or one["failed"] for one in minutes)


def test_a_minute_has_the_jobs_that_completed_and_failed_in_it(store: Store) -> None:
    done, again, failed, cancelled = (store.run_one(retry_count=count) for count in (0, 0, 3, 0))
    store.commit(ends(done, COMPLETED), ends(again, FAILED), ends(failed, FAILED, at=NOW - 120))
    committed = store.commit(ends(cancelled, FAILED), cancels(again))
    assert in_the_last_hour(committed, NOW) == {
        "2024-12-04T14:29:00.000000Z": (0, 1),
        "2024-12-04T14:31:00.000000Z": (1, 0),
    }


def test_a_failed_job_that_is_run_again_has_not_ended(store: Store) -> None:
    job_id = store.run_one(retry_count=3)
    assert in_the_last_hour(store.commit(ends(job_id, FAILED)), NOW)
    assert not in_the_last_hour(store.commit(retries(job_id)), NOW)


def test_minutes_fall_out_an_hour_later_whether_or_not_anything_happens(store: Store) -> None:
    committed = store.commit(ends(store.run_one(), COMPLETED))
    assert in_the_last_hour(committed, NOW + HOUR - 60)
    assert not in_the_last_hour(committed, NOW + HOUR)
    store.now += HOUR
    later = store.commit(ends(store.run_one(), COMPLETED, at=store.now))
    assert list(in_the_last_hour(later, store.now)) == ["2024-12-04T15:31:00.000000Z"]
    assert len(later.tally.ends) == 1


@pytest.mark.parametrize("delta", [-300 * 86400.0, -HOUR, -1.0, 1.0, HOUR, 300 * 86400.0])
def test_the_minutes_follow_a_clock_that_was_set_there_and_back(store: Store, delta: float) -> None:
    store.commit(ends(store.run_one(), COMPLETED))
    store.now += delta
    store.commit(ClockJumped(delta))
    there = store.commit(ends(store.run_one(), COMPLETED, at=store.now))
    assert in_the_last_hour(there, store.now)[f"{(text(store.now) or '')[:16]}:00.000000Z"][0] >= 1
    store.now -= delta
    back = store.commit(ClockJumped(-delta))
    assert in_the_last_hour(back, NOW)["2024-12-04T14:31:00.000000Z"][0] >= 1


@pytest.mark.parametrize("now", [0.0, -1e10, -6.2e10, -1e300, 2.5e11, 1e300])
def test_no_clock_is_too_wrong_for_the_minutes(store: Store, now: float) -> None:
    committed = store.commit(ends(store.run_one(), COMPLETED))
    assert len(committed.tally.minutes(now)) == MINUTES
    assert committed.tally.moved([(None, committed.ended[0])], now).jobs == {"completed": 2}
