"""What a flush asks of a database, by name: each of these is said in its language elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

Place: TypeAlias = tuple[Any, str]
"""`created_at`, as the database takes it back, and key of a row."""


class Turn(Enum):
    """What is asked of a transaction."""

    BEGIN = "begin a transaction, where it does not by itself"
    COMMIT = "commit"
    ROLL_BACK = "roll back"


class TakeKeys(NamedTuple):
    """Those of these rows that are there and not refused: key and request."""

    keys: Sequence[str]


class TakeLeft(NamedTuple):
    """The oldest, behind this place if there is one, of those that were written before or will be after: key, request
    and `created_at`.
    """

    before: datetime
    after: datetime
    place: Place | None


class TakeBehind(NamedTuple):
    """The oldest behind this place, or of all: key, request and `created_at`."""

    place: Place | None


class Delete(NamedTuple):
    """Rows that are jobs by now."""

    keys: Sequence[str]


class Refusal(NamedTuple):
    """A row that the daemon refuses for good, and why."""

    key: str
    why: str


class Again(NamedTuple):
    """Of rows that were refused, these, or if there are none all that time may mend, are so no more: their keys."""

    keys: Sequence[str]


class CountWaiting(NamedTuple):
    """How many are not refused."""


class FindOtherTable(NamedTuple):
    """A row where the table is another's, whose rows are for more than one daemon."""


Take: TypeAlias = TakeKeys | TakeLeft | TakeBehind
"""Rows to submit, as many as are read at a time, the oldest first; where there are locks, nobody else gets them."""

Wanted: TypeAlias = Take | Delete | Refusal | Again | CountWaiting | FindOtherTable
"""Answered by rows."""
