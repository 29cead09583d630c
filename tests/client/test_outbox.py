"""An outbox over each connection that it takes, with what stands in for a daemon; the kills are in tests/faults."""

from __future__ import annotations

import asyncio
import logging
import runpy
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from bgjob import Client, command, connections, errors
from bgjob.codec import JsonObject, Request
from bgjob.errors import OpenTransactionError, RequestError
from bgjob.outbox import DDL, AsyncOutbox, Outbox, flushing, outboxes, table
from bgjob.outbox.databases import database_of, is_trouble, marked
from bgjob.outbox.flushing import Flush, again, all_rows
from bgjob.outbox.outboxes import answer, carried_out, run_by
from bgjob.outbox.rows import OWNERS_TIME
from bgjob.outbox.statements import Statement
from bgjob.testing import inline, recorded
from tests.client.scripted import whole
from tests.packaging.walkthrough import blocks_of
from tests.postgresql import PostgreSQL

_TREE = Path(__file__).parents[2]

MAIL = ("shop.Mail", "send")


def by_sqlite3(**options: Any) -> Callable[..., Any]:
    return lambda path, _: closing(sqlite3.connect(path, **options))


def by_psycopg(**options: Any) -> Callable[..., Any]:
    return lambda _, dsn: psycopg.connect(dsn(), **options)


def by_sqlalchemy(opened: Callable[[sqlalchemy.Engine], Any], is_sqlite: bool) -> Callable[..., Any]:
    @contextmanager
    def connected(path: Path, dsn: Callable[[], str]) -> Iterator[Any]:
        if is_sqlite:
            engine = sqlalchemy.create_engine(f"sqlite:///{path}")
        else:
            engine = sqlalchemy.create_engine(
                "postgresql+psycopg://", creator=partial(psycopg.connect, dsn())
            )
        with closing(opened(engine)) as connection:
            yield connection
        engine.dispose()

    return connected


def scoped(engine: sqlalchemy.Engine) -> Any:
    return scoped_session(sessionmaker(engine))


KINDS = {
    "sqlite3": by_sqlite3(),
    "psycopg": by_psycopg(row_factory=dict_row),
    "session on SQLite": by_sqlalchemy(Session, is_sqlite=True),
    "session": by_sqlalchemy(Session, is_sqlite=False),
    "scoped session": by_sqlalchemy(scoped, is_sqlite=True),
    "core on SQLite": by_sqlalchemy(sqlalchemy.Engine.connect, is_sqlite=True),
    "core": by_sqlalchemy(sqlalchemy.Engine.connect, is_sqlite=False),
}
if sys.version_info >= (3, 12):
    KINDS["sqlite3 of PEP 249"] = by_sqlite3(autocommit=False)

AUTOCOMMIT = {
    "sqlite3": by_sqlite3(isolation_level=None),
    "psycopg": by_psycopg(autocommit=True),
}


@pytest.fixture(autouse=True)
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """No keys of other tests, and time for a machine that is busy."""
    monkeypatch.setattr(flushing, "BUDGET", 3600.0)
    monkeypatch.setattr(outboxes, "_of_daemons", {})


class Shop:
    """An application: its connection, and what is in its outbox."""

    def __init__(self, connection: Any, path: Path) -> None:
        self.connection = connection
        self.path = path
        self._database = database_of(connection)
        self.outbox = Outbox("/nowhere")

    def submit(self, **options: Any) -> str:
        return self.outbox.submit(self.connection, *MAIL, {"to": "ada"}, **options)

    def commit(self) -> None:
        self.connection.commit()

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        return self._database.run(Statement(sql))

    def rows(self) -> list[tuple[Any, ...]]:
        found = self.execute("SELECT key, refused FROM bgjob_outbox ORDER BY created_at, key")
        self.connection.rollback()
        return found

    def age(self) -> None:
        """What is written has been written a minute ago."""
        at = self._database.dialect.instant(datetime.now(UTC) - timedelta(minutes=1))
        self.execute(f"UPDATE bgjob_outbox SET created_at = '{at}'")
        self.commit()


