"""Processes that are killed or stopped at moments of note: what becomes of attempts is exact, and none runs twice."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from tests.daemon.running import RunningDaemon, children_of, daemon, is_alive
from tests.faults import books
from tests.faults.injecting import needs_root
from tests.faults.knife import HALTING, Knife, ask_to_halt, halted_child, why_impossible
from tests.support import eventually

ENDING = '''
import atexit, ctypes, os, signal, sys, threading, time
from pathlib import Path

LINES = 2000


class Ending:
    """Ends as it is asked to, or waits; `pids` is a file that gets the process's pid."""

    def print_and_wait(self, pids, path):
        """Prints half of its output, waits for the file, and prints the other half."""
        self._print(0, LINES // 2)
        self._note(pids)
        self._wait_for(path)
        self._print(LINES // 2, LINES)
        return os.getpid()

    def wait(self, pids, path):
        self._note(pids)
        self._wait_for(path)
        return "waited"

    def complete(self):
        return "whole"

    def tear(self):
        """Dies while it writes its outcome."""
        torn = b'\\n{"v":1,"type":"outcome","outcome":"completed","pid":%d,"resu' % os.getpid()
        os.write(self._journal(), torn)
        os.kill(os.getpid(), signal.SIGKILL)

    def sync(self, pids, path):
        """Writes to a file and has it stored."""
        self._note(pids)
        with open(path, "w") as file:
            file.write("x")
            os.fsync(file.fileno())

    def overflow_natively(self):
        """A stack overflow that no interpreter sees."""
        ctypes.CDLL(None).regcomp(ctypes.create_string_buffer(256), b"(" * 10**6, 1)

    def crash(self):
        ctypes.string_at(0)

    def recur(self):
        return self.recur()

    def leave_at_exit(self):
        atexit.register(os._exit, 3)
        return "whole"

    def return_itself(self):
        found = []
        found.append(found)
        return found

    def return_nan(self):
        return float("nan")

    def return_surrogate(self):
        return "\\ud800"

    def _print(self, first, last):
        for number in range(first, last):
            print("line", number)
        sys.stdout.flush()

    def _note(self, pids):
        with open(pids, "a") as file:
            file.write(f"{os.getpid()}\\n")

    def _wait_for(self, path):
        while not Path(path).exists():
            time.sleep(0.005)

    def _journal(self):
        links = {name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if int(name) > 2
                 and os.path.exists(f"/proc/self/fd/{name}")}
        return next(int(name) for name, target in links.items() if target.endswith(".journal"))
'''
TARGET = "ending.Ending"
SETTINGS = (
    '"ending.Ending" = { max_retries = 1, retry_delay = 0.05, stop_grace = 0.2 }\n[web]\nenabled = false'
)
MODULES = {"ending": ENDING + HALTING}
OUTPUT = "".join(f"line {number}\n" for number in range(2000)).encode()

needs_strace = pytest.mark.skipif(why_impossible() is not None, reason=str(why_impossible()))


LESS_PATIENCE = "from bgjobd.supervisor import attempt_stop; attempt_stop.LONG_DYING = 0.5"


@contextmanager
def _daemon(directory: Path, spares: int = 1) -> Iterator[RunningDaemon]:
    environ = {"BGJOBD_DAEMON__SPARES": str(spares)}
    with daemon(
        directory, SETTINGS, books.marked(directory), environ, MODULES, changes=LESS_PATIENCE
    ) as running:
        yield running


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningDaemon]:
    """For a test that ends the daemon or its fork server."""
    with _daemon(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """For those that end nothing but their own attempts."""
    with _daemon(tmp_path_factory.mktemp("lasting")) as running:
        yield running


@pytest.fixture(scope="module")
def forking(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """The same, without a spare."""
    with _daemon(tmp_path_factory.mktemp("forking"), spares=0) as running:
        yield running


def _pids(file: Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def _begin(client: Client, directory: Path, method: str, count: int, **options: Any) -> list[int]:
    """Jobs that wait for the file `go`, once they all do; their ids. The attempts' pids are in `pids`."""
    before = len(_pids(directory / "pids"))
    parameters = {"pids": str(directory / "pids"), "path": str(directory / "go")}
    jobs = [client.run_background_job(TARGET, method, parameters, **options).id for _ in range(count)]
    eventually(lambda: len(_pids(directory / "pids")) == before + count)
    return jobs


def _told(snapshot: dict[str, Any]) -> list[tuple[str, int | None, int | None]]:
    return [(one["outcome"], one["exit_code"], one["signal"]) for one in snapshot["attempts"]]


def _audit(running: RunningDaemon, jobs: list[int]) -> None:
    """The books, once the fork server is ready: while it starts, it has children of its own."""
    with running.client() as client:
        client.classes()
    eventually(lambda: len(running.children()) == 1)
    books.check(running, jobs)


def test_the_daemon_is_killed_while_four_attempts_run_and_each_completes_once_with_its_whole_output(
    running: RunningDaemon, tmp_path: Path
) -> None:
    with running.client() as client:
        jobs = _begin(client, tmp_path, "print_and_wait", 4)
    server = running.fork_server()
    running.stop(signal.SIGKILL)
    running.start()
    (tmp_path / "go").touch()
    with running.client() as client:
        ends = [client.get(job).wait(20) for job in jobs]
        assert [_told(end) for end in ends] == [[("completed", 0, None)]] * 4
        assert sorted(end["result"] for end in ends) == sorted(_pids(tmp_path / "pids"))
        assert all(client.output(job) == OUTPUT for job in jobs)
    eventually(lambda: not is_alive(server))
    _audit(running, jobs)


def test_attempts_that_end_while_the_killed_daemon_is_away_are_collected_with_their_whole_output(
    running: RunningDaemon, tmp_path: Path
) -> None:
    with running.client() as client:
        jobs = _begin(client, tmp_path, "print_and_wait", 4)
    server = running.fork_server()
    running.stop(signal.SIGKILL)
    (tmp_path / "go").touch()
    eventually(lambda: not any(is_alive(pid) for pid in _pids(tmp_path / "pids")))
    running.start()
    with running.client() as client:
        assert [_told(client.get(job).wait(20)) for job in jobs] == [[("completed", 0, None)]] * 4
        assert all(client.output(job) == OUTPUT for job in jobs)
    eventually(lambda: not is_alive(server))
    _audit(running, jobs)


def test_an_idle_fork_server_that_is_killed_is_replaced_and_jobs_notice_nothing(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        client.classes()
        before = running.fork_server()
        os.kill(before, signal.SIGKILL)
        job = client.run_background_job(TARGET, "complete")
        end = job.wait(20)
        assert end["status"] == "completed"
        assert {one["outcome"] for one in end["attempts"]} <= {"not_started", "completed"}
        assert running.fork_server() != before
    _audit(running, [job.id])


def test_daemon_and_fork_server_are_killed_together_while_attempts_run(
    running: RunningDaemon, tmp_path: Path
) -> None:
    with running.client() as client:
        jobs = _begin(client, tmp_path, "print_and_wait", 3)
    os.kill(running.fork_server(), signal.SIGKILL)
    running.stop(signal.SIGKILL)
    victim = _pids(tmp_path / "pids")[0]
    os.kill(victim, signal.SIGKILL)
    running.start()
    (tmp_path / "go").touch()
    with running.client() as client:
        told = sorted((_told(client.get(job).wait(20)) for job in jobs), key=lambda attempts: len(attempts))
        # Nobody saw how the one that was killed ended: it is never a success, and tried again.
        assert told == [
            [("completed", None, None)],
            [("completed", None, None)],
            [("lost", None, None), ("completed", 0, None)],
        ]
        assert all(client.output(job).endswith(OUTPUT[-5:]) for job in jobs)
    _audit(running, jobs)


# The child


@needs_strace
@pytest.mark.parametrize("which", ["lasting", "forking"])
@pytest.mark.parametrize(
    ("moment", "injection", "first", "retries"),
    [
        ("before its link", "linkat:signal=KILL:when=1", ("not_started", None, None), 0),
        ("after its link", "setsid:signal=KILL:when=1", ("signalled", None, 9), 1),
        ("before it writes its outcome", "write:signal=KILL:when=2", ("signalled", None, 9), 1),
        ("after it wrote its outcome", "exit_group:signal=KILL:when=1", ("completed", None, 9), 0),
    ],
)
def test_a_child_is_killed(
    request: pytest.FixtureRequest,
    which: str,
    moment: str,
    injection: str,
    first: tuple[str, int | None, int | None],
    retries: int,
) -> None:
    """A spare, to which strace is attached before it has an order, and one that was forked for it and halted."""
    running: RunningDaemon = request.getfixturevalue(which)
    with running.client() as client:
        client.classes()
        if which == "lasting":
            (child,) = eventually(lambda: children_of(running.fork_server()))
        else:
            ask_to_halt(running)
            job = client.run_background_job(TARGET, "complete")
            child = halted_child(running)
        with Knife(child, injection, running.directory / "strace.log") as knife:
            if which == "lasting":
                job = client.run_background_job(TARGET, "complete")
            else:
                knife.let_go_on()
            eventually(knife.has_ended)
            assert knife.has_struck(), f"nobody was killed {moment}"
        end = job.wait(20)
    assert _told(end) in ([first], [first, ("completed", 0, None)])
    assert (end["status"], end["result"], end["retry_count"]) == ("completed", "whole", retries)
    _audit(running, [job.id])


def test_a_child_that_is_killed_at_its_work_is_tried_again(lasting: RunningDaemon, tmp_path: Path) -> None:
    with lasting.client() as client:
        (job,) = _begin(client, tmp_path, "wait", 1)
        os.kill(_pids(tmp_path / "pids")[0], signal.SIGKILL)
        (tmp_path / "go").touch()
        assert _told(client.get(job).wait(20)) == [("signalled", None, 9), ("completed", 0, None)]
    _audit(lasting, [job])


def test_a_child_that_is_killed_while_it_writes_its_outcome_has_none(lasting: RunningDaemon) -> None:
    with lasting.client() as client:
        job = client.run_background_job(TARGET, "tear", retry_count=1)
        end = job.wait(20)
    assert (end["status"], _told(end)) == ("failed", [("signalled", None, 9)])
    _audit(lasting, [job.id])


@pytest.mark.parametrize(
    ("method", "told", "error"),
    [
        ("crash", ("signalled", None, signal.SIGSEGV), "signalled: the process was ended by signal 11"),
        ("overflow_natively", ("signalled", None, signal.SIGSEGV), "signalled: .* signal 11"),
        ("recur", ("failed", 1, None), "RecursionError: maximum recursion depth exceeded"),
        ("return_itself", ("failed", 1, None), "InvalidResult: .*[Cc]ircular reference"),
        ("return_nan", ("failed", 1, None), "InvalidResult: .*JSON"),
        ("return_surrogate", ("failed", 1, None), "InvalidResult: .*surrogate"),
    ],
)
def test_a_bad_ending_has_its_reason_and_is_no_success(
    lasting: RunningDaemon, method: str, told: tuple[str, int | None, int | None], error: str
) -> None:
    with lasting.client() as client:
        job = client.run_background_job(TARGET, method, retry_count=1)
        end = job.wait(30)
    assert (end["status"], _told(end)) == ("failed", [told])
    assert re.match(error, end["error"]), end["error"]
    _audit(lasting, [job.id])


def test_what_a_job_has_left_for_the_interpreters_exit_runs_and_does_not_spoil_its_outcome(
    lasting: RunningDaemon,
) -> None:
    with lasting.client() as client:
        end = client.run_background_job(TARGET, "leave_at_exit").wait(20)
    assert (end["status"], end["result"], _told(end)) == ("completed", "whole", [("completed", 3, None)])


# Stopped, not killed


def test_a_stopped_child_is_ended_at_its_timeout(lasting: RunningDaemon, tmp_path: Path) -> None:
    with lasting.client() as client:
        (job,) = _begin(client, tmp_path, "wait", 1, timeout=3.0, retry_count=1)
        os.kill(_pids(tmp_path / "pids")[0], signal.SIGSTOP)
        end = client.get(job).wait(20)
    assert (end["status"], _told(end)) == ("failed", [("timed_out", None, signal.SIGKILL)])
    _audit(lasting, [job])


def test_a_stopped_daemon_holds_up_no_attempt_and_collects_all_once_it_goes_on(
    running: RunningDaemon, tmp_path: Path
) -> None:
    assert running.process is not None
    with running.client() as client:
        jobs = _begin(client, tmp_path, "wait", 4)
        running.process.send_signal(signal.SIGSTOP)
        (tmp_path / "go").touch()
        eventually(lambda: not any(is_alive(pid) for pid in _pids(tmp_path / "pids")))
        running.process.send_signal(signal.SIGCONT)
        assert [_told(client.get(job).wait(20)) for job in jobs] == [[("completed", 0, None)]] * 4
    _audit(running, jobs)


# In the kernel, where no signal reaches it


@contextmanager
def _file_system(place: Path) -> Iterator[Path]:
    """An ext4 file system of its own, which can be frozen."""
    image = place.with_suffix(".image")
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    for command in (["mkfs.ext4", "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no ext4 can be made and mounted here: {error}")
    try:
        yield place
    finally:
        eventually(lambda: subprocess.run(["umount", str(place)], capture_output=True).returncode == 0)


@contextmanager
def _frozen(place: Path) -> Iterator[None]:
    """Whoever writes to the file system waits meanwhile, in the kernel."""
    subprocess.run(["fsfreeze", "--freeze", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(place)], check=True)


def _is_in_the_kernel(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"


@needs_root
def test_an_attempt_that_no_signal_reaches_keeps_its_slot_and_holds_up_nobody_else(
    running: RunningDaemon, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    with running.client() as client, _file_system(tmp_path / "disk") as disk:
        with _frozen(disk):
            parameters = {"pids": str(pids), "path": str(disk / "file")}
            job = client.run_background_job(TARGET, "sync", parameters, timeout=3.0, retry_count=1)
            (pid,) = eventually(lambda: _pids(pids))
            eventually(lambda: _is_in_the_kernel(pid) and _has_pending_kill(pid))
            assert client.run_background_job(TARGET, "complete").result(20) == "whole"
            assert client.get(job.id).snapshot["status"] == "running"
            told = f"(pid {pid}) was killed 0.5 s ago and does not end"
            eventually(lambda: any(told in entry["message"] for entry in client.get(job.id).logs()))
            assert running.stop(signal.SIGTERM) == 0
            running.start()
            assert client.run_background_job(TARGET, "complete").result(20) == "whole"
            assert client.get(job.id).snapshot["status"] == "running"
            assert is_alive(pid)
        end = client.get(job.id).wait(20)
        assert (end["status"], [one["outcome"] for one in end["attempts"]]) == ("failed", ["timed_out"])
        assert _pids(pids) == [pid]
    _audit(running, [job.id])


def _has_pending_kill(pid: int) -> bool:
    """Whether SIGKILL was sent to it, and has not ended it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(
        int(found, 16) & 1 << signal.SIGKILL - 1
        for found in re.findall(r"^S[hi]gP[nd][d]:\s*(\w+)", status, re.M)
    )
