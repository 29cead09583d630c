"""Who calls is whom the kernel said at the connect: no name, no race and no later program makes anybody else of him."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob.codec import parse_reply
from bgjob.words import INTERFACE
from bgjobd.api import peer
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol.peers import PATIENCE, Peer, connect, leaves_nothing, ours, pid_of
from tests.support import directory_for_all, eventually

NOBODY = 65534
LISTED = f"[access]\nsubmit = ['{NOBODY}']\nmanage = []\nread = []\n"
SUBMIT = ours("Submit", class_name="probes.Probe", method_name="echo")
PAUSE = ours("Pause", queue="default")
REFUSED = f"{INTERFACE}.PermissionDenied"

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDaemon]:
    """Root's daemon, which all can connect to, where nobody but uid 65534 may submit and nobody may do more."""
    with directory_for_all() as directory, daemon(directory, LISTED) as running:
        directory.chmod(0o777)
        running.socket.chmod(0o666)
        with running.client() as client:
            client.run_background_job("probes.Probe", "echo").result(PATIENCE)
        yield running
        assert not [line for line in running.lines() if "bug" in line]


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    """Meanwhile this process is of that user, and in no group of root's."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def connected(running: RunningDaemon, uid: int, name: str = "") -> Peer:
    """A connection that this user has made, from a socket of this name."""
    sock = socket.socket(socket.AF_UNIX)
    with acting_as(uid):
        if name:
            sock.bind(name)
        sock.connect(str(running.socket))
    return Peer(sock, pid_of(running))


def submitters(running: RunningDaemon) -> list[int | None]:
    """Whose the jobs are, but the first, which is the fixture's."""
    return [uid for (uid,) in running.query("SELECT submitted_uid FROM background_jobs WHERE id > 1")]


# Names of sockets

NAMES = ["a;uid=0;", "pid=1;uid=0;socket=/run/snapd.socket;", "x\nuid=0\n", "0", "@uid=0", "root"]


@pytest.mark.parametrize("is_abstract", [False, True], ids=["a path", "an abstract name"])
def test_a_socket_bound_to_a_name_that_says_uid_0_is_still_its_users(
    running: RunningDaemon, is_abstract: bool
) -> None:
    """CVE-2019-7304: the name of the client's own socket was read as part of who it is."""
    for name in NAMES:
        place = f"\0{name}" if is_abstract else str(running.directory / name.replace("/", "_"))
        with connected(running, NOBODY, place) as peer:
            job = peer.ask(SUBMIT).parameters["id"]
            assert running.query(
                f"SELECT submitted_uid, submitted_gid FROM background_jobs WHERE id = {job}"
            ) == [(NOBODY, NOBODY)]
            for request in (PAUSE, ours("Stats"), ours("Prune", ids=[job], last_entry=10**6)):
                reply = peer.ask(request)
                assert reply.error == REFUSED
                assert f"uid {NOBODY} may not" in reply.parameters["reason"]
    assert set(submitters(running)) == {NOBODY}


def test_credentials_that_are_sent_along_are_not_looked_at(running: RunningDaemon) -> None:
    """CVE-2019-7304, by a message of credentials: root writes, who connected counts."""
    as_root = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("iII", os.getpid(), 0, 0))]
    with connected(running, NOBODY) as peer:
        peer.sock.sendmsg([PAUSE.to_bytes()], as_root)
        reply = peer.try_reply()
    assert reply is not None
    assert reply.error == REFUSED


ROOT_OF_ITS_OWN = """
import ctypes, os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which setuid took: else /proc/self is root's
if ctypes.CDLL(None).unshare(0x10000000) != 0:  # CLONE_NEWUSER
    sys.exit(99)
with open("/proc/self/uid_map", "w") as table:
    table.write("0 65534 1")
assert os.getuid() == 0
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(bytes.fromhex(sys.argv[2]))
sys.stdout.buffer.write(sock.recv(65536))
"""


def test_root_of_a_user_namespace_is_the_user_that_it_is_outside(running: RunningDaemon) -> None:
    """CVE-2019-7304, as it is today: anybody can be uid 0 in a namespace of his own."""
    words = [sys.executable, "-I", "-c", ROOT_OF_ITS_OWN, str(running.socket), PAUSE.to_bytes().hex()]
    asked = subprocess.run(words, capture_output=True, timeout=PATIENCE)
    if asked.returncode == 99:
        pytest.skip("users may have no namespaces here")
    assert asked.returncode == 0, asked.stderr
    reply = parse_reply(asked.stdout[:-1])
    assert reply.error == REFUSED
    assert f"uid {NOBODY} may not" in reply.parameters["reason"]


# Large numbers


