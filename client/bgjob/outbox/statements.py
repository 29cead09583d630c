"""The SQL of an outbox, for SQLite and PostgreSQL, and its table; who executes it is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bgjob.outbox.rows import PORTION, TABLE, Row

DDL: Final[Mapping[str, str]] = {
    "sqlite": f"""\
CREATE TABLE {TABLE} (
    key text NOT NULL PRIMARY KEY,
    request text NOT NULL,
    created_at text NOT NULL,
    refused text
);
CREATE INDEX {TABLE}_created_at ON {TABLE} (created_at, key);
""",
    "postgresql": f"""\
CREATE TABLE {TABLE} (
    key varchar(32) NOT NULL PRIMARY KEY,
    request text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    refused text
);
CREATE INDEX {TABLE}_created_at ON {TABLE} (created_at, key);
""",
}
"""What makes the table, by database."""

Place = tuple[Any, str]
"""`created_at`, as the database has it, and key of a row."""


class Statement(NamedTuple):
    """SQL with a question mark for each of its values."""

    sql: str
    values: tuple[Any, ...] = ()


class Dialect(NamedTuple):
    """What two databases differ in. `has_row_locks`: a row can be taken, so that others leave it."""

    name: str
    has_row_locks: bool

    def instant(self, at: datetime) -> Any:
        """As `created_at` has it; SQLite has no type for it, so a text, as Django and SQLAlchemy write it."""
        return at if self.has_row_locks else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"

    def insert(self, row: Row, at: datetime) -> Statement:
        values = (row.key, row.request, self.instant(at))
        return Statement(f"INSERT INTO {TABLE} (key, request, created_at) VALUES (?, ?, ?)", values)

    def of_keys(self, keys: Sequence[str]) -> Statement:
        """Those of these rows that are there and not refused: key and request."""
        return self._taken("key, request", f"key IN ({_marks(keys)})", tuple(keys))

    def older(self, than: datetime) -> Statement:
        """The oldest of those that have stayed: key and request."""
        return self._taken("key, request", "created_at < ?", (self.instant(than),))

    def behind(self, place: Place | None) -> Statement:
        """A portion of all, the oldest first: key, request and `created_at`."""
        where, values = ("1 = 1", ()) if place is None else ("(created_at, key) > (?, ?)", place)
        return self._taken("key, request, created_at", where, values)

    def _taken(self, columns: str, where: str, values: tuple[Any, ...]) -> Statement:
        """Rows to submit, as many as are read at a time; where there are locks, nobody else gets them."""
        lock = " FOR UPDATE SKIP LOCKED" if self.has_row_locks else ""
        sql = f"SELECT {columns} FROM {TABLE} WHERE {where} AND refused IS NULL"
        return Statement(f"{sql} ORDER BY created_at, key LIMIT {PORTION}{lock}", values)


SQLITE: Final = Dialect("sqlite", has_row_locks=False)
POSTGRESQL: Final = Dialect("postgresql", has_row_locks=True)
DIALECTS: Final[Mapping[str, Dialect]] = {one.name: one for one in (SQLITE, POSTGRESQL)}

WAITING: Final = Statement(f"SELECT count(*) FROM {TABLE} WHERE refused IS NULL")

EVERY_ROW: Final = Statement(
    f"SELECT key, request, created_at, refused FROM {TABLE} ORDER BY created_at, key"
)


def delete(keys: Sequence[str]) -> Statement:
    return Statement(f"DELETE FROM {TABLE} WHERE key IN ({_marks(keys)})", tuple(keys))


def refuse(key: str, why: str) -> Statement:
    return Statement(f"UPDATE {TABLE} SET refused = ? WHERE key = ?", (why, key))


def again(key: str | None) -> Statement:
    """Have rows that were refused be submitted again: this one, or all. It answers their keys."""
    where, values = ("", ()) if key is None else (" AND key = ?", (key,))
    sql = f"UPDATE {TABLE} SET refused = NULL WHERE refused IS NOT NULL{where} RETURNING key"
    return Statement(sql, values)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