@contextmanager
def opened(connect: Callable[..., Any], path: Path, dsn: Callable[[], str]) -> Iterator[Shop]:
    with connect(path / "shop.db", dsn) as connection:
        shop = Shop(connection, path / "shop.db")
        for statement in DDL[shop._database.dialect.name].split(";\n")[:-1]:
            shop.execute(statement)
        shop.commit()
        yield shop


@pytest.fixture(scope="module")
def database(request: pytest.FixtureRequest) -> Callable[[], str]:
    """What leads to a database of PostgreSQL, which is started for who asks; without a table."""
    made: list[str] = []

    def emptied() -> str:
        server: PostgreSQL = request.getfixturevalue("postgresql")
        if not made:
            made.append(server.dsn(server.database()))
        with psycopg.connect(made[0]) as connection:
            connection.execute("DROP TABLE IF EXISTS bgjob_outbox")
        return made[0]

    return emptied


@pytest.fixture(params=KINDS)
def shop(request: pytest.FixtureRequest, tmp_path: Path, database: Callable[[], str]) -> Iterator[Shop]:
    with opened(KINDS[request.param], tmp_path, database) as shop:
        yield shop


@pytest.fixture(params=AUTOCOMMIT)
def hasty(request: pytest.FixtureRequest, tmp_path: Path, database: Callable[[], str]) -> Iterator[Shop]:
    """A shop whose connection commits each statement."""
    with opened(AUTOCOMMIT[request.param], tmp_path, database) as shop:
        yield shop


@pytest.fixture
def plain(tmp_path: Path, database: Callable[[], str]) -> Iterator[Shop]:
    with opened(KINDS["sqlite3"], tmp_path, database) as shop:
        yield shop


class Refusing:
    """A daemon that has an answer to each job by its class; None is well."""

    def __init__(self, answers: dict[str, RequestError | None]) -> None:
        self.asked: list[str] = []
        self.job: JsonObject = {}
        self._answers = answers

    def answer(self, request: Request) -> JsonObject:
        if request.method.endswith(".Get"):
            return {"job": whole(**self.job), "next": None}
        name = request.parameters["class_name"]
        self.asked.append(name)
        refusal = self._answers[name]
        if refusal is not None:
            raise refusal
        return {"id": len(self.asked), "created": True}

    def stream(self, request: Request) -> Iterable[JsonObject]:
        return []


@contextmanager
def refusing(**answers: RequestError | None) -> Iterator[Refusing]:
    substitute = Refusing(answers)
    connections.put_in(substitute)
    try:
        yield substitute
    finally:
        connections.take_out(substitute)


# Over each connection


def test_a_job_is_submitted_after_its_commit_and_its_row_deleted(shop: Shop) -> None:
    with recorded() as jobs:
        key = shop.submit(priority=3)
        assert not jobs
        shop.commit()
        assert shop.outbox.flush(shop.connection).submitted == 1
    (job,) = jobs
    told = {"priority": 3, "idempotency_key": key}
    assert (job.parameters, job.options) == ({"to": "ada"}, told)
    assert shop.rows() == []


def test_a_rollback_leaves_nothing(shop: Shop) -> None:
    with recorded() as jobs:
        shop.submit()
        shop.connection.rollback()
        assert shop.outbox.flush(shop.connection).submitted == 0
    assert not jobs


def test_a_flush_before_the_commit_is_refused_and_rolls_nothing_back(shop: Shop) -> None:
    with recorded() as jobs:
        shop.submit()
        with pytest.raises(OpenTransactionError, match="commit it, and flush the outbox then"):
            shop.outbox.flush(shop.connection)
        shop.commit()
        shop.outbox.flush(shop.connection)
    assert len(jobs) == 1


def test_no_transaction_is_left_open(shop: Shop) -> None:
    with recorded():
        shop.submit()
        shop.commit()
        shop.outbox.flush(shop.connection)
    assert not shop._database.is_in_transaction


