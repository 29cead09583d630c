"""The SQL of an outbox, for SQLite and PostgreSQL, and its table; who executes it is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bgjob.outbox.rows import KEY_TAKEN, PORTION, TABLE, Row
from bgjob.outbox.steps import (
    Again,
    CountWaiting,
    Delete,
    FindOtherTable,
    Place,
    Refusal,
    TakeBehind,
    TakeKeys,
    TakeLeft,
    Turn,
    Wanted,
)

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


class Statement(NamedTuple):
    """SQL with a question mark for each of its values."""

    sql: str
    values: tuple[Any, ...] = ()


class Dialect(NamedTuple):
    """What two databases differ in. `has_row_locks`: a row can be taken, so that others leave it. `of_backend` gives a
    row where the table is Django's, which has that column.
    """

    name: str
    has_row_locks: bool
    of_backend: Statement

    def instant(self, at: datetime) -> Any:
        """As `created_at` has it; SQLite has no type for it, so a text, as Django and SQLAlchemy write it."""
        return at if self.has_row_locks else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"

    def insert(self, row: Row, at: datetime) -> Statement:
        values = (row.key, row.request, self.instant(at))
        return Statement(f"INSERT INTO {TABLE} (key, request, created_at) VALUES (?, ?, ?)", values)

    def said(self, step: Wanted | Turn) -> Statement | Turn:
        """The statement for what is wanted; turns are the connection's to take."""
        match step:
            case Turn():
                return step
            case TakeKeys(keys):
                return self._taken("key, request", f"key IN ({_marks(keys)})", tuple(keys))
            case TakeLeft(before, after, place):
                left = (self.instant(before), self.instant(after))
                return self._behind(place, "(created_at < ? OR created_at > ?)", left)
            case TakeBehind(place):
                return self._behind(place, "1 = 1", ())
            case Delete(keys):
                return Statement(f"DELETE FROM {TABLE} WHERE key IN ({_marks(keys)})", tuple(keys))
            case Refusal(key, why):
                return Statement(f"UPDATE {TABLE} SET refused = ? WHERE key = ?", (why, key))
            case Again(keys):
                which = f"key IN ({_marks(keys)})" if keys else "refused NOT LIKE ?"
                sql = f"UPDATE {TABLE} SET refused = NULL WHERE refused IS NOT NULL AND {which} RETURNING key"
                return Statement(sql, tuple(keys) or (f"{KEY_TAKEN}%",))
            case CountWaiting():
                return Statement(f"SELECT count(*) FROM {TABLE} WHERE refused IS NULL")
            case FindOtherTable():
                return self.of_backend

    def _behind(self, place: Place | None, where: str, values: tuple[Any, ...]) -> Statement:
        if place is not None:
            at = "CAST(CAST(? AS text) AS timestamptz)" if self.has_row_locks else "?"
            where, values = f"{where} AND (created_at, key) > ({at}, ?)", (*values, *place)
        return self._taken("key, request, CAST(created_at AS text)", where, values)

    def _taken(self, columns: str, where: str, values: tuple[Any, ...]) -> Statement:
        lock = " FOR UPDATE SKIP LOCKED" if self.has_row_locks else ""
        sql = f"SELECT {columns} FROM {TABLE} WHERE {where} AND refused IS NULL"
        return Statement(f"{sql} ORDER BY created_at, key LIMIT {PORTION}{lock}", values)


SQLITE: Final = Dialect(
    "sqlite",
    has_row_locks=False,
    of_backend=Statement(f"SELECT 1 FROM pragma_table_info('{TABLE}') WHERE name = 'backend'"),
)
POSTGRESQL: Final = Dialect(
    "postgresql",
    has_row_locks=True,
    of_backend=Statement(
        f"SELECT 1 FROM pg_attribute WHERE attrelid = to_regclass('{TABLE}') AND attname = 'backend'"
    ),
)
DIALECTS: Final[Mapping[str, Dialect]] = {one.name: one for one in (SQLITE, POSTGRESQL)}

EVERY_ROW: Final = Statement(
    f"SELECT key, request, CAST(created_at AS text), refused FROM {TABLE} ORDER BY created_at, key"
)


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
