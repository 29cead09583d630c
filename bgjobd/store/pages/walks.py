"""Walks: rows looked through chunk by chunk of what an index gives, until a page is full or the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjobd.store import bounds
from bgjobd.store.engines import Connection
from bgjobd.store.pages.page import Found, Page

FIRST_CHUNK: Final = 100
"""Rows that are looked through in any case."""

_LARGEST_CHUNK: Final = 5000


RowPlace = tuple[Any, ...]
"""Where a row stands: what a walk's keys are there, the id as the last."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where to look: each source is a FROM and a WHERE that one index serves, `rest` what that index cannot say.

    The index has its rows in the order of the keys.
    """

    keys: tuple[str, ...]
    columns: str
    sources: tuple[str, ...]
    rest: tuple[str, ...]
    parameters: Mapping[str, Any]
    is_backwards: bool
    last: RowPlace
    first_chunk: int = FIRST_CHUNK

    def edge(self) -> str:
        """The place at which a chunk ends."""
        return f"{self._union('last')} LIMIT 1 OFFSET :chunk - 1"

    def rows(self) -> str:
        """What is wanted of a chunk, each row behind its place."""
        return f"{self._union('end', self.columns, rest=self.rest)} LIMIT :limit"

    def place_of(self, row: tuple[Any, ...]) -> RowPlace:
        return row[: len(self.keys)]

    def named(self, name: str, place: RowPlace) -> dict[str, Any]:
        """The place as parameters."""
        return {f"{name}_{number}": value for number, value in enumerate(place)}

    def _union(self, end: str, *columns: str, rest: tuple[str, ...] = ()) -> str:
        beyond, within, order = ("<", ">=", "DESC") if self.is_backwards else (">", "<=", "ASC")
        conditions = [self._is(beyond, "start"), self._is(within, end), *rest]
        shown = ", ".join([*self.keys, *columns])
        parts = [f"SELECT {shown} FROM {source} AND {' AND '.join(conditions)}" for source in self.sources]
        ordered = ", ".join(f"{number + 1} {order}" for number, _ in enumerate(self.keys))
        return f"{' UNION ALL '.join(parts)} ORDER BY {ordered}"

    def _is(self, compared: str, name: str) -> str:
        there = ", ".join(f":{each}" for each in self.named(name, self.keys))
        return f"({', '.join(self.keys)}) {compared} ({there})"


def walk_to_page(
    connection: Connection,
    walk: Walk,
    start: RowPlace,
    limit: int,
    deadline: float,
    shape: Callable[[tuple[Any, ...]], JsonObject],
) -> Page:
    """The first `limit` of what is wanted from beyond `start` on; the first chunk is looked through in any case."""
    found = Found(limit)
    is_over = False
    with bounds.interrupting(connection) as interrupt_at:
        for size in sizes(walk.first_chunk):
            start, is_over = look_through(connection, walk, start, size, found)
            if is_over or found.is_full or time.monotonic() > deadline:
                break
            interrupt_at(deadline)
    wanted = found.rows[:-1] if found.is_full else found.rows
    rows = [shape(row[len(walk.keys) :]) for row in wanted]
    if not found.is_full and is_over:
        return Page(rows, None)
    *at, key = walk.place_of(wanted[-1]) if found.is_full else start
    return Page(rows, key, is_complete=found.is_full, next_at=at[0] if at else None)


def sizes(size: int) -> Iterator[int]:
    """How many rows each chunk has, from the first on."""
    while True:
        yield size
        size = min(size * 4, _LARGEST_CHUNK)


def look_through(
    connection: Connection,
    walk: Walk,
    start: RowPlace,
    size: int,
    found: Found,
) -> tuple[RowPlace, bool]:
    """Add what is wanted of one chunk to `found`; answers how far it was looked, and whether that was all there is."""
    given = {**walk.parameters, **walk.named("start", start), **walk.named("last", walk.last), "chunk": size}
    try:
        # Where an index serves all that is asked, the limit of rows is the only one needed.
        edge = connection.execute(walk.edge(), given).fetchone() if walk.rest else None
        given |= {**walk.named("end", walk.last if edge is None else edge), "limit": found.room}
        for row in connection.execute(walk.rows(), given):
            found.add(row)
            start = walk.place_of(row)
            if found.is_full:
                break
    except Exception as error:
        if not bounds.is_interrupted(error):
            raise
        return start, False
    return (start, True) if edge is None else (edge, False)
