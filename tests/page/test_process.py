"""The page as a process: started, ended, killed, and started again; beside a daemon and alone."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgjobd.config.loading import load
from bgjobd.supervisor.page_process import PageProcess, settings_of
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.page.serving import TOKEN, Peer
from tests.support import eventually

Process = subprocess.Popen[str]


@contextmanager
def started(command: list[str], **others: Any) -> Iterator[Process]:
    """A process that is killed at the end, if it has not ended by itself."""
    process = subprocess.Popen(command, text=True, stderr=subprocess.PIPE, cwd="/", **others)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def page_process(directory: Path, **changes: Any) -> Iterator[Process]:
    """`python -m bgjobd.web` with settings for a Unix socket, changed."""
    settings = {"socket": f"unix:{directory}/d.sock", "bind": f"unix:{directory}/p.sock", **changes}
    with started([sys.executable, "-m", "bgjobd.web"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        yield process


def line_of(process: Process) -> str:
    assert process.stderr is not None
    return process.stderr.readline().rstrip("\n")


def end_of(process: Process) -> tuple[int, str]:
    """Its exit code and what else it has said, once its stdin has ended."""
    _, said = process.communicate(timeout=20)
    return process.returncode, said


def status(address: Any, path: str = "/") -> int:
    with Peer(address) as peer:
        return peer.ask(f"GET {path}").status


# Alone


def test_it_says_where_it_is_and_ends_when_its_stdin_does(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with page_process(tmp_path) as process:
        assert line_of(process) == f"bgjobd-web: the page is at unix:{path}"
        assert path.stat().st_mode & 0o777 == 0o600
        assert status(str(path)) == 503  # there is no daemon, which is no reason not to be there
        assert end_of(process) == (0, "")
        assert not path.exists()


def test_it_ends_although_browsers_are_connected(tmp_path: Path) -> None:
    with page_process(tmp_path) as process:
        line_of(process)
        with Peer(str(tmp_path / "p.sock")) as idle, Peer(str(tmp_path / "p.sock")) as following:
            idle.send(b"GET / HT")
            assert following.ask("GET /events").status == 200
            assert end_of(process) == (0, "")


def test_its_address_has_the_token_and_nothing_else_shows_it(tmp_path: Path) -> None:
    with page_process(tmp_path, bind="127.0.0.1:0", token=TOKEN) as process:
        begin, _, address = line_of(process).partition("http://127.0.0.1:")
        port, _, token = address.partition("/login?token=")
        assert (begin, token) == ("bgjobd-web: the page is at ", TOKEN)
        assert status(("127.0.0.1", int(port))) == 401
        for file in ("cmdline", "environ"):
            assert TOKEN not in Path(f"/proc/{process.pid}/{file}").read_text()
        assert end_of(process) == (0, "")


def test_it_waits_for_the_page_of_an_earlier_daemon_to_let_go(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with socket.socket(socket.AF_UNIX) as earlier:
        earlier.bind(str(path))
        earlier.listen()
        with page_process(tmp_path) as process:
            earlier.accept()[0].close()  # it has asked whether somebody is there
            path.unlink()
            assert "the page is at" in line_of(process)
            assert status(str(path)) == 503


def test_it_says_why_it_cannot_be_where_it_should(tmp_path: Path) -> None:
    for place, why in (
        (f"{tmp_path}/nowhere/p.sock", "No such file or directory"),
        (f"/{'x' * 200}", "path too long"),
    ):
        with page_process(tmp_path, bind=f"unix:{place}") as process:
            code, said = end_of(process)
            assert code == 1
            assert said.startswith(f"bgjobd-web: the page cannot listen at unix:{place}: ")
            assert why in said
            assert "Traceback" not in said


def test_an_interrupt_at_the_terminal_is_for_the_daemon(tmp_path: Path) -> None:
    with page_process(tmp_path) as process:
        line_of(process)
        process.send_signal(signal.SIGINT)
        assert status(str(tmp_path / "p.sock")) == 503
        assert end_of(process) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bgjobd_web_runs_it_alone_until_it_is_interrupted(tmp_path: Path, number: int) -> None:
    path = tmp_path / "p.sock"
    config = tmp_path / "bgjobd.toml"
    config.write_text(
        f'[daemon]\nsocket = "{tmp_path}/d.sock"\nstate_dir = "{tmp_path}"\n'
        f'[web]\nenabled = false\nbind = "unix:{path}"\n[log]\nconsole = "text"\n'
    )
    with started([sys.executable, "-m", "bgjobd", "web", "--config", str(config)]) as process:
        assert line_of(process) == f"bgjobd-web: the page is at unix:{path}"
        assert status(str(path)) == 503
        process.send_signal(number)
        assert end_of(process) == (0, "")
        assert not path.exists()


@pytest.mark.parametrize("console", ["json", "none"])
def test_it_speaks_as_the_daemon_does_on_its_console(tmp_path: Path, console: str) -> None:
    with page_process(tmp_path, console=console) as process:
        eventually(lambda: (tmp_path / "p.sock").exists() and status(str(tmp_path / "p.sock")) == 503)
        code, said = end_of(process)
    assert code == 0
    told = [json.loads(line) for line in said.splitlines()]
    assert [line["event"] for line in told] == (
        [f"the page is at unix:{tmp_path}/p.sock"] if console == "json" else []
    )
    assert all(set(line) == {"event", "at", "type", "target"} for line in told)
    with page_process(tmp_path, console=console, bind=f"unix:{tmp_path}/nowhere/p.sock") as process:
        code, said = end_of(process)
    assert code == 1
    assert "the page cannot listen at" in (json.loads(said)["event"] if console == "json" else said)


def test_it_gives_a_sign_of_life_for_each_that_is_asked_for(tmp_path: Path) -> None:
    line, its_end = socket.socketpair()
    with line, started([sys.executable, "-m", "bgjobd.web"], stdin=its_end) as process:
        its_end.close()
        settings = {"socket": f"unix:{tmp_path}/d.sock", "bind": f"unix:{tmp_path}/p.sock"}
        line.sendall(json.dumps(settings).encode() + b"\n\n")  # one comes before it has even begun
        line.settimeout(20)
        assert line.recv(9) == b"\n"
        line.sendall(b"\n")
        assert line.recv(9) == b"\n"
        line.shutdown(socket.SHUT_WR)
        assert line.recv(9) == b""
        assert process.wait(20) == 0


# Beside a daemon


@contextmanager
def with_page(directory: Path, changes: str = "") -> Iterator[tuple[RunningDaemon, str]]:
    """A daemon and the path of its page's socket."""
    path = str(directory / "p.sock")
    with daemon(directory, f'[web]\nbind = "unix:{path}"', changes=changes) as running:
        yield running, path


