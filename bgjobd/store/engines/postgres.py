"""PostgreSQL as an engine: connections that take SQLite's statements, transactions, and what its errors mean.

Beside its neighbours of this folder the one place that knows psycopg.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from peewee import DatabaseError, OperationalError
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it
from psycopg import adapt
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper

from bgjobd.core.hosts import Term
from bgjobd.store.database import UncertainCommitError, UnusableDatabaseError
from bgjobd.store.engines import CountsAsLostError, Database, Given, TermOverError, TermTakenError
from bgjobd.store.engines.places import UnusableServerError
from bgjobd.store.engines.postgres_schema import VERSION, create, take_steps
from bgjobd.store.engines.postgres_translation import NO_NUL, translated
from bgjobd.store.migrations import STEPS, SchemaTooNewError

OLDEST: Final = 140000
SCHEMA: Final = "bgjobd"

_MIGRATION_LOCK: Final = 0x62676A6F01
_LOG_LOCK: Final = 0x62676A6F02
"""Advisory locks: who migrates, and who gives ids to log entries."""

_CONNECTING_FOR: Final = 10
_ROWS_AT_ONCE: Final = 1000
_SETTINGS: Final = {
    "search_path": SCHEMA,
    "idle_in_transaction_session_timeout": "5s",
    "timezone": "UTC",
}
_OF_READERS: Final = {"default_transaction_read_only": "on", "statement_timeout": "60s"}
_KEEPALIVES: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

_TROUBLE: Final = ("08", "53", "57P")
_PASSING: Final = ("40001", "40P01")
"""How the codes begin of errors that the server is to blame for, and those of transactions in each other's way."""


class ServersSchemaTooNewError(SchemaTooNewError):
    """The same, where no file can be restored."""

    def __init__(self, name: str, found: int) -> None:
        Exception.__init__(
            self,
            f"the database {name} has schema version {found}, this bgjobd knows up to {len(STEPS)}; "
            "install the newer bgjobd",
        )


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


class PostgresConnection:
    """Takes SQLite's statements; `for_reading` it opens itself anew where the last one broke."""

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
            cursor = self._open().cursor()
            cursor.executemany(statement.text, given)
        return cursor

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

    def run_all(self, sql: str) -> Any:
        """Several statements in one message, without values; the cursor has the rows of the last."""
        with as_peewees_own:
            cursor = self._open().execute(sql, prepare=False)  # of several nothing can be prepared
            while cursor.nextset():
                pass
        return cursor

    def interrupt_at(self, deadline: float | None) -> None:
        """Have statements interrupted from this monotonic instant on; None: as long as any may take."""
        self._deadline = deadline
        if deadline is None and self._is_bounded:
            self._is_bounded = False
            self.run("RESET statement_timeout")

    def close(self) -> None:
        self._real.close()

    def _bound(self, deadline: float) -> None:
        left = max(1, round((deadline - time.monotonic()) * 1000))
        self._is_bounded = True
        self._open().execute(f"SET statement_timeout = {left}")

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
        except psycopg.Error as error:
            raise OperationalError(error, " ".join(str(error).split())) from error  # of several lines
        adapters = connection.adapters
        adapters.register_dumper(int, Int8Dumper)
        adapters.register_dumper(bool, _BoolDumper)
        adapters.register_dumper(str, _TextDumper)
        adapters.register_loader("bool", _BoolLoader)
        adapters.register_loader("numeric", _NumericLoader)
        return connection


class PostgresDatabase:
    """A connection with its transactions."""

    distance: Final = 20.0

    def __init__(self, address: str, for_reading: bool) -> None:
        self._connection = PostgresConnection(address, for_reading)
        self._counted: dict[str, int] = {}
        self._term: Term | None = None

    def connection(self) -> PostgresConnection:
        return self._connection

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        return self.connection().execute(sql, () if params is None else params)

    def walk(self, sql: str, given: Given) -> Generator[tuple[Any, ...]]:
        yield from self._connection.walk(sql, given)

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """All that is read meanwhile is of one moment."""
        self._connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            self.roll_back()

    def close(self) -> None:
        self._connection.close()

    def write_as(self, term: Term | None) -> None:
        self._term = term

    def begin_writing(self) -> None:
        """Begin a transaction; that its host may still write is asked in the same message."""
        if self._term is None:
            self.connection().execute("BEGIN")
            return
        guarded = self._connection.run_all(_GUARDED.format(*self._term))
        if guarded.fetchone() is None:
            found = self._connection.run(_SELECT_TERM, (self._term.host,)).fetchone()
            is_taken = found is None or found[0] != self._term.number
            raise TermTakenError(self._term.name) if is_taken else CountsAsLostError()

    def count_ids(self, last_job: int, last_group: int) -> None:
        for sequence, last in (("job_ids", last_job), ("group_ids", last_group)):
            if last > self._counted.get(sequence, 0):
                self._connection.run(_COUNT.format(sequence), (last,))
                self._counted[sequence] = last

    def lock_log(self) -> None:
        self._connection.run(f"SELECT pg_advisory_xact_lock({_LOG_LOCK})")

    def commit_writing(self) -> None:
        """Raises UncertainCommitError where the answer was lost: on the next connection pg_xact_status() is to tell."""
        try:
            self.connection().execute("COMMIT")
        except OperationalError as error:
            if _code(error) is not None and not _is_broken(error):
                raise
            raise UncertainCommitError(str(error)) from error

    def roll_back(self) -> None:
        with suppress(DatabaseError):
            self._connection.run("ROLLBACK")


