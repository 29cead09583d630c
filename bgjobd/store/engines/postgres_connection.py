"""A connection to PostgreSQL that takes SQLite's statements, and gives what SQLite would."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, suppress
from typing import Any, Final, NamedTuple

import psycopg
from peewee import DatabaseError, OperationalError
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it
from psycopg import adapt
from psycopg.types.numeric import Int8Dumper

from bgjobd.store.engines import Given
from bgjobd.store.engines.postgres_errors import code_of, is_broken
from bgjobd.store.engines.postgres_translation import NO_NUL, translated

SCHEMA: Final = "bgjobd"

_CONNECTING_FOR: Final = 10
_ROWS_AT_ONCE: Final = 1000
_SETTINGS: Final = {
    "search_path": SCHEMA,
    "idle_in_transaction_session_timeout": "5s",
    "timezone": "UTC",
    "jit": "off",  # each question is small; one of a list is thought to be long, and compiled for a second
}
_OF_READERS: Final = {"statement_timeout": "60s"}
_READ_ONLY_FROM_HERE: Final = "SET default_transaction_read_only = on"
"""Not among the settings of a connection that is made: with these no server would be one that can be written, should
the address ask for that (`target_session_attrs`).
"""
_OF_WRITERS: Final = """
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off
"""
"""Each statement of a writer finds few rows by an index that is made for it: planned once, whatever the tables hold."""
_KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_LONGEST_TRANSACTION: Final = "60s"
_FIRST_WITH_LIMIT: Final = 170000

_ORIGIN: Final = """
    SELECT system_identifier || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
