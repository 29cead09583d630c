"""How the asyncio client waits: for its connections and streams on the loop, for its turn by the loop's lock."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, TypeVar

from bgjob import errors, sending
from bgjob.codec import Reply, Request
from bgjob.connections import BaseClient, BaseFollowing, BaseKept, BaseStream, OwnSocket
from bgjob.errors import BgjobError, DaemonUnavailableError, NoAnswerError, ProtocolError
from bgjob.following import Conversation, Follower

T = TypeVar("T")

_FULL_BACKLOG_PAUSE: Final = 0.01


class ConnectingClient(BaseClient):
    """A client's connections: one that its calls share, and those that it makes when asked."""

    def __init__(self, address: str | None = None, *, timeout: float = 5.0) -> None:
        super().__init__(address, timeout=timeout)
        self._kept: _Kept | None = None

    async def close(self) -> None:
        """Close the connection, after the call that is under way; the next call makes another."""
        kept = self._own_kept()
        async with kept.lock:
            kept.drop()

    async def _exchange(self, request: Request) -> Reply:
        kept, asked_at = self._own_kept(), time.monotonic()
        async with kept.lock:
            if asked_at <= kept.silent_at and time.monotonic() - asked_at >= self._timeout:
                raise NoAnswerError(self._path, self._timeout)  # to those that ask before
            try:
                if kept.connection is None:
                    kept.connection = self._noted(await connected(self._path, self._timeout))
                    self._was_reached = True
                reply = await kept.connection.call(request, self._timeout)
            except BaseException as error:
                # Cancelled or failed: whatever comes over it later answers a question that nobody asks any more.
                kept.drop()
                if isinstance(error, NoAnswerError):
                    kept.silent_at = time.monotonic()
                raise
            kept.silent_at = float("-inf")
            return reply

    def _try_borrow(self) -> Connection | None:
        """The connection that calls share, where none is under way: until it is back they make another."""
        kept = self._own_kept()
        return None if kept.lock.locked() else kept.lend()

    async def _call_borrowed(self, connection: Connection, request: Request, limit: float | None) -> Reply:
        """An exchange over the connection that was borrowed, which goes back if it holds."""
        kept = self._own_kept()
        try:
            reply = await connection.call(request, limit)
        except BaseException:
            connection.close()
            raise
        kept.take_back(connection)
        return reply

    async def _connect(self) -> Connection:
        connection = self._noted(await connected(self._path, self._timeout))
        self._reached()
        return connection

    def _following(self, *followers: Follower[T]) -> AsyncFollowing[T]:
        return AsyncFollowing([Stream(self, Conversation(follower)) for follower in followers])

    def _own_kept(self) -> _Kept:
        """What this process and loop keep; what is of another is left to it."""
        loop = asyncio.get_running_loop()
        kept = self._kept
        if kept is None or kept.owner != os.getpid() or kept.loop is not loop:
            kept = self._kept = _Kept(loop)
        return kept


class Stream(BaseStream["Connection", T]):
    _client: ConnectingClient

    async def connect(self) -> list[T]:
        """Ask. What a substitute tells is told at once; for a daemon's answers see `read`."""
        self.retry_at = None
        try:
            substituted = self.try_substituted()
            if substituted is not None:
                return substituted
            self._connection = await self._client._connect()
            self._conversation.connected(time.monotonic())
            await self._connection.send(self._conversation.request)
        except DaemonUnavailableError as error:
            self.break_off(error)
        except asyncio.CancelledError:
            self.start_anew()
            raise
        return []

    def read(self) -> list[T]:
        """What the replies tell that have come. It waits for nothing, so no cancellation can lose any."""
        items: list[T] = []
        try:
            for reply in self._connection.read_now() if self._connection is not None else ():
                items += self._conversation.take(reply, time.monotonic())
        except BgjobError as error:
            self.break_off(error)
        if self.is_over:
            self.close()
        return items


