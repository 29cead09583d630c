"""Backfills: the occurrences of a span of time that have become no job become one each, in portions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from typing import Any, Final

from bgjob.errors import InvalidParameterError
from bgjobd.core.facts import Submitted
from bgjobd.core.schedules import Calendar, Span, left_of
from bgjobd.host.pacing import last_of
from bgjobd.store.items import Backfill, Item, SkippedRow, Submitter
from bgjobd.store.reader import Reader

MOST: Final = 10_000
"""Occurrences of one backfill."""

_AT_ONCE: Final = 1000
"""Jobs of one transaction."""


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
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]

    async def wanted(self, first: float, last: float) -> list[float]:
        """The occurrences from `first` to `last` that have no job. Raises InvalidParameterError for too many.

        None from before the end of rows that tell of other times: what they count could not be divided.
        """
        older: float | None = await self.read(lambda reader: reader.end_of_older(self.name, self.since))
        if older is not None:
            first = max(first, older + 2e-6)  # a microsecond is what is stored, one is lost in `_between`
        every = await last_of(self._between(first, last)) or []
        if len(every) > MOST:
            raise InvalidParameterError(parameter="until")
        jobs, _ = await self._stored(first, last)
        return [at for at in every if at not in jobs]

    async def make(self, wanted: Sequence[float], starts: Sequence[float | None]) -> list[int]:
        """A job for each of these, from its instant on, None for at once. The ids. Raises the refusals of a submit,
        QueueFullError among them, with those made that were before.
        """
        ids: list[int] = []
        for place in range(0, len(wanted), _AT_ONCE):
            of_portion = slice(place, place + _AT_ONCE)
            ids += await self._make(list(zip(wanted[of_portion], starts[of_portion], strict=True)))
        return ids

    async def _make(self, portion: Sequence[tuple[float, float | None]]) -> tuple[int, ...]:
        """Read, and write what that comes to; again where it is not as it was read by then."""
        first, last = portion[0][0], portion[-1][0]
        while True:
            jobs, skipped = await self._stored(first, last)
            left_over = [one for one in portion if one[0] not in jobs]
            left = [one for row in skipped for one in await self._left(row, {at for at, _ in left_over})]
            item = Backfill(
                self.name, tuple(left_over), tuple(skipped), tuple(left), self.job, self.submitter
            )
            ids: tuple[int, ...] | None = await self.record(item)
            if ids is not None:
                return ids

    async def _left(self, row: SkippedRow, taken: set[float]) -> list[SkippedRow]:
        occurrences = chain([row.span.at], self.calendar.after(row.span.at))
        spans: tuple[Span, ...] = await last_of(left_of(row.span, taken, occurrences)) or ()
        return [replace(row, span=span) for span in spans]

    async def _stored(self, first: float, last: float) -> tuple[set[float], list[SkippedRow]]:
        found: tuple[set[float], list[SkippedRow]] = await self.read(
            lambda reader: reader.skipped(self.name, first, last)
        )
        return found

    def _between(self, first: float, last: float) -> Iterator[list[float] | None]:
        found: list[float] = []
        for at in takewhile(lambda at: at <= last, self.calendar.after(first - 1e-6)):
            found.append(at)
            if len(found) > MOST:
                break
            if len(found) % 100 == 0:
                yield None
        yield found
