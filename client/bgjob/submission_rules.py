"""What a submission or a change may say by itself: types, ranges, names; for who is to see it before a daemon does."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.endings import LONGEST_DELAY
from bgjob.errors import InvalidNameError, InvalidParameterError, InvalidParametersError, TooLargeError
from bgjob.labels import are_labels
from bgjob.traces import is_traceparent
from bgjob.words import KEY_LENGTHS, MAX_PREDECESSORS, Backoff, IfFailed, IfHeld, Removable, UniqueWhile

CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
METHOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NAME: Final = 255


def check_many(given: JsonObject) -> None:
    """What SubmitMany says but of its jobs and groups one by one. Raises InvalidParameterError."""
    _check_fields(given, _MANY, "")
    for place, group_id in enumerate(given.get("seal") or ()):
        if not is_id(group_id):
            raise InvalidParameterError(parameter=f"seal.{place}")
    is_in_bulk = given.get("jobs") is None and given.get("each") is not None
    if not is_in_bulk and given.get("jobs") is None and not given.get("seal"):
        raise InvalidParameterError(parameter="jobs")
    for name in _MANY.fields:
        if given.get(name) is not None and (name in _WITH_JOBS) is is_in_bulk:
            raise InvalidParameterError(parameter=name)


def check_shape(given: Any, place: str = "") -> None:
    """Raises InvalidParameterError for an unknown field or option, a wrong type, a value out of range; TooLargeError
    for too many that it comes after.
    """
    _check_object(given, _JOB, place)
    options = given.get("options") or {}
    _check_fields(options, _OPTIONS, f"{place}options.")
    after = options.get("after") or ()
    if len(after) > MAX_PREDECESSORS:
        raise TooLargeError(limit=MAX_PREDECESSORS, size=len(after), parameter=f"{place}options.after")
    for number, one in enumerate(after):
        _check_object(one, _PREDECESSOR, f"{place}options.after.{number}.")
    for name, one in (options.get("take") or {}).items():
        _check_object(one, _SOURCE, f"{place}options.take.{name}.")
        _check_fields(one["of"], _PREDECESSOR, f"{place}options.take.{name}.of.")
    _check_fields(options.get("group") or {}, _IN_GROUP, f"{place}options.group.")


def check_change(given: JsonObject) -> None:
    """The types and ranges of what Change says. Raises InvalidParameterError."""
    _check_fields(given, _CHANGE, "")
    for place, name in enumerate(given.get("without") or ()):
        if name not in tuple(Removable):
            raise InvalidParameterError(parameter=f"without.{place}")


def check_new_group(given: Any, place: str) -> None:
    """Raises InvalidParameterError."""
    _check_object(given, _NEW_GROUP, place)
    _check_fields(given.get("group") or {}, _IN_GROUP, f"{place}group.")


def check_names(class_name: str, method_name: str) -> None:
    """Raises InvalidNameError for a name that could not name anything."""
    for field, value, grammar in (
        ("class_name", class_name, CLASS_NAME),
        ("method_name", method_name, METHOD_NAME),
    ):
        if len(value) > _MAX_NAME or not grammar.fullmatch(value):
            raise InvalidNameError(field=field, value=value[:_MAX_NAME])


def of_one(
    place: str, error: InvalidParameterError | InvalidParametersError | TooLargeError
) -> InvalidParameterError | InvalidParametersError | TooLargeError:
    """The refusal of one job of many, with its place in the request: `jobs.3`."""
    if isinstance(error, InvalidParameterError):
        return InvalidParameterError(parameter=f"{place}.{error.parameters['parameter']}".rstrip("."))
    if isinstance(error, TooLargeError):
        own = error.parameters.get("parameter", "" if place.startswith("each.") else "parameters")
        named = own if own == "jobs" else f"{place}.{own}".rstrip(".")
        return TooLargeError(**error.parameters | {"parameter": named})
    problems = [
        {**problem, "path": f"{place.replace('.', '/')}/{problem['path']}".rstrip("/")}
        for problem in error.parameters["problems"]
    ]
    return InvalidParametersError(problems=problems)


def check_ids(given: JsonObject) -> None:
    """The ids that a method names jobs and groups by. Raises InvalidParameterError."""
    if given.get("id") is not None and not is_id(given["id"]):
        raise InvalidParameterError(parameter="id")
    for place, one in enumerate(given.get("ids") or ()):
        if not is_id(one):
            raise InvalidParameterError(parameter=f"ids.{place}")


def _check_object(given: Any, known: _Shape, place: str) -> None:
    if not isinstance(given, dict):
        raise InvalidParameterError(parameter=place.removesuffix("."))
    _check_fields(given, known, place)


def _check_fields(given: JsonObject, known: _Shape, place: str) -> None:
    for name in (*known.fields, *given):
        value = given.get(name)
        is_missing = value is None and name in known.required
        is_odd = name not in known.fields or (value is not None and not known.fields[name](value))
        if is_missing or is_odd:
            raise InvalidParameterError(parameter=f"{place}{name}")


def is_seconds(value: Any) -> bool:
    """Whether it is a delay: a number from 0 to a hundred years."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and 0 <= value <= LONGEST_DELAY


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return _is_integer(value) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_id(value: Any) -> bool:
    """Whether a job or a group could have it."""
    return _is_integer(value) and value >= 1


