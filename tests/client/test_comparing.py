"""What differs between two attempts: facts that do come first, parameters by their place, texts line by line."""

from __future__ import annotations

import time
from typing import Any

import pytest

from bgjob.comparing import MOST_LINES, Lines, Place, Side, compared, lines_of, try_place
from tests.client.test_timelines import attempt, job

USED = {
    "error_type": None, "error_message": None, "traceback": None, "max_rss": 4096, "cpu_user": 0.5, "cpu_system": 0.25,
    "output_bytes": 12, "code_version": "c0de", "exit_code": 0, "signal": None,
}  # fmt: skip
ASKED = {"id": 5121, "class_name": "shop.Mail", "method_name": "send", "priority": 0, "submitted_uid": 33}


def side(output: str | None = None, parameters: Any = None, of_job: Any = None, **of_attempt: Any) -> Side:
    one = attempt(2, 10, 13, **USED) | of_attempt
    return Side(job(one, **ASKED, parameters=parameters or {}) | (of_job or {}), one, output)


def differing(a: Any, b: Any) -> list[tuple[str, str | None, str | None]]:
    return [tuple(one) for one in compared(side(parameters=a), side(parameters=b)).parameters]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("written", "place"),
    [
        ("5121.2", Place(5121, 2)),
        ("5121", Place(5121)),
        *(
            (wrong, None)
            for wrong in ("", ".", "5.", ".2", "5.0", "0", "-1", "5.2.1", "x", "5,2", "٣", "9" * 19)
        ),
    ],
)
def test_an_attempt_is_named_by_its_job_and_its_number(written: str, place: Place | None) -> None:
    assert try_place(written) == place
    assert place is None or str(place) == written


def test_rows_that_differ_come_first_and_all_others_in_their_order() -> None:
    found = compared(side(), side(outcome="timed_out", code_version="beef"))
    assert [row.name for row in found.rows if row.differs] == ["outcome", "code"]
    assert [row.name for row in found.rows][:4] == ["outcome", "code", "job", "took"]
    assert found.rows[1] == ("code", "c0de", "beef")


def test_what_neither_knows_is_left_out() -> None:
    names = [row.name for row in compared(side(), side()).rows]
    assert not {"error", "host", "signal"} & {*names}
    assert "signal" in [row.name for row in compared(side(), side(signal=9)).rows]


def test_parameters_are_told_by_the_places_that_differ() -> None:
    a = {"to": "x", "items": [{"price": 1}, {"price": 2}], "same": {"deep": [1]}, "gone": None}
    b = {"to": "x", "items": [{"price": 1}, {"price": 3}, 7], "same": {"deep": [1]}, "a/b~": True}
    assert differing(a, b) == [
        ("/items/1/price", "2", "3"),
        ("/items/2", None, "7"),
        ("/gone", "null", None),
        ("/a~1b~0", None, "true"),
    ]


def test_long_lists_are_compared_in_a_moment() -> None:
    many = [0] * 30_000
    began = time.thread_time()
    assert differing({"x": many}, {"x": [*many, 1]}) == [("/x/30000", None, "1")]
    assert time.thread_time() - began < 5


def test_a_long_path_is_told_by_its_end() -> None:
    ((path, *_),) = differing({"x" * 5000: {"last": 1}}, {"x" * 5000: {"last": 2}})
    assert len(path) == 200
    assert path.endswith("x/last")


@pytest.mark.parametrize(("a", "b"), [(1, True), (1, 1.0), ([], {}), ("1", 1), (None, 0), ({}, None)])
def test_a_value_of_another_type_differs(a: Any, b: Any) -> None:
    assert len(differing({"x": a}, {"x": b})) == 1


def test_many_differences_are_cut_and_long_values_too() -> None:
    found = compared(side(parameters={str(n): n for n in range(500)}), side(parameters={"0": "x" * 5000}))
    assert (len(found.parameters), found.has_more_parameters) == (100, True)
    assert len(found.parameters[0].b or "") == 200


def test_parameters_may_be_nested_without_end() -> None:
    a: Any = 1
    b: Any = 2
    for _ in range(900):
        a, b = [a], [b]
    assert len(differing({"x": a}, {"x": b})) == 1


def test_lines_are_told_with_those_around_them() -> None:
    a = "\n".join(["same"] * 9 + ["one", "-- two", "three"])
    b = "\n".join(["same"] * 9 + ["one", "++ zwei", "three"])
    assert lines_of(a, b).lines == ["@", " same", " same", " one", "--- two", "+++ zwei", " three"]
    assert lines_of(a, a) == Lines()


def test_of_a_text_that_is_too_long_nothing_is_told_but_that() -> None:
    assert lines_of("x\n" * (MOST_LINES + 1), "y") == Lines(is_too_long=True)
    assert not lines_of("x\n" * MOST_LINES, "y").is_too_long


def test_texts_that_are_made_to_be_hard_take_no_more_than_seconds() -> None:
    one = "\n".join(str(place % 100) for place in range(MOST_LINES))
    other = "\n".join(str(place * 7 % 100) for place in range(MOST_LINES))
    began_at = time.thread_time()
    lines_of(one, other)
    assert time.thread_time() - began_at < 15


def test_traceback_and_output_are_compared_where_they_are_known() -> None:
    found = compared(side("a\nb", traceback="Traceback"), side("a\nc", traceback="Traceback"))
    assert (found.traceback.lines, found.output.lines) == ((), ["@", " a", "-b", "+c"])
    assert compared(side(None), side(None)).output == Lines()