def pages(running: RunningDaemon) -> list[int]:
    """The pids of its pages."""
    found = []
    for pid in running.children():
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found += [pid] if b"bgjobd.web" in Path(f"/proc/{pid}/cmdline").read_bytes() else []
    return found


def answers(path: str) -> bool:
    try:
        return status(path, "/healthz") == 200
    except OSError:
        return False


def test_a_killed_page_is_started_again_and_the_daemon_does_not_mind(tmp_path: Path) -> None:
    with with_page(tmp_path) as (running, path), running.client() as client:
        eventually(lambda: answers(path))
        [first] = pages(running)
        job = client.run_background_job("probes.Probe", "echo", {"value": 1})
        os.kill(first, signal.SIGKILL)
        assert client.wait(job.id, 20)["status"] == "completed"
        eventually(lambda: pages(running) not in ([], [first]) and answers(path))
        assert len(pages(running)) == 1
        assert eventually(lambda: "the page ended with code -9; starting another" in running.console())


def test_the_page_ends_with_a_daemon_that_is_stopped_and_nobody_calls_that_a_failure(tmp_path: Path) -> None:
    with with_page(tmp_path) as (running, path):
        eventually(lambda: answers(path))
        [pid] = pages(running)
        assert running.stop() == 0
        eventually(lambda: not is_alive(pid))
        assert not os.path.exists(path)
        assert "the page ended" not in running.console()


