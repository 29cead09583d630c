"""When to ask again: after a connection broke, after a call got no answer, while a job is waited for; no I/O here."""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar

from bgjob import answers, calls
from bgjob.answers import JobRead
from bgjob.calls import Call
from bgjob.codec import JsonObject
from bgjob.errors import (
    BgjobError,
    BrokenError,
    DaemonUnavailableError,
    NoAnswerError,
    ShuttingDownError,
    TooManyConnectionsError,
    late,
)
from bgjob.sending import check_frame

T = TypeVar("T")

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
GIVE_UP_AFTER: Final = 30.0
"""Seconds; how a stream that broke is taken up again."""


class Breaks:
    """When a connection that broke is to be tried again: soon, then ever later, and not for ever.

    `now` is any clock that only goes forward. A connection is mended once an answer came over it, or once it has held
    for longer than a pause: one that is accepted and closed at once is not.
    """

    def __init__(self) -> None:
        self._pause = FIRST_PAUSE
        self._since: float | None = None
        self.connected_at: float | None = None

    @property
    def is_untried(self) -> bool:
        """Whether there was neither a connection yet nor a try that failed."""
        return self.connected_at is None and self._since is None

    def connected(self, now: float) -> None:
        self.connected_at = now

    def answered(self) -> None:
        self._pause = FIRST_PAUSE
        self._since = None

    def try_pause(self, now: float) -> float | None:
        """Seconds until the next try, after one that failed; None: the daemon has been away for too long."""
        if self.connected_at is not None and now - self.connected_at >= LONGEST_PAUSE:
            self.answered()
        self.connected_at = None
        if self._since is None:
            self._since = now
        if now - self._since >= GIVE_UP_AFTER:
            return None
        pause, self._pause = self._pause, min(2 * self._pause, LONGEST_PAUSE)
        return pause


def try_pause_for_place(breaks: Breaks, now: float) -> float | None:
    """Seconds until a daemon that had no place for another connection is asked again; None: it had none for too long.

    From half of the pause to all of it, by the digits of `now`: of many who wait, not all are to come at once.
    """
    pause = breaks.try_pause(now)
    return None if pause is None else pause * (1 + now * 10_000 % 1) / 2


class Tries:
    """When a call that got no answer is made again: at once over a new connection, then after pauses, until `deadline`.

    `deadline` and `now` are of any clock that only goes forward.
    """

    def __init__(self, call: Call[Any], deadline: float) -> None:
        self._call = call
        self._deadline = deadline
        self._breaks = Breaks()
        self._has_broken = False
        self._was_sent = False

    def pause_after(self, error: BgjobError, was_reached: bool, now: float) -> float:
        """Seconds until the next try. Raises the error where there is none, or what made the daemon hang up.

        `was_reached`: whether a daemon was there before.
        """
        self._call.keyed(error)
        if isinstance(error, DaemonUnavailableError):
            error.was_sent = self._was_sent = self._was_sent or error.was_sent
        if isinstance(error, BrokenError) and self._has_broken:
            check_frame(self._call.request)
        if not may_ask_again(self._call, error, was_reached):
            raise error
        pause = self._try_pause(error, now)
        if pause is None or now + pause >= self._deadline:
            raise error
        return pause

    def _try_pause(self, error: BgjobError, now: float) -> float | None:
        if isinstance(error, TooManyConnectionsError):
            return try_pause_for_place(self._breaks, now)
        is_first, self._has_broken = not self._has_broken, True
        # A connection may have been closed for want of use.
        return 0.0 if is_first and isinstance(error, BrokenError) else self._breaks.try_pause(now)


def may_ask_again(call: Call[Any], error: BgjobError, was_reached: bool) -> bool:
    """Whether a call may be made again that ended with this error: nothing can happen twice, and it may help."""
    match error:
        case ShuttingDownError():
            return True
        case BrokenError():
            return call.may_repeat or not error.was_sent
        case TooManyConnectionsError():
            return error.is_first
        case NoAnswerError():
            return False
        case DaemonUnavailableError():
            return was_reached
        case _:
            return False


class Waiting(Generic[T]):
    """A wait for an end, over as many connections as it takes; `now` is of any clock that only goes forward.

    Which call tells of the end, and how it is seen, says who inherits it.
    """

    waits_for: str
    """As a person would name it."""

    def __init__(self, timeout: float | None, now: float) -> None:
        self.timeout = timeout
        self._deadline = None if timeout is None else now + timeout
        self.breaks = Breaks()

    def left(self, now: float) -> float | None:
        """Seconds that are left."""
        return None if self._deadline is None else max(0.0, self._deadline - now)

    def call(self, now: float) -> Call[T]:
        """What is asked now."""
        raise NotImplementedError

    def ended(self, answer: T) -> T:
        """What was answered. Raises WaitTimeoutError where that has not ended."""
        raise NotImplementedError

    def shortened(self, pause: float, now: float) -> float:
        """The pause, as long as there is time for it. Raises WaitTimeoutError where there is none at all."""
        left = self.left(now)
        if left == 0.0:
            raise late(f"no daemon tells how {self.waits_for} stands", "it goes", self.timeout)
        return pause if left is None else min(pause, left)


class WaitingForJob(Waiting[JobRead]):
    """A wait for a job's end."""

    def __init__(self, job_id: int | None, timeout: float | None, now: float, key: str | None = None) -> None:
        super().__init__(timeout, now)
        self.waits_for = f"job {key if job_id is None else job_id}"
        self._job_id = job_id
        self._key = key

    def call(self, now: float) -> Call[JobRead]:
        return calls.wait(self._job_id, self.left(now), self._key)

    def ended(self, answer: JobRead) -> JobRead:
        job = answer.job
        if not answers.has_ended(job):
            raise late(f"job {job['id']} is {job['status']}", "it goes", self.timeout)
        return answer


class WaitingForGroup(Waiting[JsonObject]):
    """A wait for a group's end."""

    def __init__(self, group_id: int, timeout: float | None, now: float) -> None:
        super().__init__(timeout, now)
        self.waits_for = f"group {group_id}"
        self._group_id = group_id

    def call(self, now: float) -> Call[JsonObject]:
        return calls.wait_group(self._group_id, self.left(now))

    def ended(self, answer: JsonObject) -> JsonObject:
        if not answers.has_group_ended(answer):
            left = f"has {answer['unfinished']} of {answer['total']} members that have not ended"
            is_open = "is not sealed" if answer["sealed_at"] is None else ""
            told = " and ".join(filter(None, [left if answer["unfinished"] else "", is_open]))
            raise late(f"{self.waits_for} {told or 'is about to end'}", "it goes", self.timeout)
        return answer
