"""JSON pointers, as RFC 6901 has them: whether a text is one, and what it leads to in a value; no I/O."""

from __future__ import annotations

import re
from typing import Any, Final

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
