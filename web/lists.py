"""What lists of rows with ids have in common: which rows a page has, and how many are newer; asks nobody anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bgjob.answers import Key

from .addresses import View
from .exchange import Response, as_json

MOST_COUNTED: Final = 10_000
MOST_NEWER: Final = 100


def told_newer(found: Sequence[Any]) -> Response:
    """How many rows there are that a list does not show yet."""
    return as_json({"newer": len(found), "is_all": len(found) < MOST_NEWER})


def id_in(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0


def rows_told(view: View, many: int, total: int | None) -> str:
    """Which rows of how many the page has: "51–75 of 10,000+"; empty where it has none, which is told in its place."""
    first = (view.page - 1) * view.per + 1
    if not many:
        return ""
    shown = f"{first:,}–{first + many - 1:,}"
    if not total:
        return shown
    return f"{shown} of {total:,}{'+' if total >= MOST_COUNTED else ''}"


def later_than(view: View, rows: Sequence[Any]) -> str | None:
    """The page of the log that has these entries, oldest first, which are behind the time at which it was entered."""
    if not rows:
        return None
    return view.but(until=rows[-1]["created_at"] if len(rows) == view.per else "")


def key_behind(view: View) -> int | None:
    """The row behind which those of the page begin."""
    return None if view.upto is None else Key(view.upto + 1, view.at or None)
