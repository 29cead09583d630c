"""A job's timeline for a terminal: a line a step, with a bar of characters on one axis of time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
"""Columns: before all, and between; of a step's words, of how long it took, and of the bar at least and at most."""

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


def drawn(timeline: Timeline, room: int) -> list[str]:
    """The steps in lines of at most so many columns, as far as they can be so narrow; the axis' begin and end below."""
    told = [_words(step) for step in timeline.steps]
    wide = min(_MOST_WORDS, max(map(text.width, told), default=0))
    across = max(_LEAST, min(_MOST, room - _INDENT - wide - 2 * _GAP - _LENGTH))
    lines = [
        _line(timeline, step, words, wide, across) for step, words in zip(timeline.steps, told, strict=True)
    ]
    return [*lines, *_axis(timeline, wide, across)]


def _words(step: Step) -> str:
    if step.number is None or step.kind is Kind.MORE:
        return text.one_line(step.words)
    return text.one_line(f"{step.words} {step.outcome or 'running'}")


def _line(timeline: Timeline, step: Step, words: str, wide: int, across: int) -> str:
    cut = text.shortened(words, wide)
    begin = min(across - 1, int(timeline.across(step.begin) * across))
    end = max(begin + 1, round(timeline.across(step.end) * across))
    bar = screen.painted(_BARS[step.kind] * (end - begin), _COLOURS.get(step.kind, "none"))
    padding = " " * (wide - text.width(cut))
    so_far = " so far" if step.is_open and step.until is None else ""
    return f"  {cut}{padding}  {' ' * begin}{bar}{' ' * (across - end)}  {text.span(step.seconds)}{so_far}"


def _axis(timeline: Timeline, wide: int, across: int) -> Iterator[str]:
    form = "%m-%d %H:%M" if timeline.end - timeline.begin >= _A_DAY else "%H:%M:%S"
    begin, end = (f"{datetime.fromtimestamp(at, UTC):{form}}" for at in (timeline.begin, timeline.end))
    if across >= len(begin) + len(end) + 1:
        yield f"  {' ' * wide}  {begin}{end:>{across - len(begin)}}"


_A_DAY: Final = 86_400.0