def test_a_row_stays_while_the_daemon_is_away_and_the_next_flush_submits_it(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    key = shop.submit()
    shop.commit()
    assert shop.outbox.flush(shop.connection).waiting == 1
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert shop.rows() == [(key, None)]
    with recorded() as jobs:
        assert shop.outbox.flush(shop.connection).submitted == 1
    assert [job.options["idempotency_key"] for job in jobs] == [key]


def test_a_row_that_is_refused_for_good_is_kept_with_the_reason(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    key = shop.submit()
    shop.commit()
    with recorded(approved=["shop.Other"]):
        assert [refusal.key for refusal in shop.outbox.flush(shop.connection).refused] == [key]
        assert shop.outbox.flush(shop.connection).refused == ()
    ((_, why),) = shop.rows()
    assert "not an approved class" in why
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_what_another_process_has_just_written_is_left_to_it(shop: Shop) -> None:
    shop.submit()
    shop.commit()
    another = Outbox("/nowhere else")
    with recorded() as jobs:
        another.flush(shop.connection)
        assert not jobs
        shop.age()
        another.flush(shop.connection)
    assert len(jobs) == 1


def test_a_connection_that_commits_each_statement_submits_at_the_next_flush(hasty: Shop) -> None:
    with recorded() as jobs:
        hasty.submit()
        hasty.outbox.flush(hasty.connection)
    assert len(jobs) == 1
    assert hasty.execute("SELECT key FROM bgjob_outbox") == []


def test_rows_that_another_flush_has_in_hand_are_passed_over(
    tmp_path: Path, database: Callable[[], str]
) -> None:
    with opened(KINDS["psycopg"], tmp_path, database) as shop:
        shop.submit()
        shop.submit()
        shop.commit()
        with psycopg.connect(shop.connection.info.dsn) as other, recorded() as jobs:
            other.execute("SELECT FROM bgjob_outbox LIMIT 1 FOR UPDATE")
            assert shop.outbox.flush(shop.connection).submitted == 1
        assert len(jobs) == 1


@pytest.mark.parametrize(
    ("style", "sql"),
    [
        ("qmark", "x = ? AND y = ?"),
        ("pyformat", "x = %s AND y = %s"),
        ("numeric_dollar", "x = $1 AND y = $2"),
    ],
)
def test_values_are_marked_as_sqlalchemys_drivers_want_it(style: str, sql: str) -> None:
    assert marked("x = ? AND y = ?", style) == sql


def test_the_event_of_a_sessions_commit_flushes_over_an_engine_of_its_own(plain: Shop) -> None:
    url = f"sqlite:///{plain.path}"
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.QueuePool, pool_size=1, max_overflow=0)
    flushes = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)

    def flush(session: Session) -> None:
        with flushes.connect() as connection:
            plain.outbox.flush(connection)

    with Session(engine) as session, recorded() as jobs:
        sqlalchemy.event.listen(session, "after_commit", flush)
        plain.outbox.submit(session, *MAIL)
        session.commit()
    engine.dispose()
    assert len(jobs) == 1


def test_a_session_within_the_transaction_of_its_connection_has_not_committed_yet(plain: Shop) -> None:
    engine = sqlalchemy.create_engine(f"sqlite:///{plain.path}")
    with engine.connect() as connection, recorded() as jobs:
        outer = connection.begin()
        with Session(connection) as session:
            plain.outbox.submit(session, *MAIL)
            session.commit()
            with pytest.raises(OpenTransactionError):
                plain.outbox.flush(session)
        outer.rollback()
    engine.dispose()
    assert not jobs


# What a flush takes


def test_own_rows_are_submitted_however_many_and_of_others_a_hundred(plain: Shop) -> None:
    with recorded() as jobs:
        for _ in range(120):
            Outbox.submit(Outbox(), plain.connection, *MAIL)
        plain.commit()
        plain.age()
        for _ in range(250):
            plain.submit()
        plain.commit()
        assert plain.outbox.flush(plain.connection).submitted == 250 + 100
        assert len(jobs) == 350
        assert len(plain.rows()) == 20