def test_the_page_ends_with_a_daemon_that_is_killed_and_the_next_one_has_its_own(tmp_path: Path) -> None:
    with with_page(tmp_path) as (running, path):
        eventually(lambda: answers(path))
        [pid] = pages(running)
        running.stop(signal.SIGKILL)
        running.start()
        eventually(lambda: not is_alive(pid))
        eventually(lambda: pages(running) and answers(path))


def test_a_page_that_hangs_does_not_keep_the_address_from_the_next(tmp_path: Path) -> None:
    hasty = "from bgjobd.supervisor import page_process; page_process._LAST_MOMENT = 0.1"
    with with_page(tmp_path, hasty) as (running, path):
        eventually(lambda: answers(path))
        [pid] = pages(running)
        os.kill(pid, signal.SIGSTOP)
        assert running.stop() == 0
        assert not is_alive(pid)
        running.start()
        eventually(lambda: answers(path))


def test_a_page_that_hangs_is_replaced_while_the_daemon_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bgjobd.supervisor.page_process._BETWEEN_BEATS", 0.1)
    may_be_silent = partial(monkeypatch.setattr, "bgjobd.supervisor.page_process._MOST_SILENCE")
    path, pids, said = str(tmp_path / "p.sock"), set[int](), list[str]()

    async def is_replaced() -> None:
        may_be_silent(15.0)  # a busy machine takes its time for a start
        settings = {"socket": f"unix:{tmp_path}/d.sock", "bind": f"unix:{path}", "console": "none"}
        kept = PageProcess(settings, pids, lambda _, message: said.append(message))
        keeping = asyncio.create_task(kept.keep())
        [first] = await asyncio.to_thread(eventually, lambda: is_there(path) and {*pids})
        may_be_silent(2.0)
        os.kill(first, signal.SIGSTOP)
        await asyncio.to_thread(eventually, lambda: first not in pids, 40)
        may_be_silent(15.0)
        await asyncio.to_thread(eventually, lambda: is_there(path), 40)
        kept.stop()
        await kept.end()
        await keeping

    asyncio.run(is_replaced())
    assert said[0] == "the page has not answered for 2 s: killing it"
    assert said[1].startswith("the page ended with code -9; starting another")


def is_there(path: str) -> bool:
    try:
        return status(path) == 503
    except OSError:
        return False


def test_a_page_that_cannot_be_started_is_no_reason_for_the_daemon_not_to_be(tmp_path: Path) -> None:
    with daemon(tmp_path, f'[web]\nbind = "unix:{tmp_path}/nowhere/p.sock"') as running:
        eventually(lambda: "the page ended with code 1; starting another" in running.console())
        assert "the page cannot listen at" in running.console()


def test_a_page_is_missed_although_there_was_no_descriptor_to_hear_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_descriptors(pid: int, flags: int = 0) -> int:
        raise OSError(errno.EMFILE, "no descriptors")

    async def is_missed() -> None:
        said, pids = asyncio.Event(), set[int]()
        settings = {"socket": "unix:/nowhere", "bind": f"unix:{tmp_path}/nowhere/p.sock"}
        kept = PageProcess(settings, pids, lambda *_: said.set())
        keeping = asyncio.create_task(kept.keep())
        await asyncio.wait(
            {asyncio.create_task(said.wait()), keeping}, timeout=20, return_when="FIRST_COMPLETED"
        )
        assert (said.is_set(), pids) == (True, set())
        kept.stop()
        await keeping

    monkeypatch.setattr("bgjobd.supervisor.page_process.os.pidfd_open", without_descriptors)
    monkeypatch.setattr("bgjobd.host.child_process._BETWEEN_LOOKS", 0.05)
    asyncio.run(is_missed())


