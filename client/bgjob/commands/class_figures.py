"""How classes do against their own past: `bgjob stats --class`, with a NAME all that is known of one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import screen
from bgjob.commands.tables import Column, Cut

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_HOURS: Final = 24
AN_HOUR: Final = 3600
_DAYS_BEFORE: Final = 13
_LABEL: Final = 11

Told = Mapping[str, Any]


def found(client: Client, name: str) -> dict[str, Any]:
    """The class of this name, or of one that ends so, with its figures and its hours; of one of which nothing has
    ended nothing, all of it.
    """
    trends = client.class_trends()
    exact = [one for one in trends if one["name"] == name]
    named = exact or [one for one in trends if one["name"].endswith(f".{name}")]
    if len(named) == 1:
        return named[0]
    nothing = client.class_stats(name, limit=1)
    hours = [0] * _HOURS
    return {"name": name, "day": nothing.day, "before": nothing.before, "hours": hours, "failed": hours}


def columns(classes: Sequence[Told]) -> list[Column]:
    """All classes of which anything has ended, a row each: the last 24 hours, and what completed before."""
    days = [one["day"] for one in classes]
    return [
        Column("CLASS", [one["name"] for one in classes], cut=Cut.BEGINNING),
        Column("ENDED", [f"{day['ended']:,}" for day in days], is_number=True),
        Column("COMPLETED", [_completed(day) for day in days], is_number=True),
        Column("BEFORE", [_completed(one["before"]) for one in classes], is_number=True),
        Column("24 HOURS", [f"{blocks(one['hours'])}|" for one in classes]),
        Column("P50 / P95", [_spans("p50", "p95")(day) for day in days], is_number=True),
        Column("CPU", [text.span(day["cpu"]) for day in days], is_number=True),
        Column("MEMORY", [text.size(day["memory"]) for day in days], is_number=True),
    ]


def lines(one: Told) -> Iterator[str]:
    """All of it, the last 24 hours and then, in parentheses, the 13 days before."""
    title = f"{screen.painted(text.one_line(one['name']), 'bold')}, the last 24 hours (the 13 days before)"
    yield from screen.folded(title, 2)
    for label, tell in _FIGURES.items():
        figures = f"{label:<{_LABEL}}{tell(one['day'])} ({_before(one['before'], tell)})"
        yield from screen.folded(figures, _LABEL)
    for label, hours in (("an hour", one["hours"]), ("failed", one["failed"])):
        yield from line_of_hours(label, _LABEL, hours)


def line_of_hours(label: str, wide: int, hours: Sequence[int]) -> list[str]:
    """The hours as blocks, behind a label in so many columns, and the most there were; below them with little room."""
    line, scale = f"{label:<{wide}}{blocks(hours)}|", f"at most {max(hours, default=0):,}"
    has_room = len(f"{line} {scale}") <= (screen.columns() or sys.maxsize)
    return [f"{line} {scale}"] if has_room else [line, f"{'':<{wide}}{scale}"]


def hours_of(points: Sequence[Told], key: str, now: float) -> list[int]:
    """What spans of an hour tell of each of the last 24 hours, this one the last; nothing of an hour is 0."""
    first = int(now // AN_HOUR) - _HOURS + 1
    counts = {int(text.instant(point["at"]) // AN_HOUR): int(point[key] or 0) for point in points}
    return [counts.get(first + place, 0) for place in range(_HOURS)]


def blocks(values: Sequence[int]) -> str:
    """A block for each, as high as it is among them; nothing is a blank, and anything is to be seen.

    >>> blocks([0, 1, 50, 100])
    ' ▁▄█'
    """
    most = max(values, default=0)
    return "".join(_BLOCKS[max(1, round(value * 8 / most))] if value else " " for value in values)


def _before(figures: Told, tell: Callable[[Told], str]) -> str:
    """The 13 days before; what is counted, as a day of them."""
    if not figures["ended"]:
        return "nothing"
    return tell({**figures, **{name: figures[name] / _DAYS_BEFORE for name in ("ended", "completed")}})


def _completed(figures: Told) -> str:
    """As a share, which is never rounded to all or nothing."""
    if not figures["ended"]:
        return "–"
    share = figures["completed"] / figures["ended"]
    return f"{share:.0%}" if share in (0.0, 1.0) else f"{min(0.999, max(0.001, share)):.1%}"


def _spans(*names: str) -> Callable[[Told], str]:
    def tell(figures: Told) -> str:
        told = [figures[name] for name in names]
        return " / ".join("–" if span is None else text.span(span) for span in told)

    return tell


_FIGURES: Final[Mapping[str, Callable[[Told], str]]] = {
    "ended": lambda figures: f"{figures['ended']:,.0f} a day",
    "completed": _completed,
    "p50 / p95": lambda figures: f"about {_spans('p50', 'p95')(figures)}",
    "waited p95": lambda figures: f"about {_spans('waited_p95')(figures)}",
    "memory": lambda figures: f"{text.size(figures['memory'])} at most",
    "cpu": lambda figures: f"{text.span(figures['cpu'])} a day",
}
