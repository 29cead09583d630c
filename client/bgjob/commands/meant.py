"""What was perhaps meant by what the daemon refused: names like the one given, how a text is written, and which options
are in each other's way.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

from bgjob import unknown_names
from bgjob.client import Client
from bgjob.commands.completion import KINDS
from bgjob.errors import (
    BgjobError,
    HostNotFoundError,
    InvalidParameterError,
    InvalidParametersError,
    MethodNotApprovedError,
    NotApprovedError,
    ScheduleNotFoundError,
)

_PATIENCE: Final = 1.0
"""Seconds that a person does not mind to wait for a suggestion."""

_WANT_TEXT: Final = ('is not of type "string"', "'anyOf' keyword", "does not fit")
"""How what is said of a parameter ends that is, or may be, to be a text; of a secret it says no more than the last."""

_IN_OPTIONS: Final[Mapping[str, str]] = {
    "resumes_in": "--for takes a time above 0",
    "resumes_at": "--until takes a moment to come",
}
"""What the options take that are parameters of another name."""


def try_meant(error: BgjobError, given: argparse.Namespace) -> str | None:
    """What was perhaps meant; None where that is not known, as where the daemon tells this user no names."""
    match error:
        case NotApprovedError(parameters={"class_name": str(name)}):
            return _try_like(name, _known("classes", given))
        case MethodNotApprovedError(parameters={"class_name": str(name), "method_name": str(method)}):
            methods = [one.partition(f"{name}::") for one in _known("methods", given)]
            return _try_like(method, [known for before, _, known in methods if not before])
        case ScheduleNotFoundError(parameters={"name": str(name)}):
            return _try_like(name, _known("schedules", given))
        case HostNotFoundError(parameters={"name": str(name)}):
            return _try_like(name, _known("hosts", given))
        case InvalidParameterError(parameters={"parameter": "options.queue" | "queue"}):
            return _try_like(str(getattr(given, "queue", "")), _known("queues", given))
        case InvalidParametersError(parameters={"problems": list(problems)}):
            return _try_texts(problems, dict(getattr(given, "parameters", ())))
        case InvalidParameterError(parameters={"parameter": "options.delay"}):
            return _try_in_the_way(given)
        case InvalidParameterError(parameters={"parameter": str(name)}):
            return _IN_OPTIONS.get(name)
    return None


def _try_in_the_way(given: argparse.Namespace) -> str | None:
    """What else was asked for that a delay cannot have beside it."""
    delay, expires = getattr(given, "delay", None), getattr(given, "expires", None)
    if delay is None:
        return None
    if given.at is not None:
        return "--delay and --at exclude each other"
    return "--delay is no shorter than --expires" if isinstance(expires, float) and delay >= expires else None


def _try_like(name: str, known: Iterable[str]) -> str | None:
    return unknown_names.perhaps([name], [one for one in known if one != name]) or None


def _known(kind: str, given: argparse.Namespace) -> list[str]:
    """The names of this kind that the daemon tells this user."""
    try:
        with Client(given.socket, timeout=_PATIENCE) as client:
            return list(KINDS[kind](client))
    except BgjobError:
        return []


def _try_texts(problems: Iterable[Mapping[str, Any]], parameters: Mapping[str, Any]) -> str | None:
    """How what was read as a number, true, false or null is written as a text; without its value, a secret maybe."""
    scalars = [name for name, value in parameters.items() if isinstance(value, int | float | None)]
    told = {one.get("path"): str(one.get("message")) for one in problems if scalars}
    names = [name for name in scalars if told.get(name, "").endswith(_WANT_TEXT)]
    words = " ".join("-p " + shlex.quote(name + '="…"') for name in names)
    return f"`{words}` gives a text" if words else None
