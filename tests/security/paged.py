"""A real daemon with its page, for whoever attacks that over HTTP; no test is here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bgjob import Client
from tests.daemon.running import RunningDaemon, daemon
from tests.page.browsing import login_address, web_settings
from tests.page.serving import Answer, Peer
from tests.support import eventually


class Target:
    """The page of a daemon whose job 1 has failed; `login` and `form_token` are what a victim's browser has."""

    def __init__(self, running: RunningDaemon, client: Client) -> None:
        self.running = running
        self.client = client
        address = eventually(lambda: login_address(running.console()))
        self.port = int(re.findall(r":(\d+)/", address)[0])
        self.host = f"localhost:{self.port}"
        self.token = address.partition("token=")[2]
        self.login = f"Cookie: bgjobd_login_{self.port}={self.token}"
        job = client.run_background_job("probes.Probe", "fail", {}, max_retries=0)
        job.wait(20)
        assert job.id == 1
        self.form_token = re.findall(rb'name="token" value="([0-9a-f]{64})"', self.ask("GET /jobs/1").body)[0]

    def peer(self) -> Peer:
        return Peer(("127.0.0.1", self.port))

    def ask(self, line: str, *headers: str, body: bytes = b"", is_known: bool = True) -> Answer:
        """On a connection of its own, as a browser that has logged in unless it is not known."""
        with self.peer() as peer:
            return peer.ask(line, *headers, *([self.login] if is_known else []), body=body)

    def raw(self, data: bytes) -> bytes:
        """All that is answered to these bytes, after which the peer says no more."""
        with self.peer() as peer:
            peer.send(data)
            peer.socket.shutdown(1)
            return peer.rest()

    def standing(self) -> Any:
        """What an action would change: the job, and whether its queue is paused."""
        job = self.client.get(1).snapshot
        queues = [(queue["name"], queue["paused"]) for queue in self.client.stats()["queues"]]
        return job["status"], len(job["attempts"]), job["cancel_requested_at"], queues


@contextmanager
def target(directory: Path, settings: str = "", modules: dict[str, str] | None = None) -> Iterator[Target]:
    """A daemon that runs meanwhile, whose page allows actions."""
    with (
        daemon(directory, settings, modules=modules, web=web_settings()) as running,
        running.client() as client,
    ):
        yield Target(running, client)
