"""`bgjob outbox`: submits what stays in the outbox of an application, shows it, and prints what makes its table."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

from bgjob import text
from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import NOT_FOUND, OK, REFUSED, UNAVAILABLE, code_of, explained, followed
from bgjob.commands.tables import Column, Cut
from bgjob.errors import BgjobError, NoDriverError

if TYPE_CHECKING:
    from bgjob.outbox.databases import Database
    from bgjob.outbox.flushing import Flushed

T = TypeVar("T")

ALL: Final = "all"
DATABASES: Final = ("sqlite", "postgresql")


def outbox(client: Client, given: argparse.Namespace) -> int:
    """Submit the jobs that stay in the outbox of an application, a table of its database."""
    if given.ddl is not None:
        from bgjob.outbox.statements import DDL

        screen.show(DDL[given.ddl])
        return OK
    if given.watch:
        return _watch(client, given)
    try:
        with closing(_connected(given.dsn)) as connection:
            return _once(client, given, connection)
    except Exception as error:
        screen.say(_trouble(error))
        return UNAVAILABLE


def _once(client: Client, given: argparse.Namespace, connection: Any) -> int:
    from bgjob.outbox.databases import database_of
    from bgjob.outbox.flushing import again
    from bgjob.outbox.statements import EVERY_ROW

    database = database_of(connection)
    if given.list:
        return _list(database.run(EVERY_ROW), given.json)
    if given.again is not None:
        keys = [] if given.again == ALL else [given.again]
        if not _carried_out(client, database, again(keys)):
            screen.say(f"no job that was refused has the key {given.again}; --list has those there are")
            return NOT_FOUND
    flushed = _flushed(client, database)
    _tell(flushed, given.json)
    if flushed.trouble is None:
        return REFUSED if flushed.refused else OK
    screen.say(_trouble(flushed.trouble))
    return code_of(flushed.trouble) if isinstance(flushed.trouble, BgjobError) else UNAVAILABLE


def _watch(client: Client, given: argparse.Namespace) -> int:
    from bgjob.outbox.databases import database_of
    from bgjob.outbox.telling import watch

    connection: Any = None

    def look() -> str:
        nonlocal connection
        try:
            connection = connection or _connected(given.dsn)
            flushed = _flushed(client, database_of(connection))
        except Exception as error:
            _close(connection)
            connection = None
            return _trouble(error)
        if flushed.submitted or flushed.refused:
            _tell(flushed, given.json)
        return "" if flushed.trouble is None else _trouble(flushed.trouble)

    watch(look, screen.say, given.every)


def _connected(dsn: str) -> Any:
    from bgjob.outbox.dsn import connected

    return connected(dsn)


def _close(connection: Any) -> None:
    if connection is not None:
        with suppress(Exception):
            connection.close()


def _flushed(client: Client, database: Database) -> Flushed:
    from bgjob.outbox.flushing import Flush, all_rows

    flush = Flush(database.dialect.has_row_locks, time.monotonic)
    return _carried_out(client, database, all_rows(flush))


def _carried_out(client: Client, database: Database, steps: Generator[Any, Any, T]) -> T:
    from bgjob.outbox.outboxes import answer, carried_out, run_by

    return carried_out(steps, run_by(database), partial(answer, client))


def _trouble(error: Exception) -> str:
    """What is told of a daemon or a database that is away, or of a table that is not there. Raises what is a bug."""
    from bgjob.outbox.databases import is_missing_table, is_of_database

    if isinstance(error, NoDriverError):
        return str(error)
    if isinstance(error, BgjobError):
        return explained(error)
    if not is_of_database(error):
        raise error
    told = " ".join(str(error).split())
    return followed(told, "`bgjob outbox --ddl` prints what makes it") if is_missing_table(error) else told


def _tell(flushed: Flushed, is_json: bool) -> None:
    from bgjob.outbox.telling import counts

    for key, why in flushed.refused:
        screen.say(
            followed(f"{key} is refused: {why}", f"`bgjob outbox --dsn … --again {key}` submits it again")
        )
    if is_json:
        refused = [{"key": str(key), "why": why} for key, why in flushed.refused]
        screen.tell_json({"submitted": flushed.submitted, "refused": refused, "waiting": flushed.waiting})
        return
    screen.tell(counts(flushed))


# The list


def _list(rows: Sequence[tuple[Any, ...]], is_json: bool) -> int:
    found = [_row(*row) for row in rows]
    if is_json:
        screen.tell_json({"rows": found})
        return OK
    if not found:
        screen.say("no job is in the outbox")
        return OK
    now = time.time()
    columns = [
        Column("KEY", [row["key"] for row in found]),
        Column("JOB", [text.target(row) for row in found], cut=Cut.BEGINNING),
        Column("WRITTEN", [text.when(row["created_at"], now) for row in found]),
        Column("", ["waits" if row["refused"] is None else "refused" for row in found]),
        Column("NOTE", [row["refused"] or "" for row in found], cut=Cut.END),
    ]
    screen.show(tables.table(columns))
    return OK


def _row(key: str, request: str, created_at: str, refused: str | None) -> dict[str, Any]:
    """A row as it is shown: of the job only what runs, for its parameters may be secret."""
    job: Any = None
    with suppress(ValueError, RecursionError):
        job = json.loads(request)
    names = {
        name: str(job.get(name)) if isinstance(job, dict) else "?" for name in ("class_name", "method_name")
    }
    return {"key": str(key), **names, "created_at": _try_instant(created_at), "refused": refused}


def _try_instant(created_at: str) -> str | None:
    """As times are stored by a daemon; SQLite has it without an offset, in UTC. None for what is no instant."""
    with suppress(ValueError):
        at = datetime.fromisoformat(created_at)
        at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
        return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    return None
