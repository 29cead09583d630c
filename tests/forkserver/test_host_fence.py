"""A fork server whose host is cut off: what others may repeat ends in time, by itself, and nothing else does."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgjobd.forkserver import host_fence, wire
from bgjobd.forkserver.process_identity import ahead
from tests.daemon.running import links_of
from tests.faults.injecting import needs_root
from tests.forkserver.driven import DrivenServer, Told, fork_server, order
from tests.support import eventually

SOON = 2.0
"""Within which an attempt starts, though the machine is busy."""

FAR = 1000.0
IN_ANOTHER_TIME = ("unshare", "-T", "--monotonic", "100000", "--boottime", "200000")


def move(fence: Path, seconds: float) -> None:
    """Let the host's attempts run for so long from now on."""
    until = time.clock_gettime(time.CLOCK_BOOTTIME) - ahead("boottime") + seconds
    made = fence.with_name("made")
    made.write_bytes(host_fence.text_of(until))
    made.rename(fence)


def repeatable(job: int, method: str, grace: float = 60.0, **parameters: Any) -> wire.Message:
    return order(job, method, **parameters) | {"repeatable": True, "stop_grace": grace}


def stop_file(server: DrivenServer, job: int) -> Path:
    return server.spool / f"{job}.1.stop"


def alarms(server: DrivenServer, pid: int | None = None) -> list[dict[str, str]]:
    """What the kernel tells of the timers that a process has open."""
    place = Path(f"/proc/{pid or server.process.pid}")
    texts = []
    for descriptor, target in links_of(pid or server.process.pid).items():
        if target == "anon_inode:[timerfd]":
            with suppress(FileNotFoundError):  # it has closed it since
                texts.append((place / "fdinfo" / str(descriptor)).read_text())
    return [dict(line.split(":", 1) for line in text.splitlines()) for text in texts]


def seconds_left(server: DrivenServer) -> int:
    """Until the fork server's alarm."""
    (alarm,) = alarms(server)
    return int(alarm["it_value"].strip(" (").split(",")[0])


def is_set(server: DrivenServer) -> bool:
    (alarm,) = alarms(server)
    return alarm["it_value"].strip() != "(0, 0)"


@pytest.fixture
def fence(tmp_path: Path) -> Path:
    return tmp_path / "fence"


def ended(server: DrivenServer) -> dict[str, Any]:
    told = server.receive()
    assert told["type"] == "ended"
    return told


def test_what_others_may_repeat_ends_when_nobody_moves_the_fence_and_nothing_else_does(
    tmp_path: Path, fence: Path
) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        server.send(order(2, "wait_for", path=str(tmp_path / "go")))
        server.wait_for_start(2)
        move(fence, SOON)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "never")))
        told = ended(server)
        assert (told["job"], told["exit"]["signal"], told["exit"]["stopped"]) == (1, 15, "fenced")
        assert stop_file(server, 1).read_text() == "fenced\n"
        (tmp_path / "go").touch()
        other = ended(server)
        assert (other["job"], other["exit"]["code"], other["exit"].get("stopped")) == (2, 0, None)
        assert not stop_file(server, 2).exists()


def test_a_fence_that_is_moved_in_time_ends_nobody(tmp_path: Path, fence: Path) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        move(fence, 2 * SOON)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "go")))
        server.wait_for_start(1)
        move(fence, FAR)
        eventually(lambda: seconds_left(server) > FAR / 2)
        (tmp_path / "go").touch()
        assert ended(server)["exit"]["code"] == 0
        eventually(lambda: server.journal(1))
        assert not stop_file(server, 1).exists()


def test_a_file_that_is_gone_says_nothing_and_one_without_an_end_lifts_it(
    tmp_path: Path, fence: Path
) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        move(fence, SOON)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "go")))
        server.wait_for_start(1)
        fence.unlink(missing_ok=True)
        assert ended(server)["exit"]["stopped"] == "fenced"
        fence.write_bytes(host_fence.text_of(float("inf")))
        server.send(repeatable(2, "wait_for", path=str(tmp_path / "go")))
        server.wait_for_start(2)
        assert not is_set(server)
        (tmp_path / "go").touch()
        assert ended(server)["exit"]["code"] == 0


