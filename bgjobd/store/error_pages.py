"""The SQL that reads errors, which are told by the ends of attempts: in pages, and one with what there is to it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError
from bgjob.words import INT_MAX, ErrorSort
from bgjobd.core.fingerprint import NEW_FOR
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import error_traits
from bgjobd.store.engines import Connection

_MOST_ATTEMPTS: Final = 2000
"""How many of an error's newest attempts are counted by class."""

_MOST_OF_PAGE: Final = 1000
_MOST_OF_LISTED: Final = 200
_LEAST_OF_LISTED: Final = 20
"""How many are looked at of all on a page, and of one of them at most, and at least."""

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
_IS_WANTED: Final = "g.last_at >= :since AND {more}"
_PAGES: Final = {
    ErrorSort.LAST: f"""
    {_ERRORS} INDEXED BY errors_by_time
    WHERE (g.last_at, g.id) < (:at, :id) AND {_IS_WANTED}
    ORDER BY g.last_at DESC, g.id DESC LIMIT :limit
""",
    ErrorSort.NEWEST: f"""
    {_ERRORS} NOT INDEXED WHERE g.id < :id AND {_IS_WANTED} ORDER BY g.id DESC LIMIT :limit
""",
    ErrorSort.FAILED: f"""
    {_ERRORS} WHERE g.id IN (
        SELECT id FROM error_groups AS g NOT INDEXED
        WHERE (g.failed, g.id) < (:at, :id) AND {_IS_WANTED} ORDER BY g.failed DESC, g.id DESC LIMIT :limit)
    ORDER BY g.failed DESC, g.id DESC
""",
}
"""By the order: ids grow as errors are met for the first time; by failures all are looked through, of which there are
no more than MOST_ERRORS.
"""

_AT: Final = {ErrorSort.LAST: "last_at", ErrorSort.NEWEST: "first_at", ErrorSort.FAILED: "failed"}
"""What a place in each order begins with."""

_RETRIES: Final = "j.status = 'pending' AND j.ready = 0 AND j.scheduled_at > :now"
LATELY: Final = f"""
    SELECT w.value, count(DISTINCT j.class_name), count(DISTINCT CASE WHEN {_RETRIES} THEN j.id END), count(*)
    FROM json_each(:ids) AS w CROSS JOIN job_attempts AS e INDEXED BY attempts_of_error
    ON e.error_group = w.value AND e.error_group IS NOT NULL AND e.job_id >= coalesce((
        SELECT job_id FROM job_attempts INDEXED BY attempts_of_error
        WHERE error_group = w.value AND error_group IS NOT NULL ORDER BY job_id DESC LIMIT 1 OFFSET :most - 1), 0)
    CROSS JOIN background_jobs AS j ON j.id = e.job_id GROUP BY w.value
"""
"""Of the newest attempts that each has ended the classes, the jobs that wait for a retry, and how many those are."""

ONE: Final = f"{_ERRORS} WHERE g.id = :id"
CLASSES: Final = f"""
    SELECT j.class_name, count(*), count(DISTINCT CASE WHEN j.status = 'failed' THEN j.id END),
        count(DISTINCT CASE WHEN {_RETRIES} THEN j.id END), min(CASE WHEN {_RETRIES} THEN j.scheduled_at END)
    FROM (
        SELECT job_id FROM job_attempts INDEXED BY attempts_of_error
        WHERE error_group = :id AND error_group IS NOT NULL ORDER BY job_id DESC LIMIT {_MOST_ATTEMPTS}
    ) AS e CROSS JOIN background_jobs AS j ON j.id = e.job_id
    GROUP BY j.class_name ORDER BY 2 DESC, 1
"""
TRACEBACK: Final = "SELECT traceback FROM job_attempts WHERE job_id = :job_id AND number = :number"

_FROM_NOW: Final = "~", INT_MAX
"""Behind all that is stored, as texts are compared."""

_FROM_MOST: Final = INT_MAX, INT_MAX


class ErrorFilter(NamedTuple):
    """Which errors: met since a stored instant, by a class, for the first time since a stored instant; None: any. Then
    which of them come first.
    """

    since: str | None = None
    class_name: str | None = None
    first_since: str | None = None
    sort: ErrorSort = ErrorSort.LAST

    @property
    def is_search(self) -> bool:
        """Whether many are looked at to find those of a page."""
        return self.class_name is not None or self.sort is ErrorSort.FAILED


