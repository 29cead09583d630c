"""One attempt of a job in this process: runs its method once, and does to the job what the ending asks for.

Whether there is another attempt, and when, is told by the job afterwards; who starts it is elsewhere.
"""

from __future__ import annotations

import asyncio
import contextvars
import importlib
import json
import os
import sys
import time
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from bgjob import answers, codec
from bgjob.codec import JsonObject
from bgjob.fingerprints import Whence, fingerprint_of, whence_of
from bgjob.jobs import AttemptError, Fail, JobContext, Retry, Snooze, Suspended, Throttled
from bgjob.module_rules import is_by_place, try_caller
from bgjob.steps import try_running_loop
from bgjob.testing import taking
from bgjob.testing.arguments import InvalidParameters, arguments
from bgjob.testing.error_texts import kind_of, name_of, path_of, text_of, traceback_of
from bgjob.testing.met_errors import ErrorBook
from bgjob.testing.stepping import KeptSteps
from bgjob.testing.submissions import instant
from bgjob.testing.submitted import copied
from bgjob.testing.targets import Target
from bgjob.words import Outcome, Status

_MAX_RESULT: Final = 1024 * 1024
_MAX_NESTING: Final = 100
_MAX_TEXT: Final = 64 * 1024
_LONGEST_HOOK: Final = 60.0

_JOBS_OWN: Final = (Exception, asyncio.CancelledError)
"""What a job raises; all else that is raised meanwhile, a KeyboardInterrupt or a skipped test, is the runner's."""


class SnoozedTooOften(Exception):
    """The job asked for one snooze after the other; inline nobody waits, so what it waits for may never come."""


class InvalidResult(Exception):
    """The method returned what JSON cannot hold, or too much of it."""


def attempt(row: JsonObject, target: Target, kept: KeptSteps, may_snooze: bool, errors: ErrorBook) -> Outcome:
    """Run a pending job's method once; afterwards the job has ended, or is pending for its next attempt."""
    now = instant()
    record = {**_UNKNOWN, "job_id": row["id"], "number": len(row["attempts"]) + 1, "started_at": now}
    row["attempts"].append(record)
    row.update(status=Status.RUNNING, started_at=now, updated_at=now)
    ending = _ending(row, target, _Context(row, record, kept), may_snooze)
    if kept.is_suspended:
        ending = _SUSPENDED
    if row["cancel_requested_at"] is not None:
        ending = _cancelled(ending)
    record.update({name: getattr(ending, name) for name in _EVIDENCE}, finished_at=instant())
    record["spends_retry"] = ending.outcome not in (Outcome.SNOOZED, Outcome.SUSPENDED)
    _take_ending(row, ending, kept)
    if ending.outcome not in _NO_ERRORS:
        errors.meet(row, ending.whence or _by_outcome(row, ending))
    return ending.outcome


def tell_failed_hook(row: JsonObject, target: Target) -> None:
    """Have a job that has failed for good tell its class's `failed` hook, if there is one; it cannot change the job."""
    if "failed" not in target.functions:
        return
    last = row["attempts"][-1]
    message = last["error_message"] or row["error"]
    error = AttemptError(str(last["outcome"]), last["error_type"], message, last["traceback"])
    deadline = time.monotonic() + _LONGEST_HOOK
    context = JobContext(row["id"], last["number"], deadline, stop_file=os.devnull)
    error.occurrence = context.occurrence = row["occurrence"]
    try:
        _awaited(_made(target, context).failed(error))
    except (*_JOBS_OWN, SystemExit) as second:
        _warn(target, "failed", second)


# How it ends


class _Ending(NamedTuple):
    outcome: Outcome
    exit_code: int
    result: Any = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    may_retry: bool = True
    error_class: str | None = None
    whence: Whence | None = None

    @property
    def error(self) -> str:
        match self.outcome:
            case Outcome.FAILED:
                return f"{self.error_type}: {self.error_message}"
            case Outcome.EXITED:
                message = f"exited: the process ended with code {self.exit_code}"
                return message if self.exit_code else f"{message} before the method returned"
            case _:
                return f"{self.outcome}: {self.error_message}"


_NO_ERRORS: Final = frozenset({Outcome.COMPLETED, Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED})


