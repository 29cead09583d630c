"""How the client waits: for its connections and streams in a thread, for its turn by a lock between threads."""

from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final, TypeVar

from bgjob import errors, sending
from bgjob.codec import Reply, Request
from bgjob.connections import BaseClient, BaseFollowing, BaseKept, BaseStream, OwnSocket
from bgjob.errors import BgjobError, DaemonUnavailableError, NoAnswerError, ProtocolError
from bgjob.following import Conversation, Follower

T = TypeVar("T")

_LONGEST_WAIT: Final = 86400.0  # what is longer does not fit the system's timeout


class ConnectingClient(BaseClient):
    """A client's connections: one that its calls share, and those that it makes when asked."""

    def __init__(self, address: str | None = None, *, timeout: float = 5.0) -> None:
        super().__init__(address, timeout=timeout)
        self._kept = _Kept()

    def close(self) -> None:
        """Close the connection, after the call that is under way, which is waited for no longer than for an answer; the
        next call makes another.
        """
        kept = self._own_kept()
        if self._try_lock(kept):
            try:
                kept.drop()
            finally:
                kept.lock.release()

    def _exchange(self, request: Request) -> Reply:
        kept = self._own_kept()
        if not self._try_lock(kept):
            raise NoAnswerError(self._path, self._timeout)  # to those that ask before
        try:
            if kept.connection is None:
                kept.connection = self._noted(connected(self._path, self._timeout))
                self._was_reached = True
            return kept.connection.call(request, self._timeout)
        except BaseException:
            # Whatever comes over this connection later answers a question that nobody asks any more.
            kept.drop()
            raise
        finally:
            kept.lock.release()

    def _try_borrow(self) -> Connection | None:
        """The connection that calls share, where none is under way: until it is back they make another."""
        kept = self._own_kept()
        if not kept.lock.acquire(blocking=False):
            return None
        try:
            return kept.lend()
        finally:
            kept.lock.release()

    def _call_borrowed(self, connection: Connection, request: Request, limit: float | None) -> Reply:
        """An exchange over the connection that was borrowed, which goes back if it holds and no call is under way."""
        kept = self._own_kept()
        try:
            reply = connection.call(request, limit)
        except BaseException:
            connection.close()
            raise
        if kept.lock.acquire(blocking=False):
            try:
                kept.take_back(connection)
            finally:
                kept.lock.release()
        else:
            connection.close()
        return reply

    def _connect(self) -> Connection:
        connection = self._noted(connected(self._path, self._timeout))
        self._reached()
        return connection

    def _following(self, *followers: Follower[T]) -> Following[T]:
        following = Following([Stream(self, Conversation(follower)) for follower in followers])
        following._begin()
        return following

    def _try_lock(self, kept: _Kept) -> bool:
        """Whether the lock is this thread's now. Where it was not to be had in time the next call has another one: the
        handler of a signal may have raised where it was taken, and then nothing gives it back.
        """
        is_taken = kept.lock.acquire(timeout=min(self._timeout, threading.TIMEOUT_MAX))
        if not is_taken and self._kept is kept:
            self._kept = _Kept()
        return is_taken

    def _own_kept(self) -> _Kept:
        """What this process keeps. Of two threads of a child that ask first, one keeps its connection for one call."""
        kept = self._kept
        if kept.owner != os.getpid():
            kept.drop()
            kept = self._kept = _Kept()
        return kept


class Stream(BaseStream["Connection", T]):
    _client: ConnectingClient

    def connect(self) -> list[T]:
        """Ask. What a substitute tells is told at once; for a daemon's answers see `read`."""
        self.retry_at = None
        substituted = self.try_substituted()
        if substituted is not None:
            return substituted
        try:
            self._connection = self._client._connect()
            self._conversation.connected(time.monotonic())
            self._connection.send(self._conversation.request)
        except DaemonUnavailableError as error:
            self.break_off(error)
        except BaseException:  # as what the handler of a signal raises: nothing would come over it
            self.start_anew()
            raise
        return []

    def read(self) -> list[T]:
        """What the replies tell that have come."""
        items: list[T] = []
        try:
            for reply in self._connection.read() if self._connection is not None else ():
                items += self._conversation.take(reply, time.monotonic())
        except BgjobError as error:
            self.break_off(error)
        if self.is_over:
            self.close()
        return items


