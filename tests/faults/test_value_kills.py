"""Jobs that emit values, whose processes are killed: who follows them gets each value once, whatever has been killed,
and no end is stored before the values of its attempt.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob.answers import Value
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

MODULE = """
import os, time
from pathlib import Path

import bgjob


class Teller:
    def tell(self, count: int, directory: str, context: bgjob.JobContext) -> None:
        place = Path(directory)
        for n in range(count):
            if n == count // 2 and context.attempt == 1:
                self._halt(place, "amid")
            assert context.emit([context.attempt, n])
        if context.attempt == 1:
            self._halt(place, "behind")

    def _halt(self, place: Path, name: str) -> None:
        (place / f"{name}.new").write_text(str(os.getpid()))
        (place / f"{name}.new").rename(place / name)
        while not (place / f"leave {name}").exists():
            time.sleep(0.01)
"""
SETTINGS = '"teller.Teller" = { max_retries = 3, retry_delay = 0.05, retry_lost = true }'
MANY = 700
"""Their records are several portions of a journal."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("telling"), SETTINGS, modules={"teller": MODULE}) as running:
        yield running


def follow(running: RunningDaemon, job_id: int, told: list[Value]) -> threading.Thread:
    """Reads on in a thread until the job has ended."""

    def read() -> None:
        with running.client() as client:
            told.extend(client.follow_values(job_id))

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def pid_in(file: Path) -> int:
    eventually(file.exists)
    return int(file.read_text())


@pytest.mark.parametrize("place", ["amid", "behind"])
@pytest.mark.parametrize("way", ["child", "child and fork server", "all", "daemon"])
def test_each_value_is_told_once_and_none_is_lost(
    running: RunningDaemon, tmp_path: Path, way: str, place: str
) -> None:
    """The daemon is stopped while half of them are emitted, so that it has not read these."""
    with running.client() as client:
        job_id = client.run_background_job(
            "teller.Teller", "tell", {"count": MANY, "directory": str(tmp_path)}
        ).id
    told: list[Value] = []
    reader = follow(running, job_id, told)
    child, process, server = pid_in(tmp_path / "amid"), running.process, running.fork_server()
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    if place == "behind":
        (tmp_path / "leave amid").touch()
        pid_in(tmp_path / "behind")
    if way in ("child and fork server", "all"):
        os.kill(server, signal.SIGKILL)
    if way != "daemon":
        os.kill(child, signal.SIGKILL)
        eventually(lambda: not is_alive(child))
    if way in ("all", "daemon"):
        running.stop(signal.SIGKILL)
        running.start()
    else:
        os.kill(process.pid, signal.SIGCONT)
    for name in ("amid", "behind"):
        (tmp_path / f"leave {name}").touch()
    reader.join(50)
    assert not reader.is_alive()
    first = MANY if place == "behind" or way == "daemon" else MANY // 2
    attempts = [(1, first)] if way == "daemon" else [(1, first), (2, MANY)]
    assert [one.value for one in told] == [[attempt, n] for attempt, count in attempts for n in range(count)]
    assert [one.number for one in told] == list(range(1, len(told) + 1))
    assert [one.attempt for one in told] == [one.value[0] for one in told]
    valued = running.query(f"SELECT valued FROM job_attempts WHERE job_id = {job_id} AND valued > 0")
    assert valued == [(count,) for _, count in attempts]