class AsyncFollowing(BaseFollowing[Stream[Any], T], AsyncIterator[T]):
    """What streams tell, as it comes. They begin with its `async with`, or else with the first item.

    Close it, leave its `async with` or drop it: then its connections are closed. Waiting for an item may be cancelled,
    and goes on with the next.
    """

    def __init__(self, streams: Sequence[Stream[T]]) -> None:
        super().__init__(streams)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> AsyncFollowing[T]:
        async with self._lock:
            try:
                await self._begin()
            except BaseException:
                self._close_streams()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __anext__(self) -> T:
        if not await self._wait_for_next(None):
            raise StopAsyncIteration
        return self._items.popleft()

    async def close(self) -> None:
        """Close the connections; a task that waits for the next item meets the end."""
        self._is_closed = True
        for stream in self._streams:
            stream.hang_up()
        async with self._lock:
            self._close_streams()

    async def _begin(self) -> None:
        for stream in self._streams:
            if stream.socket is None:
                self._items += await stream.connect()
        self._raise_failure()
        while any(stream.is_unanswered for stream in self._streams):
            await self._take_what_comes(None)

    async def _wait_for_next(self, deadline: float | None) -> bool:
        """Whether there is a next item; False: there will be none, or none came before the deadline (monotonic)."""
        async with self._lock:
            try:
                while not self._items and self._streams and not self._is_closed:
                    if not await self._take_what_comes(deadline):
                        break
            except Exception:
                self._is_closed = True
                self._close_streams()
                raise
            return bool(self._items) and not self._is_closed

    async def _take_what_comes(self, deadline: float | None) -> bool:
        """Wait for something and take it; False where the time is up."""
        self._raise_failure()
        for stream in self._streams:
            stream.leave_connection_of_parent()
            if stream.is_due(time.monotonic()):
                self._items += await stream.connect()
        self._raise_failure()
        self._drop_ended()
        ready = await _readable(self._streams, self._wake_at(deadline)) if self._streams else []
        for stream in ready:
            self._items += stream.read()
        self._drop_ended()
        limit = self._limit(deadline)
        return bool(ready) or limit is None or time.monotonic() < limit


class _Kept(BaseKept["Connection"]):
    """The connection that the calls of a process and loop share. `silent_at`: when the latest got no answer, if that
    was so, monotonic.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.lock = asyncio.Lock()
        self.silent_at = float("-inf")


class Connection(OwnSocket):
    """A connection that the loop waits for; use it from one task at a time."""

    async def call(self, request: Request, limit: float | None) -> Reply:
        """One exchange; the answer may take `limit` seconds."""
        await self.send(request)
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(limit):
                while not replies:
                    replies = await self.read()
        except TimeoutError:
            raise NoAnswerError(self.path, limit) from None
        if len(replies) > 1:
            raise ProtocolError("the daemon answered more than it was asked")
        return replies[0]

    async def send(self, request: Request) -> None:
        frame = sending.frame_of(request)
        try:
            async with asyncio.timeout(self.timeout):
                await asyncio.get_running_loop().sock_sendall(self.socket, frame)
        except TimeoutError:
            raise NoAnswerError(self.path, self.timeout) from None
        except OSError as error:
            raise self.broken(error, was_sent=False) from error

    async def read(self) -> list[Reply]:
        """The replies that the next bytes complete; waits for those."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        except OSError as error:
            raise self.broken(error, was_sent=True) from error
        return self.replies_in(data)

    def read_now(self) -> list[Reply]:
        """The replies that the bytes complete that have come; none where there are no bytes."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise self.broken(error, was_sent=True) from error
        return self.replies_in(data)


async def connected(path: str, timeout: float) -> Connection:
    connection = Connection(path, timeout)
    connection.socket.setblocking(False)
    deadline = time.monotonic() + timeout
    try:
        while not _try_connect(connection.socket, path):
            if time.monotonic() >= deadline:
                raise NoAnswerError(path, timeout)
            await asyncio.sleep(_FULL_BACKLOG_PAUSE)
    except BaseException:
        connection.close()
        raise
    return connection


def _try_connect(connection: socket.socket, path: str) -> bool:
    """Whether it is connected; False where the daemon's backlog is full, which no loop can wait for."""
    try:
        connection.connect(path)
    except BlockingIOError:
        return False
    except OSError as error:
        raise errors.unreachable(path, error) from None
    return True


async def _readable(streams: Iterable[Stream[T]], until: float | None) -> list[Stream[T]]:
    """The streams that have something to read, once there are any or the moment has come."""
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()
    ready: dict[int, Stream[T]] = {}

    def on_readable(stream: Stream[T]) -> None:
        ready[id(stream)] = stream
        if not woken.done():
            woken.set_result(None)

    sockets = {stream.socket: stream for stream in streams if stream.socket is not None}
    for watched, stream in sockets.items():
        loop.add_reader(watched, on_readable, stream)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(None if until is None else max(0.0, until - time.monotonic())):
                await woken
    finally:
        for watched in sockets:
            loop.remove_reader(watched)
    return list(ready.values())
