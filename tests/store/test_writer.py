"""The writer's thread on real files: group commit, its end, and a file that cannot be written for a while."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import peewee
import pytest
from peewee import SqliteDatabase

from bgjob.errors import IdempotencyConflictError, StorageUnavailableError
from bgjob.words import EntryType, Status
from bgjobd.core.facts import Changed, ClockJumped
from bgjobd.core.many import Wish
from bgjobd.core.planner import Lanes
from bgjobd.core.schedules import Due, Rules
from bgjobd.host.clock import Clock
from bgjobd.store import database as databases
from bgjobd.store import entrusted
from bgjobd.store import writer as writers
from bgjobd.store.committed import Committed, LostUpdateError, Stored
from bgjobd.store.database import FILE_NAME, open_for_reading, open_for_writing
from bgjobd.store.engines import sqlite as of_sqlite
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.postgres_transactions import PostgresDatabase
from bgjobd.store.entrusted import Entrusted, Intake
from bgjobd.store.items.attempts import AttemptNotes, Note, Noted, StateSaved
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, Look, ReloadFailed
from bgjobd.store.items.hosts import AttemptsLost, HooksTakenOver
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import Backfill, OccurrencesDue, ScheduleDue
from bgjobd.store.items.wishes import JobsChanged, ManyAsked
from bgjobd.store.ledger import Ledger
from bgjobd.store.statements import of_jobs
from bgjobd.store.writer import Delivery, Writer
from tests.store.samples import (
    BOOT,
    COMPLETED,
    NO_SLOTS,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    overhear,
    starts,
    submission,
)
from tests.support import eventually

PATIENCE = 10.0
"""Seconds that no test waits unless something is wrong."""


class Office:
    """A writer and whatever it delivered, in order."""

    def __init__(self, state_dir: Path, lanes: Lanes = NO_SLOTS, clock: Clock | None = None) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(state_dir, BOOT, clock or Clock(), lanes, self.deliveries.put)

    def next(self) -> Delivery:
        return self.deliveries.get(timeout=PATIENCE)

    def next_with(self, *tickets: object) -> list[tuple[object, object]]:
        """The answers of the coming deliveries, until these tickets are among them."""
        answered: list[tuple[object, object]] = []
        while not set(tickets) <= {ticket for ticket, _ in answered}:
            answered += self.next().answered
        return answered

    def next_without_trouble(self) -> Delivery:
        """The first of the coming deliveries that the file was written for."""
        while (delivery := self.next()).trouble is not None:
            pass
        return delivery

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
        return opened(state_dir)


UNREADABLE = peewee.OperationalError("disk I/O error")


def opened(place: Any) -> Any:
    """The writer's connection, as the engine opens it where no test has it opened otherwise."""
    if isinstance(place, Path):
        return open_for_writing(place)
    return PostgresDatabase(place.address, for_reading=False)


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Path], SqliteDatabase]], None]:
    """Replaces how the writer opens its file, and spares the test the pauses between."""
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)

    def open_by(opener: Callable[[Any], Any]) -> None:
        monkeypatch.setattr(of_sqlite.Sqlite, "open_for_writing", lambda engine: opener(engine.state_dir))
        monkeypatch.setattr(Postgres, "open_for_writing", lambda engine: opener(engine))

    return open_by


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
    many = 2 * entrusted._MAX_BATCH + 10
    for number in range(many):
        office.writer.put(Entrusted(submission(asked()), ticket=number))
    with at_work(office):
        answered = office.next_with(many - 1)
    assert [ticket for ticket, _ in answered] == list(range(many))
    assert [answer[0].id for _, answer in answered] == list(range(1, many + 1))  # type: ignore[index]


def test_a_transaction_is_about_so_many_jobs_however_few_items_they_come_in(store: Store) -> None:
    office = Office(store.state_dir)
    many = [asked()] * entrusted._MAX_BATCH
    for number in range(3):
        office.writer.put(Entrusted(submission(*many), ticket=number))
    with at_work(office):
        assert [[ticket for ticket, _ in office.next().answered] for _ in range(3)] == [[0], [1], [2]]