def _by_outcome(row: JsonObject, ending: _Ending) -> Whence:
    """Which error an end is without an exception."""
    target = f"{row['class_name']}::{row['method_name']}"
    return Whence(fingerprint_of(ending.outcome, str(ending.exit_code), target))


_EVIDENCE: Final = ("outcome", "error_type", "error_message", "traceback", "exit_code", "error_class")
_UNKNOWN: Final = dict.fromkeys(
    (
        *("job_id", "number", "pid", "started_at", "finished_at", *_EVIDENCE, "signal", "max_rss"),
        *("cpu_user", "cpu_system", "output_bytes", "code_version", "progress", "spends_retry", "host"),
        *("error_group", "waited", "traceparent"),
    )
)


def _take_ending(row: JsonObject, ending: _Ending, kept: KeptSteps) -> None:
    """The job after an attempt, with every delay over at once."""
    match ending.outcome:
        case Outcome.COMPLETED:
            row.update(status=Status.COMPLETED, result=ending.result, error=None)
        case Outcome.CANCELLED:
            row.update(status=Status.CANCELLED, error=ending.error)
        case Outcome.SNOOZED:
            row.update(status=Status.PENDING)
        case Outcome.SUSPENDED:
            row.update(status=Status.PENDING, waiting_on=kept.waiting_on)
        case _ if ending.may_retry and kept.retry_count() < row["max_retries"]:
            row.update(status=Status.PENDING, retry_count=kept.retry_count() + 1, error=ending.error)
        case _:
            row.update(status=Status.FAILED, error=ending.error)
    row["updated_at"] = instant()
    row["finished_at"] = row["updated_at"] if answers.has_ended(row) else None


def _ending(row: JsonObject, target: Target, context: _Context, may_snooze: bool) -> _Ending:
    try:
        return _returned_or_raised(row, target, context, may_snooze)
    except SystemExit as leaving:
        return _exited(leaving)
    except (Suspended, BaseExceptionGroup):
        if context.is_suspended:
            return _SUSPENDED
        raise


def _returned_or_raised(row: JsonObject, target: Target, context: JobContext, may_snooze: bool) -> _Ending:
    made = None
    try:
        _check_taken(row)
        made = _made(target, context)
        return _Ending(Outcome.COMPLETED, 0, _as_result(_returned(target, made, row, context)))
    except Snooze as error:
        if isinstance(error, Throttled) and error.of == "key" and row.get("key") is None:
            return _WITHOUT_KEY
        return _Ending(Outcome.SNOOZED, 1) if may_snooze else _failed(_too_often(error))
    except _JOBS_OWN as error:
        if made is not None and "retry_delay" in target.functions:
            _ask_retry_delay(target, made, context.attempt, error)
        return _failed(error)


def _check_taken(row: JsonObject) -> None:
    """Raises InvalidParameters where a result could not be taken."""
    problems = taking.problems(row)
    if problems:
        raise InvalidParameters("; ".join(problems))


def _returned(target: Target, made: Any, row: JsonObject, context: JobContext) -> Any:
    name, given = row["method_name"], copied(row["parameters"])
    function, task = target.functions[name], target.tasks.get(name)
    if is_by_place(function):
        places, names = given.get("args", []), given.get("kwargs", {})
    else:
        places, names = [], arguments(function, given, context, task)
    if task is None:
        return _awaited(getattr(made, name)(*places, **names))
    attempt = {"key": row["idempotency_key"], "number": context.attempt, "given": given}
    backend = importlib.import_module(str(try_caller(task)))
    return backend.run_here(task, **attempt, args=places, kwargs=names, contexts={}, context=lambda: context)


def _failed(error: BaseException) -> _Ending:
    return _Ending(
        Outcome.FAILED,
        1,
        error_type=name_of(type(error))[:255],
        error_message=text_of(error)[:_MAX_TEXT],
        traceback=traceback_of(error)[-_MAX_TEXT:],
        may_retry=not isinstance(error, _FINAL),
        error_class=path_of(type(error)),
        whence=whence_of(error, kind_of, text_of, str),
    )


_FINAL: Final = (Fail, InvalidParameters, InvalidResult, SnoozedTooOften)


_SUSPENDED: Final = _Ending(Outcome.SUSPENDED, 0)


