"""Clocks that jump, time namespaces, another boot, pids that the kernel gives again: nothing fires twice or stalls."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjobd.forkserver.process_identity import start_time
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, is_alive
from tests.faults.injecting import needs_root, pid_of
from tests.support import eventually, put

PROBE = "probes.Probe"
FAILING = "failing.Job"

MODULE = """
import time


class Job:
    def fail(self, ledger):
        self.note(ledger)
        raise ValueError("no recipient")

    def linger(self, ledger):
        self.note(ledger)
        try:
            time.sleep(60)
        finally:
            self.note(ledger)

    def note(self, ledger):
        with open(ledger, "a") as book:
            book.write(f"{time.monotonic()}\\n")
"""

SHIFTED = """
import time

def shifted(path={path!r}, told=time.time):
    with open(path) as file:
        return told() + float(file.read())

time.time = shifted
"""
"""A daemon whose wall clock is ahead by what a file says."""


class Elsewhere(RunningDaemon):
    """A daemon that is started with other words before its own; unless a test says so, with none."""

    under: Sequence[str] = ()

    def spawn(self) -> subprocess.Popen[bytes] | warm.Process:
        if not self.under:
            return super().spawn()
        command = [*self.under, sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)]
        return subprocess.Popen(command, stderr=(self.directory / "console").open("ab"))


@contextmanager
def ended_at_last(running: RunningDaemon) -> Iterator[None]:
    """Whatever happens, the daemon and its fork servers are ended by their pids."""
    try:
        yield
    finally:
        if running.process is not None:
            servers = running.children()
            running.stop(signal.SIGKILL)
            for server in servers:
                eventually(lambda server=server: not is_alive(server))


def _noted(ledger: Path) -> list[float]:
    return [float(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []


# The wall clock is set


class Shifted(Elsewhere):
    def __init__(self, directory: Path, settings: str = "") -> None:
        super().__init__(directory, f'"{FAILING}" = {{}}\n{settings}', modules={"failing": MODULE})
        self.changes = SHIFTED.format(path=str(directory / "shift"))
        self.shift = 0.0
        self.set_by(0.0)

    def set_by(self, seconds: float) -> None:
        self.shift += seconds
        put(self.directory / "shift", str(self.shift))


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shifted]:
    running = Shifted(tmp_path_factory.mktemp("clocks"))
    with ended_at_last(running):
        running.start()
        yield running


HOUR, DAY = 3600.0, 86400.0
BEYOND_2038 = 14 * 365 * DAY


@pytest.mark.parametrize("jump", [HOUR, -HOUR, DAY, -DAY, BEYOND_2038, -BEYOND_2038])
def test_a_set_clock_neither_hurries_nor_holds_up_retries_and_timeouts(
    shifted: Shifted, tmp_path: Path, jump: float
) -> None:
    failing, lingering = tmp_path / "failing", tmp_path / "lingering"
    with shifted.client() as client:
        retried = client.run_background_job(FAILING, "fail", {"ledger": str(failing)}, retry_delay=0.5)
        asked_at = time.monotonic()
        limited = client.run_background_job(
            FAILING, "linger", {"ledger": str(lingering)}, timeout=1.0, max_retries=0
        )
        asked_for_later = client.run_background_job(PROBE, "echo", {"value": 1}, delay=HOUR / 2)
        eventually(lambda: client.get(retried.id).snapshot["retry_count"] == 1)
        eventually(lambda: client.get(limited.id).snapshot["attempts"][0]["pid"])
        shifted.set_by(jump)
        # The kernel wakes the daemon where the clock is really set.
        client.run_background_job(PROBE, "echo", delay=1e9)
        limited.wait(20)
        assert time.monotonic() - asked_at >= 1.0  # a timeout counts from the fork, which is later
        ends = [retried.wait(20), limited.snapshot]
        assert [attempt["outcome"] for end in ends for attempt in end["attempts"]] == [
            "failed",
            "failed",
            "timed_out",
        ]
        first, second = _noted(failing)
        assert second - first >= 0.5
        if jump > HOUR / 2:
            assert asked_for_later.result(20) == 1
        else:
            assert client.get(asked_for_later.id).snapshot["status"] == "pending"
            client.cancel(asked_for_later.id)
    assert shifted.query("PRAGMA integrity_check") == [("ok",)]


# Another time namespace


IN_ANOTHER_TIME = ("unshare", "-T", "--monotonic", "100000", "--boottime", "200000")


@needs_root
def test_a_daemon_in_another_time_namespace_measures_the_timeouts_that_run_rightly(tmp_path: Path) -> None:
    go, long, short = tmp_path / "go", tmp_path / "long", tmp_path / "short"
    running = Elsewhere(tmp_path, f'"{FAILING}" = {{}}', modules={"failing": MODULE})
    with ended_at_last(running):
        running.start()
        with running.client() as client:
            patient = client.run_background_job(
                PROBE, "wait_for", {"path": str(go), "ledger": str(long)}, timeout=1000
            )
            eventually(lambda: client.get(patient.id).snapshot["attempts"][0]["pid"])
        running.stop()
        running.under = IN_ANOTHER_TIME
        running.start()
        with running.client() as client:
            hasty = client.run_background_job(
                FAILING, "linger", {"ledger": str(short)}, timeout=1.5, max_retries=0
            )
            eventually(lambda: client.get(hasty.id).snapshot["attempts"][0]["pid"])
        running.stop()
        running.under = ()
        running.start()
        with running.client() as client:
            end = client.get(hasty.id).wait(20)
            assert [attempt["outcome"] for attempt in end["attempts"]] == ["timed_out"]
            assert client.get(patient.id).snapshot["status"] == "running"
            go.touch()
            end = client.get(patient.id).wait(20)
        assert [attempt["outcome"] for attempt in end["attempts"]] == ["completed"]


@needs_root
def test_the_start_time_of_a_process_is_the_same_to_readers_in_another_time_namespace() -> None:
    program = f"from bgjobd.forkserver.process_identity import start_time; print(start_time({os.getpid()}))"
    command = [*IN_ANOTHER_TIME, sys.executable, "-c", program]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert abs(int(told) - start_time(os.getpid())) <= 1


# Another boot, and another process of the same pid


def _crash(running: RunningDaemon, attempt: int) -> None:
    """End the daemon, its fork server and the attempt, all at once."""
    server, daemon = running.fork_server(), pid_of(running)
    for pid in (daemon, server, attempt):
        os.kill(pid, signal.SIGSTOP)
    for pid in (daemon, server, attempt):
        os.kill(pid, signal.SIGKILL)
    running.stop(signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{attempt}").exists() and not is_alive(server))


@needs_root
def test_the_attempts_of_another_boot_are_lost_and_retried(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    running = Elsewhere(tmp_path)
    with ended_at_last(running):
        running.start()
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            pid = eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        _crash(running, pid)
        go.touch()
        boot = tmp_path / "boot_id"
        boot.write_text("7f3a2c55-0000-4000-8000-000000000000\n")
        rebooted = f'mount --bind "{boot}" /proc/sys/kernel/random/boot_id && exec "$@"'
        running.under = ("unshare", "-m", "sh", "-c", rebooted, "sh")
        running.start()
        with running.client() as client:
            end = client.get(job.id).wait(20)
        assert [attempt["outcome"] for attempt in end["attempts"]] == ["lost", "completed"]
        assert "restarted" in end["attempts"][0]["error_message"]


@needs_root
def test_a_process_that_got_the_pid_of_a_dead_attempt_is_neither_adopted_nor_signalled(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger"
    running = Elsewhere(tmp_path, f'"{FAILING}" = {{}}', modules={"failing": MODULE})
    with ended_at_last(running):
        running.start()
        with running.client() as client:
            job = client.run_background_job(
                FAILING, "linger", {"ledger": str(ledger)}, timeout=10.0, max_retries=0
            )
            pid = eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        _crash(running, pid)
        with _process_of_pid(pid) as impostor:
            running.start()
            with running.client() as client:
                end = client.get(job.id).wait(20)
            assert [attempt["outcome"] for attempt in end["attempts"]] == ["lost"]
            assert os.waitpid(impostor, os.WNOHANG) == (0, 0)


@contextmanager
def _process_of_pid(pid: int) -> Iterator[int]:
    """A process with this pid, the leader of its session as an attempt is.

    By clone3(2): who winds the machine's counter back has pids of others given again, too, and their tests take a
    stranger for a process that was ended.
    """
    wanted = ctypes.c_int32(pid)
    what = _Clone(exit_signal=signal.SIGCHLD, set_tid=ctypes.addressof(wanted), set_tid_size=1)

    def is_spawned() -> bool:  # not yet where somebody was faster
        # The child of a library that keeps the interpreter's lock has it, too.
        made = ctypes.PyDLL(None).syscall(_CLONE3, ctypes.byref(what), ctypes.sizeof(what))
        if made == 0:
            try:
                os.setsid()
                os.execvp("sleep", ["sleep", "60"])
            finally:
                os._exit(1)
        return bool(made == pid)

    eventually(is_spawned)
    try:
        eventually(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n")
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


_CLONE3 = 435
"""Of all architectures."""


class _Clone(ctypes.Structure):
    """`struct clone_args` of linux/sched.h."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            *("flags", "pidfd", "child_tid", "parent_tid", "exit_signal"),
            *("stack", "stack_size", "tls", "set_tid", "set_tid_size", "cgroup"),
        )
    ]
