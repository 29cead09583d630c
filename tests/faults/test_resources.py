"""Descriptors, processes, memory or room in the spool run out: what runs goes on, and all is well again afterwards."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, Job
from bgjob.errors import DaemonUnavailableError
from bgjobd.api.acceptor import Acceptor
from bgjobd.core.verdict import StopReason
from bgjobd.forkserver import journal_lines
from bgjobd.supervisor.spool import Spool
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.faults.injecting import (
    calls_made,
    failing_calls,
    limited,
    pid_of,
    small_disk,
)
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose spool is small."""
    directory = tmp_path_factory.mktemp("resources")
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small spool")
    with small_disk(directory / "run", "200k"), daemon(directory) as running:
        yield running
        books.check(running, acknowledged=())


def _descriptors(running: RunningDaemon) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid_of(running)}/fd")]


def _answers(running: RunningDaemon) -> bool:
    try:
        with running.client() as client:
            return bool(client.stats()["pid"])
    except DaemonUnavailableError:
        return False


def _said(running: RunningDaemon, part: str) -> list[str]:
    return [line for line in running.lines() if part in line]


def _end(client: Client, job: Job) -> dict[str, Any]:
    """The job's end, asked for over the connection that the client has: no other may be to be had."""
    return eventually(lambda: (found := client.get(job.id).snapshot)["finished_at"] and found)


def _connected(running: RunningDaemon) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    peer.settimeout(20)
    peer.connect(str(running.socket))
    return peer


PING = b'{"method":"org.varlink.service.GetInfo"}\0'


def _is_served(peer: socket.socket) -> bool:
    """Whether the caller gets an answer; else it is sent away. One that waits for either is a TimeoutError."""
    try:
        peer.sendall(PING)
        return bool(peer.recv(65536))
    except (ConnectionResetError, BrokenPipeError):
        return False


# Descriptors


def test_callers_cannot_take_the_descriptors_of_the_daemons_own_work(running: RunningDaemon) -> None:
    with running.client() as client:
        client.classes()
        before = len(_descriptors(running))
        with ExitStack() as stack, limited(pid_of(running), "nofile", 64):
            peers = [stack.enter_context(_connected(running)) for _ in range(200)]
            served = [peer for peer in peers if _is_served(peer)]
            assert 1 <= len(served) < 64 - before
            assert _end(client, client.run_background_job(PROBE, "echo", {"value": 1}))["result"] == 1
            job = client.run_background_job(PROBE, "sleep", {"seconds": 60})
            eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
            client.cancel(job.id)  # which takes a pidfd
            assert _end(client, job)["status"] == "cancelled"
    eventually(lambda: len(_descriptors(running)) < before)  # the client's own is gone, too
    assert eventually(lambda: _answers(running))
    assert len(eventually(lambda: _said(running, "callers are turned away"))) == 1


@contextmanager
def _no_descriptor_left() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            os.dup(0)
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_caller_without_a_descriptor_to_spare_is_sent_away_and_not_left_waiting(tmp_path: Path) -> None:
    turned_away: list[None] = []

    async def play() -> None:
        is_admitted = asyncio.Event()

        def admit() -> asyncio.Protocol:
            is_admitted.set()
            return asyncio.Protocol()

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s.sock"))
        acceptor = Acceptor(listener, admit, lambda: turned_away.append(None))
        acceptor.open(backlog=10)
        peers = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) for _ in range(4)]
        loop = asyncio.get_running_loop()
        with _no_descriptor_left():
            for peer in peers[:3]:
                peer.connect(str(tmp_path / "s.sock"))
                assert await asyncio.wait_for(loop.sock_recv(peer, 1), 20) == b""
        peers[3].connect(str(tmp_path / "s.sock"))
        await asyncio.wait_for(is_admitted.wait(), 20)
        acceptor.close()
        for peer in peers:
            peer.close()

    asyncio.run(play())
    assert len(turned_away) == 1


def test_a_journal_is_read_though_no_descriptor_is_left(tmp_path: Path) -> None:
    """One that counted as gone would make another end of the attempt's."""
    spool = Spool(tmp_path)
    (tmp_path / "1.1.journal").write_bytes(journal_lines.started("aa", os.getpid(), 1, 2, "boot", 0.0))
    with _no_descriptor_left():
        journal = spool.try_read((1, 1))
    spool.close()
    assert journal is not None
    assert journal.started is not None