@pytest.mark.parametrize("uid", [2**31 - 1, 2**31, 4_000_000_000, 2**32 - 2])
def test_a_uid_beyond_the_range_of_an_int_has_no_rights(running: RunningDaemon, uid: int) -> None:
    """CVE-2018-19788: a uid over 2147483647 was taken for a negative one, and let through."""
    with leaves_nothing(running), connected(running, uid) as peer:
        for request in (SUBMIT, PAUSE, ours("Stats"), ours("Prune", ids=[1], last_entry=10**6)):
            reply = peer.ask(request)
            assert reply.error == REFUSED
            assert f"uid {uid} may not" in reply.parameters["reason"]


# Nobody there to be asked about


def test_a_peer_whom_the_kernel_does_not_name_is_nobody_and_not_root() -> None:
    """CVE-2021-3560: where the lookup failed, the uid was what stood in the variable, 0."""
    closed = socket.socket(socket.AF_UNIX)
    closed.close()
    with socket.socket(socket.AF_UNIX) as unconnected, socket.socket(socket.AF_INET) as of_another_family:
        # The kernel's own word for one it does not know is (uid_t)-1.
        assert (
            struct.unpack("iII", unconnected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
            == 2**32 - 1
        )
        assert [peer.try_peer(sock) for sock in (closed, unconnected, of_another_family)] == [None] * 3


def test_a_client_that_vanishes_at_any_byte_of_its_request_is_never_root(running: RunningDaemon) -> None:
    """CVE-2021-3560: the client was gone when the service asked who it had been."""
    frame = PAUSE.to_bytes()
    with leaves_nothing(running):
        for length in range(len(frame) + 1):
            for says_so in (False, True):
                peer = connected(running, NOBODY)
                peer.send(frame[:length])
                if says_so:
                    peer.say_no_more()
                peer.sock.close()
        with running.client() as client:
            assert [queue["paused"] for queue in client.stats()["queues"]] == [False]


def test_a_client_that_is_gone_before_it_is_accepted_is_who_it_was(running: RunningDaemon) -> None:
    """CVE-2021-3560: between the connect and the look at SO_PEERCRED the client ends, with all it wanted said."""
    before = submitters(running)
    os.kill(pid_of(running), signal.SIGSTOP)
    try:
        for request in [SUBMIT, PAUSE] * 20:
            with connected(running, NOBODY) as peer:
                peer.send(request)
    finally:
        os.kill(pid_of(running), signal.SIGCONT)
    eventually(lambda: len(submitters(running)) == len(before) + 20)
    assert set(submitters(running)) == {NOBODY}
    with connect(running) as witness:
        assert [queue["paused"] for queue in witness.ask(ours("Stats")).parameters["queues"]] == [False]


# Another program in the caller's place

BECOMES = """
import os, socket, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
os.dup2(sock.fileno(), 1)
os.execv(sys.argv[2], [sys.argv[2], sys.argv[3]])
"""


def test_a_caller_that_becomes_a_setuid_program_is_who_it_was_when_it_connected(
    running: RunningDaemon,
) -> None:
    """CVE-2013-4288: the caller was asked for by its pid, and was a setuid program by then."""
    setuid = running.directory / "cat"
    shutil.copy(shutil.which("cat") or "/bin/cat", setuid)
    setuid.chmod(0o4755)
    request = running.directory / "for-root-alone"
    request.write_bytes(PAUSE.to_bytes())
    request.chmod(0o600)
    with leaves_nothing(running):
        command = [sys.executable, "-I", "-c", BECOMES, str(running.socket), str(setuid), str(request)]
        program = subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
        assert program.stderr == b"", "the program could not read the file, so it was not root's"
        with running.client() as client:
            assert [queue["paused"] for queue in client.stats()["queues"]] == [False]


def test_the_pid_of_a_caller_may_be_anybodys_by_the_time_it_asks(running: RunningDaemon) -> None:
    """CVE-2019-6133: a process of another user had the pid of the caller by the time that somebody looked."""
    with connected(running, NOBODY) as peer:
        # The daemon was told this process's pid, and this process is root's now.
        assert Path(f"/proc/{os.getpid()}").stat().st_uid == 0
        reply = peer.ask(PAUSE)
        assert reply.error == REFUSED
        job = peer.ask(SUBMIT).parameters["id"]
    told = running.query(f"SELECT submitted_uid, submitted_pid FROM background_jobs WHERE id = {job}")
    assert told == [(NOBODY, os.getpid())]


def test_a_caller_that_is_dead_when_root_asks_over_its_connection_is_who_it_was(
    running: RunningDaemon,
) -> None:
    """CVE-2013-4288: whoever is looked for by a pid that is free again is somebody else, or nobody."""
    with socket.socket(socket.AF_UNIX) as sock:
        child = os.fork()
        if child == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os._exit(sock.connect_ex(str(running.socket)))
        assert os.waitpid(child, 0) == (child, 0)
        with Peer(sock, pid_of(running)) as peer:
            assert peer.ask(PAUSE).error == REFUSED
            job = peer.ask(SUBMIT).parameters["id"]
    told = running.query(f"SELECT submitted_uid, submitted_pid FROM background_jobs WHERE id = {job}")
    assert told == [(NOBODY, child)]
