"""Alerts of a real daemon: a burst is told once, and what a kill interrupts is told again with the same id."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client, NotApprovedError
from bgjob.words import Status
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

FAILING = """
class Mail:
    def send(self, number: int) -> None:
        raise OSError(f"no route for {number}")
"""
SCRIPT = """#!/bin/sh
printf '%s\\n' "$(cat)" >> "$0.told"
if [ ! -e "$0.go" ]; then sleep 600; fi
"""
SETTINGS = """
"failing.Mail" = {{ max_retries = 0 }}
[alerts]
tell = ["script"]
gather = "1s"
[alerts.targets]
script = {{ command = ["{script}"] }}
[alerts.rules]
no_code = {{ tell = [] }}
unavailable = {{ tell = [] }}
daemon = {{ tell = [] }}
paused = {{ tell = [] }}
"""


def notices(running: RunningDaemon) -> list[dict[str, Any]]:
    told = running.directory / "page.told"
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


def tellers(client: Client) -> list[dict[str, Any]]:
    return client.list(class_name="bgjob.alerts.Notice").items


@pytest.mark.long
def test_a_burst_is_told_once_and_again_with_the_same_id_where_a_kill_has_interrupted_that(
    tmp_path: Path,
) -> None:
    script = tmp_path / "page"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    with daemon(tmp_path, SETTINGS.format(script=script), modules={"failing": FAILING}) as running:
        with running.client() as client:
            with pytest.raises(NotApprovedError):
                client.run_background_job(
                    "bgjob.alerts.Notice", "command", {"argv": ["/bin/true"], "notice": {}}
                )
            jobs = [
                client.run_background_job("failing.Mail", "send", {"number": number}) for number in range(50)
            ]
            jobs[-1].wait(60)
        running.stop(signal.SIGKILL)  # before anybody has told it
        running.start()
        eventually(lambda: len(notices(running)) == 1)
        with running.client() as client:
            (job,) = tellers(client)
            assert (job["status"], job["queue"]) == (Status.RUNNING, "~alerts")
            pid = client.running()[0]["pid"]
        running.stop(signal.SIGKILL)
        (tmp_path / "page.go").touch()
        os.killpg(pid, signal.SIGKILL)
        running.start()
        with running.client() as client:
            eventually(lambda: [one["status"] for one in tellers(client)] == [Status.COMPLETED])
            first, again = notices(running)
            assert (first["kind"], first["message"][:8], first["id"]) == (
                "new_error",
                "OSError ",
                again["id"],
            )
            assert [one["told_count"] for one in client.alerts(is_open=True).items if one["told_at"]] == [1]


def test_a_burst_is_told_once_and_the_notice_is_a_job_that_nobody_can_submit(tmp_path: Path) -> None:
    script = tmp_path / "page"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (tmp_path / "page.go").touch()
    with (
        daemon(tmp_path, SETTINGS.format(script=script), modules={"failing": FAILING}) as running,
        running.client() as client,
    ):
        with pytest.raises(NotApprovedError):
            client.run_background_job("bgjob.alerts.Notice", "command", {"argv": ["/bin/true"], "notice": {}})
        jobs = [client.run_background_job("failing.Mail", "send", {"number": number}) for number in range(50)]
        jobs[-1].wait(60)
        eventually(lambda: [one["status"] for one in tellers(client)] == [Status.COMPLETED])
        (notice,) = notices(running)
        (alert,) = client.alerts(is_open=True).items
        (job,) = tellers(client)
        told = client.get(job["id"]).snapshot
        assert str(script) not in json.dumps([told, client.logs(id=job["id"]).items])
        assert told["parameters"]["notice"]["id"] == alert["id"]
    assert (notice["id"], notice["kind"], notice["cleared"]) == (alert["id"], "new_error", False)
    assert (alert["told_count"], alert["kind"], alert["subject"]) == (1, "new_error", "1")


AT_ONCE = """
import time

from bgjob.fingerprints import Whence
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending
from bgjobd.store.items.attempts import JobFact
from bgjobd.supervisor.attempts import Attempts

start = Attempts.start
whence = Whence("0123456789abcdef", "failing:Mail.send", "failing.py:4", None)
ending = Ending.failed("OSError", "no route", "…", error_class="builtins.OSError", whence=whence)


def fail_at_once(attempts, claim):
    if claim.job.call.class_name != "failing.Mail":
        start(attempts, claim)
        return
    fact = AttemptEnded(claim.job.attempt, ending, time.time())
    attempts._around.outbox.send(JobFact(claim.job.id, fact))


Attempts.start = fail_at_once
"""
"""No machine has room for ten thousand processes a second: those of the flood fail as soon as they are claimed."""


@pytest.mark.long
@pytest.mark.timeout(180)
def test_of_ten_thousand_failures_in_a_row_one_notice_tells(tmp_path: Path) -> None:
    script = tmp_path / "page"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (tmp_path / "page.go").touch()
    settings, environ = SETTINGS.format(script=script), {"BGJOBD_DAEMON__SLOTS": "1000"}
    with (
        daemon(tmp_path, settings, environ=environ, modules={"failing": FAILING}, changes=AT_ONCE) as running,
        running.client() as client,
    ):
        client.pause("default")
        job = {"class_name": "failing.Mail", "method_name": "send", "parameters": {"number": 1}}
        for _ in range(10):
            client.submit_many([job] * 1000)
        began = time.monotonic()
        client.resume("default")
        failed = "SELECT count(*) FROM background_jobs WHERE status = 'failed'"
        eventually(lambda: running.query(failed) == [(10_000,)], 100)
        took = time.monotonic() - began
        eventually(lambda: [one["count"] for one in client.alerts(is_open=True).items] == [10_000])
        eventually(lambda: [one["status"] for one in tellers(client)] == [Status.COMPLETED])
        (notice,) = notices(running)
        (alert,) = client.alerts(is_open=True).items
    print(f"{10_000 / took:,.0f} failures a second")
    assert (notice["id"], notice["kind"], alert["told_count"]) == (alert["id"], "new_error", 1)


AWAITING = """
[alerts]
tell = ["journal"]
gather = "50ms"
[alerts.rules]
nightly = { when = "no_success", job = "probes.Probe::echo", within = "4s" }
"""


def test_a_success_that_does_not_come_is_told_by_an_idle_daemon_and_a_kill_loses_none(tmp_path: Path) -> None:
    with daemon(tmp_path, AWAITING) as running:
        with running.client() as client:

            def nightly() -> list[dict[str, Any]]:
                return [one for one in client.alerts().items if one["rule"] == "nightly"]

            eventually(lambda: [one for one in nightly() if one["told_at"]])
            assert [one["kind"] for one in client.needs().needs if one["kind"] == "no_success"]
            for value in range(2):
                client.run_background_job("probes.Probe", "echo", {"value": value}).wait(20)
        running.stop(signal.SIGKILL)
        assert running.query("SELECT runs FROM method_usage") == [(2,)]
        running.start()
        with running.client() as client:
            eventually(lambda: nightly()[-1]["cleared_at"])
