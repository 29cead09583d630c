"""The bar of views on top of each page; asks nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Stats = Mapping[str, Any]


@dataclass(frozen=True)
class Entry:
    """A view of the bar, by the name that its template is `here` by; `tells` has its words, none to leave it out."""

    place: str
    name: str
    tells: Callable[[Stats], str] | None = None


def _schedules(stats: Stats) -> str:
    """Of a daemon that does not tell how many there are, one before this page, there may be some."""
    return "" if stats.get("schedules") == 0 else "Schedules"


def _hosts(stats: Stats) -> str:
    many = stats.get("hosts") or 0
    return f"{many} hosts" if many > 1 else ""


BAR: Final = (
    Entry("/now", "Now"),
    Entry("/jobs", "Jobs"),
    Entry("/errors", "Errors"),
    Entry("/classes", "Classes"),
    Entry("/", "Log"),
    Entry("/schedules", "Schedules", _schedules),
    Entry("/hosts", "Hosts", _hosts),
    Entry("/system", "System"),
)
"""In their order; a view is a line."""


def bar_of(stats: Stats | None) -> Iterator[tuple[str, str, str]]:
    """Place, name and words of each; without the daemon's word those that are always there."""
    for entry in BAR:
        words = entry.name if entry.tells is None else entry.tells(stats) if stats else ""
        if words:
            yield entry.place, entry.name, words
