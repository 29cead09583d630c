"""The server of the socket: knows the open connections, and ends; what each of them does is in `connection`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from bgjob.errors import TooManyConnectionsError
from bgjobd.api.acceptor import Acceptor
from bgjobd.api.admission import Admission
from bgjobd.api.connection import Connection
from bgjobd.api.dispatch import Dispatcher, Methods
from bgjobd.api.unix_socket import bind, inode
from bgjobd.config.sections import Socket

_BACKLOG: Final = 1024
_READ_AT_ONCE: Final = 64 * 1024
"""Bytes that are taken from one connection in a turn, in which all others may have sent as many."""

_LAST_ANSWERS: Final = 5.0
"""Seconds that a stop gives to answers that are owed."""


class Server:
    """Listens, and knows the open connections. `on_bug` hears of exceptions that no caller caused.

    `on_scarcity` hears of callers who are turned away for want of descriptors, `on_full` of users who have too many.
    `job_of` tells whose attempt a process is.
    """

    def __init__(
        self,
        methods: Methods,
        limits: Socket,
        *,
        on_bug: Callable[[str, Exception], None],
        on_scarcity: Callable[[], None] = lambda: None,
        on_full: Callable[[int, TooManyConnectionsError], None] = lambda uid, refusal: None,
        job_of: Callable[[int], int | None] = lambda pid: None,
    ) -> None:
        self.admission = Admission[Connection](limits, on_full)
        self._new_connection = partial(
            Connection,
            dispatcher=Dispatcher(methods, on_bug),
            limits=limits,
            admission=self.admission,
            buffer=memoryview(bytearray(_READ_AT_ONCE)),
            job_of=job_of,
        )
        self._on_scarcity = on_scarcity
        self._acceptor: Acceptor | None = None
        self._own_place: tuple[Path, int] | None = None

    async def listen(self, path: Path, mode: int, gid: int | None) -> None:
        """Serve at this path. An old socket there is replaced; wider rights exist at no moment."""
        listener = bind(path, mode, gid)
        self._own_place = path, inode(path)
        self.listen_at(listener)

    def listen_at(self, listener: socket.socket) -> None:
        """Serve at a socket that somebody else has bound, and whose path is theirs to remove."""
        self._acceptor = Acceptor(listener, self._new_connection, self._on_scarcity)
        self._acceptor.open(_BACKLOG)

    def stop_listening(self) -> None:
        """Accept nobody new; the open connections get their answers."""
        if self._acceptor is not None:
            self._acceptor.close()
        if self._own_place is None:
            return
        path, own = self._own_place
        with suppress(FileNotFoundError):
            if inode(path) == own:
                path.unlink()

    async def finish(self) -> None:
        """Give the answers that are owed some seconds, then close all connections."""
        owed = [task for connection in self.admission.admitted for task in connection.owed()]
        if owed:
            await asyncio.wait(owed, timeout=_LAST_ANSWERS)
        for connection in list(self.admission.admitted):
            connection.close()
        await asyncio.sleep(0)  # the loop closes their sockets
