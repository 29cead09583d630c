"""Transactions of PostgreSQL, each of which is one pipeline, and what became of one whose commit had no answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from peewee import DatabaseError, OperationalError
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it

from bgjobd.core.hosts import Term
from bgjobd.host.clock import Reading
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines import CommitFate, CountsAsLostError, Given, TermTakenError
from bgjobd.store.engines.postgres_connection import PostgresConnection
from bgjobd.store.engines.postgres_errors import DIVISION_BY_ZERO, GONE, code_of
from bgjobd.store.engines.postgres_listening import TELL
from bgjobd.store.engines.postgres_locks import PostgresLocks
from bgjobd.store.statements import of_entries

_LOG_LOCK: Final = 0x62676A6F02
"""The advisory lock of who gives ids to log entries."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One whose commit had no answer, by its id in a server's history; it wrote so many log entries, `last` the last of
    them, None where it wrote none.
    """

    origin: str | None
    id: str
    last: Mapping[str, Any] | None = None
    entries: int = 0


class PostgresDatabase:
    """A connection with its transactions, each of which is one pipeline: it waits for answers that it goes by alone."""

    distance: Final = 20.0
    is_drained = False

    def __init__(self, address: str, for_reading: bool) -> None:
        self._connection = PostgresConnection(address, for_reading)
        self._term: Term | None = None
        self._has_log = False
        self.locks: Final = PostgresLocks(self._connection.execute)
        self._together = ExitStack()  # at whose end all that is left of a transaction is answered
        self._begun: Any = None  # what tells of a transaction that it has begun, as long as nobody has asked
        self._origin = None if for_reading else self._connection.origin()
        self._transaction = ""
        self._written: tuple[Mapping[str, Any] | None, int] = (None, 0)

    def connection(self) -> PostgresConnection:
        return self._connection

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        return self.connection().execute(sql, () if params is None else params)

    def walk(self, sql: str, given: Given) -> Generator[tuple[Any, ...]]:
        """A transaction that does so is no pipeline from here on: in one no server keeps rows for anybody."""
        with as_peewees_own:
            self._together.close()
        yield from self._connection.walk(sql, given)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All that is read meanwhile is of one moment."""
        self._connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            with suppress(DatabaseError):
                self._connection.run("ROLLBACK")

    def close(self) -> None:
        self._connection.close()

    def write_as(self, term: Term | None) -> None:
        self._term = term

    def time(self) -> Reading:
        asked = time.monotonic()
        (at,) = self._connection.run(_TIME).fetchone()
        return Reading.taken(at, asked, time.monotonic())

    def begin_writing(self) -> None:
        """Begin a transaction; whether its host may still write is asked with whatever it asks first."""
        self._written, self._has_log, self._transaction = (None, 0), False, ""
        self.is_drained = False
        with as_peewees_own:
            self._together.enter_context(self._connection.pipeline())
        self._connection.run(_BEGIN)
        guard = "false" if self._term is None else _GUARD.format(*self._term)
        self._begun = self._connection.run(f"SELECT {_ITS_ID}, ({guard})")

    def check_term(self) -> None:
        if self._begun is None:
            return
        with as_peewees_own:
            self._transaction, standing = self._begun.fetchone()
            self._begun = None
            self.is_drained = bool(standing)
            if standing is None and self._term is not None:
                found = self._connection.run(_SELECT_TERM, (self._term.host,)).fetchone()
                is_taken = found is None or found[0] != self._term.number
                raise TermTakenError(self._term.name) if is_taken else CountsAsLostError()

    def is_lost_update(self, error: BaseException) -> bool:
        return isinstance(error, DatabaseError) and code_of(error) == DIVISION_BY_ZERO

    def give_back_ids(self, counter: str, last: int, until: int) -> None:
        self._connection.run("SELECT give_back_ids(%s, %s, %s)", (counter, last, until))

    def tell(self, text: str) -> None:
        self._connection.run(TELL, (text,))

    def lock_log(self) -> None:
        if not self._has_log:
            self._connection.run(_LOCK_LOG)
            self._has_log = True

    def write_log(self, rows: Sequence[dict[str, Any]]) -> Callable[[], int]:
        """All of it and the COMMIT go without a word of ours between: whoever is cut off amid it holds up nobody."""
        self.check_term()
        self.lock_log()
        newest = self.connection().execute(of_entries.SELECT_LAST_LOG_ID)
        self.connection().executemany(of_entries.INSERT_LOG, rows)
        self._written = (rows[-1], len(rows))
        return lambda: int(newest.fetchone()[0]) + 1

    def commit_writing(self) -> None:
        """Raises UncertainCommitError where the answer was lost: fate_of() on the next connection is to tell."""
        self.check_term()
        try:
            with as_peewees_own:
                self._commit()
        except DatabaseError as error:
            if not self._connection.is_closed and not (code_of(error) or GONE[0]).startswith(GONE):
                raise  # the server has said that it could not
            lost = Transaction(self._origin, self._transaction, *self._written)
            raise UncertainCommitError(str(error), lost) from error

    def _commit(self) -> None:
        try:
            with self._together:
                self.connection().execute("COMMIT")
        except psycopg.errors.PipelineAborted as error:
            raise error.__context__ or error  # noqa: B904  # it is the other one that broke it, and comes of it

    def roll_back(self) -> None:
        self._begun = None
        with suppress(DatabaseError, psycopg.Error):
            self._together.close()
        with suppress(DatabaseError):
            self._connection.roll_back()

    def end_standing(self, seconds: float) -> int:
        """Amid statements that are sent one behind the other no timeout of the server's counts, before version 17."""
        return int(self._connection.run(_END_STANDING, (seconds,)).rowcount)

    def fate_of(self, transaction: Transaction) -> CommitFate:
        """Raises OperationalError as long as the server is still at it."""
        if self._origin is None or transaction.origin is None:
            return CommitFate.UNKNOWN
        if transaction.origin != self._origin:
            return self._fate_elsewhere(transaction)
        try:
            (status,) = self._connection.run(_STATUS, (transaction.id,)).fetchone()
        except DatabaseError as error:
            if code_of(error) != _IN_THE_FUTURE:
                raise
            return CommitFate.UNKNOWN
        if status == "in progress":
            raise OperationalError("the server is still at the transaction whose commit had no answer")
        return _FATES.get(status, CommitFate.UNKNOWN)

    def _fate_elsewhere(self, transaction: Transaction) -> CommitFate:
        """Of one before a failover: its id may be another's here, but what it wrote is here, or is not."""
        if transaction.last is None:
            return CommitFate.UNKNOWN
        is_here = self._last_entry_of(transaction.last) is not None
        return CommitFate.COMMITTED if is_here else CommitFate.ABORTED

    def first_entry_of(self, transaction: Transaction) -> int:
        if transaction.last is None:
            return 0
        return (self._last_entry_of(transaction.last) or 0) - transaction.entries + 1

    def _last_entry_of(self, row: Mapping[str, Any]) -> int | None:
        """The id of the newest log entry that says the same; its time is to the microsecond."""
        (id,) = self.connection().execute(_SAME_ENTRY, row).fetchone()
        return None if id is None else int(id)


