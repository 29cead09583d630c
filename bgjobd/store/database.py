"""Opening the SQLite file: the one place that knows its name, its pragmas and its modes."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
import uuid
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from peewee import DatabaseError, OperationalError, SqliteDatabase
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it

from bgjobd.core.hosts import Term
from bgjobd.core.verdict import OF_A_COPY
from bgjobd.host.clock import to_text
from bgjobd.store.engines import CommitFate, Given
from bgjobd.store.engines.locks import ALONE
from bgjobd.store.migrations import COPIED_AT, migrate
from bgjobd.store.sql_functions import register
from bgjobd.store.statements import of_entries

FILE_NAME: Final = "bgjobd.db"
_BUSY_TIMEOUT: Final = 2.0
_CHECKED_FOR: Final = 0.1
_STEPS_BETWEEN: Final = 10_000
_KEPT_WAL: Final = 16 * 1024 * 1024
"""Bytes to which the write-ahead log is cut once a reader no longer holds it up."""

_AHEAD: Final = 1_000_000
"""How many ids, of jobs as of groups and log entries, a restored backup leaves out at least: perhaps they are taken."""

_TROUBLE: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""What the file or the machine is to blame for; any other code is our mistake, and an item's own."""


class UnusableDatabaseError(Exception):
    """The file cannot be opened now, for a reason that may pass."""

    def __init__(self, place: Path | str, reason: object) -> None:
        self.reason = str(reason)
        super().__init__(f"the database {place} cannot be used: {reason}; {self._next(Path(place))}")

    def _next(self, path: Path) -> str:
        return (
            _whose(path) or f"see to room, rights and errors of the disk at {path.parent}, then start again"
        )


def _whose(path: Path) -> str | None:
    """Of a file that this user may not open: whose it is, and what to do."""
    with suppress(OSError):
        found, own = path.stat(), os.geteuid()
        if found.st_uid != own and not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
            mode = f"{stat.S_IMODE(found.st_mode):04o}"
            message = f"it belongs to uid {found.st_uid}, with mode {mode}, and this is uid {own}"
            return f"{message}: run this as that user, or `chown {own} {path}`"
    return None


class NoDatabaseError(UnusableDatabaseError):
    """There is no file, where one was to be read."""

    def _next(self, path: Path) -> str:
        return "is --config the daemon's own? Its first start makes the file"


class DamagedDatabaseError(UnusableDatabaseError):
    """The file is no whole database; no start succeeds until somebody repairs it."""

    def _next(self, path: Path) -> str:
        return (
            f"it is left as it is. Copy it with {path.name}-wal, then move both aside and make a new one of what can "
            f"be read: `sqlite3 ASIDE .recover | sqlite3 {path}`; or put a copy from {path.parent / 'backups'} there"
        )


class ForsakenLogError(DamagedDatabaseError):
    """The file is gone, and its write-ahead log is there: beside a new file SQLite would throw that away."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, f"it is missing or empty, and {path.name}-wal beside it has what was stored last"
        )

    def _next(self, path: Path) -> str:
        return f"put the file back; or, to begin with no jobs, move {path.name}-wal away as well"


class LogOfAnotherError(DamagedDatabaseError):
    """A copy was put in the file's place, beside that file's log: by it SQLite would read pages of both, which no more
    say that it is a copy.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(
            path, f"it is a copy, as a backup is, and {path.name}-wal beside it is of the file that was there"
        )

    def _next(self, path: Path) -> str:
        return f"to go on from this copy, move {path.name}-wal away first; or put back the file that it is of"


class UncertainCommitError(Exception):
    """A commit that failed may have been made all the same: a file's write-ahead log may have it, where a start after
    a kill would find it; or the answer of a server was lost.

    `transaction` is what the next connection can be asked about, None where nobody would know; `made` tells what was
    committed, by the id of its first log entry.
    """

    def __init__(self, reason: str, transaction: Any = None) -> None:
        super().__init__(reason)
        self.transaction = transaction
        self.made: Callable[[int], Any] | None = None


