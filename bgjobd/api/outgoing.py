"""What a connection sends, as fast as its peer takes it: who reads nothing of what it asked for is cut off."""

from __future__ import annotations

import asyncio

from bgjobd.api.timeouts import UnreadTimeout
from bgjobd.config.sections import Socket


class Outgoing:
    """The frames to one peer, from `start` until `end`; before and after it sends nothing. `has_room` is set while the
    peer has room for more.
    """

    def __init__(self, limits: Socket) -> None:
        self._max_unread = limits.max_unread
        self._unread_timeout = UnreadTimeout(limits.idle_timeout)
        self._transport: asyncio.Transport | None = None
        self.has_room = asyncio.Event()
        self.has_room.set()
        self._written = 0

    def start(self, transport: asyncio.Transport) -> None:
        transport.set_write_buffer_limits(high=0)  # so that we hear as soon as the peer has no more room
        self._transport = transport

    def send(self, frame: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._max_unread:
            transport.abort()  # the peer does not read what it asked for, and nobody else pays for it
            return
        self._written += len(frame)
        transport.write(frame)

    def pause(self) -> None:
        """The peer has no more room: it gets some time to take something."""
        self.has_room.clear()
        if self._transport is not None:
            self._unread_timeout.start(self._taken, self._transport.abort)

    def resume(self) -> None:
        """It has taken everything."""
        self.has_room.set()
        self._unread_timeout.stop()

    def end(self) -> None:
        """The connection is gone."""
        self._transport = None
        self._unread_timeout.stop()

    def _taken(self) -> int:
        """How many bytes of what was written are out of our hands."""
        return self._written - (self._transport.get_write_buffer_size() if self._transport is not None else 0)
