"""What the names of a job mean: a class, its methods that may be called, its hooks, what it says of its retries.

By the rules with which a daemon describes its approved classes; nothing of the class is called here.
"""

from __future__ import annotations

import importlib
import inspect
import re
import site
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.errors import ClassUnavailableError
from bgjob.testing.arguments import context_names, signature
from bgjob.testing.submissions import MAX_RETRIES_CAP, is_seconds
from bgjob.words import Backoff

HOOKS: Final = ("retry_delay", "failed")


class Target(NamedTuple):
    """A class that can run. `contexts`: the arguments of its constructor that get the JobContext."""

    cls: type
    contexts: list[str]
    functions: Mapping[str, types.FunctionType]
    policy: JsonObject

    def try_method(self, name: str) -> types.FunctionType | None:
        """The method, if it may be called."""
        return None if name in HOOKS else self.functions.get(name)


def target_of(class_name: str) -> Target:
    """What the name means. Raises ClassUnavailableError."""
    cls = _imported(class_name)
    reason = _why_unavailable(cls)
    if reason is not None:
        raise ClassUnavailableError(class_name=class_name, reason=reason)
    try:
        return Target(cls, _constructor_contexts(cls), _own_functions(cls), _policy(cls))
    except ValueError as error:
        raise ClassUnavailableError(class_name=class_name, reason=str(error)) from None


def _imported(class_name: str) -> Any:
    module_name, _, name = class_name.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ClassUnavailableError(class_name=class_name, reason=reason) from error


# The constructor


def _why_unavailable(cls: Any) -> str | None:
    if not isinstance(cls, type):
        return "it is no class"
    if inspect.isabstract(cls) or getattr(cls, "_is_protocol", False):
        return "it is abstract: it has methods that a subclass is to write"
    given = _constructor_contexts(cls)
    needed = [
        p.name
        for p in _constructor_parameters(cls)
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and p.name not in given
    ]
    return f"its constructor needs {', '.join(needed)}" if needed else None


def _constructor_contexts(cls: type) -> list[str]:
    makers = (vars(base).get(name) for base in cls.__mro__ for name in ("__init__", "__new__"))
    functions = (getattr(maker, "__func__", maker) for maker in makers)  # `__new__` is a static method
    written = next((function for function in functions if isinstance(function, types.FunctionType)), None)
    return context_names(_constructor_parameters(cls), written or cls)


def _constructor_parameters(cls: type) -> list[inspect.Parameter]:
    try:
        return list(signature(cls).parameters.values())
    except (TypeError, ValueError):
        return []  # one of C's that tells nothing


# The methods


def _own_functions(cls: type) -> dict[str, types.FunctionType]:
    """The public plain functions that the class, or an application base of it, defines itself; hooks among them."""
    functions: dict[str, types.FunctionType] = {}
    for base in _application_bases(cls):
        for name, member in vars(base).items():
            functions.pop(name, None)
            if isinstance(member, types.FunctionType) and _is_defined_in(member, base, name):
                functions[name] = member
    return functions


def _application_bases(cls: type) -> Iterator[type]:
    """The class and its bases that are neither Python's nor a library's, the class itself last."""
    own_top = cls.__module__.partition(".")[0]
    for base in reversed(cls.__mro__):
        top = base.__module__.partition(".")[0]
        if top in sys.stdlib_module_names:
            continue
        if top == own_top or not _is_installed(sys.modules.get(base.__module__)):
            yield base


def _is_installed(module: Any) -> bool:
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")} | set(site.getsitepackages())
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and any(file.startswith(f"{place}/") for place in places)


def _is_defined_in(function: types.FunctionType, cls: type, name: str) -> bool:
    is_own = function.__module__ == cls.__module__ and function.__qualname__ == f"{cls.__qualname__}.{name}"
    return is_own and not name.startswith("_") and not _needs_positions(function)


def _needs_positions(function: types.FunctionType) -> bool:
    """Whether a parameter behind `self` can't be given by name."""
    parameters = list(signature(function).parameters.values())
    has_self = bool(parameters) and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return not has_self or any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in parameters[1:])


# What it says of its retries

_ATTRIBUTES: Final = ("MAX_RETRIES", "RETRY_DELAY", "BACKOFF", "MAX_RETRY_DELAY")
_TIME: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|[smhdw]?)", re.ASCII)
_TIME_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _policy(cls: type) -> JsonObject:
    """The class attributes that say how to retry. Raises ValueError for a value that one cannot have."""
    found: dict[str, Any] = {}
    for base in _application_bases(cls):
        found |= {name: vars(base)[name] for name in _ATTRIBUTES if name in vars(base)}
    return {name.lower(): _checked(name, value) for name, value in found.items() if value is not None}


def _checked(name: str, value: Any) -> Any:
    match name:
        case "MAX_RETRIES":
            is_valid = type(value) is int and 0 <= value <= MAX_RETRIES_CAP
        case "BACKOFF":
            is_valid = value in tuple(Backoff)
        case _:
            written = _TIME.fullmatch(value) if isinstance(value, str) else None
            value = float(written[1]) * _TIME_UNITS[written[2]] if written else value
            is_valid = is_seconds(value)
    if not is_valid:
        raise ValueError(f"its attribute {name} cannot be {value!r}")
    return value
