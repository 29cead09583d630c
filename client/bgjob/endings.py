"""The words that end an attempt, and what its `failed` hook is told. Authors find them in `jobs`, and so they are told
as of that module.
"""

from __future__ import annotations

import math
from typing import Any, Final, Literal

from bgjob.words import LONGEST_THROTTLE, Throttle

LONGEST_DELAY: Final = 36_500 * 86_400.0


class Retry(Exception):
    """Raised by a job: end this attempt and try again, after `delay` seconds or the class's own delay.

    It spends a retry; where none is left, the job fails.
    """

    def __init__(self, message: str = "the job asked for a retry", *, delay: float | None = None) -> None:
        self.delay = None if delay is None else seconds_of(delay)
        super().__init__(message)


class Fail(Exception):
    """Raised by a job: it fails now and is not retried, however many retries are left."""


class Snooze(Exception):
    """Raised by a job: end this attempt and start another after `delay` seconds. It spends no retry."""

    def __init__(self, delay: float) -> None:
        self.delay = seconds_of(delay)
        super().__init__(delay)

    def __str__(self) -> str:
        return f"snoozed for {self.delay:g} s"


class Throttled(Snooze):
    """Raised by a job that another side has told to come later, as by status 429: a Snooze of `retry_after` seconds,
    and until then no other job starts of its "class", or of its "key", as `of` says; "job" holds itself alone.

    More than an hour is an hour, after which the next attempt learns the rest. Raises ValueError for no time.
    """

    def __init__(self, retry_after: float = 60.0, of: Literal["class", "key", "job"] = "class") -> None:
        super().__init__(retry_after)
        if self.delay == 0.0:
            raise ValueError("nobody is throttled for 0 seconds; Snooze(0) starts another attempt at once")
        if of not in _THROTTLES:
            raise ValueError(f"of is one of {', '.join(_THROTTLES)}, not {of!r}")
        self.delay = min(self.delay, LONGEST_THROTTLE)
        self.of = of

    def __str__(self) -> str:
        return f"throttled for {self.delay:g} s"


_THROTTLES: Final = tuple(word.value for word in Throttle)


class Suspended(BaseException):
    """Ends an attempt that sleeps, or waits for a signal: that is on record by then, so let it pass."""


class SignalTimeout(TimeoutError):
    """The signal that was waited for did not come in time; also in each later attempt."""


class StepError(Fail):
    """A step that cannot be: its name came before in this attempt, or there are too many. It is never retried."""


class InvalidResult(Fail):
    """A step has returned what JSON cannot hold, or too much of it. It is never retried, for the step is done."""


class AttemptError(Exception):
    """How a job's last attempt ended, as its `failed` hook is told.

    `outcome` is a word of Outcome; `error_type`, `message` and `traceback` are text, None where there is none, as is
    `occurrence`, the time for which a schedule has submitted the job.
    """

    def __init__(
        self, outcome: str, error_type: str | None, message: str | None, traceback: str | None
    ) -> None:
        self.outcome = outcome
        self.error_type = error_type
        self.message = message
        self.traceback = traceback
        self.occurrence: str | None = None
        super().__init__(outcome, error_type, message, traceback)

    def __str__(self) -> str:
        return f"{self.error_type or self.outcome}: {self.message}"


def seconds_of(delay: Any) -> float:
    """Raises ValueError for what is no delay."""
    is_number = isinstance(delay, (int, float)) and not isinstance(delay, bool)
    if not is_number or not math.isfinite(delay) or not 0 <= delay <= LONGEST_DELAY:
        raise ValueError(f"a delay is a number of seconds from 0 to a hundred years, not {delay!r}")
    return float(delay)


for _word in (
    Retry,
    Fail,
    Snooze,
    Throttled,
    Suspended,
    SignalTimeout,
    StepError,
    InvalidResult,
    AttemptError,
):
    _word.__module__ = "bgjob.jobs"
