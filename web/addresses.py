"""What a person has set, as an address: filters and place of a list; what makes no sense falls back to the default."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from bgjob.amounts import try_span
from bgjob.labels import is_label
from bgjob.words import (
    BEHIND,
    BLOCKED,
    FINAL,
    KEY_LENGTHS,
    RETRYING,
    REVIEW,
    SCHEDULED,
    SNOOZED,
    WAITING,
    EntryType,
    ErrorSort,
    Outcome,
    Status,
)

MOST_TEXT: Final = 200
ID: Final = "[1-9][0-9]{0,17}"
"""A job's, or that of a group."""

NAME: Final = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
"""A queue's, or that of a schedule of the configuration."""

CLASS: Final = r"[^\W\d][\w.]{0,1023}"
"""A class's name: Python's identifiers have letters of all the world."""

SCHEDULE: Final = rf"{NAME}(?:%2F[A-Za-z0-9][A-Za-z0-9_.-]{{0,127}}){{0,9}}"
"""A schedule's, as it stands in a path; one that was put has a slash in it."""

PER_PAGE: Final = (10, 25, 50, 100)
SAID: Final = "said"
"""What jobs said, beside the types of the log's entries."""

TYPES: Final = (SAID, *EntryType)
STATUSES: Final = (
    Status.PENDING, SCHEDULED, RETRYING, SNOOZED, BLOCKED, BEHIND, WAITING, Status.RUNNING,
    Status.COMPLETED, Status.FAILED, REVIEW, Status.CANCELLED,
)  # fmt: skip
_QUOTED_CLASS: Final = r"(?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2}){1,3072}"
_LARGEST: Final = 2**53
_SPAN: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_MINUTES: Final = {"m": 1, "h": 60, "d": 24 * 60}
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2})(:[0-9]{2}(?:\.[0-9]{1,6})?)?Z?")
NOW: Final = "/now"
_PLACE: Final = re.compile(
    rf"/(?:now|jobs(?:/{ID}(?:/graph)?|/retry|/cancel)?|compare|classes(?:/{_QUOTED_CLASS})?|errors(?:/{ID})?"
    rf"|groups(?:/{ID})?|schedules(?:/{SCHEDULE})?|system|hosts|alerts|labels|changes)?"
    r"(?:\?[!-\[\]-~]*)?"
)


def quoted(name: str) -> str:
    """The name as it stands in a path."""
    return quote(name, safe="")


def place_of(text: str) -> str:
    """Where a login leads on to: one of the views that a person looks at, the log where the text is no other's."""
    return text if _PLACE.fullmatch(text) else "/"


def moment_of(text: str) -> str | None:
    """The text, if it is an instant as the daemon tells it."""
    return text if _MOMENT.fullmatch(text) else None


def is_span(text: str) -> bool:
    """Whether it is a time that moves along, as `1h` does."""
    return _SPAN.fullmatch(text) is not None


def time_of(text: str) -> str:
    """The text as an instant of UTC, which a form sends without saying so; empty where it is none."""
    found = _TIME.fullmatch(text)
    if found is None:
        return ""
    told = f"{found[1]}{found[2] or ''}Z"
    try:
        datetime.fromisoformat(told)
    except ValueError:
        return ""
    return told


def since_of(time: str, now: float) -> str:
    """The moment; of a span when it began, in whole minutes, that ends with the minute of `now`, as the ends of an hour
    are counted.
    """
    found = _SPAN.fullmatch(time)
    if found is None:
        return datetime.fromisoformat(time).isoformat()
    begin = (math.floor(now / 60) + 1 - int(found[1]) * _MINUTES[found[2]]) * 60
    return datetime.fromtimestamp(begin, UTC).isoformat()


