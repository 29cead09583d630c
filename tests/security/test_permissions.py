"""No moment at which a file is open to others: what a daemon, and each command, creates, by its system calls."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bgjob.errors import DaemonUnavailableError
from tests.daemon.running import RunningDaemon
from tests.security.tracing import Right, rights, strace
from tests.support import eventually

pytestmark = pytest.mark.needs("strace")


class Traced(RunningDaemon):
    """A daemon with all that it can have, under strace and this umask."""

    def __init__(self, directory: Path, umask: int) -> None:
        super().__init__(directory, web=f'bind = "unix:{directory}/page.sock"', has_pydantic=True)
        self.umask = umask
        fifo = f'fifo = "{directory}/jobs.fifo"'
        user = '"probes.Probe" = {}\n"probes.NeedsMore" = { user = "nobody" }' if os.geteuid() == 0 else ""
        text = self.config.read_text().replace("slots = 4", f"slots = 4\n{fifo}")
        if user:
            text = text.replace('"probes.Probe" = {}\n"probes.NeedsMore" = {}', user)
        self.config.write_text(text)

    def spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)]
        return subprocess.Popen(
            strace(self.directory / "serve", self.umask, command),
            stderr=(self.directory / "console").open("ab"),
        )

    def answers(self) -> bool:
        try:
            with self.client() as client:  # its pid is not strace's
                return bool(client.stats()["pid"])
        except DaemonUnavailableError:
            return False

    def run(self, *commands: list[str]) -> list[Right]:
        """These commands, each under the same umask; what they created."""
        each = f"for one in {commands!r}: os.umask({self.umask}); main.main(one)"
        program = f"import os; from bgjobd import main\n{each}"
        record = self.directory / "commands"
        command = strace(record, self.umask, [sys.executable, "-c", program])
        subprocess.run(command, cwd=self.directory, capture_output=True, check=True)
        return _own(record, self.umask)


# Whatever is too wide with some umask is too wide with none.
@pytest.mark.parametrize("umask", [0o000, pytest.param(0o077, marks=pytest.mark.long)])
def test_a_database_read_between_its_creation_and_its_chmod(tmp_path: Path, umask: int) -> None:
    """CVE-2020-10744 and CVE-2020-1733 (ansible), CVE-2022-23651 (b2sdk), CVE-2020-24584 (django), CVE-2012-5577
    (keyring): files, directories, pipes and sockets are never created with more rights than their owner's.
    """
    running = Traced(tmp_path, umask)
    running.start()
    assert running.process is not None
    with running.client() as client:
        pid = client.stats()["pid"]
        client.run_background_job("probes.Probe", "say", {"text": "x"}).result(20)
        slow = client.run_background_job("probes.Probe", "sleep", {"seconds": 30})
        eventually(lambda: client.get(slow.id).snapshot["attempts"][0]["pid"])
        slow.cancel()
        slow.wait(20)
    eventually(lambda: (tmp_path / "page.sock").is_socket())
    own = ["--config", str(running.config)]
    prune = ["prune", "--completed", "0", "--archive", "archive.gz"]
    made = running.run(["backup", *own], [*prune, *own], ["check", *own])
    os.kill(pid, signal.SIGTERM)
    running.process.wait(20)
    running.process = None
    made += _own(tmp_path / "serve", umask)
    assert _names(made) >= _EXPECTED
    assert _too_wide(made) == []
    assert {(Path(one.path).name, one.mode) for one in made if not one.is_made} == _granted()


_EXPECTED = {
    *(
        "spool",
        "work",
        "output",
        "aside",
        "bgjobd.lock",
        "bgjobd.db",
        "bgjobd.db-wal",
        "bgjobd.db-shm",
        "1.1.out",
    ),
    *("1.1", "2.1.stop.new", "background_jobs_errors.log", "s.sock", "page.sock", "jobs.fifo"),
    *("archive.gz", "backups"),
}
"""What is certainly seen to be made."""


def _own(record: Path, umask: int) -> list[Right]:
    """What was done to files of ours; a module's compiled copy is as open as the module."""
    return [right for right in rights(record, umask) if "__pycache__" not in right.path]


def _names(made: list[Right]) -> set[str]:
    return {Path(right.path).name for right in made if right.is_made}


def _too_wide(made: list[Right]) -> list[Right]:
    return [right for right in made if right.is_made and right.mode & 0o077]


def _granted() -> set[tuple[str, int]]:
    """What others get after all, by `[daemon] socket` and `user`: nothing but these changes a mode."""
    passed = {("run", 0o711), ("spool", 0o711), ("work", 0o711), ("2.1.stop.new", 0o644)}
    return {("s.sock", 0o660)} | (passed if os.geteuid() == 0 else set())


def test_the_demo_is_made_for_its_owners_eyes(tmp_path: Path) -> None:
    """The same, for what comes before the daemon of `bgjobd demo`; that has no room for its socket here, and ends."""
    place, record = tmp_path / ("long" * 30), tmp_path / "demo"
    place.mkdir()
    command = strace(record, 0o000, [sys.executable, "-m", "bgjobd", "demo"])
    subprocess.run(command, env=os.environ | {"TMPDIR": str(place)}, capture_output=True)
    made = _own(record, 0o000)
    assert _names(made) >= {"bgjobd.toml"}
    assert _too_wide(made) == []


def test_units_are_everybodys_to_read_and_roots_to_write_from_the_first_moment(tmp_path: Path) -> None:
    """The same, for files whose rights are wide: no umask makes them wider."""
    units = Traced(tmp_path, 0o000).run(["units", "--install", "--root", f"{tmp_path}/root"])
    assert {right.mode for right in units} == {0o755, 0o644}
