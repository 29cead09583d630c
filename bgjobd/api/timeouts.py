"""When a connection has taken too long: a frame that does not end, replies that nobody takes, nothing asked for.

Callbacks are given at a start and not before, so that nothing refers back to a connection that is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class FrameTimeout:
    """A frame that has begun must end in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None

    def start(self, abort: Callable[[], None]) -> None:
        """The frame has begun, if it had not before."""
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(self._seconds, abort)

    def stop(self) -> None:
        """It has ended, or nobody waits for its rest."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class UnreadTimeout:
    """Replies may lie for so many seconds with nothing taken of them; the kernel holds some for the peer, these are
    the rest.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None

    def start(self, taken: Callable[[], int], abort: Callable[[], None]) -> None:
        """Replies lie. `taken` tells how many bytes the peer has taken in all."""
        self._deadline = asyncio.get_running_loop().call_later(
            self._seconds, self._end_if_unread, taken, abort, taken()
        )

    def stop(self) -> None:
        """All were taken."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end_if_unread(self, taken: Callable[[], int], abort: Callable[[], None], before: int) -> None:
        if taken() == before:
            abort()
        else:
            self.start(taken, abort)


class IdleTimeout:
    """A connection may be quiet for so many seconds, with nothing owed.

    Requests only note the time: the timer runs on and looks at it when it fires.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._quiet_since = 0.0
        self._next_look: asyncio.TimerHandle | None = None

    def start(self, is_busy: Callable[[], bool], end: Callable[[], None]) -> None:
        """From now on `end` is called whenever it was quiet for so long, and not `is_busy`."""
        self.note_activity()
        self._look_after(self._seconds, is_busy, end)

    def stop(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()

    def note_activity(self) -> None:
        self._quiet_since = asyncio.get_running_loop().time()

    def _look_after(self, delay: float, is_busy: Callable[[], bool], end: Callable[[], None]) -> None:
        self._next_look = asyncio.get_running_loop().call_later(delay, self._look, is_busy, end)

    def _look(self, is_busy: Callable[[], bool], end: Callable[[], None]) -> None:
        if is_busy():
            self.note_activity()
        quiet = asyncio.get_running_loop().time() - self._quiet_since
        if quiet < self._seconds:
            self._look_after(self._seconds - quiet, is_busy, end)
        else:
            end()
            self._look_after(self._seconds, is_busy, end)
