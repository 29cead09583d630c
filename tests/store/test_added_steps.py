"""Steps of the schema that only add are taken while other hosts, which do not know them, write and read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import psycopg
import pytest

from bgjobd.core.hosts import Profile, Term
from bgjobd.core.planner import Lanes
from bgjobd.store.engines import postgres, postgres_indexes, postgres_schema
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.server_errors import AwayServerError
from bgjobd.store.hosts import Newcomer, join
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.migrations import STEPS, OlderHostsError
from tests.postgresql import PostgreSQL
from tests.store.samples import BOOT, COMPLETED, Store, asked, ends, submission
from tests.store.test_several_writers import at_once, commit

ADDED: Final = (
    "ALTER TABLE job_attempts ADD COLUMN added bigint NOT NULL DEFAULT 0",
    "CREATE INDEX attempts_added ON job_attempts (added) WHERE added > 0",
    "ALTER TABLE background_jobs ADD COLUMN added bigint NOT NULL DEFAULT 0",
    "ALTER TABLE job_logs ADD COLUMN added bigint",
    "ALTER TABLE hosts ADD COLUMN added bigint",
    "CREATE TABLE added (id bigint PRIMARY KEY)",
    "CREATE INDEX logs_added ON job_logs (attempt, id) WHERE attempt > 0",
)


@pytest.fixture
def place(postgresql: PostgreSQL) -> Postgres:
    """A database that no other test has, for its tables change."""
    return Postgres(postgresql.with_schema(f"added{next(postgresql.numbers)}"))


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Postgres], None]:
    """Has a database brought up to date as the next version would."""

    def prepare(place: Postgres) -> None:
        with monkeypatch.context() as next_version:
            steps = (*STEPS, lambda database: None)
            next_version.setattr(postgres, "STEPS", steps)
            next_version.setattr(postgres_schema, "STEPS", steps)
            more = {**postgres_schema.POSTGRES_STEPS, len(STEPS): ADDED}
            next_version.setattr(postgres_schema, "POSTGRES_STEPS", more)
            place.prepare(lambda: None)

    return prepare


def host(place: Postgres, name: str) -> Term:
    joined = join(place, Newcomer(name, name, BOOT, 60.0, "1", Profile(4, ("default",), ()), 5.0))
    assert joined is not None
    return joined.term


def test_hosts_at_work_go_on_while_another_one_changes_the_tables(
    place: Postgres, newer: Callable[[Postgres], None]
) -> None:
    stores, are_at_work, is_over = (
        [Store.on(place) for _ in range(3)],
        threading.Semaphore(0),
        threading.Event(),
    )
    for number, store in enumerate(stores):
        store.database.write_as(host(place, f"web{number}"))

    def work(store: Store) -> None:
        facts: list[Item] = []
        turn = 0
        while facts or not is_over.is_set():
            more = [] if is_over.is_set() else [submission(asked(key="k"), asked())]
            committed = commit(store, *facts, *more, Look(), lanes=Lanes(0 if is_over.is_set() else 5))
            facts = [ends(claim.job.id, COMPLETED, claim.job.attempt) for claim in committed.claims]
            turn += 1
            if turn == 8:  # by now its statements are prepared
                are_at_work.release()

    def change() -> None:
        for _ in stores:
            assert are_at_work.acquire(timeout=40)
        try:
            newer(place)
        finally:
            is_over.set()

    try:
        at_once(change, *[lambda store=store: work(store) for store in stores])
        running = stores[0].rows("SELECT id FROM background_jobs WHERE status = 'running'")
        assert running == []
        stores[0].rows("SELECT added FROM background_jobs LIMIT 1")
    finally:
        for store in stores:
            store.close()


def test_who_reads_for_long_has_a_start_wait_and_holds_up_nobody_else(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CHANGES_WAIT_FOR", "50ms")
    with closing(Store.on(place)) as store, psycopg.connect(place.address) as reader:
        reader.execute("SELECT count(*) FROM bgjobd.background_jobs")
        with pytest.raises(AwayServerError, match="are read by somebody for long"):
            newer(place)
        store.submit(asked())
        reader.rollback()
        newer(place)
        store.submit(asked())
        assert store.rows("SELECT added FROM background_jobs") == [{"added": 0}] * 2


def test_what_does_not_only_add_is_not_done_beside_an_older_host_that_lives(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "NOT_ADDING", frozenset({len(STEPS)}))
    host(place, "web1")
    with pytest.raises(OlderHostsError, match=r"\(web1\): stop their daemons"):
        newer(place)
    with closing(Store.on(place)) as store:
        store.rows("UPDATE hosts SET left_at = seen_at RETURNING id")
        newer(place)
        store.rows("SELECT added FROM background_jobs")


STANDING: Final = """
    SELECT (SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('bgjobd.logs_added')), version
    FROM bgjobd.schema_version
