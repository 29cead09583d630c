"""For applications' own tests: jobs run in this process at submit, or are only recorded; no daemon is asked meanwhile.

    with bgjob.testing.inline() as jobs:
        order.place()
    assert jobs.of("myapp.jobs.Email")[0].parameters == {"to": "user@example.com"}

Both stand for the daemon in all of the process, threads and tasks included, for every client; of nested ones the
innermost does. They are context managers, and so work in the body of a pytest fixture, with unittest's
`enterContext`, and as decorators of plain functions.
"""

from __future__ import annotations

import contextvars
import dataclasses
import importlib
import inspect
import json
import re
import sys
import threading
import time
import traceback
import types
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, overload
from uuid import UUID

from bgjob import calls, client, codec
from bgjob.codec import JsonObject, Request
from bgjob.errors import (
    BgjobError,
    ClassUnavailableError,
    IdempotencyConflictError,
    InvalidNameError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobNotFoundError,
    MethodNotApprovedError,
    NotApprovedError,
    TooLargeError,
)
from bgjob.jobs import AttemptError, Fail, JobContext, Snooze
from bgjob.words import INTERFACE, SERVICE, Backoff, Outcome, Status

T = TypeVar("T")

MAX_SNOOZES: Final = 5
"""How often a job may ask for a snooze, which nobody waits for here, before it fails."""

_CLASS_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METHOD_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_NAME: Final = 255
_MAX_PARAMETERS: Final = 64 * 1024
_MAX_RESULT: Final = 1024 * 1024
_MAX_NESTING: Final = 100
_DEFAULT_RETRIES: Final = 3
_DEFAULT_DELAY: Final = 5.0
_HOOKS: Final = ("retry_delay", "failed")


@contextmanager
def inline(*, approved: Iterable[str | type] | None = None) -> Iterator[Jobs]:
    """Run each job to its end when it is submitted, in the thread that submits it; delays are not waited for.

    Import, injection of the JobContext, retries, Fail, Snooze and results are as with a daemon; so is what a job
    raises: it is told by `Job.result()`, not to whoever submits. Parameters are converted to the common annotated
    types, without checking a schema; limits on time and memory are not kept. `approved`: the classes that may run.
    """
    yield from _in_place_of_daemon(_Runner(approved))


@contextmanager
def recorded(*, approved: Iterable[str | type] | None = None) -> Iterator[Jobs]:
    """Record jobs and run none: they stay pending. `approved`: the classes that may be submitted."""
    yield from _in_place_of_daemon(_Recorder(approved))


class NothingRunsError(BgjobError):
    """The end of a job was waited for that is only recorded."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            f"job {job_id} is only recorded and will never end; use bgjob.testing.inline() to run jobs"
        )


class NotAnsweredError(BgjobError, NotImplementedError):
    """A method was called that needs a daemon."""

    def __init__(self, method: str) -> None:
        super().__init__(f"bgjob.testing does not answer {method}; that needs a daemon")


class SnoozedTooOften(Exception):
    """The job asked for one snooze after the other; inline nobody waits, so what it waits for may never come."""


class InvalidParameters(Exception):
    """The parameters do not fit the method's annotations."""


class InvalidResult(Exception):
    """The method returned what JSON cannot hold, or too much of it."""


class SubmittedJob:
    """What was submitted: `parameters` as JSON has them, `options` as the caller gave them; and how it stands."""

    def __init__(self, row: JsonObject, options: JsonObject) -> None:
        self._row = row
        self.id: int = row["id"]
        self.class_name: str = row["class_name"]
        self.method_name: str = row["method_name"]
        self.parameters: JsonObject = _copied(row["parameters"])
        self.retry_count: int = row["retry_count"]
        self.options = options

    def __repr__(self) -> str:
        return (
            f"<SubmittedJob {self.id} {self.class_name}::{self.method_name} {self.parameters} {self.status}>"
        )

    @property
    def snapshot(self) -> JsonObject:
        """The job as `Client.get` tells it, with its attempts."""
        return _copied(self._row)

    @property
    def status(self) -> Status:
        return Status(self._row["status"])

    @property
    def result(self) -> Any:
        """What the method returned; None where it has not, too."""
        return _copied(self._row["result"])

    @property
    def error(self) -> str | None:
        """`"Type: message"` of the last attempt that ended badly."""
        error: str | None = self._row["error"]
        return error


