"""A job's timeline as SVG, a bar a step on one axis of time; of what a job says there is text in it and no markup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup

from bgjob.amounts import span_text
from bgjob.timelines import Kind, Step, Timeline

_LEAST: Final = 4
_NARROWEST_AXIS: Final = 320
"""Pixels: of a bar that would else be narrower, and of the axis on a phone."""

_TICKS: Final = 5
_A_DAY: Final = 86_400.0
_A_MOMENT: Final = 10.0

_BAR: Final = Markup('<svg class="step" role="img" aria-label="{}">{}</svg>')
_RECT: Final = Markup(
    '<rect class="{}" x="{:.2f}%" y="1" width="{}" height="12" rx="1"><title>{}</title></rect>'
)
_MARK: Final = Markup(
    '<line class="at" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="14"><title>{words}</title></line>'
)
_TICK: Final = Markup('<time class="clock" data-cut="{},{}" datetime="{}">{}</time>')


def step_bar(timeline: Timeline, step: Step) -> Markup:
    """The step's bar, at least 4 pixels wide, and in that of what runs the moments at which others had ended."""
    words = f"{step.words}, {length(step)}"
    begin, end = timeline.across(step.begin), timeline.across(step.end)
    share = end - begin
    is_narrow = share * _NARROWEST_AXIS < _LEAST
    width = f"{_LEAST}" if is_narrow else f"{100 * share:.2f}%"
    drawn = [_RECT.format(step.kind.value, 100 * min(begin, 1 - _LEAST / _NARROWEST_AXIS), width, words)]
    if step.kind is Kind.RUNNING:
        drawn += [_MARK.format(x=100 * timeline.across(at), words=meaning) for at, meaning in timeline.marks]
    return _BAR.format(words, Markup("").join(drawn))


def length(step: Step) -> str:
    """How long it took, or has until now."""
    told = span_text(step.seconds)
    return f"{told} so far" if step.is_open and step.until is None else told


def ticks(timeline: Timeline) -> Markup:
    """Moments of the axis, from its begin to its end, a browser's own time where it has scripts."""
    return Markup("").join(_ticks(timeline))


def _ticks(timeline: Timeline) -> Iterator[Markup]:
    span = timeline.end - timeline.begin
    cut = (5, 16) if span >= _A_DAY else (11, 23) if span < _A_MOMENT else (11, 19)
    for place in range(_TICKS):
        moment = datetime.fromtimestamp(timeline.begin + span * place / (_TICKS - 1), UTC)
        yield clock(moment, *cut)


def clock(moment: datetime, begin: int, end: int) -> Markup:
    """Some of "2024-12-04 14:31:53.061": those characters from `begin` to before `end`."""
    told = moment.isoformat(sep=" ", timespec="milliseconds")[begin:end]
    return _TICK.format(begin, end, moment.isoformat(timespec="milliseconds"), told)


def exact_clock(told: str) -> Markup:
    """The time of day of a stored moment, to the millisecond."""
    return clock(datetime.fromisoformat(told).astimezone(UTC), 11, 23)


def clock_time(told: str) -> Markup:
    """The same to the second."""
    return clock(datetime.fromisoformat(told).astimezone(UTC), 11, 19)


_KEYS: Final[Mapping[Kind, str]] = {
    Kind.WAIT: "waited for a slot, or others",
    Kind.DELAY: "delay",
    Kind.COMPLETED: "attempt that completed",
    Kind.FAILED: "attempt that ended badly",
    Kind.RUNNING: "attempt that runs",
    Kind.OVER: "ended otherwise, or over",
    Kind.CANCEL: "cancel asked",
}


def key_of(timeline: Timeline) -> list[tuple[str, str]]:
    """Each kind of bar that is there, and what it means."""
    there = {step.kind for step in timeline.steps}
    return [(kind.value, words) for kind, words in _KEYS.items() if kind in there]
