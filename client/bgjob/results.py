"""What of a result becomes a parameter: where a JSON pointer of RFC 6901 leads in it, and what is too much; no I/O.

A daemon and the stand-in of `bgjob.testing` follow it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from bgjob.words import MAX_DEPTH

MOST_RESULTS: Final = 1000
MOST_CHARACTERS: Final = 1024 * 1024
"""Of so many members at most the results are passed on, and so much of them as the result of one job may take."""

_POINTER: Final = re.compile(r"(?:/(?:[^~]|~[01])*)?")
_PLACE: Final = re.compile(r"0|[1-9][0-9]{0,8}")


class LeadsNowhereError(LookupError):
    """There is nothing where the pointer leads."""


def is_pointer(text: str) -> bool:
    return _POINTER.fullmatch(text) is not None


def followed(value: Any, pointer: str) -> Any:
    """What the pointer leads to, the value itself for "". Raises LeadsNowhereError, which says how far it led."""
    reached = ""
    for step in pointer.split("/")[1:]:
        value = _entered(value, step.replace("~1", "/").replace("~0", "~"), reached)
        reached = f"{reached}/{step}"
    return value


def _entered(value: Any, name: str, reached: str) -> Any:
    where = f"at {reached}" if reached else "the result"
    match value:
        case dict() if name in value:
            return value[name]
        case dict():
            raise LeadsNowhereError(f"{where} has no {name}")
        case list() if _PLACE.fullmatch(name) and int(name) < len(value):
            return value[int(name)]
        case list():
            raise LeadsNowhereError(f"{where} is a list of {len(value)}, and has no {name}")
        case _:
            raise LeadsNowhereError(f"{where} is neither an object nor a list")


@dataclass(frozen=True, slots=True)
class Result:
    """What there is to take, or why there is nothing; many may take the same of it, which is measured once.

    `is_missing`: it did not complete, and whoever comes after it all the same takes null.
    """

    value: Any = None
    problem: str | None = None
    is_missing: bool = False
    _sizes: dict[str, int] = field(default_factory=dict, compare=False)

    def at(self, pointer: str) -> tuple[Any, int]:
        """The value there, and how many bytes it takes. Raises LeadsNowhereError."""
        value = None if self.is_missing else followed(self.value, pointer)
        size = self._sizes.get(pointer)
        if size is None:
            size = self._sizes[pointer] = _size(value)
        return value, size


MISSING: Final = Result(is_missing=True)


def result_of(text: str | None) -> Result:
    """That of a job, as its JSON text; None where it did not complete. A job may have written its journal by itself."""
    if text is None:
        return MISSING
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return Result(problem="it is no JSON that can be read")
    return Result(problem=TOO_DEEP) if is_too_deep(value) else Result(value)


TOO_DEEP: Final = f"it is nested deeper than {MAX_DEPTH}"


def is_too_deep(value: Any) -> bool:
    """Whether it could be nobody's parameter: so deep may what is asked over the socket be."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for one in level if type(one) in _CONTAINERS for inner in _inner(one)]
        if not level:
            return False
    return any(type(one) in _CONTAINERS for one in level)


_CONTAINERS: Final = frozenset({dict, list})


def _inner(value: Any) -> Any:
    return value.values() if isinstance(value, dict) else value


class NoResultsError(Exception):
    """Why those of a group are passed on to nobody."""


@dataclass(slots=True)
class Room:
    """What may still be passed on of a group, with the members of the groups in it."""

    members: int = MOST_RESULTS
    characters: int = MOST_CHARACTERS

    def take(self, result: str | None) -> None:
        """Make room for another one. Raises NoResultsError."""
        self.members -= 1
        self.characters -= 0 if result is None else len(result)
        if self.members < 0:
            raise NoResultsError(f"a group of more than {MOST_RESULTS:,} members passes no results on")
        if self.characters < 0:
            raise NoResultsError(
                f"the members' results take more than {MOST_CHARACTERS:,} characters; pass paths, not files"
            )


def try_put(name: str, pointer: str, result: Result, values: dict[str, Any], limit: int) -> str | None:
    """Put what there is among the values, which may take so many bytes; why not, where that cannot be."""
    if result.problem is not None:
        return result.problem
    try:
        value, own = result.at(pointer)
    except LeadsNowhereError as error:
        return str(error)
    size = _size({**values, name: None}) - _size(None) + own
    if size <= limit:
        values[name] = value
        return None
    return f"with it the parameters would take {size} bytes, the limit is {limit}; pass a path, not a file"


def _size(value: Any) -> int:
    return len(to_json(value).encode())


def to_json(value: Any) -> str:
    return _ENCODER.encode(value)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
