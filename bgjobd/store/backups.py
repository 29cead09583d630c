"""Copies of the database: made while it is written to, looked through, and put in place whole.

A copy says that it is one, for the daemon that finds it in the database's place.
"""

from __future__ import annotations

import errno
import os
import secrets
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from peewee import DatabaseError

from bgjobd.host.clock import to_text
from bgjobd.store.database import FILE_NAME, check_log, open_for_reading, unusable
from bgjobd.store.migrations import COPIED_AT

_PAGES_AT_ONCE: Final = 4096
_WITHOUT_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What file systems answer that have no hard links: those of memory sticks and of some networks."""

_SELECT_TABLES: Final = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"


class UnsoundCopyError(Exception):
    """What was copied is not what was to be copied; the copy is removed."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"the copy of {path} is not sound: {what}; it is removed. Look at the disk, and at the database "
            "with `bgjobd check --books`"
        )


def usual_place(state_dir: Path, now: float) -> Path:
    """Where a backup goes that has no name of its own."""
    stamp = to_text(now).partition(".")[0].replace("-", "").replace(":", "")
    return state_dir / "backups" / f"{Path(FILE_NAME).stem}-{stamp}Z.db"


def back_up(state_dir: Path, target: Path, may_replace: bool = False) -> int:
    """Copy the database to this path, whoever writes it meanwhile; the copy's bytes.

    Raises FileExistsError, UnsoundCopyError, UnusableDatabaseError, OSError. Then nothing is there that was not before.
    """
    if not may_replace and os.path.lexists(target):
        raise _taken(target)
    new = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    try:
        _copy(state_dir, new)
        return _put_in_place(new, target, may_replace)
    finally:
        # SQLite's own files stay where it could not end its work.
        for what in ("", "-journal", "-wal", "-shm"):
            new.with_name(new.name + what).unlink(missing_ok=True)


def _copy(state_dir: Path, new: Path) -> None:
    path = state_dir / FILE_NAME
    check_log(state_dir)
    try:
        source = open_for_reading(state_dir)
        try:
            with closing(sqlite3.connect(new, isolation_level=None)) as copy:
                _copy_at_one_moment(source.connection(), copy, path)
        finally:
            source.close()
    except (DatabaseError, sqlite3.DatabaseError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:  # for the database is only read
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(new.parent)) from error
        raise unusable(path, error) from error


def _copy_at_one_moment(source: sqlite3.Connection, copy: sqlite3.Connection, path: Path) -> None:
    """The copy is of the moment at which it begins: one that followed the writer would begin anew with each commit."""
    source.execute("BEGIN")
    try:
        counts = _counts(source)
        source.backup(copy, pages=_PAGES_AT_ONCE)
    finally:
        source.execute("ROLLBACK")
    copy.execute("PRAGMA journal_mode = DELETE")  # one file, that needs no other beside it
    found = [str(line) for (line,) in copy.execute("PRAGMA integrity_check(10)")]
    if found != ["ok"]:
        raise UnsoundCopyError(path, "; ".join(found))
    if _counts(copy) != counts:
        raise UnsoundCopyError(path, f"it has {_counts(copy)} rows, and not {counts}")
    copy.execute("INSERT OR REPLACE INTO properties VALUES (?, ?)", (COPIED_AT, to_text(time.time())))


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    tables = [table for (table,) in connection.execute(_SELECT_TABLES)]
    return {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


def _put_in_place(new: Path, target: Path, may_replace: bool) -> int:
    sync(new, os.O_RDWR)
    size = new.stat().st_size
    if may_replace:
        new.replace(target)
    else:
        try:
            _rename_to_free_name(new, target)
        except FileExistsError:
            raise _taken(target) from None
    sync(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    return size


def _rename_to_free_name(new: Path, target: Path) -> None:
    """A rename alone would take another file's place."""
    try:
        os.link(new, target)
    except OSError as error:
        if error.errno not in _WITHOUT_LINKS:
            raise
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        new.replace(target)
    else:
        new.unlink()


def _taken(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def sync(path: Path, mode: int) -> None:
    """Have a file, or the names in a directory, on disk; `mode` is how it is opened."""
    descriptor = os.open(path, mode | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
