"""Spares of a fork server that the test drives: attempts are handed to them, and their deaths are no attempts'."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from bgjobd.forkserver.subreaper import children
from tests.forkserver.driven import DrivenServer, fork_server, order
from tests.support import eventually


def _spares(server: DrivenServer, count: int) -> set[int]:
    """Its children once there are so many, where none of them is an attempt."""
    pid = server.process.pid
    eventually(lambda: len(children(pid)) == count)
    return children(pid)


def _pid(server: DrivenServer, job: int, method: str = "echo", **parameters: object) -> int:
    journal = server.run(job, method, **parameters)
    assert journal.outcome is not None
    assert journal.exit is not None
    pid: int = journal.exit["pid"]
    return pid


def _has_ended(pid: int) -> bool:
    """Whether it is gone, or a zombie, which holds nothing open."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def _waits(pid: int) -> bool:
    """Whether it has come to where it sleeps until there is an order."""
    return "\nState:\tS" in Path(f"/proc/{pid}/status").read_text()


def test_attempts_are_handed_to_spares_and_others_are_forked_in_their_place(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        first = _spares(server, 2)
        assert _pid(server, 1) in first
        second = _spares(server, 2)
        assert second != first
        assert _pid(server, 2, value="ä" * 3000) in second


def _called(pid: int) -> str:
    """As ps has it."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()


def test_each_child_is_called_by_what_it_is(tmp_path: Path) -> None:
    release = tmp_path / "release"
    with fork_server(tmp_path) as server:
        own = _called(server.process.pid)
        for spare in _spares(server, 2):
            eventually(lambda spare=spare: _called(spare) == "bgjobd: spare")
        server.start(1, "wait_for", path=str(release))
        journal = server.wait_for_start(1)
        assert journal.started is not None
        pid = journal.started["pid"]
        eventually(lambda: _called(pid) == "bgjobd: job 1 probes.Probe::wait_for")
        assert _called(server.process.pid) == own
        release.touch()
        server.receive()


def test_of_a_title_that_is_longer_than_the_command_line_the_beginning_is_shown(tmp_path: Path) -> None:
    code = "from bgjobd.forkserver import title; title.made()('x' * 1000); print(open('/proc/self/cmdline').read())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "x" * len("\0".join([sys.executable, "-c", code])) + "\0\n"


def test_there_are_no_more_spares_than_free_slots(tmp_path: Path) -> None:
    with fork_server(tmp_path, spares=9) as server:
        before = _spares(server, 4)
        release = tmp_path / "release"
        server.start(1, "wait_for", path=str(release))
        journal = server.wait_for_start(1)
        assert journal.started is not None
        assert journal.started["pid"] in before
        assert _spares(server, 4) == before
        release.touch()
        assert server.receive()["type"] == "ended"
        assert len(_spares(server, 4) - before) == 1


def test_a_spare_that_died_had_no_attempt_and_is_not_replaced_until_one_is_used(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        killed = _spares(server, 2)
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        assert _spares(server, 0) == set()
        assert _pid(server, 1) not in killed
        _spares(server, 2)


def test_an_order_that_finds_its_spare_dying_goes_to_another_or_is_forked(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        stopped = _spares(server, 2)
        os.kill(server.process.pid, signal.SIGSTOP)
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: all(map(_has_ended, stopped)))
        server.start(1, "echo")
        os.kill(server.process.pid, signal.SIGCONT)
        ended = server.receive()
        assert (ended["type"], ended["job"]) == ("ended", 1)


def test_an_order_that_is_longer_than_a_pipe_is_forked(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        spares = _spares(server, 2)
        assert _pid(server, 1, value="x" * 200_000) not in spares
        assert _spares(server, 2) == spares


def test_an_order_for_a_spare_that_died_does_not_end_who_takes_sigpipe_by_its_default(tmp_path: Path) -> None:
    (tmp_path / "broken_pipes.py").write_text(SIGPIPE)
    with fork_server(tmp_path, approved={"broken_pipes.Pipes": None}) as server:
        spares = _spares(server, 2)
        os.kill(server.process.pid, signal.SIGSTOP)
        for pid in spares:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: all(map(_has_ended, spares)))
        server.send({**order(1, "disposition"), "class_name": "broken_pipes.Pipes"})
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.receive()["type"] == "ended"
        journal = server.journal(1)
        assert journal is not None
        assert journal.outcome is not None
        # The application's own, in its attempts.
        assert journal.outcome.get("result") == signal.SIG_DFL, journal.outcome


SIGPIPE = """
import signal
signal.signal(signal.SIGPIPE, signal.SIG_DFL)

class Pipes:
    def disposition(self):
        return int(signal.getsignal(signal.SIGPIPE))
"""


def test_a_spare_whose_means_somebody_lowered_starts_nothing_and_says_so(tmp_path: Path) -> None:
    with fork_server(tmp_path, spares=1) as server:
        (spare,) = _spares(server, 1)
        resource.prlimit(spare, resource.RLIMIT_NOFILE, (64, 64))
        server.start(1, "echo")
        told = server.receive()
        assert told["type"] == "not_started"
        lowered = f"somebody has lowered what process {spare}, which waited for it, may use: RLIMIT_NOFILE"
        assert told["reason"] == lowered
        assert _pid(server, 2) != spare


def test_spares_end_with_their_fork_server(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        spares = _spares(server, 2)
        server.process.kill()
        eventually(lambda: all(map(_has_ended, spares)))


def test_spares_that_somebody_has_stopped_end_with_their_fork_server(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        spares = _spares(server, 2)
        eventually(lambda: all(map(_waits, spares)))
        for pid in spares:
            os.kill(pid, signal.SIGSTOP)
        server.process.kill()
        eventually(lambda: all(map(_has_ended, spares)))


def test_what_lies_in_the_spool_holds_up_no_spare(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        _spares(server, 2)
        os.mkfifo(server.spool / "0.0.journal")  # as if there were such an attempt
        _pid(server, 1)
        _spares(server, 2)
        _pid(server, 2)


def test_spares_end_with_the_code_that_they_are_of_while_attempts_go_on(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        release = tmp_path / "release"
        server.start(1, "wait_for", path=str(release))
        journal = server.wait_for_start(1)
        server.send({"type": "drain"})
        assert journal.started is not None
        assert _spares(server, 1) == {journal.started["pid"]}
        release.touch()
        assert server.process.wait(20) == 0


def test_spares_that_lead_to_directories_of_before_are_let_go(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        before = _spares(server, 2)
        server.output.rename(tmp_path / "moved")
        server.output.mkdir()
        server.send({"type": "reopen"})
        server.send(order(1, "echo"))
        assert server.receive()["type"] == "ended"
        eventually(lambda: before.isdisjoint(_spares(server, 2)))  # those that are let go may be dying
