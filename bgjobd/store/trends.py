"""Reads what ended, and how queues stood, by spans of time: in rows, and in memory as far as it is in none yet."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeVar

from bgjob.codec import JsonObject, to_json
from bgjob.words import INT_MAX
from bgjobd.core import spans
from bgjobd.core.spans import ALL, DAY, HOUR, begin
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Database
from bgjobd.store.span_counts import Counted
from bgjobd.store.span_rows import as_row
from bgjobd.store.sql_functions import held
from bgjobd.store.statements.of_properties import SELECT_PROPERTY

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

S = TypeVar("S")

Key = tuple[str, str]
"""The begin of a span, as it is stored, and a name."""


class Stored(NamedTuple):
    """What ended of a class in a span, as its row has it."""

    completed: int
    failed: int
    retried: int
    bad: str
    seconds: bytes
    waited: bytes
    cpu: float
    memory: int


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
        case "error":
            points = as_one(database, counted, lambda now: _of_error(database, now, asked))
        case _:
            points = as_one(database, counted, lambda now: _of_queue(database, now, asked))
    newest = sorted(points.items(), key=itemgetter(0))[-MOST_POINTS:]
    return [{"at": at, "name": name, **values} for (at, name), values in newest]


def as_one(database: Database, counted: Callable[[], Counted], read: Callable[[Counted], S]) -> S:
    """What is read of rows and of memory when neither has what is in the other as well."""
    left = _AGAIN
    while True:
        with database.atomic():
            now, left = counted(), left - 1
            stored = database.execute_sql(SELECT_PROPERTY, {"name": now.kept_in}).fetchone()
            # Else one was written just now.
            if left == 0 or now.until == (None if stored is None else stored[0]):
                return read(now)


def _of_class(database: Database, now: Counted, asked: Asked) -> dict[Key, JsonObject]:
    found: dict[Key, list[Stored]] = {}
    for at, name, *row in database.execute_sql(OF_CLASS, _given(asked)).fetchall():
        found[at, name] = [Stored(*row)]
    for (begun, name), one in now.classes.items():
        if asked.name in (ALL, name) and begin(begun, asked.span) >= asked.since:
            found.setdefault((_span(begun, asked), str(asked.name)), []).append(Stored(**as_row(one)))
    return {key: _came_to(rows) for key, rows in found.items()}


def _came_to(rows: Sequence[Stored]) -> JsonObject:
    """All that rows have, as it is told."""
    bad = Counter[str]()
    for row in rows:
        bad.update(json.loads(row.bad))
    p50, p95 = spans.quantiles(spans.sum_of([bytes(row.seconds) for row in rows]), 0.5, 0.95)
    (waited,) = spans.quantiles(spans.sum_of([bytes(row.waited) for row in rows]), 0.95)
    return {
        "completed": sum(row.completed for row in rows),
        "failed": sum(row.failed for row in rows),
        "retried": sum(row.retried for row in rows),
        "bad": dict(bad),
        "p50": _seconds(p50),
        "p95": _seconds(p95),
        "waited_p95": _seconds(waited),
        "cpu": round(sum(row.cpu for row in rows), 3),
        "memory": max((row.memory for row in rows), default=0),
    }


def _seconds(value: float | None) -> float | None:
    """To the millisecond, as times are."""
    return None if value is None else round(value, 3)


def _of_queue(database: Database, now: Counted, asked: Asked) -> dict[Key, JsonObject]:
    statement = OF_QUEUES if asked.kind == "queues" else OF_QUEUE
    rows = database.execute_sql(statement, _given(asked)).fetchall()
    found = {(at, queue): {"pending": p, "running": r, "waited": w} for at, queue, p, r, w in rows}
    for (begun, queue), one in now.queues.items():
        if asked.kind != "queues" and queue != asked.name:
            continue
        if begin(begun, asked.span) >= asked.since:
            new = {"pending": one.pending, "running": one.running, "waited": one.waited}
            known = found.setdefault((_span(begun, asked), queue), new)
            known.update({name: max(value, known[name]) for name, value in new.items()})
    return found


def _of_error(database: Database, now: Counted, asked: Asked) -> dict[Key, JsonObject]:
    rows = database.execute_sql(OF_ERROR, _given(asked)).fetchall()
    found = {
        (at, str(group)): {"attempts": attempts, "failed": failed} for at, group, attempts, failed in rows
    }
    for (begun, group), one in now.errors.items():
        if group == asked.name and begin(begun, asked.span) >= asked.since:
            known = found.setdefault((_span(begun, asked), str(group)), {"attempts": 0, "failed": 0})
            known["attempts"] += one.attempts
            known["failed"] += one.failed
    return found


def _span(at: int, asked: Asked) -> str:
    return to_text(held(begin(at, asked.span)))


def _given(asked: Asked) -> dict[str, Any]:
    each = _each(asked.span, asked.since, asked.until)
    return {
        "span": asked.span,
        "name": asked.name,
        "since": to_text(held(asked.since)),
        "spans": to_json(each),
    }


def _each(span: int, first: int, last: int) -> list[str]:
    """The begins of spans of this length, as they are stored."""
    return [to_text(held(at)) for at in range(first, last + 1, span)]


# Classes


class _Of(NamedTuple):
    """What of a class ended in the last 24 hours, by their begins as they are stored, and in the 13 days before."""

    hours: dict[str, list[Stored]]
    days: list[Stored]


class _Asked(NamedTuple):
    """The last 24 hours, and the 13 days before, each by its begin as it is stored."""

    hours: list[str]
    days: list[str]


def _asked_at(now: float) -> _Asked:
    first = begin(now, HOUR) - (_HOURS - 1) * HOUR
    day = begin(first, DAY)
    return _Asked(_each(HOUR, first, begin(now, HOUR)), _each(DAY, day - _DAYS_BEFORE * DAY, day - DAY))


def of_each(database: Database, counted: Callable[[], Counted], now: float) -> list[JsonObject]:
    """All classes of which anything ended within 14 days, by name: figures, and how many ended each hour."""
    asked = _asked_at(now)
    found = as_one(database, counted, lambda open_ones: _of_classes(database, open_ones, asked))
    return [
        {
            "name": name,
            **_figures(one),
            "hours": [sum(map(_ended, one.hours.get(at, ()))) for at in asked.hours],
            "failed": [sum(row.failed for row in one.hours.get(at, ())) for at in asked.hours],
        }
        for name, one in sorted(found.items())
    ]


def of_one(
    database: Database, counted: Callable[[], Counted], name: str, limit: int, now: float
) -> JsonObject:
    """The figures of one class, and its newest attempts that have ended, newest job first."""
    asked = _asked_at(now)
    found = as_one(database, counted, lambda open_ones: _of_classes(database, open_ones, asked, name))
    marks = list(islice(_marks(database, name), limit))
    return {**_figures(found.get(name, _Of({}, []))), "attempts": marks}


def _figures(one: _Of) -> JsonObject:
    """`cpu` is a day's."""
    day = [row for rows in one.hours.values() for row in rows]
    return {"day": _told(day, 1), "before": _told(one.days, _DAYS_BEFORE)}


