"""Requests behind one that is not answered yet: what the daemon keeps of them meanwhile is bounded."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob.codec import Request
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import PATIENCE, ours, pid_of

COUNT = 12
SPREADING = Request("org.bgjobd.Jobs.Nothing", {"a": [{}] * 250_000}).to_bytes()
"""A request within [socket] max_frame whose values are twenty times as large in memory."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("pipelines")) as running, running.client() as client:
        client.classes()
        yield running


@contextmanager
def behind_one_that_waits(running: RunningDaemon) -> Iterator[socket.socket]:
    """A connection whose first request is not answered until a job ends that is in no hurry."""
    with running.client() as client, socket.socket(socket.AF_UNIX) as peer:
        job = client.run_background_job("probes.Probe", "echo", delay=3600.0)
        peer.connect(str(running.socket))
        peer.settimeout(PATIENCE)
        peer.sendall(ours("Wait", id=job.id, timeout=PATIENCE * 10).to_bytes())
        yield peer


def memory_of(pid: int) -> int:
    (line,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024


def send_what_is_taken(peer: socket.socket, data: bytes) -> None:
    """Send until it is sent, or nobody has taken any of it for a while."""
    peer.setblocking(False)
    while data and select.select([], [peer], [], 3.0)[1]:
        data = data[peer.send(data) :]


def test_requests_behind_one_that_waits_take_no_memory_once_they_are_answered(running: RunningDaemon) -> None:
    """redis' and ZeroMQ's queues without a bound: one connection that may read took gigabytes of the daemon's."""
    pid = pid_of(running)
    before = memory_of(pid)
    with behind_one_that_waits(running) as peer:
        send_what_is_taken(peer, SPREADING * COUNT)
        with running.client() as client:
            client.stats()
        assert memory_of(pid) - before < 8 * len(SPREADING) * COUNT


def test_a_connection_behind_whose_first_answer_many_large_ones_wait_is_closed(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        large = client.run_background_job("probes.Probe", "echo", {"value": "x" * 60_000})
        assert large.wait(PATIENCE)["status"] == "completed"
    with behind_one_that_waits(running) as peer:
        peer.sendall(ours("Get", id=large.id).to_bytes() * 60)
        assert peer.recv(1) == b""
