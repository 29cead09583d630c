"""A row of an outbox: what it asks of a daemon, and what becomes of it by the answer. No SQL and no I/O here."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Final, NamedTuple

from bgjob import errors, sending, submitting_calls, values
from bgjob.calls import Call
from bgjob.codec import to_json

TABLE: Final = "bgjob_outbox"

PORTION: Final = 100
"""Rows that are read at a time."""

OWNERS_TIME: Final = 5.0
"""Seconds for which a row is left to the process that wrote it, which submits it right after its commit."""


KEY_TAKEN: Final = "a job of another class or method has the key of this row"
"""How the reason begins for which a row is refused that nothing mends but its end."""

_FIELDS: Final = ("class_name", "method_name", "parameters", "retry_count", "options")


class Row(NamedTuple):
    """`key`: 32 hex digits, the idempotency key of the job. `request`: the fields of Submit without it, as JSON."""

    key: str
    request: str


class Fate(Enum):
    """What becomes of a row by what its submit came to."""

    DELETED = "the job is stored"
    REFUSED = "it is refused, now and later"
    WAITS = "it is refused at present; others may be taken"
    ALL_WAIT = "the daemon takes none at present"


_OF_ERRORS: Final[Mapping[type[errors.BgjobError], Fate]] = {
    errors.NotApprovedError: Fate.REFUSED,
    errors.MethodNotApprovedError: Fate.REFUSED,
    errors.InvalidNameError: Fate.REFUSED,
    errors.InvalidParametersError: Fate.REFUSED,
    errors.InvalidParameterError: Fate.REFUSED,
    errors.TooLargeError: Fate.REFUSED,
    errors.IdempotencyConflictError: Fate.REFUSED,
    errors.DuplicateError: Fate.REFUSED,
    errors.JobNotFoundError: Fate.REFUSED,
    errors.GroupNotFoundError: Fate.REFUSED,
    errors.GroupSealedError: Fate.REFUSED,
    errors.ClassUnavailableError: Fate.WAITS,
    errors.QueueFullError: Fate.WAITS,
    errors.PermissionDeniedError: Fate.WAITS,
    errors.InternalError: Fate.WAITS,
}


def fate(error: errors.BgjobError | None) -> Fate:
    """Of a row whose submit has ended with this error, or well. What is not known of an error, time may mend."""
    return Fate.DELETED if error is None else _OF_ERRORS.get(type(error), Fate.ALL_WAIT)


def new_row(job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, now: datetime) -> Row:
    """A row that asks for the job, which has the fields of Submit; the retries are what the client's class sets, or
    None. A delay counts from `now`, an instant with its offset, and not from when the row is submitted.

    Raises TypeError for an idempotency key, as the row's own is one, and for a value that JSON has no form for; what no
    daemon is asked for is InvalidParametersError, TooLargeError.
    """
    call = submitting_calls.submit(job, max_retries, retry_delay)
    asked = values.plain(call.parameters)
    sending.check_frame(call._replace(parameters=asked).request)
    options = {**asked["options"]}
    if (job.get("options") or {}).get("idempotency_key") is not None:
        raise TypeError("a row of an outbox has an idempotency key of its own; leave yours out")
    del options["idempotency_key"]
    if "delay" in options and "at" not in options:
        options["at"] = (now + timedelta(seconds=options.pop("delay"))).isoformat()
    return Row(os.urandom(16).hex(), to_json({**asked, "options": options}))


def submission(row: Row) -> Call[int]:
    """What the row asks for, by its key: its answer is the job's id. Raises ValueError for a text that `new_row` has
    not made, and what else it may be that somebody else has written.
    """
    try:
        job = json.loads(row.request)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{row.key} is no row of an outbox: {error}") from None
    if not isinstance(job, dict):
        raise ValueError(f"{row.key} is no row of an outbox")
    if "check_only" in job:  # it would be deleted, and nobody have stored it
        raise ValueError(f"{row.key} is no row of an outbox: it is to be checked only")
    for field, kind in (("class_name", str), ("options", dict)):
        if not isinstance(job.get(field), kind):
            raise ValueError(f"{row.key} is no row of an outbox: it has no {field}")
    asked = {field: job[field] for field in _FIELDS if field in job}
    try:
        call = submitting_calls.submit(
            {**asked, "options": {**job["options"], "idempotency_key": row.key}}, None, None
        )
    except TypeError as error:
        raise ValueError(f"{row.key} is no row of an outbox: {error}") from None
    sending.check_frame(call.request)
    return call


def sentence(error: Exception | None) -> str:
    """Why a row is refused, as any database takes a text: without NUL and what no UTF-8 has."""
    return str(error).replace("\0", "?").encode(errors="replace").decode()
