"""The HTTP server, on the standard library's: connections, their limits and time, and requests as values.

What is answered is not decided here.
"""

from __future__ import annotations

import errno
import io
import os
import select
import socket
import socketserver
import stat
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from http.server import ThreadingHTTPServer
from typing import Any, Final

from bgjob.words import EntryType

from .console import say
from .exchange import Request, Response, Stream, plain
from .heads import MOST_BODY, BadHeadError, Head, head_of, read_head
from .settings import Settings

Respond = Callable[[Request], Response]

_NO_ROOM: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_UNTIL_ROOM: Final = 0.1
_UNTIL_GONE: Final = 0.5
_READ_AHEAD: Final = 8192
"""Bytes of a connection's buffer, on any Python: from 3.14 on it would be 128 KiB for each."""

_FULL: Final = plain("too many connections", 503, Retry_After="2")
_APART: Final = "/healthz"
"""What is asked by machines, often, and may take as long as a daemon that hangs: it takes no place from people."""


@dataclass(frozen=True)
class Limits:
    """How many connections, and how many seconds for what."""

    connections: int = 64
    apart: int = 16
    """Beside those: whose request is _APART."""

    first: float = 5.0
    """For the first byte of the first request."""

    idle: float = 30.0
    """For that of each other, which only those may make who have logged in."""

    request: float = 10.0
    """From a request's first byte to its last."""

    answer: float = 10.0
    """For a peer to take an answer, or a piece of a stream."""

    farewell: float = 1.0
    """In which a peer may go on sending what was refused."""

    keepalive: float = 15.0
    pause: float = 0.25
    """Between two pieces of a stream."""


class Server(ThreadingHTTPServer):
    """A page's server; `respond` is called on a thread of the connection's own, and must not raise."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        settings: Settings,
        respond: Respond,
        limits: Limits | None = None,
        listener: socket.socket | None = None,
    ) -> None:
        """With a `listener`, a Unix socket at the settings' path that listens already, it binds none of its own."""
        self.respond = respond
        self.limits = limits or Limits()
        self.apart = settings.at(_APART)
        self._settings = settings
        self._free = threading.BoundedSemaphore(self.limits.connections)
        self._free_apart = threading.BoundedSemaphore(self.limits.apart)
        self._apart: set[socket.socket] = set()
        self._silent: dict[socket.socket | None, None] = {}
        self._kept: dict[socket.socket | None, None] = {}
        self._lock = threading.Lock()
        if settings.is_unix:
            self.address_family = socket.AF_UNIX
        elif ":" in settings.host:
            self.address_family = socket.AF_INET6
        address: Any = settings.path if settings.is_unix else (settings.host, settings.port)
        super().__init__(address, Handler, bind_and_activate=listener is None)
        if listener is not None:
            self.socket.close()
            self.socket = listener

    def server_bind(self) -> None:
        """Bind without asking a name server who we are, as the base class does."""
        if self._settings.is_unix:
            _remove_dead_socket(self._settings.path)
            previous = os.umask(0o177)
            try:
                self.socket.bind(self._settings.path)
            finally:
                os.umask(previous)
            self.server_address = self._settings.path  # type: ignore[assignment]  # which socketserver has, too
        else:
            socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "bgjobd", 0

    @property
    def port(self) -> int:
        """The one it listens at; 0 for a Unix socket."""
        return 0 if self._settings.is_unix else int(self.socket.getsockname()[1])

    def get_request(self) -> tuple[Any, Any]:
        """Accept the next. Where there is no room for it, it stays there, and so would the wake-up."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in _NO_ROOM:
                time.sleep(_UNTIL_ROOM)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False) and not self._makes_room():
            _turn_away(request)
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread is to be had
            self._free.release()
            raise

    def _makes_room(self) -> bool:
        """Have the one go that has been here longest without a request: such cost their makers nothing. Where there is
        none, the one that has been kept longest for another request.
        """
        with self._lock:
            waiting = self._silent or self._kept
            silent = next(iter(waiting), None)
            waiting.pop(silent, None)
        if silent is None:
            return False
        with suppress(OSError):  # it has just gone
            silent.shutdown(socket.SHUT_RDWR)
        return self._free.acquire(timeout=_UNTIL_GONE)

    def on_connection(self, connection: socket.socket) -> None:
        with self._lock:
            self._silent[connection] = None

    def on_request(self, connection: socket.socket) -> None:
        """A whole one has come, or will not come any more."""
        with self._lock:
            self._silent.pop(connection, None)
            self._kept.pop(connection, None)

    def on_kept(self, connection: socket.socket) -> None:
        """Its request has been answered, and it may make another."""
        with self._lock:
            self._kept[connection] = None

    def put_apart(self, connection: socket.socket) -> bool:
        """Have it take one of the places of its kind, and give up that which others need; False where none is left."""
        if not self._free_apart.acquire(blocking=False):
            return False
        with self._lock:
            self._apart.add(connection)
        self._free.release()
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                is_apart = request in self._apart
                self._apart.discard(request)
            (self._free_apart if is_apart else self._free).release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of a bug; a peer that leaves in the middle is nobody's error."""
        if not isinstance(sys.exception(), OSError):
            say(self._settings, f"bug: {traceback.format_exc().rstrip()}", EntryType.FAILURE)


