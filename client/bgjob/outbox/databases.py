"""The connections that an outbox takes, told by their types, and what a step of a flush is by each; no driver is
imported.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, Final, Protocol

from bgjob.outbox.rows import TABLE
from bgjob.outbox.statements import DIALECTS, POSTGRESQL, SQLITE, Dialect, Statement
from bgjob.outbox.steps import Turn

Rows = list[tuple[Any, ...]]


class Database(Protocol):
    """What is behind a connection."""

    dialect: Dialect

    @property
    def place(self) -> Hashable:
        """Which database it is, and as whom: the same for all connections of a pool."""

    @property
    def is_in_transaction(self) -> bool:
        """Whether something is still to be committed or rolled back."""

    def run(self, step: Statement | Turn) -> Rows:
        """Carry out a step; the rows that it gives."""


class AsyncDatabase(Protocol):
    """The same of an async connection."""

    dialect: Dialect

    @property
    def place(self) -> Hashable: ...

    @property
    def is_in_transaction(self) -> bool: ...

    async def run(self, step: Statement | Turn) -> Rows: ...


def database_of(connection: Any) -> Database:
    """What is behind the connection. Raises TypeError for one that is not known, or async."""
    connection = _unscoped(connection)
    if _is_async(connection):
        raise TypeError(f"{_named(connection)} is for AsyncOutbox: its calls are to be awaited")
    kind: Callable[[Any], Database] = _kind_of(connection, _KINDS)
    return kind(connection)


def async_database_of(connection: Any) -> AsyncDatabase:
    """The same of an async connection."""
    connection = _unscoped(connection)
    if not _is_async(connection):
        raise TypeError(f"{_named(connection)} is for Outbox: its calls are not to be awaited")
    kind: Callable[[Any], AsyncDatabase] = _kind_of(connection, _ASYNC_KINDS)
    return kind(connection)


def is_trouble(error: BaseException) -> bool:
    """Whether it says that the database, or a pool of connections, does not do at present what it should, and not that
    what is asked of it is wrong.

    Each driver, and SQLAlchemy too, has errors by these names (PEP 249).
    """
    names = {kind.__name__ for kind in type(error).__mro__}
    if names & {"ProgrammingError", "InvalidRequestError", "ArgumentError"} or is_missing_table(error):
        return False
    packages = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return isinstance(error, OSError) or bool(packages & _OF_DATABASES)


def is_conflict(error: BaseException) -> bool:
    """Whether the transaction was ended for the sake of another one, and may go through if it is tried again.

    SQLAlchemy and Django keep the driver's error.
    """
    errors = (error, getattr(error, "orig", None), error.__cause__)
    states = {getattr(one, name, None) for one in errors for name in ("sqlstate", "pgcode")}
    return not states.isdisjoint(_CONFLICTS)


_CONFLICTS: Final = ("40001", "40P01")
"""serialization_failure, deadlock_detected"""


def is_missing_table(error: BaseException) -> bool:
    """Whether there is no outbox in the database."""
    told = str(error)
    return TABLE in told and any(how in told for how in ("no such", "not exist", "n't exist"))


def is_of_database(error: BaseException) -> bool:
    """Whether it comes from a driver, whatever it says."""
    names = ((kind.__name__, kind.__module__.partition(".")[0]) for kind in type(error).__mro__)
    return any(name == "Error" and package in _KINDS for name, package in names)


def is_of_other_table(error: BaseException) -> bool:
    """Whether a row could not be written since the table is Django's, which wants a backend."""
    is_refused = any(kind.__name__ == "IntegrityError" for kind in type(error).__mro__)
    return is_refused and "backend" in str(error)


class _Sqlite:
    dialect = SQLITE
    place = None

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def is_in_transaction(self) -> bool:
        if getattr(self._connection, "autocommit", None) is not False:
            return bool(self._connection.in_transaction)
        # With autocommit=False there always is one, in which nothing may have been done yet: SQLite refuses this
        # once something was.
        try:
            self._connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchall()
        except Exception as error:
            return "locked" in str(error)
        return False

    def run(self, step: Statement | Turn) -> Rows:
        match step:
            case Statement(sql, values):
                cursor = self._connection.cursor()
                cursor.row_factory = None  # whatever the connection's makes of a row
                return cursor.execute(sql, values).fetchall()  # type: ignore[no-any-return]  # the driver's
            case Turn.COMMIT:
                self._connection.commit()
            case Turn.ROLL_BACK:
                self._connection.rollback()
            case Turn.BEGIN:
                pass  # it does so by itself, where it is to
        return []


class _BasePsycopg:
    dialect = POSTGRESQL

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @property
    def place(self) -> Hashable:
        info = self._connection.info
        return info.host, info.port, info.dbname, info.user

    @property
    def is_in_transaction(self) -> bool:
        return self._connection.info.transaction_status.name in ("ACTIVE", "INTRANS", "INERROR")

    def _cursor(self) -> Any:
        # Whatever the connection's makes of a row.
        return self._connection.cursor(row_factory=lambda _: tuple)


