"""What Django's tasks and those of its backport have in common here: a task becomes a job, a job a result, and an
attempt runs the task. What the two name otherwise is in `Names`; only their modules import this one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import secrets
import socket
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.utils import timezone

from bgjob import _task_checks, errors
from bgjob._task_checks import OUTBOX
from bgjob._task_clients import Daemon, async_client, client, hurried_client
from bgjob.class_rules import context_names, signature
from bgjob.codec import JsonObject
from bgjob.connections import try_substitute
from bgjob.module_rules import is_by_place
from bgjob.words import Outcome, Status

if TYPE_CHECKING:
    from bgjob.client import Job


class Names(NamedTuple):
    """What the two call differently: modules, the error for a task that cannot be taken, and `normalize_json`."""

    base: Any
    exceptions: Any
    signals: Any
    invalid_task: type[Exception]
    normalize_json: Callable[[Any], Any]


class Unset(Enum):
    """For what a task leaves to OPTIONS, where None has a meaning; copies of it are the same."""

    UNSET = "unset"


UNSET: Final[Any] = Unset.UNSET

_OPTIONS: Final = frozenset({"address", "client_timeout", "timeout", "max_retries", "on_commit"})
_REFUSALS: Final = (
    errors.NotApprovedError,
    errors.MethodNotApprovedError,
    errors.ClassUnavailableError,
    errors.InvalidNameError,
    errors.InvalidParametersError,
    errors.InvalidParameterError,
)
"""What a daemon says of a task that it cannot take as it is."""

_UNKNOWN: Final = (errors.JobNotFoundError, errors.InvalidParameterError, errors.InvalidParametersError)
"""What it says of an id that is no job's, or nothing like one."""

_NOT_TOLD: Final = (*_UNKNOWN, errors.DaemonUnavailableError)


@dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What a task may say of its job, which else OPTIONS do; `timeout` and `retry_delay` are seconds."""

    max_retries: int | None = UNSET
    retry_delay: float | None = None
    timeout: float | None = UNSET
    on_commit: str | None = UNSET
    unique_key: str | None = None
    expires_in: float | timedelta | None = None
    key: str | None = None
    host: str | None = None
    labels: tuple[str, ...] = ()


class TaskBackend:
    """A mixin before the framework's own BaseTaskBackend: hands tasks to a bgjobd, and reads results from it.

    `OPTIONS`: `address` and `client_timeout` (seconds) of the daemon; `timeout` and `max_retries` (0, None leaves it to
    the daemon) of jobs; `on_commit`: the alias of the database whose commit a submit in its transaction waits for, or
    "outbox", where the transaction keeps it until it is submitted.
    """

    names: Names
    alias: str
    options: dict[str, Any]
    queues: set[str]

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)  # type: ignore[call-arg]  # BaseTaskBackend's
        unknown = sorted(self.options.keys() - _OPTIONS)
        if unknown:
            message = f"TASKS[{alias!r}]['OPTIONS'] has {', '.join(unknown)}"
            raise ImproperlyConfigured(f"{message}; there are {', '.join(sorted(_OPTIONS))}")
        self.daemon: Daemon = self.options.get("address"), self.options.get("client_timeout", 30.0)

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Submit the task: its result, whose id is the job's idempotency key. In a transaction that is to be waited for
        it is checked now, and submitted by the commit; with the outbox it is written now, and no daemon asked.
        """
        made = self._submission(task, args, kwargs)
        awaited = self._on_commit(task)
        if awaited == OUTBOX:
            self._put_in_outbox(made)
            return made.result
        if awaited is None and _is_in_transaction():
            warnings.warn(_TOO_EARLY, RuntimeWarning, stacklevel=3)
        if awaited is not None and transaction.get_connection(awaited).in_atomic_block:
            self._check(made)
            transaction.on_commit(lambda: self._submit(made), using=awaited)
        else:
            self._submit(made)
        return made.result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The same, over a connection of the loop's own; in a thread where that may be about a transaction, as those
        are of threads.
        """
        if self._on_commit(task) is not None or settings.DEBUG or try_substitute() is not None:
            return await super().aenqueue(task, args, kwargs)  # type: ignore[misc]  # BaseTaskBackend's
        made = self._submission(task, args, kwargs)
        created_at = None
        with self._refusals():
            job = await async_client(self.daemon).run_background_job(**made.job)
        with suppress(errors.BgjobError):  # as below
            snapshot = await job.refresh()
            created_at = snapshot["created_at"]
            _take_id(made, snapshot)
        self._send_enqueued(made.result, created_at)
        return made.result

    def _on_commit(self, task: Any) -> str | None:
        """The alias of the database whose commit a submit in its transaction waits for; or the outbox."""
        awaited: str | None = self._of(task, "on_commit", None)
        return awaited

    def _of(self, task: Any, name: str, default: Any) -> Any:
        """What the task says itself, else OPTIONS."""
        own = getattr(task, name, UNSET)
        return self.options.get(name, default) if own is UNSET else own

    def _submission(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Submission:
        """The job that the task becomes, and its result. Raises TypeError for arguments that do not fit, or that JSON
        cannot hold.
        """
        self.validate_task(task)  # type: ignore[attr-defined]  # BaseTaskBackend's
        key = secrets.token_hex(16)
        result = result_of(self.names, task, self.alias, key, list(args), dict(kwargs))
        wanted = {
            "class_name": task.func.__module__,
            "method_name": task.func.__qualname__,
            "parameters": parameters(task, result.args, result.kwargs),
        }
        options = {
            "priority": task.priority,
            "queue": task.queue_name,
            "at": None if task.run_after is None else _aware(task.run_after),
            "timeout": self._of(task, "timeout", None),
            "max_retries": self._of(task, "max_retries", 0),
            "retry_delay": getattr(task, "retry_delay", None),
            "unique_key": getattr(task, "unique_key", None),
            "expires_in": getattr(task, "expires_in", None),
            "key": getattr(task, "key", None),
            "host": getattr(task, "host", None),
            "labels": getattr(task, "labels", None) or None,
        }
        return _Submission(wanted, options, result)

    def _check(self, made: _Submission) -> None:
        """Raise what the daemon would refuse; one that is away is met by the commit, and keeps no transaction open."""
        hurried = hurried_client(self.daemon, _PATIENCE_IN_TRANSACTION)
        with self._refusals(), suppress(errors.DaemonUnavailableError):
            hurried.run_background_job(**made.job, check_only=True)

    def _submit(self, made: _Submission) -> None:
        with self._refusals():
            job = client(self.daemon).run_background_job(**made.job)
        self._send_enqueued(made.result, _try_taken(made, job))

    def _put_in_outbox(self, made: _Submission) -> None:
        """Have its row submit it after the commit, or submit it now where no transaction is open."""
        outbox = _outbox()
        with self._refusals():
            row = outbox.new_row({**made.wanted, "options": made.options})._replace(key=made.result.id)
            outbox.submit(row, self.alias, lambda job: self._announce(made.result, _try_taken(made, job)))

    def announce(self, asked: JsonObject) -> None:
        """Tell that the job of a row of the outbox was submitted here, which another process has left; nothing is asked
        of the daemon for that.
        """
        key = asked["options"]["idempotency_key"]
        with suppress(self.names.exceptions.TaskResultDoesNotExist):  # then nobody here would know what it is
            self._announce(self._read(key, _outbox().asked_job(asked)), None)

    def _announce(self, result: Any, created_at: str | None) -> None:
        """The same for a job that others may follow: no receiver holds them up."""
        self._send_enqueued(result, created_at, self.names.signals.task_enqueued.send_robust)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except _REFUSALS as error:
            raise self.names.invalid_task(str(error)) from error

    def _send_enqueued(self, result: Any, created_at: str | None, send: Any = None) -> None:
        object.__setattr__(result, "enqueued_at", _try_instant(created_at) or timezone.now())
        (send or self.names.signals.task_enqueued.send)(type(self), task_result=result)

    # Results

    def get_result(self, result_id: str) -> Any:
        """The result with this id, as it is now. Raises TaskResultDoesNotExist."""
        try:
            job = client(self.daemon).get(key=result_id).snapshot
        except _NOT_TOLD as error:
            job = self._not_told(result_id, error)
        return self._read(result_id, job)

    async def aget_result(self, result_id: str) -> Any:
        """The same, over a connection of the loop's own."""
        try:
            job = (await async_client(self.daemon).get(key=result_id)).snapshot
        except _NOT_TOLD as error:
            job = await sync_to_async(self._not_told)(result_id, error)
        return self._read(result_id, job)

    def _not_told(self, key: str, error: errors.BgjobError) -> JsonObject:
        """The job that waits in the outbox. Raises TaskResultDoesNotExist, or the error of a daemon that has not
        answered.
        """
        has_outbox = _task_checks.uses_outbox(self.names.base)
        job: JsonObject | None = _outbox().try_job(key) if has_outbox else None
        if job is not None:
            return job
        if not isinstance(error, _UNKNOWN):
            raise error
        if has_outbox:
            with suppress(*_UNKNOWN):  # it may have been submitted a moment ago
                return client(self.daemon).get(key=key).snapshot
        raise self._does_not_exist(key) from None

    def _does_not_exist(self, result_id: str) -> Exception:
        error: Exception = self.names.exceptions.TaskResultDoesNotExist(result_id)
        return error

    def _read(self, key: str, job: JsonObject) -> Any:
        """What the job says of its task."""
        task = self._try_task(job)
        if task is None:
            raise self._does_not_exist(key)
        begun = [one for one in job["attempts"] if one["started_at"] is not None]
        args, kwargs = arguments(task, job["parameters"])
        result = result_of(
            self.names,
            task,
            self.alias,
            key,
            args,
            kwargs,
            status=self.names.base.TaskResultStatus[_STATUSES[job["status"]]],
            enqueued_at=_try_instant(job["created_at"]),
            started_at=_try_instant(begun[0]["started_at"]) if begun else None,
            last_attempted_at=_try_instant(begun[-1]["started_at"]) if begun else None,
            finished_at=_try_instant(job["finished_at"]),
            errors=[self.names.base.TaskError(**one) for one in _errors(job)],
            worker_ids=[worker(one["pid"], one.get("host")) for one in begun],
        )
        object.__setattr__(result, "_return_value", job["result"])
        return result

    def _try_task(self, job: JsonObject) -> Any:
        """The task of the job, as it was enqueued; None where there is none, or nobody but the job names its module."""
        module = job["class_name"]
        if not _may_import(module):
            return None
        with suppress(Exception):  # whatever it raises, there is no task then
            importlib.import_module(module)
        task = getattr(sys.modules.get(module), job["method_name"], None)
        if not issubclass(type(task), self.names.base.Task):
            return None
        with suppress(self.names.invalid_task):  # the settings may be others by now
            task = replace(task, backend=self.alias, queue_name=job["queue"], priority=job["priority"])  # type: ignore[type-var]  # a dataclass of Django's
        return task

    # Checks

    def check(self, **kwargs: Any) -> list[Any]:
        """What is wrong between the settings and the daemon, for `manage.py check`."""
        address, _ = self.daemon
        return _task_checks.of(self, address)


