"""The SQL functions of our connections: arithmetic on stored instants, and folding, by the same rules as in Python.

Each answers something whatever it is given: SQLite tells of an error in here as of one of the file, and the
writer would replay its batch for ever.
"""

from __future__ import annotations

import json
from typing import Final

from peewee import SqliteDatabase

from bgjobd.core.case_folding import fold, folded
from bgjobd.host.clock import from_text, to_text

_EARLIEST: Final = -62_135_596_800.0
_LATEST: Final = 253_402_300_799.0
"""The years 1 to 9999: what a stored instant can say."""


def register(database: SqliteDatabase) -> None:
    """Make them known to every connection of this database."""
    database.register_function(shifted, "shifted", 2, deterministic=True)
    database.register_function(seconds_between, "seconds_between", 2, deterministic=True)
    database.register_function(_folded, "folded", 1, deterministic=True)
    database.register_function(_fold, "fold", 1, deterministic=True)
    database.register_function(has_value, "has_value", 4, deterministic=True)


def held(at: float) -> float:
    """The instant, held within the years that can be stored."""
    return min(max(at, _EARLIEST), _LATEST)


def shifted(at: str, seconds: float) -> str:
    """The stored instant moved, and held within the years that can be stored; what is none stays as it is.

    SQLite's own strftime would lose the microseconds.
    """
    try:
        return to_text(held(from_text(at) + seconds))
    except (TypeError, ValueError):
        return at


def seconds_between(start: str, end: str) -> float | None:
    """How much later `end` is, both stored instants; None where one of them is none."""
    try:
        return from_text(end) - from_text(start)
    except (TypeError, ValueError):
        return None


def _folded(text: str | None) -> str | None:
    return folded(text) if isinstance(text, str) else None


def _fold(text: str | None) -> str | None:
    return fold(text) if isinstance(text, str) else None


def has_value(parameters: str, sensitive: str | None, more: str | None, as_json: str) -> bool:
    """Whether a value among the parameters, none of these sensitive ones, has this in its JSON text, case folded.

    All are written at once, each on a line: to look at them one by one takes 20 times as long.
    """
    try:
        hidden = {*json.loads(sensitive or "[]"), *json.loads(more or "[]")}
        shown = [value for name, value in json.loads(parameters).items() if name not in hidden]
        return as_json in fold(_in_lines(shown)[1:-1])
    except (TypeError, ValueError, AttributeError, RecursionError):
        return False


_in_lines: Final = json.JSONEncoder(ensure_ascii=False, separators=("\n", "\n")).encode
"""So that nothing is found that goes from one value, or name, to the next."""
