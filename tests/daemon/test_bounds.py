"""The bounds of classes and queues against a real daemon: slots of a class, and how many jobs may be pending."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bgjob import Client, Job
from bgjob.errors import QueueFullError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

NARROW = """
import time
from pathlib import Path


class Narrow:
    def wait_for(self, path):
        while not Path(path).exists():
            time.sleep(0.01)
        return "waited"
"""
APPROVED = '"narrow.Narrow" = { slots = 1 }'
FULL = "queue mail is full (2 pending jobs); try again later"
SMALL = "[queues]\nmail = { max_pending = 2 }"


def waits(client: Client, path: Path) -> Job:
    return client.run_background_job("narrow.Narrow", "wait_for", {"path": str(path)})


def statuses(*jobs: Job) -> list[str]:
    return [job.refresh()["status"] for job in jobs]


# Slots of a class


def test_a_full_class_holds_up_its_own_jobs_and_no_others(tmp_path: Path) -> None:
    with daemon(tmp_path, APPROVED, modules={"narrow": NARROW}) as running, running.client() as client:
        first, second = waits(client, tmp_path / "go"), waits(client, tmp_path / "go")
        assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
        assert statuses(first, second) == ["running", "pending"]
        (tmp_path / "go").touch()
        assert (first.result(20), second.result(20)) == ("waited", "waited")
        begun, ended = (second.snapshot["started_at"], first.snapshot["finished_at"])
        assert begun >= ended


def test_the_slots_of_a_class_count_over_restarts_and_fork_servers_and_change_by_a_reload(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path, APPROVED, modules={"narrow": NARROW}) as running:
        with running.client() as client:
            first = waits(client, tmp_path / "go")
            eventually(lambda: statuses(first) == ["running"])
        running.stop()
        running.start()
        with running.client() as client:
            second, third = waits(client, tmp_path / "go"), waits(client, tmp_path / "go")
            client.reload()
            assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
            assert statuses(second, third) == ["pending", "pending"]
            text = running.config.read_text()
            running.config.write_text(text.replace(APPROVED, APPROVED.replace("1", "2")))
            client.reload()
            eventually(lambda: statuses(second, third) == ["running", "pending"])
            (tmp_path / "go").touch()
            assert third.result(20) == "waited"


# Pending jobs of a queue


def fill(client: Client) -> list[Job]:
    client.pause("mail")
    return [client.run_background_job("probes.Probe", "echo", {"value": n}, queue="mail") for n in (1, 2)]


def test_a_submit_to_a_full_queue_is_refused_and_other_queues_take_theirs(tmp_path: Path) -> None:
    with daemon(tmp_path, SMALL) as running, running.client() as client:
        fill(client)
        with pytest.raises(QueueFullError) as refused:
            client.run_background_job("probes.Probe", "echo", queue="mail")
        assert (refused.value.parameters, str(refused.value)) == ({"queue": "mail", "limit": 2}, FULL)
        assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
        told = {queue["name"]: (queue["pending"], queue["max_pending"]) for queue in client.stats()["queues"]}
        assert told == {"default": (0, 100_000), "mail": (2, 2)}


def test_of_many_jobs_none_is_stored_where_one_is_too_many(tmp_path: Path) -> None:
    job = {"class_name": "probes.Probe", "method_name": "echo", "options": {"queue": "mail"}}
    with daemon(tmp_path, SMALL) as running, running.client() as client:
        client.pause("mail")
        with pytest.raises(QueueFullError):
            client.submit_many([job] * 3)
        assert len(client.submit_many([job] * 2)) == 2
        assert len(client.list()) == 2


def test_a_repeat_and_a_retry_by_a_person_are_taken_by_a_full_queue(tmp_path: Path) -> None:
    with daemon(tmp_path, SMALL) as running, running.client() as client:
        known = client.run_background_job("probes.Probe", "fail", queue="mail", idempotency_key="k")
        known.wait(20)
        fill(client)
        again = client.run_background_job("probes.Probe", "fail", queue="mail", idempotency_key="k")
        assert again.id == known.id
        known.retry()
        assert known.refresh()["status"] == "pending"


def test_a_reload_changes_how_many_may_be_pending(tmp_path: Path) -> None:
    with daemon(tmp_path, SMALL) as running, running.client() as client:
        fill(client)
        running.config.write_text(running.config.read_text().replace("max_pending = 2", "max_pending = 3"))
        client.reload()
        client.run_background_job("probes.Probe", "echo", queue="mail")
        with pytest.raises(QueueFullError, match="3 pending jobs"):
            client.run_background_job("probes.Probe", "echo", queue="mail")


def test_the_command_ends_with_75_and_the_named_pipe_says_so_in_the_log(tmp_path: Path) -> None:
    environ = {"BGJOBD_DAEMON__FIFO": str(tmp_path / "fifo")}
    with daemon(tmp_path, SMALL, environ=environ) as running, running.client() as client:
        fill(client)
        done = submitted_by_command(running)
        assert (done.returncode, done.stdout) == (75, "")
        assert FULL in done.stderr
        with (tmp_path / "fifo").open("w") as pipe:
            pipe.write('{"class_name":"probes.Probe","method_name":"echo","options":{"queue":"mail"}}\n')
        eventually(lambda: [line for line in running.lines() if line.endswith(f"refused: {FULL}")])


def submitted_by_command(running: RunningDaemon) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bgjob", "run", "probes.Probe::echo", "--queue", "mail"]
    return subprocess.run(
        [*command, "--socket", str(running.socket)], capture_output=True, text=True, timeout=30
    )
