"""The backend of the backport of Django's tasks, `django_tasks`: `"BACKEND": "bgjob.django_tasks.Backend"`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final

from django_tasks import base, exceptions, signals
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.utils import normalize_json

from bgjob import _task_attempts, _tasks
from bgjob._task_attempts import job_context

__all__ = ["Backend", "Task", "call", "job_context", "run_here"]

_NAMES: Final = _tasks.Names(base, exceptions, signals, exceptions.InvalidTaskError, normalize_json)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(_tasks.TaskOptions, base.Task):
    """See `bgjob._tasks.TaskOptions`."""


class Backend(_tasks.TaskBackend, BaseTaskBackend):
    """See `bgjob._tasks.TaskBackend`."""

    names = _NAMES
    task_class = Task


call = partial(_task_attempts.call, _NAMES)
run_here = partial(_task_attempts.run_here, _NAMES)