@dataclass(frozen=True)
class View:
    """A list as it is asked for: `upto` is the largest id on the page, None for the newest; `page` counts.

    Where the order is that of ends, `at` is when the job behind which the page begins had ended: that of `upto` + 1.
    `since` and `until` are spans, `1h`, or moments, `2026-11-27T14:02Z`; `longer` is a time, as `10s`; the names of the
    others that a list of jobs is narrowed by are those of `List`. What is empty, or None, narrows nothing. `sort` is
    empty where it is the usual one; of errors it is a word of ErrorSort, and `at` what the place begins with. Of
    schedules `upto` are on the pages before. `base` is what its addresses begin with, and its `path` does not.
    """

    path: str
    default_per: int
    q: str = ""
    status: str = ""
    per: int = 10
    page: int = 1
    upto: int | None = None
    at: str = ""
    since: str = ""
    schedule: str = ""
    group: int | None = None
    key: str = ""
    host: str = ""
    error: int | None = None
    label: str = ""
    class_name: str = ""
    queue: str = ""
    outcome: str = ""
    until: str = ""
    longer: str = ""
    sort: str = ""
    bulk: int | None = None
    base: str = ""

    @classmethod
    def of(
        cls, path: str, query: Mapping[str, str], statuses: tuple[str, ...], default_per: int, base: str = ""
    ) -> View:
        """The view that the query names."""
        status = query.get("status", "") if query.get("status", "") in statuses else ""
        at = query.get("at", "")
        upto = _number(query.get("upto", ""), 0, _LARGEST)
        page = _number(query.get("page", ""), 1, _LARGEST) or 1
        named = NARROWED_BY.get(path, ())
        narrowed = {_ATTRIBUTES.get(name, name): _READ[name](query.get(name, "")) for name in named}
        if "sort" in narrowed:
            narrowed["sort"] = _unusual_sort(path, narrowed["sort"], status)
        return cls(
            path,
            default_per,
            q=query.get("q", "").replace("\0", "")[:MOST_TEXT].strip(),
            status=status,
            per=_number(query.get("per", ""), 1, 100) or default_per,
            page=page if upto is not None else 1,
            upto=upto if page > 1 else None,
            at=at if upto is not None and page > 1 and _begins_a_place(at, narrowed.get("sort", "")) else "",
            base=base,
            **narrowed,
        )

    def but(self, **changes: Any) -> str:
        """The address of the same view with these changes; from its first page, unless they say which."""
        changed = replace(self, **({"page": 1, "upto": None, "at": ""} | changes))
        default = View(self.path, self.default_per, per=self.default_per)
        names = ("q", "status", *_READ, "per", "page", "upto", "at")
        values = {name: changed.value(name) for name in names}
        told = {name: value for name, value in values.items() if value != default.value(name)}
        place = f"{self.path}?{urlencode(told)}" if told else self.path
        return f"{self.base}{place}"

    def without(self, name: str) -> str:
        """The address of the same without what it is narrowed by this name."""
        attribute = _ATTRIBUTES.get(name, name)
        return self.but(**{attribute: getattr(View(self.path, self.default_per), attribute)})

    def value(self, name: str) -> Any:
        """What the address has by this name."""
        return getattr(self, _ATTRIBUTES.get(name, name))

    @property
    def narrowed_by(self) -> tuple[str, ...]:
        """The names of what it is narrowed by, beside search and status."""
        names = NARROWED_BY.get(self.path, ())
        return tuple([name for name in names if name != "sort" and self.value(name)])

    @property
    def is_narrowed(self) -> bool:
        """Whether it may have less than all."""
        return bool(self.q or self.status or self.narrowed_by)

    @property
    def kept(self) -> list[tuple[str, str]]:
        """What a form on it has to send along that says nothing of it: names and values."""
        names = [name for name in ("status", *self.narrowed_by, "sort") if self.value(name)]
        return [(name, str(self.value(name))) for name in names]

    @property
    def is_by_end(self) -> bool:
        """Whether the latest end is first."""
        return self.sort == ENDED or (self.status in FINAL and self.sort != BY_ID)

    @property
    def place(self) -> str:
        """Its own address, as this page's own forms name it: without the base."""
        return replace(self, base="").but(page=self.page, upto=self.upto, at=self.at)

    @property
    def is_first(self) -> bool:
        return self.upto is None


def _number(text: str, least: int, most: int) -> int | None:
    """The number, if the text is one in this range."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return int(text) if least <= int(text) <= most else None


def _in(words: Collection[str]) -> Callable[[str], str]:
    return lambda text: text if text in words else ""


def _matching(pattern: str) -> Callable[[str], str]:
    return lambda text: text if re.fullmatch(pattern, text) else ""


def _text(most: int) -> Callable[[str], str]:
    return lambda text: text.replace("\0", "")[:most]


def _time(text: str) -> str:
    """A span, or a moment that there is."""
    return text if is_span(text) else time_of(text)


def _longer(text: str) -> str:
    seconds = try_span(text) if len(text) < _LONGEST and text.isascii() else None
    return text if seconds and seconds <= _LONGEST_SPAN else ""


def _begins_a_place(at: str, sort: str) -> bool:
    """Whether a page of this order can begin there."""
    if sort == ErrorSort.FAILED:
        return _number(at, 0, _LARGEST) is not None
    return _MOMENT.fullmatch(at) is not None


def _unusual_sort(path: str, sort: str, status: str) -> str:
    """The order, where it is another one than that of these anyway, and such jobs can have it."""
    if path == "/errors":
        return sort if sort in (ErrorSort.FAILED, ErrorSort.NEWEST) else ""
    if status in FINAL:
        return sort if sort == BY_ID else ""
    return sort if sort == ENDED and not status else ""


_LONGEST: Final = 20
_LONGEST_SPAN: Final = 36_500 * 86_400.0
"""Characters, and seconds: the daemon takes no more."""

BY_ID: Final = "id"
ENDED: Final = "ended"

_READ: Final[Mapping[str, Callable[[str], Any]]] = {
    "class": _matching(CLASS),
    "queue": _matching(NAME),
    "error": lambda text: _number(text, 1, _LARGEST),
    "bulk": lambda text: _number(text, 1, _LARGEST),
    "schedule": lambda text: text if re.fullmatch(SCHEDULE, quoted(text)) else "",
    "group": lambda text: _number(text, 1, _LARGEST),
    "key": _text(KEY_LENGTHS[-1]),
    "label": lambda text: text if is_label(text) else "",
    "host": _text(MOST_TEXT),
    "outcome": _in(tuple(Outcome)),
    "since": _time,
    "until": _time,
    "longer": _longer,
    "sort": _in((BY_ID, ENDED, *ErrorSort)),
}
"""What an address may say beside search, status and page, and how it is read; what makes no sense is as if it were not
there.
"""

_ATTRIBUTES: Final = {"class": "class_name"}
"""The attributes of View that are not called as the address has them."""

NARROWED_BY: Final[Mapping[str, tuple[str, ...]]] = {
    "/jobs": tuple(_READ),
    "/errors": ("class", "since", "sort"),
    "/": ("until",),
}
"""By the path of a list what it may be narrowed by, and sorted."""