class _Psycopg(_BasePsycopg):
    def run(self, step: Statement | Turn) -> Rows:
        match step:
            case Statement(sql, values):
                cursor = self._cursor().execute(marked(sql, "format"), values)
                return cursor.fetchall() if cursor.description else []
            case Turn.BEGIN if self._connection.autocommit:
                self._connection.execute("BEGIN")
            case Turn.COMMIT:
                self._connection.commit()
            case Turn.ROLL_BACK:
                self._connection.rollback()
        return []


class _AsyncPsycopg(_BasePsycopg):
    async def run(self, step: Statement | Turn) -> Rows:
        match step:
            case Statement(sql, values):
                cursor = await self._cursor().execute(marked(sql, "format"), values)
                return await cursor.fetchall() if cursor.description else []
            case Turn.BEGIN if self._connection.autocommit:
                await self._connection.execute("BEGIN")
            case Turn.COMMIT:
                await self._connection.commit()
            case Turn.ROLL_BACK:
                await self._connection.rollback()
        return []


class _BaseSqlAlchemy:
    """A Session or a Connection, or what is async of these."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._bind = connection if hasattr(connection, "dialect") else _bind_of(connection)
        name = self._bind.dialect.name
        if name not in DIALECTS:
            raise TypeError(f"an outbox is kept in {' or '.join(DIALECTS)}, not in {name}")
        self.dialect = DIALECTS[name]

    @property
    def place(self) -> Hashable:
        return self._bind.engine.url, id(self._bind.engine)

    @property
    def is_in_transaction(self) -> bool:
        # What a session commits on a connection that it was given may be no more than a savepoint of that one's.
        is_of_bind = hasattr(self._bind, "in_transaction") and self._bind.in_transaction()
        return bool(self._connection.in_transaction() or is_of_bind)


def _bind_of(session: Any) -> Any:
    try:
        return session.get_bind()
    except Exception as error:
        if type(error).__name__ != "UnboundExecutionError":
            raise
        told = "which database of this session has the outbox is not known: give its session.connection(…) instead"
        raise TypeError(told) from error


class _SqlAlchemy(_BaseSqlAlchemy):
    def run(self, step: Statement | Turn) -> Rows:
        return _run_by_sqlalchemy(self._connection, step)


class _AsyncSqlAlchemy(_BaseSqlAlchemy):
    async def run(self, step: Statement | Turn) -> Rows:
        rows: Rows = await self._connection.run_sync(_run_by_sqlalchemy, step)
        return rows


def _run_by_sqlalchemy(connection: Any, step: Statement | Turn) -> Rows:
    match step:
        case Statement(sql, values):
            is_session = not hasattr(connection, "exec_driver_sql")
            core = connection.connection() if is_session else connection
            result = core.exec_driver_sql(marked(sql, core.dialect.paramstyle), values)
            return [tuple(row) for row in result] if result.returns_rows else []
        case Turn.COMMIT:
            connection.commit()
        case Turn.ROLL_BACK:
            connection.rollback()
        case Turn.BEGIN:
            pass  # it does so by itself
    return []


_KINDS: Final = {"sqlite3": _Sqlite, "psycopg": _Psycopg, "sqlalchemy": _SqlAlchemy}
_OF_DATABASES: Final = {*_KINDS, "aiosqlite", "asyncpg", "psycopg_pool", "psycopg2", "django"}
_ASYNC_KINDS: Final = {"psycopg": _AsyncPsycopg, "sqlalchemy": _AsyncSqlAlchemy}
"""By the package of a connection's type."""


def _kind_of(connection: Any, kinds: Any) -> Any:
    for cls in type(connection).__mro__:
        with suppress(KeyError):
            return kinds[cls.__module__.partition(".")[0]]
    raise TypeError(
        f"{_named(connection)} is no connection that an outbox knows: those of {', '.join(kinds)} are"
    )


def _unscoped(connection: Any) -> Any:
    """The session of a scoped session of SQLAlchemy."""
    return connection.registry() if type(connection).__name__.endswith("scoped_session") else connection


def _named(connection: Any) -> str:
    return f"a {type(connection).__module__}.{type(connection).__qualname__}"


def _is_async(connection: Any) -> bool:
    return hasattr(type(connection), "__aenter__")


def marked(sql: str, style: str) -> str:
    """The SQL with the driver's own marks for its values, of the styles of PEP 249 that go by place."""
    match style:
        case "qmark":
            return sql
        case "numeric_dollar":
            first, *others = sql.split("?")
            return first + "".join(f"${place}{text}" for place, text in enumerate(others, 1))
        case _:
            return sql.replace("?", "%s")
