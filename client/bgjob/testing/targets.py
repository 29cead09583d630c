"""What the names of a job mean: a class, its methods that may be called, its hooks, what it says of its retries.

By the rules with which a daemon describes its approved classes; nothing of the class is called here.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import types
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.class_rules import HOOKS, attributes, constructor_contexts, own_functions, why_unavailable
from bgjob.codec import JsonObject
from bgjob.errors import ClassUnavailableError
from bgjob.module_rules import own_functions_of, own_tasks
from bgjob.submission_rules import is_seconds
from bgjob.testing.submissions import MAX_RETRIES_CAP
from bgjob.words import Backoff


class Target(NamedTuple):
    """A class or module that can run. `contexts`: the arguments of its constructor that get the JobContext; `tasks`:
    those of Django's that a module has, whose functions are among the others.
    """

    made_of: Any
    contexts: list[str]
    functions: Mapping[str, types.FunctionType]
    policy: JsonObject
    tasks: Mapping[str, Any] = MappingProxyType({})

    @property
    def is_module(self) -> bool:
        return type(self.made_of) is types.ModuleType

    def try_method(self, name: str) -> types.FunctionType | None:
        """The method, if it may be called."""
        return None if name in HOOKS else self.functions.get(name)


def target_of(class_name: str) -> Target:
    """What the name means. Raises ClassUnavailableError."""
    cls = _imported(class_name)
    if type(cls) is types.ModuleType:
        tasks = own_tasks(cls)
        functions = own_functions_of(cls, None) | {name: task.func for name, task in tasks.items()}
        return Target(cls, [], functions, {}, tasks)
    reason = why_unavailable(cls)
    if reason is not None:
        raise ClassUnavailableError(class_name=class_name, reason=reason)
    try:
        return Target(cls, constructor_contexts(cls), own_functions(cls), _policy(cls))
    except ValueError as error:
        raise ClassUnavailableError(class_name=class_name, reason=str(error)) from None


def _imported(class_name: str) -> Any:
    """The class of this name; where its module has none, the module of this name."""
    module_name, _, name = class_name.rpartition(".")
    try:
        parent = importlib.import_module(module_name)
        is_class = isinstance(getattr(parent, name, None), type)
        is_module = not is_class and importlib.util.find_spec(class_name) is not None
        module = importlib.import_module(class_name) if is_module else None
        if module is not None and module.__name__ != class_name:
            raise ImportError(f"the module calls itself {module.__name__}, which is what to approve")
        return getattr(parent, name) if module is None else module
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ClassUnavailableError(class_name=class_name, reason=reason) from error


# What it says of its retries

_TIME: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(ms|[smhdw]?)", re.ASCII)
_TIME_UNITS: Final = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def _policy(cls: type) -> JsonObject:
    """The class attributes that say how to retry. Raises ValueError for a value that one cannot have."""
    found = attributes(cls)
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
