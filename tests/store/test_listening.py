"""What somebody who listens hears of others: of PostgreSQL, for a file has one writer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import psycopg
import pytest

from bgjobd.core.planner import Lanes
from bgjobd.host.clock import Clock
from bgjobd.store.engines import Looked
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.postgres_transactions import PostgresDatabase
from bgjobd.store.engines.sqlite import Sqlite
from bgjobd.store.entrusted import Entrusted
from bgjobd.store.notices import notice_from
from bgjobd.store.writer import Delivery, Writer
from tests.postgresql import Places
from tests.store.samples import BOOT, asked, submission
from tests.support import eventually

SELDOM, OFTEN = 60.0, 0.1
HELLO = '{"by":"hello"}'


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


class Heard:
    """What one who listens has heard, and found."""

    def __init__(self) -> None:
        self.texts: Queue[str] = Queue()
        self.looks: Queue[Looked] = Queue()

    def next(self) -> dict[str, Any]:
        """What is told next, without the newest log entry."""
        told: dict[str, Any] = json.loads(self.texts.get(timeout=20))
        del told["log"]
        return told


@contextmanager
def listening(place: Postgres, beat: float = SELDOM, greeting: str = HELLO) -> Iterator[Heard]:
    """Listens meanwhile; its first look, and its own greeting, are taken already."""
    heard = Heard()
    listening = place.listen(heard.texts.put, heard.looks.put, greeting, beat)
    listening.start()
    try:
        assert heard.looks.get(timeout=20).may_have_missed
        assert heard.next() == json.loads(greeting)
        yield heard
    finally:
        listening.close()


@contextmanager
def writer(place: Postgres, told_as: str | None) -> Iterator[Callable[..., Delivery]]:
    """Commits items by themselves; gives what has come of them."""
    delivered: Queue[Delivery] = Queue()
    writer = Writer(place, BOOT, Clock(), Lanes(0), delivered.put)
    writer.told_as = told_as

    def commit(item: Any) -> Delivery:
        writer.put(Entrusted(item))
        return delivered.get(timeout=20)

    writer.start()
    try:
        yield commit
    finally:
        writer.finish()


def test_of_a_file_nobody_can_listen(tmp_path: Path) -> None:
    assert Sqlite(tmp_path).listen(print, print, HELLO, OFTEN) is None  # type: ignore[func-returns-value]


def test_what_is_committed_is_heard_and_nothing_of_what_came_to_nothing(place: Postgres) -> None:
    with listening(place) as heard:
        database = PostgresDatabase(place.address, for_reading=False)
        for what, end in (("lost", database.roll_back), ("news", database.commit_writing)):
            database.begin_writing()
            database.tell(f'{{"by":"{what}"}}')
            end()
        database.close()
        assert heard.next() == {"by": "news"}


def test_a_commit_is_told_by_the_writer_as_long_as_others_listen(place: Postgres) -> None:
    with listening(place) as heard, writer(place, "there") as commit:
        commit(submission(asked(queue="mail")))
        notice = notice_from(heard.texts.get(timeout=20))
        assert (notice.by, notice.queues, notice.log) == ("there", {"mail"}, 1)
    with listening(place) as heard, writer(place, None) as commit:
        commit(submission(asked()))
        assert heard.texts.empty()


def test_who_begins_to_listen_is_greeted_by_the_others_looks(place: Postgres) -> None:
    with listening(place, OFTEN, '{"by":"first"}') as first:
        assert not first.looks.get(timeout=20).has_others
        with listening(place, OFTEN, '{"by":"second"}') as second:
            assert first.next() == {"by": "second"}
            assert eventually(lambda: first.looks.get(timeout=20).has_others)
            assert second.looks.get(timeout=20).has_others
        assert eventually(lambda: not first.looks.get(timeout=20).has_others)


def test_a_look_finds_the_newest_entry(place: Postgres) -> None:
    with listening(place, OFTEN) as heard, writer(place, None) as commit:
        commit(submission(asked()))
        assert eventually(lambda: heard.looks.get(timeout=20).last_entry == 1)


def test_a_connection_that_breaks_is_made_anew_and_says_that_something_may_have_been_missed(
    place: Postgres,
) -> None:
    with listening(place, OFTEN) as heard:
        with psycopg.connect(place.address, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert eventually(lambda: heard.looks.get(timeout=20).may_have_missed)
        assert heard.next() == json.loads(HELLO)


def test_who_can_not_listen_says_why_at_each_beat(tmp_path: Path) -> None:
    looks: Queue[Looked] = Queue()
    listening = Postgres(f"host={tmp_path} dbname=shop").listen(lambda text: None, looks.put, HELLO, OFTEN)
    listening.start()
    try:
        for _ in range(2):
            look = looks.get(timeout=20)
            assert look.may_have_missed
            assert "No such file" in str(look.trouble)
    finally:
        listening.close()


def test_who_listens_no_more_leaves_no_thread(place: Postgres) -> None:
    before = set(threading.enumerate())  # of which some of other tests may be about to end
    with listening(place):
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) <= before
