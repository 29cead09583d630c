"""The backend of the backport of Django's tasks, `django_tasks`: `"BACKEND": "bgjob.django_tasks.Backend"`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django_tasks import base, exceptions, signals
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.utils import normalize_json

from bgjob import _tasks

__all__ = ["Backend", "Task", "call", "run_here"]

_NAMES: Final = _tasks.Names(base, exceptions, signals, exceptions.InvalidTaskError, normalize_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(base.Task):
    """A task that says more of its job, which else OPTIONS do; `timeout` and `retry_delay` are seconds."""

    max_retries: int | None = _tasks.UNSET
    retry_delay: float | None = None
    timeout: float | None = _tasks.UNSET
    on_commit: str | None = _tasks.UNSET


class Backend(_tasks.TaskBackend, BaseTaskBackend):
    """See `bgjob._tasks.TaskBackend`."""

    names = _NAMES
    task_class = Task


def call(task: Any, **attempt: Any) -> Any:
    """Run the task in an attempt, which is told by the fields of `bgjob._tasks.Attempt`."""
    return _tasks.call(_NAMES, task, _tasks.Attempt(**attempt))


def run_here(task: Any, **attempt: Any) -> Any:
    """The same in this process, for `bgjob.testing`."""
    return _tasks.run_here(_NAMES, task, _tasks.Attempt(**attempt))
