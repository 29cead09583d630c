"""What of an approved module may run: the tasks of Django's in it, and those of its functions that are listed.

One file for fork servers and for the client, as `class_rules` is. Standard library only; nothing is called or imported
here.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Collection
from typing import Any

from .class_rules import signature

_CALLERS = {"django.tasks.base": "bgjob.django", "django_tasks.base": "bgjob.django_tasks"}
"""Where Django's tasks, and those of its backport, are from, and what calls them."""


def own_tasks(module: types.ModuleType) -> dict[str, Any]:
    """The public tasks that the module itself defines, by name; whether they are listed or not."""
    members = vars(module).items()
    return {name: one for name, one in members if is_task(one) and _is_defined_in(module, one.func, name)}


def own_functions_of(
    module: types.ModuleType, listed: Collection[str] | None
) -> dict[str, types.FunctionType]:
    """The public functions that the module itself defines and that are `listed`; None: all of them."""
    return {
        name: member
        for name, member in vars(module).items()
        if (listed is None or name in listed) and _is_defined_in(module, member, name)
    }


def is_task(member: Any) -> bool:
    """Whether it is one of Django's tasks."""
    return try_caller(member) is not None


def try_caller(member: Any) -> str | None:
    """The module whose `call` calls the task; None for what is no task, whatever it says of itself, or where nobody has
    imported what tasks are made by.
    """
    for module, caller in _CALLERS.items():
        kind = vars(sys.modules[module]).get("Task") if module in sys.modules else None
        if isinstance(kind, type) and issubclass(type(member), kind):
            return caller
    return None


def is_by_place(function: Callable[..., Any]) -> bool:
    """Whether it is a module's function that has parameters without a name: it is called with `args` and `kwargs` then.
    Of a class it would not be offered.
    """
    return "." not in function.__qualname__ and any(
        p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in signature(function).parameters.values()
    )


def _is_defined_in(module: types.ModuleType, function: Any, name: str) -> bool:
    """Whether this is a plain function of the module's own, under its own public name."""
    if type(function) is not types.FunctionType or name.startswith("_"):
        return False
    return bool(function.__module__ == module.__name__ and function.__qualname__ == name)
