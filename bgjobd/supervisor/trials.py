"""Trials: tries the approved classes that the fork server in charge lacks, in throw-away processes, after pauses.

A trial starts no job. Where a class can be loaded again, a fork server with all classes takes over, provided that the
code of the others is the one in force. When that is so, and when the next trial is due, is the core's to say.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bgjob.words import EntryType
from bgjobd.core.trials import (
    UNTRIED,
    Found,
    Loaded,
    compare,
    hint,
    is_tried_again,
    patience,
    pause_before_trial,
)
from bgjobd.supervisor.application import Application
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.fork_server_loading import ForkServerError
from bgjobd.supervisor.fork_servers import ForkServers

Described = Mapping[str, Mapping[str, Any]]


class Trials:
    """Tries what the fork server in charge lacks until it can be loaded, or is a person's to take up.

    `application` tells what a fork server serves as things are. `on_news` hears how classes that were tried are
    described now. `in_background` begins work, and answers its task.
    """

    def __init__(
        self,
        fork_servers: ForkServers,
        application: Callable[[], Application],
        on_news: Callable[[Described], None],
        say: Callable[[EntryType, str], None],
        in_background: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._fork_servers = fork_servers
        self._application = application
        self._on_news = on_news
        self._say = say
        self._in_background = in_background
        self._loop = asyncio.get_running_loop()
        self._missing: frozenset[str] = frozenset()
        self._count = 0
        self._found = Found.NOTHING_NEW
        self._mended: frozenset[str] = frozenset()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def expect(self, missing: Collection[str]) -> None:
        """A fork server has come up without these classes, or is gone and lacks none: begin anew."""
        self.pause()
        # What the machine cannot limit as the configuration wants is no matter of its import.
        self._missing = frozenset(missing) - self._application().missing.keys() if missing else frozenset()
        self._count, self._found, self._mended = 0, Found.NOTHING_NEW, frozenset()
        self.resume()

    def pause(self) -> None:
        """Try nothing until `resume`; a trial that is under way is given up."""
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._timer = self._task = None

    def resume(self) -> None:
        """Have the next trial when it is due, if there is anything to try."""
        if self._missing and self._timer is None and self._task is None and is_tried_again(self._found):
            self._timer = self._loop.call_later(pause_before_trial(self._count), self._begin)

    def close(self) -> None:
        """Try nothing any more."""
        self.pause()
        self._missing = frozenset()

    def hint(self, name: str) -> str:
        """What comes next for a class that cannot be loaded."""
        if name in self._mended:
            return hint(self._found, self._seconds_left())
        is_tried = name in self._missing and is_tried_again(self._found)
        return hint(Found.NOTHING_NEW, self._seconds_left()) if is_tried else UNTRIED

    def _seconds_left(self) -> float | None:
        """Until the next trial; None where one is under way."""
        return None if self._timer is None else max(0.0, self._timer.when() - self._loop.time())

    def _begin(self) -> None:
        self._timer = None
        self._task = self._in_background(self._try())

    async def _try(self) -> None:
        self._count += 1
        application = self._application()
        # That it was not there in time may be why the class is missing.
        application = replace(application, import_timeout=patience(application.import_timeout, self._count))
        try:
            found = await self._tried(application)
        except ForkServerError:
            found = Found.NOTHING_NEW  # the next trial may do better
        if found is Found.MENDED:
            return  # the fork server that has them was announced, and all begins anew
        self._task = None
        self._tell(found)
        self._found = found
        self.resume()

    async def _tried(self, application: Application) -> Found:
        """What a trial of the missing classes finds; MENDED once they are taken up. Raises ForkServerError."""
        described = (await self._fork_servers.try_out(application.only(self._missing))).ready["classes"]
        self._on_news(described)
        self._mended = frozenset(name for name, one in described.items() if one["unavailable"] is None)
        if not self._mended:
            return Found.NOTHING_NEW
        # By themselves: they may find what was mended, too, and what was missing may have loaded more than they do.
        others = application.only(application.approved.keys() - self._missing)
        of_others = _loaded(await self._fork_servers.try_out(others))
        found = await self._fork_servers.replace(application, partial(self._judge, of_others))
        return found or Found.MENDED

    def _judge(self, of_others: Loaded, server: ForkServer) -> Found | None:
        """Why it may not take over; None if it has more than the one in charge, and nothing else. `of_others` is what
        those take which are in force.
        """
        current = self._fork_servers.current
        if current is None:
            raise ForkServerError("there is no fork server to compare it with")
        found = compare(_loaded(current), _loaded(server), of_others)
        if found is not Found.MENDED:
            return found
        self._task = None  # from here on nothing gives it up
        return None

    def _tell(self, found: Found) -> None:
        """Say once that classes could be loaded and are not taken up."""
        if found is not self._found and found is not Found.NOTHING_NEW:
            text = hint(found, pause_before_trial(self._count))
            self._say(EntryType.FAILURE, f"{', '.join(sorted(self._mended))}: {text}")


def _loaded(server: ForkServer) -> Loaded:
    return Loaded(server.ready["modules"], frozenset(server.missing))
