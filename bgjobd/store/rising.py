"""Reads how many jobs errors have failed in the last hour, about, and in an hour as they usually are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bgjob import errors_told
from bgjob.codec import to_json
from bgjobd.core.need_kinds import MOST, RisingError
from bgjobd.core.spans import DAY, HOUR, begin
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.engines import Connection
from bgjobd.store.span_counts import Counted
from bgjobd.store.sql_functions import held

_DAYS: Final = 14
"""That tell what is usual, today not among them."""

MET: Final = """
    SELECT id, name, error_type, outcome, place, line, message, class_name, first_at
    FROM error_groups INDEXED BY errors_by_time
    WHERE last_at >= :since AND failed > 0 ORDER BY last_at DESC, id DESC LIMIT :count
"""
COUNTED: Final = """
    SELECT t.error_group, t.span, t.at, t.failed FROM json_each(:ids) AS wanted CROSS JOIN error_tallies AS t
    ON t.error_group = wanted.value AND t.span = :span AND t.at >= :since
"""
FIRST_DAY: Final = "SELECT min(at) FROM class_tallies WHERE span = :span AND at >= :since"


def read(connection: Connection, counted: Counted, now: float) -> tuple[RisingError, ...]:
    """The errors that were met last, this hour or the one before, and by which jobs have failed."""
    hour = begin(now, HOUR)
    given = {"since": to_text(held(hour - HOUR)), "count": MOST + 1}
    cursor = connection.execute(MET, given)
    names = [column[0] for column in cursor.description]
    met = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if not met:
        return ()
    today = begin(now, DAY)
    ids = to_json([row["id"] for row in met])
    hours = _failed(connection, ids, HOUR, hour - HOUR)
    for (at, group), one in counted.errors.items():
        key = group, begin(at, HOUR)
        hours[key] = hours.get(key, 0) + one.failed
    days = _failed(connection, ids, DAY, today - _DAYS * DAY)
    (first,) = connection.execute(
        FIRST_DAY, {"span": DAY, "since": to_text(held(today - _DAYS * DAY))}
    ).fetchone()
    known_since = float(today) if first is None else from_text(first)
    return tuple([_rising(row, hours, days, known_since, now) for row in met])


def _failed(connection: Connection, ids: str, span: int, since: int) -> dict[tuple[int, int], int]:
    """By error and the begin of each span."""
    given = {"ids": ids, "span": span, "since": to_text(held(since))}
    rows = connection.execute(COUNTED, given).fetchall()
    return {(group, int(from_text(at))): failed for group, _, at, failed in rows}


def _rising(
    row: Mapping[str, Any],
    hours: Mapping[tuple[int, int], int],
    days: Mapping[tuple[int, int], int],
    known_since: float,
    now: float,
) -> RisingError:
    """Of the hour before this one as much counts as is within an hour; as if that had been spread evenly."""
    id, hour, today = row["id"], begin(now, HOUR), begin(now, DAY)
    this, last = hours.get((id, hour), 0), hours.get((id, hour - HOUR), 0)
    known = (today - max(known_since, begin(from_text(row["first_at"]), DAY))) / HOUR
    before = sum(failed for (group, at), failed in days.items() if group == id and at < today)
    return RisingError(
        id,
        errors_told.title_of(dict(row)),
        row["class_name"],
        round(this + last * (1 - (now - hour) / HOUR)),
        before / known if known >= DAY / HOUR else None,
        float(hour - HOUR if last else hour),
    )
