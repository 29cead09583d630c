"""What only PostgreSQL has: its schema beside SQLite's, functions of ours in SQL, connections that break, plans."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from peewee import DataError, IntegrityError, InternalError, OperationalError

from bgjob.errors import StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.config.sections import Daemon
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.host.absence import absent
from bgjobd.host.clock import Clock, to_text
from bgjobd.store import deletions, hooks, inbox, migrations, news, schedules, sql_functions
from bgjobd.store.audit import Audit, SchemaTooOldError
from bgjobd.store.bounds import interrupting, is_interrupted
from bgjobd.store.committed import Stored
from bgjobd.store.database import UncertainCommitError, UnusableDatabaseError
from bgjobd.store.engines import postgres, postgres_schema
from bgjobd.store.engines.places import NoDriverError, place_of
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.engines.postgres_transactions import PostgresDatabase
from bgjobd.store.engines.postgres_translation import translated
from bgjobd.store.entrusted import Entrusted
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import Received
from bgjobd.store.migrations import STEPS, SchemaTooNewError
from bgjobd.store.pending import Waiting
from bgjobd.store.reader import Reader
from bgjobd.store.rows import log_row
from bgjobd.store.statements import of_attempts, of_entries, of_jobs, of_slots, of_times
from bgjobd.store.writer import Delivery, Writer
from tests.engines import Engines
from tests.postgresql import Places, PostgreSQL
from tests.proxy import proxied
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
    new_database,
    submission,
)
from tests.support import eventually

PATIENCE = 20.0


@pytest.fixture
def place(places: Places, tmp_path: Path) -> Iterator[Postgres]:
    known = places.known()
    yield places.at(tmp_path)
    places.take_back(known)


@pytest.fixture
def store(
    place: Postgres, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Store]:
    monkeypatch.setattr(Engines, "at", places.at)
    store = Store(tmp_path)
    yield store
    store.close()


@pytest.fixture
def empty(postgresql: PostgreSQL) -> Postgres:
    """A database without any table."""
    return Postgres(postgresql.dsn(postgresql.database()))


def end_others(place: Postgres) -> None:
    """Have the server end all connections to the database."""
    with psycopg.connect(place.address, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


# Schema

KINDS = {
    "INTEGER": "bigint",
    "REAL": "double precision",
    "TEXT": "text",
    "VARCHAR(255)": "text",
    "BLOB": "bytea",
}


def test_the_tables_are_those_of_sqlite_column_by_column(store: Store, tmp_path: Path) -> None:
    with closing(new_database(tmp_path)) as file:
        tables = [
            name
            for (name,) in file.execute_sql(
                "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
            )
        ]
        for table in tables:
            columns = [
                (name, KINDS[kind], bool(is_set or in_key))
                for _, name, kind, is_set, _, in_key in file.execute_sql(f"PRAGMA table_info({table})")
            ]
            assert columns == [
                (row["column_name"], row["data_type"], row["is_nullable"] == "NO")
                for row in store.rows(
                    "SELECT column_name, data_type, is_nullable FROM information_schema.columns "
                    "WHERE table_schema = 'bgjobd' AND table_name = ? ORDER BY ordinal_position",
                    table,
                )
            ]
        indexes = file.execute_sql(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND name NOT LIKE 'sqlite%'"
        )
        own = store.rows(
            "SELECT indexname AS name FROM pg_indexes WHERE schemaname = 'bgjobd' AND indexname NOT LIKE '%pkey'"
        )
        of_hosts = {"jobs_pinned"}  # nobody asks for a host where there is but one
        assert {name for (name,) in indexes} | of_hosts == {row["name"] for row in own}


def test_texts_are_compared_byte_by_byte(store: Store) -> None:
    rows = store.rows(
        "SELECT table_name || '.' || column_name AS name FROM information_schema.columns "
        "WHERE table_schema = 'bgjobd' AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C' "
        "AND table_name <> 'sqlite_sequence'"
    )
    assert rows == []


def test_a_start_makes_the_schema_once(empty: Postgres) -> None:
    assert not empty.prepare(lambda: None)
    with closing(Reader(empty)) as reader:
        first = reader.database_id()
    assert not empty.prepare(lambda: None)
    with closing(Reader(empty)) as reader:
        assert reader.database_id() == first


def test_who_looks_at_it_from_outside_finds_nothing_before_the_first_start(empty: Postgres) -> None:
    with closing(Waiting(empty)) as waiting:
        assert waiting.is_empty
    with pytest.raises(SchemaTooOldError):
        Audit(empty)


def test_two_daemons_that_start_at_once_make_it_one_after_the_other(empty: Postgres) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        try:
            empty.prepare(lambda: None)
        except BaseException as error:
            failures.append(error)

    starts = [threading.Thread(target=start) for _ in range(4)]
    for one in starts:
        one.start()
    for one in starts:
        one.join(PATIENCE)
    assert failures == []


def test_a_later_version_takes_the_steps_of_postgresql(
    place: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(database: Any) -> None:
        raise AssertionError("that is SQLite's")

    for module in (migrations, postgres_schema, postgres):
        monkeypatch.setattr(module, "STEPS", (*STEPS, never), raising=False)
    steps = {len(STEPS): ("ALTER TABLE queues ADD COLUMN note text",)}
    monkeypatch.setattr(postgres_schema, "POSTGRES_STEPS", steps)
    place.prepare(lambda: None)
    with closing(place.open_for_writing()) as database:
        assert place.version(database) == len(STEPS) + 1
        database.execute_sql("SELECT note FROM queues")
        database.execute_sql("ALTER TABLE queues DROP COLUMN note")
        database.execute_sql(f"UPDATE schema_version SET version = {len(STEPS)}")


def test_each_step_behind_the_version_that_is_made_whole_has_its_form() -> None:
    assert set(postgres_schema.POSTGRES_STEPS) == set(range(postgres_schema.VERSION, len(STEPS)))


def test_a_schema_of_a_newer_bgjobd_is_left_alone(place: Postgres) -> None:
    with closing(place.open_for_writing()) as database:
        database.execute_sql("UPDATE schema_version SET version = version + 1")
        try:
            with pytest.raises(SchemaTooNewError, match="this bgjobd knows up to"):
                place.prepare(lambda: None)
        finally:
            database.execute_sql("UPDATE schema_version SET version = version - 1")


def test_a_database_in_another_encoding_is_refused(postgresql: PostgreSQL) -> None:
    with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(UnusableDatabaseError, match="its encoding is LATIN1, and has to be UTF8"):
        Postgres(postgresql.dsn("latin")).prepare(lambda: None)


def test_a_server_that_is_not_there_is_named_without_what_is_secret(tmp_path: Path) -> None:
    with pytest.raises(UnusableDatabaseError) as refused:
        Postgres(f"postgresql://shop:secret@/shop?host={tmp_path}").prepare(lambda: None)
    assert str(tmp_path) in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_its_driver_a_configured_database_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {name: tmp_path / name for name in ("socket", "state_dir", "runtime_dir")}
    daemon = Daemon.model_validate({**own, "database": "postgresql://db.example/bgjobd"})
    assert isinstance(place_of(daemon), Postgres)
    for name in [one for one in sys.modules if one.startswith(("bgjobd.store.engines.postgres", "psycopg"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("bgjobd.store.engines.postgres")
    with absent("psycopg"), pytest.raises(NoDriverError, match=r"pip install '\.\[postgres\]'"):
        place_of(daemon)


# Functions

INSTANTS = [to_text(at) for at in (NOW, NOW + 0.25, -62_135_596_800.0, 253_402_300_799.0, -1e9)]
TEXTS = [None, "", "AbC", "Größe", "ΣΊΣΥΦΟΣ", "ÅÉ", "straße", "İ"]


@pytest.fixture
def asks(store: Store) -> Callable[..., Any]:
    def ask(expression: str, *values: Any) -> Any:
        return store.database.execute_sql(f"SELECT {expression}", values).fetchone()[0]

    return ask


@pytest.mark.parametrize("at", [*INSTANTS, "tomorrow", ""])
@pytest.mark.parametrize("seconds", [0.0, 1.5, -3600.25, 1e12, -1e12, 1e300])
def test_an_instant_is_moved_as_in_python(asks: Callable[..., Any], at: str, seconds: float) -> None:
    assert asks("shifted(?, ?::double precision)", at, seconds) == sql_functions.shifted(at, seconds)


def test_what_lies_between_two_instants_is_the_same_as_in_python(asks: Callable[..., Any]) -> None:
    for first in [*INSTANTS, "tomorrow"]:
        for last in INSTANTS:
            expected = sql_functions.seconds_between(first, last)
            assert asks("seconds_between(?, ?)", first, last) == expected


@pytest.mark.parametrize("text", [text for text in TEXTS if text != "İ"])
def test_a_text_is_folded_as_in_python(asks: Callable[..., Any], text: str | None) -> None:
    assert asks("fold(?)", text) == sql_functions._fold(text)


@pytest.mark.parametrize(
    ("text", "is_valid"),
    [
        *(("{}", 1), ("{", 0), ("", 0), ("NaN", 0)),
        *(("[" * 1000 + "]" * 1000, 1), ("[" * 1001 + "]" * 1001, 0)),
        (f'["{"[" * 2000}", {"[]," * 2000} 1]', 1),
    ],
    ids=lambda one: str(one)[:8],
)
def test_json_is_looked_at_as_sqlite_does(asks: Callable[..., Any], text: str, is_valid: int) -> None:
    assert asks("json_valid(?)", text) == is_valid


def test_the_lesser_and_the_greater_of_two_are_none_where_one_is(asks: Callable[..., Any]) -> None:
    assert asks("min(2::bigint, 1::bigint)") == 1
    assert asks("max('b'::text, 'a')") == "b"
    assert asks("max(1.5::double precision, NULL)") is None


# What a text cannot have


def test_a_nul_is_stored_as_what_stands_for_what_cannot_be_shown(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, Ending.failed("ValueError", "a\0b", "Traceback …")))
    assert store.attempts(job_id)[0]["error_message"] == "a\ufffdb"
    with closing(Reader(store.state_dir)) as reader:
        assert len(reader.logs(LogFilter(search="a\0b")).rows) == 1


# What is deleted


class Ticking:
    """A clock that is a millisecond later whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.001
        return self.now


