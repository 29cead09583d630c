"""Tests of networks with nothing in them, and of what is left where TCP is taken away."""

from __future__ import annotations

import os
import socket
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bgjobd.forkserver import landlock, libc, network, subreaper

NOBODY = 65534
IS_ROOT = os.geteuid() == 0
SET_NO_NEW_PRIVS = 38


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Somebody outside who takes connections."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


def in_a_child(act: Callable[[], object]) -> None:
    """Have it done by a process of its own; what it raises there fails the test."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def as_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    # As after exec: else /proc of this process is root's.
    libc.prctl(4, 1)  # PR_SET_DUMPABLE


def made(capabilities: int) -> network.Space:
    try:
        return network.make(capabilities)
    except OSError as error:
        pytest.skip(f"no network namespace is to be had: {error}")


def enter(space: network.Space) -> None:
    space.enter()
    space.give_up()
    space.close()


def interfaces() -> list[str]:
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def connect(address: tuple[str, int]) -> None:
    """By its number: to look up a name takes modules that are not everybody's to read."""
    with closing(socket.socket()) as made:
        made.connect(address)


def expect_nothing_outside(address: tuple[str, int]) -> None:
    assert interfaces() == ["lo"]
    with closing(socket.create_server(("127.0.0.1", 0))) as own:
        connect(own.getsockname())  # loopback is up
    with pytest.raises(ConnectionRefusedError):
        connect(address)
    with pytest.raises(OSError, match="unreachable"):
        connect(("192.0.2.1", 80))


def test_who_is_in_it_reaches_a_loopback_of_its_own_and_nobody_else(listener: socket.socket) -> None:
    space = made(libc.capabilities())

    def act() -> None:
        enter(space)
        expect_nothing_outside(listener.getsockname())

    in_a_child(act)
    in_a_child(act)  # any number of them
    space.close()
    if interfaces() == ["lo"]:
        connect(listener.getsockname())


@pytest.mark.skipif(not IS_ROOT, reason="only root can be somebody else")
def test_who_may_nothing_makes_it_within_a_user_namespace_and_has_no_rights_in_it(
    listener: socket.socket,
) -> None:
    def act() -> None:
        as_nobody()
        space = made(0)
        assert space.user is not None
        before = os.getresuid(), os.getresgid()
        enter(space)
        assert (os.getresuid(), os.getresgid()) == before
        assert libc.capabilities() == 0
        with pytest.raises(PermissionError):
            libc.unshare(0x20000000)  # CLONE_NEWNS, which takes rights
        Path("/proc/self/fd").stat()
        assert Path("/proc/self/status").stat().st_uid == NOBODY
        expect_nothing_outside(listener.getsockname())

    in_a_child(act)


@pytest.mark.skipif(not IS_ROOT, reason="it takes CAP_SETUID")
def test_root_without_its_powers_can_become_another_user_in_it(listener: socket.socket) -> None:
    few = 1 << 6 | 1 << 7

    def act() -> None:
        space = made(few)
        assert space.user is not None
        space.enter()
        as_nobody()
        space.give_up()
        space.close()
        with pytest.raises(PermissionError):
            os.setuid(0)
        expect_nothing_outside(listener.getsockname())

    in_a_child(act)


def test_who_may_make_none_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(what: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(libc, "unshare", refuse)
    before = subreaper.children()
    with pytest.raises(OSError, match="Operation not permitted"):
        network.make(0)
    assert subreaper.children() == before  # who tried is gone


@pytest.mark.skipif(not landlock.has_tcp_rules(), reason="it takes Linux 6.7 with Landlock")
def test_without_tcp_there_is_udp_and_no_port_of_tcp(listener: socket.socket) -> None:
    def act() -> None:
        libc.prctl(SET_NO_NEW_PRIVS, 1)
        landlock.restrict_self(landlock.no_tcp())
        with pytest.raises(PermissionError):
            connect(listener.getsockname())
        with pytest.raises(PermissionError):
            socket.create_server(("127.0.0.1", 0))
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp:
            udp.sendto(b"", listener.getsockname())

    in_a_child(act)


@pytest.mark.skipif(not landlock.has_tcp_rules(), reason="it takes Linux 6.7 with Landlock")
def test_rules_of_files_take_tcp_with_them(listener: socket.socket, tmp_path: Path) -> None:
    def act() -> None:
        libc.prctl(SET_NO_NEW_PRIVS, 1)
        rights = landlock.READS | landlock.WRITES
        landlock.restrict_self(landlock.file_rules([(str(tmp_path), rights)], has_tcp=False))
        (tmp_path / "written").write_text("it may")
        with pytest.raises(PermissionError):
            connect(listener.getsockname())

    in_a_child(act)
