"""The SQLite file as an engine, and what its writer minds: that it is in its place, and has room."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peewee import DatabaseError
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it

from bgjobd.store import database as of_file
from bgjobd.store.database import (
    FILE_NAME,
    SqliteFile,
    UnusableDatabaseError,
    open_for_reading,
    open_for_writing,
    size_of,
)
from bgjobd.store.engines import Database, Engine, Looked, OldSnapshot, Place
from bgjobd.store.migrations import STEPS, SchemaTooNewError
from bgjobd.store.whereabouts import MovedError, Whereabouts

VERSION: Final = sqlite3.sqlite_version_info
"""Of the library that this Python has."""

_SILENCE: Final = (
    "it has not answered for {:.0f} s: its file system is frozen, as by fsfreeze(8), or its disk hangs; thaw it, or "
    "see what the kernel says of the disk (`dmesg`)"
)
_ROOM: Final = 256 * 1024
"""Bytes that the disk must take for trouble to be over, so that it isn't over for the smallest of writes alone."""


def engine_at(place: Place) -> Engine:
    """The engine of what is there: of a state directory the one of its file."""
    return Sqlite(place) if isinstance(place, Path) else place


@contextmanager
def errors_named(place: Place) -> Iterator[None]:
    """For those who ask the database from outside: its errors are UnusableDatabaseError meanwhile.

    Also those that SQLite finds only while rows are fetched, which peewee leaves as they are.
    """
    try:
        with as_peewees_own:
            yield
    except DatabaseError as error:
        raise engine_at(place).unusable(error) from error


@dataclass(frozen=True, slots=True)
class Sqlite:
    """The file in a state directory."""

    state_dir: Path

    @property
    def may_go_back(self) -> bool:
        """A file that is put in its place is another one, and noticed."""
        return False

    @property
    def name(self) -> str:
        return str(self.state_dir / FILE_NAME)

    @property
    def is_shared(self) -> bool:
        return False

    def prepare(self, on_progress: Callable[[], None]) -> bool:
        return of_file.prepare(self.state_dir, on_progress)

    def open_for_writing(self) -> SqliteFile:
        return open_for_writing(self.state_dir, may_make=False)

    def open_for_reading(self, is_patient: bool = False) -> SqliteFile:
        return open_for_reading(self.state_dir)

    def ground(self) -> OfFile:
        return OfFile(self.state_dir)

    def time(self) -> None:
        """The machine's own is as good."""

    def listen(
        self, on_text: Callable[[str], None], on_look: Callable[[Looked], None], greeting: str, beat: float
    ) -> None:
        """Nobody else writes."""

    def size(self, database: Database) -> int:
        """With its write-ahead log."""
        return sum(size_of(path) for path in (self.name, f"{self.name}-wal"))

    def oldest_snapshot(self, database: Database) -> OldSnapshot | None:
        return None

    def unusable(self, reason: object) -> UnusableDatabaseError:
        return of_file.unusable(self.state_dir / FILE_NAME, reason)

    def version(self, database: Database) -> int:
        return int(database.execute_sql("PRAGMA user_version").fetchone()[0])

    def too_new(self, found: int) -> SchemaTooNewError:
        return SchemaTooNewError(self.state_dir / FILE_NAME, found, len(STEPS))

    @property
    def silence(self) -> str:
        return _SILENCE

    def is_trouble(self, error: Exception) -> bool:
        return of_file.is_trouble(error)

    def is_away(self, error: Exception) -> bool:
        """A file is there, or it is damage, of which the log is to tell."""
        return False

    def is_passing(self, error: Exception) -> bool:
        """Nobody else writes."""
        return False


class OfFile(Whereabouts):
    """Where the file is, and the disk that it is on."""

    def __init__(self, state_dir: Path) -> None:
        super().__init__(state_dir)
        self._state_dir = state_dir

    def prove_room(self) -> None:
        _prove_room(self._state_dir)

    def rest(self, database: Database) -> None:
        """Read: else the next reader would have to note, in memory that is a file, what it reads up to, and where the
        file system is frozen it would wait for that.
        """
        with suppress(DatabaseError, sqlite3.Error):
            database.connection().execute("SELECT 1 FROM properties LIMIT 1").fetchall()

    def is_let_go(self, database: Database, error: Exception) -> bool:
        """Not where whoever reads a moment too long keeps the file from taking what its log has."""
        return not isinstance(error, MovedError) or self._fold_log(database)

    def leave(self) -> None:
        """Have it take what its log has, for whoever copies the file alone: SQLite leaves the log as it is where the
        last to close was one that cannot write.
        """
        with suppress(OSError, DatabaseError, UnusableDatabaseError):
            self.check()
            open_for_writing(self._state_dir, may_make=False).close()

    def _fold_log(self, database: Database) -> bool:
        """Have the database itself take what its log has, and empty the log, while both are open; whether that is done.

        Nobody may find them together again; and beside another database a log would be taken for that one's.
        """
        with suppress(DatabaseError, sqlite3.Error):
            (is_held_up, *_) = database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_held_up
        return True  # there is nothing to be had of it any more


def _prove_room(state_dir: Path) -> None:
    """Have the disk take some bytes, without a name and without use. Raises OSError."""
    with tempfile.TemporaryFile(buffering=0, dir=state_dir) as file:
        if file.write(bytes(_ROOM)) < _ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
