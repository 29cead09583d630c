"""Django's tasks, `"BACKEND": "bgjob.django.Backend"`, and the application for INSTALLED_APPS, with whatever tasks;
`run_background_job` for its outbox; `job_context` for tasks.

What is imported for the former has no place in a project that has the backport.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bgjob._task_attempts import job_context
    from bgjob.django.backend import Backend, Task, call, run_here
    from bgjob.django.outbox import run_background_job

__all__ = ["Backend", "Task", "call", "job_context", "run_background_job", "run_here"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name!r}")
    if name == "run_background_job":
        from bgjob.django.outbox import run_background_job

        return run_background_job
    if name == "job_context":
        from bgjob._task_attempts import job_context

        return job_context
    from bgjob.django import backend

    return getattr(backend, name)
