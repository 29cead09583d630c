"""A daemon whose database is PostgreSQL's: what its users see is what they see of one with a file."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from bgjob import Client
from bgjob.errors import StorageUnavailableError
from bgjobd.store.engines.postgres import Postgres
from bgjobd.store.migrations import STEPS
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture
def name(postgresql: PostgreSQL) -> str:
    """A new database, without tables."""
    return postgresql.database()


@pytest.fixture
def environ(postgresql: PostgreSQL, name: str) -> dict[str, str]:
    address = f"postgresql://{USER}@/{name}?host={quote(str(postgresql.directory), safe='')}"
    return {"BGJOBD_DAEMON__DATABASE": address}


def bgjobd(running: RunningDaemon, environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return warm.run([words[0], "--config", str(running.config), *words[1:]], environ)


def end_connections(postgresql: PostgreSQL, name: str) -> None:
    with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )


def messages(client: Client) -> list[str]:
    return [entry["message"] for entry in reversed(client.logs(limit=100).items)]


def test_jobs_run_are_retried_listed_searched_and_told_of(tmp_path: Path, environ: dict[str, str]) -> None:
    with daemon(tmp_path, environ=environ) as running, running.client() as client:
        done = client.run_background_job(PROBE, "echo", {"value": {"a": ["ü", None, 1.5]}})
        assert done.result(20) == {"a": ["ü", None, 1.5]}
        retried = client.run_background_job(PROBE, "fail_until", {"marker": str(tmp_path / "m"), "times": 1})
        assert retried.result(20) == 1
        failed = client.run_background_job(PROBE, "fail", max_retries=0)
        failed.wait(20)
        later = client.run_background_job(PROBE, "echo", {"value": "needle"}, delay=3600)
        assert [job["id"] for job in client.list().items] == [later.id, failed.id, retried.id, done.id]
        assert [job["id"] for job in client.list(search="needle").items] == [later.id]
        assert client.stats()["jobs"] == {"pending": 1, "completed": 2, "failed": 1}
        assert "Background job completed processing" in messages(client)
        assert not running.database.exists()


def test_what_a_daemon_left_goes_on_with_the_next(tmp_path: Path, environ: dict[str, str]) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ=environ) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(ledger.exists)
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            go.touch()
            assert client.get(job.id).result(20) == "waited"
            assert client.run_background_job(PROBE, "echo", {"value": 1}).id > job.id


def test_while_the_database_is_away_submits_are_refused_and_what_ends_is_stored_afterwards(
    tmp_path: Path, environ: dict[str, str], postgresql: PostgreSQL, name: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ=environ) as running, running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(ledger.exists)
        with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        end_connections(postgresql, name)
        with pytest.raises(StorageUnavailableError):
            client.run_background_job(PROBE, "echo")
        with pytest.raises(StorageUnavailableError):
            client.list()
        go.touch()
        eventually(lambda: "end" in ledger.read_text())
        with psycopg.connect(postgresql.dsn("postgres"), autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        assert job.result(30) == "waited"
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        eventually(lambda: any("the database can be written again" in line for line in running.lines()))


def test_of_older_tables_no_backup_is_promised_that_a_start_does_not_make(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    place = Postgres(environ["BGJOBD_DAEMON__DATABASE"])
    place.prepare(lambda: None)
    with psycopg.connect(place.address) as connection:
        connection.execute("UPDATE bgjobd.schema_version SET version = version - 1")
    found = bgjobd(RunningDaemon(tmp_path), environ, "check").stdout
    told = (
        f"schema version {len(STEPS) - 1}; a start brings it up to date, without a backup: pg_dump makes one"
    )
    assert told in found


def test_what_is_done_to_a_file_says_that_there_is_none(tmp_path: Path, environ: dict[str, str]) -> None:
    with daemon(tmp_path, environ=environ) as running:
        with running.client() as client:
            for _ in range(2):  # the newest entry of all stays, and its job
                client.run_background_job(PROBE, "echo").wait(20)
        done = bgjobd(running, environ, "backup")
        assert done.returncode == 2
        assert "pg_dump(1)" in done.stderr
        assert bgjobd(running, environ, "check", "--books").stdout.startswith("the books balance: 2 jobs")
        assert bgjobd(running, environ, "prune", "--completed", "0s").stdout.startswith("deleted: 1 job")
        running.stop()
        done = bgjobd(running, environ, "prune", "--completed", "0s")
        assert done.returncode == 69
        assert "start the daemon first" in done.stderr
