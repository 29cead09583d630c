"""A daemon whose way to PostgreSQL breaks, or whose server is not there yet: it waits, and nothing is lost or twice."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from bgjob import Client
from bgjob.errors import DaemonUnavailableError, StorageUnavailableError
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.proxy import Lost, Proxy, proxied
from tests.support import eventually

PROBE = "probes.Probe"
MANY = 40
DONE = "Background job completed processing"


@pytest.fixture
def name(postgresql: PostgreSQL) -> str:
    """A new database, without tables."""
    return postgresql.database()


def environ(directory: Path, name: str, user: str = USER) -> dict[str, str]:
    return {
        "BGJOBD_DAEMON__DATABASE": f"postgresql://{user}@/{name}?host={quote(str(directory), safe='')}",
    }


def stored(postgresql: PostgreSQL, name: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(postgresql.dsn(name)) as connection:
        return connection.execute(statement).fetchall()


@contextmanager
def starting(directory: Path, environ: dict[str, str]) -> Iterator[RunningDaemon]:
    """A daemon that is started, and may not answer yet."""
    running = RunningDaemon(directory, environ=environ)
    running.process = running.spawn()
    try:
        yield running
    finally:
        if running.process is not None:
            running.stop(signal.SIGKILL)


# Start


def test_a_start_waits_for_its_server_and_tells_what_for(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="bgjobd-proxy-") as place,
        starting(tmp_path, environ(Path(place), name)) as running,
    ):
        eventually(lambda: any("waits for the database" in line for line in running.lines()))
        with pytest.raises(DaemonUnavailableError), running.client() as client:
            client.stats()
        assert running.process is not None
        for number in (signal.SIGUSR1, signal.SIGHUP):
            running.process.send_signal(number)
        proxy = Proxy(Path(place), postgresql.directory)
        try:
            eventually(running.answers)
            with running.client() as client:
                assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            for told in ("the database is there, after", "the log was reopened", "reloaded: code version"):
                eventually(lambda told=told: any(told in line for line in running.lines()))
            running.stop()
        finally:
            proxy.close()


def test_a_start_that_waits_ends_when_it_is_asked_to(tmp_path: Path, name: str) -> None:
    with starting(tmp_path, environ(tmp_path, name)) as running:
        eventually(lambda: any("waits for the database" in line for line in running.lines()))
        assert running.stop() == 0


def test_attempts_go_on_while_the_next_daemon_waits_and_their_ends_are_stored_then(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with (
        proxied(postgresql.directory) as proxy,
        daemon(tmp_path, environ=environ(proxy.directory, name)) as running,
    ):
        with running.client() as client:
            job = client.run_background_job(
                PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)}, timeout=600
            )
            eventually(ledger.exists)
        running.stop(signal.SIGKILL)
        proxy.cut()
        running.process = running.spawn()
        eventually(lambda: any("waits for the database" in line for line in running.lines()))
        go.touch()
        eventually(lambda: "end" in ledger.read_text())
        proxy.mend()
        eventually(running.answers)
        with running.client() as client:
            assert client.get(job.id).result(20) == "waited"
        assert ledger.read_text().count("start") == 1


@pytest.mark.parametrize("missing", ["database", "role"])
def test_a_name_that_the_server_does_not_know_ends_the_start(
    tmp_path: Path, postgresql: PostgreSQL, name: str, missing: str
) -> None:
    given = {"database": ("nowhere", USER), "role": (name, "nobody")}[missing]
    assert told_of_end(tmp_path, environ(postgresql.directory, *given)).count("does not exist") == 1


def test_a_password_that_is_refused_ends_the_start(tmp_path: Path, postgresql: PostgreSQL, name: str) -> None:
    wants_password(postgresql, name)
    needed = environ(postgresql.directory, name)
    assert "no password supplied" in told_of_end(tmp_path, needed)
    (tmp_path / "console").unlink()
    assert "password authentication failed" in told_of_end(tmp_path, needed | {"PGPASSWORD": "wrong"})


def told_of_end(tmp_path: Path, environ: dict[str, str]) -> str:
    """What a daemon says that ends with 69."""
    with starting(tmp_path, environ) as running:
        assert running.process is not None
        assert running.process.wait(20) == 69
        running.process = None
        return running.console()


def wants_password(postgresql: PostgreSQL, name: str) -> None:
    """Have the server want one for this database."""
    rules = postgresql.directory / "data" / "pg_hba.conf"
    rules.write_text(f"local {name} all scram-sha-256\n{rules.read_text()}")
    with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as connection:
        connection.execute(f"ALTER ROLE {USER} PASSWORD 'right'")
        connection.execute("SELECT pg_reload_conf()")
    eventually(lambda: is_refused(postgresql, name))  # the server reads them a moment later


def is_refused(postgresql: PostgreSQL, name: str) -> bool:
    """Whether the server takes nobody to this database who has no password."""
    try:
        psycopg.connect(postgresql.dsn(name)).close()
    except psycopg.OperationalError:
        return True
    return False


WENT = """
import peewee
from bgjobd.store.reader import Reader


