"""The writer's thread on real files: group commit, its end, and a file that cannot be written for a while."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import peewee
import pytest
from peewee import SqliteDatabase

from bgjob.errors import IdempotencyConflictError, StorageUnavailableError
from bgjob.words import EntryType, Status
from bgjobd.clock import Clock
from bgjobd.core.facts import ClockJumped
from bgjobd.core.planner import Lanes
from bgjobd.store import database as databases
from bgjobd.store import writer as writers
from bgjobd.store.database import FILE_NAME, open_for_writing
from bgjobd.store.items import AttemptNotes, DaemonStarted, Item, Look, Note, Noted, Stored
from bgjobd.store.writer import Delivery, Entrusted, Writer
from tests.store.samples import BOOT, COMPLETED, NO_SLOTS, NOW, Store, asked, ends, starts, submission

PATIENCE = 10.0
"""Seconds that no test waits unless something is wrong."""


class Office:
    """A writer and whatever it delivered, in order."""

    def __init__(self, state_dir: Path, lanes: Lanes = NO_SLOTS) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(state_dir, BOOT, Clock(), lanes, self.deliveries.put)

    def next(self, patience: float = PATIENCE) -> Delivery:
        return self.deliveries.get(timeout=patience)

    def next_with(self, *tickets: object) -> list[tuple[object, object]]:
        """The answers of the coming deliveries, until these tickets are among them."""
        answered: list[tuple[object, object]] = []
        while not set(tickets) <= {ticket for ticket, _ in answered}:
            answered += self.next().answered
        return answered

    def rest(self) -> list[Delivery]:
        """What was delivered and not yet taken."""
        return [self.deliveries.get_nowait() for _ in range(self.deliveries.qsize())]


@contextmanager
def at_work(office: Office) -> Iterator[Writer]:
    office.writer.start()
    try:
        yield office.writer
    finally:
        office.writer.finish()


class Flaky:
    """Opens the file for the writer, but fails the first times; `tried` counts."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.failures = failures
        self.error = error
        self.tried = 0

    def __call__(self, state_dir: Path) -> SqliteDatabase:
        self.tried += 1
        if self.tried <= self.failures:
            raise self.error
        return open_for_writing(state_dir)


UNREADABLE = peewee.OperationalError("disk I/O error")


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], SqliteDatabase]], None]:
    """Replaces how the writer opens its file, and spares the test the pauses between."""
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    return lambda opener: monkeypatch.setattr(writers, "open_for_writing", opener)


def test_what_gathered_is_committed_at_once_and_answered_in_order(store: Store) -> None:
    office = Office(store.state_dir)
    for number in range(20):
        office.writer.put(Entrusted(submission(asked()), ticket=number))
    with at_work(office):
        delivery = office.next()
    assert delivery.answered == tuple((n, (Stored(n + 1, created=True),)) for n in range(20))
    assert delivery.trouble is None
    assert delivery.committed is not None
    assert len(delivery.committed.lines) == 20


def test_items_put_together_are_committed_together(store: Store) -> None:
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "one"), Entrusted(submission(asked()), "other"))
        assert [ticket for ticket, _ in office.next().answered] == ["one", "other"]


def test_more_than_one_batch_is_answered_in_order_all_the_same(store: Store) -> None:
    office = Office(store.state_dir)
    many = 2 * writers._MAX_BATCH + 10
    for number in range(many):
        office.writer.put(Entrusted(submission(asked()), ticket=number))
    with at_work(office):
        answered = office.next_with(many - 1)
    assert [ticket for ticket, _ in answered] == list(range(many))
    assert [answer[0].id for _, answer in answered] == list(range(1, many + 1))  # type: ignore[index]


