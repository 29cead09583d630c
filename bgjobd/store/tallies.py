"""The tally of all that write to one database of PostgreSQL: each transaction appends what it has moved, all read that.

The rows' ids are in the order of commits, for they are given under the log's lock, so whoever reads on from the last
misses none. Now and then a row is made the sum up to itself, and those before it are deleted: no row is hot. What
becomes of holds goes the same way. SQLite's one writer carries its tally along by itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from bgjob.codec import to_json
from bgjob.words import Status
from bgjobd.store.engines import Execute
from bgjobd.store.tally import Tally

SUMMED_UP_AFTER: Final = 500
"""Rows behind a sum, before the next one."""

SELECT_NEWER: Final = "SELECT id, is_sum, differences FROM tallies WHERE id > :id ORDER BY id"
_APPEND: Final = """
    INSERT INTO tallies (id, is_sum, differences) VALUES (nextval('tally_ids'), :is_sum, :differences) RETURNING id
"""
_SUM_UP: Final = "UPDATE tallies SET is_sum = 1, differences = :differences WHERE id = :id"
_FORGET: Final = "DELETE FROM tallies WHERE id < :id"

Row = tuple[int, int, str]


class Seen(NamedTuple):
    """Up to which row the tally has all of them, and how many of these are behind the last sum."""

    id: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Read:
    """The tally as it stands by the rows that were read; None where there are none at all.

    `is_new`: they begin with a sum, so that what is known of holds by rows before it is not all.
    """

    tally: Tally | None
    seen: Seen
    holds: tuple[tuple[str, float, float], ...] = ()
    is_new: bool = False


def after(rows: Iterable[Row], tally: Tally | None, seen: Seen, now: float) -> Read:
    """The tally after these rows."""
    holds: list[tuple[str, float, float]] = []
    is_new = False
    for id, is_sum, text in rows:
        row = json.loads(text)
        difference = _tally_of(row)
        tally = difference if is_sum or tally is None else tally.plus(difference, now)
        is_new |= bool(is_sum)
        seen = Seen(id, 0 if is_sum else seen.rows + 1)
        holds += [(scope, until, at) for scope, until, at in row.get("holds", ())]
    return Read(tally, seen, tuple(holds), is_new)


def append(execute: Execute, difference: Tally, holds: Mapping[str, float], now: float) -> None:
    """Have all others hear of it. The log's lock is held."""
    row = _as_row(difference)
    if holds:
        row["holds"] = [(scope, until, now) for scope, until in holds.items()]
    execute(_APPEND, {"is_sum": 0, "differences": to_json(row)})


def begin(execute: Execute, tally: Tally) -> Seen:
    """Have the tally be there for the first time. The log's lock is held."""
    ((id,),) = execute(_APPEND, {"is_sum": 1, "differences": to_json(_as_row(tally))}).fetchall()
    return Seen(id)


def sum_up(execute: Execute, tally: Tally, seen: Seen) -> None:
    """Have what was read be one row. The log's lock is held, so nobody else does."""
    execute(_SUM_UP, {"id": seen.id, "differences": to_json(_as_row(tally))})
    execute(_FORGET, {"id": seen.id})


def _as_row(tally: Tally) -> dict[str, Any]:
    return {
        "places": [(*place, number) for place, number in tally.places.items()],
        "ends": [(*end, number) for end, number in tally.ends.items()],
    }


def _tally_of(row: Mapping[str, Any]) -> Tally:
    places = {(Status(status), queue, kept): number for status, queue, kept, number in row["places"]}
    return Tally(places, {(minute, Status(status)): number for minute, status, number in row["ends"]})
