"""Progress of jobs with a real daemon: shown while they tell it often, and what was told last is what stays."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob.client import Client
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import time
from pathlib import Path
import bgjob


class Steps:
    def count(self, to, context: bgjob.JobContext, fails=False):
        for number in range(to):
            context.progress(number / to, f"step {number}")
        context.logger.info("counted")
        if fails:
            raise ValueError("no more")

    def count_on(self, go, context: bgjob.JobContext):
        context.progress(0.125, "waits")
        while not Path(go).exists():
            time.sleep(0.01)
        self.count(2000, context)

    def count_until(self, go, context: bgjob.JobContext):
        number = 0
        while not Path(go).exists():
            number += 1
            context.progress(min(0.75, number / 1_000_000), f"step {number}")


class Teller:
    def __init__(self, context: bgjob.JobContext):
        self.context = context

    def tell(self, times):
        for number in range(times):
            self.context.logger.info("told %d", number)
        raise ValueError("no more")

    def failed(self, error):
        for number in range(500):
            self.context.logger.info("the hook told %d", number)
"""
STEPS, TELLER = "steps.Steps", "steps.Teller"
SETTINGS = f'"{STEPS}" = {{ max_retries = 0 }}\n"{TELLER}" = {{ max_retries = 0 }}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("progress"), SETTINGS, modules={"steps": MODULE}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def stored(running: RunningDaemon, job_id: int) -> dict[str, Any]:
    ((text,),) = running.query(f"SELECT progress FROM job_attempts WHERE job_id = {job_id}")
    return dict(json.loads(text))


@pytest.mark.parametrize("fails", [False, True])
def test_of_very_many_steps_the_last_stays_and_the_log_goes_on(
    running: RunningDaemon, client: Client, fails: bool
) -> None:
    job = client.run_background_job(STEPS, "count", {"to": 10_000, "fails": fails})
    assert job.wait(20)["status"] == ("failed" if fails else "completed")
    told = stored(running, job.id)
    assert (told["fraction"], told["message"]) == (0.9999, "step 9999")
    assert job.refresh()["attempts"][0]["progress"]["message"] == "step 9999"
    assert running.query(
        f"SELECT count(*) FROM job_logs WHERE job_id = {job.id} AND message = 'counted'"
    ) == [(1,)]


def test_all_that_a_job_and_its_hook_told_at_once_is_in_the_log_and_in_order(
    running: RunningDaemon, client: Client
) -> None:
    job = client.run_background_job(TELLER, "tell", {"times": 900})
    assert job.wait(20)["status"] == "failed"
    told = (
        f"SELECT message FROM job_logs WHERE job_id = {job.id} AND message NOT LIKE 'Background%' ORDER BY id"
    )
    eventually(lambda: len(running.query(told)) == 900 + 1 + 500)
    messages = [message for (message,) in running.query(told)]
    assert messages[:900] == [f"told {number}" for number in range(900)]
    assert "ValueError: no more" in messages[900]
    assert messages[901:] == [f"the hook told {number}" for number in range(500)]


def test_who_watches_sees_many_steps_come_in_while_the_job_tells_them(client: Client, tmp_path: Path) -> None:
    go = tmp_path / "go"
    job = client.run_background_job(STEPS, "count_until", {"go": str(go)})
    seen: list[str] = []
    for change in job.watch():
        progress = change["progress"]
        if change["status"] == "running" and progress is not None and progress["message"] not in seen:
            seen.append(progress["message"])
        if len(seen) == 15:
            go.touch()
    assert len(seen) >= 15
    assert job.wait(20)["status"] == "completed"


def test_progress_that_was_told_while_no_daemon_ran_is_not_lost(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"steps": MODULE}) as running:
        with running.client() as client:
            job = client.run_background_job(STEPS, "count_on", {"go": str(go)})
            eventually(lambda: job.refresh()["attempts"] and job.snapshot["attempts"][0]["progress"])
        running.stop(signal.SIGKILL)
        assert stored(running, job.id)["message"] == "waits"
        go.touch()
        journal = running.spool / f"{job.id}.1.journal"
        eventually(lambda: b'"type":"exit"' in journal.read_bytes())
        running.start()
        with running.client() as client:
            assert client.wait(job.id, 20)["status"] == "completed"
        assert stored(running, job.id)["message"] == "step 1999"
        told = running.query("SELECT message FROM job_logs WHERE message LIKE '%: step 1999'")
        assert told == [("Background job is at 100%: step 1999",)]
        assert running.query("SELECT count(*) FROM job_logs WHERE message LIKE '%: waits'") == [(0,)]
