"""The bars of a timeline: where they begin, how wide they are at least, and what is marked on those that run."""

from __future__ import annotations

import re

import pytest

from bgjob.timelines import Kind, Step, Timeline, timeline_of
from bgjobd.web.timeline_drawing import key_of, length, step_bar, ticks
from tests.client.test_timelines import BEGIN, attempt, job


def drawn(begin: float, end: float, of: float = 1000.0) -> tuple[str, str]:
    """The place and width of a bar on an axis of so many seconds."""
    step = Step(Kind.FAILED, BEGIN + begin, BEGIN + end, "Attempt 1", number=1, outcome="failed")
    found = re.search(
        r' x="([^"]+)" y="1" width="([^"]+)"', step_bar(Timeline([step], BEGIN, BEGIN + of), step)
    )
    assert found is not None
    return found[1], found[2]


@pytest.mark.parametrize(
    ("begin", "end", "place", "width"),
    [
        (0, 1000, "0.00%", "100.00%"),
        (250, 500, "25.00%", "25.00%"),
        (500, 500, "50.00%", "4"),
        (500, 510, "50.00%", "4"),
        (1000, 1000, "98.75%", "4"),
    ],
)
def test_a_bar_is_as_long_as_the_step_and_at_least_4_pixels_within_the_axis(
    begin: float, end: float, place: str, width: str
) -> None:
    assert drawn(begin, end) == (place, width)


def test_what_runs_has_marks_where_others_had_ended_and_says_so_far() -> None:
    told = timeline_of(
        job(attempt(1, 0, None, None), status="running", timeout=100.0, expected={"p50": 25.0, "p95": 75.0}),
        BEGIN + 10,
    )
    bar = step_bar(told, told.steps[0])
    assert re.findall(r'x1="([^"]+)".*?<title>(.*?)</title>', bar) == [
        ("25.00%", "half end by here"),
        ("75.00%", "95 of 100 end by here"),
    ]
    assert length(told.steps[0]) == "10 s so far"
    assert 'aria-label="Attempt 1, 10 s so far"' in bar


def test_what_a_job_says_is_text() -> None:
    step = Step(Kind.WAIT, BEGIN, BEGIN + 1, "Waits for signal <b>\"x'</b>", is_open=True)
    assert "<b>" not in step_bar(Timeline([step], BEGIN, BEGIN + 1), step)


@pytest.mark.parametrize(
    ("seconds", "first"), [(1.0, "22:13:20.000"), (100.0, "22:13:20"), (100_000.0, "11-14 22:13")]
)
def test_an_axis_tells_times_as_exactly_as_its_length_asks_for(seconds: float, first: str) -> None:
    told = re.findall(r">([^<]+)</time>", ticks(Timeline([], BEGIN, BEGIN + seconds)))
    assert (len(told), told[0]) == (5, first)


def test_the_kinds_that_are_there_are_explained_and_no_others() -> None:
    told = timeline_of(job(attempt(1, 0, 3), attempt(2, 20, 21, "completed", waited=0.0)), BEGIN + 30)
    assert [kind for kind, _ in key_of(told)] == ["delay", "completed", "failed"]
