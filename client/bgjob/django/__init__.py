"""Django's tasks, `"BACKEND": "bgjob.django.Backend"`, and the application for INSTALLED_APPS, with whatever tasks.

What is imported for the former has no place in a project that has the backport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgjob.django.backend import Backend, Task, call, run_here

__all__ = ["Backend", "Task", "call", "run_here"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    from bgjob.django import backend

    return getattr(backend, name)
