"""PostgreSQL as an engine: its schema is there and of this version, whatever else is asked of it, what its errors mean.

Beside its neighbours of this folder the one place that knows psycopg.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from peewee import DatabaseError, OperationalError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bgjobd.host.clock import Reading
from bgjobd.store.committed import LostUpdateError, OvertakenError
from bgjobd.store.database import UncertainCommitError, UnusableDatabaseError
from bgjobd.store.engines import Database, Looked, OldSnapshot, TermOverError, postgres_indexes
from bgjobd.store.engines.postgres_connection import SCHEMA, PostgresConnection
from bgjobd.store.engines.postgres_errors import IN_USE, PASSING, code_of, is_broken, is_refusal
from bgjobd.store.engines.postgres_indexes import BeingBuiltError
from bgjobd.store.engines.postgres_listening import PostgresListening
from bgjobd.store.engines.postgres_schema import NOT_ADDING, VERSION, create, statements_from, take_steps
from bgjobd.store.engines.postgres_snapshots import OLDEST_SNAPSHOT
from bgjobd.store.engines.postgres_transactions import PostgresDatabase
from bgjobd.store.engines.server_errors import AwayServerError, UnusableServerError
from bgjobd.store.hosts import LIVES_FOR
from bgjobd.store.migrations import STEPS, OlderHostsError, SchemaTooNewError

OLDEST: Final = 140000

_MIGRATION_LOCK: Final = 0x62676A6F01
"""The advisory lock of who migrates."""

_CHANGES_WAIT_FOR: Final = "5s"
"""How long a change of the tables waits for who reads them: all others wait behind it."""


class ServersSchemaTooNewError(SchemaTooNewError):
    """The same, where no file can be restored."""

    def __init__(self, name: str, found: int) -> None:
        Exception.__init__(
            self,
            f"the database {name} has schema version {found}, this bgjobd knows up to {len(STEPS)}; "
            "install the newer bgjobd",
        )


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

    def leave(self) -> None: ...


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
                self._build_indexes(database.connection(), on_progress)
                self._migrate(database)
        except BeingBuiltError as error:
            raise AwayServerError(Path(self.name), error) from error
        except DatabaseError as error:
            if code_of(error) in IN_USE:
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

    def _build_indexes(self, connection: PostgresConnection, on_progress: Callable[[], None]) -> None:
        """Those for which all would have to wait amid the steps, where there are other hosts that go on meanwhile."""
        version = _version(connection.run)
        if VERSION < version < len(STEPS):
            postgres_indexes.build(connection.run, SCHEMA, statements_from(version), on_progress)

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
                postgres_indexes.check_finished(run, SCHEMA, statements_from(version))
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

    def oldest_snapshot(self, database: Database) -> OldSnapshot | None:
        found = database.connection().run(OLDEST_SNAPSHOT).fetchone()
        return None if found is None else OldSnapshot(*found)

    def unusable(self, reason: object) -> UnusableDatabaseError:
        is_away = isinstance(reason, Exception) and self.is_trouble(reason) and not is_refusal(reason)
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
        is_without_code = isinstance(error, OperationalError) and code_of(error) is None
        return is_without_code or is_broken(error)

    def is_away(self, error: Exception) -> bool:
        return self.is_trouble(error)

    def is_passing(self, error: Exception) -> bool:
        return isinstance(error, LostUpdateError | OvertakenError) or code_of(error) in PASSING


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
