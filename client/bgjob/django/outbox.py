"""The outbox: a row for each job that a transaction asks for, which its commit submits. When and where it is written,
and how it is found there; what becomes of rows stands in `flushing`, what one asks for in `bgjob.outbox.rows`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections, router, transaction
from django.db.transaction import TransactionManagementError
from django.utils import timezone

from bgjob import errors, submitting_calls
from bgjob.codec import JsonObject
from bgjob.connections import try_substitute
from bgjob.django import flushing
from bgjob.django.flushing import OnStored, Sender
from bgjob.django.models import OutboxRow
from bgjob.errors import BgjobError
from bgjob.outbox import direct, rows
from bgjob.outbox.databases import is_missing_table, marked
from bgjob.outbox.flushing import Flushed
from bgjob.outbox.outboxes import is_attempt, logged
from bgjob.outbox.rows import Fate, Row, fate, submission
from bgjob.outbox.statements import Statement
from bgjob.words import Status

if TYPE_CHECKING:
    from bgjob.submitting_calls import Options

_log = logging.getLogger("bgjob.outbox")


def run_background_job(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None = None,
    retry_count: int = 0,
    *,
    using: str | None = None,
    backend: str = "",
    **options: Unpack[Options],
) -> str:
    """Ask for a job in the transaction that is open: its commit submits it, a rollback leaves nothing. Where none is,
    submit it now, or later if no daemon takes it at present. What is returned is its key, for `Client.get(key=)`.

    `using` is the alias of the database, else it is that of the transaction; `backend` is an alias in TASKS whose
    daemon is meant, else it is that of `bgjob.run_background_job`. Raises InvalidParametersError, TooLargeError,
    TypeError for an `idempotency_key`; TransactionManagementError for a transaction where no outbox is allowed; and
    what the daemon refuses, where no transaction is open.
    """
    row = new_row(submitting_calls.job_of(class_name, method_name, parameters, retry_count, options))
    submit(row, backend, lambda job: None, using)
    return row.key


def new_row(job: Mapping[str, Any]) -> Row:
    """A row that asks for the job, with the fields of Submit. Raises what `rows.new_row` does."""
    return rows.new_row(job, None, None, datetime.now(UTC))


def submit(row: Row, backend: str, on_stored: OnStored, using: str | None = None) -> None:
    """Write the row in the transaction that is open, whose commit submits it, or hand the job over there where a daemon
    works from this database; where none is open, submit it now. `on_stored` hears of the job where it is this process
    that has done so.

    Raises the RequestError of what is refused for good, where no transaction is open.
    """
    using = using or database()
    sender = Sender(backend, flushing.PATIENCE)
    if not _is_in_transaction(using):
        _submit_now(row, sender, on_stored, using)
        return
    _hear_of_missing_stand_in(row)
    job_id = _try_hand_over(row, sender, using)
    if job_id is not None:
        transaction.on_commit(lambda: on_stored(sender.job(job_id)), using=using, robust=True)
        return
    _write(row, backend, using)
    if connections[using].in_atomic_block:
        flushing.at_commit(row.key, sender, on_stored, using)
    # Else somebody commits by hand, of which nobody hears: it is for the next flush.


def _submit_now(row: Row, sender: Sender, on_stored: OnStored, using: str) -> None:
    if sender.has_just_failed:
        _write(row, sender.alias, using)
        return
    ended = sender.answer(submission(row))
    if isinstance(ended, BgjobError):
        if fate(ended) is Fate.REFUSED:
            raise ended
        _write(row, sender.alias, using)
        logged(Flushed(waiting=1, trouble=ended))
        return
    try:
        flushing.flush(sender, using)
    except Exception:  # the job is stored all the same
        _log.exception("What was left in the outbox was not submitted")
    on_stored(sender.job(ended))


def _hear_of_missing_stand_in(row: Row) -> None:
    """Raises what tests get that have forgotten it: after the commit nobody would hear of that."""
    substitute = try_substitute()
    if substitute is not None:
        call = submission(row)
        with suppress(errors.RequestError):  # that is the row's to meet
            substitute.answer(call._replace(parameters={**call.parameters, "check_only": True}).request)


def _try_hand_over(row: Row, sender: Sender, using: str) -> int | None:
    """The id of the job, where a daemon works from this very database and takes it in the transaction; else None."""
    connection = connections[using]
    if connection.vendor != "postgresql" or not direct.may_be(sender.address):
        return None
    place = tuple([connection.settings_dict.get(name) for name in ("HOST", "PORT", "NAME", "USER")])
    found = direct.LOOKS.try_known(place) or direct.LOOKS.note(place, [_asked(direct.LOOK, using)])
    return _asked(direct.submission(row), using)[0] if direct.takes(found, row, is_attempt()) else None


def _asked(statement: Statement, using: str) -> Any:
    """The row that a statement gives."""
    with connections[using].cursor() as cursor:
        cursor.execute(marked(statement.sql, "format"), statement.values)
        return cursor.fetchone()


def _write(row: Row, backend: str, using: str) -> None:
    fields = {"key": row.key, "request": row.request, "backend": backend}
    written = OutboxRow(**fields, created_at=timezone.now())
    try:
        OutboxRow.objects.using(using).bulk_create([written])  # no signal: it is no receiver's of all models
    except Error as error:
        if is_missing_table(error):
            told = f"the outbox has no table in the database {using!r}: manage.py migrate makes it"
            raise ImproperlyConfigured(told) from error
        raise


# Where rows are


def database() -> str:
    """The alias of the database that a row is written to: that of the router, unless others alone are in a
    transaction. Raises TransactionManagementError where these may not have the table.
    """
    allowed = databases()
    found = next(filter(_is_in_transaction, allowed), None)
    elsewhere = next((using for using in connections if connections[using].in_atomic_block), None)
    if found is None and elsewhere is not None:
        raise TransactionManagementError(
            f"a transaction is open on {elsewhere!r}, where the routers allow no outbox: its commit submits nothing"
        )
    return found or allowed[0]


def databases() -> list[str]:
    """The aliases of those that may have the table, that of the router first."""
    first: str = router.db_for_write(OutboxRow)
    others = [using for using in connections if using != first]
    return [first, *(using for using in others if router.allow_migrate_model(using, OutboxRow))]


def _is_in_transaction(using: str) -> bool:
    connection = connections[using]
    is_open = connection.connection is not None
    commits_each = connection.autocommit if is_open else connection.settings_dict["AUTOCOMMIT"]
    return connection.in_atomic_block or not commits_each


def has_table(using: str) -> bool:
    """Whether the migrations of the application have been applied there."""
    return OutboxRow._meta.db_table in connections[using].introspection.table_names()


def try_job(key: str) -> JsonObject | None:
    """What the row with this key asks for, in whichever database it is."""
    if "\0" in key:  # PostgreSQL takes none
        return None
    for using in filter(has_table, databases()):
        row = OutboxRow.objects.using(using).filter(key=key).first()
        if row is not None:
            with suppress(ValueError):
                return as_job(row, row.refused)
    return None


def as_job(row: OutboxRow, refused: str | None = None) -> JsonObject:
    """The same as `asked_job` of a row. Raises ValueError for one that nobody here has written."""
    return asked_job(submission(Row(row.key, row.request)).parameters, refused)


def asked_job(asked: JsonObject, refused: str | None = None) -> JsonObject:
    """What Submit is asked, as a daemon tells of a job, as far as there is anything to tell."""
    return {
        "class_name": asked["class_name"],
        "method_name": asked["method_name"],
        "parameters": asked.get("parameters") or {},
        "queue": asked["options"].get("queue", "default"),
        "priority": asked["options"].get("priority", 0),
        "status": Status.PENDING if refused is None else Status.FAILED,
        "error": refused,
        "attempts": [],
        **dict.fromkeys(("created_at", "finished_at", "result")),
    }