def prepare(state_dir: Path, on_progress: Callable[[], None] = lambda: None) -> bool:
    """Create the file, or bring it to the newest schema; whether it is a backup that was put in its place.

    `on_progress` hears all the time that this goes on.

    Raises UnusableDatabaseError, DamagedDatabaseError, SchemaTooNewError, MigrationFailedError. For who has no
    connection yet.
    """
    path = state_dir / FILE_NAME
    check_log(state_dir)
    try:
        database = open_for_writing(state_dir)
        try:
            _check(database)
            database.connection().set_progress_handler(on_progress, _STEPS_BETWEEN)
            migrate(database, path)
            return _take_over_copy(database)
        finally:
            database.close()
    except DatabaseError as error:
        raise unusable(path, error) from error
    except _DamageFound as error:
        raise DamagedDatabaseError(path, error) from error


def check_log(state_dir: Path) -> None:
    """Raises UnusableDatabaseError where the log is not the file's own: of those ForsakenLogError, LogOfAnotherError.

    For who has no connection yet: whoever closes the file lets go of all locks that SQLite has on it in this process.
    """
    file = _check_emptied(state_dir)
    if size_of(f"{file}-wal") and _needs_no_log(file):
        raise LogOfAnotherError(Path(file))


def _check_emptied(state_dir: Path) -> str:
    """The file's path, where SQLite has the log beside it: where the database is a link, that which it leads to.

    Raises ForsakenLogError where a log with something in it is beside no file, or an empty one; UnusableDatabaseError
    where nobody tells.
    """
    path = str(state_dir / FILE_NAME)
    file = os.path.realpath(path) if os.path.islink(path) else path
    try:
        if _size(f"{file}-wal") and not _size(file):
            raise ForsakenLogError(Path(file))
    except OSError as error:
        raise unusable(Path(file), error.strerror) from error
    return file


def _needs_no_log(path: str) -> bool:
    """Whether it is a database as each copy is, and none that a daemon has opened."""
    try:
        with open(path, "rb") as file:
            return file.read(20)[18:] == _WITHOUT_LOG
    except OSError:
        return False  # SQLite says why it cannot be opened


def unusable(path: Path, reason: object) -> UnusableDatabaseError:
    """What tells that the file cannot be used, and what to do: repair it where an error says that it is damaged."""
    is_damaged = isinstance(reason, Exception) and _code(reason) in _DAMAGE
    return (DamagedDatabaseError if is_damaged else UnusableDatabaseError)(path, reason)


_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_WITHOUT_LOG: Final = b"\x01\x01"
"""The versions for writing and for reading, from byte 18 on, of a file whose journal is one for rolling back."""


class _DamageFound(Exception):
    """What SQLite's own check says."""


def _check(database: SqliteDatabase) -> None:
    """Have SQLite look for damage as long as a start may take; a file that takes longer is looked at in part."""
    end = time.monotonic() + _CHECKED_FOR
    connection = database.connection()
    connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN)
    try:
        found = [str(line) for (line,) in database.execute_sql("PRAGMA quick_check(1)")]
    except OperationalError as error:
        if _code(error) != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        connection.set_progress_handler(None, 0)
    if found != ["ok"]:
        raise _DamageFound("; ".join(found))


def _take_over_copy(database: SqliteDatabase) -> bool:
    """Make of a copy that was put in the database's place one that starts nothing which may have run since.

    It gets an id of its own, so the spool is not its own; an attempt that it believes to run may have ended since, and
    is lost and not retried. The queues of jobs that it believes to wait are paused, and so are all schedules, for what
    was due since may have run; a pause that had an end has none any more. And it goes on with ids that were not given
    since: a caller may still ask for one, or follow the log from one.
    """
    if database.execute_sql("SELECT 1 FROM properties WHERE name = ?", (COPIED_AT,)).fetchone() is None:
        return False
    now = to_text(time.time())
    with database.transaction("IMMEDIATE"):
        database.execute_sql(
            "INSERT OR IGNORE INTO queues (name, paused_at) "
            "SELECT DISTINCT queue, ? FROM background_jobs WHERE status = 'pending'",
            (now,),
        )
        database.execute_sql("UPDATE schedules SET paused_at = coalesce(paused_at, ?)", (now,))
        _note_pauses(database, now)
        database.execute_sql("UPDATE queues SET resumes_at = NULL")
        database.execute_sql(
            "UPDATE properties SET value = ? WHERE name = 'database_id'", (str(uuid.uuid4()),)
        )
        database.execute_sql("UPDATE job_attempts SET boot_id = ? WHERE outcome IS NULL", (OF_A_COPY,))
        _leap_ahead(database)
        database.execute_sql("DELETE FROM properties WHERE name = ?", (COPIED_AT,))
    return True


