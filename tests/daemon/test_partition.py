"""A host that is cut off from the database: what it ran is dead before others repeat it, and a job that nobody may
repeat goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.proxy import proxied
from tests.support import eventually

LOST_AFTER = 6.0
HOSTS = 'beat = "250ms"\nlost_after = "6s"'
MODULE = """
import os, time


def pulse(ledger, go):
    while not os.path.exists(go):
        with open(ledger, "a") as book:
            book.write(f"{os.getpid()} {time.monotonic()}\\n")
        time.sleep(0.02)


class Often:
    def run(self, ledger, go):
        pulse(ledger, go)


class Once:
    def run(self, ledger, go):
        pulse(ledger, go)
"""
APPROVED = '"pulsing.Often" = {}\n"pulsing.Once" = { retry_lost = false }\n[limits]\nstop_grace = "1s"\n'


@contextmanager
def host(directory: Path, name: str, server: Path, database: str) -> Iterator[RunningDaemon]:
    (directory / name).mkdir()
    settings = f'{APPROVED}[hosts]\nname = "{name}"\n{HOSTS}\n'
    address = f"postgresql://{USER}@/{database}?host={quote(str(server), safe='')}"
    environ = {"BGJOBD_DAEMON__DATABASE": address}
    modules = {"pulsing": MODULE}
    with daemon(directory / name, settings, environ=environ, modules=modules) as running:
        yield running


def pulses(ledger: Path) -> dict[int, list[float]]:
    """When each process has noted that it runs, by pid in the order in which they began."""
    found: dict[int, list[float]] = {}
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        pid, at = line.split()
        found.setdefault(int(pid), []).append(float(at))
    return found


@pytest.mark.long
@pytest.mark.parametrize("way", ["pause", "cut"])
def test_what_a_host_ran_that_is_cut_off_is_dead_before_another_one_repeats_it(
    postgresql: PostgreSQL, tmp_path: Path, way: str
) -> None:
    name, go = postgresql.database(), tmp_path / "go"
    often, once = tmp_path / "often", tmp_path / "once"
    with proxied(postgresql.directory) as proxy, host(tmp_path, "web1", proxy.directory, name) as web1:
        with web1.client() as client:
            jobs = [
                client.run_background_job(f"pulsing.{kind}", "run", {"ledger": str(ledger), "go": str(go)}).id
                for kind, ledger in (("Often", often), ("Once", once))
            ]
            eventually(lambda: often.exists() and once.exists())
        with host(tmp_path, "web2", postgresql.directory, name) as web2:
            getattr(proxy, way)()
            cut_at = time.monotonic()
            eventually(lambda: len(pulses(often)) == 2, within=60.0)
            first, second = pulses(often).values()
            assert first[-1] < cut_at + LOST_AFTER < second[0] + 1.0
            assert first[-1] < second[0]
            (only,) = pulses(once).values()
            assert only[-1] > first[-1] + 0.5
            with web2.client() as client:
                assert client.wait(jobs[1], 30)["status"] == "failed"
                go.touch()
                assert client.wait(jobs[0], 30)["status"] == "completed"
            assert len(pulses(once)) == 1
            proxy.resume()
            proxy.mend()
            assert errors_of(postgresql, name, jobs[0]) == ["host web1, where it ran, counts as lost", None]


def errors_of(postgresql: PostgreSQL, name: str, job: int) -> list[Any]:
    with psycopg.connect(postgresql.dsn(name), options="-csearch_path=bgjobd") as connection:
        rows = connection.execute(
            f"SELECT error_message FROM job_attempts WHERE job_id = {job} ORDER BY number"
        )
        return [row[0] for row in rows.fetchall()]
