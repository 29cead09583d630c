"""A fork server that dies, or hangs: its attempts go on, the daemon sees their exact ends, and another takes over."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjobd.forkserver import journal_file, journal_lines
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults.injecting import failing_calls, needs_root
from tests.support import eventually

LATER = '''
import ctypes, os, signal, subprocess, sys, time
from pathlib import Path


def _wait_for(path):
    while not Path(path).exists():
        time.sleep(0.005)


class Later:
    """Notes its pid, waits for a file, then ends in the way that is asked for."""

    def end(self, way, path):
        Path(f"{path}.{way}").write_text(str(os.getpid()))
        _wait_for(path)
        return getattr(self, "_" + way)()

    def _complete(self):
        print("whole")
        return "done"

    def _fail(self):
        raise ValueError("no recipient")

    def _exit(self):
        sys.exit(7)

    def _exit_hard(self):
        os._exit(0)

    def _crash(self):
        ctypes.string_at(0)

    def _leave_a_child(self):
        sleeper = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return sleeper.pid


class Hooked:
    def fail(self):
        raise ValueError("no recipient")

    def failed(self, error):
        Path("LEDGER").open("a").write(f"hook {os.getpid()}\\n")
        _wait_for("GO")
'''

ENDS: dict[str, tuple[str, int | None, int | None]] = {
    "complete": ("completed", 0, None),
    "fail": ("failed", 1, None),
    "exit": ("exited", 7, None),
    "exit_hard": ("exited", 0, None),
    "crash": ("signalled", None, signal.SIGSEGV),
    "leave_a_child": ("completed", 0, None),
}
SETTINGS = '"later.Later" = { max_retries = 0 }\n"later.Hooked" = { max_retries = 0 }\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("shared")
    environ = {"BGJOBD_DAEMON__SLOTS": "8"}
    with daemon(directory, SETTINGS, "", environ, _modules(directory)) as running:
        yield running


@pytest.fixture
def running(shared: RunningDaemon) -> RunningDaemon:
    """The daemon of most tests. It has one fork server, and nothing of earlier tests."""
    eventually(lambda: len(shared.children()) == 1 and shared.spooled() == [] and len(_kept(shared)) == 1)
    return shared


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def _modules(tmp_path: Path) -> dict[str, str]:
    ledger, go = str(tmp_path / "hooks"), str(tmp_path / "hook_may_end")
    return {"later": LATER.replace("LEDGER", ledger).replace("GO", go)}


@pytest.fixture
def hooks(running: RunningDaemon) -> Path:
    """Where a failed hook of this test writes a line."""
    for name in ("hooks", "hook_may_end"):
        (running.directory / name).unlink(missing_ok=True)
    return running.directory / "hooks"


def _kept(running: RunningDaemon) -> list[str]:
    return [path.name for path in running.spool.glob("fork-server-*")]


def _begin(client: Client, go: Path, ways: list[str]) -> dict[str, int]:
    jobs = {
        way: client.run_background_job("later.Later", "end", {"way": way, "path": str(go)}).id for way in ways
    }
    for way in ways:
        eventually(lambda way=way: _pid(go, way))
    return jobs


def _ready_server(running: RunningDaemon, client: Client) -> int:
    client.classes()
    return running.fork_server()


def _pid(go: Path, way: str) -> int | None:
    note = go.with_name(f"{go.name}.{way}")
    return int(note.read_text() or 0) if note.exists() else None


def _end(client: Client, job: int) -> dict[str, Any]:
    snapshot = client.get(job).wait(20)
    (attempt,) = snapshot["attempts"]
    return dict(attempt)


def test_the_daemon_knows_exactly_how_attempts_of_a_killed_fork_server_ended(
    running: RunningDaemon,
    client: Client,
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    jobs = _begin(client, go, list(ENDS))
    server = running.fork_server()
    os.kill(server, signal.SIGKILL)
    eventually(lambda: not is_alive(server))
    go.touch()
    ends = {way: _end(client, job) for way, job in jobs.items()}
    told = {way: (end["outcome"], end["exit_code"], end["signal"]) for way, end in ends.items()}
    assert told == ENDS
    assert all(end["max_rss"] > 0 for end in ends.values())
    assert ends["complete"]["output_bytes"] == len("whole\n")
    sleeper = client.get(jobs["leave_a_child"]).snapshot["result"]
    eventually(lambda: not is_alive(sleeper))
    # They end in the same moment, and what is left behind may be told of any of them.
    told_logs = [entry["message"] for job in jobs.values() for entry in client.get(job).logs()]
    # Of those that end then, one that is still going may be among them.
    strays = [text for text in told_logs if text.startswith("processes that it left behind, killed: ")]
    assert len([text for text in strays if text.endswith("sleep)")]) == 1, strays
    eventually(lambda: len(running.children()) == 1)  # the new fork server: no zombie stays
    eventually(lambda: not list(running.spool.glob("*.journal")))


def test_attempts_that_ended_unseen_by_a_stopped_fork_server_are_collected_when_it_dies(
    running: RunningDaemon,
    client: Client,
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    jobs = _begin(client, go, ["complete", "exit", "crash"])
    server = running.fork_server()
    os.kill(server, signal.SIGSTOP)
    go.touch()
    eventually(lambda: not any(is_alive(_pid(go, way) or 0) for way in jobs))
    os.kill(server, signal.SIGKILL)
    told = {way: _end(client, job) for way, job in jobs.items()}
    assert {way: end["outcome"] for way, end in told.items()} == {way: ENDS[way][0] for way in jobs}
    assert told["exit"]["exit_code"] == 7


def test_news_of_one_generation_survives_the_death_of_another(
    running: RunningDaemon,
    client: Client,
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    _begin(client, go, ["exit"])
    old = running.fork_server()
    client.reload()
    job = client.run_background_job("probes.Probe", "sleep", {"seconds": 60}, timeout=0.5)
    eventually(lambda: [one for one in job.refresh()["attempts"] if one["pid"]])
    os.kill(old, signal.SIGKILL)
    assert job.wait(20)["attempts"][0]["outcome"] == "timed_out"
    go.touch()


def test_a_start_that_a_dying_fork_server_did_not_carry_out_is_given_back_unspent(
    running: RunningDaemon,
    client: Client,
) -> None:
    server = _ready_server(running, client)
    os.kill(server, signal.SIGSTOP)
    job = client.run_background_job("probes.Probe", "echo", {"value": 3}, retry_count=1)
    eventually(lambda: client.get(job.id).snapshot["status"] == "running")
    os.kill(server, signal.SIGKILL)
    snapshot = client.get(job.id).wait(20)
    assert [one["outcome"] for one in snapshot["attempts"]] == ["not_started", "completed"]
    assert snapshot["retry_count"] == 1


def test_a_fork_server_that_owes_an_answer_for_too_long_is_replaced(tmp_path: Path) -> None:
    go = tmp_path / "go"
    patience = "from bgjobd.supervisor import patience; patience.PATIENCE = 3.0"
    with (
        daemon(tmp_path, SETTINGS, modules=_modules(tmp_path), changes=patience) as running,
        running.client() as client,
    ):
        jobs = _begin(client, go, ["complete", "exit"])
        eventually(lambda: client.get(jobs["exit"]).snapshot["attempts"][0]["pid"])
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)
        go.touch()
        waiting = client.run_background_job("probes.Probe", "echo", {"value": 3})
        assert waiting.result(40) == 3
        told = {
            way: (_end(client, job)["outcome"], _end(client, job)["exit_code"]) for way, job in jobs.items()
        }
        assert told == {"complete": ("completed", 0), "exit": ("exited", 7)}
        assert eventually(lambda: any(f"(pid {server}) has not answered" in line for line in running.lines()))


HOLDING = """
import os, signal, time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGTERM})
if os.fork() == 0:
    os.setsid()
    time.sleep(1000)


