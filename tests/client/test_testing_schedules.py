"""What `bgjob.testing` has for schedules: when those of a configuration occur, and those that an application puts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest

import bgjob.testing
from bgjob import AttemptError, Client, InvalidParametersError, JobContext
from bgjob.testing import next_occurrences
from bgjob.testing.put_schedules import KEYS
from bgjobd.config.schedules import Schedule

SETTINGS = """
[schedules.nightly-report]
job = "myapp.jobs.Report::build"
cron = "30 2 * * *"
zone = "Europe/Berlin"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "bgjobd.toml"
    file.write_text(SETTINGS)
    return file


def test_the_next_occurrences_are_those_that_a_daemon_deals_with(config: Path) -> None:
    behind = datetime(2027, 3, 27, 12, tzinfo=UTC)
    assert next_occurrences(config, "nightly-report", 2, after=behind) == [
        datetime(2027, 3, 28, 1, 0, tzinfo=UTC),  # the clock leaves out 02:30
        datetime(2027, 3, 29, 0, 30, tzinfo=UTC),
    ]


def test_what_is_wrong_is_said(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="there is no schedule hourly"):
        next_occurrences(config, "hourly")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="install bgjobd in an environment of its own"):
        next_occurrences(config, "nightly-report")


# Those that an application puts


class Report:
    """Fails, and tells for which times it was to be made."""

    MAX_RETRIES = 0
    told: ClassVar[list[str | None]] = []

    def build(self, context: JobContext, kind: str = "daily") -> None:
        self.told.append(context.occurrence)
        raise ValueError(kind)

    def failed(self, error: AttemptError) -> None:
        self.told.append(error.occurrence)


JOB = f"{__name__}.Report::build"


def test_one_that_is_put_is_run_where_that_is_asked_for() -> None:
    Report.told.clear()
    client = Client()
    with bgjob.testing.inline() as jobs:
        assert client.put_schedule("customer/7", {"job": JOB, "cron": "0 7 * * 1", "timeout": "5m"})
        client.pause_schedule("customer/7")
        assert not client.put_schedule("customer/7", {"job": JOB, "every": "1h", "parameters": {"kind": "x"}})
        (told,) = client.schedules()
        assert (told["every"], told["next"], told["paused_at"] is None) == (3600.0, [], False)
        job = client.run_schedule("customer/7")
        (past,) = client.occurrences("customer/7").items
        assert (past["verdict"], past["job_id"], past["status"]) == ("asked", job.id, "failed")
        assert Report.told == [past["at"]] * 2
        assert client.list(schedule="customer/7").items[0]["id"] == jobs[0].id
        assert jobs[0].error == "ValueError: x"
        client.delete_schedule("customer/7")
        assert client.schedules() == []


def test_what_is_recorded_has_those_that_were_put_and_their_jobs() -> None:
    client = Client()
    with bgjob.testing.recorded() as jobs:
        client.put_schedule("a/b", {"job": JOB, "cron": "@daily", "queue": "mail"})
        client.run_schedule("a/b")
        client.run_schedule("a/b")
        first = client.occurrences("a/b", limit=1)
        assert [one["job_id"] for one in first.items] == [2]
        assert [one["job_id"] for one in client.occurrences("a/b", before=first.next)] == [1]
        assert client.backfill("a/b", "2026-01-01", "2026-02-01").occurrences == 0
    assert [(job.options, job.status) for job in jobs] == [({"queue": "mail"}, "pending")] * 2


def test_each_wrong_key_is_named() -> None:
    wrong = {"job": "Report", "every": "soon", "cron": "@daily", "overlap": "never", "nonsense": 1}
    with bgjob.testing.recorded(), pytest.raises(InvalidParametersError) as refused:
        Client().put_schedule("a/b", wrong)
    paths = [problem["path"] for problem in refused.value.parameters["problems"]]
    assert paths == ["nonsense", "job", "definition", "overlap", "every"]


def test_a_definition_has_the_keys_of_the_configuration() -> None:
    assert Schedule.model_fields.keys() == KEYS
