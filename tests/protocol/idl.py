"""The interface description, read by two regular expressions, so that tests can hold the code to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_COMMENT = re.compile(r"#[^\n]*")
_FIELDS = r"\(([^()]*)\)"
_MEMBER = re.compile(rf"(type|method|error)\s+(\w+)\s*{_FIELDS}(?:\s*->\s*{_FIELDS})?")

Fields = dict[str, str]
"""Name of each field → its type, as it is written: `?string`, `[]int`, `Options`."""


@dataclass(frozen=True)
class Interface:
    name: str
    types: dict[str, Fields] = field(default_factory=dict)
    inputs: dict[str, Fields] = field(default_factory=dict)
    outputs: dict[str, Fields] = field(default_factory=dict)
    errors: dict[str, Fields] = field(default_factory=dict)


def parse(text: str) -> Interface:
    """The interface in a text. Raises ValueError for what these two expressions do not understand."""
    head, name, rest = re.split(r"interface\s+(\S+)", _COMMENT.sub("", text), maxsplit=1)
    not_understood = head.strip() + _MEMBER.sub("", rest).strip()
    if not_understood:
        raise ValueError(f"not understood: {not_understood!r}")
    interface = Interface(name)
    for kind, member, given, answered in _MEMBER.findall(rest):
        match kind:
            case "type":
                interface.types[member] = _fields(given)
            case "error":
                interface.errors[member] = _fields(given)
            case "method":
                interface.inputs[member] = _fields(given)
                interface.outputs[member] = _fields(answered)
    return interface


def _fields(text: str) -> Fields:
    pairs = [part.split(":") for part in text.split(",") if part.strip()]
    return {name.strip(): kind.strip() for name, kind in pairs}
