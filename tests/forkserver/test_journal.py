"""What a job writes into its journal by itself is taken for no more than it can be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bgjobd.forkserver import journal as journals

STARTED = journals.started("ab", 7, 0, 1, "cd", 1.0)
USED = {"max_rss": 1, "cpu_user": 0.5, "cpu_system": 0, "output_bytes": 0}


def exit_of(usage: Any) -> journals.Record | None:
    line = journals.exited(7, 1.0, 0, None, usage=usage)
    return journals.parse(STARTED + line).exit


def test_usage_is_read_as_it_was_written() -> None:
    found = exit_of(USED)
    assert found is not None
    assert found["usage"] == USED


@pytest.mark.parametrize("name", USED)
@pytest.mark.parametrize("value", [-1, -0.5, -(2**53), 2**53 + 2, float("nan"), float("inf"), "1", None, []])
def test_usage_that_nobody_can_have_had_is_none(name: str, value: Any) -> None:
    assert exit_of({**USED, name: value}) is None


def test_exits_that_make_no_sense_leave_the_one_before() -> None:
    text = (
        STARTED + journals.exited(7, 1.0, 3, None) + journals.exited(7, 1.0, 0, None, usage={"max_rss": -1})
    )
    found = journals.parse(text + json.dumps({"v": 1, "type": "exit"}).encode()).exit
    assert found is not None
    assert found["code"] == 3