"""


def test_an_index_of_a_large_table_is_there_before_anybody_has_to_wait_for_the_steps(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_indexes, "LARGE", 0)
    monkeypatch.setattr(postgres, "_CHANGES_WAIT_FOR", "50ms")
    with psycopg.connect(place.address) as holder, psycopg.connect(place.address, autocommit=True) as looker:
        holder.execute("LOCK TABLE bgjobd.hosts IN ACCESS SHARE MODE")
        with pytest.raises(AwayServerError, match="are read by somebody for long"):
            newer(place)
        assert looker.execute(STANDING).fetchone() == (True, len(STEPS))
        holder.rollback()
        newer(place)
        assert looker.execute(STANDING).fetchone() == (True, len(STEPS) + 1)


def test_an_index_that_was_not_finished_is_built_anew_and_by_one_host_at_a_time(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_indexes, "LARGE", 0)
    monkeypatch.setattr(postgres_indexes, "WAITS_FOR", "50ms")
    with psycopg.connect(place.address) as reader, psycopg.connect(place.address, autocommit=True) as other:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM bgjobd.queues")
        with pytest.raises(AwayServerError, match="are read by somebody for long"):
            newer(place)
        assert other.execute(STANDING).fetchone() == (False, len(STEPS))
        reader.rollback()
        other.execute(f"SELECT pg_advisory_lock({postgres_indexes._LOCK})")
        with pytest.raises(AwayServerError, match="another host builds the indexes"):
            newer(place)
        other.execute(f"SELECT pg_advisory_unlock({postgres_indexes._LOCK})")
        monkeypatch.setattr(postgres_indexes, "LARGE", 2**60)  # though meanwhile the table has become small
        newer(place)
        assert other.execute(STANDING).fetchone() == (True, len(STEPS) + 1)


def unfinished(address: str, name: str) -> None:
    """Leave an index that is there and not whole, as who is killed while it builds one does."""
    with psycopg.connect(address, autocommit=True) as killed, psycopg.connect(address) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM bgjobd.queues")
        killed.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            killed.execute(
                f"CREATE INDEX CONCURRENTLY {name} ON bgjobd.job_logs (attempt, id) WHERE attempt > 0"
            )


def test_an_index_that_was_not_finished_is_built_anew_though_its_table_is_small_by_now(
    place: Postgres, newer: Callable[[Postgres], None]
) -> None:
    Store.on(place).close()
    unfinished(place.address, "logs_added")
    newer(place)
    with psycopg.connect(place.address) as looker:
        assert looker.execute(STANDING).fetchone() == (True, len(STEPS) + 1)


def test_no_step_is_taken_over_an_index_that_somebody_still_builds(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    Store.on(place).close()
    monkeypatch.setattr(postgres_indexes, "build", lambda *_: unfinished(place.address, "logs_added"))
    with pytest.raises(AwayServerError, match="another host builds the indexes"):
        newer(place)
    with psycopg.connect(place.address) as looker:
        assert looker.execute(STANDING).fetchone() == (False, len(STEPS))


def test_who_has_waited_while_another_host_built_an_index_drops_none_that_is_whole(
    place: Postgres, newer: Callable[[Postgres], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_indexes, "LARGE", 0)
    alone, number = postgres_indexes._alone, "SELECT 'bgjobd.logs_added'::regclass::oid"
    Store.on(place).close()
    with psycopg.connect(place.address, autocommit=True) as other:

        @contextmanager
        def after_the_other(run: postgres_indexes.Run) -> Iterator[None]:
            other.execute("CREATE INDEX logs_added ON bgjobd.job_logs (attempt, id) WHERE attempt > 0")
            built.extend(other.execute(number).fetchall())
            with alone(run):
                yield

        built: list[object] = []
        monkeypatch.setattr(postgres_indexes, "_alone", after_the_other)
        newer(place)
        assert other.execute(number).fetchall() == built