class Jobs(Sequence[SubmittedJob]):
    """What was submitted, in order; a repeated idempotency key is no second job."""

    def __init__(self) -> None:
        self._jobs: list[SubmittedJob] = []

    @overload
    def __getitem__(self, index: int) -> SubmittedJob: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SubmittedJob]: ...
    def __getitem__(self, index: int | slice) -> SubmittedJob | Sequence[SubmittedJob]:
        return self._jobs[index]

    def __len__(self) -> int:
        return len(self._jobs)

    def __repr__(self) -> str:
        return f"<Jobs {self._jobs}>"

    def of(self, class_name: str | type, method_name: str | None = None) -> list[SubmittedJob]:
        """Those of a class, or of one of its methods."""
        name = calls.class_name_of(class_name)
        return [job for job in self if job.class_name == name and method_name in (None, job.method_name)]

    def append(self, job: SubmittedJob) -> None:
        self._jobs.append(job)


def _in_place_of_daemon(substitute: _Recorder) -> Iterator[Jobs]:
    client.put_in(substitute)
    try:
        yield substitute.jobs
    finally:
        client.take_out(substitute)


class _Recorder:
    """Answers what a daemon would that starts nothing. The lock is never held while a job runs."""

    def __init__(self, approved: Iterable[str | type] | None) -> None:
        self.jobs = Jobs()
        self._approved = None if approved is None else {calls.class_name_of(cls) for cls in approved}
        self._rows: dict[int, JsonObject] = {}
        self._keys: dict[str, tuple[int, JsonObject]] = {}
        self._lock = threading.Lock()
        self._answers: dict[str, Callable[[JsonObject], JsonObject]] = {
            f"{INTERFACE}.Submit": self._submit,
            f"{INTERFACE}.SubmitMany": self._submit_many,
            f"{INTERFACE}.Get": lambda given: {"job": self._row(given["id"])},
            f"{INTERFACE}.Wait": self._wait,
            f"{INTERFACE}.List": self._list,
            f"{INTERFACE}.Cancel": self._cancel,
            f"{INTERFACE}.Retry": self._retry,
            f"{INTERFACE}.Pause": lambda given: {},
            f"{INTERFACE}.Resume": lambda given: {},
            f"{SERVICE}.GetInfo": lambda given: {"vendor": "bgjobd", "product": "bgjob.testing"},
        }

    def answer(self, request: Request) -> JsonObject:
        received = _received(request)
        answer = self._answers.get(received.method)
        if answer is None:
            raise NotAnsweredError(received.method)
        return _copied(answer(received.parameters))

    def stream(self, request: Request) -> Iterable[JsonObject]:
        received = _received(request)
        if received.method != f"{INTERFACE}.Watch":
            raise NotAnsweredError(received.method)
        ids = received.parameters.get("ids")
        return [{"job": None}] if ids is None else [{"job": _summary(self._row(one))} for one in ids]

    # What the two do differently

    def _check_runnable(self, given: JsonObject) -> None:
        """Raises the refusal of what could not run; who runs nothing refuses nothing."""

    def _policy(self, given: JsonObject) -> JsonObject:
        """What the class says where the caller says nothing; who imports no class does not know."""
        return {}

    def _run(self, row: JsonObject) -> None:
        """Bring a pending job to its end."""

    # The methods

    def _submit(self, given: JsonObject) -> JsonObject:
        self._check(given)
        job_id, is_new = self._stored(given)
        if is_new:
            self._run(self._rows[job_id])
        return {"id": job_id, "created": is_new}

    def _submit_many(self, given: JsonObject) -> JsonObject:
        for job in given["jobs"]:
            self._check(job)
        stored = [self._stored(job) for job in given["jobs"]]
        for job_id, is_new in stored:
            if is_new:
                self._run(self._rows[job_id])
        return {"ids": [job_id for job_id, _ in stored]}

    def _wait(self, given: JsonObject) -> JsonObject:
        row = self._row(given["id"])
        if given.get("timeout") is None and not calls.has_ended(row):
            raise NothingRunsError(row["id"])
        return {"job": row}

    def _list(self, given: JsonObject) -> JsonObject:
        known = {*Status, "scheduled", "retrying"}
        if not known.issuperset(given.get("status") or ()):
            raise InvalidParameterError(parameter="status")
        limit = given.get("limit") or 50
        with self._lock:
            rows = [row for row in reversed(self._rows.values()) if _is_listed(row, given)]
        page = rows[:limit]
        following = page[-1]["id"] if len(rows) > limit else None
        return {"jobs": [_summary(row) for row in page], "next": following}

    def _cancel(self, given: JsonObject) -> JsonObject:
        now = _now()
        for row in self._rows_in(given["ids"], (Status.PENDING, Status.RUNNING)):
            row["cancel_requested_at"] = now
            if row["status"] == Status.PENDING:
                row.update(status=Status.CANCELLED, finished_at=now, updated_at=now)
        return {"ids": given["ids"]}

    def _retry(self, given: JsonObject) -> JsonObject:
        rows = self._rows_in(given["ids"], (Status.FAILED, Status.CANCELLED))
        for row in rows:
            row.update(status=Status.PENDING, retry_count=0, finished_at=None, error=None)
            row.update(cancel_requested_at=None, scheduled_at=None, updated_at=_now())
        for row in rows:
            self._run(row)
        return {"ids": given["ids"]}

    # What they share

    def _check(self, given: JsonObject) -> None:
        """Raises the refusal of a submission, in the daemon's order."""
        _check_shape(given)
        for name, grammar in (("class_name", _CLASS_NAME), ("method_name", _METHOD_NAME)):
            value = given[name]
            if len(value) > _MAX_NAME or not grammar.fullmatch(value):
                raise InvalidNameError(field=name, value=value[:_MAX_NAME])
        size = len(codec.to_json(given.get("parameters") or {}).encode())
        if size > _MAX_PARAMETERS:
            raise TooLargeError(limit=_MAX_PARAMETERS, size=size)
        if self._approved is not None and given["class_name"] not in self._approved:
            raise NotApprovedError(class_name=given["class_name"])
        self._check_runnable(given)

    def _stored(self, given: JsonObject) -> tuple[int, bool]:
        """The job's id, and whether it is a new one."""
        options = dict(given.get("options") or {})
        key = options.pop("idempotency_key", None)
        asked = {**given, "options": options}
        with self._lock:
            if key in self._keys:
                job_id, before = self._keys[key]
                if before != asked:
                    raise IdempotencyConflictError(id=job_id)
                return job_id, False
            job_id = len(self._rows) + 1
            row = self._rows[job_id] = _new_row(job_id, given, self._policy(given))
            if key is not None:
                self._keys[key] = job_id, asked
            is_callers = key is not None and not calls.is_made_here(key)
            self.jobs.append(SubmittedJob(row, options | ({"idempotency_key": key} if is_callers else {})))
        return job_id, True

    def _row(self, job_id: int) -> JsonObject:
        row = self._rows.get(job_id)
        if row is None:
            raise JobNotFoundError(id=job_id)
        return row

    def _rows_in(self, ids: Iterable[int], allowed: Collection[Status]) -> list[JsonObject]:
        """These jobs, if all have one of the statuses. Raises JobNotFoundError, InvalidStateError."""
        rows = [self._row(job_id) for job_id in dict.fromkeys(ids)]
        for row in rows:
            if row["status"] not in allowed:
                raise InvalidStateError(id=row["id"], status=row["status"])
        return rows