def test_more_is_deleted_at_once_where_each_statement_takes_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = store.submit(*[asked() for _ in range(31)])
    store.commit(cancels(*ids))
    monkeypatch.setattr(deletions, "_DELETING_FOR", 0.001)
    monkeypatch.setattr(deletions, "time", Ticking())
    deleted = store.answer(Deletion(tuple(ids), 10**9))
    assert len(deleted.jobs) == 20


# Ids


def test_an_id_is_never_given_again_whatever_was_deleted(store: Store) -> None:
    first = store.submit(asked(), asked())
    store.database.execute_sql("DELETE FROM background_jobs")
    store.close()
    store.open()
    assert min(store.submit(asked())) > max(first)


def test_who_writes_log_entries_waits_for_the_commit_of_who_did_before(store: Store) -> None:
    with closing(PostgresDatabase(store.state_dir.address, for_reading=False)) as other:
        other.begin_writing()
        other.lock_log()
        done = threading.Event()

        def submit() -> None:
            store.submit(asked())
            done.set()

        thread = threading.Thread(target=submit)
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: other.execute_sql(waiting).fetchone()[0])
        assert not done.is_set()
        other.commit_writing()
        thread.join(PATIENCE)
    assert done.is_set()


def test_the_log_is_locked_by_what_is_sent_whole_so_that_who_is_cut_off_then_holds_up_nobody(
    store: Store,
) -> None:
    store.submit(asked())
    row = log_row((NOW, EntryType.INFO, "a line", 1, None, "C", "m", None, None, False))
    with closing(PostgresDatabase(store.state_dir.address, for_reading=False)) as other:
        other.begin_writing()
        other.lock_log()
        other.execute_sql("SELECT 1").fetchone()  # it has it
        store.database.begin_writing()
        first = store.database.write_log([row, dict(row)])  # which waits for no answer, nor for the lock
        other.commit_writing()
        store.database.commit_writing()
    assert first() == 2
    assert store.messages(1)[1:] == ["a line"] * 2


