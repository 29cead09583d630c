"""Occurrences of schedules, held against a model that looks at every minute."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgjobd.core.calendar import Cron, Every

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # set by half an hour
    "America/Sao_Paulo",  # set at midnight, until 2019
    "Africa/Casablanca",  # set back for Ramadan
    "Asia/Kathmandu",
    "Pacific/Apia",  # left a day out in 2011
    "Antarctica/Troll",  # set by two hours
]
TRANSITIONS = {
    "UTC": "2026-03-29T00:00",
    "Europe/Berlin": "2026-10-25T00:00",
    "America/New_York": "2026-03-08T00:00",
    "Australia/Lord_Howe": "2026-04-04T00:00",
    "America/Sao_Paulo": "2018-11-03T12:00",
    "Africa/Casablanca": "2026-02-14T12:00",
    "Asia/Kathmandu": "1985-12-31T00:00",
    "Pacific/Apia": "2011-12-29T00:00",
    "Antarctica/Troll": "2026-03-28T12:00",
}


# The model: whether a field fits is told by sets, and each minute is looked at.


def numbers(field: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = ("*", "", "") if span == "*" else span.partition("-")
        start = low if first == "*" else int(first)
        end = high if first == "*" or (step and not last) else int(last or first)
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def fits(expression: str) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = expression.split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12)
    days, weekdays = numbers(day, 1, 31), {one % 7 for one in numbers(weekday, 0, 7)}
    both = day.startswith("*") or weekday.startswith("*")

    def fit(local: datetime) -> bool:
        of_days = local.day in days, local.isoweekday() % 7 in weekdays
        is_day = all(of_days) if both else any(of_days)
        return is_day and local.minute in minutes and local.hour in hours and local.month in months

    return fit


def shown(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def modelled(expression: str, zone: ZoneInfo, begin: datetime, end: datetime) -> list[datetime]:
    """Each instant of (begin, end] at which the clock shows a time that fits; of fixed times, as DST is told."""
    fit = fits(expression)
    minute, hour, *_ = expression.split()
    is_fixed = not minute.startswith("*") and not hour.startswith("*")
    found: list[datetime] = []
    seen: set[datetime] = set()
    at = begin - timedelta(days=2)
    before = shown(at, zone)
    while at < end:
        at += timedelta(minutes=1)
        local = shown(at, zone)
        left_out = [before + timedelta(minutes=n) for n in range(1, (local - before) // timedelta(minutes=1))]
        if (fit(local) and not (is_fixed and local in seen)) or (
            is_fixed and any(fit(one) for one in left_out)
        ):
            found.append(at)
        seen.add(local)
        before = local
    return [one for one in found if one > begin]


def numbers_of(low: int, high: int) -> st.SearchStrategy[str]:
    one = st.integers(low, high)
    # Of a span of one with a step, such as 5-5/10, cronsim makes 5/10, which Debian's cron does not know.
    pairs = st.tuples(one, one).filter(lambda pair: pair[0] != pair[1])
    span = pairs.map(lambda pair: f"{min(pair)}-{max(pair)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 30)).map(lambda t: f"{t[0]}/{t[1]}")
    term = st.one_of(one.map(str), one.map(str), span, stepped)
    return st.one_of(st.just("*"), term, st.lists(term, min_size=2, max_size=3).map(",".join))


EXPRESSIONS = st.tuples(
    numbers_of(0, 59),
    numbers_of(0, 23),
    st.one_of(st.just("*"), numbers_of(1, 31)),
    st.just("*"),
    numbers_of(0, 7),
).map(" ".join)


@settings(max_examples=120, deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(0, 3 * 1440), st.integers(0, 59))
@example("30 2 * * *", "Europe/Berlin", 1470, 0)
@example("*/30 2 * * *", "Europe/Berlin", 1470, 30)
@example("0 0 * * *", "America/Sao_Paulo", 0, 0)
@example("15,45 2-3 * * *", "Australia/Lord_Howe", 0, 0)
@example("0 12 30 * *", "Pacific/Apia", 0, 0)
def test_occurrences_are_those_of_the_model(expression: str, zone: str, minutes: int, seconds: int) -> None:
    check_against_model(expression, zone, minutes, seconds)


@settings(max_examples=60, deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(0, 10 * 1440), st.integers(0, 20 * 1440))
@example("*/30 * * * *", "Europe/Berlin", 7 * 1440, 9 * 1440)
@example("30 2 * * *", "Europe/Berlin", 7 * 1440, 9 * 1440)
@example("0 0 * * *", "America/Sao_Paulo", 5 * 1440 + 1, 12 * 1440)
@example("0 12 30 * *", "Pacific/Apia", 5 * 1440, 12 * 1440)
def test_they_are_as_many_by_the_day_as_one_by_one(
    expression: str, zone: str, before: int, many: int
) -> None:
    cron = Cron(expression, ZoneInfo(zone))
    begin = datetime.fromisoformat(TRANSITIONS[zone]).replace(tzinfo=UTC).timestamp() - 60.0 * before
    end = begin + 60.0 * many
    each = [begin, *takewhile(lambda at: at <= end, cron.after(begin))]
    assert cron.count(begin, end) == len(each) - 1
    if len(each) > 1:
        assert cron.latest(end, each[1]) == each[-1]
        assert cron.latest(end, each[1], back=len(each) // 2 - 1) == each[-(len(each) // 2)]


def check_against_model(expression: str, zone: str, minutes: int, seconds: int) -> None:
    begin = datetime.fromisoformat(TRANSITIONS[zone]).replace(tzinfo=UTC)
    begin += timedelta(minutes=minutes - 720, seconds=seconds)
    end = begin.replace(second=0) + timedelta(days=2)
    wanted = modelled(expression, ZoneInfo(zone), begin.replace(second=0), end)
    wanted = [one for one in wanted if one > begin]
    found = [
        datetime.fromtimestamp(at, UTC)
        for at in islice(Cron(expression, ZoneInfo(zone)).after(begin.timestamp()), len(wanted) + 1)
    ]
    assert [one for one in found if one <= end] == wanted


def told(zone: str, expression: str, begin: str, count: int) -> list[tuple[str, str | None]]:
    """The next occurrences as the clock shows them, with what is special about each."""
    cron = Cron(expression, ZoneInfo(zone))
    behind = datetime.fromisoformat(begin).replace(tzinfo=ZoneInfo(zone)).timestamp()
    found = list(islice(cron.after(behind), count))
    return [(f"{shown(datetime.fromtimestamp(at, UTC), cron.zone):%d %H:%M}", cron.note(at)) for at in found]


def test_a_time_that_the_clock_leaves_out_counts_at_the_end_of_the_gap() -> None:
    assert told("Europe/Berlin", "30 2 * * *", "2026-03-28 12:00", 2) == [
        ("29 03:00", "the clock leaves out 02:30 on this day: at the end of the gap"),
        ("30 02:30", None),
    ]


def test_a_time_that_the_clock_shows_twice_counts_once_where_times_are_fixed() -> None:
    first = "the clock shows 02:30 twice on this day: the first time"
    assert told("Europe/Berlin", "30 2 * * *", "2026-10-25 01:00", 2) == [
        ("25 02:30", first),
        ("26 02:30", None),
    ]


def test_it_counts_twice_where_each_half_hour_does() -> None:
    found = told("Europe/Berlin", "*/30 * * * *", "2026-10-25 01:30", 5)
    assert [local for local, _ in found] == ["25 02:00", "25 02:30", "25 02:00", "25 02:30", "25 03:00"]
    assert [note and note.split()[-2] for _, note in found] == ["first", "first", "second", "second", None]


def test_the_last_occurrence_is_that_before_the_year_10000() -> None:
    begin = datetime(9999, 12, 30, tzinfo=UTC).timestamp()
    assert len(list(Cron("0 0 * * *").after(begin))) == 1


@given(st.floats(0.001, 1e6), st.floats(0, 1e9), st.floats(0, 4e9))
def test_every_so_many_seconds_the_next_is_behind_and_the_one_before_is_not(
    seconds: float, starting: float, instant: float
) -> None:
    every = Every(max(1.0, round(seconds, 3)), starting)
    first, second = islice(every.after(instant), 2)
    assert first > instant
    assert first - every.seconds <= instant + 1e-6
    assert abs(second - first - every.seconds) < 1e-5
    assert every.count(instant, second) == 2
    assert every.count(instant, instant) == 0


def test_minutes_are_those_of_the_clock() -> None:
    assert list(islice(Every(900.0).after(899.5), 2)) == [900.0, 1800.0]
    assert list(islice(Every(900.0).after(900.0), 1)) == [1800.0]


@pytest.mark.parametrize(
    ("calendar", "told"),
    [
        (Cron("30 2 * * 1-5"), "At 02:30 on Monday through Friday"),
        (Cron("*/15 * * * *"), "Every 15th minute of every hour"),
        (Every(1), "Every second"),
        (Every(900), "Every 15 minutes"),
        (Every(5400), "Every 90 minutes"),
        (Every(604_800), "Every 7 days"),
        (Every(1.5), "Every 1.5 seconds"),
        (Every(3600, 900), "Every hour, counted from Thu 1970-01-01 00:15:00 UTC"),
    ],
)
def test_a_calendar_says_what_it_means(calendar: Cron | Every, told: str) -> None:
    assert calendar.description == told


@settings(max_examples=50, deadline=None)
@given(EXPRESSIONS)
def test_each_expression_has_words(expression: str) -> None:
    assert Cron(expression).description


def test_an_occurrence_is_told_as_the_clocks_of_its_zone_show_it() -> None:
    at = datetime(2026, 11, 30, 1, 30, tzinfo=UTC).timestamp()
    assert Cron("30 2 * * *", ZoneInfo("Europe/Berlin")).local(at) == "Mon 2026-11-30 02:30 CET"
    assert Every(0.5).local(at + 0.5) == "Mon 2026-11-30 01:30:00.500000 UTC"
