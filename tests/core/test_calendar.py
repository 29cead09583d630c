"""Occurrences of schedules, held against a model that looks at every minute."""

from __future__ import annotations

import re
from calendar import day_name, month_name, monthrange
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgjobd.config.cron_expressions import fields_of
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
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
NAMES = dict(zip((*MONTHS, *DAYS), (*month_name[1:], day_name[6], *day_name[:6]), strict=True))


# The model: whether a field fits is told by sets, and each minute is looked at.


def numbers(field: str, low: int, high: int, names: Sequence[str] = ()) -> set[int]:
    """What the terms name; those that depend on the month are left to others."""
    found: set[int] = set()
    field = re.sub("[A-Z]{3}", lambda name: str(low + names.index(name[0])), field)
    for term in field.split(","):
        if "L" in term or "#" in term:
            continue
        span, _, step = term.partition("/")
        first, _, last = ("*", "", "") if span == "*" else span.partition("-")
        start = low if first == "*" else int(first)
        end = high if first == "*" or (step and not last) else int(last or first)
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def fits(expression: str) -> Callable[[datetime], bool]:
    minute, hour, day, month, weekday = expression.split()
    minutes, hours, months = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(month, 1, 12, MONTHS)
    days, weekdays = numbers(day, 1, 31), {one % 7 for one in numbers(weekday, 0, 7, DAYS)}
    both = day.startswith("*") or weekday.startswith("*")

    def fit(local: datetime) -> bool:
        if local.minute not in minutes or local.hour not in hours or local.month not in months:
            return False
        of_days = (
            local.day in days or not last_days(local).isdisjoint(day.split(",")),
            local.isoweekday() % 7 in weekdays or not places(local).isdisjoint(weekday.split(",")),
        )
        return all(of_days) if both else any(of_days)

    return fit


def last_days(local: datetime) -> set[str]:
    """How a day may be written that is its month's last, or the last of a week's five days of work."""
    last = monthrange(local.year, local.month)[1]
    is_last_working = local.isoweekday() <= 5 and (
        local.day == last or (local.isoweekday() == 5 and local.day >= last - 2)
    )
    return ({"L"} if local.day == last else set()) | ({"LW"} if is_last_working else set())


def places(local: datetime) -> set[str]:
    """How a day may be written by its weekday and its place in the month."""
    weekday = local.isoweekday()
    names = {str(weekday), str(weekday % 7), DAYS[weekday % 7]}
    is_last = local.day + 7 > monthrange(local.year, local.month)[1]
    found = {f"{name}#{(local.day + 6) // 7}" for name in names}
    return found | ({f"{weekday}L", f"{weekday % 7}L"} if is_last else set())


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


def numbers_of(
    low: int, high: int, names: Sequence[str] = (), others: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[str]:
    """A field's texts; a number below another may be written as a name, and `others` are terms of their own."""
    one = st.integers(low, high)
    # Of a span of one with a step, such as 5-5/10, cronsim makes 5/10, which Debian's cron does not know.
    pairs = st.tuples(one, one).filter(lambda pair: pair[0] != pair[1])
    span = pairs.map(lambda pair: f"{min(pair)}-{max(pair)}")
    if names:
        named = st.integers(low, low + len(names) - 1).map(lambda number: names[number - low])
        span = st.one_of(span, st.just(f"{names[1]}-{names[5]}"))
        others = named if others is None else st.one_of(named, others)
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, 30)).map(lambda t: f"{t[0]}/{t[1]}")
    term = st.one_of(one.map(str), one.map(str), span, stepped, *(() if others is None else (others,)))
    return st.one_of(st.just("*"), term, st.lists(term, min_size=2, max_size=3).map(",".join))


def is_accepted(expression: str) -> bool:
    """Whether it may be configured: one that no day of 50 years fits may not."""
    try:
        fields_of(expression)
    except ValueError:
        return False
    return True


PLACES = st.one_of(
    st.tuples(st.sampled_from([*DAYS, *map(str, range(8))]), st.integers(1, 5)).map(
        lambda t: f"{t[0]}#{t[1]}"
    ),
    st.integers(0, 7).map(lambda weekday: f"{weekday}L"),
)
EXPRESSIONS = (
    st.tuples(
        numbers_of(0, 59),
        numbers_of(0, 23),
        st.one_of(st.just("*"), numbers_of(1, 31, others=st.sampled_from(["L", "LW"]))),
        st.one_of(st.just("*"), st.just("*"), numbers_of(1, 12, MONTHS)),
        st.one_of(st.just("*"), numbers_of(0, 7, DAYS, PLACES)),
    )
    .map(" ".join)
    .filter(is_accepted)
)


