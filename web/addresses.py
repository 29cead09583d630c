"""What a person has set, as an address: filters and place of a list; what makes no sense falls back to the default."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlencode

from bgjob.labels import is_label
from bgjob.words import (
    BEHIND,
    BLOCKED,
    KEY_LENGTHS,
    RETRYING,
    REVIEW,
    SCHEDULED,
    SNOOZED,
    WAITING,
    EntryType,
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
TYPES: Final = tuple(EntryType)
STATUSES: Final = (
    Status.PENDING, SCHEDULED, RETRYING, SNOOZED, BLOCKED, BEHIND, WAITING, Status.RUNNING,
    Status.COMPLETED, Status.FAILED, REVIEW, Status.CANCELLED,
)  # fmt: skip
_QUOTED_CLASS: Final = r"(?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2}){1,3072}"
_LARGEST: Final = 2**53
_SPAN: Final = re.compile(r"([1-9][0-9]{0,3})([mhd])")
_MINUTES: Final = {"m": 1, "h": 60, "d": 24 * 60}
_MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
NOW: Final = "/now"
_PLACE: Final = re.compile(
    rf"/(?:now|jobs(?:/{ID}(?:/graph)?)?|classes(?:/{_QUOTED_CLASS})?|errors(?:/{ID})?|groups(?:/{ID})?|schedules(?:/{SCHEDULE})?|system|hosts|alerts|labels)?"
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


def since_of(span: str, now: float) -> str:
    """When a span of whole minutes began that ends with the minute of `now`, as the ends of an hour are counted."""
    found = _SPAN.fullmatch(span)
    if found is None:
        raise ValueError(f"{span!r} is no span")
    begin = (math.floor(now / 60) + 1 - int(found[1]) * _MINUTES[found[2]]) * 60
    return datetime.fromtimestamp(begin, UTC).isoformat()


@dataclass(frozen=True)
class View:
    """A list as it is asked for: `upto` is the largest id on the page, None for the newest; `page` counts.

    Where the order is that of ends, `at` is when the job behind which the page begins had ended: that of `upto` + 1.
    `since` is a span: `1h`; `schedule`, `group`, `key`, `host`, `error` and `label` those whose jobs are
    shown. Of schedules `upto` are on the pages before.
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

    @classmethod
    def of(cls, path: str, query: Mapping[str, str], statuses: tuple[str, ...], default_per: int) -> View:
        """The view that the query names."""
        at, since, schedule, label = (query.get(name, "") for name in ("at", "since", "schedule", "label"))
        upto = _number(query.get("upto", ""), 0, _LARGEST)
        page = _number(query.get("page", ""), 1, _LARGEST) or 1
        return cls(
            path,
            default_per,
            q=query.get("q", "").replace("\0", "")[:MOST_TEXT].strip(),
            status=query.get("status", "") if query.get("status", "") in statuses else "",
            per=_number(query.get("per", ""), 1, 100) or default_per,
            page=page if upto is not None else 1,
            upto=upto if page > 1 else None,
            at=at if upto is not None and page > 1 and _MOMENT.fullmatch(at) else "",
            since=since if path in ("/jobs", "/errors") and _SPAN.fullmatch(since) else "",
            schedule=schedule if path == "/jobs" and re.fullmatch(SCHEDULE, quoted(schedule)) else "",
            group=_number(query.get("group", ""), 1, _LARGEST) if path == "/jobs" else None,
            key=query.get("key", "").replace("\0", "")[: KEY_LENGTHS[-1]] if path == "/jobs" else "",
            host=query.get("host", "").replace("\0", "")[:MOST_TEXT] if path == "/jobs" else "",
            error=_number(query.get("error", ""), 1, _LARGEST) if path == "/jobs" else None,
            label=label if path == "/jobs" and is_label(label) else "",
        )

    def but(self, **changes: Any) -> str:
        """The address of the same view with these changes; from its first page, unless they say which."""
        changed = replace(self, **({"page": 1, "upto": None, "at": ""} | changes))
        default = View(self.path, self.default_per, per=self.default_per)
        shown = ("q", "status", "since", "schedule", "group", "key", "host", "error", "label")
        names = (*shown, "per", "page", "upto", "at")
        told = {
            name: getattr(changed, name) for name in names if getattr(changed, name) != getattr(default, name)
        }
        return f"{self.path}?{urlencode(told)}" if told else self.path

    @property
    def address(self) -> str:
        """Its own."""
        return self.but(page=self.page, upto=self.upto, at=self.at)

    @property
    def is_first(self) -> bool:
        return self.upto is None


def _number(text: str, least: int, most: int) -> int | None:
    """The number, if the text is one in this range."""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        return None
    return int(text) if least <= int(text) <= most else None
