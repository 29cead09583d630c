"""What a list of jobs is narrowed by: as the daemon is asked for it, and as a person reads it; asks nobody anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from bgjob.amounts import try_span

from .addresses import BY_ID, ENDED, STATUSES, View, is_span, since_of


class Chip(NamedTuple):
    """What holds: words, and the name of others that they are about, which may be empty; the address without it."""

    words: str
    value: str
    without: str


def asked(view: View, now: float) -> dict[str, Any]:
    """What `Client.list` is given for the view."""
    return {
        "status": [view.status] if view.status else None,
        "search": view.q or None,
        **{asked_as(name): _GIVEN.get(name, _as_it_is)(view.value(name), now) for name in view.narrowed_by},
        "sort": view.sort or None,
    }


def asked_as(name: str) -> str:
    """What the daemon calls that which an address has by this name."""
    return _ASKED.get(name, name)


def chips(view: View) -> list[Chip]:
    """What the view is narrowed by, and another order than the usual one, each with the address without it."""
    found = [_chip(view, name) for name in view.narrowed_by]
    if view.sort in (BY_ID, ENDED):
        words = "Latest submit first" if view.sort == BY_ID else "Latest end first"
        found.append(Chip(words, "", view.but(sort="")))
    return found


def fixed(view: View, now: float) -> View:
    """The same with times that stand still."""
    moving = {name: view.value(name) for name in ("since", "until") if is_span(view.value(name))}
    still: dict[str, Any] = {name: _minute(since_of(span, now)) for name, span in moving.items()}
    return replace(view, **still)


def try_fixed(view: View, now: float) -> str | None:
    """The address of that, for a link that is copied; None where none moves along."""
    still = fixed(view, now)
    return None if still == view else still.but()


class Named(NamedTuple):
    """An address that has a name; `is_here`: it is that of this very list."""

    name: str
    address: str
    is_here: bool


def named(views: Mapping[str, str], view: View) -> list[Named]:
    """The views that are named, whatever the order of what stands in their addresses."""
    here = view.but()
    return [
        Named(name, f"{view.base}{address}", _same(address, view) == here) for name, address in views.items()
    ]


def _same(address: str, view: View) -> str | None:
    """The address as this list would have it; None of another view."""
    parts = urlsplit(address)
    if parts.path != view.path:
        return None
    return View.of(parts.path, dict(parse_qsl(parts.query)), STATUSES, view.default_per, view.base).but()


def _chip(view: View, name: str) -> Chip:
    value = str(view.value(name))
    words = _WORDS[name]
    if name in _TIMES:
        words, value = f"{_TIMES[name][not is_span(value)]} {_told_time(value)}", ""
    return Chip(words, value, view.without(name))


def _told_time(time: str) -> str:
    return time if is_span(time) else f"{datetime.fromisoformat(time):%Y-%m-%d %H:%M} UTC"


def _minute(moment: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(UTC):%Y-%m-%dT%H:%MZ}"


def _as_it_is(value: Any, now: float) -> Any:
    return value


_ASKED: Final = {"class": "class_name", "longer": "longer_than"}
_GIVEN: Final[Mapping[str, Callable[[Any, float], Any]]] = {
    "since": since_of,
    "until": since_of,
    "longer": lambda span, now: try_span(span),
}
"""What the daemon calls otherwise than the address does, and what it takes of what stands there."""

_WORDS: Final = {
    "class": "Class",
    "queue": "Queue",
    "error": "Error",
    "bulk": "Change",
    "schedule": "Schedule",
    "group": "Group",
    "key": "Key",
    "label": "Label",
    "host": "On",
    "outcome": "Ended",
    "since": "",
    "until": "",
    "longer": "Longer than",
}
_TIMES: Final = {"since": ("Last", "Since"), "until": ("Before the last", "Before")}
"""Before a span, and before a moment."""
