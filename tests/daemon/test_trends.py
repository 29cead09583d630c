"""What ended by spans of time, as daemons tell it: from memory, after a kill from the books, after a stop from rows."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjob.errors import InvalidParameterError
from tests.daemon.running import RunningDaemon, daemon

PROBE = "probes.Probe"


def told(client: Client) -> dict[str, Any]:
    """What neither a fork's time nor the hour's end changes."""
    points = client.trend("", 3600)
    (of_class,) = client.class_trends()
    stats = client.class_stats(PROBE)
    assert (of_class["name"], of_class["day"], sum(of_class["hours"])) == (PROBE, stats.day, 4)
    assert [mark["outcome"] for mark in stats.attempts] == ["failed", *["completed"] * 3]
    return {name: sum(point[name] for point in points) for name in ("completed", "failed", "retried", "cpu")}


def run(running: RunningDaemon) -> None:
    with running.client() as client:
        jobs = [client.run_background_job(PROBE, "echo", {"value": number}) for number in range(3)]
        jobs.append(client.run_background_job(PROBE, "fail", max_retries=0))
        for job in jobs:
            client.get(job.id).wait(20)


def test_what_ended_is_told_by_the_next_daemon_however_this_one_ends(tmp_path: Path) -> None:
    with daemon(tmp_path) as running:
        run(running)
        with running.client() as client:
            first = told(client)
            with pytest.raises(InvalidParameterError, match="span"):
                client.trend("", 60)
            with pytest.raises(InvalidParameterError, match="of"):
                client.trend("error:1", 300)
            with pytest.raises(InvalidParameterError, match="since"):
                client.trend("", 300, since="yesterday")
            (attempt,) = client.get(1).snapshot["attempts"]
            assert attempt["waited"] >= 0
        assert (first["completed"], first["failed"], first["retried"]) == (3, 1, 0)
        for number in (signal.SIGKILL, signal.SIGTERM):
            running.stop(number)
            running.start()
            with running.client() as client:
                assert told(client) == first