def _may_import(module: str) -> bool:
    """Whether somebody else than a job names this module: it is there already, or of an installed application."""
    return module in sys.modules or any(
        f"{module}.".startswith(f"{app.name}.") for app in apps.get_app_configs()
    )


class _Submission(NamedTuple):
    """A task on its way: what is to run, how, and what its caller gets."""

    wanted: dict[str, Any]
    options: dict[str, Any]
    result: Any

    @property
    def job(self) -> dict[str, Any]:
        """What is asked of a client."""
        return {**self.wanted, **self.options, "idempotency_key": self.result.id}


_STATUSES: Final = {
    Status.PENDING: "READY",
    Status.RUNNING: "RUNNING",
    Status.COMPLETED: "SUCCESSFUL",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "FAILED",
}

_PATIENCE_IN_TRANSACTION: Final = 1.0
"""Seconds; its locks are others' to wait for."""

_TOO_EARLY: Final = (
    "a task is enqueued in a transaction: it may run before the commit, or in spite of a rollback; "
    'OPTIONS {"on_commit": "default"} waits for the commit'
)


def _outbox() -> Any:
    """The module of the outbox. Raises ImproperlyConfigured where the application that has its table is missing."""
    if not apps.is_installed(_task_checks.APPLICATION):
        raise ImproperlyConfigured(_task_checks.NO_APPLICATION)
    from bgjob.django import outbox

    return outbox


def _is_in_transaction() -> bool:
    """Whether one is open, where anybody wants to hear of that."""
    return settings.DEBUG and any(one.in_atomic_block for one in connections.all(initialized_only=True))