def write(store: Store, rows: list[dict[str, Any]]) -> None:
    """A transaction with these log entries alone."""
    store.database.begin_writing()
    try:
        store.database.write_log(rows)
        store.database.commit_writing()
    finally:
        store.database.roll_back()


def test_who_is_cut_off_amid_what_it_sends_is_ended_by_those_that_it_holds_up(store: Store) -> None:
    row = log_row((NOW, EntryType.INFO, "a line", 1, None, "C", "m", None, None, False))
    with (
        closing(PostgresDatabase(store.state_dir.address, for_reading=False)) as cut_off,
        closing(store.state_dir.open_for_reading()) as other,
    ):
        cut_off.begin_writing()
        cut_off.write_log([row])  # and nothing comes behind it, not even an end of what is sent
        done = threading.Event()
        thread = threading.Thread(target=lambda: (store.submit(asked()), done.set()))
        thread.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        eventually(lambda: other.execute_sql(waiting).fetchone()[0])
        assert other.end_standing(60.0) == 0
        assert not done.is_set()
        assert eventually(lambda: other.end_standing(0.0)) == 1
        thread.join(PATIENCE)
        assert done.is_set()
        with pytest.raises(UncertainCommitError):
            cut_off.commit_writing()


def test_what_is_wrong_with_an_entry_is_raised_as_such_and_leaves_no_doubt(store: Store) -> None:
    store.submit(asked())
    row = log_row((NOW, EntryType.INFO, "a line", 1, None, "C", "m", None, None, False))
    broken = [[row, {**row, "job_id": "seven"}], [{**row, "message": None}, row, dict(row)]]
    for wrong in broken * 20:  # where the error is heard of depends on how soon the server answers
        with pytest.raises((DataError, IntegrityError)):
            write(store, wrong)
    assert len(store.messages(1)) == 1
    store.submit(asked())