def test_who_does_not_leave_is_killed_after_the_grace(tmp_path: Path, fence: Path) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        move(fence, SOON)
        server.send(repeatable(1, "resist", grace=0.3, path=str(tmp_path / "deaf")))
        eventually((tmp_path / "deaf").exists)
        server.send(repeatable(2, "wait_for", grace=0.3, path=str(tmp_path / "never")))
        assert {(one["job"], one["exit"]["signal"]) for one in (ended(server), ended(server))} == {
            (1, 9),
            (2, 15),
        }


def test_no_attempt_starts_while_the_host_is_cut_off(tmp_path: Path, fence: Path) -> None:
    move(fence, -1.0)
    with fork_server(tmp_path, fence=fence) as server:
        for job, message in ((1, repeatable(1, "echo")), (2, order(2, "echo"))):
            server.send(message)
            told = server.receive()
            assert (told["type"], told["job"]) == ("not_started", job)
            assert told["reason"] == "its host is cut off from the database"
        move(fence, FAR)
        server.send(repeatable(3, "echo"))
        assert ended(server)["exit"]["code"] == 0


def test_a_fork_server_without_its_daemon_ends_what_others_may_repeat(tmp_path: Path, fence: Path) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        move(fence, SOON)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "never")))
        server.wait_for_start(1)
        server.link.close()
        exit_record = eventually(lambda: _exit_of(server.journal(1)))
        assert (exit_record["signal"], exit_record["stopped"]) == (15, "fenced")
        assert server.process.wait(20) == 0


def test_a_fork_server_without_its_daemon_minds_that_the_next_one_ends_sooner(
    tmp_path: Path, fence: Path
) -> None:
    with fork_server(tmp_path, fence=fence) as server:
        move(fence, FAR)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "never")))
        server.wait_for_start(1)
        server.link.close()
        eventually(lambda: "anon_inode:inotify" in links_of(server.process.pid).values())
        move(fence, 0.5)
        exit_record = eventually(lambda: _exit_of(server.journal(1)))
        assert (exit_record["signal"], exit_record["stopped"]) == (15, "fenced")


def _exit_of(journal: Told | None) -> dict[str, Any] | None:
    return None if journal is None else journal.exit


def test_without_a_fence_there_is_no_timer_and_an_attempt_never_has_one(tmp_path: Path, fence: Path) -> None:
    with fork_server(tmp_path) as server:
        assert alarms(server) == []
    move(fence, FAR)
    (tmp_path / "other").mkdir()
    with fork_server(tmp_path / "other", fence=fence) as server:
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "go")))
        journal = server.wait_for_start(1)
        assert journal.started is not None
        assert journal.started["grace"] == 60.0
        assert len(alarms(server)) == 1
        eventually(lambda: os.getsid(journal.started["pid"]) == journal.started["pid"])
        assert alarms(server, journal.started["pid"]) == []


def test_the_timer_counts_sleep_and_is_set_only_while_somebody_is_to_be_ended(
    tmp_path: Path, fence: Path
) -> None:
    move(fence, FAR)
    with fork_server(tmp_path, fence=fence) as server:
        (alarm,) = alarms(server)
        assert int(alarm["clockid"]) == time.CLOCK_BOOTTIME
        assert not is_set(server)
        move(fence, SOON)
        server.send(repeatable(1, "echo"))
        ended(server)
        assert is_set(server)
        move(fence, FAR)
        eventually(lambda: not is_set(server))


@needs_root
def test_the_fence_is_of_the_machines_clock_in_whatever_time_namespace(tmp_path: Path, fence: Path) -> None:
    with fork_server(tmp_path, fence=fence, under=IN_ANOTHER_TIME) as server:
        move(fence, SOON)
        assert ahead("boottime", server.process.pid) == pytest.approx(200000)
        server.send(repeatable(1, "wait_for", path=str(tmp_path / "never")))
        server.wait_for_start(1)
        assert ended(server)["exit"]["stopped"] == "fenced"
