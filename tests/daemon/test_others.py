"""Two daemons that share a database: each learns of what the other commits, at once and without asking."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from bgjob import Client
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

PROBE = "probes.Probe"

AT_ONCE = 0.5
"""Seconds; the daemons look by themselves only when these tests are long over."""

SELDOM = '[hosts]\nbeat = "60s"\nlost_after = "10m"\n'
OFTEN = '[hosts]\nbeat = "500ms"\n'


@pytest.fixture
def name(postgresql: PostgreSQL) -> str:
    """A new database, without tables."""
    return postgresql.database()


@contextmanager
def two(postgresql: PostgreSQL, name: str, place: Path, *settings: str) -> Iterator[list[RunningDaemon]]:
    """Two daemons, each with directories and a socket of its own."""
    address = f"postgresql://{USER}@/{name}?host={quote(str(postgresql.directory), safe='')}"
    environ = {"BGJOBD_DAEMON__DATABASE": address}
    directories = [place / "a", place / "b"]
    for directory in directories:
        directory.mkdir()
    with daemon(directories[0], settings[0], environ=environ) as one:
        with daemon(directories[1], settings[-1], environ=environ) as other:
            eventually(lambda: listeners(postgresql, name) == 2)
            yield [one, other]


def listeners(postgresql: PostgreSQL, name: str) -> int:
    return len(ask(postgresql, name, "SELECT pid FROM pg_stat_activity WHERE query ILIKE '%pg_locks%' AND pid <> pg_backend_pid()"))


def ask(postgresql: PostgreSQL, name: str, sql: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(postgresql.dsn(name), autocommit=True) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[arg-type]  # its statements are literals


def test_a_wait_at_one_daemon_ends_when_another_has_run_the_job(
    tmp_path: Path, postgresql: PostgreSQL, name: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with two(postgresql, name, tmp_path, SELDOM + "[daemon]\nslots = 1\n".replace("[daemon]\nslots = 1\n", ""), SELDOM) as (a, b):
        with a.client() as here, b.client() as there:
            held = [here.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})]
            eventually(ledger.exists)
            eventually(lambda: there.get(held[0].id).status == "running")
            ended: list[float] = []
            waiting = threading.Thread(target=lambda: (there.get(held[0].id).wait(20), ended.append(time.monotonic())))
            waiting.start()
            time.sleep(0.5)
            go.touch()
            eventually(lambda: here.get(held[0].id).status == "completed")
            known = time.monotonic()
            waiting.join(20)
            print(ended[0]-known)
            assert ended[0] - known < AT_ONCE
