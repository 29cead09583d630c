"""Backfills: the occurrences of a span of time that have become no job become one each, in portions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Any, Final

from bgjob.errors import InvalidParametersError
from bgjobd.core.facts import Submitted
from bgjobd.core.schedules import Calendar, left_of
from bgjobd.host.pacing import Pace
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import Backfill, SkippedRow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader

MOST: Final = 10_000
"""Occurrences of one backfill."""

MOST_LOOKED_AT: Final = 100_000
"""The same, with those that have a job."""

_IN_A_TURN: Final = 250
"""How many are looked at before others have a turn."""

_AT_ONCE: Final = 100
"""Jobs of one transaction: who submits meanwhile waits for it, and for another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfills:
    """Of one schedule, whose times are those of `calendar` since an instant; each job is as `job` asks.

    `read` asks the file, `record` hands an item to the writer.
    """

    name: str
    calendar: Calendar
    since: float
    job: Submitted
    submitter: Submitter
    definition: str | None = None
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]

    async def wanted(self, first: float, last: float) -> list[float]:
        """The occurrences from `first` to `last` that have no job. Raises InvalidParametersError for too many.

        None from before the end of rows that tell of other times: what they count could not be divided.
        """
        older: float | None = await self.read(
            lambda reader: reader.schedules.end_of_older(self.name, self.since)
        )
        if older is not None:
            first = max(first, older + 2e-6)  # a microsecond is what is stored, one is lost in `_between`
        found: list[float] = []
        looked_at = 0
        occurrences = takewhile(lambda at: at <= last, self.calendar.after(first - 1e-6))
        while some := list(islice(occurrences, _IN_A_TURN)):
            jobs, _ = await self._stored(some[0], some[-1])
            found += [at for at in some if at not in jobs]
            looked_at += len(some)
            if len(found) > MOST:
                raise _too_many(f"more than {MOST:,} occurrences have no job by then")
            if looked_at > MOST_LOOKED_AT:
                raise _too_many(f"there are more than {MOST_LOOKED_AT:,} occurrences by then")
        return found

    async def make(self, wanted: Sequence[float], starts: Sequence[float | None], made: list[int]) -> None:
        """A job for each of these, from its instant on, None for at once; `made` takes the ids of each portion.

        Raises the refusals of a submit, QueueFullError among them.
        """
        for place in range(0, len(wanted), _AT_ONCE):
            of_portion = slice(place, place + _AT_ONCE)
            made += await self._make(list(zip(wanted[of_portion], starts[of_portion], strict=True)))

    async def _make(self, portion: Sequence[tuple[float, float | None]]) -> tuple[int, ...]:
        """Read, and write what that comes to; again where it is not as it was read by then."""
        first, last = portion[0][0], portion[-1][0]
        while True:
            jobs, skipped = await self._stored(first, last)
            left_over = [one for one in portion if one[0] not in jobs]
            left = [one for row in skipped for one in await self._left(row, {at for at, _ in left_over})]
            item = Backfill(
                self.name,
                tuple(left_over),
                tuple(skipped),
                tuple(left),
                self.job,
                self.submitter,
                self.definition,
            )
            ids: tuple[int, ...] | None = await self.record(item)
            if ids is not None:
                return ids

    async def _left(self, row: SkippedRow, taken: set[float]) -> list[SkippedRow]:
        left: list[SkippedRow] = []
        pace = Pace()
        for span in left_of(self.calendar, row.span, taken):
            if span is not None:
                left.append(replace(row, span=span))
            if pace.is_over:
                await pace.rest()
        return left

    async def _stored(self, first: float, last: float) -> tuple[set[float], list[SkippedRow]]:
        found: tuple[set[float], list[SkippedRow]] = await self.read(
            lambda reader: reader.schedules.skipped(self.name, first, last)
        )
        return found


def _too_many(why: str) -> InvalidParametersError:
    return InvalidParametersError(problems=[{"path": "until", "message": f"{why}; ask for a part of them"}])