def test_a_journal_that_is_read_while_an_end_is_collected_closes_no_descriptor_of_that(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    before = os.listdir("/proc/self/fd")
    child = subprocess.Popen(["true"])
    (tmp_path / "1.1.journal").write_bytes(journal_lines.started("aa", child.pid, 1, 2, "boot", 0.0))

    def end_strays() -> dict[int, str]:
        assert spool.try_read((1, 1)) is not None  # as it is asked who is no stray
        return {7: "sleep", 8: "python3", 9: "sleep"}

    pidfd = os.pidfd_open(child.pid)
    eventually(lambda: spool.try_collect(pidfd, (1, 1), lambda: 0, end_strays, None))
    os.close(pidfd)
    journal = spool.try_read((1, 1))
    assert journal is not None
    assert journal.exit is not None
    assert (journal.exit["strays"], journal.exit["stray_names"]) == (3, ["sleep", "python3"])
    assert len(os.listdir("/proc/self/fd")) == len(before)
    spool.close()
    child.wait()


def test_a_stop_reason_for_which_the_spool_has_no_room_leaves_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(OSError, match="No space left"):
        spool.write_stop((1, 1), StopReason.CANCELLED)
    spool.close()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", ["EMFILE", "ENFILE"])
@pytest.mark.needs("strace")
def test_a_caller_who_cannot_be_taken_in_costs_no_busy_loop_and_is_served_later(
    running: RunningDaemon, tmp_path: Path, error: str
) -> None:
    made = tmp_path / "calls"
    with running.client() as client:
        client.stats()
        with failing_calls(pid_of(running), "accept4", error, made), _connected(running) as waiting:
            eventually(lambda: calls_made(made, "accept4") >= 3)
            assert _end(client, client.run_background_job(PROBE, "echo", {"value": 1}))["result"] == 1
            assert calls_made(made, "accept4") < 20
        with _connected(running) as waiting:
            assert _is_served(waiting)


def test_a_fork_server_without_descriptors_comes_up_later(running: RunningDaemon) -> None:
    with running.client() as client:
        client.stats()
        taken = _descriptors(running)
        lowest = next(number for number in range(len(taken) + 1) if number not in taken)
        with limited(pid_of(running), "nofile", lowest):
            os.kill(running.fork_server(), signal.SIGKILL)
            eventually(lambda: _said(running, "Too many open files"))
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
    assert not _said(running, "bug:")


# Processes


def _given_back(client: Client, job: Job) -> dict[str, Any]:
    """The job while it waits for another try, of which there is one now and then; nothing else at the moment of one."""
    found = client.get(job.id).snapshot
    is_given_back = found["status"] == "pending" and found["attempts"][-1:] != []
    return found if is_given_back and found["attempts"][-1]["outcome"] == "not_started" else {}


@pytest.mark.needs("strace")
def test_a_fork_that_fails_spends_no_retry_and_the_job_waits_for_another_try(tmp_path: Path) -> None:
    forking = {"BGJOBD_DAEMON__SPARES": "0"}
    with daemon(tmp_path, environ=forking) as running, running.client() as client:
        client.classes()
        with failing_calls(running.fork_server(), "clone,clone3,fork,vfork", "EAGAIN"):
            job = client.run_background_job(PROBE, "echo", {"value": 1})
            waiting = eventually(lambda: _given_back(client, job))
            assert (waiting["status"], waiting["retry_count"]) == ("pending", 0)
            assert waiting["scheduled_at"] > waiting["updated_at"]
            assert "Resource temporarily unavailable" in waiting["attempts"][0]["error_message"]
        assert job.result(20) == 1
        assert job.snapshot["retry_count"] == 0
        assert job.snapshot["attempts"][-1]["outcome"] == "completed"


# Memory


def test_a_daemon_without_memory_fails_requests_and_loses_no_job(
    running: RunningDaemon, tmp_path: Path
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        eventually(ledger.exists)
        with limited(pid_of(running), "as", _address_space(running)):
            answers: list[bytes] = []
            while b"" not in answers and len(answers) < 40:  # what was freed before may do for some
                answers.append(_answer(running, MANY))
            go.touch()
            eventually(lambda: ledger.read_text().count("\n") == 2)
        assert b"" in answers
        assert job.wait(20)["result"] == "waited"
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert client.stats()["storage_trouble"] is None
    stored = {job_id for (job_id,) in running.query("SELECT id FROM background_jobs")}
    for answer in filter(None, answers):
        assert set(json.loads(answer[:-1])["parameters"].get("ids", ())) <= stored
    assert not isinstance(running.place, Path) or running.query("PRAGMA integrity_check") == [("ok",)]


MANY = (
    json.dumps(
        {
            "method": "org.bgjobd.Jobs.SubmitMany",
            "parameters": {
                "jobs": [
                    {
                        "class_name": PROBE,
                        "method_name": "echo",
                        "parameters": {"value": "x" * 60_000},
                        "options": {"delay": 1e6},
                    }
                ]
                * 15
            },
        }
    ).encode()
    + b"\0"
)


def _answer(running: RunningDaemon, frame: bytes) -> bytes:
    """The whole answer; nothing where the daemon has none."""
    answer = b""
    with _connected(running) as peer, suppress(ConnectionResetError, BrokenPipeError):
        peer.sendall(frame)
        while not answer.endswith(b"\0") and (part := peer.recv(65536)):
            answer += part
    return answer


def _address_space(running: RunningDaemon) -> int:
    """Bytes that the daemon's addresses take now."""
    pages = Path(f"/proc/{pid_of(running)}/statm").read_text().split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