class Server:
    """What a writer minds of a server: nothing beside its connection."""

    def check(self) -> None: ...

    def learn(self) -> None: ...

    def check_written(self) -> int:
        return 0

    def prove_room(self) -> None: ...

    def rest(self, database: Database) -> None: ...

    def is_let_go(self, database: Database, error: Exception) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database at an address, a URL or what libpq takes else; `schema` holds its tables."""

    address: str

    @property
    def name(self) -> str:
        """The address, without what is secret."""
        told = conninfo_to_dict(self.address)
        return str(make_conninfo("", **{name: value for name, value in told.items() if name not in _SECRET}))

    @property
    def is_shared(self) -> bool:
        return True

    def prepare(self, on_progress: Callable[[], None]) -> bool:
        """Have the schema there, and of this version. Raises UnusableDatabaseError, SchemaTooNewError."""
        try:
            database = PostgresDatabase(self.address, for_reading=False)
        except DatabaseError as error:
            raise self.unusable(error) from error
        try:
            self._check(database.connection())
            self._migrate(database)
        except DatabaseError as error:
            raise self.unusable(error) from error
        finally:
            database.close()
        return False

    def _check(self, connection: PostgresConnection) -> None:
        (version,) = connection.run("SELECT current_setting('server_version_num')::integer").fetchone()
        if version < OLDEST:
            raise self.unusable(f"it is PostgreSQL {version // 10000}, and 14 is the oldest that will do")
        (encoding,) = connection.run("SELECT current_setting('server_encoding')").fetchone()
        if encoding != "UTF8":
            raise self.unusable(f"its encoding is {encoding}, and has to be UTF8")
        (path,) = connection.run("SELECT current_setting('search_path')").fetchone()
        if path != SCHEMA:
            raise self.unusable(
                "a pooler is between, which keeps no settings of a session: name the server itself"
            )

    def _migrate(self, database: PostgresDatabase) -> None:
        """One at a time; the others find it done."""
        run = database.connection().run
        run("BEGIN")
        try:
            run(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
            version = _version(run)
            if version > len(STEPS):
                raise self.too_new(version)
            if version == 0:
                run(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                create(run)
                version = VERSION
            if version < len(STEPS):
                take_steps(run, version)
            run("COMMIT")
        except BaseException:
            database.roll_back()
            raise

    def open_for_writing(self) -> PostgresDatabase:
        return PostgresDatabase(self.address, for_reading=False)

    def open_for_reading(self, is_patient: bool = False) -> PostgresDatabase:
        database = PostgresDatabase(self.address, for_reading=True)
        if is_patient:
            database.connection().run("SET statement_timeout = 0")
        return database

    def ground(self) -> Server:
        return Server()

    def size(self, database: Database) -> int:
        """Of all that the schema has."""
        return int(database.connection().run(_SIZE).fetchone()[0])

    def unusable(self, reason: object) -> UnusableDatabaseError:
        return UnusableServerError(Path(self.name), reason)

    def version(self, database: Database) -> int:
        return _version(database.connection().run)

    def too_new(self, found: int) -> SchemaTooNewError:
        return ServersSchemaTooNewError(self.name, found)

    @property
    def silence(self) -> str:
        return "PostgreSQL, or the way to it, has not answered for {:.0f} s; see whether the server waits for a disk"

    def is_trouble(self, error: Exception) -> bool:
        if isinstance(error, OSError | MemoryError | UncertainCommitError | TermOverError):
            return True
        is_without_code = isinstance(error, OperationalError) and _code(error) is None
        return is_without_code or _is_broken(error)

    def is_away(self, error: Exception) -> bool:
        return self.is_trouble(error)

    def is_passing(self, error: Exception) -> bool:
        return _code(error) in _PASSING


_GUARDED: Final = "BEGIN; SELECT 1 FROM hosts WHERE id = {0} AND term = {1} AND lost_at IS NULL FOR SHARE"
"""Who says that a host is lost changes this row: whatever it has committed before counts, and nothing after."""

_SELECT_TERM: Final = "SELECT term FROM hosts WHERE id = %s"
_COUNT: Final = "SELECT setval('{0}', greatest(%s, last_value)) FROM {0}"
_SECRET: Final = ("password", "sslpassword")
_SIZE: Final = f"""
    SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE n.nspname = '{SCHEMA}' AND c.relkind = 'r'
"""


def _version(run: Callable[[str], Any]) -> int:
    """Of the schema that is there; 0 where there is none."""
    if run(f"SELECT to_regclass('{SCHEMA}.schema_version')").fetchone()[0] is None:
        return 0
    return int(run("SELECT version FROM schema_version").fetchone()[0])


def _code(error: Exception) -> str | None:
    """PostgreSQL's own code of one of peewee's errors, if it tells one."""
    code: str | None = getattr(getattr(error, "orig", error), "sqlstate", None)
    return code


def _is_broken(error: Exception) -> bool:
    """Whether the server, or the way to it, is to blame."""
    code = _code(error)
    return code is not None and code.startswith(_TROUBLE)
