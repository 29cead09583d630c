"""What attempts used, as `bgjob list`, `show` and `stats` tell it, whatever of it is known."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from bgjob.answers import Needed, Page
from bgjob.client import Client
from bgjob.codec import JsonObject
from bgjob.commands import arguments

UNKNOWN: JsonObject = dict.fromkeys(("max_rss", "cpu_user", "cpu_system", "output_bytes"))
SOME: JsonObject = {"max_rss": 31 << 20, "cpu_user": 0.1, "cpu_system": 0.2, "output_bytes": 0}
ATTEMPT: JsonObject = {
    **dict.fromkeys(("pid", "exit_code", "signal", "error_type", "error_message", "traceback", "progress")),
    "error_class": None,
    "number": 1,
    "started_at": "2023-11-14T22:13:20.000000Z",
    "finished_at": "2023-11-14T22:13:21.500000Z",
    "outcome": "lost",
}
JOB: JsonObject = {
    **dict.fromkeys(("timeout", "started_at", "finished_at", "scheduled_at", "cancel_requested_at")),
    **dict.fromkeys(
        ("error", "submitted_uid", "submitted_by_job", "schedule", "occurrence", "result", "progress")
    ),
    **dict.fromkeys(("if_failed", "cancelled_after", "group_id", "takes")),
    "id": 7,
    "class_name": "shop.Mail",
    "method_name": "send",
    "status": "failed",
    "parameters": {},
    "queue": "default",
    "priority": 0,
    "retry_count": 0,
    "max_retries": 0,
    "retry_delay": 5,
    "backoff": "constant",
    "created_at": "2023-11-14T22:13:20.000000Z",
    "attempt": 1,
}
STATS: JsonObject = {"version": "1", "pid": 2, "slots": 4, "jobs": {}, "queues": []}


class ToldClient:
    """A client that is told of one job, its attempts, and what the attempts of each class used."""

    snapshot: JsonObject

    def __init__(self, attempts: list[JsonObject] | None = None, usage: JsonObject | None = None) -> None:
        self.snapshot = {**JOB, "attempts": attempts or []}
        self._usage = usage

    def get(self, job_id: int) -> ToldClient:
        return self

    def list(self, **filters: Any) -> Page[JsonObject]:
        latest = self.snapshot["attempts"][-1]
        return Page([{**JOB, **{name: latest[name] for name in UNKNOWN}}], None)

    def stats(self, usage: bool = False) -> JsonObject:
        assert usage
        return {**STATS, "usage": self._usage}

    def needs(self) -> Needed:
        return Needed([], 0)


def run(client: ToldClient, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    given = arguments.parse(words)
    assert given.run(cast(Client, client), given) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("used", "told"),
    [
        (SOME, "31 MiB of memory, 300 ms of CPU, 0 B of output"),
        (SOME | {"max_rss": None}, "300 ms of CPU, 0 B of output"),
        (SOME | {"cpu_system": None}, "31 MiB of memory, 0 B of output"),
        (UNKNOWN | {"output_bytes": 2048}, "2 KiB of output"),
        (UNKNOWN, None),
    ],
)
def test_show_tells_of_an_attempt_what_is_known(
    capsys: pytest.CaptureFixture[str], used: JsonObject, told: str | None
) -> None:
    lines = run(ToldClient([{**ATTEMPT, **used}]), capsys, "show", "7")
    assert "attempt 1  lost  2023-11-14 22:13:20 UTC, 1.5 s" in lines
    assert [line for line in lines if line.startswith("  used")] == ([f"  used      {told}"] if told else [])


def test_show_tells_no_time_of_an_attempt_that_never_began(capsys: pytest.CaptureFixture[str]) -> None:
    attempt = {**ATTEMPT, **UNKNOWN, "outcome": "not_started", "started_at": None}
    assert "attempt 1  not_started" in run(ToldClient([attempt]), capsys, "show", "7")


@pytest.mark.parametrize(
    ("job_id", "pid", "told"),
    [(12, 17, "by job 12, uid 1000, pid 17"), (None, 17, "by uid 1000, pid 17"), (None, None, "by uid 1000")],
)
def test_show_tells_which_job_has_submitted_it(
    capsys: pytest.CaptureFixture[str], job_id: int | None, pid: int | None, told: str
) -> None:
    client = ToldClient()
    client.snapshot |= {"submitted_uid": 1000, "submitted_pid": pid, "submitted_by_job": job_id}
    (line,) = [line for line in run(client, capsys, "show", "7") if line.startswith("submitted")]
    assert line.endswith(f") {told}")


@pytest.mark.parametrize(
    ("path", "told"),
    [("shop.errors.Unpaid", ["  raised    shop.errors.Unpaid"]), ("builtins.ValueError", []), (None, [])],
)
def test_show_tells_the_module_of_an_exception_that_is_not_pythons(
    capsys: pytest.CaptureFixture[str], path: str | None, told: list[str]
) -> None:
    attempt = {**ATTEMPT, **UNKNOWN, "error_class": path}
    lines = run(ToldClient([attempt]), capsys, "show", "7")
    assert [line for line in lines if line.startswith("  raised")] == told


@pytest.mark.parametrize(
    ("used", "row"),
    [(SOME, " 7  31 MiB  300 ms     0 B"), (UNKNOWN, " 7       –    –       –")],
)
def test_a_list_has_columns_for_what_the_latest_attempt_used(
    capsys: pytest.CaptureFixture[str], used: JsonObject, row: str
) -> None:
    client = ToldClient([{**ATTEMPT, **used}])
    titles, told = run(client, capsys, "list", "--columns", "id,memory,cpu,output")
    assert titles.split() == ["ID", "MEMORY", "CPU", "OUTPUT"]
    assert told.split() == row.split()
    assert len(told) == len(titles)


def test_stats_has_a_table_of_what_the_attempts_of_each_class_used(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mail = {"attempts": 12, "wall_p50": 0.12, "wall_p95": 1.5, "cpu_p50": 0.3, "cpu_p95": 0.7}
    mail |= {"memory_p50": 28 << 20, "memory_p95": 31 << 20, "output_p50": 0, "output_p95": 2048}
    lost = {**dict.fromkeys(mail), "attempts": 1}
    lines = run(ToldClient(usage={"shop.Mail": mail, "shop.Lost": lost}), capsys, "stats")
    assert [re.split(" {2,}", line) for line in lines[-3:]] == [
        ["CLASS", "ATTEMPTS", "WALL P50/P95", "CPU P50/P95", "MEMORY P50/P95", "OUTPUT P50/P95"],
        ["shop.Mail", "12", "120 ms/1.5 s", "300 ms/700 ms", "28 MiB/31 MiB", "0 B/2 KiB"],
        ["shop.Lost", "1", "–/–", "–/–", "–/–", "–/–"],
    ]


def test_stats_has_no_table_where_no_attempt_has_ended(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(ToldClient(usage={}), capsys, "stats")
    assert lines[-2:] == ["", "QUEUE  PENDING  RUNNING  SLOTS"]
