"""What ended by slots of time, and where attempts stand in a drawing: rules without a page."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.changes_told import just_before
from bgjob.text import instant
from bgjobd.web import trends
from bgjobd.web.charts import dots, ended, spark, spark_bars, top_of
from bgjobd.web.remembered import KEPT, Remembered
from bgjobd.web.scatter import MEASURES, cloud_of, quantile
from bgjobd.web.trends import (
    HOUR,
    LAST_DAY,
    LAST_HOUR,
    TWO_WEEKS,
    changes_in,
    hours_of,
    percent,
    slots_of,
    text_of,
    usual_span,
)

NOW = instant("2026-11-28T14:33:20Z")
SPANS = pytest.mark.parametrize("span", [LAST_HOUR, LAST_DAY, TWO_WEEKS], ids=lambda span: span.name)


def point(at: float, **told: Any) -> dict[str, Any]:
    return {"at": text_of(at), "completed": 0, "failed": 0, **told}


def change(at: float, kind: str = "loaded", **what: Any) -> dict[str, Any]:
    return {"at": text_of(at), "kind": kind, "what": {"code": "4f2a1c", "was": "9be07d", **what}, "who": None}


@SPANS
def test_a_span_ends_with_the_slot_that_is_not_over_and_has_all_before_it(span: trends.Span) -> None:
    points = [point(at, completed=1) for at in range(span.begin(NOW), int(NOW), span.step)]
    slots = slots_of(points, span, NOW)
    assert len(slots) == span.slots
    assert all(slot.completed == 1 for slot in slots)
    assert slots[-1].at <= NOW < slots[-1].at + span.step


@given(st.floats(0, 4e9))
def test_every_moment_is_in_one_slot_whatever_it_is(now: float) -> None:
    for span in (LAST_HOUR, LAST_DAY, TWO_WEEKS):
        begin = span.begin(now)
        assert begin % span.step == 0
        assert begin <= now < begin + span.step * span.slots


def test_the_usual_span_is_the_hour_only_where_all_of_the_day_is_within_it() -> None:
    spans, first = (LAST_HOUR, LAST_DAY), LAST_HOUR.begin(NOW)
    assert usual_span([point(first)], spans, NOW) is LAST_HOUR
    assert usual_span([point(first - 300), point(first)], spans, NOW) is LAST_DAY
    assert usual_span([point(NOW - 90_000)], spans, NOW) is LAST_DAY
    assert usual_span([], spans, NOW) is LAST_DAY


def test_a_span_in_which_nothing_ended_is_a_slot_of_nothing() -> None:
    slots = slots_of([point(LAST_DAY.begin(NOW) + 300, failed=2)], LAST_DAY, NOW)
    assert [(slot.completed, slot.failed) for slot in slots[:3]] == [(0, 0), (0, 2), (0, 0)]


def test_hours_without_a_point_are_none() -> None:
    hours = hours_of([point(NOW - NOW % HOUR, pending=7)], "pending", NOW)
    assert hours == [None] * 23 + [7]


def test_changes_outside_of_the_span_are_left_out_and_the_others_have_their_place() -> None:
    begin = LAST_DAY.begin(NOW)
    told = changes_in([change(begin + 43_200), change(begin - 1)], LAST_DAY, NOW)
    assert [(one.place, one.told) for one in told] == [(0.5, "code 4f2a1c loaded, was 9be07d")]


def test_what_was_changed_shortly_before_may_explain_what_goes_wrong() -> None:
    since = text_of(NOW)
    before = [change(NOW + 5), change(NOW - 40), change(NOW - 60, "paused"), change(NOW - 5000, "started")]
    assert just_before(since, before) == "40 s after code 4f2a1c loaded, was 9be07d"
    assert just_before(since, before[2:]) == ""


@pytest.mark.parametrize(
    ("share", "told"),
    [(None, "–"), (0.0, "0 %"), (1.0, "100 %"), (0.9999, "99.9 %"), (0.00001, "0.1 %"), (0.9606, "96.1 %")],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float | None, told: str) -> None:
    assert percent(share) == told


@given(st.integers(0, 10**9))
def test_a_scale_ends_at_an_even_number_not_much_above_the_highest(highest: int) -> None:
    top = top_of(highest)
    assert top % 2 == 0
    assert highest <= top <= max(2, 2 * highest)


@SPANS
def test_failures_have_a_scale_of_their_own(span: trends.Span) -> None:
    begin = span.begin(NOW)
    told = [point(begin, completed=1000), point(begin + span.step, failed=2)]
    drawn = str(ended(slots_of(told, span, NOW), (), span, NOW))
    assert re.findall(r'class="(\w+)" x="[\d.]+" y="0.0"', drawn) == ["completed", "failed"]
    assert f"1,000 {span.unit}" in drawn
    assert "2 failed" in drawn
    assert drawn.count("<title>") == 2


def test_an_upright_line_stands_in_both_strips_with_what_was_changed_as_text() -> None:
    changes = changes_in([change(NOW, code="<b>\u202e")], LAST_DAY, NOW)
    drawn = str(ended(slots_of([], LAST_DAY, NOW), changes, LAST_DAY, NOW))
    assert drawn.count('<line class="moment"') == 2
    assert r"<title>code &lt;b&gt;\u202e loaded, was 9be07d</title>" in drawn


def test_a_line_of_24_hours_has_a_point_for_each_and_what_is_none_lies_at_the_foot() -> None:
    assert re.findall(r'class="line" points="([^"]*)"', str(spark([0, None, 4], "<said>"))) == [
        "0.0,22.0 50.0,22.0 100.0,2.0"
    ]
    assert str(spark_bars([0, None, 4], "said")).count("<rect") == 1
    assert "&lt;said&gt;" in str(spark([], "<said>"))


# Attempts as dots


def mark(number: int, seconds: float | None, outcome: str = "completed") -> dict[str, Any]:
    at = text_of(NOW + number)
    used = {"seconds": seconds, "memory": 2**20 * (number + 1), "cpu": 0.0, "waited": None}
    return {"job_id": number, "number": 1, "at": at, "outcome": outcome, **used}


def test_dots_stand_in_the_order_of_their_ends_on_a_scale_by_tens() -> None:
    cloud = cloud_of([mark(2, 10.0, "timed_out"), mark(1, 0.1), mark(0, 1.0)], MEASURES["time"], None, ())
    assert cloud is not None
    assert [round(dot.y, 3) for dot in cloud.dots] == [0.5, 1.0, 0.0]
    assert [dot.is_bad for dot in cloud.dots] == [False, False, True]
    assert cloud.labels == ("10 s", "1 s", "100 ms")
    assert cloud.dots[2].told == "job 2, attempt 1: timed out, 10 s"
    assert cloud.said.endswith("3 attempts, from 100 ms to 10 s: p50 1 s, p95 10 s; 1 ended badly")


def test_a_limit_is_on_the_scale_however_far_above() -> None:
    cloud = cloud_of([mark(1, 0.02)], MEASURES["time"], 3600.0, ())
    assert cloud is not None
    assert cloud.most is not None
    assert 0 <= cloud.most < 0.2
    assert len(cloud.labels) <= 6


def test_where_nothing_is_known_there_is_no_drawing_and_nothing_used_is_the_least() -> None:
    assert cloud_of([mark(1, None)], MEASURES["time"], None, ()) is None
    assert cloud_of([mark(1, 1.0)], MEASURES["wait"], None, ()) is None
    cloud = cloud_of([mark(1, 1.0)], MEASURES["cpu"], None, ())
    assert cloud is not None
    assert [dot.y for dot in cloud.dots] == [1.0]


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e12)), max_size=60),
    st.one_of(st.none(), st.floats(0, 1e9)),
    st.sampled_from(sorted(MEASURES)),
)
def test_no_dot_is_outside_of_its_drawing(values: list[float | None], limit: float | None, name: str) -> None:
    field = MEASURES[name].field
    marks = [mark(number, 1.0) | {field: value} for number, value in enumerate(values)]
    cloud = cloud_of(marks, MEASURES[name], limit, ())
    if cloud is None:
        assert all(value is None for value in values)
        return
    for dot in cloud.dots:
        assert 0 < dot.x < 1
        assert -1e-6 <= dot.y <= 1 + 1e-6
    assert all(-1e-6 <= y <= 1 + 1e-6 for _, y in (*cloud.half, *cloud.most_of_them))
    assert len(cloud.labels) == len(cloud.grid) + 2
    assert "nan" not in str(dots(cloud))


def test_half_and_95_of_100_are_told_of_each_part() -> None:
    cloud = cloud_of(
        [mark(number, 0.01 if number < 50 else 1.0) for number in range(100)], MEASURES["time"], None, ()
    )
    assert cloud is not None
    assert cloud.half[0][1] > cloud.half[-1][1]
    assert quantile([1, 2, 3, 4], 0.5) == 2


def test_a_change_stands_before_the_first_attempt_that_ended_after_it() -> None:
    (told,) = changes_in([change(NOW + 1.5)], LAST_DAY, NOW + 10)
    cloud = cloud_of([mark(number, 1.0) for number in range(4)], MEASURES["time"], None, [told])
    assert cloud is not None
    assert cloud.changes == ((0.5, "code 4f2a1c loaded, was 9be07d"),)


# What is remembered


class Asked:
    """A daemon with a point each hour."""

    def __init__(self) -> None:
        self.since: list[float] = []
        self.completed = 1

    def trend(self, of: str, span: int, *, since: str) -> list[dict[str, Any]]:
        self.since.append(instant(since))
        first = int(instant(since)) // span * span
        return [point(at, completed=self.completed) for at in range(first, int(NOW), span)]


def test_spans_that_are_over_are_asked_for_once_a_minute_and_the_latest_each_time() -> None:
    asked = Asked()
    remembered = Remembered(asked.trend)
    whole = remembered.trend("", HOUR, NOW - 86_400, NOW)
    asked.completed = 2
    again = remembered.trend("", HOUR, NOW - 86_400, NOW + 1)
    assert [one["at"] for one in again] == [one["at"] for one in whole]
    assert [one["completed"] for one in again[-4:]] == [1, 2, 2, 2]
    assert asked.since[1] > NOW - 4 * HOUR
    remembered.trend("", HOUR, NOW - 86_400, NOW + 1 + KEPT)
    remembered.trend("", HOUR, NOW - 2 * 86_400, NOW + 2 + KEPT)
    remembered.trend("class:a", HOUR, NOW - 86_400, NOW + 2 + KEPT)
    assert [since < NOW - 86_399 for since in asked.since] == [True, False, True, True, True]


def test_of_the_same_moment_nobody_is_asked_twice() -> None:
    asked = Asked()
    remembered = Remembered(asked.trend)
    first = remembered.trend("", HOUR, NOW - 86_400, NOW)
    assert remembered.trend("", HOUR, NOW - HOUR, NOW) == first
    assert len(asked.since) == 1
