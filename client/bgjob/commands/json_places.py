"""Where in a JSON text its values stand, which json does not tell; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from typing import Any, Final, NamedTuple

from bgjob import codec

Path = tuple[str | int, ...]
"""Keys, and places in lists, from the outside to the inside."""

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder(parse_int=codec.bounded_int)


class Place(NamedTuple):
    """A value at character `at` of the text; of an object or a list the value is left out, and of an integer beyond 64
    bit it is another one.
    """

    path: Path
    at: int
    value: Any = None


def places(text: str) -> Generator[Place, None, int]:
    """Each value of the text, which has been parsed before, and is nested no deeper than Python's stack."""
    return _places(text, _after_space(text, 0), ())


def _places(text: str, at: int, path: Path) -> Generator[Place, None, int]:
    """Answers where the value ends."""
    opening = text[at]
    if opening not in "{[":
        value, end = _DECODER.raw_decode(text, at)
        yield Place(path, at, value)
        return end
    yield Place(path, at)
    at, count = _after_space(text, at + 1), 0
    while text[at] not in "}]":
        step: str | int = count
        if opening == "{":
            step, at = _DECODER.raw_decode(text, at)
            at = _after_space(text, _after_space(text, at) + 1)  # the colon is between
        at = _after_space(text, (yield from _places(text, at, (*path, step))))
        if text[at] == ",":
            at = _after_space(text, at + 1)
        count += 1
    return at + 1


def _after_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()


def where(text: str, at: int) -> str:
    """The character as an editor counts, from 1: `line 12, column 5`."""
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return f"line {line}, column {column}"


def dotted(path: Path) -> str:
    """The path as a daemon names it: `jobs.3.options`."""
    return ".".join(map(str, path))