# What an application has submitted


def test_what_came_in_is_stored_once_under_its_id_and_by_one_writer_alone(store: Store) -> None:
    execute = store.database.connection().execute
    (job_id,) = execute("SELECT submit('myapp.jobs.ExampleJob', 'run')").fetchone()
    item = Received(asked(id=job_id), SUBMITTER)
    with closing(PostgresDatabase(store.state_dir.address, for_reading=False)) as other:
        other.begin_writing()
        assert inbox.locked(other.connection().execute, [job_id]) == {job_id}
        assert store.answer(item) is None
        other.roll_back()
    assert store.answer(item) == Stored(job_id, created=True)
    assert store.answer(item) is None
    assert store.count("inbox") == 0
    assert min(store.submit(asked())) > job_id


# Connections that break


class Office:
    """A writer, and what it delivers."""

    def __init__(self, place: Postgres) -> None:
        self.deliveries: Queue[Delivery] = Queue()
        self.writer = Writer(place, BOOT, Clock(), NO_SLOTS, self.deliveries.put)
        self.writer.start()

    def ask(self, item: Any) -> Any:
        """The answer, whatever else is delivered before it."""
        self.writer.put(Entrusted(item, "asked"))
        while True:
            for ticket, answer in self.deliveries.get(timeout=PATIENCE).answered:
                if ticket == "asked":
                    return answer


def test_a_connection_that_the_server_ended_refuses_one_submit_and_keeps_facts(store: Store) -> None:
    job_id = store.run_one()
    office = Office(store.state_dir)
    try:
        office.ask(Look())
        end_others(store.state_dir)
        refused = office.ask(submission(asked()))
        assert isinstance(refused, StorageUnavailableError)
        end_others(store.state_dir)
        assert office.ask(ends(job_id, COMPLETED)).status == "completed"
    finally:
        office.writer.finish()


def test_a_commit_whose_answer_is_lost_is_uncertain(store: Store) -> None:
    store.database.begin_writing()
    store.database.check_term()  # it has begun: before that nothing can have been stored, and nothing is uncertain
    end_others(store.state_dir)
    with pytest.raises(UncertainCommitError):
        store.database.commit_writing()
    store.database.roll_back()
    store.close()
    store.open()


def test_the_code_of_an_error_is_found_however_often_it_was_made_one_of_peewees(store: Store) -> None:
    error = OperationalError(OperationalError(psycopg.errors.DeadlockDetected()))
    assert store.state_dir.is_passing(error)
    assert not store.state_dir.is_trouble(error)