def is_key(value: Any) -> bool:
    """Whether it could be a key: of idempotency, a unique one, or one that jobs share."""
    return _is_text(value) and len(value) in KEY_LENGTHS


def _is_ref(value: Any) -> bool:
    return _is_text(value) and 1 <= len(value) <= 64


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


class _Shape(NamedTuple):
    """Which value each field takes, and which of them there must be."""

    fields: Mapping[str, Callable[[Any], bool]]
    required: tuple[str, ...] = ()


_COMMON: Final = {
    "class_name": _is_text,
    "method_name": _is_text,
    "retry_count": _is_count,
    "options": _is_object,
}
_JOB: Final = _Shape(_COMMON | {"parameters": _is_object, "ref": _is_ref}, ("class_name", "method_name"))
_OPTIONS: Final = _Shape(
    {
        "delay": is_seconds,
        "at": _is_text,
        "priority": _is_integer,
        "queue": _is_text,
        "timeout": lambda value: is_seconds(value) and value > 0,
        "max_retries": _is_count,
        "retry_delay": is_seconds,
        "backoff": lambda value: value in tuple(Backoff),
        "idempotency_key": is_key,
        "after": _is_list,
        "if_failed": lambda value: value in tuple(IfFailed),
        "take": _is_object,
        "group": _is_object,
        "expires_in": lambda value: is_seconds(value) and value > 0,
        "expires_at": _is_text,
        "unique_key": is_key,
        "unique_while": lambda value: value in tuple(UniqueWhile),
        "unique_for": lambda value: is_seconds(value) and value > 0,
        "if_held": lambda value: value in tuple(IfHeld),
        "at_latest": is_seconds,
        "key": is_key,
        "host": _is_text,
        "traceparent": is_traceparent,
        "labels": are_labels,
    }
)
_CHANGE: Final = _Shape(
    {
        "ids": _is_list,
        **{name: _OPTIONS.fields[name] for name in ("priority", "queue", "at", "expires_at", "timeout")},
        "max_retries": _is_count,
        "without": _is_list,
    },
    ("ids",),
)
_PREDECESSOR: Final = _Shape({"id": is_id, "ref": _is_ref, "group": is_id, "group_ref": _is_ref})
_SOURCE: Final = _Shape(
    {"of": _is_object, "pointer": lambda value: _is_text(value) and len(value) <= 1024}, ("of",)
)
_IN_GROUP: Final = _Shape({"id": is_id, "ref": _is_ref})
_NEW_GROUP: Final = _Shape(
    {
        "ref": _is_ref,
        "name": lambda value: _is_text(value) and len(value) <= 255,
        "open": _is_truth,
        "group": _is_object,
        "idempotency_key": is_key,
    },
    ("ref",),
)
_MANY: Final = _Shape(
    {"jobs": _is_list} | _COMMON | dict.fromkeys(("each", "keys", "groups", "seal"), _is_list)
)
_WITH_JOBS: Final = ("jobs", "groups", "seal")
