"""The outbox of an application, over connections whose calls are not awaited, and what `AsyncOutbox` has in common with
it.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from bgjob import submitting_calls, text
from bgjob.calls import Call
from bgjob.client import Client
from bgjob.codec import JsonObject
from bgjob.errors import (
    BgjobError,
    DaemonUnavailableError,
    OpenTransactionError,
    ShuttingDownError,
    TableOfDjangoError,
)
from bgjob.outbox import direct, flushing
from bgjob.outbox.databases import AsyncDatabase, Database, database_of, is_of_other_table, is_trouble
from bgjob.outbox.flushing import Bookmark, Flush, Flushed, Step, Steps
from bgjob.outbox.rows import OWNERS_TIME, Row, new_row
from bgjob.outbox.statements import POSTGRESQL
from bgjob.outbox.steps import Turn

if TYPE_CHECKING:
    from bgjob.submitting_calls import Options

T = TypeVar("T")

_LOG: Final = logging.getLogger("bgjob.outbox")

MOST_OWN: Final = 10_000
"""Keys that a process keeps that never flushes; what it forgets is for others to submit."""

_of_daemons: dict[str | None, tuple[dict[str, float], Bookmark]] = {}
"""By address: the keys of the rows that this process has written, and when, and how far it is with those of others."""


class BaseOutbox:
    """Where the daemon is, and which rows this process has written for it, by whichever outbox."""

    def __init__(self, address: str | None = None, *, timeout: float = 2.0) -> None:
        self._address = address
        self._timeout = timeout
        self._own, self._bookmark = _of_daemons.setdefault(address, ({}, Bookmark()))

    def _row(
        self,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None,
        retry_count: int,
        options: Options,
        now: datetime,
    ) -> Row:
        """A new one."""
        return new_row(
            submitting_calls.job_of(class_name, method_name, parameters, retry_count, options),
            None,
            None,
            now,
        )

    def _keep(self, row: Row) -> None:
        """That this process has written it."""
        if len(self._own) >= MOST_OWN:
            with suppress(RuntimeError, StopIteration):  # another thread has changed them just now
                self._own.pop(next(iter(self._own)), None)
        self._own[row.key] = time.monotonic()

    def _try_found(self, database: Database | AsyncDatabase) -> direct.Found | None:
        """What is known of the database; None where somebody has to look."""
        if database.dialect is not POSTGRESQL or not direct.may_be(self._address):
            return direct.NOTHING
        return direct.LOOKS.try_known(database.place)

    def _steps(self, database: Database | AsyncDatabase) -> Steps:
        """Those of a flush. Raises OpenTransactionError."""
        if database.is_in_transaction:
            raise OpenTransactionError
        flush = Flush(database.dialect.has_row_locks, time.monotonic)
        bookmark = None if is_attempt() else self._bookmark
        return flushing.after_commit(flush, self._own, bookmark, datetime.now(UTC))

    def _forget_old(self) -> None:
        """Leave to others what was still there after a flush, or was rolled back."""
        since = time.monotonic() - OWNERS_TIME
        for key, at in self._own.copy().items():
            if at >= since:
                break  # as are those after it
            self._own.pop(key, None)


class Outbox(BaseOutbox):
    """Jobs in a table of the application's database: over a connection of sqlite3 or psycopg 3, or a Session or
    Connection of SQLAlchemy, whose database is one of these.

    `address` is that of the daemon; `timeout` is how many seconds it has for an answer after a commit. One outbox is
    enough for all threads and connections of a process.
    """

    _client: Client | None = None

    def submit(
        self,
        connection: Any,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None = None,
        retry_count: int = 0,
        **options: Unpack[Options],
    ) -> str:
        """Write a job into the table, in the connection's transaction, or, where a daemon works from this database,
        hand it over there; its idempotency key, by which the daemon knows it once it was submitted.

        Options are those of `bgjob.run_background_job`, but for that key; a delay begins now. Nothing is asked of the
        daemon. Raises TypeError, and InvalidParametersError or TooLargeError for what no daemon takes;
        TableOfDjangoError.
        """
        now = datetime.now(UTC)
        database = database_of(connection)
        row = self._row(class_name, method_name, parameters, retry_count, options, now)
        if direct.takes(self._found(database), row, is_attempt()):
            database.run(direct.submission(row))
            return row.key
        self._keep(row)
        with whose_table():
            database.run(database.dialect.insert(row, now))
        return row.key

    def _found(self, database: Database) -> direct.Found:
        found = self._try_found(database)
        return found or direct.LOOKS.note(database.place, database.run(direct.LOOK))

    def _has_table(self, database: Database) -> bool:
        """Whether there may be anything to flush; no transaction is open."""
        found = self._try_found(database)
        if found is None:
            found = self._found(database)
            database.run(Turn.COMMIT)
        return found.has_table or not found.is_direct

    def flush(self, connection: Any) -> Flushed:
        """Submit what this process has written, once it is committed, and up to 100 rows that others have left.

        A row stays, which costs a line of the log and no error, where the daemon takes it not now, where it refuses it
        for good, with the reason, and where the database is away: the commit has succeeded. Raises OpenTransactionError
        before the commit. Where a daemon works from the database itself, and it has no table, there is nothing to do.
        """
        database = database_of(connection)
        steps = self._steps(database)
        client = self._client = self._client or Client(self._address, timeout=self._timeout)
        try:
            if not self._has_table(database):
                return Flushed()
            flushed = carried_out(steps, run_by(database), partial(answer, client))
        except Exception as error:
            flushed = not_flushed(error)
        self._forget_old()
        if is_daemon_away(flushed.trouble):
            self._client = None  # a new one does not wait for a daemon that was there
            client.close()
        return logged(flushed)


@contextmanager
def whose_table() -> Iterator[None]:
    """Raises TableOfDjangoError for the error of a database that this is."""
    try:
        yield
    except Exception as error:
        if is_of_other_table(error):
            raise TableOfDjangoError from error
        raise


def carried_out(
    steps: Generator[Step, Any, T],
    run: Callable[[Any], Any],
    ask: Callable[[Call[Any]], Any],
) -> T:
    """What the steps come to, by what runs those of the database, and what asks the daemon, whose errors are answers
    too; what raises on the way is theirs to hear, and else rolls back.
    """
    try:
        step = next(steps)
        while True:
            try:
                answer = ask(step) if isinstance(step, Call) else run(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(answer)
    except StopIteration as end:
        value: T = end.value
        return value
    except BaseException:
        with suppress(Exception):
            run(Turn.ROLL_BACK)
        raise


def run_by(database: Database) -> Callable[[Any], Any]:
    """What runs the steps of a database by its statements."""
    return lambda step: database.run(database.dialect.said(step))


def answer(client: Client, call: Call[T]) -> T | BgjobError:
    """What the daemon answers, or the error with which that ends."""
    try:
        return client._call(call)
    except BgjobError as error:
        return error


def is_attempt() -> bool:
    """Whether this process is that of a job, or of its: what it submits is told as that job's, and so no rows of
    others.
    """
    return "BGJOB_MARK" in os.environ


def is_daemon_away(error: Exception | None) -> bool:
    """Whether nothing will come over the connection that there is."""
    return isinstance(error, DaemonUnavailableError | ShuttingDownError)


def not_flushed(error: Exception) -> Flushed:
    """Of a flush that the database has ended, which costs a line of the log. Raises the error where that is a mistake
    of the program.
    """
    if not is_trouble(error):
        raise error
    _LOG.warning("the outbox is not flushed, jobs stay in it: %s", text.one_line(str(error)))
    return Flushed()


def logged(flushed: Flushed) -> Flushed:
    """The same, after a line of the log for each that is refused, and one for others that stay."""
    for key, why in flushed.refused:
        _LOG.error(
            "job %s of the outbox is refused for good: %s", text.one_line(str(key)), text.one_line(why)
        )
    if flushed.trouble is not None:
        _LOG.warning("jobs stay in the outbox: %s", text.one_line(str(flushed.trouble)))
    return flushed
