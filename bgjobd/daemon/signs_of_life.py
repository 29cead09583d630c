"""The watchdog's side of the daemon: hears from the writer and the fork server, and tells systemd that all live."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bgjobd.host.background import unheard
from bgjobd.host.sd_notify import Notifier
from bgjobd.store.entrusted import Outbox
from bgjobd.store.items.daemons import Ping
from bgjobd.supervisor.fork_server_link import ForkServer


class SignsOfLife:
    """`fork_server` tells the one that starts attempts now, if there is one."""

    def __init__(
        self, notifier: Notifier, outbox: Outbox, fork_server: Callable[[], ForkServer | None]
    ) -> None:
        self._notifier = notifier
        self._outbox = outbox
        self._fork_server = fork_server
        self._has_delivered = asyncio.Event()

    def note_delivery(self) -> None:
        """The writer has shown that it lives."""
        self._has_delivered.set()

    async def keep_giving(self) -> None:
        """Give systemd the signs that it wants, for as long as all live; none where it wants none."""
        if self._notifier.watchdog is None:
            return
        while True:
            await asyncio.sleep(self._notifier.watchdog / 2)
            await self.hear_from_all()
            self._notifier.alive()

    async def hear_from_all(self) -> None:
        """Come back once the writer and the fork server, which may be about to come up, have shown that they live.

        A writer that refuses, for it cannot write, lives: a restart wouldn't mend the disk; and so does one that has
        much to write before it comes to what is sent here. One that hangs in a sync does not, nor does anybody learn of
        it otherwise: attempts go on, and what was answered is stored.
        """
        self._has_delivered.clear()
        self._outbox.send(Ping(), unheard(asyncio.get_running_loop().create_future()))
        await self._has_delivered.wait()
        server = self._fork_server()
        if server is not None:
            await server.ping()
