"""One attempt, from right after the fork to `_exit`: proves its start, closes, resets, runs the method, records how
it ended, and leaves; nothing else runs in this process.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from types import CoroutineType
from typing import Any, NamedTuple, NoReturn

from . import journal as journals
from .identity import pidfd_inode, start_time


class Place(NamedTuple):
    """Where attempts write: descriptors of the spool and of the output directory; and which boot and kernel this is."""

    spool: int
    output: int
    boot_id: str
    has_pidfs: bool


class Approved(NamedTuple):
    """An approved class as the fork server holds it: the class itself, and the methods that may be called.

    A method's value says whether it takes the parameters as one mapping.
    """

    cls: type
    methods: Mapping[str, bool]


class Order(NamedTuple):
    """What the daemon asked for: which attempt, and what it runs."""

    job: int
    number: int
    token: str
    class_name: str
    method_name: str
    parameters: Mapping[str, Any]


MAX_NESTING = 100


def run(order: Order, approved: Approved | None, place: Place, inherited: tuple[int, ...]) -> NoReturn:
    """Be the attempt. `inherited` are the fork server's own descriptors, which are closed."""
    code = 1
    try:
        journal = _prove_start(order, place)
        if journal is not None:
            _become_attempt(order, place, inherited)
            code = _run_method(order, approved, journal)
    except SystemExit as leaving:
        code = _exit_code(leaving)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(code)


def _prove_start(order: Order, place: Place) -> int | None:
    pid = os.getpid()
    # Reading a start time costs a fresh child more than the rest of the proof; with pidfs nobody compares it.
    since = 0 if place.has_pidfs else start_time(pid)
    line = journals.started(order.token, pid, since, pidfd_inode(pid), place.boot_id)
    return journals.link_first(place.spool, journals.file_name(order.job, order.number), line)


def _become_attempt(order: Order, place: Place, inherited: tuple[int, ...]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    output = os.open(
        f"{order.job}.{order.number}.out",
        os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=place.output,
    )
    os.dup2(output, 1)
    os.dup2(output, 2)
    for descriptor in (output, place.spool, place.output, *inherited):
        os.close(descriptor)


def _run_method(order: Order, approved: Approved | None, journal: int) -> int:
    """Run it and record the outcome; answers the exit code. SystemExit goes through: it is an exit, no outcome."""
    file = os.fstat(journal)
    code = 0
    try:
        result = _result_text(_call(order, approved))
        # The pid is asked last: the job may have forked, and this be its copy.
        line = journals.completed(os.getpid(), result)
    except SystemExit:
        raise
    except BaseException as error:
        line, code = _failed(error), 1
    _flush()
    _record(journal, file, line)
    return code


class MethodNotApproved(Exception):
    """The method was approved when the job was submitted and is not any more."""


class InvalidResult(Exception):
    """The method returned what JSON cannot hold, or too much of it."""


def _call(order: Order, approved: Approved | None) -> Any:
    if approved is None or order.method_name not in approved.methods:
        raise MethodNotApproved(f"{order.class_name}::{order.method_name} is no longer allowed")
    method = getattr(approved.cls(), order.method_name)
    result = method(order.parameters) if approved.methods[order.method_name] else method(**order.parameters)
    return _awaited(result) if isinstance(result, CoroutineType) else result


def _awaited(coroutine: CoroutineType[Any, Any, Any]) -> Any:
    import asyncio  # only for those who use it: it would make every fork dearer

    return asyncio.run(coroutine)


def _result_text(result: Any) -> str:
    if result is None:
        return "null"  # what most methods return, without waking the encoder
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        _check_nesting(result, text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(f"the result is no JSON: {error}") from None
    if size > journals.MAX_RESULT:
        raise InvalidResult(f"the result takes {size} bytes, at most {journals.MAX_RESULT} are kept")
    return text


def _check_nesting(result: Any, text: str) -> None:
    """Raises ValueError for a result nested so deeply that readers of JSON give up on it."""
    level, depth = [result], 0
    while level and text.count("[") + text.count("{") > MAX_NESTING:
        if depth > MAX_NESTING:
            raise ValueError(f"it is nested more than {MAX_NESTING} levels deep")
        below = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list, tuple))
        ]
        level, depth = [item for items in below for item in items], depth + 1


def _failed(error: BaseException) -> bytes:
    is_final = isinstance(error, MethodNotApproved | InvalidResult)
    name = _printable(type(error).__qualname__)[:255]
    return journals.failed(os.getpid(), name, text_of(error), _traceback(error), may_retry=not is_final)


def text_of(error: BaseException) -> str:
    """The error's own text, whatever its class does with str()."""
    try:
        return _printable(str(error))
    except Exception as second:
        return f"<str() of this error raised {type(second).__name__}>"


def _traceback(error: BaseException) -> str:
    # The first two frames are this file's.
    own = error.__traceback__.tb_next if error.__traceback__ else None
    tail = own.tb_next if own else None
    try:
        return _printable("".join(traceback.format_exception(type(error), error, tail)))
    except Exception as second:
        return f"<formatting this traceback raised {type(second).__name__}>"


def _printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()


def _record(journal: int, file: os.stat_result, line: bytes) -> None:
    """Append the outcome, unless the job closed the journal's descriptor and something else took its number."""
    try:
        now = os.fstat(journal)
    except OSError:
        return
    if (now.st_dev, now.st_ino) == (file.st_dev, file.st_ino):
        journals.append(journal, line)


def _exit_code(leaving: SystemExit) -> int:
    """The code that Python itself would exit with; a message goes to stderr, as there."""
    match leaving.code:
        case None:
            return 0
        case int(code):
            return code & 0xFF
        case message:
            print(message, file=sys.stderr)
            return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            continue  # closed or replaced by the job; what it held is the job's own loss