class Following(BaseFollowing[Stream[Any], T], Iterator[T]):
    """What streams tell, as it comes. Close it, leave its `with` or drop it: then its connections are closed."""

    def __init__(self, streams: Sequence[Stream[T]]) -> None:
        super().__init__(streams)
        self._owner = os.getpid()
        self._lock = threading.RLock()

    def __enter__(self) -> Following[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def __next__(self) -> T:
        with self._own_lock():
            if not self._wait_for_next(None):
                raise StopIteration
            return self._items.popleft()

    def close(self) -> None:
        """Close the connections, from any thread; one that waits for the next item meets the end."""
        self._is_closed = True
        for stream in self._streams:
            stream.hang_up()
        with self._own_lock():
            self._close_streams()

    def _begin(self) -> None:
        """Ask now rather than with the first `next`: what happens from then on is told."""
        try:
            for stream in self._streams:
                self._items += stream.connect()
            self._raise_failure()
            while any(stream.is_unanswered for stream in self._streams):
                self._take_what_comes(None)
        except BaseException:
            self.close()
            raise

    def _wait_for_next(self, deadline: float | None) -> bool:
        """Whether there is a next item; False: there will be none, or none came before the deadline (monotonic)."""
        with self._own_lock():
            try:
                while not self._items and self._streams and not self._is_closed:
                    if not self._take_what_comes(deadline):
                        break
            except Exception:
                self.close()
                raise
            return bool(self._items) and not self._is_closed

    def _own_lock(self) -> threading.RLock:
        """The lock of this process: a thread of the parent's may have held the parent's when it forked."""
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._lock = threading.RLock()
        return self._lock

    def _take_what_comes(self, deadline: float | None) -> bool:
        """Wait for something and take it; False where the time is up."""
        self._raise_failure()
        for stream in self._streams:
            stream.leave_connection_of_parent()
            if stream.is_due(time.monotonic()):
                self._items += stream.connect()
        self._raise_failure()
        self._drop_ended()
        ready = _readable(self._streams, self._wake_at(deadline)) if self._streams else []
        for stream in ready:
            self._items += stream.read()
        self._drop_ended()
        limit = self._limit(deadline)
        return bool(ready) or limit is None or time.monotonic() < limit


class _Kept(BaseKept["Connection"]):
    """The connection that the calls of a process share."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class Connection(OwnSocket):
    """A connection that a thread waits for; use it from one thread at a time."""

    def call(self, request: Request, limit: float | None) -> Reply:
        """One exchange; the answer may take `limit` seconds."""
        self.send(request)
        deadline = None if limit is None else time.monotonic() + limit
        replies: list[Reply] = []
        while not replies:
            left = None if deadline is None else max(0.001, deadline - time.monotonic())
            self.socket.settimeout(None if left is None else min(left, _LONGEST_WAIT))
            try:
                replies = self.read()
            except TimeoutError:
                if left is None or left <= _LONGEST_WAIT:
                    raise NoAnswerError(self.path, limit) from None
        if len(replies) > 1:
            raise ProtocolError("the daemon answered more than it was asked")
        return replies[0]

    def send(self, request: Request) -> None:
        frame = sending.frame_of(request)
        self.socket.settimeout(min(self.timeout, _LONGEST_WAIT))
        try:
            self.socket.sendall(frame)
        except TimeoutError:
            raise NoAnswerError(self.path, self.timeout) from None
        except OSError as error:
            raise self.broken(error, was_sent=False) from error
        self.socket.settimeout(None)

    def read(self) -> list[Reply]:
        """The replies that the next bytes complete; waits for those. Raises TimeoutError."""
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            raise
        except OSError as error:
            raise self.broken(error, was_sent=True) from error
        return self.replies_in(data)


def connected(path: str, timeout: float) -> Connection:
    connection = Connection(path, timeout)
    # Not settimeout: a connect that must not block fails at once where it would have to queue.
    limit = min(timeout, _LONGEST_WAIT)
    seconds = struct.pack("ll", int(limit), int(limit % 1 * 1_000_000))
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
    try:
        connection.socket.connect(path)
    except OSError as error:
        connection.close()
        raise errors.unreachable(path, error) from None
    return connection


def _readable(streams: Iterable[Stream[T]], until: float | None) -> list[Stream[T]]:
    """The streams that have something to read, once there are any or the moment has come."""
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            if stream.socket is not None:
                selector.register(stream.socket, selectors.EVENT_READ, stream)
        timeout = None if until is None else min(max(0.0, until - time.monotonic()), _LONGEST_WAIT)
        return [key.data for key, _ in selector.select(timeout)]
