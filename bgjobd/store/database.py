"""Opening the SQLite file: the one place that knows its name, its pragmas and its modes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peewee import DatabaseError, SqliteDatabase

from bgjobd.store.functions import register
from bgjobd.store.migrations import migrate

FILE_NAME: Final = "bgjobd.db"
_BUSY_TIMEOUT: Final = 2.0


class UnusableDatabaseError(Exception):
    """The file cannot be opened or brought to the newest schema."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(
            f"the database {path} cannot be used: {reason}; "
            f"move it aside, or restore a copy from {path.parent / 'backups'}"
        )


def prepare(state_dir: Path) -> None:
    """Create the file, or bring it to the newest schema. Raises UnusableDatabaseError, SchemaTooNewError."""
    path = state_dir / FILE_NAME
    try:
        database = open_for_writing(state_dir)
        try:
            migrate(database, path)
        finally:
            database.close()
    except DatabaseError as error:
        raise UnusableDatabaseError(path, error) from error


def open_for_writing(state_dir: Path) -> SqliteDatabase:
    """The writer's connection: write-ahead log, and every commit on disk before it is told to anybody."""
    database = SqliteDatabase(
        str(state_dir / FILE_NAME),
        timeout=_BUSY_TIMEOUT,
        pragmas={"journal_mode": "wal", "synchronous": "full", "foreign_keys": 0, "cache_size": -4000},
        thread_safe=False,
        check_same_thread=False,
    )
    register(database)
    database.connect()
    return database


def open_for_reading(state_dir: Path) -> SqliteDatabase:
    """A connection that cannot write, for queries off the loop."""
    database = SqliteDatabase(
        f"{(state_dir / FILE_NAME).absolute().as_uri()}?mode=ro",
        timeout=_BUSY_TIMEOUT,
        pragmas={"query_only": 1, "cache_size": -2000},
        uri=True,
        thread_safe=False,
        check_same_thread=False,
    )
    register(database)
    database.connect()
    return database
