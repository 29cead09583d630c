"""The daemon is killed as it stores that a job runs again: that is there whole, with its steps, or not at all."""

from __future__ import annotations

import signal
import threading
from contextlib import closing
from pathlib import Path

import pytest

from bgjob import Client
from bgjobd.store.audit import Audit
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import bgjob


class Order:
    def ship(self, count: int, context: bgjob.JobContext, fails: bool = True) -> list[str]:
        for n in range(count):
            context.step(f"step {n}", str, n)
        if fails:
            raise bgjob.Fail("not yet")
        return list(context.steps)
"""
KILLING = """
import os
from pathlib import Path

from bgjobd.store import again, decisions
from bgjobd.store.database import SqliteFile
from bgjobd.store.items.submissions import AgainAsked
from bgjobd.store.ledger import Ledger

run_again, write, commit, asked = again.run_again, Ledger._write, SqliteFile.commit_writing, []


def ask(item, overlay):
    asked.append(item)
    return run_again(item, overlay)


def die_at(moment):
    word = Path({word!r})
    if asked and word.exists() and word.read_text() == moment:
        word.unlink()
        os.kill(os.getpid(), 9)


def write_or_die(ledger, statement, rows):
    if "INSERT INTO job_steps" in statement:
        die_at("amid its rows")
    return write(ledger, statement, rows)


def commit_or_die(database):
    die_at("before its commit")
    commit(database)
    die_at("after its commit")


decisions._DECIDED = {{**decisions._DECIDED, AgainAsked: ask}}
Ledger._write, SqliteFile.commit_writing = write_or_die, commit_or_die
"""
COUNT = 40


@pytest.mark.parametrize("moment", ["amid its rows", "before its commit", "after its commit"])
def test_a_job_runs_again_whole_or_not_at_all(tmp_path: Path, moment: str) -> None:
    word = tmp_path / "dies"
    killing = KILLING.format(word=str(word))
    with daemon(tmp_path, '"shop.Order" = {}', modules={"shop": MODULE}, changes=killing) as running:
        with running.client() as client:
            job = client.run_background_job("shop.Order", "ship", {"count": COUNT})
            job.wait(20)
        word.write_text(moment)
        found: list[int] = []
        asking = threading.Thread(target=lambda: found.append(ask(running, job.id)))
        asking.start()
        assert running.process is not None
        assert running.process.wait(20) == -signal.SIGKILL
        stored = running.query("SELECT again_of, steps FROM background_jobs WHERE id > 1")
        assert stored == ([(1, COUNT - 1)] if moment == "after its commit" else [])
        assert running.query("SELECT count(*) FROM job_steps WHERE job_id > 1") == [
            (len(stored) * (COUNT - 1),)
        ]
        running.start()
        asking.join(30)
        assert running.query("SELECT id FROM background_jobs") == [(1,), *[(one,) for one in found]]
        with running.client() as client:
            assert len(client.get(found[0]).result(20)) == COUNT
        eventually(lambda: not running.spooled())
        with closing(Audit(running.directory / "state")) as audit:
            assert audit.oddities() == ()


def ask(running: RunningDaemon, job_id: int) -> int:
    """The id of the job that runs it again, by a client that asks once."""
    with Client(str(running.socket), timeout=30.0) as client:
        return client.again(job_id, {"fails": False}, from_step=f"step {COUNT - 1}").id