@pytest.mark.timeout(300)  # a minute for the thousand of --long
@settings(deadline=None)
@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(0, 3 * 1440), st.integers(0, 59))
@example("30 2 * * *", "Europe/Berlin", 0, 0)
@example("*/30 2 * * *", "Europe/Berlin", 0, 30)
@example("0 0 * * *", "America/Sao_Paulo", 0, 0)
@example("15,45 2-3 * * *", "Australia/Lord_Howe", 0, 0)
@example("0 12 30 * *", "Pacific/Apia", 0, 0)
@example("0 12 L DEC *", "Pacific/Apia", 1440, 0)
@example("0 12 LW * *", "Pacific/Apia", 0, 0)
@example("30 2 * MAR SUN#2", "America/New_York", 720, 0)
@example("30 2 * JAN-OCT 7L", "Europe/Berlin", 0, 0)
@example("30 2 1 OCT 7L", "Europe/Berlin", 0, 0)
@example("30 20 * * 6L,FRI#3", "Europe/Berlin", 0, 0)
@example("30 2 * * MON-SAT", "Europe/Berlin", 0, 0)
def test_occurrences_are_those_of_the_model(expression: str, zone: str, minutes: int, seconds: int) -> None:
    check_against_model(expression, zone, minutes, seconds)


@settings(deadline=None)
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


class Watched(ZoneInfo):
    """A zone that counts how often it is asked for what its clocks show."""

    asked = 0

    def fromutc(self, when: datetime) -> datetime:
        self.asked += 1
        return super().fromutc(when)


def test_years_of_minutes_are_counted_with_a_look_a_day_and_some_at_each_setting_of_the_clock() -> None:
    zone = Watched.no_cache("Europe/Berlin")
    begin, end = (datetime(year, 7, 1, tzinfo=UTC).timestamp() for year in (2022, 2026))
    assert Cron("* * * * *", zone).count(begin, end) == (end - begin) / 60
    assert zone.asked < 3 * 4 * 365


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


@pytest.mark.parametrize(
    "calendar",
    [
        *(
            Cron("59 23 * * *", ZoneInfo(zone))
            for zone in [*ZONES, "Pacific/Kiritimati", "Pacific/Pago_Pago"]
        ),
        *(Cron("*/30 * * * *", ZoneInfo(zone)) for zone in ("America/New_York", "Europe/Berlin")),
        Cron("0 0 1 1 *"),
        Every(3600.0),
        Every(36500 * 86_400.0),
    ],
)
def test_there_is_nothing_before_the_year_1_and_behind_the_year_9999_and_whoever_asks_is_answered(
    calendar: Cron | Every,
) -> None:
    begin, end = (datetime(*day, tzinfo=UTC).timestamp() for day in [(1, 1, 1), (9999, 12, 31, 23, 59, 59)])
    month = 31 * 86_400
    early = next(calendar.after(begin))
    late = list(calendar.after(end - month))
    for at in (early, *late):
        assert begin < at < end
        datetime.fromtimestamp(at, UTC)
        assert isinstance(calendar.local(at), str)
        assert calendar.note(at) is None or not isinstance(calendar, Every)
    assert calendar.count(end - month, end) == len(late)
    assert calendar.count(begin, early) == 1
    assert calendar.latest(early + 1, early) == early
    assert not late or calendar.latest(end, late[0]) == late[-1]
    assert list(calendar.after(end)) == []


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


@settings(deadline=None)
@given(EXPRESSIONS)
@example("5 4 L FEB FRI#2,0L")
def test_each_expression_has_words(expression: str) -> None:
    told = Cron(expression).description
    minute, hour, *_ = expression.split()
    if minute.isdecimal() and hour.isdecimal():
        assert told.startswith(f"At {int(hour):02}:{int(minute):02}")
    assert re.fullmatch(r"[AE][\w ,:'-]+", told)
    for name in re.findall("[A-Z]{3}", expression):
        assert NAMES[name] in told


def test_an_occurrence_is_told_as_the_clocks_of_its_zone_show_it() -> None:
    at = datetime(2026, 11, 30, 1, 30, tzinfo=UTC).timestamp()
    assert Cron("30 2 * * *", ZoneInfo("Europe/Berlin")).local(at) == "Mon 2026-11-30 02:30 CET"
    assert Every(0.5).local(at + 0.5) == "Mon 2026-11-30 01:30:00.500000 UTC"
