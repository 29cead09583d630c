"""Sockets that systemd hands to the daemon, or its page alone: each serves at its own, and leaves it to systemd."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from bgjob import Client
from bgjobd.commands.exit_codes import USAGE
from bgjobd.host import sd_listen
from bgjobd.host.sd_listen import Handed, take
from bgjobd.main import main
from tests.daemon.running import RunningDaemon, links_of
from tests.support import eventually

PROBE = "probes.Probe"

# As systemd does it: descriptors from 3 on, then the daemon in the same process.
HAND_OVER = """
import fcntl, os, sys
names, pid_off, config, *given = sys.argv[1:]
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in given]
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
os.closerange(3 + len(high), 200)
os.environ |= {"LISTEN_PID": str(os.getpid() + int(pid_off)), "LISTEN_FDS": str(len(high)), "LISTEN_FDNAMES": names}
os.environ |= {"LISTEN_FDS": more} if (more := os.environ.get("LISTEN_MORE")) else {}
os.execv(sys.executable, [sys.executable, "-m", "bgjobd", "serve", "--config", config])
"""


@contextmanager
def handing_over(running: RunningDaemon, names: str, *given: int, pid_off: int = 0) -> Iterator[None]:
    """The daemon runs, and was given these descriptors."""
    words = [names, str(pid_off), str(running.config), *map(str, given)]
    with (running.directory / "console").open("ab") as console:
        process = subprocess.Popen(
            [sys.executable, "-c", HAND_OVER, *words], stderr=console, pass_fds=given, env=os.environ.copy()
        )
    running.process = process
    try:
        yield
    finally:
        if process.poll() is None:
            running.stop(signal.SIGKILL)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        path.chmod(0o604)
        listener.listen()
        yield listener


def targets(pid: int) -> list[str]:
    """What the process has open, standard streams apart."""
    return [target for descriptor, target in links_of(pid).items() if descriptor > 2]


def inode_link(one: socket.socket) -> str:
    return f"socket:[{os.fstat(one.fileno()).st_ino}]"


def test_a_socket_of_systemds_is_served_left_as_it_is_and_never_removed(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    with listening(running.socket) as listener, running.client() as early:
        # Whoever calls while there is no daemon waits at the socket, and is answered by the next one.
        with handing_over(running, "varlink", listener.fileno()):
            inode = running.socket.stat().st_ino
            assert early.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            fork_server = running.fork_server()
            assert inode_link(listener) not in targets(fork_server)
            seen = early.run_background_job(PROBE, "describe_itself").result(20)
            assert inode_link(listener) not in seen["fds"].values()
            assert running.stop() == 0
        found = running.socket.stat()
        assert (found.st_ino, found.st_mode & 0o777) == (inode, 0o604)
        with handing_over(running, "varlink", listener.fileno()), running.client() as client:
            assert client.get(1).snapshot["result"] == 1
            assert client.get(1).snapshot["submitted_pid"] == os.getpid()
            assert running.stop() == 0


def test_as_many_callers_may_wait_as_systemd_has_set(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    with listening(running.socket) as listener:
        listener.listen(5)
        with handing_over(running, "varlink", listener.fileno()):
            with running.client() as client:
                assert client.ping()
            assert running.process is not None
            running.process.send_signal(signal.SIGSTOP)
            eventually(lambda: is_stopped(running.process))
            assert how_many_may_wait(running.socket) == 6  # the kernel takes one more


def is_stopped(process: subprocess.Popen[bytes] | None) -> bool:
    return process is not None and "State:\tT" in Path(f"/proc/{process.pid}/status").read_text()


def how_many_may_wait(path: Path) -> int:
    """Callers that nobody accepts, until the next would have to wait for a place in the queue."""
    with ExitStack() as callers:
        for count in range(2000):
            caller = callers.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            caller.setblocking(False)
            if caller.connect_ex(str(path)) == errno.EAGAIN:
                return count
    return 2000


def handed_over(running: RunningDaemon) -> list[str]:
    """What the log says of descriptors, as far as it has been written."""
    return [line for line in running.lines() if "handed over" in line]


def test_descriptors_that_are_no_socket_of_ours_are_closed_and_named(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    with (
        listening(running.socket) as listener,
        listening(tmp_path / "second") as second,
        socket.create_server(("127.0.0.1", 0)) as port,
        closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as datagrams,
        (tmp_path / "file").open("w") as file,
        handing_over(
            running,
            "web:file:datagrams:varlink:more",
            *(one.fileno() for one in (port, file, datagrams, listener, second)),
        ),
        running.client() as client,
    ):
        assert client.ping()
        assert running.process is not None
        there = targets(running.process.pid)
        assert inode_link(listener) in there
        assert not {inode_link(port), inode_link(datagrams), inode_link(second), str(tmp_path / "file")} & {
            *there
        }
        eventually(lambda: len(handed_over(running)) >= 4)
        said = handed_over(running)
    for descriptor, name, why in (
        (3, "web", "no Unix socket"),
        (4, "file", "no socket"),
        (5, "datagrams", "no stream socket"),
        (7, "more", "one socket"),
    ):
        assert any(f"descriptor {descriptor} ({name})" in line and why in line for line in said), said
    assert len(said) == 4


def test_a_socket_at_another_path_than_the_configured_one_is_served_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    running = RunningDaemon(tmp_path)
    other = tmp_path / "other.sock"
    with listening(other) as listener, handing_over(running, "varlink", listener.fileno()):
        with Client(str(other), timeout=20.0) as client:
            assert client.stats()
        assert not running.socket.exists()
        (said,) = eventually(lambda: handed_over(running))
        assert str(other) in said
        assert str(running.socket) in said
        eventually(lambda: any(f"serving at {other}" in line for line in running.lines()))


def test_the_page_asks_at_the_socket_that_is_served(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path, web=f'enabled = true\nbind = "unix:{tmp_path}/page.sock"')
    other = tmp_path / "other.sock"
    with listening(other) as listener, handing_over(running, "varlink", listener.fileno()):
        eventually(lambda: any("serving at" in line for line in running.lines()))
        eventually(lambda: "200 OK" in answer_of(tmp_path / "page.sock"))


def answer_of(page: Path, path: str = "/") -> str:
    """The first line that a page at a Unix socket answers; nothing as long as there is none."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as caller:
        if caller.connect_ex(str(page)) != 0:
            return ""
        caller.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        return caller.recv(4096).decode().partition("\n")[0]


