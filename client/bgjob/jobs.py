"""What the author of a job class uses inside a job: the context of the attempt, and the words that end it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from bgjob.endings import (
    LONGEST_DELAY,
    AttemptError,
    Fail,
    InvalidResult,
    Retry,
    SignalTimeout,
    Snooze,
    StepError,
    Suspended,
    Throttled,
    seconds_of,
)

if TYPE_CHECKING:
    import logging  # imported by those who log: every page of memory makes a fork dearer
    from datetime import datetime
    from typing import ParamSpec, TypeVar

    from bgjob.state import State, StateKeeper
    from bgjob.steps import Keeper, Steps

    P = ParamSpec("P")
    R = TypeVar("R")

__all__ = [
    "CONTEXT",
    "AttemptError",
    "Fail",
    "InvalidResult",
    "JobContext",
    "LONGEST_DELAY",
    "Retry",
    "SignalTimeout",
    "Snooze",
    "StepError",
    "Suspended",
    "Throttled",
]


class JobContext:
    """The attempt that runs, given to a constructor or method that has an argument of this type.

    `job_id` and `attempt` (from 1) say which; `deadline` is the instant of time.monotonic() at which the attempt
    is stopped, None where it has no timeout. `occurrence` is the time for which a schedule has submitted the
    job, such as "2026-11-26T01:30:00.000000Z"; None for other jobs. `traceparent`, and $TRACEPARENT, is
    the span that the attempt is, in the trace that its job was submitted in; None where that was none.
    """

    def __init__(
        self,
        job_id: int,
        attempt: int,
        deadline: float | None = None,
        *,
        record: Callable[[dict[str, Any]], None] = lambda record: None,
        stop_file: str | None = None,
    ) -> None:
        self.job_id = job_id
        self.attempt = attempt
        self.deadline = deadline
        self.occurrence: str | None = None
        self.traceparent: str | None = None
        self._record = record
        self._stop_file = stop_file
        self._is_stopping = False
        self._logger: logging.Logger | None = None
        self._pid = os.getpid()
        self._keeper: Keeper | None = None
        self._state_keeper: StateKeeper | None = None
        self._loop_around: object = None
        self._made: dict[str, Any] = {}  # into which one of several threads has the first word

    @property
    def remaining(self) -> float | None:
        """Seconds until the deadline, never below 0; None where there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def stop_reason(self) -> str | None:
        """Why the attempt is to end soon: "cancelled", "timed_out", "shutdown", or "fenced", where its host is cut
        off from the database; None as long as it may go on.

        A method that takes a context is not ended by SIGTERM: it looks here, and has `stop_grace` seconds to leave.
        """
        if not self._is_stopping:
            return None
        try:
            with open(self._stop_file or os.devnull, encoding="ascii") as file:
                return file.read().strip() or "stopped"
        except OSError:
            return "stopped"  # somebody else sent the signal

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the job is, from 0.0 to 1.0, and in words. Raises ValueError for another number.

        Call it as often as you like: it is recorded up to some ten times a second, and the last at the end.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"progress is a fraction from 0.0 to 1.0, not {fraction!r}")
        self._record({"type": "progress", "fraction": float(fraction), "message": str(message)})

    def step(self, name: str, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function once for the job, and keep what it returns: a later attempt gets that, and does not run it.

        The result is as JSON makes it, in the first run too; of an `async` function it is awaited. The name, 1 to 255
        characters, tells the step from others of the job, whatever their order; what raises is tried again. Raises
        StepError for a name that came before in this attempt, and for the 1,001st; InvalidResult for what JSON cannot
        hold, and where the results of all steps take more than 1 MiB. Neither is retried.

        A process that dies between what the function does and its record has it run again: hand on `token(name)`.
        Outside of attempts the function runs, and nothing is kept.
        """
        result: R = self._steps_of_job().run(name, function, args, kwargs)
        return result

    def sleep(self, seconds: float) -> Any:
        """End the attempt for so long, up to 100 years, with no process and no slot; once that is over, return at once.

        What follows runs in another attempt, which comes by here again: what is not in a step runs again before it.
        To be awaited where a loop runs. Raises ValueError; StepError within a step.
        """
        return self._steps_of_job().sleep(seconds_of(seconds))

    def sleep_until(self, moment: datetime) -> Any:
        """The same until a moment, which has a time zone; at once if it is over."""
        if moment.utcoffset() is None:
            raise ValueError(f"a moment with its time zone is wanted, not {moment!r}")
        until = max(0.0, moment.timestamp())
        seconds_of(max(0.0, until - time.time()))
        return self._steps_of_job().sleep_until(until)

    def wait_for(self, name: str, timeout: float | None = None) -> Any:
        """What the next signal of this name brings, which `bgjob signal` and clients send, with no process and no slot
        meanwhile; one that came before is taken. To be awaited where a loop runs. Raises SignalTimeout after so many
        seconds; ValueError, and StepError, as a sleep does.
        """
        return self._steps_of_job().wait_for(name, None if timeout is None else seconds_of(timeout))

    @property
    def steps(self) -> Mapping[str, Any]:
        """The results of the steps that are finished, by name; read-only."""
        return self._steps_of_job()

    def token(self, name: str) -> str:
        """32 hexadecimal digits, the same in each attempt: a key by which others know that it is the same step."""
        return self._steps_of_job().token(name)

    @property
    def state(self) -> MutableMapping[str, Any]:
        """What the job keeps from attempt to attempt, a mapping of JSON: an item is saved when its assignment returns,
        several at once by `update`. What is read is a copy: to change it, assign it again.

        Raises ValueError, and stays as it was, for what JSON cannot hold and for more than 64 KiB in all; StepError in
        a process that the attempt has forked, and in the `failed` hook; Suspended once the attempt has ended to wait.
        Outside of attempts it is this context's alone, in memory; that of CONTEXT is empty each time.
        """
        if "state" in self._made:
            known: State = self._made["state"]
            return known
        from bgjob.state import State, StateOutside  # by those who have one, as steps

        keeper = self._state_keeper
        if keeper is None and self._stop_file is not None:
            raise StepError("there is a state in attempts only, of a daemon that knows it")
        pid = os.getpid() if keeper is None else self._pid
        state = State(StateOutside() if keeper is None else keeper, pid, self._is_suspended)
        if self is CONTEXT:  # which is everybody's
            return state
        made: State = self._made.setdefault("state", state)
        return made

    def _is_suspended(self) -> bool:
        steps: Steps | None = self._made.get("steps")
        return steps is not None and steps.is_suspended

    def _steps_of_job(self) -> Steps:
        if "steps" in self._made:
            known: Steps = self._made["steps"]
            return known
        from bgjob.steps import Steps, StepsOutside  # by those who have some: every page makes a fork dearer

        if self._keeper is None and self._stop_file is not None:
            raise StepError("there are steps in attempts only, of a daemon that knows them")
        steps = StepsOutside() if self._keeper is None else Steps(self._keeper, self._pid, self._loop_around)
        if self is CONTEXT:  # which is everybody's
            return steps
        made: Steps = self._made.setdefault("steps", steps)
        return made

    def emit(self, value: Any) -> bool:
        """Tell a value of JSON to whoever follows the job, by `job.stream()`; whether it is kept for them.

        It is not where it takes more than 64 KiB, nor beyond 10,000 values or 1 MiB of them in an attempt; the job's
        log says how many were not. A value that an earlier attempt has told, outside of steps and before a finished
        one, is not told again. Outside of attempts none is kept. Raises ValueError for what JSON cannot hold; StepError
        in a process that the attempt has forked, and in the `failed` hook.
        """
        return self._steps_of_job().emit(value)

    @property
    def logger(self) -> logging.Logger:
        """A logger whose records become entries of the job's log, from level INFO on."""
        if self._logger is None:
            self._logger = _logger_of(self._record, f"bgjob.{self.job_id}.{self.attempt}")
        return self._logger

    def on_stop(self, *_: object) -> None:
        """The handler of SIGTERM: from now on there is a stop reason."""
        self._is_stopping = True


CONTEXT: Final = JobContext(0, 0)
"""What an argument for the context defaults to, so that callers need none: it does nothing outside of attempts, where
steps run each time and sleeps are over at once, and in one it is replaced by the attempt's own.
"""


def _logger_of(record: Callable[[dict[str, Any]], None], name: str) -> logging.Logger:
    import logging

    class ToJournal(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            try:
                message = self.format(entry)
            except Exception:  # what cannot be told costs the job nothing, as with logging's own handlers
                self.handleError(entry)
            else:
                record({"type": "log", "level": entry.levelname, "message": message})

    logger = logging.Logger(name, logging.INFO)
    logger.addHandler(ToJournal())
    return logger