_WITHOUT_KEY: Final = _Ending(
    Outcome.FAILED,
    1,
    error_type="Throttled",
    error_message='of = "key", and the job has no key',
    may_retry=False,
    error_class="bgjob.jobs.Throttled",
)


def _too_often(error: Snooze) -> SnoozedTooOften:
    return SnoozedTooOften(f"{text_of(error)}, once too often; inline jobs are not waited for")


def _exited(leaving: SystemExit) -> _Ending:
    """By the code that Python itself would exit with; a message goes to stderr, as there."""
    if leaving.code is not None and not isinstance(leaving.code, int):
        print(leaving.code, file=sys.stderr)
        return _Ending(Outcome.EXITED, 1)
    return _Ending(Outcome.EXITED, (leaving.code or 0) & 0xFF)


def _cancelled(ending: _Ending) -> _Ending:
    """The ending of an attempt that was told to stop: it did complete, or it was cancelled."""
    if ending.outcome is Outcome.COMPLETED:
        return ending
    why = "a cancel was requested"
    if ending.error_type is not None:
        why = f"{why} ({ending.error_type}: {ending.error_message})"
    return ending._replace(outcome=Outcome.CANCELLED, error_message=why)


# What is called


class _Context(JobContext):
    """The context of an attempt; nobody sends it a signal: that a cancel was requested it sees in the job."""

    def __init__(self, row: JsonObject, record: JsonObject, kept: KeptSteps) -> None:
        def note(told: JsonObject) -> None:
            if told["type"] == "progress":
                record["progress"] = {
                    "fraction": told["fraction"],
                    "message": told["message"],
                    "at": instant(),
                    "told": (record["progress"] or {"told": 0})["told"] + 1,
                }

        self._row = row
        deadline = None if row["timeout"] is None else time.monotonic() + row["timeout"]
        super().__init__(row["id"], record["number"], deadline, record=note)
        self.occurrence = row["occurrence"]
        self._keeper = self._state_keeper = kept
        self._loop_around = try_running_loop()
        self._kept = kept

    @property
    def is_suspended(self) -> bool:
        return self._kept.is_suspended

    @property
    def stop_reason(self) -> str | None:
        return None if self._row["cancel_requested_at"] is None else "cancelled"


def _made(target: Target, context: JobContext) -> Any:
    if target.is_module:
        return target.made_of
    return target.made_of(**dict.fromkeys(target.contexts, context))


def _ask_retry_delay(target: Target, made: Any, number: int, error: BaseException) -> None:
    """Call the class's own `retry_delay` where a daemon does; what it answers has to be a delay, and is not awaited."""
    has_its_own = isinstance(error, Retry) and error.delay is not None
    if has_its_own or isinstance(error, _FINAL) or not isinstance(error, Exception):
        return
    try:
        Retry(delay=_awaited(made.retry_delay(number, error)))
    except Exception as second:
        _warn(target, "retry_delay", second)


def _awaited(result: Any) -> Any:
    """What a coroutine comes to, in a loop of its own, as an attempt has; beside a loop that runs, in a thread."""
    if not isinstance(result, types.CoroutineType):
        return result
    if not _is_in_loop():
        return asyncio.run(result)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, asyncio.run, result).result()


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _warn(target: Target, hook: str, error: BaseException) -> None:
    message = f"{target.made_of.__qualname__}.{hook} raised {type(error).__qualname__}: {text_of(error)}"
    warnings.warn(message, RuntimeWarning, stacklevel=3)


# Results and texts


def _as_result(result: Any) -> Any:
    """The result as it comes back from the database. Raises InvalidResult."""
    try:
        text = codec.to_json(result)
        size = len(text.encode())
        _check_nesting(result)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(f"the result is no JSON: {error}") from None
    if size > _MAX_RESULT:
        raise InvalidResult(f"the result takes {size} bytes, at most {_MAX_RESULT} are kept")
    return json.loads(text)


def _check_nesting(result: Any) -> None:
    level, depth = [result], 0
    while level:
        if depth > _MAX_NESTING:
            raise ValueError(f"it is nested more than {_MAX_NESTING} levels deep")
        below = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, dict | list | tuple)
        ]
        level, depth = [item for items in below for item in items], depth + 1