class _Runner(_Recorder):
    """Answers what a daemon would that is done at once."""

    def _check_runnable(self, given: JsonObject) -> None:
        cls = _imported(given["class_name"])
        function = _try_function(cls, given["method_name"])
        if function is None:
            names = {"class_name": given["class_name"], "method_name": given["method_name"]}
            raise MethodNotApprovedError(**names)
        problems = _misfits(function, given.get("parameters") or {})
        if problems:
            raise InvalidParametersError(problems=problems)

    def _policy(self, given: JsonObject) -> JsonObject:
        cls = _imported(given["class_name"])
        own = {name: getattr(cls, name.upper(), None) for name in ("max_retries", "retry_delay", "backoff")}
        return {name: value for name, value in own.items() if value is not None}

    def _run(self, row: JsonObject) -> None:
        cls = _imported(row["class_name"])
        snoozes = 0
        while row["status"] == Status.PENDING:
            ending = _attempted(row, cls, is_last_snooze=snoozes >= MAX_SNOOZES)
            snoozes += ending.outcome is Outcome.SNOOZED
            _take_ending(row, ending)
        if row["status"] == Status.FAILED:
            _tell_failed_hook(row, cls)


# Submissions


def _received(request: Request) -> Request:
    """The request as it arrives at a daemon: through JSON, read as strictly. Raises what a daemon answers."""
    try:
        return codec.parse_request(request.to_bytes()[:-1])
    except codec.IntegerOutOfRangeError as error:
        raise InvalidParameterError(parameter=error.parameter) from None


