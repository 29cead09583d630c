"""A daemon that is the first process of a container: its restarts, stops and deaths cost no job and no retry.

The container is bubblewrap's: a pid namespace, and a runtime_dir on a tmpfs of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjob.errors import DaemonUnavailableError
from tests.daemon.running import RunningDaemon, is_alive
from tests.faults.injecting import needs_root
from tests.support import eventually

PROBE = "probes.Probe"
LINGERING = """
import os, signal, time
from pathlib import Path


class Lingering:
    def until(self, path, ledger, deaf=False):
        if deaf:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(ledger, "a") as book:
            book.write(f"{os.getpid()}\\n")
        while not Path(path).exists():
            time.sleep(0.01)
        return "over"
"""
SETTINGS = """
"lingering.Lingering" = { max_retries = 3, stop_grace = 0.3 }
"""

pytestmark = [needs_root, pytest.mark.needs("bwrap")]


class Container(RunningDaemon):
    """`bgjobd serve` as pid 1 of a container; `process` is bubblewrap, outside of it."""

    def spawn(self) -> subprocess.Popen[bytes]:
        made = ["bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--dev-bind", "/", "/"]
        made += ["--proc", "/proc", "--tmpfs", "/run", "--tmpfs", str(self.directory / "run")]
        made += ["--setenv", "container", "bubblewrap"]
        serve = [sys.executable, "-m", "bgjobd", "serve", "--config", str(self.config)]
        return subprocess.Popen([*made, *serve], stderr=(self.directory / "console").open("ab"))

    def start(self) -> None:
        self.process = self.spawn()
        eventually(self.answers, within=60.0)  # an interpreter of its own, which takes its time

    def answers(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise RuntimeError(f"the container ended with {self.process.returncode}: {self.console()}")
        try:
            with self.client() as client:
                return bool(client.stats()["pid"])
        except DaemonUnavailableError:
            return False

    @property
    def first(self) -> int:
        """Its pid 1, as seen from here."""
        assert self.process is not None
        return below(self.process.pid)[0]

    @property
    def daemon(self) -> int:
        return eventually(lambda: below(self.first))[0]

    def end(self, number: int) -> int:
        """Signal its pid 1, as an engine does, and wait for its end; the exit code."""
        assert self.process is not None
        os.kill(self.first, number)
        code = self.process.wait(20)
        self.process = None
        return code

    def lingers(self, name: str, **options: Any) -> int:
        """A job that has begun, and ends once there is a file of this name; its id."""
        ledger = self.directory / f"{name}.ledger"
        before = lines_in(ledger)
        parameters = {"path": str(self.directory / name), "ledger": str(ledger)} | options
        with self.client() as client:
            job = client.run_background_job("lingering.Lingering", "until", parameters).id
        eventually(lambda: lines_in(ledger) > before and self.has_begun(job))
        return job

    def has_begun(self, job: int) -> bool:
        begun = f"SELECT 1 FROM job_attempts WHERE job_id = {job} AND started_at IS NOT NULL"
        return bool(self.query(begun))

    def attempts(self, job: int) -> list[tuple[Any, ...]]:
        return self.query(f"SELECT outcome, signal, spends_retry FROM job_attempts WHERE job_id = {job}")

    def finish(self, name: str, job: int) -> dict[str, Any]:
        """Let the job end; how it stands then."""
        (self.directory / name).touch()
        with self.client() as client:
            return client.get(job).wait(20)


def lines_in(ledger: Path) -> int:
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def below(pid: int) -> list[int]:
    """The children of a process, in the order of their starts."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def made(directory: Path) -> Iterator[Container]:
    """A container that runs, and is ended at last if it is not by then."""
    new = Container(directory, SETTINGS, modules={"lingering": LINGERING})
    new.config.write_text(new.config.read_text().replace('at_stop = "leave"\n', ""))
    (directory / "run").mkdir()
    new.start()
    try:
        yield new
    finally:
        if new.process is not None:
            new.end(signal.SIGKILL)


