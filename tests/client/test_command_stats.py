"""What `bgjob stats` tells of the last hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.client.test_command_usage import STATS, ToldClient, run

MINUTES = [{"at": "2024-12-04T14:31:00.000000Z", "completed": 0, "failed": 0}] * 58 + [
    {"at": "2024-12-04T14:30:00.000000Z", "completed": 40, "failed": 3},
    {"at": "2024-12-04T14:31:00.000000Z", "completed": 2, "failed": 0},
]


class Standing(ToldClient):
    """A client of a daemon that tells more than how many slots it has."""

    def __init__(self, **told: Any) -> None:
        super().__init__()
        self._told = told

    def stats(self, usage: bool = False) -> dict[str, Any]:
        return {**STATS, **self._told, "usage": {}}


def test_stats_sums_up_the_last_hour(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(Standing(minutes=MINUTES, oldest_pending=None), capsys, "stats")
    assert lines[2] == "last hour: 42 completed, 3 failed"


def test_stats_tells_for_how_long_the_oldest_pending_job_has_waited(
    capsys: pytest.CaptureFixture[str],
) -> None:
    since = (datetime.now(UTC) - timedelta(hours=2, seconds=30)).isoformat().replace("+00:00", "Z")
    lines = run(Standing(minutes=MINUTES, oldest_pending=since), capsys, "stats")
    assert lines[2].endswith("; the oldest pending job has waited for 2 h 0 min")


def test_stats_tells_of_each_queue_for_how_long_its_oldest_pending_job_has_waited(
    capsys: pytest.CaptureFixture[str],
) -> None:
    since = (datetime.now(UTC) - timedelta(minutes=5, seconds=30)).isoformat().replace("+00:00", "Z")
    counts = {"pending": 1, "running": 0, "slots": 2, "paused": False}
    queues = [
        {"name": "mail", **counts, "oldest_pending": since},
        {"name": "idle", **counts, "oldest_pending": None},
        {"name": "of an earlier daemon", **counts},
    ]
    lines = [" ".join(line.split()) for line in run(Standing(queues=queues), capsys, "stats")]
    assert lines[-4:] == [
        "QUEUE PENDING RUNNING SLOTS OLDEST",
        "mail 1 0 2 5 min 30 s",
        "idle 1 0 2",
        "of an earlier daemon 1 0 2",
    ]


def test_a_job_that_waits_since_a_moment_to_come_has_not_waited(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(Standing(minutes=MINUTES, oldest_pending="2999-12-04T14:31:53.000000Z"), capsys, "stats")
    assert lines[2].endswith("has waited for 0 s")


def test_stats_of_a_daemon_that_tells_nothing_of_the_last_hour_are_shown_without(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "last hour" not in "\n".join(run(Standing(), capsys, "stats"))
