"""Ending attempts from outside: cancel and timeout, by TERM, grace and KILL to the whole group, with a verdict."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import JobCancelledError, JobFailedError
from bgjob.client import Client
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults.injecting import leased
from tests.support import eventually

STOPPED = """
import os, signal, subprocess, sys, time
from pathlib import Path
import bgjob


class Stopped:
    def sleep(self, pids):
        Path(pids).write_text(str(os.getpid()))
        time.sleep(60)

    def ignore(self, pids):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.sleep(pids)

    def with_a_child(self, pids):
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        Path(pids).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)

    def look(self, pids, context: bgjob.JobContext):
        Path(pids).write_text(str(os.getpid()))
        while context.stop_reason is None:
            time.sleep(0.01)
        return context.stop_reason

    def look_and_raise(self, pids, context: bgjob.JobContext):
        raise RuntimeError(f"left for it was {self.look(pids, context)}")

    def look_and_snooze(self, pids, context: bgjob.JobContext):
        marker = Path(pids + ".second")
        if marker.exists():
            return "second"
        marker.touch()
        self.look(pids, context)
        raise bgjob.Snooze(0)

    def exit_on_stop(self, pids, context: bgjob.JobContext):
        self.look(pids, context)
        sys.exit(3)

    def deadline(self, context: bgjob.JobContext):
        return context.remaining


class Leaving(Stopped):
    pass
