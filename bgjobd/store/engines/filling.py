"""What a database is told, and tells, while all of it is copied into another one: counters of ids, locks, emptiness.

It is no statement of both engines alike; what is, stands beside who copies.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

from bgjobd.store.database import SqliteFile
from bgjobd.store.engines import Database
from bgjobd.store.server_look import known_hosts

_MIGRATION_LOCK: Final = 0x62676A6F01
"""The advisory lock of who changes the schema: no daemon starts while somebody else has it."""

_SEQUENCES: Final[Mapping[str, str]] = {
    "background_jobs": "job_ids",
    "job_groups": "group_ids",
    "hosts": "host_ids",
    "error_groups": "error_ids",
    "alerts": "alert_ids",
    "changes": "change_ids",
}
"""By the table that they count the ids of; those tables are SQLite's AUTOINCREMENT."""


class Filling(Protocol):
    """A database that is copied from, or into; in a transaction that has begun, where nothing else is said."""

    is_shared: bool
    """Whether several hosts may work from it."""

    has_nul: bool
    """Whether its texts may have a NUL."""

    def take_time(self) -> None:
        """From now on no statement, and no transaction, is ended because it takes long. Outside a transaction."""

    def hold(self) -> bool:
        """Have no daemon start meanwhile; False: somebody else has it so already, or this database has us twice."""

    def now(self) -> float:
        """By its own clock, in seconds since the epoch."""

    def others(self, own: str) -> list[str]:
        """The names of the other hosts that live."""

    def has_mail(self) -> bool:
        """Whether applications have sent what is no job yet."""

    def counters(self) -> Mapping[str, int]:
        """By table the newest id that was ever given."""

    def set_counters(self, newest: Mapping[str, int]) -> None:
        """No id up to these is given any more."""

    def empty(self) -> None:
        """Nothing is left in any table, whatever they are for."""


def filling_of(database: Database) -> Filling:
    """By what it is."""
    return _OfFile(database) if isinstance(database, SqliteFile) else _OfServer(database)


class _OfFile:
    is_shared = False
    has_nul = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def take_time(self) -> None: ...

    def hold(self) -> bool:
        return True  # by the lock on its directory

    def now(self) -> float:
        return time.time()

    def others(self, own: str) -> list[str]:
        return []

    def has_mail(self) -> bool:
        return False

    def counters(self) -> Mapping[str, int]:
        return dict(self._database.execute_sql("SELECT name, seq FROM sqlite_sequence").fetchall())

    def set_counters(self, newest: Mapping[str, int]) -> None:
        self._database.execute_sql("DELETE FROM sqlite_sequence")
        for counter in newest.items():
            self._database.execute_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", counter)

    def empty(self) -> None:
        tables = self._database.execute_sql(_TABLES_OF_FILE).fetchall()
        for (table,) in tables:
            self._database.execute_sql(f'DELETE FROM "{table}"')


class _OfServer:
    is_shared = True
    has_nul = False

    def __init__(self, database: Database) -> None:
        self._run = database.connection().run

    def take_time(self) -> None:
        self._run(_NO_TIMEOUTS).fetchall()

    def hold(self) -> bool:
        return bool(self._one(f"SELECT pg_try_advisory_xact_lock({_MIGRATION_LOCK})"))

    def now(self) -> float:
        return float(self._one("SELECT extract(epoch FROM clock_timestamp())::double precision"))

    def others(self, own: str) -> list[str]:
        return [host.name for host in known_hosts(self._run) if host.lives and host.uuid != own]

    def has_mail(self) -> bool:
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM inbox)"))

    def counters(self) -> Mapping[str, int]:
        newest = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM"
        return {table: int(self._one(f"{newest} {name}")) for table, name in _SEQUENCES.items()}

    def set_counters(self, newest: Mapping[str, int]) -> None:
        for table, name in _SEQUENCES.items():
            last = newest.get(table, 0)
            self._run(f"SELECT setval('{name}', {max(last, 1)}, {last > 0})")

    def empty(self) -> None:
        tables = [name for (name,) in self._run(_TABLES_OF_SERVER).fetchall()]
        self._run(f"TRUNCATE {', '.join(tables)}")

    def _one(self, statement: str) -> Any:
        return self._run(statement).fetchone()[0]


_NO_TIMEOUTS: Final = """
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN
        ('statement_timeout', 'idle_in_transaction_session_timeout', 'lock_timeout', 'transaction_timeout')
"""
_TABLES_OF_FILE: Final = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
_TABLES_OF_SERVER: Final = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname = current_schema() AND tablename <> 'schema_version'
"""