class Held:
    def run(self):
        return 1

    def sleep(self):
        time.sleep(1000)
"""


def test_the_end_of_a_fork_server_is_seen_though_its_helper_holds_the_link_and_signals_were_blocked(
    tmp_path: Path,
) -> None:
    modules = {"held": HOLDING}
    with daemon(tmp_path, '"held.Held" = {}', modules=modules) as running, running.client() as client:
        assert client.run_background_job("held.Held", "run").result(20) == 1
        server = next(pid for pid in running.children())
        os.kill(server, signal.SIGKILL)
        eventually(lambda: any(f"(pid {server}) ended" in line for line in running.lines()))
        job = client.run_background_job("held.Held", "sleep", timeout=0.2, max_retries=0)
        attempts = job.wait(20)["attempts"]
        assert [one["outcome"] for one in attempts] == ["timed_out"]
        assert attempts[0]["signal"] == signal.SIGTERM
        assert not any("has not answered" in line for line in running.lines())


def test_a_daemon_that_is_killed_while_a_module_hangs_leaves_no_fork_server(tmp_path: Path) -> None:
    modules = {"hanging": "import time\ntime.sleep(1000)\n"}
    with daemon(tmp_path, '"hanging.Job" = {}', modules=modules) as running:
        server = running.fork_server()
        eventually(lambda: b"forkserver" in Path(f"/proc/{server}/cmdline").read_bytes())
        assert running.process is not None
        running.process.kill()
        running.process.wait(20)
        running.process = None
        eventually(lambda: not is_alive(server))


@needs_root
@pytest.mark.parametrize("error", ["ENFILE", "ENOSYS"])  # an expected one, and one that nobody has thought of
@pytest.mark.needs("strace")
def test_a_journal_that_cannot_be_read_for_a_moment_changes_no_verdict(
    running: RunningDaemon, client: Client, tmp_path: Path, error: str
) -> None:
    go = tmp_path / "go"
    jobs = _begin(client, go, ["complete", "exit"])
    pids = [_pid(go, way) for way in jobs]
    assert running.process is not None
    with failing_calls(running.process.pid, "openat", error):
        go.touch()
        eventually(lambda: not any(is_alive(pid or 0) for pid in pids))
    told = {way: _end(client, job)["outcome"] for way, job in jobs.items()}
    assert told == {"complete": "completed", "exit": "exited"}


def test_a_failed_hook_is_called_once_whether_its_fork_server_dies_or_also_its_daemon(
    running: RunningDaemon, client: Client, hooks: Path
) -> None:
    job = client.run_background_job("later.Hooked", "fail")
    eventually(lambda: hooks.exists() and hooks.read_text())
    os.kill(running.fork_server(), signal.SIGKILL)
    assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
    running.stop(signal.SIGKILL)
    running.start()
    hooks.with_name("hook_may_end").touch()
    assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
    eventually(lambda: not _hooks_under_way(running))
    assert client.get(job.id).snapshot["status"] == "failed"
    assert len(hooks.read_text().splitlines()) == 1


def test_a_hook_is_called_though_an_earlier_call_left_its_directory_before_it_had_begun(
    running: RunningDaemon, client: Client, hooks: Path
) -> None:
    hooks.with_name("hook_may_end").touch()
    next_id = client.run_background_job("probes.Probe", "echo").id + 1
    (running.directory / "run" / "work" / f"{next_id}.1.hook").mkdir()
    assert client.run_background_job("later.Hooked", "fail").id == next_id
    eventually(hooks.exists)


def test_a_hook_stays_fenced_until_the_orphaned_fork_server_that_may_have_it_before_it_is_gone(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    (tmp_path / "hook_may_end").touch()
    hooks = tmp_path / "hooks"
    with daemon(tmp_path, SETTINGS, modules=_modules(tmp_path)) as running:
        with running.client() as client:
            job = client.run_background_job("later.Hooked", "fail").id
            eventually(lambda: hooks.exists() and hooks.read_text())
            _begin(client, go, ["complete"])  # which keeps the fork server there
            eventually(lambda: len(running.spooled()) == 1)
        running.stop()
        # As a daemon leaves it that dies after the end was committed, before the hook has begun.
        (running.spool / f"{job}.1.journal").write_bytes(
            journal_lines.started("aa", 4_000_000, 1, 2, "boot", 0.0)
            + journal_lines.failed(4_000_000, "ValueError", "no recipient", "", may_retry=True)
            + journal_lines.exited(4_000_000, 1.0, 1, None)
        )
        for _ in range(2):
            running.start()
            with running.client() as client:
                client.classes()
                eventually(lambda: (running.spool / f"{job}.1.hook").exists())
                eventually(lambda: not _hooks_under_way(running))
                eventually(lambda: f"{job}.1.journal" not in running.spooled())
            assert len(hooks.read_text().splitlines()) == 2
            running.stop()
        directory = os.open(running.spool, os.O_RDONLY)
        late = journal_file.link_first(
            directory, f"{job}.1.hook", journal_lines.started("aa", 1, 1, 2, "boot", 0.0)
        )
        os.close(directory)
        assert late is None
        running.start()
        go.touch()
        eventually(lambda: running.spooled() == [])


def test_a_fence_goes_with_the_fork_server_that_had_the_start_before_it_while_its_attempts_go_on(
    running: RunningDaemon,
    client: Client,
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    jobs = _begin(client, go, ["complete"])
    server = running.fork_server()
    os.kill(server, signal.SIGSTOP)
    fenced = client.run_background_job("probes.Probe", "echo", {"value": 1})
    eventually(lambda: client.get(fenced.id).snapshot["attempts"])
    os.kill(server, signal.SIGKILL)
    assert fenced.result(20) == 1
    outcomes = [attempt["outcome"] for attempt in client.get(fenced.id).snapshot["attempts"]]
    assert outcomes == ["not_started", "completed"]
    eventually(lambda: running.spooled() == [f"{jobs['complete']}.1.journal"])
    assert len(_kept(running)) == 2
    go.touch()
    assert _end(client, jobs["complete"])["exit_code"] == 0
    eventually(lambda: running.spooled() == [])
    eventually(lambda: len(_kept(running)) == 1)


def test_a_fence_against_an_orphaned_fork_server_goes_when_that_does(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules=_modules(tmp_path)) as running:
        with running.client() as client:
            orphan = _ready_server(running, client)
            os.kill(orphan, signal.SIGSTOP)
            job = client.run_background_job("probes.Probe", "echo", {"value": 1}).id
            eventually(lambda: client.get(job).snapshot["attempts"])
        running.stop(signal.SIGKILL)
        for _ in range(2):
            running.start()
            with running.client() as client:
                assert client.get(job).result(20) == 1
                assert client.run_background_job("probes.Probe", "echo", {"value": 2}).result(20) == 2
            eventually(lambda: running.spooled() == [f"{job}.1.journal"])
            running.stop()
        running.start()
        os.kill(orphan, signal.SIGKILL)
        eventually(lambda: running.spooled() == [])
        eventually(lambda: len(_kept(running)) == 1)


def _hooks_under_way(running: RunningDaemon) -> list[str]:
    under_way = []
    for path in running.spool.glob("*.hook"):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            under_way += [path.name] if '"fenced"' not in path.read_text() else []
    return under_way


LATE_HOOKS = """
from bgjobd.supervisor import hook, patience, processes
hook._LIMIT, patience.PATIENCE = 0.2, 1.0
"""
UNKILLABLE = """
hook.LONG_DYING, processes.signal_group = 1.2, lambda pidfd, pid, number: None
"""
"""Once that is told the fork server would have been replaced, had it been waited for since the kill."""
STOPPED = """
import os, signal

