"""A start waits for a database that does not answer yet, and whether another machine is this host; what waiting does
not mend ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from bgjob.words import EntryType
from bgjobd.core.hosts import Pulse
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.engines import Engine
from bgjobd.store.engines.server_errors import AwayServerError
from bgjobd.store.hosts import Joined, Wait
from bgjobd.supervisor.left_behind import LeftBehind

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0

Answer = TypeVar("Answer")


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
        self._was_away = False

    async def prepare(self, engine: Engine) -> bool:
        """Have the database there, however long that takes; whether it is a backup that was put in its place.

        Raises UnusableDatabaseError, SchemaTooNewError, OlderHostsError, EndedEarlyError.
        """
        return await self._answered(partial(engine.prepare, self._notifier.more_time))

    async def join(self, take: Callable[[Pulse | None, bool], Joined | Wait | None]) -> Joined | None:
        """The term that is taken, once nobody else is seen to be this host, if there are others; `take` asks the
        database, with the pulse that was found before a wait, and whether nobody could beat until now.

        Raises NameTakenError, LivesElsewhereError, EndedEarlyError.
        """
        watched: Pulse | None = None

        def ask() -> Joined | Wait | None:
            return take(watched, self._was_away)

        while isinstance(found := await self._answered(ask), Wait):
            watched, self._was_away = found.pulse, False
            text = f"waits {found.seconds:.1f} s whether another machine beats as this host"
            self.say(EntryType.INFO, text)
            await self._wait(found.seconds, text)
        return found

    async def end(self, left: LeftBehind) -> None:
        """Have what an earlier daemon has left, and others may repeat, end here."""
        left.end()
        await left.wait(self._notifier.more_time)

    async def _answered(self, ask: Callable[[], Answer]) -> Answer:
        """What the database answers, however long it is away."""
        began, pause = time.monotonic(), _FIRST_PAUSE
        while True:
            try:
                answer = ask()
            except AwayServerError as error:
                self._tell(error.reason)
            else:
                if self._told:
                    self.say(EntryType.INFO, f"the database is there, after {time.monotonic() - began:.1f} s")
                self._told = ""
                return answer
            await self._pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _wait(self, seconds: float, status: str) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._notifier.more_time()
            self._notifier.status(lambda: status)
            await self._pause(min(left, _LONGEST_PAUSE))

    def _tell(self, reason: str) -> None:
        """Say what it waits for, once for each reason; systemd is told whenever it goes on."""
        self._was_away = True
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