def test_what_many_threads_put_is_all_committed_once(store: Store) -> None:
    office = Office(store.state_dir)

    def put(name: int) -> None:
        for number in range(25):
            office.writer.put(Entrusted(submission(asked()), (name, number)))

    threads = [threading.Thread(target=put, args=(name,)) for name in range(4)]
    with at_work(office):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    answered = [pair for delivery in office.rest() for pair in delivery.answered]
    assert len({answer[0].id for _, answer in answered}) == len(answered) == 100
    for name in range(4):
        assert [number for (who, number), _ in answered if who == name] == list(range(25))
    assert store.count("background_jobs") == 100


def test_everything_put_before_finish_is_committed(store: Store) -> None:
    office = Office(store.state_dir)
    office.writer.start()
    for number in range(writers._MAX_BATCH + 44):
        office.writer.put(Entrusted(submission(asked()), number))
    office.writer.finish()
    assert store.count("background_jobs") == writers._MAX_BATCH + 44
    assert sum(len(delivery.answered) for delivery in office.rest()) == writers._MAX_BATCH + 44


def test_an_answer_is_in_the_file_when_it_is_delivered(store: Store) -> None:
    seen: Queue[int] = Queue()

    def look(delivery: Delivery) -> None:
        if delivery.answered:
            with sqlite3.connect(store.state_dir / FILE_NAME) as other:
                seen.put(other.execute("SELECT count(*) FROM background_jobs").fetchone()[0])

    writer = Writer(store.state_dir, BOOT, Clock(), NO_SLOTS, look)
    writer.put(Entrusted(submission(asked(), asked()), "t"))
    writer.start()
    writer.finish()
    assert seen.get(timeout=PATIENCE) == 2


def test_a_refusal_is_delivered_as_the_answer(store: Store) -> None:
    store.submit(asked(idempotency_key="k"))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked(idempotency_key="k", method="send")), "t"))
        ((_, refused),) = office.next_with("t")
    assert isinstance(refused, IdempotencyConflictError)


def test_lanes_may_be_opened_later(store: Store) -> None:
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "t"))
        assert office.next().committed.claims == ()  # type: ignore[union-attr]
        writer.lanes = Lanes(1)
        writer.put(Entrusted(Look(), "look"))
        assert [claim.job.id for claim in office.next().committed.claims] == [1]  # type: ignore[union-attr]


# A file that cannot be written for a while


@pytest.mark.parametrize("error", [UNREADABLE, OSError("input/output error")], ids=["peewee", "OSError"])
def test_submissions_are_refused_and_facts_are_kept_until_the_file_works(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None], error: Exception
) -> None:
    job_id = store.run_one()
    opens(Flaky(failures=2, error=error))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(
            Entrusted(submission(asked()), "asked"),
            Entrusted(starts(job_id), "started"),
            Entrusted(ends(job_id, COMPLETED), "ended"),
        )
        first, second, third = office.next(), office.next(), office.next()
    ((ticket, refused),) = first.answered
    assert ticket == "asked"
    assert isinstance(refused, StorageUnavailableError)
    assert refused.parameters == {"reason": str(error)}
    assert (first.committed, first.trouble) == (None, str(error))
    assert (second.answered, second.committed, second.trouble) == ((), None, str(error))
    assert [ticket for ticket, _ in third.answered] == ["started", "ended"]
    assert [answer.status for _, answer in third.answered] == [Status.RUNNING, Status.COMPLETED]
    assert third.trouble is None
    assert store.job(job_id)["status"] == "completed"
    assert store.attempts(job_id)[0]["outcome"] == "completed"
    assert store.count("background_jobs") == 1
    assert store.messages(job_id).count("Background job completed processing") == 1


@pytest.mark.parametrize(
    "fact",
    [
        ClockJumped(60.0),
        DaemonStarted(),
        Noted(1, None, EntryType.INFO, "n"),
        AttemptNotes(1, 1, 0, (Note(NOW, EntryType.INFO, "n"),)),
    ],
    ids=lambda f: type(f).__name__,
)
def test_a_fact_that_is_no_start_or_end_is_kept_too(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None], fact: Item
) -> None:
    store.run_one()
    opens(Flaky(failures=1, error=UNREADABLE))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(fact, "fact"))
        assert office.next_with("fact") == [("fact", None)]


