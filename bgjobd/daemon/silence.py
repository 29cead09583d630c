"""Notices that the database does not answer: what was handed to the writer is waited for, and nothing else wakes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

PATIENCE: Final = 5.0
"""Seconds that a commit may take; a disk that takes longer holds up whoever submits."""


class Clockwork(Protocol):
    """What it takes of a loop."""

    def time(self) -> float: ...

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle: ...


class Silence:
    """`busy_since` says since when the database is at work, on the loop's clock; None where it rests.

    `on_silence` hears that it has been for so many seconds, too many, and again for as long as that lasts.
    """

    def __init__(
        self,
        loop: Clockwork,
        busy_since: Callable[[], float | None],
        on_silence: Callable[[float], None],
    ) -> None:
        self._loop = loop
        self._busy_since = busy_since
        self._on_silence = on_silence
        self._timer: asyncio.TimerHandle | None = None
        self._has_more = False

    def listen(self) -> None:
        """Something was handed over."""
        self._has_more = True
        if self._timer is None:
            self._look_in(PATIENCE)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        self._has_more = False
        self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        self._timer = None
        since = self._busy_since()
        silent = 0.0 if since is None else self._loop.time() - since
        if silent >= PATIENCE:
            self._on_silence(silent)
            self._look_in(PATIENCE)
        elif since is not None or self._has_more:  # what came last may not have reached the writer
            self._look_in(PATIENCE - silent)
