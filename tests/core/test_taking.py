"""Results as parameters: what is put where, what of it cannot be, and that limits are kept to the byte."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.codec import to_json
from bgjob.results import MISSING, TOO_DEEP, Result, is_too_deep, result_of
from bgjobd.core.edges import Node, Of
from bgjobd.core.taking import as_text, sources, taken
from tests.core.samples import seeded

JOB, GROUP = Node(Of.JOB, 12), Node(Of.GROUP, 12)


def wanted(**takes: tuple[Node, str]) -> str:
    return to_json({name: {"of": as_text(of), "pointer": pointer} for name, (of, pointer) in takes.items()})


def take(takes: str, node: Node, result: Result, parameters: Any = None, limit: int = 65536) -> Any:
    """Parameters and takes as values."""
    return tuple(json.loads(text) for text in taken(takes, node, result, to_json(parameters or {}), limit))


def test_a_value_is_put_among_the_parameters_that_are_given() -> None:
    takes = wanted(rows=(JOB, "/rows"), title=(JOB, "/title"), whole=(JOB, ""))
    result = {"rows": [1], "title": "é"}
    parameters, after = take(takes, JOB, Result(result), {"a": 1})
    assert parameters == {"a": 1, "rows": [1], "title": "é", "whole": result}
    assert after == json.loads(takes)


def test_what_is_taken_of_something_else_stays_as_it_is() -> None:
    takes = wanted(rows=(GROUP, ""), title=(Node(Of.JOB, 1), ""))
    assert take(takes, JOB, Result([1])) == ({}, json.loads(takes))
    assert take(takes, GROUP, Result([1]))[0] == {"rows": [1]}


def test_of_what_has_not_completed_the_value_is_null_wherever_the_pointer_leads() -> None:
    assert take(wanted(rows=(JOB, "/rows/3")), JOB, MISSING) == (
        {"rows": None},
        {"rows": {"of": {"id": 12}, "pointer": "/rows/3"}},
    )


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (Result({"a": 1}), "the result has no rows"),
        (
            Result(problem="a group of more than 1,000 members passes no results on"),
            "a group of more than 1,000",
        ),
        (
            Result({"rows": "x" * 100}),
            "with it the parameters would take 111 bytes, the limit is 64; pass a path",
        ),
    ],
)
def test_what_cannot_be_taken_is_a_problem_and_no_parameter(result: Result, problem: str) -> None:
    takes = wanted(rows=(JOB, "/rows"))
    parameters, after = take(takes, JOB, result, limit=64)
    assert parameters == {}
    assert after["rows"]["problem"].startswith(problem)
    assert [found for *_, found in sources(to_json(after))] == [after["rows"]["problem"]]


def test_a_value_that_is_taken_anew_takes_the_place_of_the_one_before_and_of_the_problem() -> None:
    takes = wanted(rows=(JOB, "/rows"))
    for result in ({"a": 1}, {"rows": 1}, {"a": 1}, {"rows": 2}):
        parameters, takes = taken(takes, JOB, Result(result), '{"rows":"old","b":1}', 65536)
        assert json.loads(parameters) == {"b": 1, **({"rows": result["rows"]} if "rows" in result else {})}
        assert ("problem" in takes) is ("rows" not in result)


def test_a_problem_does_not_quote_what_the_result_holds() -> None:
    secret = {"token": "hunter2", "list": ["hunter2"]}
    for pointer in ("/token/0", "/list/1", "/list/x", "/nothing"):
        assert "hunter2" not in str(take(wanted(rows=(JOB, pointer)), JOB, Result(secret))[1])
    assert "hunter2" not in str(take(wanted(rows=(JOB, "")), JOB, Result(secret), limit=10)[1])


def test_sources_tell_what_each_parameter_comes_of() -> None:
    assert [*sources(wanted(rows=(JOB, ""), all=(GROUP, "/0")))] == [
        ("rows", JOB, None),
        ("all", GROUP, None),
    ]
    assert [*sources(None)] == []


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@seeded
@given(
    st.dictionaries(st.text(max_size=3), values, max_size=3), st.text(max_size=3), values, st.integers(2, 80)
)
def test_parameters_never_take_more_than_they_may_and_what_fits_is_taken(
    parameters: dict[str, Any], name: str, value: Any, limit: int
) -> None:
    before = {key: one for key, one in parameters.items() if key != name}
    after, takes = take(wanted(**{name: (JOB, "")}), JOB, Result(value), parameters, limit)
    size = len(to_json({**before, name: value}).encode())
    assert after == ({**before, name: value} if size <= limit else before)
    assert ("problem" in takes[name]) is (size > limit)
    assert size <= limit or f"would take {size} bytes, the limit is {limit}" in takes[name]["problem"]


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(("depth", "is_deep"), [(1, False), (32, False), (33, True), (900, True)])
def test_what_is_nested_deeper_than_a_request_may_be_is_taken_by_nobody(depth: int, is_deep: bool) -> None:
    assert is_too_deep(json.loads(nested(depth))) == is_deep
    assert (result_of(nested(depth)).problem == TOO_DEEP) == is_deep


@pytest.mark.parametrize("text", [nested(100_000), "no JSON"])
def test_what_a_job_has_written_into_its_journal_by_itself_may_be_no_json(text: str) -> None:
    assert result_of(text).problem == "it is no JSON that can be read"


def test_null_is_a_result_in_which_a_pointer_leads_nowhere() -> None:
    assert take(wanted(rows=(JOB, "")), JOB, result_of("null"))[0] == {"rows": None}
    parameters, takes = take(wanted(rows=(JOB, "/rows")), JOB, result_of("null"))
    assert (parameters, takes["rows"]["problem"]) == ({}, "the result is neither an object nor a list")
