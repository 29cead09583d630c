"""`bgjob outbox`: submits what stays in the outbox of an application, shows it, and prints what makes its table."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from bgjob import text
from bgjob.client import Client
from bgjob.commands import screen, tables
from bgjob.commands.problems import NOT_FOUND, OK, REFUSED, UNAVAILABLE, code_of, explained, followed
from bgjob.commands.tables import Column, Cut
from bgjob.errors import BgjobError, NoDriverError

if TYPE_CHECKING:
    from bgjob.outbox.databases import Database
    from bgjob.outbox.flushing import Flushed

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
    from bgjob.outbox import statements
    from bgjob.outbox.databases import database_of
    from bgjob.outbox.flushing import Turn

    database = database_of(connection)
    if given.list:
        return _list(database.run(statements.EVERY_ROW), given.json)
    if given.again is not None:
        found = database.run(statements.again(None if given.again == ALL else given.again))
        database.run(Turn.COMMIT)
        if not found and given.again != ALL:
            screen.say(f"no job that was refused has the key {given.again}; --list has those there are")
            return NOT_FOUND
    flushed = _flushed(client, database)
    _tell(flushed, given.json)
    if flushed.trouble is None:
        return REFUSED if flushed.refused else OK
    screen.say(_trouble(flushed.trouble))
    return code_of(flushed.trouble) if isinstance(flushed.trouble, BgjobError) else UNAVAILABLE


def _watch(client: Client, given: argparse.Namespace) -> int:
    """Flush again and again; nobody tells when somebody has written, so the table is looked at."""
    from bgjob.outbox.databases import database_of

    connection, said = None, ""
    while True:
        try:
            connection = connection or _connected(given.dsn)
            flushed = _flushed(client, database_of(connection))
            trouble = "" if flushed.trouble is None else _trouble(flushed.trouble)
            if flushed.submitted or flushed.refused:
                _tell(flushed, given.json)
        except Exception as error:
            trouble = _trouble(error)
            _close(connection)
            connection = None
        if trouble != said:
            screen.say(
                f"{trouble}; looking again every {given.every:g} s" if trouble else "all is well again"
            )
            said = trouble
        time.sleep(given.every)


def _connected(dsn: str) -> Any:
    from bgjob.outbox.dsn import connected

    return connected(dsn)


def _close(connection: Any) -> None:
    if connection is not None:
        with suppress(Exception):
            connection.close()


def _flushed(client: Client, database: Database) -> Flushed:
    from bgjob.outbox import statements
    from bgjob.outbox.flushing import Turn, all_rows
    from bgjob.outbox.outboxes import carried_out

    flushed = carried_out(all_rows(database.dialect), database, client)
    ((waiting,),) = database.run(statements.WAITING)  # the rest of them, where the daemon took none
    database.run(Turn.COMMIT)
    return flushed._replace(waiting=waiting)


def _trouble(error: Exception) -> str:
    """What is told of a daemon or a database that is away, or of a table that is not there. Raises what is a bug."""
    from bgjob.outbox.databases import is_of_database
    from bgjob.outbox.rows import TABLE

    if isinstance(error, NoDriverError):
        return str(error)
    if isinstance(error, BgjobError):
        return explained(error)
    if not is_of_database(error):
        raise error
    told = " ".join(str(error).split())
    is_missing = TABLE in told and ("no such" in told or "not exist" in told)
    return followed(told, "`bgjob outbox --ddl` prints what makes it") if is_missing else told


def _tell(flushed: Flushed, is_json: bool) -> None:
    for key, why in flushed.refused:
        screen.say(
            followed(f"{key} is refused: {why}", f"`bgjob outbox --dsn … --again {key}` submits it again")
        )
    if is_json:
        refused = [refusal._asdict() for refusal in flushed.refused]
        screen.tell_json({"submitted": flushed.submitted, "refused": refused, "waiting": flushed.waiting})
        return
    counts = (
        f"{_counted(flushed.submitted)} submitted",
        f"{len(flushed.refused)} refused",
        f"{flushed.waiting} to be submitted later",
    )
    wanted = (True, bool(flushed.refused), bool(flushed.waiting))
    screen.tell(", ".join(told for told, is_wanted in zip(counts, wanted, strict=True) if is_wanted))


def _counted(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


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


def _row(key: str, request: str, created_at: datetime | str, refused: str | None) -> dict[str, Any]:
    """A row as it is shown: of the job only what runs, for its parameters may be secret."""
    job: Any = None
    with suppress(ValueError, RecursionError):
        job = json.loads(request)
    names = {
        name: str(job.get(name)) if isinstance(job, dict) else "?" for name in ("class_name", "method_name")
    }
    return {"key": key, **names, "created_at": _instant(created_at), "refused": refused}


def _instant(created_at: datetime | str) -> str:
    """As times are stored by a daemon; SQLite has it as a text without an offset, in UTC."""
    at = datetime.fromisoformat(created_at) if isinstance(created_at, str) else created_at
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
