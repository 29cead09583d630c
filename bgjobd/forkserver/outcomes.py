"""The outcome record of an attempt: what a method returned, or what it raised, as text that harms nobody."""

from __future__ import annotations

import json
import math
import os
import sys
from typing import TYPE_CHECKING, Any

from . import journal_lines
from .error_texts import kind_of, name_of, path_of, text_of, traceback_of
from .fingerprints import Whence, whence_of
from .masking import scrubbed

if TYPE_CHECKING:
    from .order import Order
    from .sandbox import Sandbox

_LONGEST_DELAY = 36_500 * 86_400.0


class MethodNotApproved(Exception):
    """The method was approved when the job was submitted and is not any more."""


class InvalidParameters(Exception):
    """The parameters do not fit the method; what a schema could not tell at submit."""


class InvalidResult(Exception):
    """The method returned what JSON cannot hold, or too much of it."""


def is_final(error: BaseException) -> bool:
    """Whether another attempt would end the same way, or the job said that there shall be none."""
    return isinstance(error, MethodNotApproved | InvalidParameters | InvalidResult) or _is_a(error, "Fail")


def asked_delay(error: BaseException) -> float | None:
    """The delay that a Retry or Snooze asks for, in seconds; None for any other error, and for one without a delay.

    Raises ValueError where it is none.
    """
    if not (_is_a(error, "Retry") or _is_a(error, "Snooze")):
        return None
    delay = error.delay  # type: ignore[attr-defined]  # both have it
    return None if delay is None else checked_delay(delay)


def checked_delay(delay: Any) -> float:
    """The delay, if it is one. Raises ValueError."""
    is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
    if not is_number or not math.isfinite(delay) or not 0 <= delay <= _LONGEST_DELAY:
        raise ValueError(f"{delay!r} is no number of seconds from 0 to a hundred years")
    return float(delay)


def _is_a(error: BaseException, name: str) -> bool:
    """Whether it is this one of bgjob's, whatever its class says of itself; not where nobody has imported them."""
    known = getattr(sys.modules.get("bgjob.jobs"), name, None)
    return isinstance(known, type) and issubclass(type(error), known)


def _throttles(error: BaseException) -> str | None:
    """Whom a Throttled keeps from starting; None for any other error, and for a word that is none."""
    of = error.of if _is_a(error, "Throttled") else None  # type: ignore[attr-defined]  # it has one
    return of if of in _THROTTLES else None


_THROTTLES = ("class", "key", "job")


def outcome_of_result(result: Any) -> bytes:
    """The record of a method that returned. Raises InvalidResult."""
    text = "null" if result is None else result_text(result)  # None: without waking the encoder
    return journal_lines.completed(os.getpid(), text)


def outcome_of_error(error: BaseException, order: Order, delay: float | None, sandbox: Sandbox) -> bytes:
    """The record of a method that raised; `delay` is what the class's own hook, or the error, asks for, in seconds."""
    if _is_a(error, "Snooze") and delay is not None:
        return journal_lines.snoozed(os.getpid(), delay, _throttles(error))
    hint, exceeded = sandbox.hint(error), sandbox.exceeded(error)
    text = text_of(error) if hint is None else f"{text_of(error)} ({hint})"
    path = path_of(type(error))
    return journal_lines.failed(
        os.getpid(),
        scrubbed(name_of(type(error)), order)[:255],
        scrubbed(text, order),
        scrubbed(traceback_of(error), order),
        may_retry=not is_final(error),
        delay=delay,
        exceeded=None if exceeded is None else exceeded._asdict(),
        error_class=None if path is None else scrubbed(path, order),
        whence=_try_whence(error, order),
    )


def _try_whence(error: BaseException, order: Order) -> Whence | None:
    """Which error it is; None where its class resists being looked at, or there is no memory for it."""
    try:
        return whence_of(error, kind_of, text_of, lambda text: scrubbed(text, order))
    except Exception:  # how the attempt ended is worth more
        return None


def result_text(result: Any) -> str:
    """The result as JSON text. Raises InvalidResult."""
    try:
        text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
        _check_nesting(result, text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResult(f"the result is no JSON: {error}") from None
    if size > journal_lines.MAX_RESULT:
        raise InvalidResult(f"the result takes {size} bytes, at most {journal_lines.MAX_RESULT} are kept")
    return text


def _check_nesting(result: Any, text: str) -> None:
    """Raises ValueError for a result nested so deeply that readers of JSON give up on it."""
    level, depth = [result], 0
    while level and text.count("[") + text.count("{") > journal_lines.MAX_NESTING:
        if depth > journal_lines.MAX_NESTING:
            raise ValueError(f"it is nested more than {journal_lines.MAX_NESTING} levels deep")
        below = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list, tuple))
        ]
        level, depth = [item for items in below for item in items], depth + 1
