"""Starts that end their fork server: the guilty is found by starting alone, and given up; nobody else pays for it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bgjob import Client
from bgjobd.commands import check_books
from bgjobd.forkserver import journal_file, journal_lines
from tests.daemon.running import RunningDaemon, daemon
from tests.faults.books import settings_of
from tests.support import eventually

POISONOUS = '''
import os, signal, sys


def _before_fork():
    """As a library may have it that holds a lock or a thread since its import; this one minds what is started."""
    order = sys._getframe(1).f_locals.get("order")
    if order is not None and (order.class_name, order.is_hook) in (
        ("poisonous.Poison", False), ("poisonous.Hooked", True)
    ):
        os.kill(os.getpid(), signal.SIGSEGV)


os.register_at_fork(before=_before_fork)


class Poison:
    def run(self):
        return "never"

    def failed(self, error):
        with open("LEDGER", "a") as ledger:
            ledger.write(f"{error.message}\\n")


class Hooked:
    def run(self):
        raise ValueError("no recipient")

    def failed(self, error):
        open("LEDGER", "a").write("never")
'''
SETTINGS = '"poisonous.Poison" = {}\n"poisonous.Hooked" = { max_retries = 0 }\n'
SOON = """
from bgjobd.supervisor import fork_servers
from bgjobd.core import retry
fork_servers._FIRST_PAUSE = fork_servers._LONGEST_PAUSE_AFTER_CRASH = retry._FIRST_START_DELAY = 0.1
"""
"""A daemon that does not pause for long after what ended its fork server."""

FORKING = {"BGJOBD_DAEMON__SPARES": "0"}
"""One whose starts fork: a spare is forked before anybody knows what it will run."""


def test_starts_that_end_their_fork_server_are_given_up_after_three_and_cost_nobody_else_anything(
    tmp_path: Path,
) -> None:
    modules = {"poisonous": POISONOUS.replace("LEDGER", str(tmp_path / "ledger"))}
    with (
        daemon(tmp_path, SETTINGS, modules=modules, environ=FORKING, changes=SOON) as running,
        running.client() as client,
    ):
        client.pause("default")
        hooked = client.run_background_job("poisonous.Hooked", "run").id
        guilty = client.run_background_job("poisonous.Poison", "run").id
        innocent = [client.run_background_job("probes.Probe", "echo", {"value": n}).id for n in range(20)]
        client.resume("default")
        assert {client.get(job).wait(60)["status"] for job in innocent} == {"completed"}
        job = client.get(guilty).wait(60)
        assert (job["status"], job["crashes"], job["retry_count"]) == ("failed", 3, 0)
        assert job["error"] == "quarantined: 3 starts in a row ended their fork server (signal 11)"
        assert f"`bgjob retry {guilty}` has it start again" in client.why(guilty)
        spent = "SELECT DISTINCT retry_count, crashes FROM background_jobs WHERE status = 'completed'"
        assert running.query(spent) == [(0, 0)]
        hook = "the failed hook: given up, as 3 starts in a row ended their fork server (signal 11)"
        eventually(lambda: hook in [entry["message"] for entry in client.get(hooked).logs()])
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(60) == 3
        assert eventually(
            lambda: any("ended (signal 11); starting another" in line for line in running.lines())
        )
        ledger = tmp_path / "ledger"
        told = "the attempt could not start: its fork server ended before it began (signal 11)\n"
        assert eventually(lambda: ledger.exists() and ledger.read_text()) == told
        eventually(lambda: running.spooled() == [])  # nor is anybody still about to see the hook's end
        running.stop()
        assert check_books.audit(settings_of(running.config)).findings == ()
        _assert_hook_is_owed_until_it_was_called(running, guilty, len(job["attempts"]), ledger)


def _assert_hook_is_owed_until_it_was_called(
    running: RunningDaemon, job: int, number: int, ledger: Path
) -> None:
    """As a daemon leaves it that dies before the hook of a job has begun whose attempts never did."""
    directory = os.open(running.spool, os.O_RDONLY)
    journal_file.link_first(directory, f"{job}.{number}.journal", journal_lines.fenced())
    os.close(directory)
    for _ in range(2):
        running.start()
        eventually(lambda: len(ledger.read_text().splitlines()) == 2)
        eventually(lambda: not (running.spool / f"{job}.{number}.journal").exists())
        with running.client() as client:
            assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
        assert len(ledger.read_text().splitlines()) == 2
        running.stop()


def test_a_fork_server_that_ends_again_and_again_is_not_started_again_at_once(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        for _ in range(2):
            loaded_at = eventually(lambda: client.stats()["loaded_at"])
            os.kill(running.fork_server(), signal.SIGKILL)
            eventually(lambda at=loaded_at: client.stats()["loaded_at"] != at)
        told = "starting another in 1 s, as 2 in a row ended before anything had begun"
        eventually(lambda: any(told in line for line in running.lines()))
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3


def test_a_job_that_waits_for_one_that_goes_alone_can_be_cancelled(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        client.classes()
        suspect = client.get(start_that_ended_its_fork_server(running, client))
        with stopped(running.fork_server()):
            client.resume("default")
            eventually(lambda: "has not proved its start" in client.why(suspect.id))
            waiting = client.run_background_job("probes.Probe", "echo", {"value": 2})
            eventually(lambda: "waits for a start before it that goes alone" in client.why(waiting.id))
            waiting.cancel()
            assert waiting.wait(20)["status"] == "cancelled"
        assert suspect.result(20) == 1
        assert client.get(suspect.id).snapshot["crashes"] == 0


def test_a_drain_gives_back_who_waits_for_one_that_goes_alone_and_starts_none_of_them(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            client.classes()
            suspect = start_that_ended_its_fork_server(running, client)
            with stopped(running.fork_server()):
                first = client.run_background_job("probes.Probe", "echo", {"value": 1}, priority=1)
                note = {"ledger": str(ledger)}
                behind = client.run_background_job("probes.Probe", "note", note, priority=-1)
                client.resume("default")
                eventually(lambda: "waits for a start before it" in client.why(behind.id))
                assert "goes alone, once those before it" in client.why(suspect)
                running.process.send_signal(signal.SIGQUIT)
                eventually(lambda: any("draining" in line for line in running.lines()))
                waits = "SELECT count(*) FROM background_jobs WHERE status = 'pending'"
                eventually(lambda: running.query(waits) == [(2,)])
        assert running.process.wait(20) == 0
        assert not ledger.exists()
        running.start()
        with running.client() as client:
            assert client.get(first.id).wait(20)["status"] == "completed"
            assert client.get(behind.id).wait(20)["status"] == "completed"
        assert len(ledger.read_text().splitlines()) == 1


def start_that_ended_its_fork_server(running: RunningDaemon, client: Client) -> int:
    """The job of a start that goes alone, in a queue that is paused."""
    with stopped(running.fork_server()) as server:
        suspect = client.run_background_job("probes.Probe", "echo", {"value": 1})
        eventually(lambda: client.get(suspect.id).snapshot["status"] == "running")
        client.pause("default")
        os.kill(server, signal.SIGKILL)
    eventually(lambda: client.get(suspect.id).snapshot["crashes"] == 1)
    eventually(lambda: client.stats()["loaded_at"])
    eventually(lambda: "is to be tried again" not in client.why(suspect.id))
    return suspect.id


@contextmanager
def stopped(pid: int) -> Iterator[int]:
    """The process does nothing meanwhile."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
