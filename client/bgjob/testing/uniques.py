"""Unique keys: which job holds one, and what another submission with it comes to; nothing runs here."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import DuplicateError
from bgjob.testing.submissions import Submission, instant, try_seconds
from bgjob.words import IfHeld, Status, UniqueWhile

Key = tuple[str, str, str]
"""A key, which counts within its class and method."""


class _Holding(NamedTuple):
    """Who holds a key since it had so many attempts, until a time at least."""

    row: JsonObject
    attempts: int
    until: float = 0.0


class Earlier(NamedTuple):
    """A job that a submission gets in the place of a new one, and whether it takes that one's place itself."""

    row: JsonObject
    is_replaced: bool = False


class Uniques:
    """Who holds which key; whoever has ended, or begun, is found to hold it no more when it is asked for."""

    def __init__(self) -> None:
        self._holdings: dict[Key, _Holding] = {}
        self._while: dict[int, str] = {}

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """What is taken meanwhile stays taken, unless something is refused."""
        earlier = dict(self._holdings)
        try:
            yield
        except BaseException:
            self._holdings = earlier
            raise

    def try_held(self, wanted: Submission, index: int) -> Earlier | None:
        """Who has the key that a submission asks for. Raises DuplicateError."""
        row = self._holder(wanted.unique_key)
        if row is None:
            return None
        if_held = wanted.options.get("if_held")
        if if_held == IfHeld.REFUSE:
            raise DuplicateError(id=row["id"], index=index)
        has_done = row["attempts"] or row["steps"]
        is_fresh = row["status"] == Status.PENDING and not has_done and row["takes"] is None
        is_bare = not (wanted.ties.after or wanted.ties.takes or wanted.ties.group)
        return Earlier(row, if_held == IfHeld.REPLACE and is_fresh and is_bare)

    def check_free(self, wanted: Submission, source: JsonObject) -> None:
        """Have the key free of the job whose call runs again. Raises DuplicateError where it is another's."""
        row = self._holder(wanted.unique_key)
        if row is not None and row is not source:
            raise DuplicateError(id=row["id"])
        if row is not None and wanted.unique_key is not None:
            del self._holdings[wanted.unique_key]

    def while_of(self, row: JsonObject) -> str | None:
        """As what it has its key."""
        return self._while.get(row["id"])

    def take(self, wanted: Submission, row: JsonObject) -> None:
        """Have the job hold the key that its submission asks for, if any."""
        if wanted.unique_key is None:
            return
        self._while[row["id"]] = wanted.options.get("unique_while") or UniqueWhile.UNFINISHED
        until = time.time() + (wanted.options.get("unique_for") or 0.0)
        before = self._holdings.get(wanted.unique_key)
        if before is not None and before.row is row:  # whose place the submission takes
            until = max(until, before.until)
        self._holdings[wanted.unique_key] = _Holding(row, len(row["attempts"]), until)

    def take_again(self, rows: Collection[JsonObject]) -> None:
        """Have jobs that are to run again hold their keys. Raises DuplicateError."""
        taken: dict[Key, _Holding] = {}
        for row in rows:
            key = _key_of(row)
            if key is None:
                continue
            holder = taken[key].row if key in taken else self._holder(key)
            if holder is not None and holder is not row:
                raise DuplicateError(id=holder["id"])
            if holder is None:
                taken[key] = _Holding(row, len(row["attempts"]))
        self._holdings |= taken

    def _holder(self, key: Key | None) -> JsonObject | None:
        holding = None if key is None else self._holdings.get(key)
        if holding is None:
            return None
        row, is_kept = holding.row, holding.until > time.time()
        is_unfinished = row["status"] in (Status.PENDING, Status.RUNNING)
        has_begun = len(row["attempts"]) > holding.attempts
        if self._while[row["id"]] == UniqueWhile.PENDING and has_begun:
            is_unfinished = False
        return row if is_kept or is_unfinished else None


def replace(row: JsonObject, by: Submission) -> None:
    """Have a pending job be what another submission asks for; `at_latest` bounds how long it is put off."""
    new = by.row(row["id"])
    kept = {name: row[name] for name in _KEPT}
    row.update({**new, **kept})
    at, at_latest = try_seconds(row["scheduled_at"] or ""), by.options.get("at_latest")
    created_at = try_seconds(row["created_at"])
    if at is not None and at_latest is not None and created_at is not None:
        row["scheduled_at"] = instant(min(at, created_at + at_latest))


_KEPT: Final = (
    *("created_at", "idempotency_key", "schedule", "occurrence", "group_id", "if_failed"),
    *("is_blocked", "waits_for", "attempts"),
)


def _key_of(row: JsonObject) -> Key | None:
    key = row["unique_key"]
    return None if key is None else (row["class_name"], row["method_name"], key)