@pytest.fixture
def container(tmp_path: Path) -> Iterator[Container]:
    with made(tmp_path) as new:
        yield new


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One for all tests that leave it as it was."""
    with made(tmp_path_factory.mktemp("lasting")) as new:
        yield new


def test_a_container_that_is_killed_and_started_again_runs_its_jobs_again_and_no_retry_is_spent(
    container: Container,
) -> None:
    job = container.lingers("go")
    container.end(signal.SIGKILL)
    container.start()
    end = container.finish("go", job)
    assert (end["status"], end["result"], end["retry_count"]) == ("completed", "over", 0)
    lost, completed = end["attempts"]
    assert (lost["outcome"], lost["error_message"]) == ("lost", "the container was restarted while it ran")
    assert not lost["spends_retry"]
    assert completed["outcome"] == "completed"


def test_a_stop_of_the_container_under_load_ends_its_attempts_with_a_verdict_and_no_retry_is_spent(
    container: Container,
) -> None:
    meek, deaf = container.lingers("go"), container.lingers("go", deaf=True)
    with container.client() as client:
        others = [
            client.run_background_job(PROBE, "echo", {"value": n}, retry_count=1).id for n in range(100)
        ]
    assert container.end(signal.SIGTERM) == 0
    assert "at_stop" in "\n".join(container.lines())
    assert container.lines()[-1].endswith("stopping; nothing runs")
    assert container.attempts(meek) == [("signalled", signal.SIGTERM, 0)]
    assert container.attempts(deaf) == [("signalled", signal.SIGKILL, 0)]
    container.start()
    for job in (meek, deaf):
        end = container.finish("go", job)
        assert (end["status"], end["retry_count"]) == ("completed", 0)
    with container.client() as client:
        assert [client.get(job).result(20) for job in others] == list(range(100))
    assert container.query("SELECT max(retry_count) FROM background_jobs WHERE id <= 2") == [(0,)]


def test_a_daemon_that_is_killed_in_its_container_is_followed_by_one_that_adopts(
    lasting: Container,
) -> None:
    job = lasting.lingers("go")
    before = lasting.daemon
    os.kill(before, signal.SIGKILL)
    eventually(lambda: not is_alive(before))
    eventually(lambda: "ended by signal 9; another one starts" in lasting.console())
    eventually(lasting.answers)
    end = lasting.finish("go", job)
    assert (end["status"], end["retry_count"]) == ("completed", 0)
    assert [attempt["outcome"] for attempt in end["attempts"]] == ["completed"]


def test_what_others_start_in_the_container_is_reaped_and_no_reload_ends_it(lasting: Container) -> None:
    """As `docker exec` does: their orphans fall to pid 1. So did the fork server of a daemon that was killed before."""
    eventually(lambda: len(below(lasting.first)) == 1)
    enter = ["nsenter", "-t", str(lasting.first), "-p", "--", "sh", "-c"]
    subprocess.run([*enter, "sleep 600 & sleep 0 &"], check=True)
    orphan = eventually(lambda: orphans(lasting))[0]
    with lasting.client() as client:
        client.reload()
        os.kill(lasting.daemon, signal.SIGHUP)
        client.reload()
    eventually(lambda: orphans(lasting) == [orphan])  # the other has ended, and is reaped
    assert is_alive(orphan)
    os.kill(orphan, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{orphan}").exists())


def orphans(container: Container) -> list[int]:
    found = below(container.first)
    return found[1:] if len(found) > 1 else []


def test_its_first_process_is_small(lasting: Container) -> None:
    told = Path(f"/proc/{lasting.first}/smaps_rollup").read_text()
    assert int(told.split("Rss:")[1].split()[0]) < 15 * 1024


def test_it_ends_with_the_code_of_its_daemon(tmp_path: Path) -> None:
    broken = Container(tmp_path)
    broken.config.write_text("[daemon]\nnosuch = 1\n")
    (tmp_path / "run").mkdir()
    assert broken.spawn().wait(60) == 2
