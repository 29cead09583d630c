"""Messages between daemon and fork server: JSON objects ended by NUL, over an inherited socketpair; no I/O here."""

from __future__ import annotations

import json
from typing import Any

Message = dict[str, Any]

VERSION = 8


def encode(message: Message) -> bytes:
    """The bytes of a message, NUL included."""
    return _ENCODER.encode(message).encode() + b"\0"


_ENCODER = json.JSONEncoder(separators=(",", ":"))


class Decoder:
    """Cuts what arrives into messages; a part at the end that never completes is dropped with the decoder."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Message]:
        """The messages that `data` completes, in order."""
        *ended, self._rest = (self._rest + data).split(b"\0")
        return [json.loads(frame.decode()) for frame in ended]
