"""A page: what was found and from where to go on, no more than so many rows and bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from bgjob.codec import JsonObject, to_json

PAGE: Final = 50
BUDGET: Final = 0.04
"""How many a page has, and how many seconds are spent looking for them, unless told otherwise."""

MOST_BYTES: Final = 1024 * 1024
"""How large a page may be, about; one row is on it however large that is."""


@dataclass(frozen=True, slots=True)
class Page:
    """What was found, and the key from which to go on; None at the end.

    `is_complete` is False where the time was up first: then the page may be short, or empty, and `next` is how
    far it was looked. `total` is how many there are on all pages, if that was asked and is known. `next_at` is the
    instant that goes with `next` where the order is that of ends.
    """

    rows: list[JsonObject]
    next: int | None
    is_complete: bool = True
    total: int | None = None
    next_at: str | None = None


def in_pages(rows: Iterable[JsonObject]) -> Iterator[list[JsonObject]]:
    """The rows in lists that are no larger than a page."""
    part: list[JsonObject] = []
    size = 0
    for row in rows:
        more = size_of(row)
        if part and size + more > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += more
    if part:
        yield part


def size_of(row: JsonObject | tuple[Any, ...]) -> int:
    """How many bytes of a reply the row takes, about."""
    return len(to_json(row).encode())


class Found:
    """The rows of a page, until there is one too many for it: that one tells that there are more."""

    def __init__(self, limit: int) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._limit = limit
        self._size = 0

    @property
    def is_full(self) -> bool:
        return len(self.rows) > self._limit or (self._size > MOST_BYTES and len(self.rows) > 1)

    @property
    def room(self) -> int:
        return self._limit + 1 - len(self.rows)

    def add(self, row: tuple[Any, ...]) -> None:
        self.rows.append(row)
        self._size += size_of(row)
