"""What a row of an outbox asks for, and what becomes of it."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob import Client, Job, errors, result_of
from bgjob import job as draft
from bgjob.outbox.rows import Fate, Row, fate, new_row, sentence, submission

NOW = datetime(2026, 3, 29, 0, 30, tzinfo=UTC)


class Queue(Enum):
    MAIL = "mail"


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
    made = row(priority=3, key="customer:7")
    asked = submission(made).parameters
    assert asked == {
        "class_name": "a.B",
        "method_name": "c",
        "parameters": {"x": "ö"},
        "retry_count": 2,
        "options": {"priority": 3, "key": "customer:7", "idempotency_key": made.key},
    }
    assert len(bytes.fromhex(made.key)) == 16
    assert row().key != made.key


def test_values_that_json_has_not_are_written_in_their_forms() -> None:
    job = {"class_name": "a.B", "method_name": "c", "parameters": {"day": NOW.date()}}
    made = new_row(job, None, None, NOW)
    assert submission(made).parameters["parameters"] == {"day": "2026-03-29"}
    with pytest.raises(TypeError, match=r"^day: JSON has no form"):
        new_row({**job, "parameters": {"day": 2j}}, None, None, NOW)
    assert submission(row(queue=Queue.MAIL)).parameters["options"]["queue"] == "mail"
    with pytest.raises(TypeError, match=r"^options\.priority: JSON has no form"):
        row(priority=2j)


def test_a_delay_counts_from_when_the_row_was_made() -> None:
    options = submission(row(delay=timedelta(minutes=1))).parameters["options"]
    assert options["at"] == "2026-03-29T00:31:00+00:00"
    assert "delay" not in options


def test_a_row_has_what_its_job_comes_after_by_ids_and_no_draft_which_has_none() -> None:
    stored = Job(Client("/x"), 7)
    job = {"class_name": "a.B", "method_name": "c", "parameters": {"rows": result_of(stored, "rows"), "x": 1}}
    made = new_row({**job, "options": {"after": [stored, 12], "if_failed": "run"}}, None, None, NOW)
    asked = submission(made).parameters
    assert (asked["parameters"], asked["options"]["after"]) == ({"x": 1}, [{"id": 7}, {"id": 12}])
    assert asked["options"]["take"] == {"rows": {"of": {"id": 7}, "pointer": "/rows"}}
    with pytest.raises(TypeError, match="has no id: submit it before"):
        row(after=[draft("a.B", "c")])


@pytest.mark.parametrize("after", ['"12"', '[["id"]]', "[null]", "{}"])
def test_a_row_that_somebody_else_has_written_comes_after_nothing(after: str) -> None:
    with pytest.raises(ValueError, match="no row of an outbox"):
        submission(Row("0" * 32, f'{{"class_name": "a.B", "options": {{"after": {after}}}}}'))


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


TEXTS = st.sampled_from(
    [
        "class_name",
        "method_name",
        "parameters",
        "options",
        "check_only",
        "key",
        "a.B",
        "after",
        "take",
        "group",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=5),
)


@given(st.builds(json.dumps, VALUES) | st.text())
def test_whatever_stands_in_a_row_is_a_request_or_told(text: str) -> None:
    with suppress(ValueError):
        assert submission(Row("0" * 32, text)).parameters["options"]["idempotency_key"] == "0" * 32


def test_a_row_that_is_nested_too_deeply_is_told() -> None:
    with pytest.raises(ValueError, match="no row of an outbox"):
        submission(Row("0" * 32, "[" * 100_000))


@pytest.mark.parametrize("field", ["jobs", "keys", "each", "of_a_later_version"])
def test_a_row_asks_for_nothing_but_its_own_job(field: str) -> None:
    written = json.dumps({"class_name": "a.B", "method_name": "c", "options": {}, field: 5})
    call = submission(Row("0" * 32, written))
    assert field not in call.parameters
    assert call.keyed(errors.QueueFullError(queue="mail", limit=1)).idempotency_keys == ("0" * 32,)


def test_a_reason_is_a_text_that_any_database_takes() -> None:
    assert sentence(ValueError("a\0b\ud800c")) == "a?b?c"


@pytest.mark.parametrize(
    "text", ["[]", "{}", '{"options": 1}', '{"class_name": "a.B", "options": {}, "check_only": true}']
)
def test_a_text_that_is_no_request_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no row of an outbox"):
        submission(Row("0" * 32, text))


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (None, Fate.DELETED),
        (errors.NotApprovedError(class_name="a.B"), Fate.REFUSED),
        (errors.InvalidParametersError(problems=[]), Fate.REFUSED),
        (errors.JobNotFoundError(id=12), Fate.REFUSED),
        (errors.DuplicateError(id=12), Fate.REFUSED),
        (errors.GroupSealedError(id=5), Fate.REFUSED),
        (errors.QueueFullError(queue="mail", limit=1), Fate.WAITS),
        (errors.ClassUnavailableError(class_name="a.B", reason="x"), Fate.WAITS),
        (errors.StorageUnavailableError(reason="x"), Fate.ALL_WAIT),
        (errors.unreachable("/x", ConnectionRefusedError(111, "refused")), Fate.ALL_WAIT),
        (errors.from_reply("org.bgjobd.Jobs.OfALaterVersion", {}), Fate.ALL_WAIT),
    ],
)
def test_what_becomes_of_a_row(error: errors.BgjobError | None, wanted: Fate) -> None:
    assert fate(error) is wanted