def _turn_away(connection: socket.socket) -> None:
    """Say so, without waiting for anything; what has come is taken, as it would otherwise undo the answer."""
    with suppress(OSError):
        connection.setblocking(False)
        connection.sendall(head_of(_FULL, is_last=True) + _FULL.body)
        connection.recv(MOST_BODY)


class _Timed(io.RawIOBase):
    """What a peer sends, until its time is up: TimeoutError then, however slowly it goes on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._deadline = 0.0

    def give(self, seconds: float) -> None:
        """So much from now on."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Handler(socketserver.BaseRequestHandler):
    """One connection."""

    server: Server
    request: socket.socket

    def setup(self) -> None:
        if self.request.family != socket.AF_UNIX:
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._peer = self.client_address[0] if self.client_address else "the Unix socket"
        self._limits = self.server.limits
        self._timed = _Timed(self.request)
        self._reader = io.BufferedReader(self._timed, _READ_AHEAD)
        self.server.on_connection(self.request)

    def finish(self) -> None:
        self.server.on_request(self.request)

    def handle(self) -> None:
        """Request by request, until one is the last or the peer has left, which includes being too slow."""
        with suppress(OSError):
            patience = self._limits.first
            while self._serve_one(patience):
                self.server.on_kept(self.request)
                patience = self._limits.idle

    def _serve_one(self, patience: float) -> bool:
        """Answer the next request, which is to begin within `patience` seconds; whether another may follow."""
        self._timed.give(patience)
        if not self._reader.peek(1):
            return False
        self._timed.give(self._limits.request)
        try:
            head = read_head(self._reader)
            body = self._reader.read(head.size)
            if len(body) < head.size:
                return False
            request = head.request(body, self._peer)
            self.server.on_request(self.request)
        except BadHeadError as error:
            self._send(head_of(error.answer, is_last=True) + error.answer.body)
            self._part()
            return False
        return self._answer(head, self._response(request).fitted(request))

    def _response(self, request: Request) -> Response:
        if request.path != self.server.apart:
            return self.server.respond(request)
        answer = self.server.respond(request) if self.server.put_apart(self.request) else _FULL
        return replace(answer, is_last=True)

    def _answer(self, head: Head, response: Response) -> bool:
        is_last = head.is_last or response.is_last or response.stream is not None
        with nullcontext() if response.stream is None else closing(response.stream):
            self._send(head_of(response, is_last=is_last) + (b"" if head.is_head else response.body))
            if response.stream is not None and not head.is_head:
                self._stream(response.stream)
        return not is_last

    def _stream(self, stream: Stream) -> None:
        """Piece by piece, until the peer leaves; one that says more has no business with a stream."""
        peer, either = select.poll(), select.poll()
        for poll in (peer, either):
            poll.register(self.request, select.POLLIN)
        either.register(stream, select.POLLIN)
        is_there = True
        while is_there:
            self._send(stream.take())
            is_there = not peer.poll(self._limits.pause * 1000) and self.request.fileno() not in dict(
                either.poll(self._limits.keepalive * 1000)
            )

    def _send(self, data: bytes) -> None:
        """All of it. Raises TimeoutError where the peer does not take it."""
        self.request.settimeout(self._limits.answer)
        self.request.sendall(data)

    def _part(self) -> None:
        """Let a refused peer end what it was sending, unread: closing at once would take the answer from it."""
        self.request.shutdown(socket.SHUT_WR)
        self._timed.give(self._limits.farewell)
        left = 4 * MOST_BODY
        while left > 0 and (piece := self._reader.read1(MOST_BODY)):
            left -= len(piece)


def _remove_dead_socket(path: str) -> None:
    """Remove what an earlier page left. Raises OSError where one answers there, or it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(errno.EEXIST, "there is something else than a socket", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
