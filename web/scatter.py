"""Where the newest attempts of a class stand in a drawing, by what they took or used; asks nobody, no markup."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from bgjob.amounts import size_text, span_text
from bgjob.text import instant
from bgjob.words import Outcome

from .trends import Change

Told = Mapping[str, Any]

_NOT_BAD: Final = frozenset({Outcome.COMPLETED, Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED})
_MOST_LABELS: Final = 6
_PARTS: Final = 12
"""Of so many parts, one after the other, half and 95 of 100 are told."""

_LEAST_OF_PART: Final = 5
_SHORT: Final = 0.001


@dataclass(frozen=True, slots=True)
class Measure:
    """What is looked at: the name in an address, in words, of an AttemptMark, how it reads; what its scale steps by,
    and the least that it shows.
    """

    name: str
    words: str
    field: str
    tell: Callable[[Any], str]
    base: float
    least: float


MEASURES: Final[Mapping[str, Measure]] = {
    "time": Measure("time", "Time", "seconds", span_text, 10.0, _SHORT),
    "memory": Measure("memory", "Memory", "memory", lambda size: size_text(round(size)), 2.0, 1024.0),
    "cpu": Measure("cpu", "CPU", "cpu", span_text, 10.0, _SHORT),
    "wait": Measure("wait", "Wait", "waited", span_text, 10.0, _SHORT),
}
"""By their names, the usual one first."""


@dataclass(frozen=True, slots=True)
class Dot:
    """An attempt, from 0 to 1 to the right and down, in words."""

    x: float
    y: float
    is_bad: bool
    told: str


@dataclass(frozen=True, slots=True)
class Cloud:
    """What is drawn: places from 0 to 1, to the right and down. `labels` are those of the scale, from above, evenly
    spaced, `grid` its lines; `along` has job, moment and its words; `most` is where a limit is; `said` is all in words.
    """

    dots: tuple[Dot, ...]
    half: tuple[tuple[float, float], ...]
    most_of_them: tuple[tuple[float, float], ...]
    labels: tuple[str, ...]
    grid: tuple[float, ...]
    most: float | None
    along: tuple[tuple[int, int, str], ...]
    changes: tuple[tuple[float, str], ...]
    said: str


@dataclass(frozen=True, slots=True)
class _Scale:
    """Logarithmic, from `low` below to `low` times `base` to the power of `steps`."""

    low: float
    base: float
    steps: int

    @classmethod
    def over(cls, values: Sequence[float], measure: Measure) -> _Scale:
        low = math.floor(math.log(min(values), measure.base) + 1e-9)
        high = max(low + 1, math.ceil(math.log(max(values), measure.base) - 1e-9))
        by = math.ceil((high - low) / (_MOST_LABELS - 1))
        return cls(measure.base**low, measure.base**by, math.ceil((high - low) / by))

    def down(self, value: float) -> float:
        """How far below the upper end that is."""
        return 1 - math.log(value / self.low, self.base) / self.steps


def cloud_of(
    attempts: Sequence[Told], measure: Measure, limit: float | None, changes: Sequence[Change]
) -> Cloud | None:
    """The attempts in the order in which they ended, evenly spaced; None where nothing is known of any."""
    known = sorted((one for one in attempts if one[measure.field] is not None), key=lambda one: one["at"])
    if not known:
        return None
    values = [max(measure.least, one[measure.field]) for one in known]
    scale = _Scale.over([*values, *([] if limit is None else [max(measure.least, limit)])], measure)
    steps = range(scale.steps, -1, -1)
    half, most = _lines(values, scale)
    return Cloud(
        dots=tuple(
            Dot(_across(place, len(known)), scale.down(value), _is_bad(one), _told(one, measure))
            for place, (one, value) in enumerate(zip(known, values, strict=True))
        ),
        half=half,
        most_of_them=most,
        labels=tuple(measure.tell(scale.low * scale.base**step) for step in steps),
        grid=tuple(1 - step / scale.steps for step in range(1, scale.steps)),
        most=None if limit is None else scale.down(max(measure.least, limit)),
        along=tuple(_along(known)),
        changes=tuple(_placed(changes, [one["at"] for one in known])),
        said=_said(known, values, measure),
    )


def _across(place: int, many: int) -> float:
    return (place + 0.5) / many


def _is_bad(attempt: Told) -> bool:
    return attempt["outcome"] not in _NOT_BAD


def _told(attempt: Told, measure: Measure) -> str:
    outcome = str(attempt["outcome"]).replace("_", " ")
    return f"job {attempt['job_id']}, attempt {attempt['number']}: {outcome}, {measure.tell(attempt[measure.field])}"


def _lines(values: Sequence[float], scale: _Scale) -> tuple[tuple[tuple[float, float], ...], ...]:
    """What half, and 95 of 100, of those of each part do not exceed."""
    size = max(_LEAST_OF_PART, math.ceil(len(values) / _PARTS))
    parts = [(begin, sorted(values[begin : begin + size])) for begin in range(0, len(values), size)]
    kept = [(begin, part) for begin, part in parts if len(part) >= _LEAST_OF_PART]
    return tuple(
        tuple(
            ((begin + len(part) / 2) / len(values), scale.down(quantile(part, share))) for begin, part in kept
        )
        for share in (0.5, 0.95)
    )


def quantile(ordered: Sequence[float], share: float) -> float:
    """What so many of them do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _along(known: Sequence[Told], many: int = 4) -> list[tuple[int, int, str]]:
    places = sorted({round(number * (len(known) - 1) / (many - 1)) for number in range(many)})
    moments = [(known[place]["job_id"], instant(known[place]["at"])) for place in places]
    return [(job, int(at), f"{datetime.fromtimestamp(at, UTC):%H:%M}") for job, at in moments]


def _placed(changes: Sequence[Change], ends: Sequence[str]) -> list[tuple[float, str]]:
    """Those among the ends, where the first is that came after."""
    places = [(bisect_left(ends, one.at), one.told) for one in changes]
    return [(place / len(ends), told) for place, told in places if place < len(ends) and place]


def _said(known: Sequence[Told], values: Sequence[float], measure: Measure) -> str:
    ordered = sorted(values)
    bad = sum(map(_is_bad, known))
    half, most = (measure.tell(quantile(ordered, share)) for share in (0.5, 0.95))
    return (
        f"{measure.words} of the newest {len(known):,} attempts, from {measure.tell(ordered[0])} to"
        f" {measure.tell(ordered[-1])}: p50 {half}, p95 {most}; {bad:,} ended badly"
    )