def test_what_was_handed_to_another_process_is_not_taken(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    other = tmp_path / "other.sock"
    with listening(other) as listener, handing_over(running, "varlink", listener.fileno(), pid_off=1):
        eventually(running.socket.exists)
        eventually(running.answers)
        assert not handed_over(running)


def test_a_descriptor_that_is_said_to_be_there_and_is_not_keeps_nobody_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = RunningDaemon(tmp_path)
    monkeypatch.setenv("LISTEN_MORE", "999999999")
    with listening(running.socket) as listener, handing_over(running, "varlink", listener.fileno()):
        with running.client() as client:
            assert client.ping()
        (said,) = eventually(lambda: handed_over(running))
        assert "descriptor 4, which is not open" in said


@pytest.mark.parametrize("number", ["9" * 5000, "-1", "²", "1 "])
def test_a_number_of_descriptors_that_is_none_hands_over_nothing(number: str) -> None:
    assert take({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": number}) == Handed()


@pytest.mark.needs("systemd-socket-activate")
def test_the_first_caller_starts_the_daemon_by_socket_activation(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    serve = [sys.executable, "-m", "bgjobd", "serve", "--config", str(running.config)]
    with (running.directory / "console").open("ab") as console:
        running.process = subprocess.Popen(
            ["systemd-socket-activate", "-l", str(running.socket), "--", *serve],
            stderr=console,
            env=os.environ.copy(),
        )
    try:
        eventually(lambda: is_listening(running.socket))
        assert not (tmp_path / "state").exists()
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            assert client.stats()["pid"] == running.process.pid
        assert running.stop() == 0
        assert running.socket.exists()
    finally:
        if running.process is not None:
            running.stop(signal.SIGKILL)


# The page alone


def web_config(directory: Path) -> Path:
    """For a page at `p.sock` below a path, and no daemon."""
    config = directory / "bgjobd.toml"
    config.write_text(
        f'[daemon]\nsocket = "{directory}/d.sock"\nstate_dir = "{directory}/state"\n[log]\nconsole = "text"\n'
        f'[web]\nenabled = false\nbind = "unix:{directory}/p.sock"\nbase_path = "/jobs"\n'
    )
    return config


@pytest.mark.needs("systemd-socket-activate")
def test_the_first_browser_starts_the_page_which_leaves_its_socket_to_systemd(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    web = [sys.executable, "-m", "bgjobd", "web", "--config", str(web_config(tmp_path))]
    process = subprocess.Popen(
        ["systemd-socket-activate", "-l", str(path), "--", *web], stderr=subprocess.PIPE, text=True
    )
    try:
        eventually(lambda: is_listening(path))
        inode = path.stat().st_ino
        assert "503" in answer_of(path, "/jobs/healthz")  # there is no daemon
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert f"bgjobd-web: the page is at unix:{path}" in said
    assert path.stat().st_ino == inode
    assert not (tmp_path / "state").exists(), "who may use the socket needs no token"


def test_a_page_that_is_handed_another_socket_than_its_own_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening(tmp_path / "other.sock") as listener:
        monkeypatch.setattr(sd_listen, "take", lambda environ: Handed(listener, ("a remark",)))
        assert main(["web", "--config", str(web_config(tmp_path))]) == USAGE
    said = capsys.readouterr().err
    assert "a remark" in said
    assert f'systemd handed over {tmp_path}/other.sock: set [web] bind = "unix:{tmp_path}/other.sock"' in said


def is_listening(path: Path) -> bool:
    """Whether somebody accepts at the path, asked without calling there; the kernel flags such a socket."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()]
    return any(row[3] == "00010000" and row[-1] == str(path) for row in rows)