MANY = range(1, entrusted._MAX_BATCH + 1)


@pytest.mark.parametrize(
    "item",
    [
        cancels(*MANY),
        JobsChanged(tuple(MANY), Changed(None, priority=1), SUBMITTER),
        ManyAsked(tuple(cancels(id) for id in MANY), Wish.CANCEL, frozenset(Status), NOW, False, {}, "uid 0"),
        AttemptsLost(1, tuple(ends(id, COMPLETED) for id in MANY)),
        HooksTakenOver(1, ("mail.Mail",), len(MANY)),
        Backfill("hourly", tuple((float(at), None) for at in MANY), (), (), asked(), SUBMITTER),
    ],
    ids=lambda item: type(item).__name__,
)
def test_an_item_about_many_jobs_fills_a_transaction(item: Item) -> None:
    intake = Intake()
    for number in range(2):
        intake.put((Entrusted(item, number),))
    assert [intake.take(0.0) for _ in range(2)] == [([Entrusted(item, number)], False) for number in range(2)]


def test_what_is_due_of_many_schedules_counts_for_as_many_jobs(store: Store) -> None:
    office = Office(store.state_dir)
    each = [
        ScheduleDue(f"s{number}", NOW, Due(None, (NOW,), NOW), Rules(), None, 0.0, NOW)
        for number in range(entrusted._MAX_BATCH)
    ]
    for number in range(2):
        office.writer.put(Entrusted(OccurrencesDue(tuple(each), SUBMITTER), ticket=number))
    with at_work(office):
        assert [[ticket for ticket, _ in office.next().answered] for _ in range(2)] == [[0], [1]]


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
    for number in range(entrusted._MAX_BATCH + 44):
        office.writer.put(Entrusted(submission(asked()), number))
    office.writer.finish()
    assert store.count("background_jobs") == entrusted._MAX_BATCH + 44
    assert sum(len(delivery.answered) for delivery in office.rest()) == entrusted._MAX_BATCH + 44


def test_an_answer_is_in_the_file_when_it_is_delivered(store: Store) -> None:
    seen: Queue[int] = Queue()

    def look(delivery: Delivery) -> None:
        if delivery.answered:
            with closing(opened(store.state_dir)) as other:
                seen.put(other.execute_sql("SELECT count(*) FROM background_jobs").fetchone()[0])

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
    assert refused.parameters == {"reason": str(error), "may_be_stored": False}
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
        StateSaved(1, 1, 1, "{}"),
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
        again = office.next()
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


def test_what_is_asked_for_in_trouble_is_refused_at_once_however_long_the_next_try_is_off(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = store.run_one()
    flaky = Flaky(failures=1, error=UNREADABLE)
    opens(flaky)
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 3600.0)
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(starts(job_id), "started"))
        office.next()
        writer.put(Entrusted(submission(asked()), "asked"))
        ((_, refused),) = office.next_with("asked")
        assert isinstance(refused, StorageUnavailableError)
        assert flaky.tried == 1
    assert [ticket for delivery in office.rest() for ticket, _ in delivery.answered] == ["started"]


