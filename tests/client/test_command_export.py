"""`bgjob export`: all of a daemon's jobs, page after page, a line of JSON each."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjob.answers import Page
from bgjob.client import Client
from bgjob.commands import arguments
from bgjob.errors import JobNotFoundError


class Daemon:
    """A client of a daemon with jobs 1 to `newest`, two of which it answers at once, without those that are `gone`."""

    def __init__(self, newest: int, *gone: int) -> None:
        self.filters: dict[str, Any] = {}
        self._newest = newest
        self._gone = gone

    def list(self, *, before: int | None, limit: int, **filters: Any) -> Page[dict[str, Any]]:
        self.filters = filters
        start = (before or self._newest + 1) - 1
        found = [{"id": id} for id in range(start, max(0, start - 2), -1)]
        return Page(found, found[-1]["id"] if start > 2 else None)

    def get(self, job_id: int) -> SimpleNamespace:
        if job_id in self._gone:
            raise JobNotFoundError(id=job_id)
        return SimpleNamespace(snapshot={"id": job_id, "result": "é\x1b", "attempts": []})

    def logs(self, *, id: int, after: int, limit: int) -> Page[dict[str, Any]]:
        return Page([{"id": after + 1, "message": f"of {id}"}], 1 if after == 0 else None)


def exported(capsys: pytest.CaptureFixture[str], daemon: Daemon, *words: str) -> list[Any]:
    given = arguments.parse(["export", *words])
    assert given.run(cast(Client, daemon), given) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_each_job_is_a_line_newest_first_and_one_that_was_deleted_meanwhile_none(
    capsys: pytest.CaptureFixture[str],
) -> None:
    jobs = exported(capsys, Daemon(5, 3), "--jsonl")
    assert [job["id"] for job in jobs] == [5, 4, 2, 1]
    assert jobs[0]["result"] == "é\x1b"


def test_it_goes_on_behind_a_job_and_finds_what_list_finds(capsys: pytest.CaptureFixture[str]) -> None:
    daemon = Daemon(5)
    jobs = exported(capsys, daemon, "--before", "3", "--status", "failed", "--label", "tenant:7")
    assert [job["id"] for job in jobs] == [2, 1]
    assert daemon.filters["status"] == ["failed"]
    assert daemon.filters["label"] == "tenant:7"


def test_entries_of_the_log_go_along_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    (job,) = exported(capsys, Daemon(1), "--logs")
    assert [entry["message"] for entry in job["logs"]] == ["of 1", "of 1"]
