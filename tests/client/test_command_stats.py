"""What `bgjob stats` tells of the last hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.answers import ClassStats
from bgjob.client import Client
from bgjob.commands import arguments, screen
from bgjob.commands.class_figures import blocks, hours_of, line_of_hours
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


# One class

_DAY = {"ended": 1412, "completed": 1357, "failed": 12, "p50": 0.042, "p95": 3.1, "waited_p95": 1.2,
        "memory": 13 << 20, "cpu": 62.0}  # fmt: skip
_BEFORE = _DAY | {"ended": 13_000, "completed": 12_896, "p95": None}
_NOTHING = dict.fromkeys(_DAY, 0) | dict.fromkeys(("p50", "p95", "waited_p95"))


class Counting(ToldClient):
    """A client of a daemon that has counted what ended of these classes."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self._names = names

    def class_trends(self) -> list[dict[str, Any]]:
        hours = {"hours": [0] * 20 + [1, 50, 100, 0], "failed": [0] * 23 + [12]}
        return [{"name": name, "day": _DAY, "before": _BEFORE, **hours} for name in self._names]

    def class_stats(self, name: str, limit: int | None = None) -> ClassStats:
        return ClassStats(_NOTHING, _NOTHING, [])


def test_stats_of_a_class_tell_each_figure_against_its_past_and_24_hours_as_blocks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("shop.Mail", "Mail"):
        assert run(Counting("", "shop.Mail", "shop.Post"), capsys, "stats", "--class", name) == [
            "shop.Mail, the last 24 hours (the 13 days before)",
            "ended      1,412 a day (1,000 a day)",
            "completed  96.1% (99.2%)",
            "p50 / p95  about 42 ms / 3.1 s (about 42 ms / –)",
            "waited p95 about 1.2 s (about 1.2 s)",
            "memory     13 MiB at most (13 MiB at most)",
            "cpu        1 min 2 s a day (1 min 2 s a day)",
            f"an hour    {' ' * 20}▁▄█ | at most 100",
            f"failed     {' ' * 23}█| at most 12",
        ]


def test_stats_of_the_classes_are_a_row_each_with_24_hours_as_blocks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(Counting("shop.Mail"), capsys, "stats", "--class") == [
        "CLASS      ENDED  COMPLETED  BEFORE  24 HOURS                       P50 / P95        CPU  MEMORY",
        f"shop.Mail  1,412      96.1%   99.2%  {' ' * 20}▁▄█ |  42 ms / 3.1 s  1 min 2 s  13 MiB",
    ]
    asked = arguments.parse(["stats", "--class"])
    asked.run(cast(Client, Counting()), asked)
    assert "nothing has ended in the last 14 days" in capsys.readouterr().err


def test_stats_of_a_class_of_which_nothing_has_ended_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    asked = arguments.parse(["stats", "--class", "Mail"])
    asked.run(cast(Client, Counting("a.Mail", "b.Mail")), asked)  # which of the two is not said
    told = capsys.readouterr()
    assert "completed  – (nothing)" in told.out
    assert "nothing of it has ended" in told.err


@given(st.lists(st.integers(0, 10**9), max_size=24))
def test_a_line_of_blocks_hides_nothing_that_has_ended(values: list[int]) -> None:
    drawn = blocks(values)
    assert [block == " " for block in drawn] == [value == 0 for value in values]
    assert not any(values) or "█" in drawn


@pytest.mark.parametrize("room", [40, 80])
def test_stats_is_no_wider_than_the_terminal(
    room: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(screen, "columns", lambda: room)
    since = (datetime.now(UTC) - timedelta(hours=2, seconds=30)).isoformat().replace("+00:00", "Z")
    lines = run(Standing(minutes=MINUTES, oldest_pending=since), capsys, "stats")
    assert all(len(line) <= room for line in lines)
    assert "waited for 2 h 0 min" in " ".join(" ".join(lines).split())


def test_hours_are_the_last_24_with_this_one_and_what_is_not_told_is_nothing() -> None:
    now = datetime(2024, 12, 4, 14, 31, tzinfo=UTC)
    spans = {"2024-12-03T14:00:00Z": 9, "2024-12-03T15:00:00Z": 3, "2024-12-04T14:00:00Z": 5}
    points = [{"at": at, "attempts": count} for at, count in spans.items()]
    assert hours_of(points, "attempts", now.timestamp()) == [3, *[0] * 22, 5]
    assert hours_of([], "attempts", now.timestamp()) == [0] * 24


def test_with_little_room_the_most_of_an_hour_stands_below_the_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = [0] * 23 + [17]
    monkeypatch.setattr(screen, "columns", lambda: 80)
    assert line_of_hours("failed", 12, hours) == [f"failed{' ' * 29}█| at most 17"]
    monkeypatch.setattr(screen, "columns", lambda: 40)
    assert line_of_hours("failed", 12, hours) == [f"failed{' ' * 29}█|", f"{' ' * 12}at most 17"]