_NUMBER: Final = (int, float)
_FIELDS: Final[Mapping[str, tuple[type, ...]]] = {
    "class_name": (str,),
    "method_name": (str,),
    "parameters": (dict, type(None)),
    "retry_count": (int, type(None)),
    "options": (dict, type(None)),
}
_OPTIONS: Final[Mapping[str, tuple[type, ...]]] = {
    "delay": _NUMBER,
    "at": (str,),
    "priority": (int,),
    "queue": (str,),
    "timeout": _NUMBER,
    "max_retries": (int,),
    "retry_delay": _NUMBER,
    "backoff": (str,),
    "idempotency_key": (str,),
}


def _check_shape(given: JsonObject) -> None:
    for known, fields, prefix in (
        (_FIELDS, given, ""),
        (_OPTIONS, given.get("options") or {}, "options."),
    ):
        for name, value in fields.items():
            if name not in known or isinstance(value, bool) or not isinstance(value, known[name]):
                raise InvalidParameterError(parameter=f"{prefix}{name}")
            if isinstance(value, _NUMBER) and value < 0 and name != "priority":
                raise InvalidParameterError(parameter=f"{prefix}{name}")
    for name in ("class_name", "method_name"):
        if name not in given:
            raise InvalidParameterError(parameter=name)


def _new_row(job_id: int, given: JsonObject, policy: JsonObject) -> JsonObject:
    """The job as it is stored; what the caller leaves open is the policy's to say, then a daemon's defaults'."""
    options, now = policy | (given.get("options") or {}), _now()
    return {
        "id": job_id,
        "class_name": given["class_name"],
        "method_name": given["method_name"],
        "parameters": given.get("parameters") or {},
        "status": Status.PENDING,
        "retry_count": given.get("retry_count") or 0,
        "max_retries": options.get("max_retries", _DEFAULT_RETRIES),
        "retry_delay": options.get("retry_delay", _DEFAULT_DELAY),
        "backoff": options.get("backoff", Backoff.CONSTANT),
        "max_retry_delay": 3600.0,
        "queue": options.get("queue", "default"),
        "priority": options.get("priority", 0),
        "timeout": options.get("timeout"),
        "scheduled_at": options.get("at") or (_now(options["delay"]) if options.get("delay") else None),
        "started_at": None,
        "finished_at": None,
        "created_at": now,
        "updated_at": now,
        "cancel_requested_at": None,
        "idempotency_key": options.get("idempotency_key"),
        "result": None,
        "error": None,
        "submitted_uid": None,
        "submitted_gid": None,
        "submitted_pid": None,
        "attempts": [],
    }


_SUMMARY: Final = (
    *("id", "class_name", "method_name", "status", "queue", "priority", "retry_count", "max_retries"),
    *(
        "scheduled_at",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "cancel_requested_at",
        "error",
    ),
)


def _summary(row: JsonObject) -> JsonObject:
    attempts = row["attempts"]
    return {
        **{name: row[name] for name in _SUMMARY},
        "attempt": len(attempts),
        "progress": attempts[-1]["progress"] if attempts else None,
    }


