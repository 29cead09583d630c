"""What a change makes of jobs that wait, by the daemon's rules; nothing runs here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.submission_rules import check_change
from bgjob.testing.submissions import MAX_RETRIES_CAP, instant, try_seconds


def new_terms(given: JsonObject) -> JsonObject:
    """What is to be in the rows of the jobs. Raises InvalidParameterError."""
    check_change(given)
    if (given.get("max_retries") or 0) > MAX_RETRIES_CAP:
        raise InvalidParameterError(parameter="max_retries")
    without = given.get("without") or ()
    for place, name in enumerate(without):
        if given.get(name) is not None:
            raise InvalidParameterError(parameter=f"without.{place}")
    timeout = given.get("timeout")
    terms: dict[str, Any] = {
        "priority": given.get("priority"),
        "queue": given.get("queue"),
        "scheduled_at": _try_instant(given, "at"),
        "expires_at": _try_instant(given, "expires_at"),
        "timeout": None if timeout is None else float(timeout),
        "max_retries": given.get("max_retries"),
    }
    removed = {"scheduled_at" if name == "at" else name: None for name in without}
    return {name: value for name, value in terms.items() if value is not None} | removed


def change(rows: Sequence[JsonObject], terms: JsonObject) -> None:
    """Give all of them these terms, or raise InvalidParameterError."""
    for row in rows:
        _check_fit(row, row | terms)
    for row in rows:
        if row | terms != row:
            row.update(terms, updated_at=instant())


def _check_fit(before: JsonObject, after: JsonObject) -> None:
    def is_new(name: str) -> bool:
        return bool(after[name] != before[name])

    has_begun = after["started_at"] is not None
    at, by = after["scheduled_at"], after["expires_at"]
    is_late = at is not None and by is not None and at >= by and not has_begun
    if is_new("max_retries") and after["max_retries"] < after["retry_count"]:
        raise InvalidParameterError(parameter="max_retries")
    if is_new("expires_at") and by is not None and has_begun:
        raise InvalidParameterError(parameter="expires_at")
    if is_late and (is_new("scheduled_at") or is_new("expires_at")):
        raise InvalidParameterError(parameter="at" if is_new("scheduled_at") else "expires_at")


def _try_instant(given: JsonObject, name: str) -> str | None:
    if given.get(name) is None:
        return None
    at = try_seconds(given[name])
    if at is None:
        raise InvalidParameterError(parameter=name)
    return instant(at)
