"""Attempts of a fork server that the test drives: what the journal says, whatever the job does."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver import journal_file, journal_lines, spool_names, wire
from bgjobd.forkserver.process_identity import ahead, pidfd_inode
from bgjobd.forkserver.subreaper import children
from tests.faults.injecting import leased
from tests.forkserver.driven import DrivenServer, fork_server, order
from tests.support import eventually

SYSTEM_PYTHON = "/usr/bin/python3"
USAGE = {"max_rss": 1, "cpu_user": 0.5, "cpu_system": 0, "output_bytes": 0}


def test_a_journal_has_start_outcome_and_exit_of_the_same_process(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        journal = server.run(1, "echo", value=[1, "ä"])
    assert journal.started is not None
    assert journal.outcome is not None
    assert journal.exit is not None
    assert journal.started["pid"] == journal.outcome["pid"] == journal.exit["pid"]
    assert journal.started["token"] == "aa"
    assert journal.started["boot_id"] == "b00"
    assert journal.outcome["result"] == [1, "ä"]
    assert (journal.exit["code"], journal.exit["signal"]) == (0, None)
    assert journal.exit["usage"]["max_rss"] > 0
    assert journal.started["monotonic"] < journal.exit["monotonic"] < time.monotonic()


def test_an_attempt_that_was_fenced_first_never_runs(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        directory = os.open(server.spool, os.O_RDONLY)
        assert (
            journal_file.link_first(directory, spool_names.file_name(1, 1), journal_lines.fenced())
            is not None
        )
        server.start(1, "echo")
        assert server.receive()["job"] == 1
        journal = server.journal(1)
        assert journal is not None
        assert journal.started is None
        assert journal.outcome is None
        os.close(directory)


def test_a_forked_copy_of_the_job_that_returns_writes_no_outcome(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        journal = server.run(1, "fork_and_return")
    assert journal.outcome is not None
    assert journal.outcome["result"] == "the original"


def test_a_job_that_closes_and_reuses_the_journals_descriptor_harms_nobody(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        journal = server.run(1, "close_everything")
    assert journal.outcome is None
    assert journal.exit is not None
    assert journal.exit["code"] == 0


@pytest.mark.parametrize(
    "method", ["have_a_stdout_that_raises", "have_a_stdout_that_exits", "have_no_stdout"]
)
def test_a_job_that_leaves_a_stdout_which_raises_has_its_result_and_its_process_ends_as_any(
    tmp_path: Path, method: str
) -> None:
    with fork_server(tmp_path) as server:
        journal = server.run(1, method)
    assert journal.outcome is not None
    assert journal.outcome["result"] == "done"
    assert journal.exit is not None
    assert journal.exit["code"] == 0


def test_an_error_whose_text_raises_is_told_all_the_same(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        journal = server.run(1, "raise_unprintable")
        surrogate = server.run(2, "surrogate")
    assert journal.outcome is not None
    assert journal.outcome["error_message"] == "<str() of this error raised RuntimeError>"
    assert surrogate.outcome is not None
    assert surrogate.outcome["error_message"] == "?"


def test_a_method_that_is_not_approved_fails_in_the_child_and_is_not_retried(tmp_path: Path) -> None:
    with fork_server(tmp_path, approved={"probes.Probe": ["echo"]}) as server:
        journal = server.run(1, "wait_for", path="/")
    assert journal.outcome is not None
    assert journal.outcome["error_type"] == "MethodNotApproved"
    assert journal.outcome["may_retry"] is False


def test_a_killed_attempt_has_the_signal_in_its_exit_record(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        server.start(1, "wait_for", path=str(tmp_path / "go"))
        started = server.wait_for_start(1).started
        assert started is not None
        assert started["pidfd_inode"] == pidfd_inode(started["pid"])
        os.kill(started["pid"], signal.SIGKILL)
        assert server.receive()["type"] == "ended"
        journal = server.journal(1)
    assert journal is not None
    assert journal.exit is not None
    assert (journal.exit["code"], journal.exit["signal"]) == (None, signal.SIGKILL)


def test_without_room_in_the_spool_the_attempt_is_reported_as_not_started(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        os.rename(server.spool, tmp_path / "moved")
        (tmp_path / "moved").rmdir()
        server.start(1, "echo")
        answer = server.receive()
    assert answer["type"] == "not_started"
    assert "could not be made" in answer["reason"]


def test_the_fork_server_outlives_its_daemon_until_the_last_exit_is_recorded(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        server.start(1, "wait_for", path=str(tmp_path / "go"))
        server.wait_for_start(1)
        server.link.close()
        assert server.process.poll() is None
        (tmp_path / "go").touch()
        assert server.process.wait(20) == 0
        journal = server.journal(1)
    assert journal is not None
    assert journal.exit is not None
    assert journal.exit["code"] == 0
    assert journal.exit["usage"]["cpu_user"] >= 0


def test_starts_already_queued_are_carried_out_although_the_daemon_died(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        for job in range(1, 6):
            server.start(job, "echo", value=job)
        server.link.close()  # unread answers make this a reset at the other end
        os.kill(server.process.pid, signal.SIGCONT)
        assert server.process.wait(20) == 0
        outcomes = [server.journal(job) for job in range(1, 6)]
    assert [one.outcome["result"] for one in outcomes if one and one.outcome] == [1, 2, 3, 4, 5]


def test_a_torn_message_at_the_end_of_the_link_is_dropped(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        server.link.sendall(wire.encode(order(1, "echo"))[:-5])
        server.link.shutdown(socket.SHUT_WR)
        assert server.process.wait(20) == 0
        assert server.journal(1) is None


def test_an_idle_fork_server_does_not_wake_up(tmp_path: Path) -> None:
    with fork_server(tmp_path) as server:
        server.run(1, "echo")
        stat = Path(f"/proc/{server.process.pid}/status")
        eventually(lambda: len(children(server.process.pid)) == 2)  # its spares
        eventually(lambda: "S (sleeping)" in stat.read_text())
        before = [line for line in stat.read_text().splitlines() if "ctxt" in line]
        server.link.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.receive()
        assert [line for line in stat.read_text().splitlines() if "ctxt" in line] == before


def test_it_runs_under_the_systems_python_without_bgjobd(tmp_path: Path) -> None:
    lacks = subprocess.run([SYSTEM_PYTHON, "-I", "-c", "import bgjobd"], capture_output=True)
    assert lacks.returncode == 1
    with fork_server(tmp_path, python=SYSTEM_PYTHON) as server:
        assert server.ready["executable"] == SYSTEM_PYTHON
        assert server.run(1, "echo", value=7).outcome == pytest.approx(
            {"v": 1, "type": "outcome", "outcome": "completed", "pid": _pid(server), "result": 7}
        )


def _pid(server: DrivenServer) -> int:
    journal = server.journal(1)
    assert journal is not None
    assert journal.started is not None
    return int(journal.started["pid"])


def test_a_torn_line_swallows_no_exit_record() -> None:
    torn = journal_lines.started("aa", 5, 0, 9, "b00", 0.0) + b'{"v":1,"type":"outcome","pid":5,"resu'
    journal = journals.parse(torn + b"\n" + journal_lines.exited(5, 1.0, None, 9))
    assert journal.outcome is None
    assert journal.exit is not None
    assert journal.exit["signal"] == 9


def test_only_the_first_outcome_of_the_attempts_own_process_counts_and_the_last_exit() -> None:
    lines = [
        journal_lines.started("aa", 5, 0, 9, "b00", 0.0),
        journal_lines.completed(6, '"forged"'),
        journal_lines.completed(5, '"first"'),
        journal_lines.completed(5, '"second"'),
        journal_lines.exited(5, 1.0, 0, None),
        journal_lines.exited(5, 1.0, 0, None, usage=USAGE),
        b'{"type": "system", "exc_module": "os"}\n',
        b"[]\nnull\n\xff\n",
    ]
    journal = journals.parse(b"".join(lines))
    assert journal.outcome is not None
    assert journal.outcome["result"] == "first"
    assert journal.exit is not None
    assert journal.exit["usage"] == USAGE


def test_the_records_formatted_by_hand_are_json() -> None:
    for line in (
        journal_lines.started("aa", 1, 2, 3, "b-1", 4.5),
        journal_lines.completed(1, '{"a": [null]}'),
    ):
        assert line.endswith(b"\n")
        assert json.loads(line)["v"] == journal_lines.VERSION


def test_a_journal_that_cannot_be_made_leaves_no_descriptor_open(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="name too long"):
        journal_file.link_first(directory, "x" * 300, journal_lines.fenced())
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(directory)


def test_a_journal_that_cannot_be_read_for_want_of_descriptors_is_not_taken_for_one_that_is_gone(
    tmp_path: Path,
) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "1.1.journal").write_bytes(journal_lines.fenced())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            journals.try_read(directory, "1.1.journal")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert journals.try_read(directory, "1.2.journal") is None
    os.close(directory)


def test_a_journal_that_cannot_be_opened_for_whatever_reason_is_not_taken_for_one_that_is_gone(
    tmp_path: Path,
) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    path = tmp_path / "1.1.journal"
    path.write_bytes(journal_lines.fenced())
    with leased(path), pytest.raises(BlockingIOError):
        journals.try_read(directory, path.name)
    journal = journals.try_read(directory, path.name)
    os.close(directory)
    assert journal is not None
    assert journal.fenced is not None


def test_what_is_no_file_under_a_journals_name_is_no_journal(tmp_path: Path) -> None:
    directory = os.open(tmp_path, os.O_RDONLY)
    (tmp_path / "1.1.journal").symlink_to(tmp_path / "1.2.journal")
    (tmp_path / "1.2.journal").mkdir()
    os.mkfifo(tmp_path / "1.3.journal")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(f"/proc/self/fd/{directory}/1.4.journal")
        assert [journals.try_read(directory, f"1.{number}.journal") for number in range(1, 5)] == [None] * 4
    os.close(directory)


def test_the_clock_of_an_ended_process_that_nobody_has_reaped_is_no_other_than_ours() -> None:
    ended = subprocess.Popen(["true"])
    os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
    assert ahead("monotonic", ended.pid) == 0.0
    ended.wait()