def _is_listed(row: JsonObject, given: JsonObject) -> bool:
    is_scheduled = row["status"] == Status.PENDING and row["scheduled_at"] is not None
    words = {row["status"]} | ({"scheduled"} if is_scheduled else set())
    searched = " ".join(str(row[name]) for name in ("class_name", "method_name", "error")).casefold()
    return (
        (given.get("status") is None or not words.isdisjoint(given["status"]))
        and all(given.get(name) in (None, row[name]) for name in ("queue", "class_name", "method_name"))
        and (given.get("search") or "").casefold() in searched
        and (given.get("before") is None or row["id"] < given["before"])
    )


# Attempts


class _Ending(NamedTuple):
    outcome: Outcome
    result: Any = None
    error: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    exit_code: int | None = None
    may_retry: bool = True


def _attempted(row: JsonObject, cls: type, is_last_snooze: bool) -> _Ending:
    """Run the method once, as an attempt of the job."""
    number, now = len(row["attempts"]) + 1, _now()
    attempt = {
        **dict.fromkeys(_ATTEMPT),
        "job_id": row["id"],
        "number": number,
        "started_at": now,
    }
    row["attempts"].append(attempt)
    row.update(status=Status.RUNNING, started_at=now, updated_at=now)
    ending = _ending_of(row, cls, _context(row, attempt), is_last_snooze)
    attempt.update({name: getattr(ending, name) for name in _ENDING}, finished_at=_now())
    return ending


_ENDING: Final = ("outcome", "error_type", "error_message", "traceback", "exit_code")
_ATTEMPT: Final = (
    *("job_id", "number", "pid", "started_at", "finished_at", *_ENDING, "signal", "max_rss", "cpu_user"),
    *("cpu_system", "output_bytes", "code_version", "progress"),
)


def _ending_of(row: JsonObject, cls: type, context: JobContext, is_last_snooze: bool) -> _Ending:
    try:
        return _Ending(Outcome.COMPLETED, _as_result(_called(row, cls, context)))
    except Snooze as error:
        if not is_last_snooze:
            return _Ending(Outcome.SNOOZED)
        told = f"{error}, for the {MAX_SNOOZES + 1}th time; inline jobs are not waited for"
        return _failed(SnoozedTooOften(told), may_retry=False)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
        told = f"exited: the process ended with code {code}"
        return _Ending(
            Outcome.EXITED, error=told if code else f"{told} before the method returned", exit_code=code
        )
    except Exception as error:
        return _failed(error, may_retry=not isinstance(error, Fail | InvalidParameters | InvalidResult))


def _failed(error: Exception, may_retry: bool) -> _Ending:
    kind = type(error).__qualname__
    trace = "".join(traceback.format_exception(error))
    told = f"{kind}: {error}"
    return _Ending(Outcome.FAILED, None, told, kind, str(error), trace, may_retry=may_retry)


def _take_ending(row: JsonObject, ending: _Ending) -> None:
    """The job after an attempt: the rules of DESIGN.md, section 3, with every delay over at once."""
    match ending.outcome:
        case Outcome.COMPLETED:
            row.update(status=Status.COMPLETED, result=ending.result, error=None)
        case _ if row["cancel_requested_at"] is not None:
            row.update(status=Status.CANCELLED, error=ending.error)
        case Outcome.SNOOZED:
            row.update(status=Status.PENDING)
        case _ if ending.may_retry and row["retry_count"] < row["max_retries"]:
            row.update(status=Status.PENDING, retry_count=row["retry_count"] + 1, error=ending.error)
        case _:
            row.update(status=Status.FAILED, error=ending.error)
    row["updated_at"] = _now()
    row["finished_at"] = row["updated_at"] if calls.has_ended(row) else None


def _tell_failed_hook(row: JsonObject, cls: type) -> None:
    hook = _own_function(cls, "failed")
    if hook is None:
        return
    last = row["attempts"][-1]
    error = AttemptError(last["outcome"], last["error_type"], last["error_message"], last["traceback"])
    _awaited(_made(cls, _context(row, last)).failed(error))


