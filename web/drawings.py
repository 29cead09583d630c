"""Small drawings as SVG; of what a job or a configuration says there is text in them and no markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from bgjob.text import instant

from .strip import (
    CELL,
    COMING,
    DAY,
    MORE,
    Run,
    Told,
    counted,
    day_in_words,
    hours,
    kind_of,
    quarter,
    runs_of,
    title_of,
)


def chart(minutes: Sequence[Mapping[str, Any]]) -> Markup:
    """Jobs that ended in each minute as bars, the failed ones below, in red; with a text for who cannot see it."""
    highest = max((minute["completed"] + minute["failed"] for minute in minutes), default=0) or 1
    bars = []
    for place, minute in enumerate(minutes):
        base = 40.0
        for kind in ("failed", "completed"):
            height = 38.0 * minute[kind] / highest
            if height:
                base -= height
                bars.append(
                    Markup('<rect class="{}" x="{}" y="{:.1f}" width="3" height="{:.1f}"/>').format(
                        kind, place * 4, base, height
                    )
                )
    ended = sum(minute["completed"] + minute["failed"] for minute in minutes)
    label = f"{ended} jobs ended in the last hour, at most {highest if ended else 0} a minute"
    drawing = Markup(
        '<svg class="chart" viewBox="0 0 {} 40" preserveAspectRatio="none" role="img" aria-label="{}">{}</svg>'
    )
    return drawing.format(max(1, len(minutes)) * 4, label, Markup("").join(bars))


# Schedules


def _mark(shape: str) -> Markup:
    tag, _, attributes = shape.partition(" ")
    return Markup("<{} {}><title>{{}}</title></{}>").format(Markup(tag), Markup(attributes), Markup(tag))


_MARKS: Final[Mapping[str, Markup]] = {
    "completed": _mark('circle class="mark completed" cx="{}" cy="8" r="4"'),
    "failed": _mark('rect class="mark failed" x="{}" y="3" width="10" height="10"'),
    "refused": _mark('rect class="mark refused" x="{}" y="4" width="8" height="8"'),
    "running": _mark('rect class="mark running" x="{}" y="1" width="4" height="14"'),
    "waiting": _mark('rect class="mark waiting" x="{}" y="9" width="8" height="4"'),
    "cancelled": _mark('rect class="mark cancelled" x="{}" y="7" width="9" height="3"'),
    "skipped": _mark('rect class="mark skipped" x="{}" y="5" width="6" height="6"'),
    "deleted": _mark('circle class="mark deleted" cx="{}" cy="8" r="1.5"'),
    COMING: _mark('circle class="mark coming" cx="{}" cy="8" r="3"'),
}
"""A shape for each kind, so that nobody needs to see its colour; the style sheet centres those that begin at x."""

_BAR: Final = Markup(
    '<rect class="bar {}" x="{:.2f}%" y="{}" width="{:.2f}%" height="{}"><title>{}</title></rect>'
)
_HEIGHTS: Final[Mapping[str, int]] = {
    "failed": 10,
    "refused": 8,
    "running": 12,
    "skipped": 6,
    COMING: 2,
    MORE: 1,
}
_TWO_DAYS: Final = 2 * DAY
_APART: Final = 10
_MOST_NAMED: Final = 12
_TALLEST: Final = 28.0


def squares(occurrences: Sequence[Told]) -> Markup:
    """A mark for each, the newest at the right; they come with it first."""
    marks = [
        _MARKS[kind_of(one)].format(_APART * place + _APART // 2, title_of(one))
        for place, one in enumerate(reversed(occurrences))
    ]
    drawing = Markup(
        '<svg class="squares" viewBox="0 0 {} 16" width="{}" role="img" aria-label="{}">{}</svg>'
    )
    width = _APART * max(1, len(marks))
    return drawing.format(
        width, width, f"The last {len(marks)}: {counted(occurrences)}", Markup("").join(marks)
    )


def day_line(schedule: Told, now: float) -> Markup:
    """A schedule's line of the strip."""
    drawn = [_drawn(run, now) for run in runs_of(schedule, now)]
    drawing = Markup('<svg class="line" role="img" aria-label="{}">{}</svg>')
    return drawing.format(day_in_words(schedule, now), Markup("").join(drawn))


def _drawn(run: Run, now: float) -> Markup:
    if run.begin == run.end:
        return _MARKS[run.kind].format(f"{_across(run.begin, now):.2f}%", run.title)
    height = _HEIGHTS.get(run.kind, 6)
    width = max(0.5, _across(run.end, now) - _across(run.begin, now))
    return _BAR.format(run.kind, _across(run.begin, now), 8 - height / 2, width, height, run.title)


def _across(at: float, now: float) -> float:
    """How far to the right, in hundredths of the width."""
    return 100 * (at - now + DAY) / _TWO_DAYS


def together(found: Sequence[Told], now: float) -> Markup:
    """How many schedules come together, as bars."""
    most = max((len(one["names"]) for one in found), default=1)
    bars = []
    for one in found:
        at = instant(one["at"])
        left, right = max(50.0, _across(at, now)), min(100.0, _across(at + CELL, now))
        height = max(2.0, _TALLEST * len(one["names"]) / most)
        bars.append(
            _TOGETHER.format(left, _TALLEST + 2 - height, right - left, height, _named(at, one["names"]))
        )
    drawing = Markup('<svg class="line tall" role="img" aria-label="{}">{}</svg>')
    return drawing.format(f"At most {most} at once in the next 24 hours", Markup("").join(bars))


_TOGETHER: Final = Markup(
    '<rect class="meeting" x="{:.2f}%" y="{:.1f}" width="{:.2f}%" height="{:.1f}"><title>{}</title></rect>'
)


def _named(at: float, names: Sequence[str]) -> str:
    rest = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{quarter(at)} UTC: {len(names)}: {', '.join(names[:_MOST_NAMED])}{rest}"


def hour_lines(now: float) -> Markup:
    """What stands behind all lines: every sixth hour, and now."""
    line = Markup(
        '<line x1="{x:.2f}%" x2="{x:.2f}%" y1="18" y2="100%"/><text x="{x:.2f}%" y="12" data-at="{at}">{told}</text>'
    )
    drawn = [line.format(x=_across(at, now), at=int(at), told=quarter(at)) for at in hours(now)]
    drawing = Markup(
        '<svg class="hours" aria-hidden="true">{}<line class="now" x1="50%" x2="50%" y1="18" y2="100%"/></svg>'
    )
    return drawing.format(Markup("").join(drawn))


def legend() -> Markup:
    """What each shape means."""
    entry = Markup('<li><svg width="16" height="16" aria-hidden="true">{}</svg> {}</li>')
    told = [entry.format(_MARKS[kind].format(8, word), word) for kind, word in _LEGEND.items()]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(told))


_LEGEND: Final[Mapping[str, str]] = {
    "completed": "completed", "failed": "failed", "running": "running", "waiting": "waits", "cancelled": "cancelled",
    "skipped": "skipped", "refused": "refused, or the queue is full", COMING: "to come",
}  # fmt: skip
