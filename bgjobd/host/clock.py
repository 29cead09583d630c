"""The daemon's clock: monotonic seconds shown as wall time, this machine's or another's, and the stored form of an
instant.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

_ABSOLUTE: Final = 1
_CANCEL_ON_SET: Final = 2
_END_OF_TIME: Final = 2**31 - 1 if ctypes.sizeof(ctypes.c_long) == 4 else 2**33
"""Seconds since the epoch, as struct itimerspec holds them; what linux/timerfd.h calls the two flags above."""

_TIME_ERROR: Final = 5
_SIZE_OF_TIMEX: Final = 512
"""What linux/timex.h calls a clock that nobody keeps right, and more bytes than its struct timex has."""

JUMP: Final = 1.0
"""Seconds by which wall and monotonic clock must part to count as a jump."""


class Reading(NamedTuple):
    """How far another clock is ahead of the monotonic one, in seconds, give or take `doubt`."""

    offset: float
    doubt: float

    @classmethod
    def taken(cls, at: float, asked: float, answered: float) -> Reading:
        """Of a clock that told `at`, in seconds since the epoch, between these two monotonic instants."""
        return cls(at - (asked + answered) / 2, (answered - asked) / 2)


class Clock:
    """Seconds since the epoch that never step: the monotonic clock plus an offset taken at start.

    A wall clock that was set is noticed by `take_jump`, and only then do these seconds follow it. Where they `follow`
    another machine's clock, ours means nothing any more.
    """

    def __init__(self) -> None:
        self._first_offset = self._offset = time.time() - time.monotonic()
        self._is_of_another = False
        self._leapt = 0.0

    def now(self) -> float:
        """This instant, in seconds since the epoch."""
        return time.monotonic() + self._offset

    def after(self, jumps: float) -> float:
        """This instant for who has followed the jumps that add up to so many seconds, and no others."""
        return time.monotonic() + self._first_offset + jumps

    def take_jump(self) -> float | None:
        """By how many seconds the wall clock was set since the last look, or None; the clock follows it."""
        delta = time.time() - self.now()
        if abs(delta) <= JUMP or self._is_of_another:
            return None
        self._offset += delta
        return delta

    def follow(self, reading: Reading) -> None:
        """Show the time of another clock from now on; a difference that may be the reading's own moves nothing."""
        delta = reading.offset - self._offset
        if abs(delta) > reading.doubt:
            self._first_offset = self._offset = reading.offset
            self._leapt += delta if self._is_of_another else 0.0
        self._is_of_another = True

    def take_leap(self) -> float | None:
        """By how many seconds the clock that is followed leapt, since the last call; None for few."""
        leapt, self._leapt = self._leapt, 0.0
        return leapt if abs(leapt) > JUMP else None

    @property
    def difference(self) -> float | None:
        """How many seconds this machine's wall clock is ahead of the one that is followed; None where none is."""
        return time.time() - self.now() if self._is_of_another else None


class SetClock:
    """Tells when somebody sets the wall clock: readable then, by timerfd_create(2)'s TFD_TIMER_CANCEL_ON_SET."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = self._libc.timerfd_create(time.CLOCK_REALTIME, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._arm()

    def fileno(self) -> int:
        return int(self._timer)

    def close(self) -> None:
        os.close(self._timer)

    def take(self) -> bool:
        """Whether the clock was set since the last call."""
        try:
            os.read(self._timer, 8)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise  # of a cancelled timer the kernel tells once, and minds the next time by itself
        return True

    def _arm(self) -> None:
        """Set it for the end of time: what counts is that a set clock cancels it."""
        never = (ctypes.c_long * 4)(0, 0, _END_OF_TIME, 0)
        if self._libc.timerfd_settime(self._timer, _ABSOLUTE | _CANCEL_ON_SET, never, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime failed")


@lru_cache(maxsize=64)  # one transaction writes the same instant many times
def to_text(at: float) -> str:
    """An instant as it is stored: `2024-12-04T14:31:53.000000Z`, UTC, fixed width. ValueError beyond year 9999."""
    return datetime.fromtimestamp(at, UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def from_text(text: str) -> float:
    """The instant of a stored text, in seconds since the epoch."""
    return datetime.fromisoformat(text).timestamp()


def is_synchronised() -> bool | None:
    """Whether somebody keeps the wall clock right (adjtimex(2)); None where the kernel does not say."""
    wanted = ctypes.create_string_buffer(_SIZE_OF_TIMEX)  # all zero: nothing is changed
    state: int = ctypes.CDLL(None, use_errno=True).adjtimex(wanted)
    return None if state < 0 else state != _TIME_ERROR


def try_zone() -> str | None:
    """The name of the zone that this machine's clock shows, such as `Europe/Berlin`; None where no file tells."""
    place = os.path.realpath("/etc/localtime").partition("/zoneinfo/")[2]
    if place:
        return "UTC" if place == "Etc/UTC" else place
    try:
        with open("/etc/timezone", encoding="utf-8") as file:
            return file.read().strip() or None
    except OSError:
        return "UTC" if not os.path.exists("/etc/localtime") else None
