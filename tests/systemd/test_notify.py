"""What the daemon tells systemd: a real daemon, and in systemd's place the socket that it would listen at."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import ReloadFailedError
from tests.daemon.running import daemon
from tests.support import eventually

PROBE = "probes.Probe"


class Listening:
    """The socket that systemd would hear of the daemon at, and what it has heard so far, oldest first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[dict[str, str]] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def hear(self) -> list[dict[str, str]]:
        """All that came so far."""
        while True:
            try:
                told = self._socket.recv(65536).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in told.splitlines()))

    def states(self) -> list[str]:
        """READY, RELOADING and STOPPING, in order."""
        words = ("READY", "RELOADING", "STOPPING")
        return [word for message in self.hear() for word in words if message.get(word) == "1"]

    def values(self, name: str) -> list[str]:
        return [message[name] for message in self.hear() if name in message]


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Listening]:
    listening = Listening(tmp_path / "notify")
    try:
        yield listening
    finally:
        listening.close()


def told(systemd: Listening, **variables: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": str(systemd.path), **variables}


def test_ready_comes_when_the_socket_answers_and_stopping_before_the_end(
    tmp_path: Path, systemd: Listening
) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running:
        eventually(lambda: systemd.states() == ["READY"])
        running.stop()
    assert systemd.states() == ["READY", "STOPPING"]


def test_ready_does_not_wait_for_a_module_that_takes_its_time(tmp_path: Path, systemd: Listening) -> None:
    go = tmp_path / "go"
    slow = f"import time, pathlib\nwhile not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\nclass Job: pass\n"
    with daemon(tmp_path, '"slow.Job" = {}', environ=told(systemd), modules={"slow": slow}) as running:
        eventually(lambda: systemd.states() == ["READY"])
        with running.client() as client:
            assert client.stats()["jobs"] == {}
        go.touch()


def test_an_abstract_address_is_understood(tmp_path: Path) -> None:
    name = f"bgjobd-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}")
        heard.settimeout(20)
        with daemon(tmp_path, environ={"NOTIFY_SOCKET": f"@{name}"}):
            assert heard.recv(4096) == b"READY=1"


def test_nobody_at_the_address_harms_nothing(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, environ={"NOTIFY_SOCKET": str(tmp_path / "nobody")}) as running,
        running.client() as client,
    ):
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


@pytest.mark.parametrize("how", ["SIGHUP", "Reload"])
def test_each_reload_is_told_from_its_beginning_to_its_end(
    tmp_path: Path, systemd: Listening, how: str
) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running, running.client() as client:
        client.classes()
        if how == "SIGHUP":
            assert running.process is not None
            running.process.send_signal(signal.SIGHUP)
        else:
            client.reload()
        eventually(lambda: systemd.states() == ["READY", "RELOADING", "READY"])
    (began,) = (message for message in systemd.hear() if "RELOADING" in message)
    assert int(began["MONOTONIC_USEC"]) > 0


def test_a_reload_that_fails_is_ready_again_all_the_same(tmp_path: Path, systemd: Listening) -> None:
    with daemon(tmp_path, environ=told(systemd)) as running, running.client() as client:
        client.classes()
        running.config.write_text("[nonsense]")
        with pytest.raises(ReloadFailedError):
            client.reload()
        eventually(lambda: systemd.states() == ["READY", "RELOADING", "READY"])
