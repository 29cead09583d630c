"""What runs and what it uses now: asked of a real daemon, of processes that are what the journal says, or are not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bgjobd.api.introspection import IDL
from bgjobd.core.job import AttemptKey
from bgjobd.daemon.inspection import Inspection
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.process_identity import pidfd_inode, start_time
from bgjobd.store import database
from bgjobd.store.reader import Reader
from bgjobd.store.readers import Readers
from bgjobd.supervisor import live_usage
from bgjobd.supervisor.processes import try_open_process
from tests.daemon.running import RunningDaemon, daemon
from tests.protocol import idl
from tests.support import eventually

MODULE = '''
import subprocess, sys, time
from pathlib import Path
from bgjob import JobContext


class Load:
    def hold(self, go, context: JobContext):
        """Uses CPU time, by itself and by a child, holds memory, tells so, and waits."""
        held = bytearray(b"x") * (40 * 1024 * 1024)
        while time.process_time() < 0.2:
            sum(held[:10_000])
        burn = "import time\\nwhile time.process_time() < 0.2: pass"
        subprocess.run([sys.executable, "-c", burn], check=True)
        context.progress(0.5, "half " + "x" * 1000)
        while not Path(go).exists():
            time.sleep(0.01)
'''


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    settings = '"load.Load" = { queue = "heavy", timeout = 60 }\n[queues]\nheavy = {}\n'
    with daemon(tmp_path_factory.mktemp("meter"), settings, modules={"load": MODULE}) as running:
        yield running


def test_an_attempt_that_runs_is_told_with_what_it_uses(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        assert client.running() == []
        job = client.run_background_job("load.Load", "hold", {"go": f"{tmp_path}/go"})
        (one,) = eventually(lambda: [one for one in client.running() if one["progress"]])
        (tmp_path / "go").touch()
        attempt = job.wait(20)["attempts"][0]
        assert client.running() == []

    assert set(one) == idl.parse(IDL.read_text()).types["RunningAttempt"].keys()
    assert {name: one[name] for name in ("job_id", "number", "class_name", "method_name", "queue")} == {
        "job_id": job.id,
        "number": 1,
        "class_name": "load.Load",
        "method_name": "hold",
        "queue": "heavy",
    }
    assert (one["pid"], one["started_at"], one["timeout"]) == (attempt["pid"], attempt["started_at"], 60.0)
    assert 0.3 < one["cpu"] <= attempt["cpu_user"] + attempt["cpu_system"] + 0.1
    assert 40 << 20 < one["memory"] <= attempt["max_rss"]
    assert one["progress"]["fraction"] == 0.5
    assert len(one["progress"]["message"]) == 200


def test_an_adopted_attempt_is_measured_too(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        client.run_background_job("load.Load", "hold", {"go": f"{tmp_path}/go"})
        eventually(lambda: [one for one in client.running() if one["progress"]])
        running.stop(signal.SIGKILL)
        running.start()
        (one,) = eventually(client.running)
        assert one["cpu"] > 0.3
        assert one["memory"] > 40 << 20
        (tmp_path / "go").touch()
        eventually(lambda: not client.running())


def test_nobody_waits_until_very_many_attempts_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()

    def measured_slowly(*_: object) -> list[Any]:
        assert may_end.wait(20)
        return []

    async def play() -> None:
        database.prepare(tmp_path, lambda: None)
        monkeypatch.setattr(Reader, "running", measured_slowly)
        readers = Readers(tmp_path)
        one: Any = SimpleNamespace(
            _readers=readers,
            _now=time.time,
            _supervisor=SimpleNamespace(attempts=SimpleNamespace(journals=dict, try_open=unopened)),
        )
        running = Inspection.running(one)
        try:
            assert await asyncio.wait_for(readers.read(lambda _: "at once"), 10) == "at once"
        finally:
            may_end.set()
        assert await running == []
        readers.close()

    asyncio.run(play())


# The process behind a journal


def journal_of(pid: int, **others: Any) -> Journal:
    record = {"pid": pid, "pidfd_inode": pidfd_inode(pid), "start_time": start_time(pid), **others}
    return Journal(started=record)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        eventually(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().endswith(b"input()\0"))
        yield process
        process.kill()


def test_a_process_is_measured_if_it_is_the_one_of_the_journal(process: subprocess.Popen[bytes]) -> None:
    def reading() -> tuple[float, int]:
        found = live_usage.try_read(journal_of(process.pid))
        assert found is not None
        return found.cpu, found.memory

    assert reading()[0] >= 0.0
    assert eventually(lambda: reading()[1]) > 0  # which the kernel counts a moment later
    assert live_usage.try_read(journal_of(process.pid, start_time=1)) is None
    assert live_usage.try_read(journal_of(process.pid, pidfd_inode=1)) is None
    assert live_usage.try_read(Journal()) is None


def test_a_process_that_is_gone_is_not_measured(process: subprocess.Popen[bytes]) -> None:
    journal = journal_of(process.pid)
    process.kill()
    process.wait(20)
    assert live_usage.try_read(journal) is None


def test_no_measure_leaves_a_descriptor(process: subprocess.Popen[bytes]) -> None:
    journals = [journal_of(process.pid), journal_of(process.pid, start_time=1), Journal()]
    before = os.listdir("/proc/self/fd")
    for journal in journals:
        live_usage.try_read(journal)
    assert os.listdir("/proc/self/fd") == before


def test_the_fields_are_counted_from_behind_the_name_of_the_command() -> None:
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    fields = ["S", *("0" for _ in range(10)), "1", "2", "3", "4", *("0" for _ in range(6)), "5", "0"]
    told = f"4711 (a) R 9 (b)) {' '.join(fields)}\n".encode()
    assert live_usage.reading_of(told) == (10 / ticks, 5 * page)


def opened(_: AttemptKey, journal: Journal) -> int | None:
    return try_open_process(journal)


def unopened(*_: object) -> None:
    """The process of no journal is there any more."""


def test_an_attempt_without_a_journal_has_no_process_yet() -> None:
    rows = [{"job_id": 1, "number": 2, "pid": None}]
    assert live_usage.read_all(rows, {}, unopened) == [
        {"job_id": 1, "number": 2, "pid": None, "cpu": None, "memory": None},
    ]
    assert live_usage.read_all(rows, {(1, 2): Journal()}, unopened)[0]["pid"] is None


def test_the_pid_is_told_as_soon_as_the_journal_tells_it(process: subprocess.Popen[bytes]) -> None:
    rows = [{"job_id": 1, "number": 2, "pid": None}]

    def told() -> dict[str, Any]:
        (one,) = live_usage.read_all(rows, {(1, 2): journal_of(process.pid)}, opened)
        return one

    assert told()["pid"] == process.pid
    assert eventually(lambda: told()["memory"]) > 0  # which the kernel counts a moment later
