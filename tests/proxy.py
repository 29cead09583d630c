"""Stands between a client of PostgreSQL and its server: can hold up, cut, delay, and lose what is about a COMMIT.

Of the protocol it reads as much as tells a COMMIT from all else; no rule of the product is here.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import Final

NAME: Final = ".s.PGSQL.5432"
"""Of a server's socket in its directory."""

_AT_ONCE: Final = 64 * 1024

_ASKING: Final = (b"Q", b"S", b"H")
"""A query of the simple protocol, a Sync or a Flush: what has the server answer, and a client wait for that."""


class Lost(Enum):
    """What gets lost of a COMMIT, and the connection with it: the wish, or the answer once the server has done it."""

    WISH = auto()
    ANSWER = auto()


class Proxy:
    """Its socket is in `directory`, the `host` of a connection; that of the server in `server`.

    `loses` is asked at each COMMIT what gets lost of it; `commits` counts them, and `trips` how often a client has
    asked for the answers to what it had sent. `delay` is of each message, in seconds.
    """

    def __init__(self, directory: Path, server: Path) -> None:
        self.directory = directory
        self.delay = 0.0
        self.commits = 0
        self.trips = 0
        self.loses: Callable[[], Lost | None] = lambda: None
        self._server = server
        self._flows, self._is_closed = threading.Event(), threading.Event()
        self._flows.set()
        self._is_cut = False
        self._pairs: set[_Pair] = set()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / NAME))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def pause(self) -> None:
        """Nothing gets through, and nobody is told."""
        self._flows.clear()

    def resume(self) -> None:
        """What was held up goes on."""
        self._flows.set()

    def cut(self) -> None:
        """End all connections, and each new one, until `mend`."""
        self._is_cut = True
        self.drop()

    def drop(self) -> None:
        """End all connections; new ones are served."""
        for pair in list(self._pairs):
            pair.end()

    def mend(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self._is_closed.set()
        self._flows.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()

    def wait_to_pass(self) -> None:
        """Come back when the next bytes may go on."""
        self._flows.wait()
        if self.delay:
            self._is_closed.wait(self.delay)

    def lost_of_commit(self) -> Lost | None:
        self.commits += 1
        return self.loses()

    def forget(self, pair: _Pair) -> None:
        self._pairs.discard(pair)

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                if self._is_cut:
                    client.close()
                else:
                    self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(str(self._server / NAME))
        except OSError:
            server.close()
            client.close()
            return
        pair = _Pair(self, client, server)
        self._pairs.add(pair)
        pair.start()


@contextmanager
def proxied(server: Path) -> Iterator[Proxy]:
    """A proxy of the server whose socket is in this directory, as long as it is wanted."""
    directory = Path(tempfile.mkdtemp(prefix="bgjobd-proxy-"))
    proxy = Proxy(directory, server)
    try:
        yield proxy
    finally:
        proxy.close()
        shutil.rmtree(directory)


class _Pair:
    """A connection of a client, and the one to the server that belongs to it."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._of_commit: set[bytes] = set()
        self._loses_answer = False
        self._is_asked = False

    def start(self) -> None:
        for pump in (self._from_client, self._from_server):
            threading.Thread(target=self._run, args=(pump,), daemon=True).start()

    def end(self) -> None:
        self._proxy.forget(self)
        for one in (self._client, self._server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _run(self, pump: Callable[[], None]) -> None:
        with suppress(OSError):
            pump()
        self.end()

    def _from_client(self) -> None:
        for message in _messages(self._client, has_first=True):
            self._note_trip(is_asking=message[:1] in _ASKING)
            if self._is_commit(message):
                lost = self._proxy.lost_of_commit()
                if lost is Lost.WISH:
                    return
                self._loses_answer = lost is Lost.ANSWER
            self._proxy.wait_to_pass()
            self._server.sendall(message)

    def _from_server(self) -> None:
        for message in _messages(self._server):
            if self._loses_answer and message[:1] == b"C" and message[5:] == b"COMMIT\0":
                return
            self._proxy.wait_to_pass()
            self._client.sendall(message)

    def _note_trip(self, is_asking: bool) -> None:
        """Two that ask, with nothing between, ask for the same."""
        self._proxy.trips += is_asking and not self._is_asked
        self._is_asked = is_asking

    def _is_commit(self, message: bytes) -> bool:
        """Of the simple protocol, or the binding of a statement that was parsed as one."""
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, text, *_ = body.split(b"\0")
            (self._of_commit.add if text == b"COMMIT" else self._of_commit.discard)(name)
        elif kind == b"B":
            return body.split(b"\0")[1] in self._of_commit
        return kind == b"Q" and body == b"COMMIT\0"


def _messages(source: socket.socket, has_first: bool = False) -> Iterator[bytes]:
    """Whole messages, each a byte, its length and its body; `has_first`: one without that byte comes before."""
    held = b""
    while received := source.recv(_AT_ONCE):
        held += received
        while len(held) >= 5:
            of_kind = 0 if has_first else 1
            length = of_kind + int.from_bytes(held[of_kind : of_kind + 4], "big")
            if len(held) < length:
                break
            message, held, has_first = held[:length], held[length:], False
            yield message