def _note_pauses(database: SqliteDatabase, now: str) -> None:
    """Have the changes tell what was paused now, and which pauses had an end; the others they tell already."""
    for sql in (_NOTE_QUEUES, _NOTE_SCHEDULES):
        database.execute_sql(sql, {"now": now, "who": "the restore of a backup"})


_NOTE_QUEUES: Final = """
    INSERT INTO changes (at, kind, what, who) SELECT :now, 'paused', json_object('queue', name, 'until', NULL), :who
    FROM queues WHERE paused_at = :now OR resumes_at IS NOT NULL ORDER BY name
"""
_NOTE_SCHEDULES: Final = """
    WITH paused AS (SELECT name FROM schedules WHERE paused_at = :now AND removed_at IS NULL ORDER BY name),
    named AS (SELECT json_group_array(name) AS names FROM (SELECT name FROM paused LIMIT 10))
    INSERT INTO changes (at, kind, what, who)
    SELECT :now, 'schedule_changed', json_object('did', 'paused', 'schedules', json(names), 'count', count(*)), :who
    FROM paused, named GROUP BY names
"""


def _leap_ahead(database: SqliteDatabase) -> None:
    """Let the next ids follow a multiple of a million that is a million ahead; log entries count from the newest."""
    for table in ("background_jobs", "job_groups"):
        (newest,) = database.execute_sql(
            "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = ?", (table,)
        ).fetchone()
        database.execute_sql("DELETE FROM sqlite_sequence WHERE name = ?", (table,))
        database.execute_sql("INSERT INTO sqlite_sequence VALUES (?, ?)", (table, _far_ahead_of(newest)))
    (newest,) = database.execute_sql("SELECT coalesce(max(id), 0) FROM job_logs").fetchone()
    database.execute_sql("UPDATE job_logs SET id = ? WHERE id = ?", (_far_ahead_of(newest), newest))


