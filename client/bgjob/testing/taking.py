"""How results become parameters of jobs that come after, by a daemon's rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from bgjob import codec
from bgjob.codec import JsonObject
from bgjob.testing.submissions import MAX_PARAMETERS
from bgjob.testing.submitted import copied
from bgjob.testing.ties import Node

MOST_RESULTS: Final = 1000
"""Of so many members at most the results are passed on."""

_PLACE: Final = re.compile(r"0|[1-9][0-9]*")


class NothingToTakeError(Exception):
    """There is no such value; why."""


def take(row: JsonObject, node: Node, value: Any) -> None:
    """Put what a job takes of this into its parameters; what there is not is a `problem`. An error stands for a value
    that nobody can have.
    """
    takes: Mapping[str, JsonObject] = row["takes"] or {}
    for name, wanted in takes.items():
        if wanted["of"] == node.asked:
            wanted.pop("problem", None)
            row["parameters"].pop(name, None)
            try:
                _put(row["parameters"], name, _followed(value, wanted["pointer"]))
            except NothingToTakeError as error:
                wanted["problem"] = str(error)


def problems(row: JsonObject) -> list[str]:
    """Why a job cannot have what it was to take."""
    return [
        f"{name}: {wanted['problem']} (from {_named(wanted['of'])})"
        for name, wanted in (row["takes"] or {}).items()
        if "problem" in wanted
    ]


def _named(of: Mapping[str, int]) -> str:
    return f"job {of['id']}" if "id" in of else f"group {of['group']}"


def _put(parameters: JsonObject, name: str, value: Any) -> None:
    size = len(codec.to_json({**parameters, name: value}).encode())
    if size > MAX_PARAMETERS:
        raise NothingToTakeError(
            f"with it the parameters would take {size} bytes, the limit is {MAX_PARAMETERS}; pass a path, not a file"
        )
    parameters[name] = copied(value)


def _followed(value: Any, pointer: str) -> Any:
    """What the pointer leads to; of null, which did not complete, null."""
    if isinstance(value, NothingToTakeError):
        raise value
    reached = ""
    for step in pointer.split("/")[1:] if value is not None else ():
        value = _entered(
            value, step.replace("~1", "/").replace("~0", "~"), f"at {reached}" if reached else "the result"
        )
        reached += f"/{step}"
    return value


def _entered(value: Any, name: str, where: str) -> Any:
    if isinstance(value, dict):
        if name in value:
            return value[name]
        raise NothingToTakeError(f"{where} has no {name}")
    if not isinstance(value, list):
        raise NothingToTakeError(f"{where} is neither an object nor a list")
    if _PLACE.fullmatch(name) and int(name) < len(value):
        return value[int(name)]
    raise NothingToTakeError(f"{where} is a list of {len(value)}, and has no {name}")
