"""Jobs that an application's own transaction submits in PostgreSQL: with its commit, once, and by its rights."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy
from sqlalchemy.orm import Session

from bgjob import Client
from bgjob.errors import JobNotFoundError
from bgjob.outbox import AsyncOutbox, Flushed, Outbox, direct
from bgjobd.api.access import Grants
from bgjobd.api.inbox import Inbox
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

PROBE = "probes.Probe"
DEEP = json.loads("[" * 40 + "]" * 40)
OWN_USER = pwd.getpwuid(os.geteuid()).pw_name
SETTINGS = f'[hosts]\nbeat = "100ms"\n[access.roles]\ncashier = "{OWN_USER}"\n'


class Shop:
    """A database with a daemon that works from it, and the application's role `cashier` of it."""

    def __init__(self, server: PostgreSQL, directory: Path) -> None:
        self.name = server.database()
        self.dsn = server.dsn(self.name)
        self._directory = directory
        self.environ = {
            "BGJOBD_DAEMON__DATABASE": f"postgresql://{USER}@/{self.name}?host={quote(str(server.directory), safe='')}"
        }

    @contextmanager
    def open(self, more: str = SETTINGS) -> Iterator[RunningDaemon]:
        with daemon(self._directory, more, environ=self.environ) as running:
            with psycopg.connect(self.dsn, autocommit=True) as connection:
                for role, grants in (("cashier", True), ("guest", False)):
                    if connection.execute("SELECT to_regrole(%s)", (role,)).fetchone() == (None,):
                        connection.execute(f"CREATE ROLE {role} LOGIN")
                    if grants:
                        connection.execute(f"GRANT bgjobd_submitter TO {role}")
            yield running

    def connect(self, role: str = "cashier") -> psycopg.Connection[Any]:
        return psycopg.connect(self.dsn.replace(f"user={USER}", f"user={role}"))


def submit(
    connection: psycopg.Connection[Any], method: str, parameters: Any = None, options: Any = None
) -> int:
    given = (PROBE, method, json.dumps(parameters or {}), json.dumps(options or {}))
    (job_id,) = connection.execute(
        "SELECT bgjobd.submit(%s, %s, %s::jsonb, %s::jsonb)", given
    ).fetchone() or (0,)
    return int(job_id)


def job_of(client: Client, job_id: int) -> dict[str, Any]:
    """The job, which is taken in where somebody asks for it."""
    return dict(client.get(job_id).snapshot)


def failed(client: Client, job_id: int) -> str:
    """Why it was refused."""
    job = job_of(client, job_id)
    assert (job["status"], job["attempts"], job["parameters"]) == ("failed", [], {})
    return str(job["error"])


