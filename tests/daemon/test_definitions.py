"""What is stored of a schedule, and read by a later daemon."""

from __future__ import annotations

from typing import Any

import pytest

from bgjobd.config.schedules import Schedule
from bgjobd.daemon.schedule_definitions import Meaningless, definition_of, meaning_of


@pytest.mark.parametrize(
    "given",
    [
        {"cron": "30 2 * * 1-5", "zone": "Europe/Berlin", "missed": "run_all", "overlap": "wait"},
        {"cron": "@daily", "parameters": {"kind": ["daily", None]}, "late": "1h", "jitter": "5m"},
        {"every": "15m", "starting": "2026-01-05T06:00:00.25+02:00"},
        {"every": 1.5, "max_retries": 1, "retry_delay": "1m", "backoff": "exponential", "timeout": "90s"},
    ],
)
def test_what_is_stored_means_what_was_configured(given: dict[str, Any]) -> None:
    configured = Schedule.model_validate({"job": "myapp.jobs.Report::build"} | given)
    stored = meaning_of(definition_of(configured))
    assert isinstance(stored, Schedule)
    assert stored == configured
    assert stored.calendar == configured.calendar
    assert stored.model_fields_set == configured.model_fields_set


@pytest.mark.parametrize("starting", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_an_instant_that_cannot_be_told_in_utc_is_refused(starting: str) -> None:
    with pytest.raises(ValueError, match=r"must be of the years 1 to 9999 in UTC, not '?\"?[09]"):
        Schedule.model_validate({"job": "myapp.jobs.Report::build", "every": "1h", "starting": starting})


@pytest.mark.parametrize("late", [0, "500ms"])
def test_what_is_late_at_once_is_refused_for_each_would_be_missed(late: int | str) -> None:
    given = {"job": "myapp.jobs.Report::build", "every": "1h", "missed": "skip"}
    with pytest.raises(ValueError, match=r"late\n.* must be (at least 1 s|a time above 0), not"):
        Schedule.model_validate(given | {"late": late})
    assert Schedule.model_validate(given | {"late": "1s"}).rules.late == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "EOF while parsing"),
        ("[]", "Input should be an object"),
        ("{}", "job Field required"),
        ('{"job": "a.B::c", "cron": "@daily", "zone": "Gone/Away"}', "zone must be a time zone"),
        ('{"job": "a.B::c", "cron": "@daily", "every": "1h"}', "must not have both cron and every"),
    ],
)
def test_what_means_nothing_any_more_says_why(text: str, why: str) -> None:
    meant = meaning_of(text)
    assert isinstance(meant, Meaningless)
    assert meant.why.startswith(why)
