"""A daemon whose stderr is a pipe that is full and that nobody reads: all goes on, and what it cost is said later."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon
from tests.page.serving import Peer
from tests.support import eventually

NOISY = """
print("x" * 200_000)


class Noisy:
    def run(self):
        return "ran"
"""


class Unread(RunningDaemon):
    """Its stderr is a full pipe."""

    def spawn(self) -> subprocess.Popen[bytes]:
        self.read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        try:
            while True:
                os.write(write_end, b"." * 4095 + b"\n")
        except BlockingIOError:
            os.set_blocking(write_end, True)
        command = [sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)]
        process = subprocess.Popen(command, stderr=write_end)
        os.close(write_end)
        return process

    def what_is_said(self, part: bytes) -> bytes:
        """All that comes until this part of a line has."""
        said = b""
        while part not in said and (piece := os.read(self.read_end, 65536)):
            said += piece
        return said


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Unread]:
    page = f'enabled = true\nbind = "unix:{tmp_path}/p.sock"'
    running = Unread(tmp_path, '"noisy.Noisy" = {}', modules={"noisy": NOISY}, web=page)
    running.start()
    yield running
    os.close(running.read_end)
    if running.process is not None:
        running.stop()


def test_a_stderr_that_nobody_reads_stops_neither_daemon_nor_page_nor_an_import(
    running: Unread, tmp_path: Path
) -> None:
    with running.client() as client:
        assert client.run_background_job("noisy.Noisy", "run").result(20) == "ran"
    eventually((tmp_path / "p.sock").exists)
    with Peer(str(tmp_path / "p.sock")) as peer:
        assert peer.ask("GET /healthz").status == 200
    said = running.what_is_said(b"Background job completed processing")
    assert b"x" * 1000 in said
