"""The SQL that reads errors, which are told by the ends of attempts: in pages, and one with what there is to it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.words import INT_MAX
from bgjobd.core.fingerprint import NEW_FOR
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.engines import Connection

_MOST_ATTEMPTS: Final = 2000
"""How many of an error's newest attempts are counted by class."""

_COLUMNS: Final = (
    *("id", "fingerprint", "outcome", "error_type", "message", "place", "line", "class_name", "is_named"),
    *("name", "first_at", "first_job", "first_version", "last_at", "last_job", "last_attempt"),
    *("last_version", "attempts", "failed", "back_at"),
)
_ERRORS: Final = f"SELECT {', '.join(f'g.{name}' for name in _COLUMNS)} FROM error_groups AS g"
_OF_CLASS: Final = """
    (g.class_name = :class_name OR EXISTS (
        SELECT 1 FROM (
            SELECT job_id FROM job_attempts INDEXED BY attempts_of_error
            WHERE error_group = g.id AND error_group IS NOT NULL ORDER BY job_id DESC LIMIT 20
        ) AS e CROSS JOIN background_jobs AS j ON j.id = e.job_id WHERE j.class_name = :class_name))
"""
_PAGE: Final = f"""
    {_ERRORS} INDEXED BY errors_by_time
    WHERE (g.last_at, g.id) < (:last_at, :id) AND g.last_at >= :since AND {{more}}
    ORDER BY g.last_at DESC, g.id DESC LIMIT :limit
"""
ONE: Final = f"{_ERRORS} WHERE g.id = :id"
CLASSES: Final = f"""
    SELECT j.class_name, count(*) FROM (
        SELECT job_id FROM job_attempts INDEXED BY attempts_of_error
        WHERE error_group = :id AND error_group IS NOT NULL ORDER BY job_id DESC LIMIT {_MOST_ATTEMPTS}
    ) AS e CROSS JOIN background_jobs AS j ON j.id = e.job_id
    GROUP BY j.class_name ORDER BY 2 DESC, 1
"""
TRACEBACK: Final = "SELECT traceback FROM job_attempts WHERE job_id = :job_id AND number = :number"

_FROM_NOW: Final = "~", INT_MAX
"""Behind all that is stored, as texts are compared."""


class ErrorFilter(NamedTuple):
    """Which errors: met since a stored instant, by a class, for the first time since a stored instant; None: any."""

    since: str | None = None
    class_name: str | None = None
    first_since: str | None = None


class ErrorRead(NamedTuple):
    """An error with how many of its newest attempts are of each class, and the newest traceback that is kept."""

    error: JsonObject
    classes: dict[str, int]
    traceback: str | None


def page_of(wanted: ErrorFilter) -> str:
    """The statement for a page of these."""
    more = [
        *([_OF_CLASS] if wanted.class_name is not None else []),
        *(["g.first_at >= :first_since"] if wanted.first_since is not None else []),
    ]
    return _PAGE.format(more=" AND ".join(more) or "true")


def page(
    connection: Connection, wanted: ErrorFilter, before: str | None, limit: int, now: float
) -> tuple[list[JsonObject], str | None]:
    """Errors, those that were met last first, from behind the place `before`; and where to go on. Raises
    InvalidParameterError where that is none.
    """
    last_at, id = _FROM_NOW if before is None else _place_in(before)
    given = {
        "class_name": wanted.class_name,
        "first_since": wanted.first_since,
        "since": wanted.since or "",
        "last_at": last_at,
        "id": id,
        "limit": limit + 1,
    }
    rows = [_shown(row, now) for row in connection.execute(page_of(wanted), given).fetchall()]
    has_more = len(rows) > limit
    return rows[:limit], f"{rows[limit - 1]['last_at']} {rows[limit - 1]['id']}" if has_more else None


def one(connection: Connection, error_id: int, now: float) -> ErrorRead | None:
    """The error; None where there is none, or it is forgotten."""
    row = connection.execute(ONE, {"id": error_id}).fetchone()
    if row is None:
        return None
    error = _shown(row, now)
    classes = dict(connection.execute(CLASSES, {"id": error_id}).fetchall())
    last = {"job_id": error["last_job"], "number": error["last_attempt"]}
    (traceback,) = connection.execute(TRACEBACK, last).fetchone() or (None,)
    return ErrorRead(error, classes, traceback)


def _place_in(before: str) -> tuple[str, int]:
    last_at, _, id = before.partition(" ")
    if not (id.isascii() and id.isdecimal() and len(id) < len(str(INT_MAX))):
        raise InvalidParameterError(parameter="before")
    return last_at, int(id)


def _shown(row: tuple[Any, ...], now: float) -> JsonObject:
    error = dict(zip(_COLUMNS, row, strict=True))
    return error | {
        "is_named": bool(error["is_named"]),
        "is_new": _is_within(error["first_at"], now),
        "is_back": _is_within(error["back_at"], now),
    }


def _is_within(at: str | None, now: float) -> bool:
    return at is not None and now - from_text(at) < NEW_FOR


def new_since(now: float) -> str:
    """Since when what is new was met first, as it is stored."""
    return to_text(now - NEW_FOR)
