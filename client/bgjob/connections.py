"""What both clients have in common: their sockets, what they know of their daemon, and the streams they follow.

How they wait, for a socket or for each other, stays out: that is what they differ in.
"""

from __future__ import annotations

import os
import select
import socket
import time
import weakref
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final, Generic, Protocol, Self, TypeVar

from bgjob import addresses, codec, errors
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import (
    BgjobError,
    BrokenError,
    DaemonUnavailableError,
    NoAnswerError,
    ShuttingDownError,
    TooManyConnectionsError,
)
from bgjob.following import Conversation
from bgjob.retrying import Breaks, try_pause_for_place

T = TypeVar("T")
C = TypeVar("C", bound="OwnSocket")
S = TypeVar("S", bound="BaseStream[Any, Any]")

_MAX_FRAME: Final = 1 << 28  # no answer of a daemon comes near


class BaseClient:
    """Where a daemon is, and whether it was there."""

    MAX_RETRIES: ClassVar[int | None] = None
    RETRY_DELAY: ClassVar[float | None] = None

    def __init__(self, address: str | None = None, *, timeout: float = 5.0) -> None:
        self._path = addresses.socket_path(address, os.environ, os.path.exists)
        self._timeout = timeout
        self._was_reached = False
        self._away: dict[str, object] = {}
        self._made: list[weakref.ref[OwnSocket]] = []

    def on_away(self, error: BgjobError) -> None:
        """Called, from any thread, when a daemon that was there is gone while something waits for it or follows."""

    def on_back(self) -> None:
        """Called, from any thread, when it is there again."""

    def _reached(self) -> None:
        """Take note that the daemon was reached."""
        self._was_reached = True
        if self._away.pop("it", None) is not None:
            self.on_back()

    def _pause_after(self, breaks: Breaks, error: DaemonUnavailableError | ShuttingDownError) -> float:
        """Seconds until the next try. Raises the error where there was never a daemon, or none for too long."""
        if isinstance(error, TooManyConnectionsError):
            pause = try_pause_for_place(breaks, time.monotonic())
            if pause is None:
                raise error
            return pause
        pause = breaks.try_pause(time.monotonic()) if self._was_reached else None
        if pause is None or isinstance(error, NoAnswerError):
            raise error if isinstance(error, DaemonUnavailableError) else errors.gone(self._path, error)
        mine = object()  # of threads that find it gone at once, one says so: setdefault and pop are atomic
        if self._away.setdefault("it", mine) is mine:
            self.on_away(error)
        return pause

    def _noted(self, connection: C) -> C:
        """The connection, which knows whether this client has a place at the daemon already."""
        others = [made for made in self._made if (other := made()) is not None and other.is_open]
        connection.is_first = not any((other := made()) is not None and other.has_answered for made in others)
        # Should another thread do so now, one of both is forgotten.
        self._made = [*others, weakref.ref(connection)]
        return connection


