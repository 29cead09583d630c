"""A start waits for a database that does not answer yet; what waiting does not mend ends it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from bgjob.words import EntryType
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.engines import Engine
from bgjobd.store.engines.places import AwayServerError

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class EndedEarlyError(Exception):
    """Somebody wanted the end of a daemon that still waited for its database."""


class WaitingStart:
    """`say` writes a line about the daemon itself; `wants_end` is set by who wants it to end."""

    def __init__(
        self, notifier: Notifier, wants_end: asyncio.Event, say: Callable[[EntryType, str], None]
    ) -> None:
        self._notifier = notifier
        self._wants_end = wants_end
        self._say = say
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
                    self._say(
                        EntryType.INFO, f"the database is there, after {time.monotonic() - began:.1f} s"
                    )
                return is_restored
            await self._pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _tell(self, reason: str) -> None:
        """Say what it waits for, once for each reason; systemd is told whenever it goes on."""
        if reason != self._told:
            self._told = reason
            self._say(EntryType.FAILURE, f"{self._status()}; until it answers nobody is served")
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