def test_a_page_that_has_not_even_heard_its_settings_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_stopped() -> None:
        kept = PageProcess({}, set(), lambda *_: None)
        keeping = asyncio.create_task(kept.keep())
        await asyncio.sleep(0)
        kept.stop()
        await keeping

    def told_too_late(settings: object) -> str:
        time.sleep(0.5)
        return "{}"

    monkeypatch.setattr("bgjobd.supervisor.page_process.sys.executable", "/bin/true")
    monkeypatch.setattr("bgjobd.supervisor.page_process.json.dumps", told_too_late)
    asyncio.run(is_stopped())


def test_the_demo_says_at_its_end_where_the_page_is() -> None:
    with started([sys.executable, "-m", "bgjobd", "demo"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = next(line.strip() for line in process.stdout if "/login?token=" in line)
        host, _, path = told.removeprefix("http://").partition("/")
        address, port = host.split(":")
        eventually(lambda: is_led_on((address, int(port)), f"/{path}"))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
        assert "Traceback" not in said


def is_led_on(address: Any, path: str) -> bool:
    try:
        return status(address, path) == 303
    except OSError:
        return False


# The token


def token(directory: Path) -> str:
    (directory / "bgjobd.toml").write_text(f'[daemon]\nstate_dir = "{directory}"\n')
    return str(settings_of(load(directory / "bgjobd.toml", {}, is_root=True))["token"])


def test_the_token_is_made_once_and_its_owners_alone(tmp_path: Path) -> None:
    made = token(tmp_path)
    assert len(made) == 32
    assert token(tmp_path) == made
    assert (tmp_path / "web.token").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "web.new").exists()
    assert (tmp_path / "metrics.token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "metrics.token").read_text() != (tmp_path / "web.token").read_text()


def test_tokens_of_two_installations_differ(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert token(tmp_path) != token(tmp_path / "other")


@pytest.mark.parametrize(
    "kept", [b"", b"\n", b"short", b"a b c d e f g h i j k l m", b"\xff" * 32, b"x" * 20 + b"\r\nX: y"]
)
def test_what_is_no_token_lets_nobody_in(tmp_path: Path, kept: bytes) -> None:
    """A full disk may have left an empty file, which everybody would know."""
    (tmp_path / "web.token").write_bytes(kept)
    assert len(token(tmp_path)) == 32


def test_a_token_that_others_may_know_is_replaced(tmp_path: Path) -> None:
    made, file = token(tmp_path), tmp_path / "web.token"
    file.chmod(0o644)
    again = token(tmp_path)
    assert again != made
    file.rename(tmp_path / "kept")
    file.symlink_to(tmp_path / "kept")
    assert token(tmp_path) not in (again, made)
    file.unlink()
    os.mkfifo(file, 0o600)
    assert len(token(tmp_path)) == 32  # and nothing waits for a writer
    assert file.stat().st_mode == stat.S_IFREG | 0o600


def test_the_token_is_systemds_credential_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    made = token(tmp_path)
    (tmp_path / "web-token").write_text(f"{TOKEN}\n")
    (tmp_path / "web-token").chmod(0o440)  # systemd's, on a file system of the service's own
    assert token(tmp_path) == TOKEN != made
    (tmp_path / "web-token").write_text("secret")
    with pytest.raises(OSError, match="it is to have 16 to 1024 letters"):
        token(tmp_path)
    (tmp_path / "web-token").unlink()
    assert token(tmp_path) == made
    (tmp_path / "web-token").symlink_to("nowhere")  # one that is there, and cannot be read
    with pytest.raises(OSError, match="web-token"):
        token(tmp_path)


def test_a_unix_socket_needs_no_token(tmp_path: Path) -> None:
    (tmp_path / "bgjobd.toml").write_text(
        f'[daemon]\nstate_dir = "{tmp_path}"\n[web]\nbind = "unix:{tmp_path}/p.sock"\n'
    )
    settings = settings_of(load(tmp_path / "bgjobd.toml", {}, is_root=True))
    assert settings["token"] is settings["metrics_token"] is None
    assert not (tmp_path / "web.token").exists()
