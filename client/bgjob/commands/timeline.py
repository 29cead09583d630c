"""A job's timeline for a terminal: a line a step, with a bar of characters on one axis of time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from bgjob import text
from bgjob.commands import screen
from bgjob.timelines import Kind, Step, Timeline

_INDENT: Final = 2
_GAP: Final = 2
_MOST_WORDS: Final = 30
_LENGTH: Final = 15
_LEAST: Final = 10
_MOST: Final = 60
"""Columns: before all, and between; of a step's words, of how long it took, and of the bar at least, beside them, and
at most.
"""

Paint = Callable[[str, str], str]

_BARS: Final[Mapping[Kind, str]] = {
    Kind.WAIT: "▒",
    Kind.DELAY: "·",
    Kind.RUNNING: "█",
    Kind.COMPLETED: "█",
    Kind.FAILED: "█",
    Kind.OVER: "░",
    Kind.CANCEL: "×",
    Kind.MORE: "…",
}
_COLOURS: Final[Mapping[Kind, str]] = {
    Kind.RUNNING: "cyan",
    Kind.COMPLETED: "green",
    Kind.FAILED: "red",
    Kind.DELAY: "yellow",
}


def drawn(timeline: Timeline, room: int, paint: Paint = screen.painted) -> list[str]:
    """The steps in lines of at most so many columns, each with its bar beside or, with little room, below its words;
    the axis' begin and end below all.
    """
    told = [_words(step) for step in timeline.steps]
    wide = min(_MOST_WORDS, max(map(text.width, told), default=0))
    length = max(_LENGTH, *(text.width(_length(step)) for step in timeline.steps), 0)
    across = min(_MOST, room - _INDENT - wide - 2 * _GAP - length)
    if across < _LEAST:
        return _below(timeline, told, max(1, room - _INDENT), paint)
    lines = []
    for step, words in zip(timeline.steps, told, strict=True):
        cut = text.shortened(words, wide)
        bar, after = _bar(timeline, step, across, paint)
        lines.append(f"  {cut}{' ' * (wide - text.width(cut))}  {bar}{' ' * after}  {_length(step)}")
    return [*lines, *_axis(timeline, _INDENT + wide + _GAP, across)]


def _below(timeline: Timeline, told: list[str], room: int, paint: Paint) -> list[str]:
    lines = []
    for step, words in zip(timeline.steps, told, strict=True):
        lines.append(f"  {text.shortened(f'{words}, {_length(step)}', room)}")
        lines.append(f"  {_bar(timeline, step, room, paint)[0]}")
    return [*lines, *_axis(timeline, _INDENT, room)]


def _words(step: Step) -> str:
    if step.number is None or step.kind is Kind.MORE:
        return text.one_line(step.words)
    return text.one_line(f"{step.words} {step.outcome or 'running'}")


def _length(step: Step) -> str:
    so_far = " so far" if step.is_open and step.until is None else ""
    return f"{text.span(step.seconds)}{so_far}"


def _bar(timeline: Timeline, step: Step, across: int, paint: Paint) -> tuple[str, int]:
    """The bar with what is before it on the axis, and how many columns of the axis come after it."""
    begin = min(across - 1, int(timeline.across(step.begin) * across))
    end = max(begin + 1, round(timeline.across(step.end) * across))
    bar = paint(_BARS[step.kind] * (end - begin), _COLOURS.get(step.kind, "none"))
    return f"{' ' * begin}{bar}", across - end


def _axis(timeline: Timeline, before: int, across: int) -> Iterator[str]:
    span = timeline.end - timeline.begin
    first, last = (5, 16) if span >= _A_DAY else (11, 23) if span < _A_MOMENT else (11, 19)
    begin, end = (
        datetime.fromtimestamp(at, UTC).isoformat(" ", "milliseconds")[first:last]
        for at in (timeline.begin, timeline.end)
    )
    if across >= len(begin) + len(end) + 1:
        yield f"{' ' * before}{begin}{end:>{across - len(begin)}}"


_A_DAY: Final = 86_400.0
_A_MOMENT: Final = 1.0
"""Seconds; of a shorter axis both ends could read the same."""