def result_of(
    names: Names, task: Any, alias: str, key: str, args: list[Any], kwargs: dict[str, Any], **more: Any
) -> Any:
    """A result as of a task that is ready, but for what is given. Raises TypeError for what JSON cannot hold."""
    unknown = dict.fromkeys(("enqueued_at", "started_at", "finished_at", "last_attempted_at"))
    fields = {"status": names.base.TaskResultStatus.READY, "errors": [], "worker_ids": [], **unknown, **more}
    result = names.base.TaskResult(task=task, id=key, args=args, kwargs=kwargs, backend=alias, **fields)
    try:
        json.dumps([result.args, result.kwargs], allow_nan=False)
    except ValueError as error:
        raise TypeError(f"Unsupported value: {error}") from None
    return result


# Parameters


def parameters(task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> JsonObject:
    """The job's parameters: by name, unless the function takes some by place. Raises TypeError where they don't fit."""
    wanted = _signature(task)
    given = wanted.bind(*args, **kwargs).arguments
    if is_by_place(task.func):
        return {"args": list(args), "kwargs": dict(kwargs)}
    for parameter in wanted.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= given.pop(parameter.name, {})
    return given


def arguments(task: Any, given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """What `parameters` made of them, as they are read back."""
    if is_by_place(task.func):
        return given.get("args", []), given.get("kwargs", {})
    return [], dict(given)


def _signature(task: Any) -> inspect.Signature:
    """Of what whoever enqueues the task gives."""
    whole = signature(task.func)
    own = list(whole.parameters.values())[1 if task.takes_context else 0 :]
    contexts = context_names(own, task.func)
    return whole.replace(parameters=[p for p in own if p.name not in contexts])


def _aware(instant: datetime) -> datetime:
    """The instant with its offset: one without is of the process's own time zone, as Django takes it."""
    return instant.astimezone() if instant.tzinfo is None else instant


# What became of a job


def _take_id(made: _Submission, snapshot: JsonObject) -> None:
    key = snapshot.get("idempotency_key")
    if key is not None:
        object.__setattr__(made.result, "id", key)


def _try_taken(made: _Submission, job: Job) -> str | None:
    """When it was stored, which it is, whoever is away by now; the result is that of who holds its unique key."""
    with suppress(errors.BgjobError):
        snapshot = job.refresh()
        _take_id(made, snapshot)
        created_at: str = snapshot["created_at"]
        return created_at
    return None


def _try_instant(written: str | None) -> datetime | None:
    if written is None:
        return None
    instant = datetime.fromisoformat(written)
    instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return instant if settings.USE_TZ else timezone.make_naive(instant, timezone.get_default_timezone())


def worker(pid: int, host: str | None = None) -> str:
    """An attempt's process; `host` is where it ran, if that may be another than this one."""
    return f"{host or socket.gethostname()}:{pid}"


def _errors(job: JsonObject) -> list[dict[str, str]]:
    """One for each attempt that ended badly; of a job that ended so without any, one."""
    found = [_error(one) for one in job["attempts"] if one["outcome"] in _BAD]
    if found or job["status"] not in (Status.FAILED, Status.CANCELLED):
        return found
    kind = errors.JobCancelledError if job["status"] == Status.CANCELLED else errors.JobFailedError
    return [{"exception_class_path": path_of(kind), "traceback": str(job["error"] or job["status"])}]


_BAD: Final = frozenset(Outcome) - {
    Outcome.COMPLETED,
    Outcome.SNOOZED,
    Outcome.SUSPENDED,
    Outcome.NOT_STARTED,
}


def _error(attempt: JsonObject) -> dict[str, str]:
    match attempt["outcome"]:
        case Outcome.FAILED:
            path = attempt["error_class"] or ""
            is_known = path.isprintable() and _may_import(path.rpartition(".")[0])
            path = path if is_known else "builtins.Exception"  # a job may have written anything
            return {"exception_class_path": path, "traceback": attempt["traceback"] or ""}
        case Outcome.EXITED:
            path = "builtins.SystemExit"
        case Outcome.CANCELLED:
            path = path_of(errors.JobCancelledError)
        case _:
            path = path_of(errors.JobFailedError)
    by_signal = attempt["signal"] and f"by signal {attempt['signal']}"
    how = attempt["error_message"] or by_signal or f"with exit code {attempt['exit_code']}"
    return {"exception_class_path": path, "traceback": f"the attempt has ended ({attempt['outcome']}): {how}"}


def path_of(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