def test_a_transaction_in_the_way_of_another_is_tried_again_without_a_word(store: Store) -> None:
    office = Office(store.state_dir)
    try:
        office.ask(Look())
        ledger = office.writer._ledger
        assert ledger is not None
        left = [psycopg.errors.SerializationFailure(), psycopg.errors.DeadlockDetected()]
        real = ledger.commit

        def commit(*given: Any) -> Any:
            if left:
                raise OperationalError(left.pop(), "in the way")
            return real(*given)

        ledger.commit = commit  # type: ignore[method-assign]
        (stored,) = office.ask(submission(asked()))
        assert stored.created
        assert left == []
    finally:
        office.writer.finish()


def test_a_reader_whose_connection_was_ended_connects_again_without_a_word(
    store: Store, postgresql: PostgreSQL
) -> None:
    store.submit(asked())
    with proxied(postgresql.directory) as proxy:
        there, proxied_there = (quote(str(one), safe="") for one in (postgresql.directory, proxy.directory))
        place = Postgres(store.state_dir.address.replace(there, proxied_there))
        with closing(Reader(place)) as reader:
            end_others(store.state_dir)
            assert reader.answer(lambda reader: reader.job(1)) is not None
            proxy.cut()
            with pytest.raises(StorageUnavailableError):
                reader.answer(lambda reader: reader.job(1))
            proxy.mend()
            assert reader.answer(lambda reader: reader.job(1)) is not None
    store.close()
    store.open()


def test_a_reader_takes_an_address_that_wants_a_server_which_can_be_written_and_writes_nothing(
    store: Store,
) -> None:
    place = Postgres(f"{store.state_dir.address}&target_session_attrs=read-write")
    with closing(place.open_for_reading()) as database:
        assert database.execute_sql("SELECT count(*) FROM background_jobs").fetchone() == (0,)
        with pytest.raises(InternalError, match="read-only transaction"):
            database.execute_sql("DELETE FROM background_jobs")


def test_very_many_rows_come_a_part_at_a_time_beside_other_questions(store: Store) -> None:
    ids = store.submit(*[asked() for _ in range(2500)])
    with closing(Reader(store.state_dir)) as reader, closing(reader.pending()) as pending:
        assert next(pending).id == ids[0]
        assert reader.job(ids[7]) is not None
        assert [job.id for job in pending] == ids[1:]
        with closing(reader.pending()) as again:
            assert next(again).id == ids[0]
    with closing(place_reader(store)) as patient:
        assert patient.execute_sql("SHOW statement_timeout").fetchone() == ("0",)


def place_reader(store: Store) -> PostgresDatabase:
    place: Postgres = store.state_dir
    return place.open_for_reading(is_patient=True)


def test_a_reader_that_asks_nonsense_has_met_a_bug(store: Store) -> None:
    with closing(Reader(store.state_dir)) as reader, pytest.raises(Exception, match="nowhere"):
        reader.answer(lambda reader: reader._database.execute_sql("SELECT * FROM nowhere"))


# Time


def test_a_search_ends_in_time_and_the_next_question_is_answered_whole(store: Store) -> None:
    store.submit(asked())
    many = [(number, "needle") for number in range(10, 60_000)]
    store.database.connection().executemany(
        "INSERT INTO job_logs (id, job_id, type, message, created_at) VALUES (?, 1, 'info', ?, '')",
        many[:100],
    )
    store.database.execute_sql(
        "INSERT INTO job_logs (id, job_id, type, message, created_at) "
        "SELECT n, 1, 'info', repeat('hay', 300), '' FROM generate_series(1000, 60000) AS n"
    )
    with closing(Reader(store.state_dir)) as reader:
        page = reader.logs(LogFilter(search="needle"), limit=1000, budget=0.0)
        assert not page.is_complete
        assert page.rows == []
        assert page.next is not None
        rest = reader.logs(LogFilter(search="needle"), before=page.next, limit=1000, budget=600.0)
        assert len(rest.rows) == 100
        assert reader._database.execute_sql("SHOW statement_timeout").fetchone() == ("1min",)


def test_a_statement_is_ended_at_its_time_and_others_are_not(store: Store) -> None:
    connection = store.database.connection()
    with interrupting(connection) as interrupt_at:
        interrupt_at(time.monotonic() + 0.05)
        with pytest.raises(OperationalError) as ended:
            connection.execute("SELECT pg_sleep(600)")
        assert is_interrupted(ended.value)
    assert not is_interrupted(OperationalError("it does not answer"))
    assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