def _told(rows: Sequence[Stored], days: int) -> JsonObject:
    all_of_it = _came_to(rows)
    ended = all_of_it["completed"] + sum(all_of_it.pop("bad").values())
    del all_of_it["retried"]
    return {"ended": ended, **all_of_it, "cpu": round(all_of_it["cpu"] / days, 3)}


def _ended(row: Stored) -> int:
    bad: dict[str, int] = json.loads(row.bad)
    return row.completed + sum(bad.values())


def _of_classes(
    database: Database, open_ones: Counted, asked: _Asked, only: str | None = None
) -> dict[str, _Of]:
    by_name: dict[str, _Of] = {}
    for at, name, *row in _rows(database, HOUR, asked.hours, only):
        by_name.setdefault(name, _Of({}, [])).hours.setdefault(at, []).append(Stored(*row))
    for _, name, *row in _rows(database, DAY, asked.days, only):
        by_name.setdefault(name, _Of({}, [])).days.append(Stored(*row))
    for (at, name), one in open_ones.classes.items():
        hour = to_text(held(begin(at, HOUR)))
        if hour >= asked.hours[0] and only in (None, name):
            of_class = by_name.setdefault(name, _Of({}, []))
            of_class.hours.setdefault(hour, []).append(Stored(**as_row(one)))
    return by_name


def _rows(database: Database, span: int, each: Sequence[str], only: str | None) -> Sequence[tuple[Any, ...]]:
    given = {"span": span, "name": only, "spans": to_json(each), "first": each[0], "last": each[-1]}
    found = database.execute_sql(OF_CLASSES if only is None else OF_CLASS, given)
    rows: Sequence[tuple[Any, ...]] = found.fetchall()
    return rows


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
