"""What a submission may say by itself: types, ranges and names; for whoever is to see it before a daemon does."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import InvalidNameError, InvalidParameterError, InvalidParametersError, TooLargeError
from bgjob.jobs import LONGEST_DELAY
from bgjob.words import KEY_LENGTHS, Backoff, IfFailed

CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
METHOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NAME: Final = 255


def check_shape(given: JsonObject, place: str = "") -> None:
    """Raises InvalidParameterError for an unknown field or option, a wrong type, a value out of range."""
    _check_fields(given, _FIELDS, place)
    _check_fields(given.get("options") or {}, OPTIONS, f"{place}options.")


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


_Fields = Mapping[str, Callable[[Any], bool]]

_FIELDS: Final[_Fields] = {
    "class_name": _is_text,
    "method_name": _is_text,
    "parameters": _is_object,
    "retry_count": _is_count,
    "options": _is_object,
    "ref": _is_text,
}
_REQUIRED: Final = ("class_name", "method_name")
OPTIONS: Final[_Fields] = {
    "delay": is_seconds,
    "at": _is_text,
    "priority": _is_integer,
    "queue": _is_text,
    "timeout": lambda value: is_seconds(value) and value > 0,
    "max_retries": _is_count,
    "retry_delay": is_seconds,
    "backoff": lambda value: value in tuple(Backoff),
    "idempotency_key": lambda value: _is_text(value) and len(value) in KEY_LENGTHS,
    "after": lambda value: isinstance(value, list),
    "if_failed": lambda value: value in tuple(IfFailed),
    "take": _is_object,
    "group": _is_object,
}


def _check_fields(given: JsonObject, known: _Fields, place: str) -> None:
    for name in (*known, *given):
        value = given.get(name)
        is_missing = value is None and name in _REQUIRED
        is_odd = name not in known or (value is not None and not known[name](value))
        if is_missing or is_odd:
            raise InvalidParameterError(parameter=f"{place}{name}")
