"""What a row of an outbox asks for, and what becomes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bgjob import errors
from bgjob.outbox.rows import Fate, Row, fate, new_row, submission

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


def row(**options: Any) -> Row:
    job = {
        "class_name": "a.B",
        "method_name": "c",
        "parameters": {"x": "ö"},
        "retry_count": 2,
        "options": options,
    }
    return new_row(job, None, None, NOW)


def test_a_row_asks_for_the_job_by_its_own_key() -> None:
    made = row(priority=3)
    asked = submission(made).parameters
    assert asked == {
        "class_name": "a.B",
        "method_name": "c",
        "parameters": {"x": "ö"},
        "retry_count": 2,
        "options": {"priority": 3, "idempotency_key": made.key},
    }
    assert len(bytes.fromhex(made.key)) == 16
    assert row().key != made.key


def test_values_that_json_has_not_are_written_in_their_forms() -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": {"day": NOW.date()}}
    made = new_row(job, None, None, NOW)
    assert submission(made).parameters["parameters"] == {"day": "2026-03-29"}
    with pytest.raises(TypeError, match=r"^day: JSON has no form"):
        new_row({**job, "parameters": {"day": 2j}}, None, None, NOW)


def test_a_delay_counts_from_when_the_row_was_made() -> None:
    options = submission(row(delay=timedelta(minutes=1))).parameters["options"]
    assert options["at"] == "2026-03-29T00:31:00+00:00"
    assert "delay" not in options


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"idempotency_key": "mine"}, TypeError),
        ({"queue": "x" * (2 << 20)}, errors.TooLargeError),
        ({"queue": "\ud800"}, errors.InvalidParametersError),
    ],
)
def test_what_no_daemon_takes_is_refused_before_the_commit(wrong: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        row(**wrong)


@pytest.mark.parametrize("text", ["[]", "{}", '{"options": 1}'])
def test_a_text_that_is_no_request_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no row of an outbox"):
        submission(Row("0" * 32, text))


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (None, Fate.DELETED),
        (errors.NotApprovedError(class_name="a.B"), Fate.REFUSED),
        (errors.InvalidParametersError(problems=[]), Fate.REFUSED),
        (errors.QueueFullError(queue="mail", limit=1), Fate.WAITS),
        (errors.ClassUnavailableError(class_name="a.B", reason="x"), Fate.WAITS),
        (errors.StorageUnavailableError(reason="x"), Fate.ALL_WAIT),
        (errors.unreachable("/x", ConnectionRefusedError(111, "refused")), Fate.ALL_WAIT),
        (errors.from_reply("org.bgjobd.Jobs.OfALaterVersion", {}), Fate.ALL_WAIT),
    ],
)
def test_what_becomes_of_a_row(error: errors.BgjobError | None, wanted: Fate) -> None:
    assert fate(error) is wanted
