"""The fence of a host: what others may repeat ends when no beat is acknowledged, be the daemon there or not.

Beats are the test's: a file stands for the cut. The database is a file all the same, for only the fence is looked at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.words import EntryType
from bgjobd.daemon.fence import Fence
from bgjobd.forkserver import host_fence
from bgjobd.forkserver.process_identity import ahead
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

PROBE = "probes.Probe"
LOST_AFTER = 6.0
FENCED = "lost: stopped, for its host was cut off from the database"

SHARED = """
import time
from pathlib import Path
from bgjobd import service
from bgjobd.config.sections import Config
from bgjobd.daemon.fence import Fence
from bgjobd.daemon.loop import Daemon

Config.fenced_after = property(lambda config: {lost_after})
service._fence = lambda config: Fence(config.daemon.runtime_dir / "fence", config.fenced_after)
start = Daemon.start

def start_and_beat(daemon):
    def beat():
        if not Path("{cut}").exists():
            daemon.fence.move(time.clock_gettime(time.CLOCK_BOOTTIME))
        daemon._loop.call_later(0.1, beat)
    start(daemon)
    beat()

Daemon.start = start_and_beat
"""

MODULE = """
import signal, time
from pathlib import Path


class Once:
    def wait_for(self, path):
        while not Path(path).exists():
            time.sleep(0.01)
        return "waited"


