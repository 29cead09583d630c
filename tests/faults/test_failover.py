"""A server that is gone, and its standby in its place: what was acknowledged is there, and the daemon goes on."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
import pytest

from bgjob import Client
from bgjob.errors import StorageUnavailableError
from bgjobd.config import loading
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.postgresql import USER, PostgreSQL, server, standby
from tests.support import eventually

ACKNOWLEDGED: Final = {"synchronous_commit": "remote_apply"}
"""What is acknowledged is to be found at the standby."""

OFTEN: Final = '[hosts]\nbeat = "250ms"'


class Submitter:
    """Submits one job after the other, each until it is acknowledged, with a key of its own."""

    def __init__(self, running: RunningDaemon, ledger: Path) -> None:
        self.acknowledged: dict[str, int] = {}
        self.refusals = 0
        self._running, self._ledger = running, ledger
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> Submitter:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _submit(self) -> None:
        with self._running.client() as client:
            while not self._is_over.is_set():
                key = f"key {len(self.acknowledged)}"
                given = {"ledger": str(self._ledger)}
                try:
                    job = client.run_background_job(books.LEDGERED, "quick", given, idempotency_key=key)
                except StorageUnavailableError:
                    self.refusals += 1
                    self._is_over.wait(0.05)
                else:
                    self.acknowledged[key] = job.id


def address(servers: tuple[PostgreSQL, ...], name: str) -> dict[str, str]:
    """Whichever of them takes what is to be written."""
    hosts = ",".join(quote(str(one.directory), safe="") for one in servers)
    return {
        "BGJOBD_DAEMON__DATABASE": f"postgresql://{USER}@/{name}?host={hosts}&target_session_attrs=read-write"
    }


@pytest.mark.long
@pytest.mark.timeout(300)
def test_after_a_failover_to_a_standby_each_acknowledged_job_is_there_and_runs_once(tmp_path: Path) -> None:
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    with server(ACKNOWLEDGED) as primary, standby(primary) as heir:
        name = primary.database()
        environ = address((primary, heir), name)
        with daemon(
            tmp_path, f"{books.SETTINGS}{OFTEN}", books.marked(tmp_path), environ, books.MODULES
        ) as running:
            with running.client() as client:
                given = {"ledger": str(ledger), "path": str(go)}
                waiting = client.run_background_job(
                    books.LEDGERED, "wait_for", given, idempotency_key="waiting"
                ).id
            with Submitter(running, ledger) as submitter:
                eventually(lambda: len(submitter.acknowledged) > 20)
                primary.crash()
                before = set(submitter.acknowledged.values())
                heir.promote()
                eventually(lambda: len(submitter.acknowledged) > len(before) + 20)
            go.touch()
            found = loading.load(running.config, environ, is_root=False)
            acknowledged = {"waiting": waiting, **submitter.acknowledged}
            ids = set(acknowledged.values())
            eventually(lambda: books.is_settled(found, ids))
            assert running.process is not None
            eventually(
                lambda: not books.complaints(found, ids, None, running.process and running.process.pid)
            )
            assert started(ledger) == sorted(ids)
            assert keys(heir, name) == acknowledged
            with running.client() as client:
                assert client.stats()["storage_trouble"] is None
                assert client.host_accept() is False


@pytest.mark.long
@pytest.mark.timeout(300)
def test_after_a_failover_that_has_lost_something_nothing_starts_until_somebody_accepts_it(
    tmp_path: Path,
) -> None:
    ledger = {"ledger": str(tmp_path / "ledger")}
    with server() as primary, standby(primary, is_awaited=False) as heir:
        name = primary.database()
        environ = address((primary, heir), name)
        with (
            daemon(tmp_path, f"{books.SETTINGS}{OFTEN}", environ=environ, modules=books.MODULES) as running,
            running.client() as client,
        ):
            kept = client.run_background_job(books.LEDGERED, "quick", ledger, idempotency_key="kept")
            eventually(lambda: try_keys(heir, name) == {"kept": kept.id})
            heir.stop()
            client.run_background_job(books.LEDGERED, "quick", ledger, idempotency_key="lost").result(20)
            primary.crash()
            heir.start()
            heir.promote()
            eventually(lambda: "has gone back" in (try_trouble(client) or ""))
            again = client.run_background_job(books.LEDGERED, "quick", ledger, idempotency_key="lost")
            assert again.refresh()["status"] == "pending"
            assert client.host_accept() is True
            assert again.wait(20)["status"] == "completed"


def try_keys(heir: PostgreSQL, name: str) -> dict[str, int]:
    """None as long as the standby has not got that far."""
    with suppress(psycopg.Error):
        return keys(heir, name)
    return {}


def try_trouble(client: Client) -> str | None:
    """What the daemon says of its database; None where it cannot even be read."""
    with suppress(StorageUnavailableError):
        return str(client.stats()["storage_trouble"])
    return None


def started(ledger: Path) -> list[int]:
    return sorted(line.job for line in books.lines_of(ledger) if line.what == "start")


def keys(heir: PostgreSQL, name: str) -> dict[str, int]:
    """Which job each key stands for."""
    with psycopg.connect(heir.dsn(name), options="-csearch_path=bgjobd") as connection:
        asked = "SELECT idempotency_key, id FROM background_jobs WHERE idempotency_key IS NOT NULL"
        return dict(connection.execute(asked).fetchall())
