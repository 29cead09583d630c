"""What ended in each slot of a span of time, and what was changed meanwhile; asks nobody anything, no markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bgjob.changes_told import sentence
from bgjob.text import instant

Told = Mapping[str, Any]

HOUR: Final = 3600
DAY: Final = 86_400


@dataclass(frozen=True, slots=True)
class Span:
    """So many slots of `step` seconds, the last of which is not over; `words` is how a person calls it."""

    name: str
    words: str
    step: int
    slots: int
    unit: str

    def begin(self, now: float) -> int:
        """When the first slot of those up to now begins."""
        return (math.floor(now / self.step) + 1 - self.slots) * self.step


LAST_HOUR: Final = Span("1h", "1 h", 60, 60, "a minute")
LAST_DAY: Final = Span("24h", "24 h", 300, 288, "in 5 min")
SHORT_HOUR: Final = Span("1h", "1 h", 300, 12, "in 5 min")
"""The same where what ended is not told by the minute."""

TWO_WEEKS: Final = Span("14d", "14 d", HOUR, 14 * 24, "an hour")


def usual_span(points: Iterable[Told], spans: Sequence[Span], now: float) -> Span:
    """The shortest of them that has all that was told of the longest, the last; that one where nothing was. So a chart
    is no empty one soon after a first start.
    """
    begins = [instant(point["at"]) for point in points]
    if not begins:
        return spans[-1]
    within = (span for span in spans if min(begins) > now - span.slots * span.step)
    return next(within, spans[-1])


@dataclass(frozen=True, slots=True)
class Slot:
    """How many jobs completed, and failed for good, from `at` on."""

    at: float
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class Change:
    """What was done when, in words, and where that is in the span, from 0 to 1; `who` is empty where nobody asked."""

    at: str
    told: str
    place: float
    who: str = ""


def slots_of(points: Iterable[Told], span: Span, now: float) -> list[Slot]:
    """A slot for each, also where nothing ended, of points of the same step, as Trend and Stats tell them."""
    told = {int(instant(point["at"])): point for point in points}
    begin, nothing = span.begin(now), {"completed": 0, "failed": 0}
    found = [(at, told.get(at, nothing)) for at in range(begin, begin + span.slots * span.step, span.step)]
    return [Slot(at, point["completed"] or 0, point["failed"] or 0) for at, point in found]


def text_of(at: float) -> str:
    """Seconds since the epoch, as a time is told."""
    return datetime.fromtimestamp(at, UTC).isoformat()


def hours_of(points: Iterable[Told], name: str, now: float, many: int = 24) -> list[Any]:
    """What the points of hours tell under this name, for each of the latest hours; None where one tells nothing."""
    told = {int(instant(point["at"])) // HOUR: point[name] for point in points}
    last = math.floor(now / HOUR)
    return [told.get(hour) for hour in range(last + 1 - many, last + 1)]


# What was changed


def changes_in(changes: Sequence[Told], span: Span, now: float) -> list[Change]:
    """Those of the span, the newest first, as they come."""
    begin, width = span.begin(now), span.slots * span.step
    placed = [(one, (instant(one["at"]) - begin) / width) for one in changes]
    return [
        Change(one["at"], sentence(one), place, one["who"] or "") for one, place in placed if 0 <= place <= 1
    ]


# Amounts beside them


def share(part: float, whole: float) -> float | None:
    """Which part of the whole, None of nothing."""
    return part / whole if whole else None


def percent(part: float | None) -> str:
    """A share as people read it, never rounded up to all, nor down to nothing: `96.1 %`, `100 %`; a dash of none."""
    if part is None:
        return "–"
    if part in (0.0, 1.0):
        return f"{part * 100:.0f} %"
    return f"{min(99.9, max(0.1, part * 100)):.1f} %"


def along(span: Span, now: float, many: int = 4) -> Iterator[tuple[int, str]]:
    """Times for the axis, evenly spaced from its begin on, with what they read like where nobody knows another zone."""
    begin = span.begin(now)
    for number in range(many):
        at = begin + number * span.slots * span.step // many
        yield at, stamp(at, span)


def stamp(at: float, span: Span) -> str:
    """A moment as the axis of a span has it: a time of day, or a day."""
    moment = datetime.fromtimestamp(at, UTC)
    return f"{moment:%H:%M}" if is_of_day(span) else f"{moment.day} {moment:%b}"


def is_of_day(span: Span) -> bool:
    """Whether a time of day is enough to tell its slots."""
    return span.slots * span.step <= DAY