def test_rows_that_wait_hold_up_nobody_behind_them(plain: Shop) -> None:
    full = errors.QueueFullError(queue="mail", limit=1)
    for name in ["Full"] * 230 + ["Other"]:
        plain.outbox.submit(plain.connection, name, "run")
    plain.commit()
    with refusing(Full=full, Other=None), Client("/nowhere") as client:
        database = database_of(plain.connection)
        rules = Flush(database.dialect.has_row_locks, time.monotonic)
        flushed = carried_out(all_rows(rules), run_by(database), partial(answer, client))
    assert (flushed.submitted, flushed.waiting, flushed.trouble) == (1, 230, full)
    assert len(plain.rows()) == 230


@pytest.mark.parametrize(("stored", "is_same"), [("shop.Mail", True), ("shop.Other", False)])
def test_a_row_whose_key_a_job_has_is_that_job_or_told(stored: str, is_same: bool, plain: Shop) -> None:
    key = plain.submit()
    plain.commit()
    with refusing(**{MAIL[0]: errors.IdempotencyConflictError(id=5)}) as daemon:
        daemon.job = {"job_id": 5, "class_name": stored, "method_name": MAIL[1]}
        flushed = plain.outbox.flush(plain.connection)
    assert (flushed.submitted, plain.rows() == []) == (int(is_same), is_same)
    assert is_same or "delete the row" in plain.rows()[0][1]
    database = database_of(plain.connection)
    for keys in ([], [key]):
        carried_out(again(keys), run_by(database), lambda call: None)
        assert is_same or (plain.rows()[0][1] is None) == bool(keys)


def test_a_daemon_that_takes_none_is_asked_once(plain: Shop) -> None:
    for _ in range(3):
        plain.submit()
    plain.commit()
    with refusing(**{MAIL[0]: errors.StorageUnavailableError(reason="x")}) as daemon:
        plain.outbox.flush(plain.connection)
    assert len(daemon.asked) == 1
    assert len(plain.rows()) == 3


