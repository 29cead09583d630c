"""Requests and responses as values: what the server has read, and what it is to send. No sockets here."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl

_SMALL: Final = 512
"""Bytes up to which a body is sent as it is."""

_MOST_FIELDS: Final = 32
_GZIP: Final = re.compile(r"(?:^|,)\s*gzip\s*(?:;\s*q=(?!0(?:\.0*)?\s*(?:,|$))[^,]*)?(?:,|$)")

SECURITY: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # no-referrer would make the Origin of our own forms "null"
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""On every answer, whatever it is."""


@dataclass(frozen=True)
class Request:
    """What a browser asked for; header names are in lower case, `query` has the first value of each name.

    `peer` is the address that it came from, which a web server in between makes its own.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    peer: str = ""

    @property
    def form(self) -> dict[str, str]:
        """The fields of a form's body; empty where it is none."""
        try:
            return dict(parse_qsl(self.body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS))
        except ValueError:
            return {}

    def cookies(self, name: str) -> list[str]:
        """All of this name: other servers on this machine may have set some too, and written them wrongly."""
        parts = [part.partition("=") for part in self.headers.get("cookie", "").split(";")]
        return [value.strip() for named, _, value in parts if named.strip() == name]

    @property
    def wants_json(self) -> bool:
        return "application/json" in self.headers.get("accept", "")


class Stream(Protocol):
    """Pieces as they come; readable as a descriptor where there is news."""

    def fileno(self) -> int: ...

    def take(self) -> bytes:
        """The next piece: news, or a sign of life."""

    def close(self) -> None: ...


@dataclass(frozen=True)
class Response:
    """What is sent; `stream` is sent instead of the body where there is one, piece by piece, until the peer leaves.

    `is_last` where the connection is not to be kept for another request.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Stream | None = None
    is_last: bool = False

    def fitted(self, request: Request) -> Response:
        """As this peer can have it: compressed, or a word that it has it already."""
        if self.stream is not None or self.status != 200:
            return self
        tag = f'"{hashlib.blake2b(self.body, digest_size=12).hexdigest()}"'
        headers = {**self.headers, "ETag": tag, "Vary": "Accept, Accept-Encoding, Cookie"}
        known = request.headers.get("if-none-match", "").split(",")
        if {tag, "*"} & {one.strip().removeprefix("W/") for one in known}:
            return replace(self, status=304, body=b"", headers=headers)
        if len(self.body) > _SMALL and _GZIP.search(request.headers.get("accept-encoding", "")):
            small = gzip.compress(self.body, 6, mtime=0)
            return replace(self, body=small, headers={**headers, "Content-Encoding": "gzip"})
        return replace(self, headers=headers)


def html(text: str, status: int = 200, **headers: str) -> Response:
    """A page."""
    told = {"Content-Type": "text/html; charset=utf-8"}
    return Response(status, text.encode("utf-8", "replace"), told | _named(headers))


def as_json(value: Any, status: int = 200) -> Response:
    """The value for programs."""
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return Response(status, body, {"Content-Type": "application/json"})


def plain(text: str, status: int = 200, **headers: str) -> Response:
    """A line of text."""
    return Response(
        status, f"{text}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"} | _named(headers)
    )


def redirect(place: str, **headers: str) -> Response:
    """To another place of this page, by GET."""
    return Response(303, b"", {"Location": place} | _named(headers))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
