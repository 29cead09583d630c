"""Several daemons' ledgers write to one database of PostgreSQL at once: none takes what another has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue
from typing import Any

import psycopg
import pytest

from bgjob.errors import QueueFullError
from bgjob.words import Throttle
from bgjobd.core.gate import KeyRules
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.host.clock import Clock
from bgjobd.store import tallies
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.items import Look
from bgjobd.store.tally import counted
from bgjobd.store.writer import Delivery, Entrusted, Writer
from tests.postgresql import Places
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NO_SLOTS,
    NOW,
    Store,
    asked,
    cancels,
    ends,
    submission,
)
from tests.support import eventually

PATIENCE = 60.0


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


@pytest.fixture
def stores(place: Postgres) -> Iterator[list[Store]]:
    """Three on one database."""
    stores = [Store.on(place) for _ in range(3)]
    yield stores
    for store in stores:
        store.close()


def at_once(*each: Callable[[], Any]) -> list[Any]:
    """What each comes to, on a thread of its own; the first failure is raised."""
    found: list[Any] = [None] * len(each)
    failures: list[BaseException] = []

    def run(place: int, one: Callable[[], Any]) -> None:
        try:
            found[place] = one()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=given, daemon=True) for given in enumerate(each)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]
    return found


class Office:
    """A writer on the database, as a daemon has it."""

    def __init__(self, place: Postgres, lanes: Lanes = NO_SLOTS) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(place, BOOT, Clock(), lanes, self.deliveries.put)
        self.writer.start()

    def ask(self, item: Any) -> Any:
        """The answer, whatever else is delivered before it."""
        self.writer.put(Entrusted(item, "asked"))
        while True:
            for ticket, answer in self.deliveries.get(timeout=PATIENCE).answered:
                if ticket == "asked":
                    return answer


@dataclass
class HeldUp:
    """A commit that is to come: `is_there` once all else is done, and it waits for `go`."""

    is_there: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def held_up(store: Store) -> Iterator[HeldUp]:
    """The store's commits meanwhile."""
    held, real = HeldUp(), store.database.lock_log

    def lock_log() -> None:
        held.is_there.set()
        assert held.go.wait(PATIENCE)
        real()

    store.database.lock_log = lock_log
    try:
        yield held
    finally:
        held.go.set()
        store.database.lock_log = real


def wait_for_locks(place: Postgres, count: int = 1) -> None:
    """Until so many transactions wait for others."""
    with psycopg.connect(place.address, autocommit=True) as connection:
        eventually(lambda: connection.execute(_WAITING).fetchone() == (count,))


_WAITING = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


# Ids


def test_no_id_is_given_twice(stores: list[Store]) -> None:
    def submit(store: Store) -> list[int]:
        return [id for _ in range(20) for id in store.submit(asked(), asked())]

    given = at_once(*[lambda store=store: submit(store) for store in stores])
    ids = [id for one in given for id in one]
    assert len(set(ids)) == len(ids) == 120
    assert all(one == sorted(one) for one in given)


def test_ids_that_came_to_nothing_are_given_back_unless_others_were_given_since(stores: list[Store]) -> None:
    first, second, _ = stores
    key = asked(idempotency_key="k")
    (known,) = first.submit(key)
    assert first.submit(key, asked()) == [known, known + 1]
    assert second.submit(asked()) == [known + 2]


# Jobs


def test_who_ends_a_job_waits_for_who_cancels_it_and_then_sees_that(stores: list[Store]) -> None:
    first, second, _ = stores
    job_id = first.run_one()
    with held_up(first) as held:

        def end() -> Any:
            assert held.is_there.wait(PATIENCE)
            return second.answer(ends(job_id, FAILED))

        def let_go() -> None:
            wait_for_locks(first.state_dir)
            held.go.set()

        _, after, _ = at_once(lambda: first.answer(cancels(job_id)), end, let_go)
    assert after.status == "cancelled"


def test_a_key_that_two_submit_at_once_makes_one_job(place: Postgres) -> None:
    offices = [Office(place) for _ in range(3)]
    try:
        keys = [f"k{number}" for number in range(40)]

        def submit(office: Office) -> list[int]:
            return [office.ask(submission(asked(idempotency_key=key)))[0].id for key in keys]

        ids = at_once(*[lambda one=office: submit(one) for office in offices])
        assert ids[0] == ids[1] == ids[2]
    finally:
        for office in offices:
            office.writer.finish()


# What each knows of all


def test_the_tally_of_each_is_of_all_that_write(stores: list[Store]) -> None:
    ids = [id for store in stores for id in store.submit(asked(), asked())]
    stores[1].commit(cancels(ids[0]))
    claimed = stores[2].claim(Lanes(2))
    stores[0].commit(ends(claimed[0].job.id, COMPLETED))
    for store in stores:
        tally = store.commit(Look()).tally
        assert tally.jobs == {"pending": 3, "running": 1, "completed": 1, "cancelled": 1}
        assert tally == counted(store.database, NOW)


def test_a_tally_is_summed_up_now_and_then_and_whoever_was_away_has_it_too(
    stores: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "SUMMED_UP_AFTER", 5)
    first, second, third = stores
    third.submit(asked())
    for number in range(20):
        (first, second)[number % 2].submit(asked())
    assert first.count("tallies") < 10
    assert third.commit(Look()).tally.jobs == {"pending": 21}
    with closing(Store.on(first.state_dir)) as fourth:
        assert fourth.commit(Look()).tally.jobs == {"pending": 21}


def test_a_queue_is_full_for_all_that_write(stores: list[Store]) -> None:
    lanes = Lanes(0, max_pending={"default": 2})
    for store in stores[:2]:
        store.commit(submission(asked()), lanes=lanes)
    (answer,) = stores[2].commit(submission(asked()), lanes=lanes).answers
    assert isinstance(answer, QueueFullError)


def test_a_class_that_one_holds_starts_at_no_other(stores: list[Store]) -> None:
    first, second, _ = stores
    second.commit(Look())
    throttled = first.run_one()
    waiting = second.submit(asked())
    ending = Ending.throttled(60.0, Throttle.CLASS)
    first.commit(ends(throttled, ending))
    assert second.claim(Lanes(5)) == []
    second.now += 61
    assert [claim.job.id for claim in second.claim(Lanes(5))] == [throttled, *waiting]


def test_others_keep_to_what_a_queue_says_of_keys_that_they_do_not_have(stores: list[Store]) -> None:
    first, second, _ = stores
    lanes = Lanes(5, {"mail": None}, keys={"mail": KeyRules(slots=1)})
    first.commit(Look(), lanes=lanes)
    second.commit(Look(), lanes=Lanes(5, {"default": None}, keys={}))
    second.submit(*[asked(queue="mail", key="k") for _ in range(3)])
    assert [row["ready"] for row in first.rows("SELECT ready FROM background_jobs ORDER BY id")] == [1, 3, 3]
    assert len(first.claim(lanes)) == 1