def _far_ahead_of(id: int) -> int:
    return -(-id // _AHEAD) * _AHEAD + _AHEAD


class SqliteFile(SqliteDatabase):
    """The file, open: what an engine's Database is, where it is of SQLite."""

    distance: Final = 1.0
    locks: Final = ALONE
    is_drained: Final = False

    def connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection = super().connection()  # type: ignore[no-untyped-call]  # its stubs lack it
        return found

    def walk(self, sql: str, given: Given) -> Generator[tuple[Any, ...]]:
        with as_peewees_own, closing(self.connection().execute(sql, given)) as rows:
            yield from rows

    def write_as(self, term: Term | None) -> None:
        """The file has one host."""

    def time(self) -> None:
        """The machine's own is as good."""

    def begin_writing(self) -> None:
        with as_peewees_own:
            self.connection().execute("BEGIN IMMEDIATE")

    def check_term(self) -> None:
        """The file has one host, whose term is never over."""

    def is_lost_update(self, error: BaseException) -> bool:
        """What was changed is counted at once."""
        return False

    def give_back_ids(self, counter: str, last: int, until: int) -> None:
        """AUTOINCREMENT has counted those that were used."""

    def tell(self, text: str) -> None:
        """Nobody listens."""

    def lock_log(self) -> None:
        """The transaction has the file to itself as it is."""

    def write_log(self, rows: Sequence[dict[str, Any]]) -> Callable[[], int]:
        connection = self.connection()
        first = int(connection.execute(of_entries.SELECT_LAST_LOG_ID).fetchone()[0]) + 1
        for id, row in enumerate(rows, first):
            row["id"] = id
        connection.executemany(of_entries.INSERT_LOG, rows)
        return lambda: first

    def fate_of(self, transaction: Any) -> CommitFate:
        """Whoever opens the file anew finds it, or does not, and so it is asked for nobody."""
        return CommitFate.UNKNOWN

    def first_entry_of(self, transaction: Any) -> int:
        raise LookupError(transaction)

    def end_standing(self, seconds: float) -> int:
        """Nobody else writes."""
        return 0

    def commit_writing(self) -> None:
        """Raises UncertainCommitError where it was too late to say for sure, else peewee's errors."""
        try:
            with as_peewees_own:
                self.connection().execute("COMMIT")
        except DatabaseError as error:
            if is_surely_undone(error):
                raise
            raise UncertainCommitError(str(error)) from error

    def roll_back(self) -> None:
        with suppress(sqlite3.Error):  # SQLite has rolled back by itself after a full disk
            self.connection().execute("ROLLBACK")


def open_for_writing(state_dir: Path, may_make: bool = True) -> SqliteFile:
    """The writer's connection: write-ahead log, and every commit on disk before it is told to anybody.

    `may_make`: the file is made where there is none. Raises UnusableDatabaseError, of those ForsakenLogError, and
    peewee's errors.
    """
    _check_emptied(state_dir)  # SQLite throws its log away
    pragmas = {
        "journal_mode": "wal",
        "synchronous": "full",
        "foreign_keys": 0,
        "cache_size": -4000,
        "journal_size_limit": _KEPT_WAL,
    }
    return _connected(state_dir / FILE_NAME, "rwc" if may_make else "rw", pragmas)


def open_for_reading(state_dir: Path) -> SqliteFile:
    """A connection that cannot write, for queries off the loop.

    Raises UnusableDatabaseError, of those NoDatabaseError, ForsakenLogError, and peewee's errors.
    """
    check_there(state_dir)
    _check_emptied(state_dir)  # SQLite throws its log away for whoever reads, too
    pragmas = {"query_only": 1, "cache_size": -2000}
    return _connected(state_dir / FILE_NAME, "ro", pragmas)


def check_there(state_dir: Path) -> None:
    """Raises NoDatabaseError where there is certainly no file."""
    path = state_dir / FILE_NAME
    if _is_missing(path):
        raise NoDatabaseError(path, "there is no such file")


def _connected(path: Path, mode: str, pragmas: dict[str, Any]) -> SqliteFile:
    place = f"{path.absolute().as_uri()}?mode={mode}"
    database = SqliteFile(
        place, timeout=_BUSY_TIMEOUT, pragmas=pragmas, uri=True, thread_safe=False, check_same_thread=False
    )
    register(database)
    database.connect()
    return database


def _is_missing(path: Path) -> bool:
    """Whether there is certainly no file; where nobody tells, SQLite says why it cannot be opened."""
    try:
        path.stat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def size_of(path: str) -> int:
    """How many bytes a file has; 0 where there is none, or nobody tells."""
    try:
        return _size(path)
    except OSError:
        return 0


def _size(path: str) -> int:
    """How many bytes a file has; 0 where there is certainly none. Raises OSError."""
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def is_trouble(error: Exception) -> bool:
    """Whether the file, the disk or the memory is to blame, so that the same may succeed later."""
    if isinstance(error, OSError | MemoryError | UncertainCommitError | UnusableDatabaseError):
        return True
    code = _code(error)
    return isinstance(error, OperationalError) if code is None else code in _TROUBLE


def is_surely_undone(error: DatabaseError) -> bool:
    """Whether a commit that failed so has left nothing that a later start could take for a commit.

    Without room its last page is not whole in the log; after any other trouble with the file, such as a sync that
    failed, it may be.
    """
    return _code(error) == sqlite3.SQLITE_FULL or not is_trouble(error)


def _code(error: Exception) -> int | None:
    """SQLite's own code of one of its errors, or of peewee's, if it tells one."""
    own: BaseException | None = error
    # Peewee's wrapper may be around another of its own: then the cause's cause is SQLite's.
    while own is not None and not isinstance(own, sqlite3.Error):
        own = getattr(own, "orig", own.__cause__)
    code = getattr(own, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
