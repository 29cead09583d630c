"""Which errors have ended attempts at a stand-in, and what it answers about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import ErrorGroupNotFoundError, InvalidParameterError
from bgjob.fingerprints import Whence
from bgjob.testing.listing import LARGEST_PAGE, PAGE
from bgjob.testing.submissions import instant, try_seconds
from bgjob.words import INTERFACE, ErrorSort, Status

_LONGEST_MESSAGE: Final = 1000


class ErrorBook:
    """The errors by their ids, as the interface tells them."""

    def __init__(self) -> None:
        self._errors: dict[int, JsonObject] = {}
        self._tracebacks: dict[int, str | None] = {}
        self._classes: dict[int, dict[str, int]] = {}
        self.answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Errors": self._page,
            f"{INTERFACE}.Error": self._one,
        }

    def meet(self, row: JsonObject, whence: Whence) -> None:
        """Note what has ended the latest attempt of a job, as it stands after that."""
        attempt, now, class_name = row["attempts"][-1], instant(), row["class_name"]
        known = (one for one in self._errors.values() if one["fingerprint"] == whence.fingerprint)
        error = next(known, None) or self._new(row, whence, now)
        attempt["error_group"] = error["id"]
        error.update(
            message=(attempt["error_message"] or row["error"] or "")[:_LONGEST_MESSAGE], line=whence.line
        )
        error.update(last_at=now, last_job=row["id"], last_attempt=attempt["number"])
        error["attempts"] += 1
        error["failed"] += row["status"] == Status.FAILED
        classes = self._classes.setdefault(error["id"], {})
        classes[class_name] = classes.get(class_name, 0) + 1
        self._tracebacks[error["id"]] = attempt["traceback"]

    def _new(self, row: JsonObject, whence: Whence, now: str) -> JsonObject:
        attempt, id = row["attempts"][-1], len(self._errors) + 1
        error = self._errors[id] = {
            "id": id,
            "fingerprint": whence.fingerprint,
            "outcome": attempt["outcome"],
            "error_type": attempt["error_type"],
            "place": whence.place,
            "class_name": row["class_name"],
            "is_named": whence.name is not None,
            "name": whence.name,
            "first_at": now,
            "first_job": row["id"],
            "attempts": 0,
            "failed": 0,
            "is_new": True,
            "is_back": False,
            **dict.fromkeys(("first_version", "last_version", "back_at")),
        }
        return error

    def _page(self, given: JsonObject) -> JsonObject:
        limit = given.get("limit", PAGE)
        if not 1 <= limit <= LARGEST_PAGE:
            raise InvalidParameterError(parameter="limit")
        since = None if given.get("since") is None else try_seconds(given["since"])
        if given.get("since") is not None and since is None:
            raise InvalidParameterError(parameter="since")
        if given.get("sort") not in (None, *ErrorSort):
            raise InvalidParameterError(parameter="sort")
        first = _FIRST[given.get("sort") or ErrorSort.LAST]
        found = [
            error
            for error in sorted(self._errors.values(), key=_place_by(first), reverse=True)
            if (since is None or error["last_at"] >= instant(since))
            and (given.get("class_name") is None or given["class_name"] in self._classes[error["id"]])
            and (given.get("before") is None or _place_by(first)(error) < _place_in(given["before"], first))
        ]
        has_more = len(found) > limit
        following = " ".join(map(str, _place_by(first)(found[limit - 1]))) if has_more else None
        return {"errors": [{**error} for error in found[:limit]], "next": following}

    def _one(self, given: JsonObject) -> JsonObject:
        id = given["id"]
        if id not in self._errors:
            raise ErrorGroupNotFoundError(id=id)
        told = {"classes": {**self._classes[id]}, "traceback": self._tracebacks[id]}
        return {"error": {**self._errors[id]}, **told}


_FIRST: Final = {ErrorSort.LAST: "last_at", ErrorSort.FAILED: "failed", ErrorSort.NEWEST: "first_at"}
"""What each order goes by."""


def _place_by(first: str) -> Callable[[JsonObject], tuple[Any, int]]:
    return lambda error: (error[first], error["id"])


def _place_in(before: str, first: str) -> tuple[Any, int]:
    at, _, id = before.partition(" ")
    if not (id.isdecimal() and (first != "failed" or at.isdecimal())):
        raise InvalidParameterError(parameter="before")
    return int(at) if first == "failed" else at, int(id)
