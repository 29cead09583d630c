"""The strip of two days: where occurrences stand, what is one mark and what a bar, what comes together; no sockets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.web.drawings import day_line, squares, together
from bgjobd.web.strip import (
    CELL,
    COMING,
    DAY,
    KINDS,
    MORE,
    Meeting,
    day_in_words,
    hours,
    kind_of,
    meetings,
    runs_of,
    title_of,
    told_of,
)
from tests.page.serving import SAMPLES

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC).timestamp()
HOUR = 3600.0
MINUTE = 60.0


def text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def occurrence(at: float, **others: Any) -> dict[str, Any]:
    """One that became a job, which completed."""
    own = {"at": text(at), "until": text(at), "job_id": 12, "status": "completed"}
    return SAMPLES["occurrence"] | own | others


def skipped(at: float, until: float, count: int, reason: str = "missed") -> dict[str, Any]:
    own = {"verdict": "skipped", "reason": reason, "job_id": None, "status": None}
    return occurrence(at, until=text(until), count=count, **own)


def schedule(
    past: Iterable[dict[str, Any]] = (),
    coming: Iterable[float] = (),
    *,
    name: str = "nightly",
    every: float | None = None,
    earlier: bool = False,
) -> dict[str, Any]:
    """One with these occurrences, the oldest first, and those that the daemon tells are to come."""
    following = [{"at": text(at), "local": "", "note": None} for at in coming]
    told = {"name": name, "every": every, "next": following, "paused_at": None}
    return SAMPLES["schedule"] | told | {"occurrences": [*past][::-1], "earlier": earlier}


def shown(told: dict[str, Any]) -> list[tuple[float, float, str]]:
    """Hours from now of each mark or bar, and its kind."""
    return [((one.begin - NOW) / HOUR, (one.end - NOW) / HOUR, one.kind) for one in runs_of(told, NOW)]


@pytest.mark.parametrize(
    ("others", "kind", "told"),
    [
        ({}, "completed", "job 12 completed"),
        ({"status": "failed"}, "failed", "job 12 failed"),
        ({"status": "pending"}, "waiting", "job 12 pending"),
        ({"status": None}, "deleted", "job 12 deleted"),
        ({"verdict": "asked"}, "completed", "job 12 completed, asked for"),
        ({"verdict": "backfilled", "status": "running"}, "running", "job 12 running, backfilled"),
        ({"verdict": "skipped", "reason": "overlap"}, "skipped", "skipped: job 12 had not ended"),
        ({"verdict": "skipped", "reason": "held"}, "skipped", "skipped: job 12 had its unique key"),
        ({"verdict": "skipped", "reason": "missed", "job_id": None}, "skipped", "skipped: missed"),
        ({"verdict": "skipped", "reason": "refused", "job_id": None}, "refused", "skipped: refused"),
        ({"verdict": "skipped", "reason": "queue full", "job_id": None}, "refused", "skipped: queue full"),
    ],
)
def test_an_occurrence_is_told_by_what_became_of_it(others: dict[str, Any], kind: str, told: str) -> None:
    one = occurrence(NOW, **others)
    assert (kind_of(one), told_of(one)) == (kind, told)
    assert title_of(one) == f"2026-11-28 12:00:00 UTC: {told}"
    assert f"<title>2026-11-28 12:00:00 UTC: {told}</title>" in squares([one])


def test_those_that_were_skipped_in_a_row_are_told_with_their_span() -> None:
    one = skipped(NOW - HOUR, NOW, 1_051_200)
    assert title_of(one) == "2026-11-28 11:00:00 to 2026-11-28 12:00:00 UTC: 1,051,200 skipped: missed"


def test_one_alone_in_its_quarter_of_an_hour_is_a_mark_where_it_is() -> None:
    told = schedule(
        [occurrence(NOW - 3 * HOUR), occurrence(NOW - 2 * HOUR, status="failed")],
        [NOW + 2.1 * HOUR, NOW + DAY + 1],
    )
    assert sorted(shown(told)) == [
        (-3, -3, "completed"),
        (-2, -2, "failed"),
        (pytest.approx(2.1), pytest.approx(2.1), COMING),
    ]


def test_many_in_a_row_are_one_bar_that_tells_how_many() -> None:
    told = schedule([occurrence(NOW - HOUR + number * MINUTE) for number in range(60)])
    assert shown(told) == [(-1, 0, "completed")]
    [bar] = runs_of(told, NOW)
    assert bar.title == "2026-11-28 11:00:00 to 2026-11-28 11:59:00 UTC: 60 completed"


def test_the_gravest_of_a_quarter_of_an_hour_is_what_is_shown_and_lies_on_top() -> None:
    past = [occurrence(NOW - HOUR + number * MINUTE) for number in range(60)]
    past[20] |= {"status": "failed"}
    found = runs_of(schedule(past), NOW)
    assert [one.kind for one in found] == ["completed", "completed", "failed"]
    assert found[-1].title.endswith("14 completed, 1 failed") or found[-1].title.endswith(
        "1 failed, 14 completed"
    )
    assert found[-1].end - found[-1].begin == CELL


def test_what_was_skipped_in_a_row_is_a_bar_from_the_edge() -> None:
    told = schedule(
        [skipped(NOW - 30 * DAY, NOW - 2 * HOUR, 5000), skipped(NOW - HOUR, NOW - MINUTE, 2, "refused")]
    )
    assert shown(told) == [(-24, -2, "skipped"), (-1, pytest.approx(-1 / 60), "refused")]
    assert shown(schedule([skipped(NOW - 30 * DAY, NOW - 2 * DAY, 5000)])) == []


def test_where_the_daemon_has_told_of_so_many_the_line_says_that_there_are_more() -> None:
    past = [occurrence(NOW - 2 * HOUR), occurrence(NOW - HOUR)]
    told = schedule(past, [NOW + HOUR, NOW + 2 * HOUR], earlier=True)
    assert shown(told)[:2] == [(-24, -2, MORE), (2, 24, MORE)]
    assert "2 or more to come" in day_in_words(told, NOW)
    assert MORE not in {kind for _, _, kind in shown(schedule(past, [NOW + HOUR, NOW + 2 * DAY]))}


def test_one_that_goes_on_by_seconds_is_drawn_to_the_end_from_its_next() -> None:
    hourly = shown(schedule(coming=[NOW + HOUR], every=HOUR))
    assert [begin for begin, _, _ in hourly] == [*range(1, 24)]
    often = runs_of(schedule(coming=[NOW + MINUTE], every=MINUTE), NOW)
    assert [(one.begin, one.kind) for one in often] == [(NOW + MINUTE, COMING), (NOW + CELL, COMING)]
    assert often[-1].end == NOW + DAY
    assert shown(schedule(coming=[NOW + 3 * DAY], every=7 * DAY)) == []


def test_of_one_that_is_paused_nothing_is_to_come() -> None:
    paused = schedule([occurrence(NOW - HOUR)], [NOW + HOUR]) | {"paused_at": text(NOW)}
    assert shown(paused) == [(-1, -1, "completed")]
    assert "the next: 0 to come" in day_in_words(paused, NOW)
    assert meetings([paused], NOW).each == ()


MOMENTS = st.lists(st.floats(NOW - 2 * DAY, NOW - 1), max_size=60).map(sorted)
FOLLOWING = st.lists(st.floats(NOW + 1, NOW + 2 * DAY), max_size=60).map(sorted)


@given(MOMENTS, FOLLOWING, st.booleans())
def test_every_occurrence_of_the_two_days_stands_within_them_on_the_side_of_its_time(
    past: list[float], coming: list[float], earlier: bool
) -> None:
    found = runs_of(schedule([occurrence(at) for at in past], coming, earlier=earlier), NOW)
    assert all(NOW - DAY <= one.begin <= one.end <= NOW + DAY for one in found)
    for at, kind in [*((at, "completed") for at in past), *((at, COMING) for at in coming)]:
        if abs(at - NOW) < DAY - 1:
            assert any(one.begin - 1 <= at <= one.end + 1 for one in found if one.kind in (kind, "completed"))
    assert [KINDS.index(one.kind) for one in found] == sorted(KINDS.index(one.kind) for one in found)


def test_what_comes_together_is_counted_by_schedules_and_named() -> None:
    at_two = [
        schedule(coming=[NOW + 2 * HOUR + number, NOW + 3 * DAY], name=f"s{number}") for number in range(3)
    ]
    hourly = schedule(coming=[NOW + 2 * HOUR], every=HOUR, name="hourly")
    found = meetings([*at_two, hourly], NOW)
    assert found.largest == Meeting("2026-11-28T14:00:00+00:00", ("s0", "s1", "s2", "hourly"))
    assert found.largest in found.each
    drawn = together([asdict(one) for one in found.each], NOW)
    assert "<title>14:00 UTC: 4: s0, s1, s2, hourly</title>" in drawn


def test_those_that_are_always_there_are_left_out_of_what_comes_together() -> None:
    often = schedule(coming=[NOW + MINUTE], every=MINUTE)
    unknown = schedule(coming=[NOW + MINUTE, NOW + 2 * MINUTE])
    found = meetings([often, unknown, schedule(coming=[NOW + HOUR, NOW + 3 * DAY], name="daily")], NOW)
    assert ([one.names for one in found.each], found.left_out) == ([("daily",)], 2)


def test_of_very_many_that_come_together_some_are_named() -> None:
    at_two = [schedule(coming=[NOW + HOUR, NOW + 3 * DAY], name=f"s{number}") for number in range(200)]
    drawn = together([asdict(one) for one in meetings(at_two, NOW).each], NOW)
    assert "UTC: 200: s0, s1," in drawn
    assert "and 188 more" in drawn


def test_the_lines_behind_are_at_every_sixth_hour() -> None:
    assert [(at - NOW) / HOUR for at in hours(NOW)] == [*range(-18, 19, 6)]
    assert [(at - NOW) / HOUR for at in hours(NOW + 3 * HOUR)] == [*range(-18, 25, 6)]


def test_a_line_says_what_it_shows_to_who_cannot_see_it() -> None:
    past = [occurrence(NOW - 30 * HOUR), occurrence(NOW - HOUR), occurrence(NOW - MINUTE, status="failed")]
    line = day_line(schedule(past, [NOW + HOUR, NOW + 2 * DAY]), NOW)
    assert 'role="img" aria-label="The last 24 hours: 1 failed, 1 completed; the next: 1 to come"' in line
    assert "The last 3: 1 failed, 2 completed" in squares([*past])
    assert "The last 0: none" in squares([])
