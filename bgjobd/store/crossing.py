"""What becomes of a row that goes from one database into another, and what tells whether all of them arrived; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

MOVED: Final = "moved"
"""The property of a copy that says how it was made; it goes nowhere."""

NO_NUL: Final = "\ufffd"
"""What a database has for a NUL whose texts cannot have one."""

Row = tuple[Any, ...]
Sum = tuple[int, str]
"""How many rows, and a digest of all of them in their order."""

Rule = Callable[["Crossing", dict[str, Any]], dict[str, Any] | None]


@dataclass(slots=True)
class Crossing:
    """From where to where: `has_nul`, whether the texts there may have one; `loses_hosts`: there is one host alone, and
    no row of it; `host` is the host there of which is what was of none so far: attempts that go on, schedules of the
    configuration.

    `nul` counts the texts that lost a NUL, by table and column.
    """

    has_nul: bool
    loses_hosts: bool
    host: int | None = None
    nul: Counter[str] = field(default_factory=Counter)

    def of_table(self, table: str, columns: Sequence[str]) -> Callable[[Row], Row | None]:
        """What makes a row there of one here; None: it stays behind."""
        rule = _RULES.get(table)

        def crossed(row: Row) -> Row | None:
            if rule is not None:
                kept = rule(self, dict(zip(columns, row, strict=True)))
                if kept is None:
                    return None
                row = tuple(kept.values())
            return row if self.has_nul else self._without_nul(table, columns, row)

        return crossed

    def _without_nul(self, table: str, columns: Sequence[str], row: Row) -> Row:
        if not any(isinstance(value, str) and "\0" in value for value in row):
            return row
        for name, value in zip(columns, row, strict=True):
            self.nul[f"{table}.{name}"] += isinstance(value, str) and "\0" in value
        return tuple(value.replace("\0", NO_NUL) if isinstance(value, str) else value for value in row)


def sum_of(table: str, columns: Sequence[str], rows: Iterable[Row]) -> Sum:
    """What rows come to, without what only says that they are a copy."""
    digest = Digest()
    is_word = table == "properties"
    for row in rows:
        if not (is_word and row[columns.index("name")] == MOVED):
            digest.add(row)
    return digest.sum


class Digest:
    """Of rows, one after the other."""

    def __init__(self) -> None:
        self._rows = 0
        self._hash = blake2b(digest_size=16)

    def add(self, row: Row) -> None:
        self._rows += 1
        # -0.0 is not kept by all.
        plain = [value + 0.0 if isinstance(value, float) else value for value in row]
        self._hash.update(repr(plain).encode("utf-8", "surrogatepass"))

    @property
    def sum(self) -> Sum:
        return self._rows, self._hash.hexdigest()


def _property(_: Crossing, row: dict[str, Any]) -> dict[str, Any] | None:
    return None if row["name"] == MOVED else row


def _host(crossing: Crossing, row: dict[str, Any]) -> dict[str, Any] | None:
    return None if crossing.loses_hosts else row


def _attempt(crossing: Crossing, row: dict[str, Any]) -> dict[str, Any]:
    if crossing.loses_hosts:
        return row | {"host": None, "hook_host": None}
    if crossing.host is not None and row["outcome"] is None:
        return row | {"host": crossing.host}
    return row


def _schedule(crossing: Crossing, row: dict[str, Any]) -> dict[str, Any]:
    """One of no host's any host ends whose configuration has it not."""
    if crossing.loses_hosts:
        return row | {"set_by": None}
    if crossing.host is not None and row["uid"] is None and row["removed_at"] is None:
        return row | {"set_by": crossing.host}
    return row


def _consequence(crossing: Crossing, row: dict[str, Any]) -> dict[str, Any] | None:
    """What follows from the loss of a host does so at a start: its attempts are of another life."""
    return None if crossing.loses_hosts and row["of"] == "host" else row


_RULES: Final[dict[str, Rule]] = {
    "properties": _property,
    "hosts": _host,
    "job_attempts": _attempt,
    "schedules": _schedule,
    "consequences": _consequence,
}