class Busy:
    """A connection to a server that has no time for the first statements that begin so."""

    def __init__(self, real: psycopg.Connection[Any], statement: str, times: int) -> None:
        self._real, self._statement, self._times = real, statement, times

    def execute(self, sql: str, *given: Any) -> Any:
        if sql.startswith(self._statement) and self._times > 0:
            self._times -= 1
            raise psycopg.errors.QueryCanceled
        return self._real.execute(sql, *given)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_busy_server_that_cancels_the_end_of_a_bound_as_well_leaves_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Reader(store.state_dir)) as reader:
        connection: Any = reader._database.connection()
        monkeypatch.setattr(connection, "_real", Busy(connection._real, "RESET statement_timeout", 2))
        with interrupting(connection) as interrupt_at:
            interrupt_at(time.monotonic() + 60)
            connection.execute("SELECT 1")
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)


def test_a_bound_that_a_server_never_takes_away_goes_with_its_connection(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(Reader(store.state_dir)) as reader:
        connection: Any = reader._database.connection()
        monkeypatch.setattr(connection, "_real", Busy(connection._real, "RESET statement_timeout", 1000))
        with interrupting(connection) as interrupt_at:
            interrupt_at(time.monotonic() + 60)
            connection.execute("SELECT 1")
        assert connection.is_closed
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)


def test_a_connection_that_is_made_anew_amid_a_search_has_no_bound_after_it(store: Store) -> None:
    with closing(Reader(store.state_dir)) as reader:
        connection: Any = reader._database.connection()
        with interrupting(connection) as interrupt_at:
            interrupt_at(time.monotonic() + 30)
            connection.close()
            connection.execute("SELECT 1")
        assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)


# Plans


def index_of(store: Store, statement: str, given: dict[str, Any]) -> str:
    """What a plan for many rows says, for values that it does not know."""
    found = store.database.connection().execute(f"EXPLAIN {statement}", given).fetchall()
    return "\n".join(line for (line,) in found)


PLANS = [
    (of_slots.SELECT_READY_OF_QUEUES, {"places": '[["q7", 4], ["q9", 2]]'}, "jobs_ready"),
    (of_slots.SELECT_READY_OF_CLASS, {"queue": "q7", "class_name": "C", "count": 4}, "jobs_of_class"),
    (of_times.SELECT_NEXT_DUE, {}, "jobs_scheduled"),
    (of_slots.COUNT_RUNNING, {}, "jobs_running"),
    (of_jobs.SELECT_JOB, {"id": 7}, "background_jobs_pkey"),
    (of_jobs.SELECT_JOBS, {"ids": "[7]"}, "background_jobs_pkey"),
    (of_jobs.SELECT_JOBS_BY_KEY, {"keys": '["k"]'}, "jobs_key"),
    (of_entries.SELECT_LAST_LOG_ID, {}, "job_logs_pkey"),
    (of_attempts.SELECT_RUNNING_ATTEMPTS, {}, "attempts_open"),
    (of_slots.SELECT_RUNNING_HERE, {"host": 1}, "attempts_of_host"),
    (hooks.SELECT_OWED, {"host": 1}, "hooks_owed"),
    (of_times.SELECT_NEXT_EXPIRY, {}, "jobs_expiring"),
    (news.SELECT_NEW_ENTRIES, {"after": 100, "count": 500}, "job_logs_pkey"),
    (news.SELECT_UNFINISHED, {"ids": "[7]"}, "background_jobs_pkey"),
    (news.SELECT_CANCELLED, {"ids": "[7]"}, "jobs_running"),
]