def go_away(reader):
    raise peewee.OperationalError("it went away")


Reader.leapt_at = go_away
"""


def test_a_server_that_goes_away_amid_a_start_ends_it_and_is_named(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    with (
        pytest.raises(RuntimeError, match=r"ended with 69(.|\n)*cannot be used: it went away"),
        daemon(tmp_path, environ=environ(postgresql.directory, name), changes=WENT),
    ):
        pass


# Later


def ends_by_job(postgresql: PostgreSQL, name: str) -> list[tuple[object, ...]]:
    """How many entries say of each job that it is done, and how many attempts it had."""
    return stored(
        postgresql,
        name,
        f"SELECT j.id, j.status, (SELECT count(*) FROM bgjobd.job_logs WHERE job_id = j.id AND message = '{DONE}'), "
        "(SELECT count(*) FROM bgjobd.job_attempts WHERE job_id = j.id) FROM bgjobd.background_jobs AS j ORDER BY j.id",
    )


def test_what_ends_while_the_server_is_stopped_is_stored_once_afterwards(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    given = {"path": str(go), "ledger": str(ledger)}
    with (
        daemon(tmp_path, environ=environ(postgresql.directory, name) | SLOTS) as running,
        running.client() as client,
    ):
        jobs = [client.run_background_job(PROBE, "wait_for", given) for _ in range(MANY)]
        eventually(lambda: ledger.exists() and ledger.read_text().count("start") == MANY)
        postgresql.stop()
        try:
            with pytest.raises(StorageUnavailableError):
                client.run_background_job(PROBE, "echo")
            go.touch()
            eventually(lambda: ledger.read_text().count("end") == MANY)
        finally:
            postgresql.start()
        wanted = [(job.id, "completed", 1, 1) for job in jobs]
        eventually(lambda: ends_by_job(postgresql, name) == wanted)
        eventually(lambda: any("the database can be written again" in line for line in running.lines()))
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


SLOTS = {"BGJOBD_DAEMON__SLOTS": str(MANY)}


def test_whatever_breaks_each_job_that_was_taken_runs_once(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    ledger = tmp_path / "ledger"
    losses = iter([Lost.ANSWER, None, Lost.WISH, None, None] * 200)
    with (
        proxied(postgresql.directory) as proxy,
        daemon(tmp_path, environ=environ(proxy.directory, name)) as running,
        running.client() as client,
    ):
        proxy.loses = lambda: next(losses, None)
        ids = [submitted(client, f"key{number}", ledger) for number in range(20)]
        proxy.loses = lambda: None
        eventually(lambda: client.stats()["jobs"] == {"completed": len(ids)})
        assert ledger.read_text().count("ran") == len(ids)
        assert ends_by_job(postgresql, name) == [(id, "completed", 1, 1) for id in ids]


def submitted(client: Client, key: str, ledger: Path) -> int:
    """The id of a job that was asked for until it was taken."""
    taken: list[int] = []

    def ask() -> bool:
        with suppress(StorageUnavailableError):
            job = client.run_background_job(PROBE, "note", {"ledger": str(ledger)}, idempotency_key=key)
            taken.append(job.id)
        return bool(taken)

    eventually(ask)
    return taken[0]


# A server that has forgotten what it acknowledged


def forget_newest(postgresql: PostgreSQL, name: str) -> None:
    """Of several log entries: those that nobody had an answer of, as the way was cut, cost nothing."""
    with psycopg.connect(postgresql.dsn(name), autocommit=True) as connection:
        connection.execute(
            "DELETE FROM bgjobd.job_logs WHERE id > (SELECT max(id) - 10 FROM bgjobd.job_logs)"
        )


def test_after_a_server_has_forgotten_something_nothing_starts_and_a_restart_accepts_nothing(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    settings = '[schedules.often]\njob = "probes.Probe::echo"\nevery = "1s"\n'
    with (
        proxied(postgresql.directory) as proxy,
        daemon(tmp_path, settings, environ=environ(proxy.directory, name)) as running,
    ):
        with running.client() as client:
            eventually(lambda: client.stats()["jobs"].get("completed", 0) > 0)
            proxy.cut()
            forget_newest(postgresql, name)
            proxy.mend()
            eventually(lambda: "has gone back" in (try_trouble(client) or ""))
        for _ in range(2):
            with running.client() as client:
                before = len(client.list().items)
                job = client.run_background_job(PROBE, "echo")
                eventually(lambda job=job: "has gone back" in job.why())
                assert job.refresh()["status"] == "pending"
                assert len(client.list().items) == before + 1
            running.stop()
            running.start()
        assert any("nothing starts, and no schedule is dealt with" in line for line in running.lines())


def try_trouble(client: Client) -> str | None:
    """What the daemon says of its database; None where it cannot even be read."""
    with suppress(StorageUnavailableError):
        return str(client.stats()["storage_trouble"])
    return None
