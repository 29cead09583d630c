"""The heads of HTTP/1.1 as bytes: a request's, read strictly, so that nobody reads it otherwise, and a response's.

No sockets here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from io import BufferedIOBase
from typing import Final
from urllib.parse import parse_qsl, unquote

from .exchange import SECURITY, Request, Response, plain

MOST_BODY: Final = 64 * 1024
MOST_LINE: Final = 8 * 1024
MOST_HEADERS: Final = 32 * 1024
_MOST_FIELDS: Final = 64
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_LINE: Final = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])\r\n")
_HEADER: Final = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([\t\x20-\x7e\x80-\xff]*)\r\n")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_METHODS: Final = ("GET", "HEAD", "POST")


class BadHeadError(Exception):
    """What is wrong with a request, as the answer to it; after that nobody knows where the next one begins."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True)
class Head:
    """A request without its body, which has `size` bytes; `is_last` where the connection is to be closed after it."""

    method: str
    target: str
    headers: Mapping[str, str]
    size: int
    is_last: bool

    @property
    def is_head(self) -> bool:
        return self.method == "HEAD"

    def request(self, body: bytes, peer: str = "") -> Request:
        """The whole; HEAD is a GET whose body is not sent. Raises BadHeadError."""
        path, _, query = self.target.partition("#")[0].partition("?")
        try:
            fields = dict(reversed(parse_qsl(query, max_num_fields=_MOST_FIELDS)))
        except ValueError:
            raise _bad(400, f"an address may have {_MOST_FIELDS} fields") from None
        method = "GET" if self.is_head else self.method
        return Request(method, _unquoted(path), fields, self.headers, body, peer)


def read_head(source: BufferedIOBase) -> Head:
    """The head that comes next. Raises BadHeadError, and what the source raises."""
    line = _LINE.fullmatch(_read_line(source, MOST_LINE, 414))
    if line is None:
        raise _bad(400, "the request cannot be understood")
    method, target, version = (part.decode("ascii") for part in line.groups())
    if not version.startswith("1."):
        raise _bad(505, "that version of HTTP is not spoken here")
    headers = _read_headers(source)
    if method not in _METHODS:
        raise _bad(405, "only GET, HEAD and POST are known here", Allow=", ".join(_METHODS))
    if not target.startswith("/") or target.startswith("//"):
        raise _bad(400, "the address is to be a path")
    is_last = version == "1.0" or "close" in headers.get("connection", "").lower()
    return Head(method, target, headers, _size(headers), is_last)


def _read_headers(source: BufferedIOBase) -> dict[str, str]:
    """Names in lower case; where one comes twice, both values with a comma, which is no host, size or token."""
    headers: dict[str, str] = {}
    left = MOST_HEADERS
    while (line := _read_line(source, left, 431)) != b"\r\n":
        left -= len(line)
        found = _HEADER.fullmatch(line)
        if found is None:
            raise _bad(400, "a header cannot be understood")
        name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _read_line(source: BufferedIOBase, most: int, status: int) -> bytes:
    line = source.readline(most + 1)
    if len(line) > most:
        raise _bad(status, "the request is too long")
    return line


def _size(headers: Mapping[str, str]) -> int:
    """The body's."""
    if "transfer-encoding" in headers:
        raise _bad(411, "a body has to come with its length")
    if "expect" in headers:
        raise _bad(417, "a body is to be sent at once")
    told = headers.get("content-length", "0")
    if not told.isascii() or not told.isdecimal():
        raise _bad(400, "Content-Length is no number")
    if len(told) > 18 or int(told) > MOST_BODY:
        raise _bad(413, f"a body may have {MOST_BODY} bytes")
    return int(told)


def _bad(status: int, text: str, **headers: str) -> BadHeadError:
    return BadHeadError(plain(text, status, **headers))


def head_of(response: Response, *, is_last: bool) -> bytes:
    """Status line and headers, those for security among them; no value can begin another header.

    Nobody keeps a copy unless the response says so: a browser may keep a 404, and a web server in between a login.
    """
    usual = {"Server": "bgjobd", "Date": formatdate(usegmt=True), "Cache-Control": "no-store"}
    headers = {**usual, **SECURITY, **response.headers}
    if response.stream is None and response.status != 304:
        headers["Content-Length"] = str(len(response.body))
    if is_last:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {_CONTROL.sub('', value)}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def _unquoted(path: str) -> str:
    """The path as it is meant; a slash that was quoted, and so is part of a name, stays so: %2F."""
    return unquote(_QUOTED_SLASH.sub("%252F", path))


_QUOTED_SLASH: Final = re.compile("%2F", re.IGNORECASE)
