"""Starts that end their fork server: the guilty is found by starting alone, and given up; nobody else pays for it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from bgjobd import books
from tests.daemon.running import daemon
from tests.faults.books import settings_of
from tests.support import eventually

POISONOUS = '''
import os, signal, sys
from pathlib import Path


def _before_fork():
    """As a library may have it that holds a lock or a thread since its import; this one minds what is started."""
    order = sys._getframe(1).f_locals.get("order")
    if getattr(order, "class_name", "") == "poisonous.Poison" or getattr(order, "is_hook", False):
        os.kill(os.getpid(), signal.SIGSEGV)


os.register_at_fork(before=_before_fork)


class Poison:
    def run(self):
        return "never"


class Hooked:
    def run(self):
        raise ValueError("no recipient")

    def failed(self, error):
        Path("LEDGER").write_text("called")
'''
SETTINGS = '"poisonous.Poison" = {}\n"poisonous.Hooked" = { max_retries = 0 }\n'


def test_starts_that_end_their_fork_server_are_given_up_after_three_and_cost_nobody_else_anything(
    tmp_path: Path,
) -> None:
    modules = {"poisonous": POISONOUS.replace("LEDGER", str(tmp_path / "ledger"))}
    with daemon(tmp_path, SETTINGS, modules=modules) as running, running.client() as client:
        client.pause("default")
        hooked = client.run_background_job("poisonous.Hooked", "run").id
        guilty = client.run_background_job("poisonous.Poison", "run").id
        innocent = [client.run_background_job("probes.Probe", "echo", {"value": n}).id for n in range(20)]
        client.resume("default")
        assert {client.get(job).wait(60)["status"] for job in innocent} == {"completed"}
        job = client.get(guilty).wait(60)
        assert (job["status"], job["crashes"], job["retry_count"], len(job["attempts"])) == (
            "failed",
            3,
            0,
            3,
        )
        assert job["error"] == "quarantined: 3 starts in a row ended their fork server (signal 11)"
        assert f"`bgjob retry {guilty}` has it start again" in client.why(guilty)
        spent = "SELECT DISTINCT retry_count, crashes FROM background_jobs WHERE status = 'completed'"
        assert running.query(spent) == [(0, 0)]
        hook = "the failed hook: given up, as 3 starts in a row ended their fork server (signal 11)"
        eventually(lambda: hook in [entry["message"] for entry in client.get(hooked).logs()])
        assert not (tmp_path / "ledger").exists()
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(60) == 3
        assert any("ended (signal 11); starting another" in line for line in running.lines())
        running.stop()
        assert books.audit(settings_of(running.config)).findings == ()


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
        server = running.fork_server()
        os.kill(server, signal.SIGSTOP)
        suspect = client.run_background_job("probes.Probe", "echo", {"value": 1})
        eventually(lambda: client.get(suspect.id).snapshot["status"] == "running")
        os.kill(server, signal.SIGKILL)
        eventually(lambda: client.get(suspect.id).snapshot["crashes"] == 1)
        eventually(lambda: client.stats()["loaded_at"])
        os.kill(running.fork_server(), signal.SIGSTOP)
        eventually(lambda: "has not proved its start" in client.why(suspect.id))
        waiting = client.run_background_job("probes.Probe", "echo", {"value": 2})
        eventually(lambda: "waits for a start before it that goes alone" in client.why(waiting.id))
        waiting.cancel()
        assert waiting.wait(20)["status"] == "cancelled"
        os.kill(running.fork_server(), signal.SIGCONT)
        assert suspect.result(20) == 1
        assert client.get(suspect.id).snapshot["crashes"] == 0
