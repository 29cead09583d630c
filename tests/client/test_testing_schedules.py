"""`bgjob.testing.next_occurrences`, by which an application's tests hold its own schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bgjob.testing import next_occurrences

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