"""
TARGET, LEAVING = "stopped.Stopped", "stopped.Leaving"
SETTINGS = f'"{TARGET}" = {{ max_retries = 0, stop_grace = 0.3 }}\n"{LEAVING}" = {{ max_retries = 0 }}'
"""Whoever does not leave is killed soon; those that do have the time that it takes."""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("stops")
    with daemon(directory, SETTINGS, modules={"stopped": STOPPED}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def pids_in(file: Path) -> list[int]:
    """The pids that the job wrote, once it has."""
    return [int(pid) for pid in eventually(lambda: file.exists() and file.read_text()).split()]  # type: ignore[union-attr]


def test_a_running_job_that_is_cancelled_is_ended_by_term(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")})
    (pid,) = pids_in(tmp_path / "pids")
    job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(20)
    (attempt,) = job.snapshot["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("cancelled", signal.SIGTERM)
    assert job.snapshot["error"] == "cancelled: a cancel was requested"
    assert not is_alive(pid)


def test_an_attempt_that_ignores_term_is_killed_after_its_grace(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TARGET, "ignore", {"pids": str(tmp_path / "pids")})
    pids_in(tmp_path / "pids")
    job.cancel()
    (attempt,) = job.wait(20)["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("cancelled", signal.SIGKILL)


def test_a_stopped_attempt_is_killed_too(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")})
    (pid,) = pids_in(tmp_path / "pids")
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    job.cancel()
    assert job.wait(20)["attempts"][0]["signal"] == signal.SIGKILL


def test_the_whole_group_of_an_attempt_is_ended(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TARGET, "with_a_child", {"pids": str(tmp_path / "pids")})
    pids = eventually(lambda: (tmp_path / "pids").exists() and len(pids_in(tmp_path / "pids")) == 2)
    pids = pids_in(tmp_path / "pids")
    job.cancel()
    assert job.wait(20)["status"] == "cancelled"
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid))


def test_a_method_with_a_context_sees_why_it_is_to_leave_and_may_complete(
    client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(LEAVING, "look", {"pids": str(tmp_path / "pids")})
    pids_in(tmp_path / "pids")
    job.cancel()
    assert job.result(20) == "cancelled"
    assert job.snapshot["status"] == "completed"


def test_a_timeout_ends_the_attempt_and_says_so(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")}, timeout=0.2)
    with pytest.raises(JobFailedError, match=r"timed_out: the attempt ran longer than 0\.2 s"):
        job.result(20)
    (attempt,) = job.snapshot["attempts"]
    assert (attempt["outcome"], attempt["signal"]) == ("timed_out", signal.SIGTERM)


def test_what_a_job_raises_once_it_is_told_to_leave_is_told_with_the_timeout(
    client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(LEAVING, "look_and_raise", {"pids": str(tmp_path / "pids")}, timeout=2)
    job.wait(20)
    assert (
        job.snapshot["error"]
        == "timed_out: the attempt ran longer than 2 s (RuntimeError: left for it was timed_out)"
    )
    assert "left for it was" in job.snapshot["attempts"][0]["traceback"]


def test_a_job_that_exits_once_it_is_told_to_leave_has_timed_out(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(LEAVING, "exit_on_stop", {"pids": str(tmp_path / "pids")}, timeout=2)
    (attempt,) = job.wait(20)["attempts"]
    assert (attempt["outcome"], attempt["exit_code"]) == ("timed_out", 3)


def test_a_job_may_ask_for_a_snooze_when_its_time_is_up(client: Client, tmp_path: Path) -> None:
    job = client.run_background_job(LEAVING, "look_and_snooze", {"pids": str(tmp_path / "pids")}, timeout=2)
    assert job.result(20) == "second"
    assert [attempt["outcome"] for attempt in job.snapshot["attempts"]] == ["snoozed", "completed"]


def test_a_timed_out_attempt_is_retried_as_after_any_bad_end(client: Client, tmp_path: Path) -> None:
    parameters = {"pids": str(tmp_path / "pids")}
    job = client.run_background_job(TARGET, "sleep", parameters, timeout=0.2, max_retries=1, retry_delay=0.01)
    assert job.wait(20)["status"] == "failed"
    assert [attempt["outcome"] for attempt in job.snapshot["attempts"]] == ["timed_out", "timed_out"]


def test_a_context_knows_the_deadline(client: Client) -> None:
    assert 50 < client.run_background_job(TARGET, "deadline", timeout=60.0).result(20) <= 60
    assert client.run_background_job(TARGET, "deadline").result(20) is None


def test_the_stop_reason_is_removed_with_the_journal(
    client: Client, running: RunningDaemon, tmp_path: Path
) -> None:
    job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")})
    pids_in(tmp_path / "pids")
    job.cancel()
    job.wait(20)
    eventually(lambda: not [name for name in os.listdir(running.spool) if name.startswith(f"{job.id}.")])


def test_a_cancel_before_the_attempt_began_ends_it_all_the_same(
    client: Client, running: RunningDaemon, tmp_path: Path
) -> None:
    client.classes()  # else it loads the code yet
    server = running.fork_server()
    os.kill(server, signal.SIGSTOP)
    try:
        job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")})
        eventually(lambda: job.refresh()["status"] == "running")
        job.cancel()
    finally:
        os.kill(server, signal.SIGCONT)
    assert job.wait(20)["status"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_deadline_goes_on_when_the_daemon_is_replaced(tmp_path: Path, number: int) -> None:
    with daemon(tmp_path, SETTINGS, modules={"stopped": STOPPED}) as running:
        with running.client() as client:
            job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")}, timeout=1.0)
            pids_in(tmp_path / "pids")
        running.stop(number)
        running.start()
        with running.client() as client:
            assert client.wait(job.id, 20)["attempts"][0]["outcome"] == "timed_out"


def test_a_cancel_is_carried_out_though_the_daemon_died_before_its_signal(tmp_path: Path) -> None:
    settings = SETTINGS.replace("stop_grace = 0.3", "stop_grace = 2")  # in which the daemon dies
    with daemon(tmp_path, settings, modules={"stopped": STOPPED}) as running:
        with running.client() as client:
            job = client.run_background_job(TARGET, "ignore", {"pids": str(tmp_path / "pids")})
            (pid,) = pids_in(tmp_path / "pids")
            job.cancel()
        running.stop(signal.SIGKILL)
        assert is_alive(pid)
        running.start()
        with running.client() as client:
            ended = client.wait(job.id, 20)
        assert (ended["status"], ended["attempts"][0]["outcome"]) == ("cancelled", "cancelled")
        assert not is_alive(pid)


def test_a_stop_reason_that_cannot_be_read_for_a_moment_changes_no_verdict(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"stopped": STOPPED}) as running:
        with running.client() as client:
            job = client.run_background_job(TARGET, "sleep", {"pids": str(tmp_path / "pids")}).id
            (pid,) = pids_in(tmp_path / "pids")
        running.stop(signal.SIGKILL)
        # As a daemon leaves it that dies right after the deadline.
        reason = running.spool / f"{job}.1.stop"
        reason.write_text("timed_out\n")
        os.kill(pid, signal.SIGTERM)
        with leased(reason):
            running.start()
            with running.client() as client:
                client.classes()
        with running.client() as client:
            assert client.wait(job, 20)["attempts"][0]["outcome"] == "timed_out"


def test_the_whole_stop_leaves_no_descriptor_behind(
    client: Client, running: RunningDaemon, tmp_path: Path
) -> None:
    assert running.process is not None
    place = f"/proc/{running.process.pid}/fd"
    before = len(os.listdir(place))
    for number in range(5):
        file = tmp_path / f"pids{number}"
        job = client.run_background_job(TARGET, "sleep", {"pids": str(file)})
        pids_in(file)
        job.cancel()
        job.wait(20)
    eventually(lambda: len(os.listdir(place)) <= before + 1)