@pytest.fixture(scope="module")
def shop(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(postgresql, tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def running(shop: Shop) -> Iterator[RunningDaemon]:
    with shop.open() as running:
        yield running


def test_a_job_runs_once_its_transaction_is_committed_under_the_id_that_was_told(
    running: RunningDaemon, shop: Shop, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    with running.client() as client, shop.connect() as connection:
        job_id = submit(connection, "note", {"ledger": str(ledger)}, {"priority": 7, "key": "c1"})
        other = client.run_background_job(PROBE, "echo", {"value": 1})
        assert other.result(20) == 1
        assert other.id != job_id
        assert not ledger.exists()
        connection.commit()
        job = job_of(client, job_id)
        assert (job["priority"], job["key"], job["submitted_uid"]) == (7, "c1", os.geteuid())
        client.get(job_id).wait(20)
    assert len(ledger.read_text().splitlines()) == 1


def test_of_a_transaction_that_is_rolled_back_there_is_no_job(running: RunningDaemon, shop: Shop) -> None:
    with running.client() as client, shop.connect() as connection:
        gone = submit(connection, "echo", {"value": 1})
        connection.rollback()
        kept = submit(connection, "echo", {"value": 2})
        connection.commit()
        job_of(client, kept)
        with pytest.raises(JobNotFoundError):
            client.get(gone)


@pytest.mark.parametrize(
    ("method", "parameters", "options", "told"),
    [
        ("missing", {}, {}, "has no approved method missing"),
        ("echo", {"valeu": 1}, {}, "valeu"),
        ("echo", {}, {"queue": "nowhere"}, "queue"),
        ("echo", {}, {"priority": 10**30}, "invalid value for options"),
        ("echo", {}, {"nonsense": [1]}, "nonsense"),
        ("echo", {"value": 10**40}, {}, "integers of 64 bits at most"),
        (
            "echo",
            {"value": DEEP},
            {},
            "parameters",
        ),
        ("echo", {}, {"after": [10**9]}, "after"),
    ],
)
def test_what_the_daemon_refuses_has_failed_with_its_reason(
    running: RunningDaemon, shop: Shop, method: str, parameters: Any, options: Any, told: str
) -> None:
    with running.client() as client, shop.connect() as connection:
        job_id = submit(connection, method, parameters, options)
        connection.commit()
        error = failed(client, job_id)
        assert error.startswith("refused: ")
        assert told in error
        assert job_of(client, submit_well(connection))["status"] in ("pending", "running", "completed")


def test_who_asks_for_what_another_look_has_just_taken_up_looks_once_more() -> None:
    async def nothing_any_more(question: Any) -> tuple[()]:
        return ()

    daemon: Any = SimpleNamespace(
        config=SimpleNamespace(socket=SimpleNamespace(max_depth=32)),
        readers=SimpleNamespace(read=nothing_any_more),
    )
    inbox = Inbox(daemon, Grants.__new__(Grants))
    for asked_for in (4711, None):
        assert asyncio.run(inbox.take_in(asked_for))


def test_what_one_meets_keeps_up_none_of_those_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said, taken = list[str](), list[int]()

    async def read(question: Any) -> list[Any]:
        return [SimpleNamespace(id=id) for id in (7, 8)] if question.keywords["after"] == 0 else []

    async def take_up(inbox: Inbox, sent: Any) -> None:
        if sent.id == 7:
            raise KeyError("a bug")
        taken.append(sent.id)

    daemon: Any = SimpleNamespace(
        config=SimpleNamespace(socket=SimpleNamespace(max_depth=32)),
        readers=SimpleNamespace(read=read),
        say=lambda type, told: said.append(told),
    )
    monkeypatch.setattr(Inbox, "_take_up", take_up)
    inbox = Inbox(daemon, Grants.__new__(Grants))
    for _ in range(2):
        asyncio.run(inbox.look())
    assert taken == [8, 8]
    assert len(said) == 1
    assert "a bug" in said[0]


def submit_well(connection: psycopg.Connection[Any]) -> int:
    job_id = submit(connection, "echo", {"value": 1})
    connection.commit()
    return job_id


def test_one_of_a_known_key_says_which_job_has_it(running: RunningDaemon, shop: Shop) -> None:
    with running.client() as client, shop.connect() as connection:
        first = submit(connection, "echo", {"value": 1}, {"idempotency_key": "order-1"})
        second = submit(connection, "echo", {"value": 1}, {"idempotency_key": "order-1"})
        connection.commit()
        job_of(client, first)
        assert f"job {first}" in failed(client, second)
        assert client.get(first).result(20) == 1


def test_it_is_taken_up_without_anybody_asking_for_it(
    running: RunningDaemon, shop: Shop, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    with shop.connect() as connection:
        submit(connection, "note", {"ledger": str(ledger)})
    eventually(ledger.exists)


def test_who_waits_for_it_hears_its_end(running: RunningDaemon, shop: Shop) -> None:
    with running.client() as client, shop.connect() as connection:
        job_id = submit(connection, "echo", {"value": 5})
        connection.commit()
        assert client.get(job_id).result(20) == 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("'; DROP TABLE x'", "'run'", "'{}'", "'{}'"),
        ("repeat('a', 256)", "'run'", "'{}'", "'{}'"),
        ("'probes.Probe'", "E'echo\\n'", "'{}'", "'{}'"),
        ("'probes.Probe'", "'echo'", "'[1]'", "'{}'"),
        ("'probes.Probe'", "'echo'", "'{}'", "'null'"),
        ("NULL", "'echo'", "'{}'", "'{}'"),
        ("'probes.Probe'", "'echo'", "NULL", "'{}'"),
        ("'probes.Probe'", "'echo'", "jsonb_build_object('a', repeat('x', 17000000))", "'{}'"),
    ],
)
def test_what_could_be_no_request_is_refused_by_the_server_itself(
    running: RunningDaemon, shop: Shop, arguments: tuple[str, ...]
) -> None:
    with shop.connect() as connection, pytest.raises((psycopg.DataError, psycopg.OperationalError)):
        connection.execute(f"SELECT bgjobd.submit({', '.join(arguments)})")


def test_a_role_that_was_granted_nothing_may_neither_call_it_nor_read_the_tables(
    running: RunningDaemon, shop: Shop
) -> None:
    with shop.connect("guest") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        submit(connection, "echo")
    for statement in ("SELECT * FROM bgjobd.background_jobs", "INSERT INTO bgjobd.inbox DEFAULT VALUES"):
        with shop.connect() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_names_of_the_callers_own_schema_change_nothing(running: RunningDaemon, shop: Shop) -> None:
    with psycopg.connect(shop.dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS trap AUTHORIZATION cashier")
    with running.client() as client, shop.connect() as connection:
        connection.execute(
            "CREATE FUNCTION trap.octet_length(text) RETURNS integer LANGUAGE sql AS 'SELECT 1 / 0'"
        )
        connection.execute("CREATE TEMP TABLE inbox (id bigint)")
        connection.execute("SET search_path = trap, pg_catalog")
        job_id = submit(connection, "echo", {"value": 3})
        connection.commit()
        assert job_of(client, job_id)["id"] == job_id


def test_who_may_submit_by_the_database_stops_no_job_by_what_it_tells_the_daemons(
    running: RunningDaemon, shop: Shop, tmp_path: Path
) -> None:
    """PostgreSQL lets every role that may connect send to every channel."""
    ledger, path = tmp_path / "ledger", tmp_path / "go"
    with running.client() as client, shop.connect() as connection:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(path), "ledger": str(ledger)})
        eventually(ledger.exists)
        stops = json.dumps({"by": "cashier", "stops": [[job.id, 1, "cancelled"]]})
        for text in (stops, "[" * 5000, '{"by": "cashier", "log": "x"}', stops):
            connection.execute("SELECT pg_notify('bgjobd', %s)", (text,))
            connection.commit()
        job_of(client, submit_well(connection))
        path.touch()
        assert job.result(20) == "waited"
        assert len(client.get(job.id).snapshot["attempts"]) == 1


# By bgjob.outbox


@pytest.fixture
def fresh() -> Iterator[None]:
    """Nothing is known of any database."""
    direct.LOOKS.__init__()  # type: ignore[misc]
    yield
    direct.LOOKS.__init__()  # type: ignore[misc]


@pytest.mark.usefixtures("fresh")
def test_an_outbox_needs_neither_table_nor_flush_in_the_daemons_database(
    running: RunningDaemon, shop: Shop
) -> None:
    outbox = Outbox()
    with running.client() as client, shop.connect() as connection:
        gone = outbox.submit(connection, PROBE, "echo", {"value": 1})
        connection.rollback()
        key = outbox.submit(connection, PROBE, "echo", {"value": [2, "é"]}, priority=3, delay=0.01)
        connection.commit()
        job = client.get(key=key)
        assert job.result(20) == [2, "é"]
        assert (job.snapshot["priority"], job.snapshot["submitted_uid"]) == (3, os.geteuid())
        assert outbox.flush(connection) == Flushed()
        with pytest.raises(JobNotFoundError):
            client.get(key=gone)


@pytest.mark.usefixtures("fresh")
def test_what_is_refused_is_found_by_the_key_that_the_outbox_told(running: RunningDaemon, shop: Shop) -> None:
    with running.client() as client, shop.connect() as connection:
        key = Outbox().submit(connection, PROBE, "missing")
        connection.commit()
        assert "has no approved method missing" in client.get(key=key).snapshot["error"]


@pytest.mark.usefixtures("fresh")
def test_an_async_outbox_and_one_over_sqlalchemy_need_none_either(running: RunningDaemon, shop: Shop) -> None:
    dsn = shop.dsn.replace(f"user={USER}", "user=cashier")

    async def submit_and_flush() -> str:
        outbox = AsyncOutbox()
        async with await psycopg.AsyncConnection.connect(dsn) as connection:
            key = await outbox.submit(connection, PROBE, "echo", {"value": 1})
            await connection.commit()
            assert await outbox.flush(connection) == Flushed()
        return key

    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn))
    with Session(engine) as session:
        outbox = Outbox()
        assert outbox.flush(session) == Flushed()  # the first that anybody asks of this database
        keys = [outbox.submit(session, PROBE, "echo", {"value": 1}), asyncio.run(submit_and_flush())]
        session.commit()
        assert outbox.flush(session) == Flushed()
    engine.dispose()
    with running.client() as client:
        assert [client.get(key=key).result(20) for key in keys] == [1, 1]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("role", "address", "given"),
    [
        ("guest", None, {}),
        (USER, None, {}),  # whom nobody has granted it: a superuser may all
        ("cashier", "/run/bgjobd/bgjobd.sock", {}),
        ("cashier", None, {"unique_key": "a"}),
        ("cashier", None, {"retry_count": 1}),
    ],
)
def test_a_job_that_the_daemons_function_cannot_take_so_wants_a_row(
    running: RunningDaemon, shop: Shop, role: str, address: str | None, given: dict[str, Any]
) -> None:
    with shop.connect(role) as connection, pytest.raises(psycopg.errors.UndefinedTable):
        Outbox(address).submit(connection, PROBE, "echo", {"value": 1}, **given)


def test_a_role_that_no_configuration_names_is_refused_and_named(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    shop = Shop(postgresql, tmp_path)
    with (
        shop.open('[hosts]\nbeat = "100ms"\n') as running,
        running.client() as client,
        shop.connect() as connection,
    ):
        job_id = submit(connection, "echo")
        connection.commit()
        assert "role cashier may not submit; list it under [access.roles]" in failed(client, job_id)


def test_what_comes_while_no_daemon_runs_is_taken_up_by_the_next_once(
    postgresql: PostgreSQL, tmp_path: Path
) -> None:
    shop, ledger = Shop(postgresql, tmp_path), tmp_path / "ledger"
    with shop.open() as running:
        running.stop(signal.SIGKILL)
        with shop.connect() as connection:
            ids = [submit(connection, "note", {"ledger": str(ledger)}) for _ in range(5)]
        running.start()
        with running.client() as client:
            for job_id in ids:
                job_of(client, job_id)
            running.stop(signal.SIGKILL)
            running.start()
        with running.client() as client:
            for job_id in ids:
                client.get(job_id).wait(20)
            next_one = client.run_background_job(PROBE, "echo", {"value": 1})
            assert next_one.id > max(ids)
    assert len(ledger.read_text().splitlines()) == 5
