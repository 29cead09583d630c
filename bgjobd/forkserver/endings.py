"""The outcome record of an attempt: what a method returned, or what it raised, as text that harms nobody."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from . import journal as journals

if TYPE_CHECKING:
    from .child import Order

MAX_NESTING = 100
MASK = "***"


class MethodNotApproved(Exception):
    """The method was approved when the job was submitted and is not any more."""


class InvalidParameters(Exception):
    """The parameters do not fit the method; what a schema could not tell at submit."""


class InvalidResult(Exception):
    """The method returned what JSON cannot hold, or too much of it."""


def is_final(error: BaseException) -> bool:
    """Whether another attempt would end the same way, or the job said that there shall be none."""
    jobs = sys.modules.get("bgjob.jobs")
    if jobs is not None and isinstance(error, jobs.Fail):
        return True
    return isinstance(error, MethodNotApproved | InvalidParameters | InvalidResult)


def outcome_of_result(result: Any) -> bytes:
    """The record of a method that returned. Raises InvalidResult."""
    text = "null" if result is None else _result_text(result)  # None: without waking the encoder
    return journals.completed(os.getpid(), text)


def outcome_of_error(error: BaseException, order: Order, delay: float | None) -> bytes:
    """The record of a method that raised; `delay` is what the class's own hook said, in seconds."""
    jobs = sys.modules.get("bgjob.jobs")  # where nobody has imported them, nobody can raise them
    if jobs is not None and isinstance(error, jobs.Snooze):
        return journals.snoozed(os.getpid(), error.delay)
    if jobs is not None and isinstance(error, jobs.Retry) and error.delay is not None:
        delay = error.delay
    return journals.failed(
        os.getpid(),
        _printable(type(error).__qualname__)[:255],
        scrubbed(text_of(error), order),
        scrubbed(_traceback(error), order),
        may_retry=not is_final(error),
        delay=delay,
    )


def text_of(error: BaseException) -> str:
    """The error's own text, whatever its class does with str()."""
    try:
        return _printable(str(error))
    except Exception as second:
        return f"<str() of this error raised {type(second).__name__}>"


def scrubbed(text: str, order: Order) -> str:
    """The text without the values of sensitive parameters, however they are quoted."""
    for name in order.sensitive:
        for value in sorted(_leaves(order.parameters.get(name)), key=len, reverse=True):
            for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1]):
                text = text.replace(form, MASK)
    return text


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers in a value, as text. True, false and null tell nothing."""
    match value:
        case dict():
            for item in value.values():
                yield from _leaves(item)
        case list():
            for item in value:
                yield from _leaves(item)
        case str() if value:
            yield value
        case int() | float() if not isinstance(value, bool):
            yield str(value)


def _result_text(result: Any) -> str:
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


def _traceback(error: BaseException) -> str:
    """The trace from the job's own frames on; those before are this package's."""
    tail = error.__traceback__
    while tail is not None and tail.tb_frame.f_globals.get("__package__") == __package__:
        tail = tail.tb_next
    try:
        return _printable("".join(traceback.format_exception(type(error), error, tail)))
    except Exception as second:
        return f"<formatting this traceback raised {type(second).__name__}>"


def _printable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates) replaced."""
    return text.encode("utf-8", "replace").decode()