_on_limit = hook.Hook._on_limit


def _stop_its_server(one):
    os.kill(one.server.pid, signal.SIGSTOP)
    _on_limit(one)


hook.Hook._on_limit = _stop_its_server
"""
LATE = "the failed hook: ran longer than 0.2 s, and was killed"
OF_LATE_HOOKS = "SELECT message FROM job_logs WHERE message LIKE 'the failed hook: %' ORDER BY id"


def test_a_hook_that_waits_in_the_kernel_is_no_fault_of_its_fork_server(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, SETTINGS, modules=_modules(tmp_path), changes=LATE_HOOKS + UNKILLABLE) as running,
        running.client() as client,
    ):
        client.run_background_job("later.Hooked", "fail").wait(20)
        server = running.fork_server()
        ((told,),) = eventually(lambda: running.query(OF_LATE_HOOKS))
        assert re.fullmatch(
            r".*: its process \(pid \d+\) was killed 1.2 s ago .*; it waits in the kernel", told
        )
        (tmp_path / "hook_may_end").touch()
        eventually(lambda: len(running.query(OF_LATE_HOOKS)) == 2)
        assert running.children() == [server]


def test_a_fork_server_that_does_not_tell_of_the_end_of_a_late_hook_is_replaced(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, SETTINGS, modules=_modules(tmp_path), changes=LATE_HOOKS + STOPPED) as running,
        running.client() as client,
    ):
        server = _ready_server(running, client)
        client.run_background_job("later.Hooked", "fail")
        eventually(lambda: running.children() not in ([], [server]))
        assert eventually(lambda: running.query(OF_LATE_HOOKS)) == [(LATE,)]


UNREADABLE = """
import errno, os

