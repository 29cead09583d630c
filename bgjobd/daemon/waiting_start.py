"""A start waits for a database that does not answer yet, and whether another machine is this host; what waiting does
not mend ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bgjob.words import EntryType
from bgjobd.core.hosts import Pulse
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.engines import Engine
from bgjobd.store.engines.places import AwayServerError
from bgjobd.store.hosts import Joined, Wait
from bgjobd.supervisor.left_behind import LeftBehind

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class EndedEarlyError(Exception):
    """Somebody wanted the end of a daemon that still waited."""


class WaitingStart:
    """`say` writes a line about the daemon itself; `wants_end` is set by who wants it to end."""

    def __init__(
        self, notifier: Notifier, wants_end: asyncio.Event, say: Callable[[EntryType, str], None]
    ) -> None:
        self._notifier = notifier
        self._wants_end = wants_end
        self.say = say
        self._told = ""

    async def prepare(self, engine: Engine) -> bool:
        """Have the database there, however long that takes; whether it is a backup that was put in its place.

        Raises UnusableDatabaseError, SchemaTooNewError, OlderHostsError, EndedEarlyError.
        """
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                is_restored = engine.prepare(self._notifier.more_time)
            except AwayServerError as error:
                self._tell(error.reason)
            else:
                if self._told:
                    self.say(EntryType.INFO, f"the database is there, after {time.monotonic() - began:.1f} s")
                return is_restored
            await self._pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def join(self, take: Callable[[Pulse | None], Joined | Wait | None]) -> Joined | None:
        """The term that is taken, once nobody else is seen to be this host, if there are others; `take` asks the
        database, with the pulse that was found before a wait.

        Raises NameTakenError, LivesElsewhereError, EndedEarlyError.
        """
        found = take(None)
        while isinstance(found, Wait):
            text = f"waits {found.seconds:.1f} s whether another machine is this host, which was seen a moment ago"
            self.say(EntryType.INFO, text)
            await self._wait(found.seconds, text)
            found = take(found.pulse)
        return found

    async def end(self, left: LeftBehind) -> None:
        """Have what an earlier daemon has left, and others may repeat, end here."""
        left.end()
        await left.wait(self._notifier.more_time)

    async def _wait(self, seconds: float, status: str) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._notifier.more_time()
            self._notifier.status(lambda: status)
            await self._pause(min(left, _LONGEST_PAUSE))

    def _tell(self, reason: str) -> None:
        """Say what it waits for, once for each reason; systemd is told whenever it goes on."""
        if reason != self._told:
            self._told = reason
            self.say(EntryType.FAILURE, f"{self._status()}; until it answers nobody is served")
        self._notifier.more_time()
        self._notifier.status(self._status)

    def _status(self) -> str:
        return f"waits for the database: {self._told}"

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._wants_end.wait(), seconds)
        except TimeoutError:
            return
        raise EndedEarlyError
