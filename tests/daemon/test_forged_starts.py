"""A job that writes another's pid over its own start: the other is never signalled, the job itself is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.client import Job
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_lines
from bgjobd.forkserver.process_identity import pidfd_inode
from bgjobd.supervisor import processes
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import directory_for_all, eventually

SOURCE = '''
import fcntl, json, os, time
from pathlib import Path


class Forger:
    def pose_as(self, pid, place):
        """Claims to be another process, before anybody has read who it is."""
        journal = next(int(name) for name in os.listdir("/proc/self/fd") if is_journal(name))
        fcntl.fcntl(journal, fcntl.F_SETFL, 0)
        started = json.loads(os.pread(journal, 4096, 0).splitlines()[0])
        started |= {"pid": pid, "pidfd_inode": os.fstat(os.pidfd_open(pid)).st_ino}
        os.ftruncate(journal, 0)
        os.pwrite(journal, json.dumps(started, separators=(",", ":")).encode() + b"\\n", 0)
        Path(place).write_text(str(os.getpid()))
        time.sleep(600)


class Neighbour(Forger):
    """Of the same user as the daemon, and as the others of its class."""

    def sit(self, place):
        Path(place).write_text(str(os.getpid()))
        time.sleep(600)


def is_journal(name):
    try:
        return "/spool/" in os.readlink(f"/proc/self/fd/{name}")
    except FileNotFoundError:
        return False
'''

POLICY = """
[approved."forger.Forger"]
user = "nobody"
stop_grace = 0.1
max_retries = 0

[approved."forger.Neighbour"]
stop_grace = 0.1
max_retries = 0
"""


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the daemon's user, which leads a session as those that matter do."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a user of its own")
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


@pytest.fixture(scope="module")
def running() -> Iterator[RunningDaemon]:
    with (
        directory_for_all() as directory,
        daemon(directory, POLICY, modules={"forger": SOURCE}) as running,
    ):
        yield running


@dataclass(frozen=True, slots=True)
class Forged:
    """A job that says that it is the victim, with its true pid, and a client of its daemon."""

    client: Client
    job: Job
    pid: int


def begun(client: Client, class_name: str, method: str, place: Path, **parameters: object) -> tuple[Job, int]:
    """A job that has begun and written its pid to that place."""
    job = client.run_background_job(class_name, method, {"place": str(place), **parameters})
    return job, int(eventually(lambda: place.exists() and place.read_text()))


def posing(client: Client, class_name: str, directory: Path, pid: int) -> tuple[Job, int]:
    """A job that was quick enough to be taken for that process, and its true pid."""
    for number in range(100):
        job, true_pid = begun(client, class_name, "pose_as", directory / f"pid {number}", pid=pid)
        if eventually(lambda job=job: client.get(job.id).snapshot["attempts"][0]["pid"]) == pid:
            return job, true_pid
        job.cancel()
        job.wait(timeout=20)
    raise AssertionError("the daemon was quicker each time")


@pytest.fixture
def forged(victim: subprocess.Popen[bytes], running: RunningDaemon) -> Iterator[Forged]:
    place = running.directory / f"of {victim.pid}"
    place.mkdir()
    place.chmod(0o777)
    with running.client() as client:
        job, pid = posing(client, "forger.Forger", place, victim.pid)
        try:
            yield Forged(client, job, pid)
        finally:
            with suppress(ProcessLookupError):  # which no later daemon knows how to find
                os.kill(pid, signal.SIGKILL)


def test_whoever_poses_as_another_is_stopped_and_the_other_is_not(
    victim: subprocess.Popen[bytes], forged: Forged
) -> None:
    forged.job.cancel()
    assert forged.job.wait(timeout=20)["status"] == "cancelled"
    assert not is_alive(forged.pid)
    assert victim.poll() is None


@pytest.mark.parametrize("victim", ["an attempt", "the fork server"])
def test_whoever_poses_as_a_neighbour_of_the_same_user_is_stopped_and_the_other_is_not(
    running: RunningDaemon, tmp_path: Path, victim: str
) -> None:
    with running.client() as client:
        if victim == "an attempt":
            neighbour, pid = begun(client, "forger.Neighbour", "sit", tmp_path / "victim")
            eventually(lambda: client.get(neighbour.id).snapshot["attempts"][0]["pid"] == pid)
        else:
            neighbour, pid = None, running.fork_server()
        forger, true_pid = posing(client, "forger.Neighbour", tmp_path, pid)
        forger.cancel()
        assert forger.wait(timeout=20)["status"] == "cancelled"
        assert not is_alive(true_pid)
        assert is_alive(pid)
        if neighbour is not None:
            assert neighbour.refresh()["status"] == "running"
            neighbour.cancel()
            neighbour.wait(timeout=20)


def test_nobody_is_told_what_the_other_uses(forged: Forged) -> None:
    (told,) = [one for one in forged.client.running() if one["job_id"] == forged.job.id]
    assert (told["cpu"], told["memory"]) == (None, None)


def test_no_later_daemon_signals_the_other_either(
    victim: subprocess.Popen[bytes], running: RunningDaemon, forged: Forged
) -> None:
    running.stop()
    running.start()
    forged.job.cancel()
    forged.client.get(forged.job.id).wait(timeout=20)
    time.sleep(0.5)
    assert victim.poll() is None


def test_a_start_that_is_told_as_later_than_now_gives_no_more_time() -> None:
    record = {"pid": os.getpid(), "monotonic": time.monotonic() + 3600}
    assert processes.began_at(record) <= time.monotonic()


def test_a_process_that_is_hidden_is_not_taken_for_one_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    inode = pidfd_inode(os.getpid())
    line = journal_lines.started("ab", os.getpid(), 0, inode, "cd", 1.0)

    def hidden(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such process")

    monkeypatch.setattr("builtins.open", hidden)
    pidfd = processes.try_open_process(journals.parse(line), owner=os.getuid(), parents=(os.getppid(),))
    assert pidfd is not None
    os.close(pidfd)
