"""What an attempt leaves behind is found and ended, however it hides; and nothing is that somebody still owns."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob import Client, Job
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually, own_cgroup

HIDING = '''
import json, os, signal, subprocess, sys, time
from pathlib import Path

HELPER = subprocess.Popen(["sleep", "1000"])


def _hide(book):
    """A process that no parent, session, group, signal or descriptor leads to."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)  # so that it is not among those that are left
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    os.closerange(0, 256)
    with open(book, "a") as file:
        file.write(f"{os.getpid()}\\n")
    while True:
        time.sleep(1000)


def _wait_for(path):
    while not Path(path).exists():
        time.sleep(0.005)


class Hiding:
    def leave(self, book, count=1, until=None):
        for _ in range(count):
            _hide(book)
        while not Path(book).exists() or len(Path(book).read_text().splitlines()) < count:
            time.sleep(0.005)
        if until is not None:
            _wait_for(until)
        return os.getpid()

    def leave_and_crash(self, book):
        self.leave(book)
        os.kill(os.getpid(), signal.SIGKILL)

    def leave_a_family(self, book):
        """A process with two children, of which each outlives its parent."""
        if os.fork() == 0:
            os.setsid()
            _hide(book)
            sleeper = subprocess.Popen(["sleep", "1000"])
            with open(book, "a") as file:
                file.write(f"{sleeper.pid}\\n")
            with open(book, "a") as file:
                file.write(f"{os.getpid()}\\n")
            time.sleep(1000)
        while not Path(book).exists() or len(Path(book).read_text().splitlines()) < 3:
            time.sleep(0.005)

    def leave_and_be_deaf(self, book):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.leave(book, 5, until="/nowhere")

    def tell_helper(self):
        return HELPER.pid

    def fail(self, book, until):
        raise ValueError(json.dumps([book, until]))


class Hooked(Hiding):
    def failed(self, error):
        book, until = json.loads(error.message)
        self.leave(book, until=until)