def test_a_look_that_failed_is_made_again_when_the_file_works(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    """Nobody else might come for hours: the one timer has fired for this look."""
    store.submit(asked())
    opens(Flaky(failures=1, error=UNREADABLE))
    office = Office(store.state_dir, Lanes(1))
    office.writer.start()
    office.writer.put(Entrusted(Look()))
    try:
        assert office.next().trouble is not None
        again = office.next(patience=1.0)
    finally:
        office.writer.finish()
    assert again.committed is not None
    assert [claim.job.id for claim in again.committed.claims] == [1]


def test_what_comes_in_while_facts_wait_is_refused_and_the_facts_stay_in_order(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    job_id = store.run_one()
    flaky = Flaky(failures=10**6, error=UNREADABLE)
    opens(flaky)
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(starts(job_id), "started"))
        office.next()
        writer.put(Entrusted(submission(asked()), "asked"), Entrusted(ends(job_id, COMPLETED), "ended"))
        ((_, refused),) = office.next_with("asked")
        assert isinstance(refused, StorageUnavailableError)
        flaky.failures = 0
        answered = office.next_with("ended")
    assert [ticket for ticket, _ in answered] == ["started", "ended"]
    assert store.job(job_id)["status"] == "completed"


def test_a_database_locked_by_another_program_refuses_submissions_until_it_lets_go(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "_BUSY_TIMEOUT", 0.01)
    job_id = store.run_one()
    other = sqlite3.connect(store.state_dir / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"), Entrusted(ends(job_id, COMPLETED), "ended"))
        delivery = office.next()
        assert delivery.trouble == "database is locked"
        ((_, refused),) = delivery.answered
        assert isinstance(refused, StorageUnavailableError)
        other.execute("ROLLBACK")
        ((ticket, job),) = office.next_with("ended")
    assert ticket == "ended"
    assert job.status is Status.COMPLETED  # type: ignore[attr-defined]


class Small:
    """Opens the file with no room to grow, the first time; afterwards somebody has made room."""

    def __init__(self) -> None:
        self.tried = 0

    def __call__(self, state_dir: Path) -> SqliteDatabase:
        self.tried += 1
        database = open_for_writing(state_dir)
        if self.tried == 1:
            database.execute_sql("PRAGMA max_page_count = 1")  # SQLite takes it as: no more than there are
        return database


LARGE = asked(parameters={"text": "x" * 100_000})


def test_a_full_disk_refuses_submissions_until_there_is_room(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    opens(Small())
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(LARGE), "large"))
        ((_, refused),) = office.next_with("large")
        assert isinstance(refused, StorageUnavailableError)
        writer.put(Entrusted(submission(LARGE), "again"))
        assert office.next_with("again") == [("again", (Stored(1, created=True),))]


def test_a_full_disk_is_told_as_what_it_is(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    opens(Small())
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(LARGE), "large"))
        assert office.next().trouble == "database or disk is full"


def test_an_item_that_is_a_bug_does_not_end_the_thread(store: Store) -> None:
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked(scheduled_at=253_402_304_399.0)), "after 9999"))
        ((_, refused),) = office.next(patience=1.0).answered
        assert isinstance(refused, Exception)
        writer.put(Entrusted(submission(asked()), "after"))
        assert office.next_with("after") == [("after", (Stored(1, created=True),))]


def test_items_that_fail_together_for_a_bug_are_committed_one_by_one(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    job_id = store.run_one()
    bug = LookupError("nobody thought of this")
    opens(Flaky(failures=1, error=bug))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"), Entrusted(ends(job_id, COMPLETED), "ended"))
        assert office.next_with("asked") == [("asked", (Stored(2, created=True),))]
        assert [ticket for ticket, _ in office.next_with("ended")] == ["ended"]
        writer.put(Entrusted(submission(asked()), "after"))
        assert office.next_with("after") == [("after", (Stored(3, created=True),))]
    assert store.job(job_id)["status"] == "completed"