_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_ITS_ID: Final = "pg_current_xact_id()::text"
_GUARD: Final = """
    SELECT drained_at IS NOT NULL FROM hosts WHERE id = {0} AND term = {1} AND lost_at IS NULL FOR SHARE
"""
"""Who says that a host is lost changes this row: whatever it has committed before counts, and nothing after. So does
who has it drain: it starts nothing after that.
"""

_SELECT_TERM: Final = "SELECT term FROM hosts WHERE id = %s"
_LOCK_LOG: Final = f"SELECT pg_advisory_xact_lock({_LOG_LOCK})"
_END_STANDING: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'bgjobd' AND datname = current_database() AND wait_event = 'ClientRead'
    AND pg_has_role(usesysid, 'USAGE')
    AND state_change < clock_timestamp() - make_interval(secs => %s) AND pid IN (
        SELECT unnest(pg_blocking_pids(pid)) FROM pg_stat_activity
        WHERE application_name = 'bgjobd' AND datname = current_database() AND wait_event_type = 'Lock'
    )
"""

_TIME: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_STATUS: Final = "SELECT pg_xact_status(%s::text::xid8)"
_IN_THE_FUTURE: Final = "22023"
_FATES: Final = {"committed": CommitFate.COMMITTED, "aborted": CommitFate.ABORTED}
_SAME_ENTRY: Final = """
    SELECT max(id) FROM job_logs WHERE job_id = :job_id AND created_at = :created_at AND message = :message
"""
