"""What an attempt writes cannot be written for a while: nothing is spent, nothing runs twice, all completes later."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob.errors import ReloadFailedError
from bgjobd.forkserver import journal_file, state_file
from bgjobd.supervisor import journal_facts
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.faults.injecting import fill, full_disk, needs_root, pid_of, small_disk
from tests.forkserver.driven import DrivenServer, Told, fork_server, order
from tests.support import eventually, remove_tree

pytestmark = needs_root

FILLING = """
import os
import sys

import bgjob


class Filling:
    def fill(self, path, size):
        fill(path)
        return "x" * size

    def fill_and_print(self, path):
        fill(path)
        print("p" * 10_000)
        print("and more", file=sys.__stderr__, flush=True)
        return "printed"

    def fill_and_raise(self, path):
        fill(path)
        raise ValueError("y" * 60_000)

    def fill_and_tell(self, context: "bgjob.JobContext", path):
        fill(path)
        for count in range(100):
            context.logger.info("z" * 1000)
        return "told"

    def fill_and_save(self, context: "bgjob.JobContext", path):
        context.state["n"] = 0
        fill(path)
        for n in range(1, 4):
            context.state.update(n=n, text=str(n) * 60_000)
        return context.state["n"]


def fill(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    for size in (4096, 1):
        try:
            while True:
                os.write(descriptor, bytes(size))
        except OSError:
            continue
    os.close(descriptor)
"""
FILLER = "filler"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DrivenServer]:
    """A fork server all of whose directories are on a small file system of their own."""
    place = tmp_path / "disk"
    with small_disk(place, "512k"):
        (place / "filling.py").write_text(FILLING)
        with fork_server(place, approved={"filling.Filling": None}) as server:
            yield server


def _start(server: DrivenServer, method: str, **parameters: Any) -> None:
    """Have job 1 started, which fills the disk."""
    parameters["path"] = str(server.work.parent / FILLER)
    server.send({**order(1, method, **parameters), "class_name": "filling.Filling"})


def _end(server: DrivenServer) -> Told:
    assert server.receive()["type"] == "ended"
    journal = server.journal(1)
    assert journal is not None
    assert journal.exit is not None
    assert journal.exit["usage"]  # the exit is recorded twice, however full the spool
    return journal


def _waiting(server: DrivenServer) -> Told:
    """The journal of the attempt once it waits for room."""
    journal: Told = eventually(lambda: (found := server.journal(1)) and found.waiting and found)
    return journal


MADE_IN = {"output": "output file", "work": "working directory", "spool": "journal"}
"""What an attempt needs, in the order in which it is made, by its directory."""


def _take_inodes(place: Path, leave: int) -> list[Path]:
    """Let no more inodes be free than that."""
    taken: list[Path] = []
    while os.statvfs(place).f_ffree > leave:
        taken.append(place / f"taken{len(taken)}")
        taken[-1].touch()
    return taken


@pytest.mark.parametrize(("left", "what"), list(enumerate(MADE_IN)), ids=list(MADE_IN))
def test_an_attempt_for_which_there_is_no_inode_does_not_start_says_why_and_leaves_nothing(
    tmp_path: Path, left: int, what: str
) -> None:
    with small_disk(tmp_path / "disk", "512k,nr_inodes=40"), fork_server(tmp_path / "disk") as server:
        taken = _take_inodes(tmp_path / "disk", left)
        server.start(1, "echo", value=7)
        told = server.receive()
        assert (told["type"], told["unwritable"]) == ("not_started", what)
        where = getattr(server, what)
        assert told["reason"] == f"its {MADE_IN[what]} could not be made in {where}: No space left on device"
        assert [*server.spool.iterdir(), *server.output.iterdir(), *server.work.iterdir()] == []
        for path in taken:
            path.unlink()
        journal = server.run(1, "echo", value=7)
    assert journal.outcome is not None
    assert journal.outcome["result"] == 7


def test_an_attempt_for_whose_end_there_is_no_room_does_not_start(server: DrivenServer) -> None:
    fill(server.work.parent / FILLER, leave=journal_file.RESERVE - 1)
    _start(server, "fill", size=1)
    told = server.receive()
    assert (told["type"], told["unwritable"]) == ("not_started", "spool")
    assert list(server.spool.iterdir()) == []


@pytest.mark.parametrize("what", MADE_IN)
def test_an_attempt_does_not_start_once_a_directory_of_ours_is_gone(tmp_path: Path, what: str) -> None:
    with fork_server(tmp_path) as server:
        getattr(server, what).rmdir()
        server.start(1, "echo")
        told = server.receive()
    assert (told["type"], told["unwritable"]) == ("not_started", what)
    assert told["reason"].endswith("No such file or directory")


def test_a_small_result_and_the_exit_find_room_however_full_the_spool_is(server: DrivenServer) -> None:
    _start(server, "fill", size=4000)
    journal = _end(server)
    assert journal.outcome is not None
    assert journal.outcome["result"] == "x" * 4000
    assert journal.waiting is None


def test_an_error_is_recorded_in_short_where_there_is_no_room_for_all_of_it(server: DrivenServer) -> None:
    _start(server, "fill_and_raise")
    journal = _end(server)
    assert journal.outcome is not None
    assert journal.outcome["error_type"] == "ValueError"
    assert set(journal.outcome["error_message"]) == {"y"}
    assert journal.outcome["traceback"].endswith("yyy\n")


def test_a_print_that_finds_no_room_is_lost_and_not_its_job(server: DrivenServer) -> None:
    _start(server, "fill_and_print")
    journal = _end(server)
    assert journal.outcome is not None
    assert journal.outcome["result"] == "printed"
    told = "10010 bytes that it printed found no room on the disk, and are lost"
    assert [note["message"] for note in journal.notes] == [told]


def test_what_a_job_tells_takes_no_room_from_its_end(server: DrivenServer) -> None:
    _start(server, "fill_and_tell")
    journal = _end(server)
    assert journal.outcome is not None
    assert journal.outcome["result"] == "told"
    told = [one["message"] for one in journal.notes]
    assert 0 < len(told) < 100  # some of what is set aside is for them


def test_a_large_result_waits_for_room_and_is_recorded_once_there_is_some(server: DrivenServer) -> None:
    _start(server, "fill", size=50_000)
    waiting = _waiting(server).waiting
    assert waiting is not None
    assert waiting["message"].endswith(f"bytes waits for room in {server.spool}: No space left on device")
    (server.work.parent / FILLER).unlink()
    journal = _end(server)
    assert journal.outcome is not None
    fact = journal_facts.ended((1, 1), journal)
    assert fact is not None
    assert fact.ending.result == f'"{"x" * 50_000}"'
    assert fact.ending.error_message is None


def test_a_save_waits_for_room_and_the_one_before_it_stays_meanwhile(server: DrivenServer) -> None:
    def saved() -> state_file.Saved:
        place = os.open(server.spool, os.O_RDONLY)
        try:
            return state_file.try_read(place, "1.1.state") or state_file.Saved()
        finally:
            os.close(place)

    _start(server, "fill_and_save")
    eventually(lambda: os.statvfs(server.work.parent).f_bfree == 0)
    assert (saved().number, saved().text) == (1, '{"n":0}')
    (server.work.parent / FILLER).unlink()
    journal = _end(server)
    assert journal.outcome is not None
    assert (journal.outcome["result"], saved().number, saved().size) == (3, 4, 60_017)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_attempt_that_is_ended_while_its_result_waits_is_lost_by_no_doing_of_its_own(
    server: DrivenServer, number: int
) -> None:
    _start(server, "fill", size=50_000)
    started = _waiting(server).started
    assert started is not None
    os.kill(started["pid"], number)
    fact = journal_facts.ended((1, 1), _end(server))
    assert fact is not None
    assert (fact.ending.outcome, fact.ending.signal, fact.ending.spends_retry) == ("lost", number, False)
    assert "its result of 49 KiB found no room in the spool" in fact.ending.error


# A real daemon

NEIGHBOURS = """
import os, time


class Filler:
    def fill(self, go):
        with open("filler", "wb", buffering=0) as file:
            for size in (4096, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    pass
            wait_for(go)


class Neighbour:
    def work(self, ledger, go=None, size=1):
        with open(ledger, "a") as book:
            book.write(f"{os.getpid()}\\n")
        if go:
            wait_for(go)
        return "x" * size


def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)
"""
CLASSES = '"neighbours.Filler" = {}\n"neighbours.Neighbour" = {}\n'
FILLS, WORKS = ("neighbours.Filler", "fill"), ("neighbours.Neighbour", "work")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningDaemon]:
    """A daemon whose runtime directory is small."""
    with (
        small_disk(tmp_path / "run", "8m,nr_inodes=2000"),
        daemon(tmp_path, CLASSES, modules={"neighbours": NEIGHBOURS}) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """A daemon whose disks have room, for all who remove a directory of it or its fork server."""
    directory = tmp_path_factory.mktemp("roomy")
    with daemon(directory, CLASSES, modules={"neighbours": NEIGHBOURS}) as running:
        yield running


def test_one_user_fills_the_spool_and_the_jobs_of_others_wait_and_run_once(
    running: RunningDaemon, tmp_path: Path
) -> None:
    """The daemon has four slots."""
    go, returns, ledger = tmp_path / "go", tmp_path / "returns", tmp_path / "ledger"
    with running.client() as client:
        given = {"ledger": str(ledger), "go": str(returns), "size": 20_000}
        large = [client.run_background_job(*WORKS, given) for _ in range(2)]
        eventually(lambda: ledger.exists() and len(ledger.read_text().split()) == 2)
        client.run_background_job(*FILLS, {"go": str(go)})
        eventually(lambda: os.statvfs(running.spool).f_bavail == 0)
        returns.touch()
        job = {"class_name": WORKS[0], "method_name": WORKS[1], "parameters": {"ledger": str(ledger)}}
        small = client.submit_many([job] * 200)
        told = eventually(
            lambda: (told := client.stats()["storage_trouble"]) and "No space left" in told and told
        )
        assert told.startswith(f"ends of attempts cannot be recorded: {running.spool}: ")
        assert "df -h" in told
        waits = client.why(small[-1].id)
        assert "nothing starts while ends of attempts cannot be recorded" in waits
        eventually(lambda: "its result waits for room" in client.why(large[0].id))
        eventually(lambda: len(client.list(status="running")) == 3)  # who was on the way is given back
        go.touch()
        jobs = [job.wait(60) for job in (*large, *small)]
        assert {job["status"] for job in jobs} == {"completed"}
    outcomes = running.query("SELECT outcome, count(*) FROM job_attempts GROUP BY outcome")
    assert {outcome for outcome, _ in outcomes} <= {"completed", "not_started"}
    assert dict(outcomes)["completed"] == 203
    assert len(ledger.read_text().split()) == 202
    assert running.query("SELECT max(retry_count) FROM background_jobs") == [(0,)]
    lines = [line for line in running.lines() if "recorded" in line]
    assert ["cannot be recorded" in line for line in lines] == [True, False]
    books.check(running, acknowledged=[job["id"] for job in jobs])


def test_a_job_is_cancelled_though_its_result_waits_and_one_whose_process_dies_runs_again_for_nothing(
    running: RunningDaemon, tmp_path: Path
) -> None:
    returns, ledger = tmp_path / "returns", tmp_path / "ledger"
    # The room of one is not enough for the other.
    given = {"ledger": str(ledger), "go": str(returns), "size": 60_000}
    with running.client() as client:
        cancelled, killed = (client.run_background_job(*WORKS, given) for _ in range(2))
        eventually(lambda: ledger.exists() and len(ledger.read_text().split()) == 2)
        with full_disk(tmp_path / "run"):
            returns.touch()
            for job in (cancelled, killed):
                eventually(lambda job=job: "its result waits for room" in client.why(job.id))
            cancelled.cancel()
            assert cancelled.wait(20)["status"] == "cancelled"
            os.kill(killed.refresh()["attempts"][0]["pid"], signal.SIGKILL)
            eventually(lambda: killed.refresh()["status"] == "pending")
        end = killed.wait(20)
    assert (end["status"], end["retry_count"]) == ("completed", 0)
    assert [one["outcome"] for one in end["attempts"] if one["outcome"] != "not_started"] == [
        "lost",
        "completed",
    ]
    assert len(ledger.read_text().split()) == 3
    books.check(running, acknowledged=[cancelled.id, killed.id])


@pytest.mark.parametrize("what", ["run/spool", "run/work", "state/output"])
def test_a_directory_that_is_removed_is_made_again_and_who_ran_in_it_is_lost_for_nothing(
    roomy: RunningDaemon, tmp_path: Path, what: str
) -> None:
    returns, ledger, removed = tmp_path / "returns", tmp_path / "ledger", roomy.directory / what
    with roomy.client() as client:
        job = client.run_background_job(*WORKS, {"ledger": str(ledger), "go": str(returns)})
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        eventually(ledger.exists)  # who has begun is not in its directory yet
        mode = removed.stat().st_mode
        remove_tree(removed)
        said = client.run_background_job("probes.Probe", "say", {"text": "again"})
        assert said.wait(20)["retry_count"] == 0
        assert removed.stat().st_mode == mode
        returns.touch()
        end = job.wait(20)
        assert (end["status"], end["retry_count"]) == ("completed", 0)
        outcomes = [one["outcome"] for one in end["attempts"]]
        assert outcomes[0] == ("lost" if what == "run/spool" else "completed")
        assert client.stats()["storage_trouble"] is None
    assert eventually(
        lambda: any(f"{what} was removed" in line and "made again" in line for line in roomy.lines())
    )
    books.check(roomy, acknowledged=[job.id])


def test_a_fork_server_that_came_up_while_the_spool_was_made_again_takes_it_up(tmp_path: Path) -> None:
    gate, loading = tmp_path / "gate", tmp_path / "loading"
    slow = (
        f"import os, time\nwhile os.path.exists({str(gate)!r}):\n    open({str(loading)!r}, 'w')\n"
        "    time.sleep(0.01)\nclass Slow: run = print\n"
    )
    with (
        daemon(tmp_path, '"slow.Slow" = {}\n', modules={"slow": slow}) as running,
        running.client() as client,
    ):
        client.classes()
        gate.touch()
        os.kill(pid_of(running), signal.SIGHUP)
        eventually(loading.exists)
        remove_tree(running.spool)
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
        gate.unlink()
        eventually(lambda: any("reloaded: code version" in line for line in running.lines()))
        assert client.run_background_job("probes.Probe", "echo", {"value": 4}).result(20) == 4
        eventually(lambda: len(list(running.spool.glob("fork-server-*"))) == 1)


def _count_ends(running: RunningDaemon) -> int:
    """How many fork servers are known to have ended."""
    return sum("starting another" in line for line in running.lines())


@pytest.mark.parametrize("what", ["run/spool", "run/work", "state/output"])
def test_a_directory_that_was_removed_is_made_again_where_there_is_no_fork_server_to_miss_it(
    roomy: RunningDaemon, what: str
) -> None:
    removed = roomy.directory / what
    with roomy.client() as client:
        client.classes()
        server = roomy.fork_server()
        remove_tree(removed)
        with pytest.raises(ReloadFailedError):
            client.reload()
        eventually(removed.exists)
        client.reload()
        remove_tree(removed)
        ends = _count_ends(roomy)
        for pid in eventually(roomy.children):
            with suppress(ProcessLookupError):  # the one that was drained may be there still
                os.kill(pid, signal.SIGKILL)
        # An attempt that the dead one was asked for, and whose journal may have gone, nobody could repeat.
        eventually(lambda: _count_ends(roomy) > ends)
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
        assert roomy.fork_server() != server
