"""Reads what ended, and how queues stood, by spans of time: in rows, and in memory as far as it is in none yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from bgjob.codec import JsonObject, to_json
from bgjob.words import INT_MAX
from bgjobd.core import spans
from bgjobd.core.spans import ALL, DAY, HOUR, OfClass, OfError, OfQueue, begin
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.engines import Database
from bgjobd.store.span_counts import Counted
from bgjobd.store.span_rows import of_row
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import SELECT_PROPERTY

MOST_POINTS: Final = 10_000
_JOBS_AT_ONCE: Final = 500
_PORTIONS: Final = 10
"""In how many of its newest jobs the attempts of a class are looked for, at once, and how often."""

_HOURS: Final = 24
_DAYS_BEFORE: Final = 13
_AGAIN: Final = 5

_VALUES: Final = "completed, failed, retried, bad, seconds, waited, cpu, memory"
# By the whole key: between two rows of a name are those of all others.
OF_CLASS: Final = f"""
    SELECT t.at, t.class_name, {_VALUES} FROM json_each(:spans) AS wanted CROSS JOIN class_tallies AS t
    ON t.span = :span AND t.at = wanted.value AND t.class_name = :name
"""
OF_QUEUE: Final = """
    SELECT t.at, t.queue, t.pending, t.running, t.waited FROM json_each(:spans) AS wanted CROSS JOIN queue_tallies AS t
    ON t.span = :span AND t.at = wanted.value AND t.queue = :name
"""
OF_CLASSES: Final = f"""
    SELECT at, class_name, {_VALUES} FROM class_tallies
    WHERE span = :span AND at >= :first AND at <= :last AND class_name <> ''
"""
OF_QUEUES: Final = """
    SELECT at, queue, pending, running, waited FROM queue_tallies WHERE span = :span AND at >= :since
"""
OF_ERROR: Final = """
    SELECT at, error_group, attempts, failed FROM error_tallies
    WHERE error_group = :name AND span = :span AND at >= :since
"""
NEWEST: Final = """
    SELECT j.id, a.number, a.finished_at, seconds_between(a.started_at, a.finished_at), a.max_rss,
        a.cpu_user + a.cpu_system, a.waited, a.outcome
    FROM (
        SELECT id FROM background_jobs INDEXED BY jobs_by_class
        WHERE class_name = :class_name AND id > 0 AND id < :before ORDER BY id DESC LIMIT :count
    ) AS j LEFT JOIN job_attempts AS a ON a.job_id = j.id AND a.outcome IS NOT NULL
    ORDER BY j.id DESC, a.number DESC
