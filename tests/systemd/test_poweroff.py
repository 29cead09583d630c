"""What SIGTERM means where the machine goes down: attempts are ended, and come back; systemctl is one of the test's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from bgjobd.commands import serve
from bgjobd.host import poweroff
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults.injecting import hanging_calls, needs_root, pid_of
from tests.support import eventually

WAITING = """
import os, signal, time
from pathlib import Path


class Waiting:
    def wait(self, ledger, deaf=False):
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(ledger, "a") as book:
            book.write(f"{os.getpid()}\\n")
        while not Path(ledger + ".go").exists():
            time.sleep(0.01)
        return "waited"


class Once(Waiting):
    pass
"""
SETTINGS = """
"waiting.Waiting" = { stop_grace = 60 }
"waiting.Once" = { max_retries = 0 }
"""


# What the daemon changes of itself so that nobody has to wait for it.
LESS_GRACE = (
    "from bgjobd.commands import serve; from bgjobd.daemon import shutdown; "
    "serve._GRACE_AT_POWEROFF, shutdown._LAST_MOMENT = 1.0, 20.0"  # a busy machine takes its time to store an end
)
LESS_PATIENCE = "from bgjobd.host import poweroff; poweroff._PATIENCE = 0.5"


class Machine:
    """A systemctl that says how the system is, and keeps what it was asked."""

    def __init__(self, directory: Path) -> None:
        self._programs = directory / "bin"
        self._programs.mkdir()
        self.asked = directory / "asked"
        self.environ = {
            "PATH": f"{self._programs}:{os.environ['PATH']}",
            "NOTIFY_SOCKET": str(directory / "nobody"),
        }

    def is_now(self, state: str) -> None:
        self._answer_by(f"echo {state}; [ {state} = running ]")

    def hangs(self) -> None:
        self._answer_by("exec sleep 600")

    def _answer_by(self, script: str) -> None:
        program = self._programs / "systemctl"
        program.write_text(f'#!/bin/sh\necho "$* $NOTIFY_SOCKET" >> {self.asked}\n{script}\n')
        program.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def waits(running: RunningDaemon, name: str = "Waiting", **parameters: object) -> tuple[int, int]:
    """A job that waits until it may go on, and the pid of its attempt."""
    ledger = running.directory / name
    with running.client() as client:
        job = client.run_background_job(f"waiting.{name}", "wait", {"ledger": str(ledger), **parameters})
        return job.id, int(eventually(lambda: ledger.exists() and ledger.read_text()))


def attempts(running: RunningDaemon) -> list[tuple[object, ...]]:
    return running.query("SELECT outcome, signal FROM job_attempts ORDER BY job_id, number")


def statuses(running: RunningDaemon) -> list[str]:
    return [status for (status,) in running.query("SELECT status FROM background_jobs ORDER BY id")]


def test_a_poweroff_ends_attempts_with_a_verdict_and_the_boot_brings_them_back(
    tmp_path: Path, machine: Machine
) -> None:
    machine.is_now("stopping")
    with daemon(tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}) as running:
        again, first = waits(running)
        once, second = waits(running, "Once")
        assert running.stop() == 0
        assert not is_alive(first)
        assert not is_alive(second)
        assert machine.asked.read_text() == "is-system-running \n"
        assert _ends_said(running) == 1
        assert attempts(running) == [("signalled", signal.SIGTERM), ("signalled", signal.SIGTERM)]
        assert statuses(running) == ["pending", "failed"]
        (tmp_path / "Waiting.go").touch()
        running.start()
        with running.client() as client:
            assert client.get(again).result(20) == "waited"
            assert client.get(once).snapshot["status"] == "failed"
        assert running.stop() == 0
        assert _ends_said(running) == 1  # nothing ran


def _ends_said(running: RunningDaemon) -> int:
    return sum("what runs is ended: the machine goes down" in line for line in running.lines())


def test_systemd_has_more_patience_than_what_a_poweroff_may_take() -> None:
    assert poweroff._PATIENCE + serve._GRACE_AT_POWEROFF < 30


def test_an_attempt_that_ignores_the_poweroff_is_killed_before_systemd_loses_patience(
    tmp_path: Path, machine: Machine
) -> None:
    machine.is_now("stopping")
    with daemon(
        tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}, changes=LESS_GRACE
    ) as running:
        _, pid = waits(running, deaf=True)
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(28) == 0
        assert not is_alive(pid)
        assert attempts(running) == [("signalled", signal.SIGKILL)]


HOOKED = """
import os, signal, time
from pathlib import Path


