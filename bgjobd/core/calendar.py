"""When a schedule's occurrences are: times of a cron expression in a zone, or every so many seconds; no clock in here.

cronsim parses expressions, and counts days and times without a zone. Which instants these are, where clocks are set, is
told here, after Debian's cron. Instants are seconds since the epoch.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import takewhile
from typing import Final

from cronsim import CronSim

_DAY: Final = 86_400
"""Seconds; no clock is set back by more."""

_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC).timestamp()
_LAST: Final = datetime(9999, 12, 28, tzinfo=UTC).timestamp()
_END: Final = datetime(9999, 12, 30, tzinfo=UTC).replace(tzinfo=None)
"""Before and behind these nothing is: what is near them can still be told in the years 1 to 9999, in each zone."""

_UNITS: Final = ((_DAY, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, slots=True)
class Every:
    """An occurrence every so many `seconds`: at the instant `starting`, and whole multiples before and after it."""

    seconds: float
    starting: float = 0.0

    @property
    def description(self) -> str:
        """What it means, in words: "Every 15 minutes"."""
        length, unit = next((one for one in _UNITS if self.seconds % one[0] == 0), _UNITS[-1])
        count = self.seconds / length
        often = f"Every {unit}" if count == 1 else f"Every {count:,.15g} {unit}s"
        return f"{often}, counted from {self.local(self.starting)}" if self.starting else often

    def after(self, instant: float) -> Iterator[float]:
        """The occurrences behind an instant, in order, without end; but for that of what can be written."""
        number = self._number(_within(instant))
        while self._at(number + 1) <= _LAST:
            number += 1
            yield self._at(number)

    def count(self, after: float, until: float) -> int:
        """How many there are behind an instant, up to another."""
        return max(0, self._number(_within(until)) - self._number(_within(after)))

    def latest(self, instant: float, since: float, back: int = 0) -> float:
        """The last one up to an instant, or of those the one so many further back."""
        return self._at(self._number(_within(instant)) - back)

    def local(self, at: float) -> str:
        """When that is, for a person: in UTC, for they are of no zone."""
        when = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)
        return f"{when:%a} {when.isoformat(' ')} UTC"

    def note(self, at: float) -> str | None:
        """Nothing: no setting of a clock changes them."""
        return None

    def _at(self, number: int) -> float:
        return round(self.starting + number * self.seconds, 6)

    def _number(self, instant: float) -> int:
        """Of the latest occurrence up to an instant."""
        number = math.floor((instant - self.starting) / self.seconds) + 1  # the quotient may be rounded
        while self._at(number) > instant:
            number -= 1
        return number


@dataclass(frozen=True, slots=True)
class Cron:
    """An occurrence at each time that the five fields of an expression describe, on the clocks of a zone."""

    expression: str
    zone: tzinfo = UTC

    @property
    def description(self) -> str:
        """What it means, in words: "At 02:30 on Monday through Friday"."""
        return CronSim(self.expression, self._clock(0)).explain()

    @property
    def is_fixed(self) -> bool:
        """Whether it names times of a day: one that the clock leaves out counts at the end of the gap, one that it
        shows twice counts the first time. Else each instant counts at which the clock shows one of its times.
        """
        minute, hour, *_ = self.expression.split()
        return not minute.startswith("*") and not hour.startswith("*")

    def after(self, instant: float) -> Iterator[float]:
        """The occurrences behind an instant, in order; the end, where there are none for 50 years."""
        begin = math.floor(_within(instant))
        found = self._fixed(begin) if self.is_fixed else self._shown(begin)
        return (at for at in found if instant < at <= _LAST)

    def count(self, after: float, until: float) -> int:
        """How many there are behind an instant, up to another; some microseconds a day."""
        after, until = _within(after), _within(until)
        times = self._times_of_day()
        total, since = 0, after
        for begin, end in self._settings(after, until):
            total += self._count_undisturbed(since, begin, times) + self._count_each(begin, end)
            since = end
        return total + self._count_undisturbed(since, until, times)

    def latest(self, instant: float, since: float, back: int = 0) -> float:
        """The last one up to an instant, or of those the one so many further back; `since` is the first of them."""
        window = 60.0
        while instant - window > since:
            found = list(takewhile(lambda at: at <= instant, self.after(instant - window)))
            if len(found) > back:
                return found[-1 - back]
            window *= 4
        return [since, *takewhile(lambda at: at <= instant, self.after(since))][-1 - back]

    def local(self, at: float) -> str:
        """What the clocks of the zone show then, with its name: "Mon 2026-11-30 02:30 CET"."""
        return f"{datetime.fromtimestamp(at, self.zone):%a %Y-%m-%d %H:%M %Z}"

    def note(self, at: float) -> str | None:
        """What is special about this occurrence, where the clock is set."""
        if self._offset(at - _DAY) == self._offset(at + _DAY):
            return None
        left_out = self._try_left_out(at)
        if left_out is not None:
            return f"the clock leaves out {left_out:%H:%M} on this day: at the end of the gap"
        local = self._clock(at)
        times = [self._try_at(local, fold) for fold in (0, 1)]
        if times[0] == times[1]:
            return None
        which = "first" if at == times[0] else "second"
        return f"the clock shows {local:%H:%M} twice on this day: the {which} time"

    def _settings(self, after: float, until: float) -> Iterator[tuple[float, float]]:
        """From when until when each setting of the clock decides on what counts: until all that is shown twice was."""
        begin = math.floor(after) - _DAY
        offset = self._offset(begin)
        while begin < until:
            end = begin + _DAY
            later = self._offset(end)
            if later != offset:
                set_at = self._first_with(later, begin, end)
                again = max(0.0, (offset - later).total_seconds())
                since, up_to = max(after, set_at - 1), min(until, set_at + again)
                if since < up_to:
                    yield since, up_to
            begin, offset = end, later

    def _count_each(self, after: float, until: float) -> int:
        return sum(1 for _ in takewhile(lambda at: at <= until, self.after(after)))

    def _count_undisturbed(self, after: float, until: float, times: Sequence[timedelta]) -> int:
        """The same, while nobody sets the clock: on each day that it names, a cron expression names the same times."""
        first, last = self._clock(after), self._clock(until)
        begin, end = _midnight(first), _midnight(last)
        days = list(_between(f"0 0 {' '.join(self.expression.split()[2:])}", begin, end + timedelta(days=1)))
        count = len(days) * len(times)
        if days and days[0] == begin:
            count -= bisect_right(times, first - begin)
        if days and days[-1] == end:
            count -= len(times) - bisect_right(times, last - end)
        return count

    def _times_of_day(self) -> list[timedelta]:
        """Since midnight, on a day that it names."""
        minute, hour, *_ = self.expression.split()
        midnight = self._clock(0).replace(hour=0, minute=0)
        found = _between(f"{minute} {hour} * * *", midnight, midnight + timedelta(days=1))
        return [time - midnight for time in found]

    def _fixed(self, instant: int) -> Iterator[float]:
        latest = -math.inf
        for local in self._times(self._clock(instant)):
            at = self._try_at(local, fold=0)
            at = self._end_of_gap(local) if at is None else at
            if at > latest:  # several times of a gap are one
                latest = at
                yield at

    def _shown(self, instant: int) -> Iterator[float]:
        """First times are in the order of the clock; a second time waits for those that come before it."""
        second_times: list[int] = []
        again = max(timedelta(0), self._offset(instant) - self._offset(instant + _DAY))
        for local in self._times(self._clock(instant) - again):
            at = self._try_at(local, fold=0)
            if at is None:
                continue
            while second_times and second_times[0] < at:
                yield heappop(second_times)
            yield at
            second = self._try_at(local, fold=1)
            if second is not None and second != at:
                heappush(second_times, second)

    def _times(self, local: datetime) -> Iterator[datetime]:
        """The times behind this one, on a clock that is never set."""
        return _between(self.expression, local + timedelta(seconds=1), _END)

    def _clock(self, instant: float) -> datetime:
        """What the clock shows."""
        return datetime.fromtimestamp(instant, self.zone).replace(tzinfo=None)

    def _offset(self, instant: float) -> timedelta:
        return datetime.fromtimestamp(_within(instant), self.zone).utcoffset() or timedelta(0)

    def _try_at(self, local: datetime, fold: int) -> int | None:
        """When the clock shows this, the first or the second time; None where it never does."""
        at = int(local.replace(tzinfo=self.zone, fold=fold).timestamp())
        return at if self._clock(at) == local else None

    def _end_of_gap(self, local: datetime) -> int:
        """When the clock was set ahead over this time."""
        early, late = (int(local.replace(tzinfo=self.zone, fold=fold).timestamp()) for fold in (1, 0))
        return self._first_with(self._offset(late), early, late)

    def _first_with(self, offset: timedelta, begin: int, end: int) -> int:
        """Since when the clock is set to this, where it is between these."""
        return begin + bisect_left(range(begin, end), True, key=lambda at: self._offset(at) == offset)

    def _try_left_out(self, at: float) -> datetime | None:
        """The first time that counts here, as the clock is set ahead over it at this instant."""
        gap = self._offset(at) - self._offset(at - 1)
        if gap <= timedelta(0) or not self.is_fixed:
            return None
        local = self._clock(at)
        first = next(self._times(local - gap - timedelta(seconds=1)), local)
        return first if first < local else None


def _within(instant: float) -> float:
    """The nearest one of those that can be told on the clocks of each zone."""
    return min(max(instant, _FIRST), _LAST)


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0)


def _between(expression: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """The times from `first` on, before `last`, on a clock that is never set."""
    with suppress(OverflowError):  # the year 10000
        yield from takewhile(lambda at: at < last, CronSim(expression, first - timedelta(seconds=1)))
