"""A job that writes another's pid over its own start: the other is never signalled, the job itself is."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.client import Job
from bgjobd import spool as spools
from bgjobd.forkserver import journal as journals
from bgjobd.forkserver.identity import pidfd_inode
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
"""


@contextmanager
def forged(directory: Path, victim: int) -> Iterator[tuple[RunningDaemon, Client, Job, int]]:
    """A daemon, a client, and a job that says that it is the victim, with its true pid."""
    shared = directory / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with daemon(directory, POLICY, modules={"forger": SOURCE}) as running, running.client() as client:
        place = shared / "pid"
        job = client.run_background_job("forger.Forger", "pose_as", {"pid": victim, "place": str(place)})
        pid = int(eventually(lambda: place.exists() and place.read_text()))
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"] == victim)
        try:
            yield running, client, job, pid
        finally:
            with suppress(ProcessLookupError):  # which no later daemon knows how to find
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process of the daemon's user, which leads a session as those that matter do."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for a user of its own")
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def test_whoever_poses_as_another_is_stopped_and_the_other_is_not(
    victim: subprocess.Popen[bytes],
) -> None:
    with directory_for_all() as directory, forged(directory, victim.pid) as (_, _, job, pid):
        job.cancel()
        assert job.wait(timeout=20)["status"] == "cancelled"
        assert not is_alive(pid)
        assert victim.poll() is None


def test_nobody_is_told_what_the_other_uses(victim: subprocess.Popen[bytes]) -> None:
    with directory_for_all() as directory, forged(directory, victim.pid) as (_, client, _, _):
        (told,) = client.running()
        assert (told["cpu"], told["memory"]) == (None, None)


def test_no_later_daemon_signals_the_other_either(victim: subprocess.Popen[bytes]) -> None:
    with directory_for_all() as directory, forged(directory, victim.pid) as (running, client, job, _):
        running.stop()
        running.start()
        job.cancel()
        client.get(job.id).wait(timeout=20)
        time.sleep(0.5)
        assert victim.poll() is None


def test_a_start_that_is_told_as_later_than_now_gives_no_more_time() -> None:
    record = {"pid": os.getpid(), "monotonic": time.monotonic() + 3600}
    assert spools.began_at(record) <= time.monotonic()


def test_a_process_that_is_hidden_is_not_taken_for_one_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    inode = pidfd_inode(os.getpid())
    line = journals.started("ab", os.getpid(), 0, inode, "cd", 1.0)

    def hidden(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, "no such process")

    monkeypatch.setattr("builtins.open", hidden)
    pidfd = spools.try_open_process(journals.parse(line), owner=os.getuid(), parents=(os.getppid(),))
    assert pidfd is not None
    os.close(pidfd)
