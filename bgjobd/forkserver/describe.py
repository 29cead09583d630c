"""What the approved classes offer: which exist, which methods may be called, and with what parameters; as data.

Runs in a throw-away child of the fork server, so that what it imports does not weigh on every attempt.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import traceback
import types
from typing import Any

Description = dict[str, Any]


def describe_all(
    classes: dict[str, Any], broken: dict[str, tuple[str, str]], approved: dict[str, list[str] | None]
) -> dict[str, Description]:
    """Every approved class as data; one that could not be imported, or cannot be described, tells why."""
    described = {name: unavailable(*why) for name, why in broken.items()}
    for name, cls in classes.items():
        try:
            described[name] = describe(cls, approved[name])
        except Exception as error:
            reason = f"it cannot be described: {type(error).__name__}: {error}"
            described[name] = unavailable(reason, traceback.format_exc())
    return described


def describe(cls: Any, listed: list[str] | None) -> Description:
    """The class as data: `methods` (name → doc, schema, whole) and `unavailable`, a reason or None."""
    reason = _why_unavailable(cls)
    if reason is not None:
        return unavailable(reason)
    methods = {
        name: {
            "doc": inspect.getdoc(function) or "",
            "schema": schema_of(function),
            "whole": takes_whole_mapping(_parameters(function)),
        }
        for name, function in callable_methods(cls).items()
        if listed is None or name in listed
    }
    return {
        "doc": cls.__doc__ if isinstance(cls.__doc__, str) else "",
        "methods": methods,
        "unavailable": None,
        "traceback": None,
    }


def unavailable(reason: str, trace: str | None = None) -> Description:
    """A class that cannot be used, and why."""
    return {"doc": "", "methods": {}, "unavailable": reason, "traceback": trace}


def callable_methods(cls: type) -> dict[str, types.FunctionType]:
    """The public plain functions that the class, or an application base of it, defines itself.

    What is inherited from the standard library, and what was merely assigned, is not among them.
    """
    methods: dict[str, types.FunctionType] = {}
    for base in reversed(cls.__mro__):
        if _is_of_python(base):
            continue
        for name, member in vars(base).items():
            methods.pop(name, None)
            if isinstance(member, types.FunctionType) and _is_defined_in(member, base, name):
                methods[name] = member
    return methods


def schema_of(function: types.FunctionType) -> dict[str, Any]:
    """A JSON Schema of the parameters by their names: what there is, what is required."""
    parameters = _parameters(function)
    if takes_whole_mapping(parameters):
        return {"type": "object"}
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return {
        "type": "object",
        "properties": {p.name: {} for p in named},
        "required": [p.name for p in named if p.default is p.empty],
        "additionalProperties": any(p.kind is p.VAR_KEYWORD for p in parameters),
    }


def _parameters(function: types.FunctionType) -> list[inspect.Parameter]:
    """The parameters behind `self`."""
    return list(inspect.signature(function).parameters.values())[1:]


def takes_whole_mapping(parameters: list[inspect.Parameter]) -> bool:
    """Whether the method takes `parameters` as one mapping, as in the original, rather than as keywords."""
    return (
        len(parameters) == 1
        and _takes_a_value(parameters[0])
        and parameters[0].name in ("params", "parameters")
    )


def _takes_a_value(parameter: inspect.Parameter) -> bool:
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def _is_of_python(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in sys.stdlib_module_names


def _is_defined_in(function: types.FunctionType, cls: type, name: str) -> bool:
    is_own = function.__module__ == cls.__module__ and function.__qualname__ == f"{cls.__qualname__}.{name}"
    return is_own and not name.startswith("_") and not _needs_positions(function)


def _needs_positions(function: types.FunctionType) -> bool:
    """Whether a parameter behind `self` can't be given by name."""
    parameters = list(inspect.signature(function).parameters.values())
    has_self = bool(parameters) and parameters[0].kind in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return not has_self or any(p.kind is p.POSITIONAL_ONLY and p.default is p.empty for p in parameters[1:])


def _why_unavailable(cls: Any) -> str | None:
    if not isinstance(cls, type):
        return "it is no class"
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return None
    needed = [
        p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    return f"its constructor needs {', '.join(needed)}" if needed else None


def code_version() -> str:
    """A short hash of the application's modules, so that an attempt can say which code it ran."""
    digest = hashlib.sha256()
    modules: dict[str, Any] = dict(sys.modules)  # which may hold anything
    for name, module in sorted(modules.items()):
        if name.partition(".")[0] in sys.stdlib_module_names or not issubclass(
            type(module), types.ModuleType
        ):
            continue  # not isinstance: it would ask the object itself
        file = vars(module).get("__file__")
        if isinstance(file, str) and os.path.isfile(file):
            with open(file, "rb") as source:
                digest.update(name.encode() + b"\0" + source.read())
    return digest.hexdigest()[:12]
