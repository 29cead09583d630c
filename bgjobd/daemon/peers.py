"""The hosts that work from the same database, as they were looked at last: who of them may be asked for, and which of
their queues. Where the database is a file there is this one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from bgjobd.config.sections import Config
from bgjobd.core.peers import Peer, names_of, queues_of
from bgjobd.daemon.terms import Others
from bgjobd.store.reader import Reader


class Peers:
    """Looks at them whenever something is asked for that none has of which it knows; `own` is this one's name, None
    where it is alone.
    """

    def __init__(
        self,
        config: Callable[[], Config],
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        now: Callable[[], float],
    ) -> None:
        self._config = config
        self._read = read
        self._now = now
        self.own = config().host
        self._seen: tuple[Peer, ...] = ()

    @property
    def known(self) -> Others:
        """What others were last seen with, as far as anybody has looked."""
        now = self._now()
        return Others(queues_of(self._seen, now), names_of(self._seen, now))

    async def others(self) -> Others:
        """The same, as it is now."""
        await self.look()
        return self.known

    async def look(self) -> tuple[Peer, ...]:
        """All of them as they are now; this one as it is configured, of which the others hear with its next beat."""
        if self.own is not None:
            self._seen = tuple(
                map(self._as_configured, await self._read(lambda reader: reader.hosts.peers()))
            )
        return self._seen

    def _as_configured(self, peer: Peer) -> Peer:
        if peer.name != self.own:
            return peer
        config = self._config()
        return replace(peer, queues=frozenset(config.queues), classes=frozenset(config.approved))

    async def has_queue(self, name: str | None) -> bool:
        """Whether a job may be submitted to the queue; None is the class's own, which is known."""
        if name is None or name in self._config().queues or name in self.known.queues:
            return True
        return name in (await self.others()).queues

    async def has_host(self, name: str | None) -> bool:
        """Whether a job may ask for this host."""
        if name is None or name == self._config().hosts.name:
            return True
        return name in self.known.hosts or name in (await self.others()).hosts
