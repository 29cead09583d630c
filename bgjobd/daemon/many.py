"""A wish about all jobs that match a filter: counted, and carried out in portions that let work pass.

Which jobs those are, and what becomes of each, is the store's; here are the pace, and what is told of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import ChangedError
from bgjobd.core.facts import CancelRequested, RetryRequested
from bgjobd.core.many import Wish, are_others, start_of, statuses_of
from bgjobd.host.background import unheard
from bgjobd.host.clock import to_text
from bgjobd.store import matching
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.item import Item
from bgjobd.store.items.wishes import JobRequests, ManyAsked
from bgjobd.store.many import Portion
from bgjobd.store.matching import Matched, Row
from bgjobd.store.pages.walks import RowPlace
from bgjobd.store.reader import Reader

_FIRST: Final = 100
_LARGEST: Final = 1000
_GROWTH: Final = 4
"""Jobs of the first portion, of one at most, and by how much one may be larger than that before it."""

_USUAL: Final = 0.05
"""Seconds that a portion may take: where jobs are large it has fewer of them."""

_REST: Final = 4
"""How many times as long as a portion took its pause is, as where what is old is deleted."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked, of those that had ended, or were submitted, by `as_of`, by `who`; `told` is the filter, as changes
    tell it. Retries are `spread` over so many seconds, and none is of a job that may be tried but once, unless
    `at_most_once`.
    """

    wish: Wish
    filter: JobFilter
    as_of: float
    told: JsonObject
    who: str
    spread: float = 0.0
    at_most_once: bool = False


@dataclass(slots=True)
class Done:
    """What has come of it so far; `change` is the row of changes, None where nothing has."""

    done: int = 0
    left_out: int = 0
    change: int | None = None
    looked_at: int = field(default=0)

    def add(self, portion: Portion) -> None:
        self.done += portion.done
        self.left_out += portion.left_out
        self.looked_at += portion.done + portion.left_out
        self.change = portion.change


class Many:
    """One such wish is carried out at a time. `search` asks the file what takes long, `record` hands over an item."""

    def __init__(
        self,
        search: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        record: Callable[[Item], Awaitable[Any]],
        now: Callable[[], float],
    ) -> None:
        self._search = search
        self._record = record
        self._now = now
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Lock()

    async def count(self, wanted: JobFilter, as_of: float) -> Matched:
        """What all that match add up to."""
        matched = Matched()
        place: RowPlace | None = None
        while True:
            rows, place = await self._look(wanted, as_of, place, matching.AT_ONCE)
            matched.add(rows)
            if place is None:
                return matched

    async def carry_out(self, wanted: Wanted, expected: int, on_end: Callable[[Done], None]) -> Done:
        """Ask it of all of them; `on_end` hears what came of it, though it was cut short.

        A caller who leaves does not end it. Raises ChangedError where there are more than were expected, and then
        nothing is done, StorageUnavailableError, ShuttingDownError.
        """
        return await asyncio.shield(
            unheard(self._loop.create_task(self._carry_out(wanted, expected, on_end)))
        )

    async def _carry_out(self, wanted: Wanted, expected: int, on_end: Callable[[Done], None]) -> Done:
        async with self._turn:
            count = (await self.count(wanted.filter, wanted.as_of)).count
            if are_others(count, expected):
                raise ChangedError(count=count)
            done = Done()
            try:
                await self._in_portions(wanted, count, done)
            finally:
                on_end(done)
            return done

    async def _in_portions(self, wanted: Wanted, count: int, done: Done) -> None:
        place: RowPlace | None = None
        size, begin = _FIRST, self._now()
        while True:
            rows, place = await self._look(wanted.filter, wanted.as_of, place, size)
            began_at = self._loop.time()
            if rows or done.change is not None:
                item = _item(wanted, rows, done, begin, count)
                done.add(await self._record(replace(item, is_last=place is None)))
            if place is None:
                return
            took = self._loop.time() - began_at
            size = max(1, min(_LARGEST, size * _GROWTH, int(size * _USUAL / max(took, 1e-3))))
            await asyncio.sleep(took * _REST)

    async def _look(
        self, wanted: JobFilter, as_of: float, place: RowPlace | None, limit: int
    ) -> tuple[Sequence[Row], RowPlace | None]:
        ask = partial(_portion, wanted, to_text(as_of), place, limit, self._now())
        found: tuple[Sequence[Row], RowPlace | None] = await self._search(ask)
        return found


def _portion(
    wanted: JobFilter, as_of: str, place: RowPlace | None, limit: int, now: float, reader: Reader
) -> tuple[Sequence[Row], RowPlace | None]:
    return reader.matching(wanted, as_of, place, limit, now)


def _item(wanted: Wanted, rows: Sequence[Row], done: Done, begin: float, count: int) -> ManyAsked:
    return ManyAsked(
        tuple(
            [_request(wanted, row, done.looked_at + place, begin, count) for place, row in enumerate(rows)]
        ),
        wanted.wish,
        statuses_of(wanted.filter.status or ()),
        wanted.as_of,
        wanted.at_most_once,
        wanted.told,
        wanted.who,
        done.change,
        done.done,
        done.left_out,
    )


def _request(wanted: Wanted, row: Row, place: int, begin: float, count: int) -> JobRequests:
    """Of one of them; where they are spread its start is as far on as its place among all."""
    if wanted.wish is Wish.CANCEL:
        return JobRequests((row.id,), CancelRequested())
    at = start_of(place, count, begin, wanted.spread)
    return JobRequests((row.id,), RetryRequested(at=at))