def _context(row: JsonObject, attempt: JsonObject) -> JobContext:
    def record(told: dict[str, Any]) -> None:
        if told["type"] == "progress":
            attempt["progress"] = {"fraction": told["fraction"], "message": told["message"], "at": _now()}

    deadline = None if row["timeout"] is None else time.monotonic() + row["timeout"]
    return JobContext(row["id"], attempt["number"], deadline, record=record)


# Calling what the names mean


def _imported(class_name: str) -> type:
    module_name, _, name = class_name.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), name)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ClassUnavailableError(class_name=class_name, reason=reason) from error
    if not isinstance(cls, type):
        raise ClassUnavailableError(class_name=class_name, reason="it is no class")
    needed = _what_constructor_needs(cls)
    if needed:
        reason = f"its constructor needs {', '.join(needed)}"
        raise ClassUnavailableError(class_name=class_name, reason=reason)
    return cls


def _try_function(cls: type, name: str) -> Callable[..., Any] | None:
    """The method, if it may be called: a public plain function that the class, or a base, defines itself."""
    return None if name.startswith("_") or name in _HOOKS else _own_function(cls, name)


def _own_function(cls: type, name: str) -> Callable[..., Any] | None:
    owner = next((base for base in cls.__mro__ if name in vars(base)), object)
    function = vars(owner).get(name)
    if (
        not isinstance(function, types.FunctionType)
        or owner.__module__.partition(".")[0] in sys.stdlib_module_names
    ):
        return None
    is_own = (function.__module__, function.__qualname__) == (
        owner.__module__,
        f"{owner.__qualname__}.{name}",
    )
    return function if is_own else None


def _called(row: JsonObject, cls: type, context: JobContext) -> Any:
    function = _try_function(cls, row["method_name"])
    if function is None:
        raise MethodNotApprovedError(class_name=row["class_name"], method_name=row["method_name"])
    own = _parameters(function)
    contexts = [p.name for p in own if _asks_for_context(p, function)]
    arguments = _arguments(function, [p for p in own if p.name not in contexts], _copied(row["parameters"]))
    made = _made(cls, context)
    return _awaited(function(made, **arguments, **dict.fromkeys(contexts, context)))


def _made(cls: type, context: JobContext) -> Any:
    contexts = [p.name for p, is_context in _constructor(cls) if is_context]
    return cls(**dict.fromkeys(contexts, context))


def _what_constructor_needs(cls: type) -> list[str]:
    return [
        p.name
        for p, is_context in _constructor(cls)
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL) and not is_context
    ]


def _constructor(cls: type) -> list[tuple[inspect.Parameter, bool]]:
    """The parameters of the constructor, and which get the JobContext."""
    maker = inspect.getattr_static(cls, "__init__")
    if not isinstance(maker, types.FunctionType):
        return []
    return [(p, _asks_for_context(p, maker)) for p in _parameters(maker)]


def _arguments(
    function: Callable[..., Any], own: Sequence[inspect.Parameter], given: JsonObject
) -> dict[str, Any]:
    if _takes_whole_mapping(own):
        return {own[0].name: _converted(given, _hint(own[0], function))}
    hints = {p.name: _hint(p, function) for p in own}
    arguments = {}
    for name, value in given.items():
        try:
            arguments[name] = _converted(value, hints.get(name, Any))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise InvalidParameters(f"{name}: {error}") from error
    return arguments


def _misfits(function: Callable[..., Any], given: JsonObject) -> list[dict[str, str]]:
    """What names are missing or unknown, as InvalidParameters tells it."""
    own = [p for p in _parameters(function) if not _asks_for_context(p, function)]
    if _takes_whole_mapping(own):
        return []
    named = {p.name: p for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    missing = [name for name, p in named.items() if p.default is p.empty and name not in given]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in own)
    unknown = [] if takes_any else [name for name in given if name not in named]
    return [{"path": name, "message": "is required"} for name in missing] + [
        {"path": name, "message": "there is no such parameter"} for name in unknown
    ]


