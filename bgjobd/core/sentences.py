"""Instants, lists and long texts as sentences have them; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from bgjob.amounts import relative_text

_MOST_NAMED: Final = 5
_LONGEST: Final = 200
"""How many characters of an error, which may have 64 KiB, are told."""


def moment(at: float, now: float) -> str:
    """An instant, and how far that is from now: `14:31:53 UTC, in 2 h`; with its date where that is not today's."""
    return f"{clock(at, now)}, {_relative(at - now)}"


def clock(at: float, now: float) -> str:
    """The instant alone."""
    then, today = datetime.fromtimestamp(at, UTC), datetime.fromtimestamp(now, UTC)
    form = "%H:%M:%S UTC" if then.date() == today.date() else "%Y-%m-%d %H:%M:%S UTC"
    return f"{then:{form}}"


def _relative(seconds: float) -> str:
    if abs(seconds) < 1:
        return "in a moment" if seconds > 0 else "just now"
    return relative_text(seconds)


def past(at: float | None, now: float) -> str:
    return "a moment that is not known" if at is None else moment(min(at, now), now)


def soon(seconds: float) -> str:
    """How far away that is, where a part of a second tells something: `in 0.4 s`, `in 2 min`."""
    return f"in {seconds:.2g} s" if seconds < 9.95 else relative_text(seconds)


def short(text: str) -> str:
    """The text on one line, the beginning of a long one."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def as_word(text: str) -> str:
    """The text as a shell takes it for one word, on one line."""
    line = short(text)
    is_plain = line.isascii() and line.replace("-", "_").replace(".", "_").isidentifier()
    return line if is_plain else "'" + line.replace("'", "'\\''") + "'"


def listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def named_jobs(ids: Sequence[int], most: int | None = None) -> str:
    """These jobs, the first of many by their ids; where they are `most`, there may be more.

    >>> [named_jobs(ids, most=9) for ids in ([7], [7, 3], range(8), range(9))]
    ['job 7', 'jobs 3 and 7', 'jobs 0, 1, 2, 3, 4 and 3 more', 'jobs 0, 1, 2, 3, 4 and at least 4 more']
    """
    first, more = sorted(ids)[:_MOST_NAMED], len(ids) - _MOST_NAMED
    named = [str(id) for id in first]
    if more > 0:
        named.append(f"{more:,} more" if len(ids) != most else f"at least {more:,} more")
    return f"job{'s' if len(ids) > 1 else ''} {listed(named)}"