def test_a_row_that_nobody_here_wrote_is_refused_on_a_line_and_holds_up_no_other(
    plain: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    at = "2026-01-01"
    plain.execute(f"INSERT INTO bgjob_outbox (key, request, created_at) VALUES ('a', 'no', '{at}')")
    plain.execute(f"INSERT INTO bgjob_outbox (key, request, created_at) VALUES ('b\n\x1b[2J', '[]', '{at}')")
    plain.submit()
    plain.commit()
    with recorded():
        flushed = plain.outbox.flush(plain.connection)
    assert (flushed.submitted, [refusal.key for refusal in flushed.refused]) == (1, ["a", "b\n\x1b[2J"])
    assert all("\n" not in message and "\x1b" not in message for message in caplog.messages)


def test_a_row_may_be_flushed_over_another_connection_than_wrote_it(plain: Shop) -> None:
    with closing(sqlite3.connect(plain.path)) as other, recorded() as jobs:
        plain.submit()
        plain.outbox.flush(other)
        assert not jobs
        plain.commit()
        plain.outbox.flush(other)
        assert len(jobs) == 1


def test_own_rows_are_submitted_however_long_ago_they_were_written(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    with monkeypatch.context() as past:
        past.setattr(time, "monotonic", lambda: now - 2 * OWNERS_TIME)
        for _ in range(150):
            plain.submit()
    plain.commit()
    with recorded():
        assert Outbox("/nowhere").flush(plain.connection).submitted == 150


def test_a_process_that_never_flushes_keeps_so_many_keys(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "MOST_OWN", 3)
    keys = [plain.submit() for _ in range(5)]
    assert list(plain.outbox._own) == keys[2:]


def test_a_thread_that_writes_while_another_forgets_a_key_costs_nobody_a_row(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OfThreads(dict[str, float]):
        def __iter__(self) -> Iterator[str]:
            found = super().__iter__()
            self[f"another's {len(self)}"] = 0.0
            return found

    monkeypatch.setattr(outboxes, "MOST_OWN", 1)
    monkeypatch.setattr(plain.outbox, "_own", OfThreads())
    keys = [plain.submit() for _ in range(3)]
    assert keys[2] in plain.outbox._own


def test_what_was_rolled_back_is_looked_for_no_longer_than_others_leave_it(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain.submit()
    plain.connection.rollback()
    plain.outbox.flush(plain.connection)
    assert plain.outbox._own
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * OWNERS_TIME)
    plain.outbox.flush(plain.connection)
    assert not plain.outbox._own


def test_an_attempt_submits_no_rows_of_others(plain: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    Outbox().submit(plain.connection, *MAIL)
    plain.commit()
    plain.age()
    monkeypatch.setenv("BGJOB_MARK", "of a fork server")
    with recorded() as jobs:
        plain.submit()
        plain.commit()
        plain.outbox.flush(plain.connection)
    assert len(jobs) == 1


def test_a_connection_to_the_daemon_is_kept_unless_that_is_away_and_then_closed(
    plain: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Client] = []
    monkeypatch.setattr(Client, "close", lambda client: closed.append(client))
    troubles = [errors.QueueFullError(queue="mail", limit=1), errors.unreachable("/x", OSError(111, "no"))]
    for trouble, count in zip(troubles, (0, 1), strict=True):
        plain.submit()
        plain.commit()
        with refusing(**{MAIL[0]: trouble}):
            plain.outbox.flush(plain.connection)
        assert (len(closed), plain.outbox._client is None) == (count, bool(count))


# Connections that fail, or are none


def test_a_database_that_is_away_after_the_commit_costs_a_line_of_the_log(
    plain: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    plain.submit()
    plain.commit()
    plain.connection.execute("PRAGMA busy_timeout = 0")
    with closing(sqlite3.connect(plain.path, isolation_level=None)) as other, recorded() as jobs:
        other.execute("BEGIN IMMEDIATE")
        plain.outbox.flush(plain.connection)
        assert "locked" in caplog.text
        assert not plain.connection.in_transaction
        other.execute("COMMIT")
        plain.outbox.flush(plain.connection)
    assert len(jobs) == 1
    assert plain.rows() == []


@pytest.mark.parametrize(
    ("error", "is_a_line"),
    [
        (sqlalchemy.exc.TimeoutError("no connection of the pool is free"), True),
        (psycopg.errors.IdleInTransactionSessionTimeout("terminated"), True),
        (psycopg.errors.SerializationFailure("again"), True),
        (OSError("unreachable"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (sqlite3.OperationalError("no such table: bgjob_outbox"), False),
        (psycopg.errors.UndefinedTable('relation "bgjob_outbox" does not exist'), False),
        (sqlalchemy.exc.InvalidRequestError("the session is closed"), False),
        (TypeError("a bug"), False),
    ],
)
def test_what_the_database_has_after_the_commit_is_a_line_and_a_mistake_an_error(
    error: Exception, is_a_line: bool
) -> None:
    assert is_trouble(error) is is_a_line


def test_a_mistake_in_the_program_is_raised(plain: Shop) -> None:
    plain.connection.close()
    with pytest.raises(sqlite3.ProgrammingError):
        plain.outbox.flush(plain.connection)


@pytest.mark.parametrize("connection", [None, object(), "shop.db"])
def test_what_is_no_connection_is_told(connection: Any) -> None:
    with pytest.raises(TypeError, match="no connection that an outbox knows"):
        Outbox().submit(connection, *MAIL)


def test_a_database_that_has_no_outbox_is_told() -> None:
    class Engine(sqlalchemy.Engine):
        def __init__(self) -> None:
            self.dialect = type("Dialect", (), {"name": "mysql"})

    with pytest.raises(TypeError, match="kept in sqlite or postgresql, not in mysql"):
        Outbox().submit(Engine(), *MAIL)


def test_a_session_of_several_databases_is_told_what_to_give() -> None:
    with Session(binds={}) as session, pytest.raises(TypeError, match=r"give its session\.connection"):
        Outbox().submit(session, *MAIL)


def test_rows_that_somebody_has_dated_oddly_are_listed_and_submitted_on_postgresql(
    database: Callable[[], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(KINDS["psycopg"], tmp_path, database) as shop:
        shop.submit()
        shop.execute("UPDATE bgjob_outbox SET created_at = '-infinity'")
        shop.commit()
        words = ["outbox", "--socket", "/nowhere", "--dsn", shop.connection.info.dsn]
        assert command.main([*words, "--list"]) == 0
        with recorded() as jobs:
            assert command.main(words) == 0
        assert (len(jobs), capsys.readouterr().err) == (1, "")


def test_the_table_of_sqlalchemy_takes_what_an_outbox_writes(
    tmp_path: Path, database: Callable[[], str]
) -> None:
    for kind in ("session on SQLite", "session"):
        with KINDS[kind](tmp_path / "shop.db", database) as session:
            metadata = sqlalchemy.MetaData()
            made = table(metadata)
            metadata.create_all(session.get_bind())
            key = Outbox().submit(session, *MAIL)
            at = datetime.now(UTC)
            ((found, created_at),) = session.execute(sqlalchemy.select(made.c.key, made.c.created_at))
            assert found == key
            assert abs(created_at.replace(tzinfo=UTC) - at) < timedelta(minutes=1)


@pytest.mark.parametrize("kind", ["sqlite3", "psycopg"])
def test_the_table_of_a_django_project_is_left_to_that(
    kind: str, tmp_path: Path, database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(KINDS[kind], tmp_path, database) as shop:
        shop.execute("DROP TABLE bgjob_outbox")
        shop.execute(
            "CREATE TABLE bgjob_outbox (key varchar(32) PRIMARY KEY, request text NOT NULL, "
            "backend varchar(255) NOT NULL, created_at timestamp NOT NULL, refused text)"
        )
        row = "'{\"class_name\": \"a.B\", \"options\": {}}', 'other', '2026-01-01'"
        shop.execute(f"INSERT INTO bgjob_outbox (key, request, backend, created_at) VALUES ('a', {row})")
        shop.commit()
        with pytest.raises(errors.TableOfDjangoError, match=r"bgjob\.django\.run_background_job"):
            shop.submit()
        shop.connection.rollback()
        where = str(shop.path) if kind == "sqlite3" else shop.connection.info.dsn
        with recorded() as jobs:
            assert command.main(["outbox", "--socket", "/nowhere", "--dsn", where]) == 69
        assert "manage.py bgjob_outbox" in capsys.readouterr().err
        assert not jobs


# For asyncio


@pytest.fixture
def dsn(database: Callable[[], str]) -> str:
    found = database()
    with psycopg.connect(found) as connection:
        connection.execute(DDL["postgresql"])
    return found


def engine_of(dsn: str) -> AsyncEngine:
    connect = partial(psycopg.AsyncConnection.connect, dsn)
    return create_async_engine("postgresql+psycopg://", async_creator=connect)


async def by_async_psycopg(dsn: str) -> AsyncIterator[Any]:
    connection = await psycopg.AsyncConnection.connect(dsn)
    yield connection
    await connection.close()


async def by_async_session(dsn: str) -> AsyncIterator[Any]:
    engine = engine_of(dsn)
    async with AsyncSession(engine) as session:
        yield session
    await engine.dispose()


async def by_async_scoped_session(dsn: str) -> AsyncIterator[Any]:
    engine = engine_of(dsn)
    session = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
    yield session
    await session.remove()
    await engine.dispose()


async def by_async_core(dsn: str) -> AsyncIterator[Any]:
    engine = engine_of(dsn)
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


@pytest.mark.parametrize(
    "connected", [by_async_psycopg, by_async_session, by_async_scoped_session, by_async_core]
)
def test_the_same_by_awaiting(connected: Callable[[str], Any], dsn: str) -> None:
    async def shop() -> None:
        async with asynccontextmanager(connected)(dsn) as connection:
            outbox = AsyncOutbox("/nowhere")
            with recorded() as jobs:
                await outbox.submit(connection, *MAIL, {"to": "rolled back"})
                await connection.rollback()
                key = await outbox.submit(connection, *MAIL, {"to": "ada"})
                with pytest.raises(OpenTransactionError):
                    await outbox.flush(connection)
                await connection.commit()
                assert (await outbox.flush(connection)).submitted == 1
            assert [job.options["idempotency_key"] for job in jobs] == [key]
            await outbox.submit(connection, *MAIL)
            await connection.commit()
            assert (await outbox.flush(connection)).waiting == 1
            with recorded(approved=["shop.Other"]):
                assert len((await outbox.flush(connection)).refused) == 1

    asyncio.run(shop())


def test_an_async_connection_that_commits_each_statement(dsn: str) -> None:
    async def shop() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
            outbox = AsyncOutbox()
            with recorded() as jobs:
                await outbox.submit(connection, *MAIL)
                await outbox.flush(connection)
            assert len(jobs) == 1

    asyncio.run(shop())


def test_an_async_database_that_goes_away_costs_a_line_of_the_log(
    dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def shop() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            await connection.close()
            await AsyncOutbox().flush(connection)

    asyncio.run(shop())
    assert "the connection is closed" in caplog.text


def test_each_outbox_tells_whose_connection_it_was_given(plain: Shop, dsn: str) -> None:
    async def shop() -> None:
        with pytest.raises(TypeError, match="is for Outbox: its calls are not to be awaited"):
            await AsyncOutbox().submit(plain.connection, *MAIL)
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            with pytest.raises(TypeError, match="is for AsyncOutbox: its calls are to be awaited"):
                Outbox().submit(connection, *MAIL)

    asyncio.run(shop())


# The command


def test_the_command_over_postgresql_with_the_table_that_it_prints(
    database: Callable[[], str], capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str]:
        code = command.main(["outbox", "--socket", "/nowhere", *words])
        return code, capsys.readouterr().out

    dsn = database()
    with psycopg.connect(dsn) as connection:
        connection.execute(run("--ddl", "postgresql")[1])
        Outbox().submit(connection, *MAIL)
    with recorded(approved=["shop.Other"]):
        assert run("--dsn", dsn)[0] == 77
    assert "shop.Mail::send" in run("--dsn", dsn, "--list")[1]
    with recorded() as jobs:
        assert run("--dsn", dsn, "--again") == (0, "1 job submitted\n")
    assert len(jobs) == 1


# The page


@pytest.mark.parametrize("name", ["buy_by_psycopg.py", "buy_by_sqlalchemy.py"])
def test_what_the_page_shows_works(
    name: str, database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = database()
    with psycopg.connect(dsn) as connection:
        connection.execute("DROP TABLE IF EXISTS orders")
        connection.execute("CREATE TABLE orders (buyer text)")
        if "psycopg" in name:
            connection.execute(DDL["postgresql"])
    where = dict(part.split("=") for part in dsn.split())
    url = f"postgresql+psycopg://{where['user']}@/{where['dbname']}?host={where['host']}"
    (tmp_path / "myapp").mkdir()
    (tmp_path / "myapp" / "jobs.py").write_text(block_of("README.md", "/myapp/jobs.py"))
    program = tmp_path / name
    text = block_of("docs/outbox.md", f"/{name}")
    program.write_text(text.replace("dbname=shop", dsn).replace("postgresql+psycopg:///shop", url))
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        with inline(approved=["myapp.jobs.EmailNotification"]) as jobs:
            runpy.run_path(str(program))
    finally:
        for module in ("myapp.jobs", "myapp"):
            sys.modules.pop(module, None)
    assert [job.result for job in jobs] == ["Thanks → ada@example.com"]


def block_of(page: str, file: str) -> str:
    (block,) = (one for one in blocks_of((_TREE / page).read_text(), page) if one.first_line.endswith(file))
    return block.text