"""
"""The timeline is that of what is written now: pg_control_checkpoint() tells it only some time after a failover."""


class _TextDumper(adapt.Dumper):
    """A text, which has no NUL."""

    def dump(self, obj: str) -> bytes:
        return (obj.replace("\0", NO_NUL) if "\0" in obj else obj).encode()


class _BoolDumper(adapt.Dumper):
    """A truth is a number, as in SQLite."""

    oid = psycopg.adapters.types["int8"].oid

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


class _BoolLoader(adapt.Loader):
    def load(self, data: Any) -> int:
        return int(bytes(data) == b"t")


class _NumericLoader(adapt.Loader):
    """What sum() makes of whole numbers."""

    def load(self, data: Any) -> int | float:
        text = bytes(data).decode()
        return int(text) if text.lstrip("-").isdecimal() else float(text)


class _Cursor(psycopg.Cursor[Any]):
    """Whose `rowcount` waits for the answer, as its rows do, where the statement was sent without."""

    @property
    def rowcount(self) -> int:
        self._fetch_pipeline()
        count: int = super().rowcount
        return count


class _Sent(NamedTuple):
    """Rows that were sent; a statement that has to change each of them fails on the server where it does not."""

    rowcount: int


_RESETS: Final = 20
"""How often a bound is taken away before the connection is."""


class PostgresConnection:
    """Takes SQLite's statements; `for_reading` it opens itself anew where the last one broke.

    Within `pipeline` no statement is waited for: a cursor waits once its rows are taken, for all that was sent before.
    """

    def __init__(self, address: str, for_reading: bool) -> None:
        self._address = address
        self._for_reading = for_reading
        self._deadline: float | None = None
        self._is_bounded = False
        self._told: Callable[[str], None] | None = None
        self._real = self._connected()

    def execute(self, sql: str, given: Given = ()) -> Any:
        statement = translated(sql)
        if self._told is not None:
            self._told(sql)
        with as_peewees_own:
            if self._deadline is not None:
                self._bound(self._deadline)
            return self._open().execute(statement.text, statement.given(given))

    def executemany(self, sql: str, rows: Iterable[Given]) -> Any:
        statement = translated(sql)
        given = [statement.given(row) for row in rows]
        if self._told is not None:
            for _ in given:
                self._told(sql)
        with as_peewees_own:
            self._open().cursor().executemany(statement.text, given)
        return _Sent(len(given))

    def walk(self, sql: str, given: Given) -> Generator[tuple[Any, ...]]:
        """The rows that the server keeps for us, and gives a thousand at a time."""
        statement = translated(sql)
        with as_peewees_own, self._open().cursor("walk", withhold=True) as cursor:
            cursor.itersize = _ROWS_AT_ONCE
            yield from cursor.execute(statement.text, statement.given(given))

    def set_trace_callback(self, told: Callable[[str], None] | None) -> None:
        """Have each statement told before it runs, as SQLite's connections do."""
        self._told = told

    def run(self, sql: str, values: Any = None) -> Any:
        """A statement of PostgreSQL's own."""
        with as_peewees_own:
            return self._open().execute(sql, values)

    def told_backend(self) -> int:
        """The pid of what serves this session, as the server said it, or what speaks for the server."""
        return int(self._real.info.backend_pid)

    def pipeline(self) -> AbstractContextManager[Any]:
        """Statements are sent meanwhile without an answer between; their errors are raised at its end, or before."""
        pipeline: AbstractContextManager[Any] = self._open().pipeline()
        return pipeline

    def roll_back(self) -> None:
        """End the transaction, if one is open, and forget what was prepared: of a pipeline that broke the server has
        not seen all that psycopg remembers to have sent.
        """
        with as_peewees_own:
            self._real.rollback()

    def keep_to_indexes(self) -> None:
        """Have what is sent from here on be done by indexes, with no look at how large the tables are."""
        self.run(_OF_WRITERS)

    def limit_transactions(self) -> None:
        """Let none of them hold its locks for long, where the server can see to that."""
        with suppress(psycopg.Error):
            if self._real.info.server_version >= _FIRST_WITH_LIMIT:
                self._real.execute(f"SET transaction_timeout = '{_LONGEST_TRANSACTION}'")

    @property
    def is_closed(self) -> bool:
        return bool(self._real.closed)

    def origin(self) -> str | None:
        """Which database it is, and which history of it; None where the server does not tell."""
        try:
            return str(self.run(_ORIGIN).fetchone()[0])
        except DatabaseError as error:
            if is_broken(error) or code_of(error) is None:
                raise
            return None

    def fileno(self) -> int:
        """What can be read once something is told."""
        with as_peewees_own:
            return int(self._real.fileno())

    def heard(self) -> list[str]:
        """What was told of what this connection listens to."""
        with as_peewees_own:
            return [told.payload for told in self._real.notifies(timeout=0)]

    def interrupt_at(self, deadline: float | None) -> None:
        """Have statements interrupted from this monotonic instant on; None: as long as any may take."""
        self._deadline = deadline
        if deadline is not None:
            return
        for _ in range(_RESETS):
            if not self._is_bounded:
                return
            # This statement too has no more time than the last, which a server with much to do may need to begin it.
            with as_peewees_own, suppress(psycopg.errors.QueryCanceled):
                self._open().execute("RESET statement_timeout")
                self._is_bounded = False
        if self._is_bounded:
            self._is_bounded = False
            self._real.close()  # another one has no bound

    def close(self) -> None:
        self._real.close()

    def _bound(self, deadline: float) -> None:
        left = max(1, round((deadline - time.monotonic()) * 1000))
        real = self._open()
        self._is_bounded = True
        real.execute(f"SET statement_timeout = {left}")

    def _open(self) -> psycopg.Connection[Any]:
        if self._real.closed and self._for_reading:
            self._is_bounded = False
            self._real = self._connected()
        return self._real

    def _connected(self) -> psycopg.Connection[Any]:
        settings = _SETTINGS | (_OF_READERS if self._for_reading else {})
        try:
            connection = psycopg.connect(
                self._address,
                autocommit=True,
                connect_timeout=_CONNECTING_FOR,
                application_name="bgjobd",
                client_encoding="UTF8",
                options=" ".join(f"-c {name}={value}" for name, value in settings.items()),
                **_KEEPALIVES,
            )
            if self._for_reading:
                connection.execute(_READ_ONLY_FROM_HERE)
        except psycopg.Error as error:
            raise OperationalError(error, " ".join(str(error).split())) from error  # of several lines
        connection.cursor_factory = _Cursor
        adapters = connection.adapters
        adapters.register_dumper(int, Int8Dumper)
        adapters.register_dumper(bool, _BoolDumper)
        adapters.register_dumper(str, _TextDumper)
        adapters.register_loader("bool", _BoolLoader)
        adapters.register_loader("numeric", _NumericLoader)
        return connection
