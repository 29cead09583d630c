"""The HTTP server, on the standard library's: connections, their limits and time, and requests as values.

What is answered is not decided here.
"""

from __future__ import annotations

import io
import os
import socket
import socketserver
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from .exchange import SECURITY, Request, Response, plain
from .settings import Settings

MOST_CONNECTIONS: Final = 64
MOST_BODY: Final = 64 * 1024
_FOR_A_REQUEST: Final = 10.0
"""Seconds for a request, from its first byte to its last."""

_IDLE: Final = 30.0
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)

Respond = Callable[[Request], Response]


class Server(ThreadingHTTPServer):
    """A page's server; `respond` is called on a thread of the connection's own, and must not raise."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, settings: Settings, respond: Respond) -> None:
        self.respond = respond
        self._settings = settings
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        if settings.is_unix:
            self.address_family = socket.AF_UNIX
        elif ":" in settings.host:
            self.address_family = socket.AF_INET6
        address: Any = settings.path if settings.is_unix else (settings.host, settings.port)
        super().__init__(address, Handler)

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

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.sendall(_FULL)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that leaves in the middle is nobody's error."""


class _Timed(io.RawIOBase):
    """What a peer sends, until its time is up: TimeoutError then, however slowly it goes on."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = time.monotonic() + _IDLE

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._connection.settimeout(max(0.001, self.deadline - time.monotonic()))
        return self._connection.recv_into(buffer)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "bgjobd", ""
    wbufsize = 64 * 1024

    def setup(self) -> None:
        super().setup()
        if self.connection.family != socket.AF_UNIX:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._timed = _Timed(self.connection)
        self.rfile = self._reader = io.BufferedReader(self._timed)

    def handle_one_request(self) -> None:
        self._timed.deadline = time.monotonic() + _IDLE
        if not self._reader.peek(1):
            self.close_connection = True
            return
        self._timed.deadline = time.monotonic() + _FOR_A_REQUEST
        super().handle_one_request()

    def _answer(self) -> None:
        request = self._try_request()
        response = request if isinstance(request, Response) else self.server.respond(request).fitted(request)
        self._send(response)

    do_GET = do_HEAD = do_POST = _answer

    def _refuse(self) -> None:
        self.close_connection = True
        self._send(plain("only GET, HEAD and POST are known here", 405, Allow="GET, HEAD, POST"))

    do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

    def _try_request(self) -> Request | Response:
        """The request, whole; or what is wrong with it, after which the connection is no use."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        size = headers.get("content-length", "0")
        self.close_connection = self.close_connection or self.command == "POST"
        if "transfer-encoding" in headers:
            return self._broken(plain("a body has to come with its length", 411))
        if not size.isascii() or not size.isdecimal():
            return self._broken(plain("Content-Length is no number", 400))
        if int(size) > MOST_BODY:
            return self._broken(plain(f"a body may have {MOST_BODY} bytes", 413))
        if (
            len(self.headers.get_all("Host") or ()) != 1
            or len(self.headers.get_all("Content-Length") or ()) > 1
        ):
            return self._broken(plain("Host and Content-Length are to be there once", 400))
        place = urlsplit(self.path)
        if not self.path.startswith("/") or self.path.startswith("//"):
            return self._broken(plain("the address is to be a path", 400))
        body = self.rfile.read(int(size))
        query = dict(reversed(parse_qsl(place.query, max_num_fields=64)))
        method = "GET" if self.command == "HEAD" else self.command
        return Request(method, unquote(place.path), query, headers, body)

    def _broken(self, response: Response) -> Response:
        self.close_connection = True
        return response

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in {**SECURITY, **response.headers}.items():
            self.send_header(name, value.replace("\r", "").replace("\n", ""))
        if response.stream is not None:
            self.close_connection = True
            self.send_header("Connection", "close")
            self.end_headers()
            self._stream(response)
            return
        if self.close_connection:
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _stream(self, response: Response) -> None:
        assert response.stream is not None
        self.wfile.flush()
        self.connection.settimeout(_FOR_A_REQUEST)
        try:
            for piece in response.stream if self.command != "HEAD" else ():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            return  # the peer has left
        finally:
            close = getattr(response.stream, "close", None)
            if close is not None:
                close()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request, without quoting any of it."""
        self.close_connection = True
        self.command = getattr(self, "command", None) or "GET"
        self.requestline = ""
        self.request_version = "HTTP/1.1"
        self._send(plain("the request cannot be understood", code))

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what is asked for may be a secret."""


def _remove_dead_socket(path: str) -> None:
    """Remove what an earlier page left. Raises OSError where one answers there, or it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise FileExistsError(17, "there is something else than a socket", path)
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
