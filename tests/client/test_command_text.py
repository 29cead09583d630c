"""How jobs, times and schemas read to a person."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob.commands import text

NOON = 1_700_000_000.0
AT_NOON = "2023-11-14T22:13:20.000000Z"


@pytest.mark.parametrize(
    ("ahead", "told"),
    [
        (0.0, "now"),
        (0.4, "now"),
        (5.0, "in 5 s"),
        (-5.0, "5 s ago"),
        (3599.9, "in 1 h"),
        (-150.0, "2 min ago"),
        (-7300.0, "2 h ago"),
        (86_400.0, "in 1 day"),
        (-3 * 86_400.0, "3 days ago"),
    ],
)
def test_a_time_is_told_from_here(ahead: float, told: str) -> None:
    assert text.when(AT_NOON, NOON - ahead) == told


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0.0, "0 s"),
        (0.0042, "4 ms"),
        (0.12, "120 ms"),
        (1.54, "1.5 s"),
        (12.3, "12 s"),
        (200.0, "3 min 20 s"),
        (7500.0, "2 h 5 min"),
        (90_000.0, "1 d 1 h"),
    ],
)
def test_a_time_span_is_as_exact_as_a_person_needs_it(seconds: float, told: str) -> None:
    assert text.span(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(None, "–"), (0, "0 B"), (1023, "1023 B"), (2048, "2 KB"), (31 << 20, "31 MB")]
)
def test_bytes_have_a_readable_unit(count: int | None, told: str) -> None:
    assert text.size(count) == told
    assert text.size(5 << 30) == "5.0 GB"


def _job(status: str, attempt: int, retry_count: int, scheduled_at: str | None = None) -> dict[str, Any]:
    return {
        "status": status,
        "attempt": attempt,
        "retry_count": retry_count,
        "max_retries": 3,
        "scheduled_at": scheduled_at,
    }


@pytest.mark.parametrize(
    ("job", "now", "standing", "attempts"),
    [
        (_job("pending", 0, 0), NOON, "pending", "0/4"),
        (_job("pending", 0, 0, AT_NOON), NOON - 1, "scheduled", "0/4"),
        (_job("pending", 0, 0, AT_NOON), NOON + 1, "pending", "0/4"),
        (_job("pending", 1, 1, AT_NOON), NOON - 1, "retrying", "1/4"),
        (_job("running", 1, 0), NOON, "running", "1/4"),
        (_job("running", 4, 3, AT_NOON), NOON - 1, "running", "4/4"),
        (_job("running", 7, 1), NOON, "running", "7/9"),
        (_job("failed", 4, 3), NOON, "failed", "4"),
        (_job("completed", 1, 0), NOON, "completed", "1"),
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
    assert text.width("e\u0301日") == 3


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