class OwnSocket:
    """A socket of the process that made it; a forked child only ever closes it, without harm to the parent.

    `timeout` is how many seconds a request may take to be sent.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = path
        self.timeout = timeout
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._file = _identity(self.socket.fileno())
        self._owner = os.getpid()
        self._frames = codec.FrameReader(_MAX_FRAME)
        self.has_answered = False
        self.is_first = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no socket to be had
            self.close()

    @property
    def is_own(self) -> bool:
        return self._owner == os.getpid()

    @property
    def is_open(self) -> bool:
        """Whether it is this process's, and neither this end nor the daemon's is closed."""
        poll = select.poll()
        with suppress(ValueError):  # this end is closed
            poll.register(self.socket, select.POLLRDHUP)
            return self.is_own and not poll.poll(0)
        return False

    def replies_in(self, data: bytes) -> list[Reply]:
        """The replies that these bytes complete; no bytes are the end. Raises BrokenError, ProtocolError."""
        if not data:
            raise self.broken(ConnectionResetError("the daemon closed it"), was_sent=True)
        replies = [codec.parse_reply(frame) for frame in self._frames.feed(data)]
        for reply in replies:
            if reply.error == TooManyConnectionsError.error_name:
                raise self._without_place(reply)
        self.has_answered = True
        return replies

    def _without_place(self, reply: Reply) -> BgjobError:
        error = errors.from_reply(reply.error or "", reply.parameters)
        if isinstance(error, TooManyConnectionsError):
            error.is_first = self.is_first
        return error

    def broken(self, error: OSError, was_sent: bool) -> BrokenError:
        """What it means that this connection broke. Raises what the daemon has said about it before."""
        told = str(error)
        if not self.has_answered:
            last = b""
            with suppress(OSError):
                last = self.socket.recv(65536, socket.MSG_DONTWAIT)
            if last:
                self.replies_in(last)
            told += " without an answer; has this user more than [socket] max_connections_per_uid?"
        return BrokenError(self.path, told, was_sent)

    def close(self) -> None:
        if self.is_own:
            self.socket.close()
            return
        descriptor = self.socket.detach()
        with suppress(OSError):
            # A child that closed all it had inherited may have something else under this number.
            if _identity(descriptor) == self._file:
                os.close(descriptor)

    def hang_up(self) -> None:
        """End the conversation and leave the descriptor: another may wait for it."""
        if self.is_own:
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)


class BaseKept(Generic[C]):
    """The connection that the calls of a process share; whoever uses it holds the lock that goes with it."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.connection: C | None = None
        self._lent: C | None = None

    def lend(self) -> C | None:
        """Hand out the connection, if there is one, which is not kept until it is back."""
        self._lent, self.connection = self.connection, None
        return self._lent

    def take_back(self, connection: C) -> None:
        """Keep what was lent last; close it where calls have made another by now, or all was dropped."""
        if connection is self._lent and self.connection is None:
            self.connection = connection
        else:
            connection.close()

    def drop(self) -> None:
        """Close the connection, and keep none that is still to come back."""
        self._lent = None
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class BaseStream(Generic[C, T]):
    """A conversation's connection, made anew as often as it breaks. `retry_at` is monotonic.

    `failure` is what ended it for good, to be raised behind what was told before.
    """

    def __init__(self, client: BaseClient, conversation: Conversation[T]) -> None:
        self._client = client
        self._conversation = conversation
        self._connection: C | None = None
        self._is_hung_up = False
        self.failure: BgjobError | None = None
        self.retry_at: float | None = 0.0

    @property
    def socket(self) -> socket.socket | None:
        return None if self._connection is None else self._connection.socket

    @property
    def is_over(self) -> bool:
        return self._conversation.is_over

    @property
    def is_unanswered(self) -> bool:
        return self._conversation.is_unanswered

    @property
    def grace(self) -> float:
        return self._conversation.grace(time.monotonic(), self._client._timeout)

    @property
    def wakes_at(self) -> float | None:
        """When there is something to do even if nothing comes: connect again, or give up on a silent daemon."""
        return self._conversation.due_at(self._client._timeout) if self.retry_at is None else self.retry_at

    def is_due(self, now: float) -> bool:
        """Whether it is time to connect. Raises NoAnswerError where the daemon says nothing."""
        due_at = self._conversation.due_at(self._client._timeout)
        if due_at is not None and now >= due_at:
            raise NoAnswerError(self._client._path, self._client._timeout)
        return self.retry_at is not None and now >= self.retry_at

    def try_substituted(self) -> list[T] | None:
        """What a substitute tells, all at once; None where there is none."""
        substitute = try_substitute()
        if substitute is None:
            return None
        return self._conversation.take_all(substitute.stream(self._conversation.request))

    def leave_connection_of_parent(self) -> None:
        """A forked child goes on where its parent was, on a connection of its own."""
        if self._connection is not None and not self._connection.is_own:
            self.start_anew()

    def start_anew(self) -> None:
        """Connect when it is next asked."""
        self.close()
        self.retry_at = 0.0

    def hang_up(self) -> None:
        """Wake whoever waits for this connection; that it breaks now is nobody's news."""
        self._is_hung_up = True
        if self._connection is not None:
            self._connection.hang_up()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def break_off(self, error: BgjobError) -> None:
        """Connect again after a pause, where the connection broke; else keep what has gone wrong."""
        self.close()
        if self._is_hung_up:
            return
        has_place = isinstance(error, TooManyConnectionsError) and not error.is_first
        if has_place or not isinstance(error, DaemonUnavailableError | ShuttingDownError):
            self.failure = error
            return
        try:
            pause = self._client._pause_after(self._conversation.breaks, error)
        except BgjobError as failure:
            self.failure = failure
        else:
            self.retry_at = time.monotonic() + pause


class BaseFollowing(Generic[S, T]):
    """Streams that are followed together, and the items that they have told and nobody has taken yet."""

    def __init__(self, streams: Sequence[S]) -> None:
        self._is_closed = False
        self._items: deque[T] = deque()
        self._streams = [stream for stream in streams if not stream.is_over]

    def _limit(self, deadline: float | None) -> float | None:
        """The deadline, or a little later: what a daemon that is there tells at once is waited for."""
        return None if deadline is None else max([deadline, *(stream.grace for stream in self._streams)])

    def _wake_at(self, deadline: float | None) -> float | None:
        """Until when to wait for something to come."""
        moments = [self._limit(deadline), *(stream.wakes_at for stream in self._streams)]
        return min((moment for moment in moments if moment is not None), default=None)

    def _raise_failure(self) -> None:
        """Raises what has ended one of the streams, if anything has."""
        for stream in self._streams:
            if stream.failure is not None:
                raise stream.failure

    def _drop_ended(self) -> None:
        self._streams = [stream for stream in self._streams if not stream.is_over]

    def _close_streams(self) -> None:
        for stream in self._streams:
            stream.close()
        self._streams = []


class Substitute(Protocol):
    """Answers in place of every daemon, as `bgjob.testing` does: with parameters of replies, or with RequestErrors."""

    def answer(self, request: Request) -> JsonObject:
        """The parameters of the reply."""

    def stream(self, request: Request) -> Iterable[JsonObject]:
        """The parameters of each reply to a request with `more`."""


_substitutes: list[Substitute] = []


def put_in(substitute: Substitute) -> None:
    """Have it answer in place of every daemon until it is taken out; the one that was put in last does.

    For the whole process, not for a thread or context: jobs are submitted from pools of threads too.
    """
    _substitutes.append(substitute)


def put_under(substitute: Substitute) -> None:
    """Have it answer where no other is put in, before or after it."""
    _substitutes.insert(0, substitute)


def substitutes() -> tuple[Substitute, ...]:
    """All that are put in; the last answers."""
    return tuple(_substitutes)


def take_out(substitute: Substitute) -> None:
    """Have it answer no more."""
    _substitutes.remove(substitute)


def try_substitute() -> Substitute | None:
    """What answers in place of every daemon, if anything does."""
    return next(reversed(_substitutes), None)


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino
