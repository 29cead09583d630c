"""A class that is approved and cannot be imported just now: its jobs wait, spend nothing, and go on once it can be."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bgjob import Client
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

MAILS = """
class Mails:
    def send(self):
        return "sent"
"""
BROKEN = "import nosuch\n"
MAIL = "mails.Mails"
APPROVED = f'"{MAIL}" = {{ max_retries = 0 }}'
MANY = 1000


def write(running: RunningDaemon, source: str) -> None:
    (running.directory / "mails.py").write_text(source)


def is_unavailable(client: Client) -> bool:
    return {one["name"]: one["unavailable"] for one in client.classes()}[MAIL] is not None


def counts(client: Client) -> dict[str, int]:
    return {status: count for status, count in client.stats()["jobs"].items() if count}


def test_a_backlog_outlives_a_broken_import_while_daemon_and_fork_server_are_killed(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"mails": MAILS}) as running:
        with running.client() as client:
            client.submit_many([{"class_name": MAIL, "method_name": "send"}] * MANY)
            write(running, BROKEN)
            os.kill(running.fork_server(), signal.SIGKILL)
            eventually(lambda: is_unavailable(client))
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            eventually(lambda: is_unavailable(client))
            server = running.fork_server()
            os.kill(server, signal.SIGKILL)
            eventually(lambda: not is_alive(server))
            assert client.run_background_job("probes.Probe", "echo", {"value": 7}).result(20) == 7
            assert counts(client)["pending"] > 0
            write(running, MAILS)
            client.reload()
            eventually(lambda: counts(client) == {"completed": MANY + 1}, within=60)
        spent = running.query(f"SELECT max(retry_count) FROM background_jobs WHERE class_name = '{MAIL}'")
        assert spent == [(0,)]