def _takes_whole_mapping(own: Sequence[inspect.Parameter]) -> bool:
    """Whether the method takes `parameters` as one mapping, as in the original, rather than as keywords."""
    return (
        len(own) == 1
        and own[0].name in ("params", "parameters")
        and own[0].kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    )


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those behind `self`, even where only type checkers know a name that an annotation mentions."""
    if sys.version_info >= (3, 14):
        form = sys.modules["annotationlib"].Format.FORWARDREF  # inspect has imported it
        return list(inspect.signature(function, annotation_format=form).parameters.values())[1:]
    return list(inspect.signature(function).parameters.values())[1:]


def _hint(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """Its annotation, evaluated alone; Any where there is none or nobody can read it."""
    if parameter.annotation is parameter.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"it": parameter.annotation})
    try:
        return typing.get_type_hints(holder, globalns=getattr(function, "__globals__", {}))["it"]
    except Exception:
        return Any


def _asks_for_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    return _choices(_hint(parameter, function)) == [JobContext]


def _choices(hint: Any) -> list[Any]:
    """The types of a union, None not counted; any other type alone."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [one for one in typing.get_args(hint) if one is not type(None)]
    return [hint]


_FROM_JSON: Final[Mapping[type, Callable[[Any], Any]]] = {
    date: date.fromisoformat,
    datetime: datetime.fromisoformat,
    time_of_day: time_of_day.fromisoformat,
    Decimal: lambda value: Decimal(str(value)),
    UUID: UUID,
    Path: Path,
    int: lambda value: int(value) if isinstance(value, float) and value.is_integer() else value,
}


def _converted(value: Any, hint: Any) -> Any:
    """The value as its annotation wants it, for the types that jobs commonly take; others get what JSON has."""
    if value is None:
        return None
    choices = _choices(hint)
    if len(choices) > 1:
        return _first_that_fits(value, choices)
    (wanted,) = choices
    match typing.get_origin(wanted), typing.get_args(wanted):
        case (made, (item, *_)) if made in (list, set, frozenset, tuple) and isinstance(value, list):
            return made(_converted(one, item) for one in value)
        case (made, (_, item)) if made is dict and isinstance(value, dict):
            return {name: _converted(one, item) for name, one in value.items()}
        case (None, _) if isinstance(wanted, type):
            return _as_type(value, wanted)
    return value


def _first_that_fits(value: Any, choices: Iterable[Any]) -> Any:
    for choice in choices:
        try:
            return _converted(value, choice)
        except (TypeError, ValueError, ArithmeticError):
            continue
    raise ValueError(f"{value!r} fits none of the annotated types")


def _as_type(value: Any, wanted: type) -> Any:
    if wanted in _FROM_JSON:
        return _FROM_JSON[wanted](value)
    if issubclass(wanted, Enum):
        return wanted(value)
    if hasattr(wanted, "model_validate"):  # pydantic's
        return wanted.model_validate(value)
    if dataclasses.is_dataclass(wanted) and isinstance(value, dict):
        hints = typing.get_type_hints(wanted)
        return wanted(**{name: _converted(one, hints.get(name, Any)) for name, one in value.items()})
    return value


def _awaited(result: Any) -> Any:
    """What a coroutine comes to, in a loop of its own, as an attempt has; beside a loop that runs, in a thread."""
    if not isinstance(result, types.CoroutineType):
        return result
    import asyncio  # only for those who use it
    from concurrent.futures import ThreadPoolExecutor

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(result)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, result).result()


def _as_result(result: Any) -> Any:
    """The result as it comes back from the database. Raises InvalidResult."""
    try:
        text = codec.to_json(result)
        size = len(text.encode())
        depth = _depth(result)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(f"the result is no JSON: {error}") from None
    if size > _MAX_RESULT:
        raise InvalidResult(f"the result takes {size} bytes, at most {_MAX_RESULT} are kept")
    if depth > _MAX_NESTING:
        raise InvalidResult(f"the result is no JSON: it is nested more than {_MAX_NESTING} levels deep")
    return json.loads(text)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _copied(value: T) -> T:
    """A copy that nobody else holds, of what JSON can hold."""
    copied: T = json.loads(json.dumps(value))
    return copied


def _now(delay: float = 0.0) -> str:
    return datetime.fromtimestamp(time.time() + delay, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