def test_a_file_that_can_be_written_again_is_found_though_nobody_asks(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    opens(Flaky(failures=3, error=UNREADABLE))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        assert office.next_without_trouble().answered == ()
    assert store.count("properties") == 2  # its id, and when it could be written again


def test_each_try_has_a_connection_of_its_own(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    tried: list[SqliteDatabase] = []

    def opener(state_dir: Path) -> SqliteDatabase:
        tried.append(opened(state_dir))
        if len(tried) < 4:
            overhear(tried[-1], lambda sql: _raise(peewee.OperationalError("it does not answer")))
        return tried[-1]

    opens(opener)
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        troubles = [office.next().trouble for _ in range(3)]
        office.next_without_trouble()
    assert troubles == ["it does not answer"] * 3
    assert len(tried) == 4


def test_a_disk_with_room_for_little_is_still_full(
    store: Store,
    opens: Callable[[Callable[[Path], SqliteDatabase]], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it would be well for each small write, and trouble again for the next large one."""
    full = [OSError(28, "no room"), OSError(28, "no room")]
    real = of_sqlite._prove_room
    monkeypatch.setattr(
        of_sqlite, "_prove_room", lambda place: real(place) if not full else _raise(full.pop())
    )
    opens(Small())
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(LARGE), "large"))
        office.next_without_trouble()
    assert full == []


def _raise(error: Exception) -> None:
    raise error


def test_facts_are_kept_while_there_is_no_memory(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    job_id = store.run_one()
    opens(Flaky(failures=1, error=MemoryError()))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(starts(job_id), "started"), Entrusted(ends(job_id, COMPLETED), "ended"))
        assert office.next().trouble == "no memory"
        assert [ticket for ticket, _ in office.next_with("ended")] == ["started", "ended"]
    assert store.job(job_id)["status"] == "completed"


def test_what_the_daemon_tells_of_its_code_is_kept_as_what_happened(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    store.run_one()
    opens(Flaky(failures=1, error=MemoryError()))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(CodeLoaded("736711a9ab89")), Entrusted(ReloadFailed("no such module"), "told"))
        assert office.next().trouble == "no memory"
        assert [answer for _, answer in office.next_with("told")] == [None, None]


def test_trouble_that_comes_while_items_are_committed_one_by_one_costs_no_fact(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    job_id = store.run_one()
    failures: list[Exception] = [LookupError("nobody thought of this"), UNREADABLE]

    def opener(state_dir: Path) -> SqliteDatabase:
        if failures:
            raise failures.pop(0)
        return opened(state_dir)

    opens(opener)
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(starts(job_id), "started"), Entrusted(ends(job_id, COMPLETED), "ended"))
        answered = office.next_with("ended")
    assert [answer.status for _, answer in answered] == [Status.RUNNING, Status.COMPLETED]  # type: ignore[attr-defined]


def test_a_statement_that_is_refused_is_a_bug_and_no_trouble_with_the_file(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    """Else one bad item would be tried for ever, and all submissions be refused."""
    with pytest.raises(peewee.DatabaseError) as caught:
        store.database.execute_sql("SELECT no_such_column")
    opens(Flaky(failures=1, error=caught.value))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        assert office.next_with("asked") == [("asked", (Stored(1, created=True),))]


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
        database = opened(state_dir)
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
        office.next_without_trouble()
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
        ((_, refused),) = office.next().answered
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


def test_a_lost_update_is_the_answer_of_the_item_that_met_it(
    store: Store, opens: Callable[[Callable[[Path], SqliteDatabase]], None]
) -> None:
    lost_id, good_id = store.run_one(), store.run_one()

    def beside_another_writer(state_dir: Path) -> SqliteDatabase:
        database = opened(state_dir)

        def change(sql: str) -> None:
            if sql == of_jobs.UPDATE_JOB:
                database.execute_sql("UPDATE background_jobs SET status = 'failed' WHERE id = ?", (lost_id,))

        overhear(database, change)
        return database

    opens(beside_another_writer)
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(
            Entrusted(ends(lost_id, COMPLETED), "lost"),
            Entrusted(ends(good_id, COMPLETED), "good"),
            Entrusted(submission(asked()), "asked"),
        )
        answers = dict(office.next_with("good", "lost", "asked"))
    assert isinstance(answers["lost"], LostUpdateError)
    (stored,) = answers["asked"]
    assert stored.created
    assert store.job(good_id)["status"] == "completed"
    assert store.job(lost_id)["result"] is None


# A file that is not where it was


def _moved_in_a_commit(store: Store, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has the database moved away during the next commit; where to."""
    aside = store.state_dir / "aside.db"
    real = Ledger.commit

    def commit(ledger: Ledger, *given: Any) -> Committed:
        committed = real(ledger, *given)
        monkeypatch.setattr(Ledger, "commit", real)
        (store.state_dir / FILE_NAME).rename(aside)
        return committed

    monkeypatch.setattr(Ledger, "commit", commit)
    return aside


def test_what_was_committed_into_a_file_that_was_moved_meanwhile_is_told_once_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    job_id = store.run_one()
    store.answer(starts(job_id))
    office = Office(store.state_dir, Lanes(1))
    aside = _moved_in_a_commit(store, monkeypatch)
    with at_work(office) as writer:
        writer.put(Entrusted(ends(job_id, COMPLETED), "ended"), Entrusted(submission(asked()), "asked"))
        first = office.next()
        ((ticket, refused),) = first.answered
        assert (ticket, first.committed) == ("asked", None)
        assert isinstance(refused, StorageUnavailableError)
        assert refused.parameters["may_be_stored"] is True
        assert "moved or removed" in refused.parameters["reason"]
        writer.put(Entrusted(Look(), "look"), Entrusted(submission(asked()), "later"))
        ((_, refused),) = office.next_with("later")
        assert isinstance(refused, StorageUnavailableError)
        assert refused.parameters["may_be_stored"] is False
        aside.rename(store.state_dir / FILE_NAME)
        told = office.next_without_trouble()
        assert [ticket for ticket, _ in told.answered] == ["ended"]
        assert told.committed is not None
        assert [claim.job.id for claim in told.committed.claims] == [2]  # what was refused, and is stored
        assert office.next_with("look") == [("look", None)]
    assert store.count("background_jobs") == 2


@pytest.mark.parametrize("beside", ["-wal", "-shm"])
@pytest.mark.parametrize("is_replaced", [False, True], ids=["gone", "replaced"])
def test_a_file_beside_the_database_that_is_not_its_own_any_more_is_trouble(
    store: Store, monkeypatch: pytest.MonkeyPatch, beside: str, is_replaced: bool
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    office = Office(store.state_dir)
    path, aside = store.state_dir / f"{FILE_NAME}{beside}", store.state_dir / "aside"
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        office.next_without_trouble()
        path.rename(aside)
        if is_replaced:
            path.write_bytes(aside.read_bytes())
        writer.put(Entrusted(submission(asked()), "refused"))
        ((_, refused),) = office.next_with("refused")
        assert isinstance(refused, StorageUnavailableError)
        assert f"{FILE_NAME}{beside}" in refused.parameters["reason"]
        assert refused.parameters["may_be_stored"] is False
        aside.rename(path)
        office.next_without_trouble()
        writer.put(Entrusted(submission(asked()), "again"))
        assert office.next_with("again") == [("again", (Stored(2, created=True),))]


def test_the_log_of_a_file_that_was_moved_is_emptied_as_soon_as_nobody_reads_what_is_in_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(databases, "_BUSY_TIMEOUT", 0.01)
    office = Office(store.state_dir)
    log = store.state_dir / f"{FILE_NAME}-wal"
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        office.next_without_trouble()
        reader = sqlite3.connect(store.state_dir / FILE_NAME, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM background_jobs").fetchone()
        writer.put(Entrusted(submission(asked()), "more"))
        office.next_without_trouble()
        (store.state_dir / FILE_NAME).rename(store.state_dir / "aside")
        writer.put(Entrusted(submission(asked()), "refused"))
        office.next_with("refused")
        assert log.stat().st_size > 0
        reader.close()
        eventually(lambda: log.stat().st_size == 0)
        (store.state_dir / "aside").rename(store.state_dir / FILE_NAME)
        office.next_without_trouble()
    assert store.count("background_jobs") == 2


def test_no_other_database_is_made_where_the_daemons_own_was(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    office = Office(store.state_dir)
    (store.state_dir / FILE_NAME).rename(store.state_dir / "aside")
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        office.next()
        assert office.next().trouble is not None  # tried again
        assert not (store.state_dir / FILE_NAME).exists()


def test_the_log_of_a_file_that_was_emptied_stays_and_what_happened_is_stored_once_that_is_whole_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writers, "_FIRST_PAUSE", 0.001)
    job_id = store.run_one()
    store.answer(starts(job_id))
    office = Office(store.state_dir)
    file, log = store.state_dir / FILE_NAME, store.state_dir / f"{FILE_NAME}-wal"
    with at_work(office) as writer, closing(open_for_reading(store.state_dir)) as reader:
        writer.put(Entrusted(submission(asked()), "asked"))
        office.next_without_trouble()
        assert reader.execute_sql("SELECT count(*) FROM background_jobs").fetchone() == (2,)
        with closing(sqlite3.connect(file)) as other:  # then the writer has to read what it knows
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            other.execute("INSERT INTO properties VALUES ('stored', 'last')")
            other.commit()
        whole, kept = file.read_bytes(), log.read_bytes()
        os.truncate(file, 0)
        writer.put(Entrusted(ends(job_id, COMPLETED), "ended"))
        assert office.next().trouble is not None
        assert "missing or empty" in (office.next().trouble or "")
        assert log.read_bytes()[: len(kept)] == kept
        file.write_bytes(whole)
        ((ticket, ended),) = office.next_without_trouble().answered
        assert (ticket, ended.status) == ("ended", Status.COMPLETED)
    assert store.count("background_jobs") == 2


# A commit of which nobody knows


def _failing_commit(code: int, is_late: bool) -> Callable[[Path], SqliteDatabase]:
    """Opens the file for the writer; the first commit fails with that code of SQLite's: too late, or before it."""
    left = [code]

    def opener(state_dir: Path) -> SqliteDatabase:
        database = opened(state_dir)
        statement = "COMMIT" if is_late else "BEGIN IMMEDIATE"

        def fail(sql: str) -> None:
            if sql == statement and left:
                error = sqlite3.OperationalError("it failed")
                error.sqlite_errorcode = left.pop()
                raise error

        overhear(database, fail)
        return database

    return opener


@pytest.mark.parametrize(
    ("code", "is_late", "may_be_stored"),
    [
        (sqlite3.SQLITE_IOERR_FSYNC, True, True),
        (sqlite3.SQLITE_IOERR_WRITE, True, True),
        (sqlite3.SQLITE_NOMEM, True, True),
        (sqlite3.SQLITE_FULL, True, False),
        (sqlite3.SQLITE_IOERR_WRITE, False, False),
        (sqlite3.SQLITE_BUSY, False, False),
    ],
)
def test_a_refusal_says_whether_what_was_asked_for_may_be_stored_all_the_same(
    store: Store,
    opens: Callable[[Callable[[Path], SqliteDatabase]], None],
    code: int,
    is_late: bool,
    may_be_stored: bool,
) -> None:
    opens(_failing_commit(code, is_late))
    office = Office(store.state_dir)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked()), "asked"))
        ((_, refused),) = office.next_with("asked")
    assert isinstance(refused, StorageUnavailableError)
    assert refused.parameters == {"reason": "it failed", "may_be_stored": may_be_stored}


def test_a_clock_that_was_set_is_followed_when_the_ledger_is_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is committed in between would find a retry due that is to keep its delay."""
    clock = Clock()
    office = Office(store.state_dir, Lanes(1), clock)
    with at_work(office) as writer:
        writer.put(Entrusted(submission(asked(scheduled_at=clock.now() + 600.0)), "stored"))
        office.next_with("stored")
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
        delta = clock.take_jump()
        assert delta is not None
        writer.put(Entrusted(Look(), "looked"))
        looked = office.next()
        writer.put(Entrusted(ClockJumped(delta), "told"))
        told = office.next()
    assert [len(one.committed.claims) for one in (looked, told) if one.committed] == [0, 1]
