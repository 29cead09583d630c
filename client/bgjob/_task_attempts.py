"""A Django task in an attempt of its job: with connections of its own, its context, its signals, its result as JSON."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from asgiref.sync import async_to_sync
from django.db import connections
from django.utils import timezone

from bgjob._tasks import Names, arguments, path_of, result_of, worker
from bgjob.jobs import CONTEXT, JobContext, Retry, Snooze, Suspended
from bgjob.testing.error_texts import traceback_of


class Attempt(NamedTuple):
    """Attempt `number` of a job with this key and these parameters; `args` and `kwargs` are what they have become, and
    `contexts` make what the arguments of these names get. `context` makes the attempt's own; an older daemon has none.
    """

    key: str | None
    number: int
    given: Mapping[str, Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    contexts: Mapping[str, Callable[[], Any]]
    context: Callable[[], JobContext] = lambda: CONTEXT


_IN_TASK: Final = ContextVar[Callable[[], JobContext]]("bgjob.django.job_context")
_OF_PROCESS: Final[list[Callable[[], JobContext]]] = []
"""What makes the context of the attempt whose process this is, for the threads that its task has started."""


def job_context() -> JobContext:
    """The context of the attempt in which this is called, of a Django task; outside of one `bgjob.CONTEXT`."""
    make = _IN_TASK.get(None)
    if make is None:
        make = _OF_PROCESS[0] if _OF_PROCESS else lambda: CONTEXT
    return make()


def call(names: Names, task: Any, **fields: Any) -> Any:
    """Run the task in a process of its own, for an attempt with these fields; what it returns, as JSON has it. Raises
    what the task raises.
    """
    _OF_PROCESS[:] = [Attempt(**fields).context]
    try:
        return run_here(names, task, **fields)
    finally:
        connections.close_all()


def run_here(names: Names, task: Any, **fields: Any) -> Any:
    """The same in this process, with the connections that it has."""
    attempt = Attempt(**fields)
    before = _IN_TASK.set(attempt.context)
    try:
        return _run(names, task, attempt)
    finally:
        _IN_TASK.reset(before)


def _run(names: Names, task: Any, attempt: Attempt) -> Any:
    now = timezone.now()
    args, kwargs = arguments(task, attempt.given)
    result = result_of(
        names,
        task,
        task.backend,
        attempt.key or "",
        args,
        kwargs,
        status=names.base.TaskResultStatus.RUNNING,
        started_at=now,
        last_attempted_at=now,
        worker_ids=[worker(os.getpid())] * attempt.number,
    )
    names.signals.task_started.send(type(task.get_backend()), task_result=result)
    try:
        value = names.normalize_json(_returned(names, task, result, attempt))
    except (Retry, Snooze):
        raise
    except BaseException as error:
        if _is_suspended(error):
            raise
        told = names.base.TaskError(exception_class_path=path_of(type(error)), traceback=traceback_of(error))
        _end(names, result, "FAILED", errors=[told])
        raise
    _end(names, result, "SUCCESSFUL", _return_value=value)
    return value


def _is_suspended(error: BaseException) -> bool:
    """Whether the task only waits, also in the group of some of its tasks."""
    within = getattr(error, "exceptions", ())
    return isinstance(error, Suspended) or any(_is_suspended(one) for one in within)


def _returned(names: Names, task: Any, result: Any, attempt: Attempt) -> Any:
    own = {
        name: make for name, make in attempt.contexts.items() if name != "context" or not task.takes_context
    }
    first = [names.base.TaskContext(task_result=result)] if task.takes_context else []
    is_async = inspect.iscoroutinefunction(task.func)
    function = async_to_sync(task.func) if is_async else task.func  # whose queries then are this thread's
    return function(*first, *attempt.args, **attempt.kwargs, **{name: make() for name, make in own.items()})


def _end(names: Names, result: Any, status: str, **more: Any) -> None:
    """Tell that the task has ended."""
    fields = {"status": names.base.TaskResultStatus[status], "finished_at": timezone.now(), **more}
    for name, value in fields.items():
        object.__setattr__(result, name, value)
    names.signals.task_finished.send(type(result.task.get_backend()), task_result=result)