'''


def leaving(book: Path) -> str:
    """A module whose import leaves a process behind, in a session of its own, and ends the fork server."""
    return f"""
import os, subprocess

sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
with open({str(book)!r}, "a") as file:
    file.write(f"{{sleeper.pid}}\\n")
os._exit(3)
"""


PYTHON = Path(sys.executable).name
"""What the kernel calls a process that was forked from a fork server."""

SETTINGS = '"hiding.Hiding" = { max_retries = 0 }\n'


def _pids(book: Path) -> list[int]:
    return [int(line) for line in book.read_text().splitlines()] if book.exists() else []


def _told(job: Job) -> list[str]:
    return [entry["message"] for entry in job.logs()]


def _run(client: Client, method: str, **parameters: object) -> dict[str, object]:
    return dict(client.run_background_job("hiding.Hiding", method, parameters).wait(20))


def test_what_hides_behind_an_attempt_is_killed_with_it_and_told_in_the_jobs_log(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        job = client.run_background_job("hiding.Hiding", "leave", {"book": str(book), "count": 3})
        assert job.wait(20)["status"] == "completed"
        eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))
        assert f"processes that it left behind, killed: 3 ({PYTHON})" in _told(job)


@pytest.fixture
def in_cgroups() -> Iterator[str]:
    """Changes of a daemon's that has attempts in real cgroups."""
    with own_cgroup() as group:
        imports = "from bgjobd.supervisor import cgroups; from pathlib import Path"
        yield f"{imports}; cgroups.find = lambda _=0: Path({str(group)!r})"


def test_what_hides_behind_an_attempt_that_has_to_be_killed_is_told_where_there_are_cgroups_too(
    tmp_path: Path, in_cgroups: str
) -> None:
    book = tmp_path / "book"
    settings = '"hiding.Hiding" = { stop_grace = 0.1 }\n'
    with (
        daemon(tmp_path, settings, modules={"hiding": HIDING}, changes=in_cgroups) as running,
        running.client() as client,
    ):
        job = client.run_background_job("hiding.Hiding", "leave_and_be_deaf", {"book": str(book)})
        eventually(lambda: len(_pids(book)) == 5)
        job.cancel()
        assert job.wait(20)["attempts"][0]["signal"] == signal.SIGKILL
        assert f"processes that it left behind, killed: 5 ({PYTHON})" in _told(job)
        eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))


def test_what_a_hook_left_behind_that_no_fork_server_saw_the_end_of_is_told(
    tmp_path: Path, in_cgroups: str
) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    settings = '"hiding.Hooked" = { max_retries = 0 }\n'
    with daemon(tmp_path, settings, modules={"hiding": HIDING}, changes=in_cgroups) as running:
        with running.client() as client:
            parameters = {"book": str(book), "until": str(go)}
            job = client.run_background_job("hiding.Hooked", "fail", parameters)
            eventually(lambda: _pids(book))
        _kill_both(running)
        running.start()
        with running.client() as client:
            go.touch()
            told = f"the failed hook: processes that it left behind, killed: 1 ({PYTHON})"
            eventually(lambda: told in _told(client.get(job.id)))
            eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))


def test_what_a_crashed_attempt_left_behind_is_killed_too(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        assert _run(client, "leave_and_crash", book=str(book))["status"] == "failed"
        eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))


def test_who_is_below_a_survivor_is_killed_with_it(tmp_path: Path) -> None:
    book = tmp_path / "book"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        job = client.run_background_job("hiding.Hiding", "leave_a_family", {"book": str(book)})
        assert job.wait(20)["status"] == "completed"
        assert len(_pids(book)) == 3
        assert f"processes that it left behind, killed: 3 ({PYTHON}, sleep)" in _told(job)
        eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))


def test_the_orphans_of_a_live_attempt_are_its_own_while_others_come_and_go(tmp_path: Path) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        parameters = {"book": str(book), "until": str(go)}
        job = client.run_background_job("hiding.Hiding", "leave", parameters)
        (hidden,) = eventually(lambda: _pids(book))
        for value in range(3):
            assert client.run_background_job("probes.Probe", "echo", {"value": value}).result(20) == value
        assert is_alive(hidden)
        eventually(lambda: _parent(hidden) == client.get(job.id).snapshot["attempts"][0]["pid"])
        go.touch()
        job.wait(20)
        eventually(lambda: not is_alive(hidden))


def test_a_process_that_was_started_at_import_is_no_stray(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
        assert client.run_background_job("hiding.Hiding", "tell_helper").result(20) == helper
        assert is_alive(helper)


def test_an_orphaned_fork_server_ends_strays_as_well_and_then_itself(tmp_path: Path) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running:
        with running.client() as client:
            helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
            parameters = {"book": str(book), "until": str(go)}
            job = client.run_background_job("hiding.Hiding", "leave", parameters)
        (hidden,) = eventually(lambda: _pids(book))
        orphan = running.fork_server()
        running.stop(signal.SIGKILL)
        go.touch()
        eventually(lambda: not is_alive(orphan))
        assert not is_alive(helper)
        eventually(lambda: not is_alive(hidden))
        running.start()
        with running.client() as client:
            job = client.get(job.id)
            assert job.wait(20)["status"] == "completed"
            assert f"processes that it left behind, killed: 1 ({PYTHON})" in _told(job)


def test_what_a_killed_fork_server_had_around_it_falls_to_the_daemon_and_is_ended(tmp_path: Path) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running, running.client() as client:
        helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
        job = client.run_background_job("hiding.Hiding", "leave", {"book": str(book), "until": str(go)})
        (hidden,) = eventually(lambda: _pids(book))
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: not is_alive(helper))
        assert is_alive(hidden)
        go.touch()
        assert job.wait(20)["attempts"][0]["exit_code"] == 0
        eventually(lambda: not is_alive(hidden))
        eventually(lambda: _has_but_a_fork_server(running))
        eventually(lambda: any("what a dead fork server left behind" in line for line in running.lines()))


def test_what_a_fork_server_had_around_it_is_told_by_no_job(tmp_path: Path) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    book.touch()
    hiding = HIDING.replace('["sleep", "1000"]', '["sh", "-c", "sleep 1000; exit"]', 1)
    with daemon(tmp_path, SETTINGS, modules={"hiding": hiding}) as running, running.client() as client:
        parameters = {"book": str(book), "count": 0, "until": str(go)}
        job = client.run_background_job("hiding.Hiding", "leave", parameters)
        attempt = eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)  # so that the end of the attempt is seen with that of the fork server
        go.touch()
        eventually(lambda: not is_alive(attempt))
        os.kill(server, signal.SIGKILL)
        assert job.wait(20)["status"] == "completed"
        left = "ended what a dead fork server left behind, processes: "
        (line,) = eventually(lambda: [line for line in running.lines() if left in line])
        assert {"sh", "sleep"} <= set(re.findall(r"\w+", line.partition(left)[2]))
        assert not any("left behind" in text for text in _told(job))


def test_what_daemon_and_fork_server_that_die_at_once_leave_is_ended_with_the_last_attempt(
    tmp_path: Path,
) -> None:
    book, go = tmp_path / "book", tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"hiding": HIDING}) as running:
        with running.client() as client:
            helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
            job = client.run_background_job("hiding.Hiding", "leave", {"book": str(book), "until": str(go)})
            (hidden,) = eventually(lambda: _pids(book))
            attempt = eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        server = running.fork_server()
        with _innocents(server) as innocents:
            _kill_both(running)
            running.start()
            with running.client() as client:
                eventually(lambda: not is_alive(helper))
                assert is_alive(hidden)
                assert is_alive(attempt)
                go.touch()
                client.get(job.id).wait(20)
                eventually(lambda: not is_alive(hidden))
                eventually(lambda: f"{LEFT}1 ({PYTHON})" in _said(running))
                assert f"{LEFT}1 (sleep)" in _said(running)
                eventually(lambda: len(_fork_servers(running)) == 1)
            assert [innocent.poll() for innocent in innocents] == [None] * 4


def test_the_orphans_of_others_that_fall_to_the_daemon_are_left_alone_and_ours_are_not(
    tmp_path: Path,
) -> None:
    book = tmp_path / "book"
    modules = {"hiding": HIDING, "leaving": leaving(book)}
    running = RunningDaemon(tmp_path, SETTINGS + '"leaving.Leaving" = {}\n', modules=modules)
    serve = f"{sys.executable} -m bgjobd serve --config {running.config}"
    others = "sh -c 'echo $$; sleep 987 & echo $!; wait'"
    process = subprocess.Popen(["sh", "-c", f"{others} & exec {serve}"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        parent, orphan = (int(process.stdout.readline()) for _ in range(2))
        running.process = process
        eventually(running.answers)
        with running.client() as client:
            helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
            assert _pids(book)
            eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))
            os.kill(parent, signal.SIGKILL)
            eventually(lambda: _parent(orphan) == process.pid)
            client.reload()
            eventually(lambda: not is_alive(helper))
            (server,) = eventually(lambda: _one(set(running.children()) - {orphan, parent}))
            helper = client.run_background_job("hiding.Hiding", "tell_helper").result(20)
            os.kill(server, signal.SIGKILL)
            eventually(lambda: not is_alive(helper))
            assert client.run_background_job("probes.Probe", "echo", {"value": 2}).result(20) == 2
            eventually(lambda: not any(is_alive(pid) for pid in _pids(book)))
            eventually(lambda: len(_fork_servers(running)) == 1)
        assert is_alive(orphan)
    finally:
        os.kill(orphan, signal.SIGKILL)
        process.kill()
        process.wait(20)


def _one(pids: set[int]) -> set[int] | None:
    return pids if len(pids) == 1 else None


def test_what_was_there_before_the_daemon_in_its_process_is_none_of_its_business(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    serve = f"{sys.executable} -m bgjobd serve --config {running.config}"
    process = subprocess.Popen(["sh", "-c", f"sleep 987 & echo $!; exec {serve}"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        sleeper = int(process.stdout.readline())
        running.process = process
        eventually(running.answers)
        with running.client() as client:
            assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
            (server,) = eventually(lambda: _one(set(running.children()) - {sleeper}))
            os.kill(server, signal.SIGKILL)
            assert client.run_background_job("probes.Probe", "echo", {"value": 2}).result(20) == 2
            eventually(lambda: len(running.children()) == 2)
        assert is_alive(sleeper)
    finally:
        os.kill(sleeper, signal.SIGKILL)
        process.kill()
        process.wait(20)


LEFT = "INFO: bgjobd - ended what a dead fork server left behind, processes: "


def _said(running: RunningDaemon) -> list[str]:
    """What the log says, without times."""
    return [line.partition("] ")[2] for line in running.lines()]


def _kill_both(running: RunningDaemon) -> None:
    """End the daemon and its fork server before either sees the other's end."""
    server = running.fork_server()
    os.kill(server, signal.SIGSTOP)
    running.stop(signal.SIGKILL)
    os.kill(server, signal.SIGKILL)
    eventually(lambda: not is_alive(server))


@contextmanager
def _innocents(server: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that carry the mark of no fork server, or of another, beside one of nobody's."""
    told = Path(f"/proc/{server}/environ").read_bytes().split(b"\0")
    mark = next(one.partition(b"=")[2].decode() for one in told if one.startswith(b"BGJOB_MARK="))
    environs = ({}, {"BGJOB_MARK": "f" * 32}, {"BGJOB_MARK": mark[:-1]}, {"NO_BGJOB_MARK": mark})
    innocents = [subprocess.Popen(["sleep", "1000"], env=environ) for environ in environs]
    try:
        yield innocents
    finally:
        for innocent in innocents:
            innocent.kill()
            innocent.wait(20)


def _fork_servers(running: RunningDaemon) -> list[str]:
    return [path.name for path in running.spool.glob("fork-server-*")]


def _has_but_a_fork_server(running: RunningDaemon) -> bool:
    children = running.children()
    return len(children) == 1 and "forkserver" in Path(f"/proc/{children[0]}/cmdline").read_text()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