class Waiting:
    def wait(self, ledger, deaf=False):
        Path(ledger + ".deaf").touch() if deaf else None
        self.ledger = ledger
        raise ValueError(ledger)

    def failed(self, error):
        ledger = error.message
        if Path(ledger + ".deaf").exists():
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(ledger, "a") as book:
            book.write(f"{os.getpid()}\\n")
        time.sleep(600)
"""


@pytest.mark.parametrize(("is_deaf", "how"), [(False, signal.SIGTERM), (True, signal.SIGKILL)])
def test_a_poweroff_ends_hooks_as_well(tmp_path: Path, machine: Machine, is_deaf: bool, how: int) -> None:
    machine.is_now("stopping")
    approved = '"waiting.Waiting" = { max_retries = 0 }'
    with daemon(
        tmp_path, approved, environ=machine.environ, modules={"waiting": HOOKED}, changes=LESS_GRACE
    ) as running:
        job, pid = waits(running, deaf=is_deaf)
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(28) == 0
        assert not is_alive(pid)
        query = f"SELECT message FROM job_logs WHERE job_id = {job} AND message LIKE 'the failed hook%'"
        [[told]] = running.query(query)
        assert told.endswith(f"ended by signal {how:d}")


@needs_root
@pytest.mark.needs("strace")
def test_a_poweroff_ends_attempts_though_the_disk_hangs(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("stopping")
    with daemon(tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}) as running:
        _, first = waits(running)
        with hanging_calls(pid_of(running), "fdatasync,fsync"):
            assert running.process is not None
            running.process.send_signal(signal.SIGTERM)
            eventually(lambda: not is_alive(first))
            assert running.process.poll() is None  # it waits for what it has to store, and systemd for it
        assert running.process.wait(28) == 0
        assert attempts(running) == [("signalled", signal.SIGTERM)]


def test_at_a_poweroff_a_daemon_that_would_drain_does_not(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("stopping")
    drains = {"BGJOBD_DAEMON__AT_STOP": "drain"}
    with daemon(
        tmp_path, SETTINGS, environ=machine.environ | drains, modules={"waiting": WAITING}
    ) as running:
        _, pid = waits(running)
        assert running.stop() == 0
        assert not is_alive(pid)


def test_a_poweroff_ends_a_drain_that_waits(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("running")
    with daemon(tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}) as running:
        _, pid = waits(running)
        assert running.process is not None
        running.process.send_signal(signal.SIGQUIT)
        eventually(lambda: any("draining" in line for line in running.lines()))
        assert is_alive(pid)
        machine.is_now("stopping")
        assert running.stop() == 0
        assert not is_alive(pid)


def test_stops_while_the_machine_goes_on_leave_attempts_alone(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("running")
    with daemon(tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}) as running:
        job, pid = waits(running)
        for times, state in enumerate(("running", "degraded", "maintenance", "offline"), 1):
            machine.is_now(state)
            assert running.stop() == 0
            assert machine.asked.read_text().count("\n") == times
            assert is_alive(pid), state
            running.start()
        (tmp_path / "Waiting.go").touch()
        with running.client() as client:
            assert client.get(job).result(20) == "waited"
    assert attempts(running) == [("completed", None)]


def test_a_systemctl_that_does_not_answer_holds_up_no_stop(tmp_path: Path, machine: Machine) -> None:
    machine.hangs()
    with daemon(
        tmp_path, SETTINGS, environ=machine.environ, modules={"waiting": WAITING}, changes=LESS_PATIENCE
    ) as running:
        _, pid = waits(running)
        assert running.stop() == 0
        assert is_alive(pid)
        (tmp_path / "Waiting.go").touch()
        eventually(lambda: not is_alive(pid))


def test_under_a_users_systemd_that_one_is_asked(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("running")
    environ = machine.environ | {"MANAGERPID": str(os.getpid())}
    with daemon(tmp_path, SETTINGS, environ=environ, modules={"waiting": WAITING}) as running:
        assert running.stop() == 0
    assert machine.asked.read_text() == "--user is-system-running \n"


def test_nobody_is_asked_where_systemd_does_not_run_the_daemon(tmp_path: Path, machine: Machine) -> None:
    machine.is_now("stopping")
    environ = {"PATH": machine.environ["PATH"]}
    with daemon(tmp_path, SETTINGS, environ=environ, modules={"waiting": WAITING}) as running:
        _, pid = waits(running)
        assert running.stop() == 0
        assert is_alive(pid)
        (tmp_path / "Waiting.go").touch()
        eventually(lambda: not is_alive(pid))
    assert not machine.asked.exists()