"""
_MARK: Final = ("job_id", "number", "at", "seconds", "memory", "cpu", "waited", "outcome")

T = TypeVar("T", OfClass, OfQueue, OfError)
S = TypeVar("S")

Points = dict[tuple[int, Any], T]
"""By the begin of a span and a name."""


class Asked(NamedTuple):
    """Of what: "class", "queue", "queues" or "error" with its name or id; from the first to the last span."""

    kind: str
    name: str | int
    span: int
    since: int
    until: int


def try_asked(of: str, span: int, since: float | None, now: float) -> Asked | None:
    """What `of` means, with as much of the past as is kept, or goes into a page; None where it means nothing."""
    kind, _, name = of.partition(":")
    kept = spans.KEPT
    if of == "":
        kind, name = "class", ALL
    elif of == "queues":
        name = ""
    elif not name or kind not in ("class", "queue", "error"):
        return None
    if kind == "error":
        kept = spans.KEPT_OF_ERRORS
        if not (name.isascii() and name.isdecimal() and len(name) < 18):
            return None
    if span not in kept:
        return None
    first = spans.kept_since(now, span, kept)
    if since is not None:
        first = max(first, begin(since, span))
    return Asked(kind, int(name) if kind == "error" else name, span, first, begin(now, span))


def trend(database: Database, counted: Callable[[], Counted], asked: Asked) -> list[JsonObject]:
    """Points in the order of time, those of the same span by name, the newest of many. A span in which nothing
    ended, or moved, has none.
    """
    match asked.kind:
        case "class":
            points = as_one(database, counted, lambda now: _of_class(database, now, asked))
            return [_told(key, _of_points(one)) for key, one in _newest(points)]
        case "error":
            of_error = as_one(database, counted, lambda now: _of_error(database, now, asked))
            return [_told(key, asdict(one)) for key, one in _newest(of_error)]
        case _:
            of_queue = as_one(database, counted, lambda now: _of_queue(database, now, asked))
            return [_told(key, asdict(one)) for key, one in _newest(of_queue)]


def as_one(database: Database, counted: Callable[[], Counted], read: Callable[[Counted], S]) -> S:
    """What is read of rows and of memory when neither has what is in the other as well."""
    left = _AGAIN
    while True:
        with database.atomic():
            now, left = counted(), left - 1
            stored = database.execute_sql(SELECT_PROPERTY, {"name": now.kept_in}).fetchone()
            if left == 0 or now.until == (
                None if stored is None else stored[0]
            ):  # else one was written just now
                return read(now)


def _of_class(database: Database, now: Counted, asked: Asked) -> Points[OfClass]:
    rows = database.execute_sql(OF_CLASS, _given(asked)).fetchall()
    points = {_key(at, name): of_row(row) for at, name, *row in rows}
    open_ones = ((at, ALL if asked.name == ALL else name, one) for (at, name), one in now.classes.items())
    return _with(points, open_ones, OfClass, asked)


def _of_queue(database: Database, now: Counted, asked: Asked) -> Points[OfQueue]:
    statement = OF_QUEUES if asked.kind == "queues" else OF_QUEUE
    rows = database.execute_sql(statement, _given(asked)).fetchall()
    points = {_key(at, queue): OfQueue(*row) for at, queue, *row in rows}
    open_ones = ((at, queue, one) for (at, queue), one in now.queues.items())
    return _with(points, open_ones, OfQueue, asked)


def _of_error(database: Database, now: Counted, asked: Asked) -> Points[OfError]:
    rows = database.execute_sql(OF_ERROR, _given(asked)).fetchall()
    points = {_key(at, group): OfError(*row) for at, group, *row in rows}
    open_ones = ((at, group, one) for (at, group), one in now.errors.items())
    return _with(points, open_ones, OfError, asked)


def _given(asked: Asked) -> dict[str, Any]:
    each = _each(asked.span, asked.since, asked.until)
    return {"span": asked.span, "name": asked.name, "since": to_text(held(asked.since)), "spans": each}


def _each(span: int, first: int, last: int) -> str:
    """The begins of spans of this length, as they are stored, as a list."""
    return to_json([to_text(held(at)) for at in range(first, last + 1, span)])


def _key(at: str, name: Any) -> tuple[int, Any]:
    return int(from_text(at)), name


def _with(
    points: Points[T], open_ones: Iterable[tuple[int, Any, T]], new: Callable[[], T], asked: Asked
) -> Points[T]:
    """The points with what is in memory of the same."""
    for at, name, one in open_ones:
        begun = begin(at, asked.span)
        if begun >= asked.since and (asked.kind == "queues" or name == asked.name):
            points.setdefault((begun, name), new()).add(one)
    return points


def _newest(points: Points[T]) -> list[tuple[tuple[int, Any], T]]:
    return sorted(points.items(), key=itemgetter(0))[-MOST_POINTS:]


def _told(key: tuple[int, Any], values: JsonObject) -> JsonObject:
    at, name = key
    return {"at": to_text(held(at)), "name": str(name), **values}


def _of_points(one: OfClass) -> JsonObject:
    return {
        "completed": one.completed,
        "failed": one.failed,
        "retried": one.retried,
        "bad": dict(one.bad),
        **_quantiles(one),
        "cpu": round(one.cpu, 3),
        "memory": one.memory,
    }


def _quantiles(one: OfClass) -> JsonObject:
    """In seconds, to the millisecond, as times are."""
    asked = {"p50": (one.seconds, 0.5), "p95": (one.seconds, 0.95), "waited_p95": (one.waited, 0.95)}
    found = {name: spans.quantile(*counts) for name, counts in asked.items()}
    return {name: None if value is None else round(value, 3) for name, value in found.items()}


# Classes


class _Of(NamedTuple):
    """What of a class ended in the last 24 hours, by their begins, and in the 13 days before."""

    hours: dict[int, OfClass]
    days: dict[int, OfClass]


def of_each(database: Database, counted: Callable[[], Counted], now: float) -> list[JsonObject]:
    """All classes of which anything ended within 14 days, by name: figures, and how many ended each hour."""
    first = begin(now, HOUR) - (_HOURS - 1) * HOUR
    found = as_one(database, counted, lambda open_ones: _of_classes(database, open_ones, first))
    hours = [first + place * HOUR for place in range(_HOURS)]
    return [
        {
            "name": name,
            "day": _figures(one.hours.values(), 1),
            "before": _figures(one.days.values(), _DAYS_BEFORE),
            "hours": [one.hours[at].ended if at in one.hours else 0 for at in hours],
            "failed": [one.hours[at].failed if at in one.hours else 0 for at in hours],
        }
        for name, one in sorted(found.items())
    ]


def of_one(
    database: Database, counted: Callable[[], Counted], name: str, limit: int, now: float
) -> JsonObject:
    """The figures of one class, and its newest attempts that have ended, newest job first."""
    first = begin(now, HOUR) - (_HOURS - 1) * HOUR
    found = as_one(database, counted, lambda open_ones: _of_classes(database, open_ones, first, name))
    one = found.get(name, _Of({}, {}))
    return {
        "day": _figures(one.hours.values(), 1),
        "before": _figures(one.days.values(), _DAYS_BEFORE),
        "attempts": list(islice(_marks(database, name), limit)),
    }


def _marks(database: Database, name: str) -> Iterator[JsonObject]:
    before = INT_MAX
    for _ in range(_PORTIONS):
        asked = {"class_name": name, "before": before, "count": _JOBS_AT_ONCE}
        rows = database.execute_sql(NEWEST, asked).fetchall()
        for row in rows:
            mark = dict(zip(_MARK, row, strict=True))
            if mark["number"] is not None:
                yield _marked(mark)
        if len({row[0] for row in rows}) < _JOBS_AT_ONCE:
            return
        before = rows[-1][0]


def _marked(mark: JsonObject) -> JsonObject:
    seconds = mark["seconds"]
    return mark if seconds is None else mark | {"seconds": round(max(0.0, seconds), 3)}


def _of_classes(
    database: Database, open_ones: Counted, first: int, only: str | None = None
) -> dict[str, _Of]:
    """Hours from the `first` on, and the days that were over before that one's day."""
    by_name: dict[str, _Of] = {}
    day = begin(first, DAY)
    for name, at, one in _rows(database, HOUR, first, first + (_HOURS - 1) * HOUR, only):
        by_name.setdefault(name, _Of({}, {})).hours[at] = one
    for name, at, one in _rows(database, DAY, day - _DAYS_BEFORE * DAY, day - DAY, only):
        by_name.setdefault(name, _Of({}, {})).days[at] = one
    for (at, name), one in open_ones.classes.items():
        if begin(at, HOUR) >= first and only in (None, name):
            by_name.setdefault(name, _Of({}, {})).hours.setdefault(begin(at, HOUR), OfClass()).add(one)
    return by_name


def _rows(
    database: Database, span: int, first: int, last: int, only: str | None
) -> Iterator[tuple[str, int, OfClass]]:
    given: dict[str, Any] = {"span": span}
    if only is None:
        given |= {"first": to_text(held(first)), "last": to_text(held(last))}
        rows = database.execute_sql(OF_CLASSES, given).fetchall()
    else:
        rows = database.execute_sql(
            OF_CLASS, given | {"name": only, "spans": _each(span, first, last)}
        ).fetchall()
    for at, name, *row in rows:
        yield name, int(from_text(at)), of_row(row)


def _figures(parts: Iterable[OfClass], days: int) -> JsonObject:
    """What they come to; `cpu` a day."""
    one = spans.total(parts)
    ended = one.ended
    return {
        "ended": ended,
        "completed": one.completed,
        "failed": one.failed,
        **_quantiles(one),
        "memory": one.memory,
        "cpu": round(one.cpu / days, 3),
    }
