"""Targets that are the page's: heads of requests, addresses, and a whole server over a daemon that tells samples."""

from __future__ import annotations

import io
import re
import socket
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from bgjob.codec import Request as Asked
from bgjobd.web.addresses import MOST_TEXT, STATUSES, View, place_of
from bgjobd.web.exchange import SECURITY, Request, Response
from bgjobd.web.heads import BadHeadError, Head, head_of, read_head
from bgjobd.web.server import Limits, Server
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page
from tests.client.scripted import Line, ScriptedDaemon
from tests.fuzz.target import luck_of, pieces, scratch
from tests.page.serving import TOKEN, tell_samples
from tests.support import eventually

_PATIENCE = 10.0
_LIMITS = Limits(first=2.0, idle=2.0, request=2.0, answer=5.0, farewell=0.2, keepalive=0.05, pause=0.01)
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]+")
_HEADER = re.compile(rb"([A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)")


# Heads


def http_head(data: bytes) -> None:
    """The head of a request: read in the same way however it comes, or refused with an answer."""
    at_once, slowly = _read(io.BytesIO(data)), _read(io.BufferedReader(_Slow(data)))
    assert at_once == slowly
    head, rest = at_once
    if isinstance(head, BadHeadError):
        _answers(head_of(head.answer, is_last=True) + head.answer.body, [])
        return
    assert head.method in ("GET", "HEAD", "POST")
    try:
        request = head.request(rest[: head.size])
    except BadHeadError as error:
        _answers(head_of(error.answer, is_last=True) + error.answer.body, [])
        return
    assert request.method in ("GET", "POST")
    assert request.form is not None
    request.cookies("name")


def _read(source: io.BufferedIOBase) -> tuple[Any, bytes]:
    try:
        return read_head(source), source.read()
    except BadHeadError as error:
        return _Refusal(error), b""


class _Refusal(BadHeadError):
    """One that is like another with the same answer."""

    def __init__(self, error: BadHeadError) -> None:
        super().__init__(error.answer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Refusal) and other.answer == self.answer

    __hash__ = None  # type: ignore[assignment]


class _Slow(io.RawIOBase):
    """Bytes that come in pieces."""

    def __init__(self, data: bytes) -> None:
        self._pieces = list(pieces(data))[::-1]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pieces:
            return 0
        piece = self._pieces.pop()
        if len(piece) > len(buffer):
            self._pieces.append(piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


# Addresses


def addresses(data: bytes) -> None:
    """The query of a list, as its view and back again; and where a login leads."""
    text = data.decode("latin-1")
    query = dict(parse_qsl(text))
    view = View.of("/jobs", query, STATUSES, 10)
    assert 1 <= view.per <= 100
    assert view.page >= 1
    assert len(view.q) <= MOST_TEXT
    path, _, again = view.place.partition("?")
    assert View.of(path, dict(parse_qsl(again)), STATUSES, 10) == view
    assert re.fullmatch(r"/([!-.0-\[\]-~][!-\[\]-~]*)?", place_of(text)), place_of(text)


# A server


def http_server(data: bytes) -> None:
    """A connection that sends this: well-formed answers, none of which says that there is a bug."""
    _Served.one().attempt(data)


class _Server(Server):
    """Keeps what was not caught, instead of telling it."""

    def __init__(self, settings: Settings, respond: Callable[[Request], Response]) -> None:
        super().__init__(settings, respond, _LIMITS)
        self.uncaught: list[str] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        told = traceback.format_exc()
        if "OSError" not in told and "TimeoutError" not in told:
            self.uncaught.append(told)


class _Served:
    @classmethod
    @cache
    def one(cls) -> _Served:
        return cls()

    def __init__(self) -> None:
        self._directory = scratch()
        self._daemon = ScriptedDaemon(Path(self._directory.name, "d.sock"), _tell)
        self._daemon.start()
        settings = Settings(
            f"unix:{self._daemon.path}", "127.0.0.1:0", token=TOKEN, actions=True, console="none"
        )
        page = Page(settings)
        self._server = _Server(settings, page.respond)
        # One follower for good: whether there is one must not be a matter of chance, for its descriptors are counted.
        self._words = page.means.feed.try_stream()
        eventually(lambda: any(asked.more for asked in self._daemon.asked))

    def attempt(self, data: bytes) -> None:
        self._daemon.asked.clear()
        ours, theirs = socket.socketpair()
        with ours:
            ours.settimeout(_PATIENCE)
            self._server.process_request(theirs, ("127.0.0.1", 9))
            told = _told(ours, data, is_polite=luck_of(data).random() < 0.9)
        assert not self._server.uncaught, self._server.uncaught[0]
        for status in _answers(told, _methods(data)):
            assert status < 500 or status == 505, status


def _tell(line: Line, asked: Asked) -> None:
    try:
        tell_samples(line, asked)
    except ValueError:
        line.hang_up()


def _told(peer: socket.socket, data: bytes, is_polite: bool) -> bytes:
    """What is answered by a server that has closed; nothing where the peer leaves without reading it."""
    try:
        for piece in pieces(data):
            peer.sendall(piece)
        if is_polite:
            peer.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    told = b""
    try:
        while is_polite and (piece := peer.recv(65536)):
            told += piece
    except ConnectionResetError:
        return b""
    return told


def _methods(data: bytes) -> list[str]:
    """Those of the requests in it, as far as they can be read."""
    source, methods = io.BytesIO(data), []
    try:
        while source.tell() < len(data):
            head: Head = read_head(source)
            methods.append(head.method)
            source.seek(head.size, io.SEEK_CUR)
    except BadHeadError:
        pass
    return methods


def _answers(told: bytes, methods: list[str]) -> list[int]:
    """The statuses of these answers, which are whole and have all that an answer must have."""
    statuses: list[int] = []
    while told:
        head, mark, told = told.partition(b"\r\n\r\n")
        assert mark, head
        first, *lines = head.split(b"\r\n")
        status = _STATUS.fullmatch(first)
        assert status, first
        found = [_HEADER.fullmatch(line) for line in lines]
        assert all(found), lines
        headers = {one[1].decode().lower(): one[2].decode("latin-1") for one in found if one}
        assert len(headers) == len(found), lines
        assert {name.lower() for name in SECURITY} <= headers.keys()
        is_head = len(statuses) < len(methods) and methods[len(statuses)] == "HEAD"
        statuses.append(int(status[1]))
        if "content-length" in headers:
            size = 0 if is_head else int(headers["content-length"])
            assert len(told) >= size, first
            told = told[size:]
        elif statuses[-1] != 304:
            assert headers.get("connection") == "close"
            break
    return statuses
