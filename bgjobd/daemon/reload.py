"""A reload: configuration and code taken up anew, or left as they were; those that are asked for meanwhile are one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from bgjob.errors import ReloadFailedError, RequestError, ShuttingDownError, StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.config.problems import ConfigError
from bgjobd.config.sections import Config
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.current_config import CurrentConfig
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedule_definitions import newly_refused
from bgjobd.host.background import Background
from bgjobd.host.log import Log
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.readers import Readers
from bgjobd.supervisor.application import Application
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.fork_server_loading import ForkServerError
from bgjobd.supervisor.limits import Enforcement
from bgjobd.supervisor.supervisor import Supervisor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What holds from now on."""

    catalogue: Catalogue


@dataclass(frozen=True, slots=True)
class Refused:
    """All stays as it was, and why."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundReload:
    """What it needs of the daemon: `load_config` reads the configuration, and raises ConfigError; `status` tells in a
    line how the daemon stands, `say` writes a line of the log.
    """

    load_config: Callable[[], Config]
    current_config: CurrentConfig
    current_catalogue: CurrentCatalogue
    supervisor: Supervisor
    peers: Peers
    readers: Readers
    log: Log
    notifier: Notifier
    background: Background
    status: Callable[[], str]
    say: Callable[[EntryType, str], None]


class Reload:
    """Takes up configuration and code anew.

    `failure` is why the last reload failed, None where it did not; `on_success` are called after one that did not,
    `on_failure` with that after another. `asked_by` tells who has asked for the one that is under way, or was last,
    None where nobody is known.
    """

    def __init__(self, around: AroundReload) -> None:
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._reloads = Reloads(self._reload_and_tell)
        self._is_closed = False
        self.failure: str | None = None
        self.on_success: list[Callable[[], None]] = []
        self.on_failure: list[Callable[[str], None]] = []
        self.is_under_way = False
        self.asked_by: str | None = None
        self._askers: list[str] = []

    def close(self) -> None:
        """Begin none any more."""
        self._is_closed = True

    @property
    def needing_restart(self) -> list[str]:
        """The keys of the configuration that have changed since the start, and of which the old values hold."""
        return self._around.current_config.needing_restart

    def reopen_log(self) -> None:
        """Of all that a reload does this alone: go on in a new file, where the old one was moved away."""
        self._around.log.reopen()
        self._around.say(EntryType.INFO, "the log was reopened")

    async def ask(self, who: str | None = None) -> Catalogue:
        """Reopen the log, read the configuration, import the code anew, and go on with both. Raises ReloadFailedError.

        Where anything is wrong with them, all stays as it was. However many ask during a reload, one more follows it.
        """
        if self._is_closed:
            raise ShuttingDownError
        self._askers += [] if who is None else [who]
        outcome = await self._reloads.ask()
        if isinstance(outcome, Refused):
            raise ReloadFailedError(reason=outcome.reason)
        return outcome.catalogue

    def in_background(self) -> None:
        """The same for SIGHUP: a failure is in the log."""
        self._around.background.start(self._ask_for_nobody())

    async def _ask_for_nobody(self) -> None:
        with suppress(RequestError):
            await self.ask()

    async def _reload_and_tell(self) -> Reloaded | Refused:
        if self._is_closed:
            raise ShuttingDownError
        self._around.notifier.reload_begins()
        self._around.supervisor.trials.pause()
        self.is_under_way, self.asked_by, self._askers = True, next(iter(self._askers), None), []
        try:
            return await self._reload()
        finally:
            self.is_under_way = False
            self._around.supervisor.trials.resume()
            self._around.notifier.reload_ends(self._around.status())

    async def _reload(self) -> Reloaded | Refused:
        self._around.log.reopen()
        try:
            self.failure = await self._try_replace()
        except (ConfigError, ForkServerError, StorageUnavailableError) as error:
            self._around.supervisor.recording.suspect()
            self.failure = str(error)
        if self.failure is not None:
            message = f"the reload failed, the old code and configuration stay: {self.failure}"
            self._around.say(EntryType.FAILURE, message)
            for on_failure in self.on_failure:
                on_failure(self.failure)
            return Refused(self.failure)
        catalogue = await self._around.current_catalogue.catalogue()
        self._around.say(EntryType.INFO, f"reloaded: code version {catalogue.code_version}")
        for on_success in self.on_success:
            on_success()
        return Reloaded(catalogue)

    async def _try_replace(self) -> str | None:
        """Put a fork server of the new code in charge; None where it is, else what the new code breaks.

        Raises ConfigError, ForkServerError, StorageUnavailableError.
        """
        config = await self._loop.run_in_executor(None, self._around.load_config)
        enforcement = await self._loop.run_in_executor(None, Enforcement.here, config)
        queues = await self._around.readers.read(lambda reader: reader.queues())
        await self._around.peers.look()
        return await self._around.supervisor.fork_servers.replace(
            Application.from_config(config),
            lambda server: self._take_unless_broken(config, queues, enforcement, server),
        )

    def _take_unless_broken(
        self, config: Config, queues: Iterable[str], enforcement: Enforcement, server: ForkServer
    ) -> str | None:
        """Take over the configuration of a new fork server, unless classes that could be used no longer can be, or jobs
        of schedules that were not would be refused.
        """
        catalogue = Catalogue(config, server.ready["classes"], server.code_version)
        before = self._around.current_catalogue.try_catalogue()
        broken = {} if before is None else catalogue.newly_broken(before)
        if broken:
            self._around.current_catalogue.say_unavailable(catalogue, broken)
            return "; ".join(f"{name} is unavailable: {reason}" for name, reason in sorted(broken.items()))
        held, others = self._around.current_config.config, self._around.peers.known
        refused = {} if before is None else newly_refused(config, catalogue, held, before, others)
        if refused:
            return "; ".join(
                f"the job of schedule {name} is refused: {why}" for name, why in sorted(refused.items())
            )
        self._around.current_config.take(config, queues, enforcement)
        return None


class Reloads(Generic[T]):
    """Whoever asks gets the outcome of a reload that began after that; none runs beside another."""

    def __init__(self, reload: Callable[[], Awaitable[T]]) -> None:
        self._reload = reload
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def ask(self) -> T:
        """What the reload came to, or raised. Who leaves does not end it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._follow(self._running))
            self._next.add_done_callback(_take_note)
        return await asyncio.shield(self._next)

    async def _follow(self, before: asyncio.Task[Any] | None) -> T:
        """Reload once the one before is over; whoever asks from then on waits for another."""
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._reload()


def _take_note(task: asyncio.Task[Any]) -> None:
    """Everybody who asked may have left: then nobody but the log hears of an error."""
    with suppress(asyncio.CancelledError):
        task.exception()