_try_read = processes.AttemptProcess.try_read


def _in_vain_once_it_has_ended(one):
    if one.exit is not None and not os.path.exists("GO"):
        with open("TRIES", "a") as tries:
            tries.write("in vain\\n")
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return _try_read(one)


processes.AttemptProcess.try_read, processes.LAST_LOOK = _in_vain_once_it_has_ended, 0.05
"""
"""The daemon has no descriptor for a hook's journal, once it was told that the hook has ended."""


def test_a_fork_server_that_has_told_of_the_end_of_a_late_hook_owes_nothing(tmp_path: Path) -> None:
    go, tries = tmp_path / "there_are_descriptors", tmp_path / "tries"
    unreadable = UNREADABLE.replace("GO", str(go)).replace("TRIES", str(tries))
    with (
        daemon(tmp_path, SETTINGS, modules=_modules(tmp_path), changes=LATE_HOOKS + unreadable) as running,
        running.client() as client,
    ):
        server = _ready_server(running, client)
        client.run_background_job("later.Hooked", "fail").wait(20)
        # For twice as long as a fork server is waited for.
        eventually(lambda: tries.exists() and len(tries.read_text().splitlines()) > 40)
        go.touch()
        assert eventually(lambda: running.query(OF_LATE_HOOKS)) == [(LATE,)]
        assert running.children() == [server]
