"""A daemon that is killed at each step of telling somebody: it is told once all the same, by one job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bgjob.words import Status
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

FAILING = """
class Mail:
    def send(self) -> None:
        raise OSError("no route")
"""
SCRIPT = """#!/bin/sh
cat >> "$0.told"
echo >> "$0.told"
"""
SETTINGS = """
"failing.Mail" = {{ max_retries = 0 }}
[alerts]
tell = ["script"]
gather = "50ms"
[alerts.targets]
script = {{ command = ["{script}"] }}
[alerts.rules]
no_code = {{ tell = [] }}
unavailable = {{ tell = [] }}
daemon = {{ tell = [] }}
"""
STRIKE = """
import os

from bgjobd.core.facts import AttemptEnded, AttemptStarted
from bgjobd.daemon.alerts import Alerts
from bgjobd.store import alerts
from bgjobd.store.ledger import Ledger

call = {call}


def strike(is_it):
    if not is_it or os.path.exists({struck!r}):
        return
    os.close(os.open({struck!r}, os.O_CREAT))
    os.kill(os.getpid(), 9)


def brings(items, fact):
    return any(isinstance(getattr(item, "fact", None), fact) and item.job_id > 1 for item in items)


def before(*given, **named):
    strike({is_it})
    return call(*given, **named)


def after(*given, **named):
    answer = call(*given, **named)
    strike({is_it})
    return answer


{call} = {when}
"""
POINTS = {
    "as it is raised": ("alerts._store", "after", "True"),
    "once it is raised": ("Alerts._on_told", "before", "True"),
    "as its job is made": ("alerts._noted", "after", "True"),
    "once its job is stored": ("Alerts._on_told", "before", "given[1].told"),
    "as its start is stored": ("Ledger.commit", "before", "brings(given[1], AttemptStarted)"),
    "once its start is stored": ("Ledger.commit", "after", "brings(given[1], AttemptStarted)"),
    "as its end is stored": ("Ledger.commit", "before", "brings(given[1], AttemptEnded)"),
    "once its end is stored": ("Ledger.commit", "after", "brings(given[1], AttemptEnded)"),
}
"""Before or after which call of the daemon it is killed, once. Job 1 is the one that fails, job 2 tells that."""


def notices(running: RunningDaemon) -> list[dict[str, Any]]:
    told = running.directory / "page.told"
    return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_whenever_the_daemon_is_killed_on_the_way_it_is_told_once_by_one_job(
    tmp_path: Path, point: str
) -> None:
    script = tmp_path / "page"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    call, when, is_it = POINTS[point]
    changes = STRIKE.format(struck=str(tmp_path / "struck"), call=call, when=when, is_it=is_it)
    settings = SETTINGS.format(script=script)
    with daemon(tmp_path, settings, modules={"failing": FAILING}, changes=changes) as running:
        with running.client() as client:
            client.run_background_job("failing.Mail", "send")
        process = running.process
        assert process is not None
        eventually(lambda: process.poll() is not None)
        assert (tmp_path / "struck").exists()
        running.start()
        with running.client() as client:

            def told() -> bool:
                jobs = client.list(class_name="bgjob.alerts.Notice").items
                return [job["status"] for job in jobs] == [Status.COMPLETED]

            eventually(told)
            (alert,) = client.alerts(is_open=True).items
        (notice,) = notices(running)
    assert (notice["id"], notice["kind"], alert["told_count"]) == (alert["id"], "new_error", 1)
