"""Listens, accepts connections, and turns callers away before they take the descriptors of the daemon's own work."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Callable
from typing import Final

_KEPT_FREE: Final = 24
"""Descriptors that no caller gets: for journals, pidfds, a fork server, the database opened anew."""

_AT_ONCE: Final = 64
_PAUSE: Final = 1.0
_QUIET: Final = 10.0
"""Seconds without a caller turned away until the next is a new event."""

_SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_NOBODY: Final = frozenset({errno.EAGAIN, errno.EINTR, errno.ECONNABORTED})


class Acceptor:
    """Accepts at a bound socket, and owns it. `admit` makes the protocol of each connection.

    `on_scarcity` hears once of the callers that are turned away, however many they are. Nobody is left in the backlog,
    where he would keep the loop awake: a descriptor is kept to take him in with and let him go.
    """

    def __init__(
        self,
        listener: socket.socket,
        admit: Callable[[], asyncio.BaseProtocol],
        on_scarcity: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._admit = admit
        self._on_scarcity = on_scarcity
        self._loop = asyncio.get_running_loop()
        self._kept: int | None = None
        self._pause: asyncio.TimerHandle | None = None
        self._arrivals: set[asyncio.Task[object]] = set()
        self._scarce_until = 0.0

    def open(self, backlog: int) -> None:
        """Let callers come. `backlog` is how many may wait, unless the socket listens already as another has set it."""
        self._listener.setblocking(False)
        if not self._listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._listener.listen(backlog)
        self._keep_one()
        self._watch()

    def close(self) -> None:
        """Accept nobody any more; those who were accepted stay."""
        if self._listener.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        self._let_go()

    def _watch(self) -> None:
        self._loop.add_reader(self._listener.fileno(), self._on_callers)

    def _on_callers(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                peer, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _NOBODY:
                    return
                if error.errno not in _SCARCE:
                    raise
                if not self._turn_away():
                    self._rest()
                    return
            else:
                self._take(peer)

    def _take(self, peer: socket.socket) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and peer.fileno() >= soft - _KEPT_FREE:
            peer.close()
            self._tell()
            return
        peer.setblocking(False)
        arrival = self._loop.create_task(self._loop.connect_accepted_socket(self._admit, peer))
        self._arrivals.add(arrival)
        arrival.add_done_callback(self._arrivals.discard)

    def _turn_away(self) -> bool:
        """Let the first who waits go, with the descriptor that was kept for it; False where that is gone, too."""
        self._tell()
        self._let_go()
        try:
            peer, _ = self._listener.accept()
            peer.close()
        except OSError as error:
            return error.errno in _NOBODY
        finally:
            self._keep_one()
        return True

    def _rest(self) -> None:
        """Look again a little later: there is nothing to take anybody in with."""
        self._loop.remove_reader(self._listener.fileno())
        self._pause = self._loop.call_later(_PAUSE, self._watch)

    def _tell(self) -> None:
        if self._loop.time() >= self._scarce_until:
            self._on_scarcity()
        self._scarce_until = self._loop.time() + _QUIET

    def _keep_one(self) -> None:
        try:
            self._kept = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._kept = None

    def _let_go(self) -> None:
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None