@pytest.fixture(scope="module")
def filled(places: Places, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Twenty thousand jobs, most of which have ended."""
    known = places.known()
    place = places.at(tmp_path_factory.mktemp("filled"))
    store = Store.on(place)
    store.submit(asked())
    columns = [
        row["name"]
        for row in store.rows(
            "SELECT column_name AS name FROM information_schema.columns "
            "WHERE table_schema = 'bgjobd' AND table_name = 'background_jobs' ORDER BY ordinal_position"
        )
    ]
    own = {
        "id": "n",
        "status": "CASE WHEN n % 10 = 0 THEN 'pending' WHEN n % 100 = 1 THEN 'running' ELSE 'completed' END",
        "finished_at": "CASE WHEN n % 10 = 0 OR n % 100 = 1 THEN NULL ELSE created_at END",
        "queue": "'q' || n % 20",
    }
    chosen = ", ".join(own.get(name, name) for name in columns)
    store.database.execute_sql(
        f"INSERT INTO background_jobs SELECT {chosen} FROM background_jobs, generate_series(2, 20000) AS n WHERE id = 1"
    )
    store.database.execute_sql(
        "INSERT INTO job_attempts (job_id, number, token, boot_id, outcome) "
        "SELECT id, 1, '', '', CASE WHEN status = 'completed' THEN 'completed' END FROM background_jobs "
        "WHERE status <> 'pending'"
    )
    store.database.execute_sql(
        "INSERT INTO job_logs (id, job_id, type, message, created_at) "
        "SELECT n, n, 'success', '', '' FROM generate_series(2, 20000) AS n"
    )
    store.database.execute_sql("ANALYZE")
    yield store
    store.close()
    places.take_back(known)


@pytest.mark.parametrize(("statement", "given", "index"), PLANS, ids=[index for _, _, index in PLANS])
def test_a_hot_statement_finds_its_rows_by_an_index(
    filled: Store, statement: str, given: dict[str, Any], index: str
) -> None:
    plan = index_of(filled, statement, given)
    assert index in plan
    assert "Seq Scan on background_jobs" not in plan
    assert "Seq Scan on job_logs" not in plan
    assert "Sort" not in plan or statement == of_slots.COUNT_RUNNING


def test_the_unfinished_jobs_of_a_schedule_are_not_looked_for_in_all_jobs(filled: Store) -> None:
    statement = translated(schedules.SELECT_UNFINISHED)
    given = statement.given({"names": '["nightly"]', "most": 500})
    found = filled.database.connection().run(f"EXPLAIN {statement.text}", given)
    plan = "\n".join(line for (line,) in found)
    assert "SubPlan" not in plan
    assert "Seq Scan on background_jobs" not in plan


def test_a_writers_statement_keeps_to_indexes_however_few_jobs_there_are(store: Store) -> None:
    store.submit(asked())
    assert store.database.execute_sql("SHOW jit").fetchone() == ("off",)
    for statement, given in ((of_jobs.SELECT_JOBS, {"ids": "[1]"}), PLANS[0][:2]):
        assert "Seq Scan on background_jobs" not in index_of(store, statement, given)


def test_pages_of_many_jobs_are_as_those_of_few(filled: Store) -> None:
    with closing(Reader(filled.state_dir)) as reader:
        page = reader.list(JobFilter(status=("completed",)), now=NOW, limit=5)
        assert len(page.rows) == 5
        page = reader.list(JobFilter(queue="q7"), now=NOW, limit=5)
        assert [row["id"] for row in page.rows] == sorted((row["id"] for row in page.rows), reverse=True)


def test_claims_go_on_while_the_table_grows(store: Store) -> None:
    chance = random.Random(7)
    for _ in range(20):
        store.submit(*[asked(priority=chance.randint(0, 3)) for _ in range(10)])
        claims = store.claim(Lanes(5, {"default": None}))
        store.commit(*[ends(claim.job.id, COMPLETED) for claim in claims])
    assert store.ledger.commit([Look()], NO_SLOTS, store.now).tally.jobs == {"completed": 100, "pending": 100}


def test_what_a_pipeline_that_broke_was_to_prepare_is_prepared_the_next_time(place: Postgres) -> None:
    statement = "SELECT count(*) FROM queues"

    def transaction(end: Callable[[], None], *statements: str) -> None:
        database.begin_writing()
        with suppress(DataError):  # which is told with the next statement, or with the end
            for one in statements:
                database.execute_sql(one)
        end()

    with closing(PostgresDatabase(place.address, for_reading=False)) as database:
        transaction(database.roll_back)  # one with which nothing is forgotten
        for _ in range(5):  # behind so many psycopg has the server prepare it
            transaction(database.commit_writing, statement)
        transaction(database.roll_back, "SELECT 1 / 0", statement)
        transaction(database.commit_writing, statement)