class Deaf:
    def resist(self, path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(path).touch()
        while True:
            time.sleep(1)
"""

SETTINGS = """
"once.Once" = { retry_lost = false }
"once.Deaf" = { stop_grace = "1500ms", max_retries = 0 }
[limits]
stop_grace = "2s"
"""


def machine_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ahead("boottime")


@contextmanager
def shared(directory: Path, lost_after: float = LOST_AFTER) -> Iterator[RunningDaemon]:
    changes = SHARED.format(lost_after=lost_after, cut=directory / "cut")
    with daemon(directory, SETTINGS, modules={"once": MODULE}, changes=changes) as running:
        yield running


def cut(running: RunningDaemon) -> None:
    (running.directory / "cut").touch()


def mend(running: RunningDaemon) -> None:
    (running.directory / "cut").unlink()


def fence_of(running: RunningDaemon) -> float:
    return host_fence.try_read(str(running.directory / "run" / "fence")) or 0.0


def is_past(running: RunningDaemon) -> bool:
    return fence_of(running) <= machine_time()


def begun(client: Client, job: int) -> int:
    """The pid of its first attempt."""
    return eventually(lambda: [one["pid"] for one in client.get(job).snapshot["attempts"] if one["pid"]])[0]


def wait_for(client: Client, path: Path, class_name: str = PROBE) -> int:
    ledger = {"ledger": f"{path}.ledger"} if class_name == PROBE else {}
    return client.run_background_job(class_name, "wait_for", {"path": str(path), **ledger}).id


def first_attempt(client: Client, job: int) -> dict[str, object]:
    attempt = client.get(job).snapshot["attempts"][0]
    return {name: attempt[name] for name in ("outcome", "signal", "error_message")}


def test_a_host_that_is_cut_off_ends_what_others_may_repeat_and_nothing_else(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with shared(tmp_path) as running, running.client() as client:
        repeated, once = wait_for(client, go), wait_for(client, go, "once.Once")
        pid = begun(client, repeated)
        begun(client, once)
        cut(running)
        eventually(lambda: not is_alive(pid))
        assert machine_time() >= fence_of(running)
        assert machine_time() < fence_of(running) + LOST_AFTER / 2
        eventually(lambda: first_attempt(client, repeated)["outcome"])
        assert first_attempt(client, repeated) == {
            "outcome": "lost",
            "signal": 15,
            "error_message": FENCED[6:],
        }
        assert client.get(once).snapshot["attempts"][0]["outcome"] is None
        mend(running)
        go.touch()
        assert client.get(once).wait(20)["status"] == "completed"
        end = client.get(repeated).wait(20)
        assert (end["status"], end["retry_count"]) == ("completed", 1)
        told = "no beat that was sent in the last 3 s was acknowledged"
        eventually(lambda: any(told in line for line in running.lines()))


def test_nothing_is_claimed_while_the_host_is_cut_off(tmp_path: Path) -> None:
    with shared(tmp_path) as running, running.client() as client:
        cut(running)
        eventually(lambda: any("cut off from the database" in line for line in running.lines()))
        job = client.run_background_job(PROBE, "echo", {"value": 1})
        assert client.get(job.id).snapshot["attempts"] == []
        mend(running)
        assert [attempt["outcome"] for attempt in job.wait(20)["attempts"]] == ["completed"]


def test_who_does_not_leave_is_killed_after_the_classes_grace(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    with shared(tmp_path) as running, running.client() as client:
        job = client.run_background_job("once.Deaf", "resist", {"path": str(deaf)}).id
        eventually(deaf.exists)
        cut(running)
        end = client.get(job).wait(20)
        assert (end["status"], end["error"]) == ("failed", FENCED)
        assert first_attempt(client, job)["signal"] == 9


def test_a_fork_server_whose_daemon_is_killed_fences_and_the_next_daemon_tells_it(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with shared(tmp_path) as running:
        with running.client() as client:
            job = wait_for(client, go)
            pid = begun(client, job)
        running.stop(signal.SIGKILL)
        eventually(lambda: not is_alive(pid))
        assert is_past(running)
        go.touch()
        running.start()
        with running.client() as client:
            assert client.get(job).wait(20)["status"] == "completed"
            assert first_attempt(client, job) == {
                "outcome": "lost",
                "signal": 15,
                "error_message": FENCED[6:],
            }


def test_a_fork_server_whose_daemon_is_stopped_fences(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with shared(tmp_path) as running, running.client() as client:
        job = wait_for(client, go)
        pid = begun(client, job)
        assert running.process is not None
        running.process.send_signal(signal.SIGSTOP)
        try:
            eventually(lambda: not is_alive(pid))
            assert is_past(running)
        finally:
            running.process.send_signal(signal.SIGCONT)
        go.touch()
        assert client.get(job).wait(20)["status"] == "completed"
        assert first_attempt(client, job) == {"outcome": "lost", "signal": 15, "error_message": FENCED[6:]}


def test_a_daemon_whose_fork_server_is_stopped_fences(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with shared(tmp_path) as running, running.client() as client:
        job = wait_for(client, go)
        pid = begun(client, job)
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)
        try:
            cut(running)
            eventually(lambda: not is_alive(pid))
            assert is_past(running)
        finally:
            os.kill(server, signal.SIGCONT)
        eventually(lambda: first_attempt(client, job)["outcome"])
        assert first_attempt(client, job)["error_message"] == FENCED[6:]


def test_a_daemon_that_starts_behind_its_fence_kills_first(tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    with shared(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job("once.Deaf", "resist", {"path": str(deaf)}).id
            pid = begun(client, job)
        eventually(deaf.exists)
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)  # both are gone, for more than half of lost_after: nobody fences
        running.stop(signal.SIGKILL)
        os.kill(server, signal.SIGKILL)
        eventually(lambda: is_past(running))
        assert is_alive(pid)
        running.start()
        assert not is_alive(pid)
        with running.client() as client:
            end = client.get(job).wait(20)
            assert (end["status"], end["error"]) == ("failed", FENCED)


def test_a_daemon_that_is_replaced_in_time_ends_nobody(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with shared(tmp_path, lost_after=15.0) as running:  # half of it is what a start may take
        with running.client() as client:
            job = wait_for(client, go)
            pid = begun(client, job)
        running.stop(signal.SIGKILL)
        before = fence_of(running)
        running.start()
        eventually(lambda: machine_time() > before + 0.5)
        assert is_alive(pid)
        go.touch()
        with running.client() as client:
            assert [attempt["outcome"] for attempt in client.get(job).wait(20)["attempts"]] == ["completed"]


def test_on_a_file_there_is_no_fence_and_no_timer_for_one(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.run_background_job(PROBE, "echo").wait(20)
        assert not (tmp_path / "run" / "fence").exists()
        assert running.process is not None
        for pid in (running.process.pid, running.fork_server()):
            assert str(time.CLOCK_BOOTTIME) not in clocks_of(pid)


def clocks_of(pid: int) -> set[str]:
    """The clocks of the timers that a process has open."""
    found = []
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # it is closed by now, as what was of the job may be
            found.append(path.read_text())
    return {text.partition("clockid:")[2].split()[0] for text in found if "clockid:" in text}


# The daemon's side alone


class Told:
    """What a fence had ended, and said."""

    def __init__(self) -> None:
        self.ended = 0
        self.said: list[str] = []
        self.has_ended = asyncio.Event()

    def end(self) -> None:
        self.ended += 1
        self.has_ended.set()

    def say(self, type: EntryType, text: str) -> None:
        assert type is EntryType.FAILURE
        self.said.append(text)


@contextmanager
def minded(path: Path, lost_after: float | None) -> Iterator[tuple[Fence, Told]]:
    fence, told = Fence(path, lost_after), Told()
    fence.start(told.end)
    fence.serve(told.end, told.say)
    try:
        yield fence, told
    finally:
        fence.close()


def own_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def read(path: Path) -> float | None:
    return host_fence.try_read(str(path))


def test_a_fence_counts_from_when_the_beat_was_sent(tmp_path: Path) -> None:
    async def check() -> None:
        with minded(tmp_path / "fence", 600.0) as (fence, told):
            fence.move(own_time() - 100.0)
            assert read(tmp_path / "fence") == pytest.approx(machine_time() + 200.0, abs=5.0)
            assert told.ended == 0
            fence.move(own_time() - 301.0)
            assert told.ended == 1

    asyncio.run(check())


def test_a_fence_that_comes_earlier_than_before_is_minded_then(tmp_path: Path) -> None:
    async def check() -> None:
        (tmp_path / "fence").write_bytes(host_fence.text_of(machine_time() + 1000.0))
        with minded(tmp_path / "fence", 0.4) as (fence, told):
            fence.move(own_time())
            await asyncio.wait_for(told.has_ended.wait(), 20)

    asyncio.run(check())


def test_a_fence_of_an_earlier_daemon_is_past_at_once_or_minded(tmp_path: Path) -> None:
    async def check() -> None:
        (tmp_path / "fence").write_bytes(host_fence.text_of(machine_time() - 1.0))
        fence, told = Fence(tmp_path / "fence", 600.0), Told()
        fence.start(told.end)
        assert told.ended == 1
        fence.close()

    asyncio.run(check())


def test_who_counts_nobody_as_lost_lifts_the_fence_that_was_and_makes_none(tmp_path: Path) -> None:
    async def check() -> None:
        with minded(tmp_path / "fence", None) as (fence, _):
            fence.move(own_time())
            assert not (tmp_path / "fence").exists()
            (tmp_path / "fence").write_bytes(host_fence.text_of(machine_time() + 1000.0))
            fence.move(own_time())
            assert read(tmp_path / "fence") == float("inf")

    asyncio.run(check())


def test_a_fence_that_cannot_be_written_is_told_once_and_held_here_all_the_same(tmp_path: Path) -> None:
    async def check() -> None:
        with minded(tmp_path / "gone" / "fence", 600.0) as (fence, told):
            fence.move(own_time())
            fence.move(own_time() + 1.0)
            assert [text.partition(":")[0] for text in told.said] == [
                f"{tmp_path}/gone/fence cannot be written"
            ]
            assert told.ended == 0

    asyncio.run(check())


def test_a_fence_that_could_not_be_written_before_anybody_was_told_is_told(tmp_path: Path) -> None:
    async def check() -> None:
        fence, told = Fence(tmp_path / "gone" / "fence", 600.0), Told()
        fence.start(told.end)
        fence.move(own_time())
        fence.serve(told.end, told.say)
        fence.move(own_time())
        assert len(told.said) == 1
        fence.close()

    asyncio.run(check())


def test_a_fence_that_is_over_says_so_and_is_no_more_once_it_is_moved(tmp_path: Path) -> None:
    async def check() -> None:
        with minded(tmp_path / "fence", 600.0) as (fence, told):
            changes: list[bool] = []
            fence.on_change = lambda: changes.append(fence.is_over)
            fence.move(own_time() - 400.0)
            fence.move(own_time())
            fence.move(own_time())
            assert (changes, told.ended) == ([True, False], 1)

    asyncio.run(check())


def test_without_other_hosts_a_fence_does_nothing() -> None:
    async def check() -> None:
        fence, told = Fence(None, None), Told()
        fence.start(told.end)
        fence.serve(told.end, told.say)
        fence.move(own_time() - 1e6)
        fence.close()
        assert told.ended == 0

    asyncio.run(check())
