"""How jobs, times and schemas read to a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjob import text
from bgjob.commands.look import CELLS

NOON = 1_700_000_000.0
AT_NOON = "2023-11-14T22:13:20.000000Z"
LATE = "expired: not started by 2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0.0, "now"),
        (0.4, "now"),
        (5.0, "in 5 s"),
        (-5.0, "5 s ago"),
        (3599.9, "in 1 h"),
        (7199.0, "in 2 h"),
        (3660.0, "in 1 h"),
        (1860.0, "in 31 min"),
        (-150.0, "2 min ago"),
        (-7199.0, "1 h ago"),
        (-7300.0, "2 h ago"),
        (86_400.0, "in 1 day"),
        (-3 * 86_400.0, "3 days ago"),
    ],
)
def test_a_time_is_told_from_here(ahead: float, told: str) -> None:
    assert text.when(AT_NOON, NOON - ahead) == told


def test_a_time_span_that_is_not_known_is_a_dash() -> None:
    assert (text.span(None), text.span(200.0)) == ("–", "3 min 20 s")


@pytest.mark.parametrize("value", ["a\u009bb", "\u202eabc", "\u2028", "\x7f", "\U000e0001", {"k\u200b": 1}])
def test_json_on_a_terminal_moves_nothing_and_is_the_same_value(value: Any) -> None:
    told = text.to_json({"a": [value]})
    assert told.isprintable()
    assert json.loads(told) == {"a": [value]}


def test_json_that_people_can_read_is_left_as_it_is() -> None:
    assert text.to_json({"to": "Zoë ☺ 東京"}) == '{"to": "Zoë ☺ 東京"}'


@pytest.mark.parametrize(
    ("count", "told"), [(None, "–"), (0, "0 B"), (1023, "1023 B"), (2048, "2 KiB"), (31 << 20, "31 MiB")]
)
def test_bytes_have_a_readable_unit(count: int | None, told: str) -> None:
    assert text.size(count) == told
    assert text.size(5 << 30) == "5 GiB"


def _job(
    status: str, attempt: int, retry_count: int, scheduled_at: str | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "status": status,
        "attempt": attempt,
        "retry_count": retry_count,
        "max_retries": 3,
        "scheduled_at": scheduled_at,
        **more,
    }


@pytest.mark.parametrize(
    ("job", "now", "standing", "attempts"),
    [
        (_job("pending", 0, 0), NOON, "pending", "0/4"),
        (_job("pending", 0, 0, AT_NOON), NOON - 1, "scheduled", "0/4"),
        (_job("pending", 0, 0, AT_NOON), NOON + 1, "pending", "0/4"),
        (_job("pending", 1, 1, AT_NOON), NOON - 1, "retrying", "1/4"),
        (_job("pending", 1, 1, AT_NOON, outcome="failed"), NOON - 1, "retrying", "1/4"),
        (_job("pending", 1, 0, AT_NOON, outcome="snoozed"), NOON - 1, "snoozed", "1/5"),
        (_job("pending", 1, 0, AT_NOON, outcome="snoozed"), NOON + 1, "pending", "1/5"),
        (_job("pending", 0, 0, AT_NOON, is_behind=True), NOON - 1, "behind", "0/4"),
        (_job("running", 1, 0, is_behind=True), NOON, "running", "1/4"),
        (_job("running", 4, 3, AT_NOON), NOON - 1, "running", "4/4"),
        (_job("running", 7, 1), NOON, "running", "7/9"),
        (_job("failed", 4, 3), NOON, "failed", "4"),
        (_job("completed", 1, 0), NOON, "completed", "1"),
        (_job("cancelled", 0, 0, error=LATE), NOON, "expired", "0"),
        (_job("cancelled", 1, 0, error=LATE, started_at=AT_NOON), NOON, "cancelled", "1"),
    ],
)
def test_a_job_stands_where_its_status_time_and_attempts_say(
    job: dict[str, Any], now: float, standing: str, attempts: str
) -> None:
    assert text.standing(job, now) == standing
    assert text.attempts(job) == attempts


@pytest.mark.parametrize(
    ("written", "line", "lines"),
    [
        ("plain – Ünïcode 日本", "plain – Ünïcode 日本", "plain – Ünïcode 日本"),
        ("no\u00a0break \u3000space", "no\u00a0break \u3000space", "no\u00a0break \u3000space"),
        ("a\nb\tc", "a\\nb\\tc", "a\nb\tc"),
        ("\x1b[2J\x07\x9b\x7f", "\\x1b[2J\\x07\\x9b\\x7f", "\\x1b[2J\\x07\\x9b\\x7f"),
        ("\u202eevil\u2066 \u2028", "\\u202eevil\\u2066 \\u2028", "\\u202eevil\\u2066 \\u2028"),
        ("👩\u200d🔧", "👩\u200d🔧", "👩\u200d🔧"),
        ("\ud800", "\\ud800", "\\ud800"),
    ],
)
def test_text_of_others_moves_nothing_on_a_terminal(written: str, line: str, lines: str) -> None:
    assert text.one_line(written) == line
    assert text.lines(written) == lines


def test_text_is_shortened_by_the_columns_that_it_takes() -> None:
    assert text.shortened("abcdef", 6) == "abcdef"
    assert text.shortened("abcdef", 4) == "abc…"
    assert text.shortened("abcdef", 4, keeps_end=True) == "…def"
    assert text.shortened("日本日本", 5) == "日本…"
    assert text.shortened("日本日本", 5, keeps_end=True) == "…日本"
    assert text.shortened("e\u0301" * 4, 3) == "e\u0301e\u0301…"
    assert text.shortened("日e\u0301e\u0301e\u0301", 3, keeps_end=True) == "…e\u0301e\u0301"
    assert text.shortened("日\u0301ab", 3, keeps_end=True) == "…ab"


@pytest.mark.parametrize(
    ("written", "columns"),
    [
        ("abc", 3),
        ("é–…", 3),
        ("e\u0301日", 3),
        ("日本\u3000", 6),
        ("x\u200dx\u200dx", 3),
        ("█\u200d█", 2),
        ("می\u200cخواهم", 7),
        ("🎉", 2),
        ("🇩🇪", 2),
    ],
)
def test_a_text_is_as_wide_as_a_terminal_shows_it(written: str, columns: int) -> None:
    assert text.width(written) == columns


@pytest.mark.parametrize("whole", ["👩\u200d🔧", "👍🏽", "🇩🇪", "❤\ufe0f"])
def test_what_a_person_sees_as_one_is_not_cut_apart(whole: str) -> None:
    for most in range(2, 12):
        assert set(text.shortened(whole * 9, most).split(whole)) <= {"", "…"}
        assert set(text.shortened(whole * 9, most, keeps_end=True).split(whole)) <= {"", "…"}


@pytest.mark.parametrize("written", ["é", "日", "👩\u200d🔧", "x\u200d", "\u0301"])
def test_a_long_text_is_shortened_in_a_time_that_grows_with_its_length_only(written: str) -> None:
    for keeps_end in (False, True):
        assert text.width(text.shortened(written * 100_000 + "that is all", 9, keeps_end=keeps_end)) == 9


def test_of_a_text_that_is_much_too_long_only_some_characters_are_looked_at() -> None:
    assert text.capped("abcdef", 6) == "abcdef"
    assert text.capped("abcdef", 4) == "abc…"
    assert text.capped("abcdef", 4, keeps_end=True) == "…def"
    assert text.capped("abcdef", 1) == text.capped("abcdef", 1, keeps_end=True) == "…"


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({}, "run(**others)"),
        ({"additionalProperties": False}, "run()"),
        ({"additionalProperties": {"type": "integer"}}, "run(**others: int)"),
    ],
)
def test_a_signature_tells_what_else_may_be_given(schema: dict[str, Any], told: str) -> None:
    assert text.signature({"name": "run", "schema": schema}) == told


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, "x=…"),
        ({"default": None}, "x=None"),
        ({"type": "string", "default": "a"}, "x: str = 'a'"),
        ({"type": "string", "format": "date-time"}, "x: date-time = …"),
        ({"type": "string", "format": "password", "writeOnly": True}, "x: secret = …"),
        ({"type": "array", "items": {"type": "number"}}, "x: list[float] = …"),
        ({"type": "array", "items": {}}, "x: list = …"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}], "default": None}, "x: int | None = None"),
        ({"anyOf": [{"type": "integer"}, {}]}, "x: int | any = …"),
        ({"enum": ["a", 1]}, "x: 'a' | 1 = …"),
        ({"const": True}, "x: True = …"),
        ({"$ref": "#/$defs/Address"}, "x: Address = …"),
        ({"$ref": "#/$defs/Size", "default": "big"}, "x: 'big' | 'small' = 'big'"),
        (True, "x=…"),
    ],
)
def test_a_parameter_reads_as_python_would_write_it(form: Any, told: str) -> None:
    definitions = {"Size": {"enum": ["big", "small"]}, "Address": {"type": "object"}}
    schema = {"properties": {"x": form}, "additionalProperties": False, "$defs": definitions}
    assert text.signature({"name": "run", "schema": schema}) == f"run({told})"


def test_a_job_that_waits_for_a_held_class_is_called_so_once_it_is_due() -> None:
    job = {"status": "pending", "is_held": True, "scheduled_at": None, "error": None}
    assert text.standing(job, NOON) == "held"
    later = job | {"scheduled_at": "2999-01-01T00:00:00.000000Z", "attempt": 0, "outcome": None}
    assert text.standing(later, NOON) == "scheduled"
    assert text.standing(job | {"status": "running"}, NOON) == "running"


EXPECTED = {"runs": 9, "p50": 40.2, "p95": 118.0, "memory_p95": None, "left": 20.3, "times": None}


@pytest.mark.parametrize(
    ("expected", "usually", "told"),
    [
        ({}, "", ""),
        ({"expected": None}, "", ""),
        (
            {"expected": EXPECTED},
            ", usually 40 s",
            "half end within 40 s, 95 of 100 within 2 min; about 20 s left",
        ),
        (
            {"expected": EXPECTED | {"left": None, "times": 6.04}},
            ", usually 40 s",
            "runs 6 times as long as usual: half end within 40 s, 95 of 100 within 2 min",
        ),
    ],
)
def test_what_runs_is_told_with_what_others_take(expected: dict[str, Any], usually: str, told: str) -> None:
    job = {"status": "running", "started_at": AT_NOON, "finished_at": None, **expected}
    assert CELLS["when"](job, NOON + 38) == f"for 38 s{usually}"
    assert text.expectation(job) == told
