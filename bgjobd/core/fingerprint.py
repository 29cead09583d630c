"""Which error the bad end of an attempt is: what tells one from another, and which ends are none; no I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

from bgjob.fingerprints import Whence, fingerprint_of, words_of
from bgjob.words import Outcome
from bgjobd.core.job import Call, Ending

LONGEST_MESSAGE: Final = 1000
"""Characters of an error's message that are kept beside its attempts."""

MOST_ERRORS: Final = 10_000
MOST_NAMES: Final = 500
"""So many errors are known, those seen last, and so many of them by the words of a class's own."""

_DAY: Final = 86_400.0
NEW_FOR: Final = _DAY
BACK_AFTER: Final = 14 * _DAY
KEPT_FOR: Final = 90 * _DAY
"""Seconds: an error is new, or back, for so long; it is back after such a silence, and forgotten after such a one."""

OTHER: Final = "(other)"
"""What a class's errors are called that would be one too many of those which it has named."""

_NO_ERRORS: Final = frozenset({Outcome.COMPLETED, Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED})


class MetError(NamedTuple):
    """An error as it was met: which one, by its fingerprint, and what there is to show of it. `name` is the job's own
    word for it; `place` and `line` are of an exception alone.
    """

    fingerprint: str
    outcome: Outcome
    error_type: str | None
    message: str | None
    place: str | None
    line: str | None
    name: str | None


def try_error(ending: Ending, call: Call, has_failed: bool) -> MetError | None:
    """The error that has ended an attempt of this call; None for an end that is no error, or no doing of the job's.

    `has_failed`: its job has failed by that.
    """
    if ending.outcome in _NO_ERRORS:
        return None
    is_by_start = ending.outcome is Outcome.NOT_STARTED and ending.crash is not None
    if not (ending.spends_retry or is_by_start or has_failed):
        return None
    known = ending.whence if ending.outcome is Outcome.FAILED else None
    whence = known or Whence(fingerprint_of(*_words(ending, call)))
    message = ending.error_message if ending.outcome is Outcome.FAILED else ending.error
    shown = None if message is None else message[:LONGEST_MESSAGE]
    return MetError(
        whence.fingerprint, ending.outcome, ending.error_type, shown, whence.place, whence.line, whence.name
    )


def other_of(error: MetError, class_name: str) -> MetError:
    """The same as one of those of its class that have no name of their own any more."""
    return error._replace(fingerprint=fingerprint_of("other", class_name), name=OTHER)


def _words(ending: Ending, call: Call) -> tuple[str, ...]:
    """Of a process that was ended its signal or exit code counts; how an attempt went that met a limit says nothing."""
    match ending.outcome:
        case Outcome.FAILED:
            kind = ending.error_class or ending.error_type or ""
            return words_of(kind, ending.error_message or "")
        case Outcome.SIGNALLED:
            how = str(ending.signal)
        case Outcome.EXITED:
            how = str(ending.exit_code)
        case Outcome.NOT_STARTED:
            how = ending.crash or ""
        case _:
            how = ""
    return ending.outcome, how, call.target
