"""The server of the socket: listens, knows the open connections, ends; what each of them does is in `connection`."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjobd.api.acceptor import Door
from bgjobd.api.admission import Rounds, Turns
from bgjobd.api.connection import Connection, Limits, Methods
from bgjobd.api.peer import Caller
from bgjobd.api.unix_socket import bind, inode
from bgjobd.host.pacing import Alternation

_BACKLOG: Final = 1024
_READ_AT_ONCE: Final = 64 * 1024
"""Bytes that are taken from one connection in a turn, in which all others may have sent as many."""

_LAST_ANSWERS: Final = 5.0
"""Seconds that a stop gives to answers that are owed."""


class Server:
    """Listens, and knows the open connections. `on_bug` hears of exceptions that no caller caused.

    `on_scarcity` hears of callers who are turned away for want of descriptors.
    """

    def __init__(
        self,
        methods: Methods,
        limits: Limits,
        on_bug: Callable[[str, Exception], None],
        on_scarcity: Callable[[], None] = lambda: None,
    ) -> None:
        self.methods = methods
        self.limits = limits
        self.on_bug = on_bug
        self._on_scarcity = on_scarcity
        self._door: Door | None = None
        self._own_place: tuple[Path, int] | None = None
        self._connections: set[Connection] = set()
        self._by_uid: Counter[int] = Counter()
        self.turns = Turns(limits.max_under_way)
        self.streaming = Alternation()
        self.rounds = Rounds()
        self.buffer = memoryview(bytearray(_READ_AT_ONCE))
        """What has just come of the connection that is read."""

    async def listen(self, path: Path, mode: int, gid: int | None) -> None:
        """Serve at this path. An old socket there is replaced; wider rights exist at no moment."""
        listener = bind(path, mode, gid)
        self._own_place = path, inode(path)
        self.listen_at(listener)

    def listen_at(self, listener: socket.socket) -> None:
        """Serve at a socket that somebody else has bound, and whose path is theirs to remove."""
        self._door = Door(listener, lambda: Connection(self), self._on_scarcity)
        self._door.open(_BACKLOG)

    def stop_listening(self) -> None:
        """Accept nobody new; the open connections get their answers."""
        if self._door is not None:
            self._door.close()
        if self._own_place is None:
            return
        path, own = self._own_place
        with suppress(FileNotFoundError):
            if inode(path) == own:
                path.unlink()

    async def finish(self) -> None:
        """Give the answers that are owed some seconds, then close all connections."""
        owed = [task for connection in self._connections for task in connection.owed()]
        if owed:
            await asyncio.wait(owed, timeout=_LAST_ANSWERS)
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)  # the loop closes their sockets

    def admit(self, connection: Connection, caller: Caller) -> bool:
        """Whether there is room for one more connection of this caller."""
        is_full = len(self._connections) >= self.limits.max_connections
        if is_full or self._by_uid[caller.uid] >= self.limits.max_connections_per_uid:
            return False
        self._connections.add(connection)
        self._by_uid[caller.uid] += 1
        return True

    def dismiss(self, connection: Connection, caller: Caller) -> None:
        """The connection, which was admitted, is gone."""
        self._connections.remove(connection)
        self._by_uid[caller.uid] -= 1
        if not self._by_uid[caller.uid]:
            self.turns.forget(caller.uid)
