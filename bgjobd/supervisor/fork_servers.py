"""The fork servers: the one that starts attempts, and those before it, which stay until their last attempt ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Final, TypeVar

from bgjob.words import EntryType
from bgjobd.core.trials import patience
from bgjobd.forkserver import allowances
from bgjobd.supervisor.application import Application, AttemptDirs
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.fork_server_loading import ForkServerError, TooSlowError

T = TypeVar("T")

_FIRST_PAUSE: Final = 1.0
_LONGEST_PAUSE: Final = 60.0
_LONGEST_PAUSE_AFTER_CRASH: Final = 10.0
_LONG: Final = 60.0
"""Seconds after which a fork server that ends was none that ends at once."""


class ForkServers:
    """Keeps a fork server there. `application` tells what a new one is to serve.

    `pids` are those of all fork servers that are not reaped, `absence` says why there is none as long as there is none.
    `on_change` hears of the one that starts attempts from now on, or that there is none; `on_end` of each that was in
    charge and is gone; `on_reaped` of each once its process is, also of one that never came up; `on_report` of what
    they tell; `on_failure` that none came up where there is none. Until that one `is_coming`.
    """

    def __init__(
        self,
        dirs: AttemptDirs,
        application: Callable[[], Application],
        on_report: Callable[[ForkServer, dict[str, Any]], None],
        on_change: Callable[[ForkServer | None], None],
        on_end: Callable[[ForkServer], None],
        on_reaped: Callable[[ForkServer], None],
        say: Callable[[EntryType, str], None],
        in_background: Callable[[Coroutine[Any, Any, None]], None],
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._dirs = dirs
        self._application = application
        self._on_report = on_report
        self._on_change = on_change
        self._on_end = on_end
        self._on_reaped = on_reaped
        self._say = say
        self._in_background = in_background
        self._on_failure = on_failure
        self._has_failed = False  # since one was put in charge
        self._is_stopping = False
        self._too_slow = 0  # how many launches since one was put in charge took longer than they were given
        self._is_starting = asyncio.Lock()
        self._means = allowances.now()
        self._crashes = 0  # in a row: ended by itself, soon, and before anything had begun
        self.pids: set[int] = set()
        self.absence = "it is being started, which imports the approved classes"
        self.current: ForkServer | None = None

    @property
    def is_coming(self) -> bool:
        """Whether the first try to have one again is under way: all that is known is that an import takes its time."""
        return self.current is None and not self._has_failed

    def stop(self) -> None:
        """Start no more fork servers; those that live go on."""
        self._is_stopping = True

    async def keep_one(self, delay: float = 0.0) -> None:
        """Bring one up in so many seconds, however long it takes, unless there is one."""
        if delay:
            await asyncio.sleep(delay)
        pause = _FIRST_PAUSE
        while self.current is None and not self._is_stopping:
            if not await self._has_one():
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _has_one(self) -> bool:
        """Launch one, unless a reload was faster. Whether there is one now."""
        async with self._is_starting:
            if self.current is None:
                try:
                    self._put_in_charge(await self._launch(self._application()))
                except ForkServerError as error:
                    self.absence = f"it is tried again, as the last try failed: {error}"
                    self._say(EntryType.FAILURE, str(error))
                    self._has_failed = True
                    self._on_failure()
            return self.current is not None

    async def replace(self, application: Application, judge: Callable[[ForkServer], T | None]) -> T | None:
        """Put a new one in charge, if it comes up and `judge` has nothing against it; else all stays as it was, and the
        answer is what it has. Raises ForkServerError.
        """
        async with self._is_starting:
            server = await self._launch(application)
            try:
                if self._is_stopping:
                    raise ForkServerError("the daemon is shutting down")
                objection = judge(server)
            except BaseException:
                await server.abandon()
                raise
            if objection is not None:
                await server.abandon()
                return objection
            self._put_in_charge(server)
            return None

    async def _launch(self, application: Application) -> ForkServer:
        lost = allowances.lost(self._means)
        if lost:
            message = (
                f"somebody has lowered what this daemon may use, and its attempts with it: {', '.join(lost)}"
            )
            self._say(EntryType.FAILURE, f"{message}; restart the daemon: jobs go on")
        return await self._launch_patiently(application, self._on_report)

    async def _launch_patiently(
        self, application: Application, on_report: Callable[[ForkServer, dict[str, Any]], None]
    ) -> ForkServer:
        """Launch one; after each that did not come up in time the next, of whatever code, is given twice as long."""
        seconds = patience(application.import_timeout, self._too_slow)
        try:
            return await ForkServer.launch(
                replace(application, import_timeout=seconds),
                self._dirs,
                on_report,
                self._on_reaped,
                self.pids,
            )
        except TooSlowError as error:
            self._too_slow += 1
            longer = patience(application.import_timeout, self._too_slow)
            raise ForkServerError(f"{error}; the next is given {longer:g} s") from None

    async def try_out(self, application: Application) -> ForkServer:
        """A fork server that was ready, starts nothing and ends: what it has loaded. Raises ForkServerError."""
        server = await self._launch_patiently(application, lambda *_: None)
        self._in_background(server.abandon())
        return server

    def _put_in_charge(self, server: ForkServer) -> None:
        """From now on this one starts attempts; the one before it ends with its last attempt."""
        before, self.current, self._too_slow = self.current, server, 0
        self._has_failed = False
        if before is not None:
            before.drain()
        self._in_background(self._watch(server))
        self._on_change(server)

    async def _watch(self, server: ForkServer) -> None:
        came_up_at = asyncio.get_running_loop().time()
        await server.gone
        self._in_background(server.collect())
        if self._is_stopping:
            return
        was_current, delay = self.current is server, 0.0
        if was_current:
            self.current = None
            self.absence = f"another is being started, as the last one (pid {server.pid}) ended"
            self._on_change(None)
        await server.wait_for_end()
        if was_current:
            is_soon = asyncio.get_running_loop().time() - came_up_at < _LONG
            is_useless = server.crash is not None and is_soon and not server.has_started
            self._crashes = self._crashes + 1 if is_useless else 0
            delay = self._pause()
            self._tell_end(server, delay)
        try:
            self._on_end(server)
        finally:
            await self.keep_one(delay)

    def _pause(self) -> float:
        """Seconds until the next one: none after the first that ended, then more and more."""
        if self._crashes < 2:
            return 0.0
        return float(min(_FIRST_PAUSE * 2 ** (self._crashes - 2), _LONGEST_PAUSE_AFTER_CRASH))

    def _tell_end(self, server: ForkServer, delay: float) -> None:
        ended = f"(pid {server.pid}) ended" + (f" ({server.end})" if server.end else "")
        self.absence = f"another is being started, as the last one {ended}"
        message = f"the fork server {ended}; starting another"
        if delay:
            often = f"as {self._crashes} in a row ended before anything had begun"
            self.absence, message = (
                f"{self.absence}; not at once, {often}",
                f"{message} in {delay:g} s, {often}",
            )
        self._say(EntryType.FAILURE, message)
