"""How long a fork server that owes word of an attempt, or of a hook, may be silent, until it is killed and replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bgjob.words import EntryType
from bgjobd.supervisor.fork_server_link import ForkServer

PATIENCE: Final = 10.0
"""Seconds without a sign of life from a fork server that owes word of a start or of an end, until it is replaced."""

_LATE: Final = 1.0
"""Seconds by which a timer is late that says that this process was stopped, and perhaps the fork server too."""


class Patience:
    """Waits for what a fork server owes; one that gives no sign of life at all is killed: what it has started goes on.

    `say` writes a line about the daemon itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, say: Callable[[EntryType, str], None]) -> None:
        self._loop, self._say = loop, say
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_waiting(self) -> bool:
        return self._timer is not None

    def wait(self, who_owes: Callable[[], ForkServer | None], seconds: float | None = None) -> None:
        """Wait until `end` for the fork server that then owes word, if one does."""
        self._timer = self._loop.call_later(PATIENCE if seconds is None else seconds, self._look, who_owes)

    def end(self) -> None:
        """It has answered, or nothing is owed any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, who_owes: Callable[[], ForkServer | None]) -> None:
        timer, self._timer = self._timer, None
        server = who_owes()
        if server is None or timer is None:
            return
        if self._loop.time() - timer.when() > _LATE:  # this process itself was stopped
            self.wait(who_owes)
            return
        left = server.heard_at + PATIENCE - self._loop.time()
        if left > 0:
            self.wait(who_owes, left)
            return
        text = f"the fork server (pid {server.pid}) has not answered for {PATIENCE:g} s; it is killed and replaced"
        self._say(EntryType.FAILURE, text)
        server.kill()
