"""PostgreSQL as an engine: connections that take SQLite's statements, transactions, and what its errors mean.

Beside its neighbours of this folder the one place that knows psycopg.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from peewee import DatabaseError, OperationalError
from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it
from psycopg import adapt
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8Dumper

from bgjobd.core.hosts import Term
from bgjobd.host.clock import Reading
from bgjobd.store import statements
from bgjobd.store.committed import LostUpdateError, OvertakenError
from bgjobd.store.database import UncertainCommitError, UnusableDatabaseError
from bgjobd.store.engines import (
    CommitFate,
    CountsAsLostError,
    Database,
    Given,
    Looked,
    TermOverError,
    TermTakenError,
)
from bgjobd.store.engines.places import AwayServerError, UnusableServerError
from bgjobd.store.engines.postgres_listening import TELL, PostgresListening
from bgjobd.store.engines.postgres_locks import PostgresLocks
from bgjobd.store.engines.postgres_refusals import is_lasting
from bgjobd.store.engines.postgres_schema import NOT_ADDING, VERSION, create, take_steps
from bgjobd.store.engines.postgres_translation import NO_NUL, translated
from bgjobd.store.hosts import LIVES_FOR
from bgjobd.store.migrations import STEPS, OlderHostsError, SchemaTooNewError

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
_CHANGES_WAIT_FOR: Final = "5s"
"""How long a change of the tables waits for who reads them: all others wait behind it."""

_FIRST_WITH_LIMIT: Final = 170000

_READ_ONLY: Final = "25006"
"""What a server says by which another one has been replaced: names lead to the one that is, sooner or later."""

_TOO_LONG: Final = ("25P03", "25P04")
"""A connection that the server has ended, for its transaction took too long."""

_GONE: Final = ("08", "57P", *_TOO_LONG)
"""How the codes begin of what ends a connection."""

_IN_USE: Final = ("55P03", "40P01")
"""A lock that was not to be had in time, or by waiting for it."""
_DIVISION_BY_ZERO: Final = "22012"
"""What a guarded update fails by that changes nothing."""

_TROUBLE: Final = ("08", "53", "57P", "58", _READ_ONLY, *_TOO_LONG)
_PASSING: Final = ("40001", "40P01", "23505")
"""How the codes begin of errors that the server is to blame for, and those of transactions in each other's way: they
could not be one after the other, wait for each other, or have stored what may be there once alone.
"""


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
            if _is_broken(error) or _code(error) is None:
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


@dataclass(frozen=True, slots=True)
class _Transaction:
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
        return isinstance(error, DatabaseError) and _code(error) == _DIVISION_BY_ZERO

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
        newest = self.connection().execute(statements.SELECT_LAST_LOG_ID)
        self.connection().executemany(statements.INSERT_LOG, rows)
        self._written = (rows[-1], len(rows))
        return lambda: int(newest.fetchone()[0]) + 1

    def commit_writing(self) -> None:
        """Raises UncertainCommitError where the answer was lost: fate_of() on the next connection is to tell."""
        self.check_term()
        try:
            with as_peewees_own:
                self._commit()
        except DatabaseError as error:
            if not self._connection.is_closed and not (_code(error) or _GONE[0]).startswith(_GONE):
                raise  # the server has said that it could not
            lost = _Transaction(self._origin, self._transaction, *self._written)
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

    def fate_of(self, transaction: _Transaction) -> CommitFate:
        """Raises OperationalError as long as the server is still at it."""
        if self._origin is None or transaction.origin is None:
            return CommitFate.UNKNOWN
        if transaction.origin != self._origin:
            return self._fate_elsewhere(transaction)
        try:
            (status,) = self._connection.run(_STATUS, (transaction.id,)).fetchone()
        except DatabaseError as error:
            if _code(error) != _IN_THE_FUTURE:
                raise
            return CommitFate.UNKNOWN
        if status == "in progress":
            raise OperationalError("the server is still at the transaction whose commit had no answer")
        return _FATES.get(status, CommitFate.UNKNOWN)

    def _fate_elsewhere(self, transaction: _Transaction) -> CommitFate:
        """Of one before a failover: its id may be another's here, but what it wrote is here, or is not."""
        if transaction.last is None:
            return CommitFate.UNKNOWN
        is_here = self._last_entry_of(transaction.last) is not None
        return CommitFate.COMMITTED if is_here else CommitFate.ABORTED

    def first_entry_of(self, transaction: _Transaction) -> int:
        if transaction.last is None:
            return 0
        return (self._last_entry_of(transaction.last) or 0) - transaction.entries + 1

    def _last_entry_of(self, row: Mapping[str, Any]) -> int | None:
        """The id of the newest log entry that says the same; its time is to the microsecond."""
        (id,) = self.connection().execute(_SAME_ENTRY, row).fetchone()
        return None if id is None else int(id)


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
    def may_go_back(self) -> bool:
        """To a standby that has not got all of it, or in a crash where `synchronous_commit` is off."""
        return True

    @property
    def name(self) -> str:
        """The address, without what is secret."""
        told = conninfo_to_dict(self.address)
        return str(make_conninfo("", **{name: value for name, value in told.items() if name not in _SECRET}))

    @property
    def is_shared(self) -> bool:
        return True

    def prepare(self, on_progress: Callable[[], None]) -> bool:
        """Have the schema there, and of this version.

        Raises UnusableDatabaseError, SchemaTooNewError, OlderHostsError.
        """
        try:
            with closing(PostgresDatabase(self.address, for_reading=False)) as database:
                self._check(database.connection())
                self._migrate(database)
        except DatabaseError as error:
            if _code(error) in _IN_USE:
                told = f"its tables are to be changed, and are read by somebody for long: {error}"
                raise AwayServerError(Path(self.name), told) from error
            raise self.unusable(error) from error
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
                if version > VERSION:
                    _hold_others(run)
                    self._check_others(run, range(version, len(STEPS)))
                take_steps(run, version)
            run("COMMIT")
        except BaseException:
            database.roll_back()
            raise

    def _check_others(self, run: Callable[[str], Any], steps: range) -> None:
        """Raises OlderHostsError where one that lives could not go on with what the steps leave it."""
        if NOT_ADDING.isdisjoint(steps):
            return
        older = [
            name for (name,) in run(_OLDER_HOSTS.format(version=len(STEPS), lives_for=LIVES_FOR)).fetchall()
        ]
        if older:
            raise OlderHostsError(self.name, older)

    def open_for_writing(self) -> PostgresDatabase:
        database = PostgresDatabase(self.address, for_reading=False)
        database.connection().limit_transactions()
        database.connection().keep_to_indexes()
        return database

    def open_for_reading(self, is_patient: bool = False) -> PostgresDatabase:
        database = PostgresDatabase(self.address, for_reading=True)
        if is_patient:
            database.connection().run("SET statement_timeout = 0")
        return database

    def ground(self) -> Server:
        return Server()

    def time(self) -> Reading:
        try:
            with closing(self.open_for_reading()) as database:
                return database.time()
        except DatabaseError as error:
            raise self.unusable(error) from error

    def listen(
        self, on_text: Callable[[str], None], on_look: Callable[[Looked], None], greeting: str, beat: float
    ) -> PostgresListening:
        def connect() -> PostgresConnection:
            return PostgresConnection(self.address, for_reading=False)

        return PostgresListening(connect, on_text, on_look, greeting, beat)

    def size(self, database: Database) -> int:
        """Of all that the schema has."""
        return int(database.connection().run(_SIZE).fetchone()[0])

    def unusable(self, reason: object) -> UnusableDatabaseError:
        is_away = isinstance(reason, Exception) and self.is_trouble(reason) and not _is_refusal(reason)
        return (AwayServerError if is_away else UnusableServerError)(Path(self.name), reason)

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
        return isinstance(error, LostUpdateError | OvertakenError) or _code(error) in _PASSING


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
_ORIGIN: Final = """
    SELECT system_identifier || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8) FROM pg_control_system()
"""
"""The timeline is that of what is written now: pg_control_checkpoint() tells it only some time after a failover."""

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
_OLDER_HOSTS: Final = """
    SELECT name FROM hosts WHERE schema < {version} AND left_at IS NULL AND lost_at IS NULL
    AND clock_timestamp() - seen_at::timestamptz < make_interval(secs => coalesce(lost_after, {lives_for}))
    ORDER BY name
"""
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


def _hold_others(run: Callable[[str], Any]) -> None:
    """Have other hosts wait, each before its next transaction: amid one they may have locked what is to be changed."""
    run(f"SET LOCAL lock_timeout = '{_CHANGES_WAIT_FOR}'")
    run("LOCK TABLE hosts IN ACCESS EXCLUSIVE MODE")


def _code(error: Exception) -> str | None:
    """PostgreSQL's own code of one of peewee's errors, which may be of another of peewee's, if it tells one."""
    told: Any = error
    while (orig := getattr(told, "orig", None)) is not None:
        told = orig
    code: str | None = getattr(told, "sqlstate", None)
    return code


def _is_refusal(error: Exception) -> bool:
    """Whether no connection came about, and none will: by a word of the server's, or an address that makes no sense."""
    cause = error.__cause__
    wants_password = (
        isinstance(cause, psycopg.Error) and cause.pgconn is not None and cause.pgconn.needs_password
    )
    return wants_password or isinstance(cause, psycopg.ProgrammingError) or is_lasting(str(error))


def _is_broken(error: Exception) -> bool:
    """Whether the server, or the way to it, is to blame."""
    code = _code(error)
    return code is not None and code.startswith(_TROUBLE)