class ErrorRead(NamedTuple):
    """An error with how many of its newest attempts are of each class, and the newest traceback that is kept.

    `met_by` has what became of the jobs of each class, `next_retry` is the stored instant of the first that waits for
    one, `traits` what its attempts have in common, None unless that was asked.
    """

    error: JsonObject
    classes: dict[str, int]
    traceback: str | None
    met_by: list[JsonObject]
    next_retry: str | None
    traits: JsonObject | None


def page_of(wanted: ErrorFilter) -> str:
    """The statement for a page of these."""
    more = [
        *([_OF_CLASS] if wanted.class_name is not None else []),
        *(["g.first_at >= :first_since"] if wanted.first_since is not None else []),
    ]
    return _PAGES[wanted.sort].format(more=" AND ".join(more) or "true")


def page(
    connection: Connection, wanted: ErrorFilter, before: str | None, limit: int, now: float
) -> tuple[list[JsonObject], str | None]:
    """Errors in their order, from behind the place `before`; and where to go on. Raises InvalidParameterError where
    that is none.
    """
    at, id = _begin(wanted.sort) if before is None else _place_in(before, wanted.sort)
    given = {
        "class_name": wanted.class_name,
        "first_since": wanted.first_since,
        "since": wanted.since or "",
        "at": at,
        "id": id,
        "limit": limit + 1,
    }
    rows = [_shown(row, now) for row in connection.execute(page_of(wanted), given).fetchall()]
    shown, has_more = rows[:limit], len(rows) > limit
    following = f"{shown[-1][_AT[wanted.sort]]} {shown[-1]['id']}" if has_more else None
    return _with_those_that_met(connection, shown, now), following


def _with_those_that_met(connection: Connection, errors: list[JsonObject], now: float) -> list[JsonObject]:
    """These with what their newest attempts tell."""
    most = min(_MOST_OF_LISTED, max(_LEAST_OF_LISTED, _MOST_OF_PAGE // max(1, len(errors))))
    given = {"ids": to_json([one["id"] for one in errors]), "most": most, "now": to_text(now)}
    found = {int(id): told for id, *told in connection.execute(LATELY, given).fetchall()}
    return [
        one | dict(zip(("classes", "retrying", "counted"), found.get(one["id"], (0, 0, 0)), strict=True))
        for one in errors
    ]


def one(connection: Connection, error_id: int, now: float, with_traits: bool) -> ErrorRead | None:
    """The error, if wanted with what its attempts have in common; None where there is none, or it is forgotten."""
    row = connection.execute(ONE, {"id": error_id}).fetchone()
    if row is None:
        return None
    error = _shown(row, now)
    rows = connection.execute(CLASSES, {"id": error_id, "now": to_text(now)}).fetchall()
    met_by = [dict(zip(_MET_BY, of_class, strict=False)) for of_class in rows]
    retrying = sum(of_class["retrying"] for of_class in met_by)
    counted = sum(of_class["attempts"] for of_class in met_by)
    last = {"job_id": error["last_job"], "number": error["last_attempt"]}
    (traceback,) = connection.execute(TRACEBACK, last).fetchone() or (None,)
    return ErrorRead(
        error | {"classes": len(rows), "retrying": retrying, "counted": counted},
        {of_class["class_name"]: of_class["attempts"] for of_class in met_by},
        traceback,
        met_by,
        min((due for *_, due in rows if due is not None), default=None),
        _traits(connection, error, rows) if with_traits else None,
    )


def _traits(connection: Connection, error: JsonObject, of_classes: list[tuple[Any, ...]]) -> JsonObject:
    return error_traits.as_json(error_traits.read(connection, error, [name for name, *_ in of_classes]))


_MET_BY: Final = ("class_name", "attempts", "failed", "retrying")


def _begin(sort: ErrorSort) -> tuple[str | int, int]:
    return _FROM_MOST if sort is ErrorSort.FAILED else _FROM_NOW


def _place_in(before: str, sort: ErrorSort) -> tuple[str | int, int]:
    at, _, id = before.partition(" ")
    is_by_number = sort is ErrorSort.FAILED
    if not (_is_number(id) and (_is_number(at) or not is_by_number)):
        raise InvalidParameterError(parameter="before")
    return int(at) if is_by_number else at, int(id)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < len(str(INT_MAX))


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
