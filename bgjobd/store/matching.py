"""Which jobs a wish about many of them is about: found by an index, in portions, those first that others come after.

A portion is only looked up here; whether its jobs are still so is decided with the wish, in `many`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.filters import BY_INDEX
from bgjob.words import Status
from bgjobd.core.many import USUAL, WORDS, Wish
from bgjobd.store.engines import Connection
from bgjobd.store.filters import JobFilter
from bgjobd.store.pages.matched import oldest_first
from bgjobd.store.pages.walks import RowPlace

AT_ONCE: Final = 5000
"""Rows that one look counts."""


def about(wanted: JobFilter, wish: Wish) -> JobFilter:
    """The filter with the statuses that it is about. Raises InvalidParameterError where jobs of such a status cannot
    be asked that, or nothing narrows it down that an index has.
    """
    if all(getattr(wanted, name) is None for name in BY_INDEX):
        raise InvalidParameterError(parameter="filter")
    status = USUAL[wish] if wanted.status is None else wanted.status
    for place, word in enumerate(status):
        if word not in WORDS[wish]:
            raise InvalidParameterError(parameter=f"filter.status.{place}")
    return replace(wanted, status=status)


class Row(NamedTuple):
    """A job that matches; `at` is when it ended, or was submitted where it has not."""

    id: int
    class_name: str
    status: str
    max_retries: int
    at: str


@dataclass(slots=True)
class Matched:
    """What the jobs that match add up to."""

    count: int = 0
    running: int = 0
    at_most_once: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    careful: Counter[str] = field(default_factory=Counter)
    """Those of each class that may be tried no more than once."""

    oldest: str | None = None
    newest: str | None = None

    def add(self, rows: Sequence[Row]) -> None:
        """Count these, too."""
        for row in rows:
            self.classes[row.class_name] += 1
            self.running += row.status == Status.RUNNING
            if row.max_retries == 0:
                self.careful[row.class_name] += 1
                self.at_most_once += 1
            self.oldest = row.at if self.oldest is None else min(self.oldest, row.at)
            self.newest = row.at if self.newest is None else max(self.newest, row.at)
        self.count += len(rows)

    def as_json(self) -> JsonObject:
        """As it is told: classes with the most of them first."""
        named = sorted(self.classes.items(), key=lambda one: (-one[1], one[0]))
        return {
            "count": self.count,
            "running": self.running,
            "at_most_once": self.at_most_once,
            "classes": [
                {"class_name": name, "count": count, "at_most_once": self.careful[name]}
                for name, count in named
            ],
            "oldest": self.oldest,
            "newest": self.newest,
        }


def portion(
    connection: Connection, wanted: JobFilter, as_of: str, behind: RowPlace | None, limit: int, now: float
) -> tuple[list[Row], RowPlace | None]:
    """Some of these that had ended, or were submitted, by the stored instant `as_of`: those behind a place, and from
    where to go on, None at the end.

    Those for review are not among them. Where all have ended they come in the order of their ends, else of their ids:
    what others come after is before them.
    """
    rows, following = oldest_first(connection, wanted, as_of, behind, limit, now)
    return [Row(*row) for row in rows], following
