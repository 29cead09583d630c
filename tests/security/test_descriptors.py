"""Descriptors that a peer sends along stay with nobody, at each socket that takes peers."""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from inotify_simple import INotify

from bgjobd.supervisor.spool import Spool
from tests.daemon.running import RunningDaemon, daemon
from tests.page.serving import Peer
from tests.support import directory_for_all, eventually

SOMEBODY = 1_000_001
FLOOD = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0] * 253))]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("descriptors")
    with daemon(directory, web=f'enabled = true\nbind = "unix:{directory}/page.sock"') as running:
        eventually((directory / "page.sock").exists)
        yield running


def page_of(running: RunningDaemon) -> int:
    """The pid of the page's process."""
    return next(
        pid for pid in running.children() if b"bgjobd.web" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_descriptors_that_are_sent_to_the_page_stay_with_nobody(running: RunningDaemon) -> None:
    """CVE-2020-12049: of a message that was cut off the descriptors were kept, until there was room for no more."""
    address = str(running.directory / "page.sock")
    pid = page_of(running)
    with Peer(address) as peer:
        assert peer.ask("GET /healthz").status == 200
    before = descriptors(pid)
    for _ in range(20):
        with Peer(address) as peer:
            # A request that never ends, in the middle of which the peer leaves.
            peer.socket.sendmsg([b"GET /healthz HTTP/1.1\r\nHost: local"], FLOOD)
            peer.socket.sendmsg([b"host\r\n"], FLOOD)
    with Peer(address) as peer:
        peer.socket.sendmsg([b""], FLOOD)
        assert peer.ask("GET /healthz").status == 200
    eventually(lambda: descriptors(pid) <= before)


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can be another user, whose instances nobody else needs"
)
def test_a_start_without_inotify_instances_says_who_may_hold_them() -> None:
    """A job of the daemon's own user can take all that its user may have; "too many open files" leads nowhere."""
    with directory_for_all() as directory:
        directory.chmod(0o777)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(SOMEBODY, SOMEBODY, SOMEBODY)
                os.write(writing, told_without_instances(directory).encode())
            finally:
                os._exit(0)
        os.close(writing)
        with open(reading) as told:
            assert "what else runs as it, perhaps a job, holds all" in told.read()
        os.waitpid(child, 0)


def told_without_instances(directory: Path) -> str:
    held = []
    try:
        while len(held) < 500:
            held.append(INotify())
    except OSError:
        pass
    try:
        Spool(directory).close()
    except OSError as error:
        return str(error)
    return "there is no end of them"
