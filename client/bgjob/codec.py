"""Varlink frames and messages as values; no I/O here, both ends of the socket use it.

A message is a JSON object followed by a NUL byte. JSON is read strictly: UTF-8 only, no duplicate keys, finite
numbers, no lone surrogates, no NUL characters, bounded nesting; whatever breaks that is a ProtocolError, after
which a connection has no more meaning. Only integers beyond 64 bit are told apart, for they can be answered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn

from bgjob.errors import InvalidParameterError, ProtocolError
from bgjob.words import INT_MAX, INT_MIN, MAX_DEPTH, MAX_FRAME

JsonObject = dict[str, Any]

_NONE: Final[JsonObject] = {}

# Named tuples rather than dataclasses: every job that imports bgjob has this module in its memory, and
# `dataclasses` with what it imports is three times as large as all of the client.


class IntegerOutOfRangeError(ValueError):
    """A request, which is otherwise as it should be, holds an integer beyond 64 bit in `parameter`."""

    def __init__(self, parameter: str, request: Request) -> None:
        self.parameter = parameter
        self.request = request
        super().__init__(f"an integer in {parameter} is beyond 64 bit")


class Request(NamedTuple):
    """One call: `method` is the full name, interface included."""

    method: str
    parameters: JsonObject = _NONE
    more: bool = False
    oneway: bool = False

    def to_bytes(self) -> bytes:
        message: JsonObject = {"method": self.method, "parameters": self.parameters}
        if self.more:
            message["more"] = True
        if self.oneway:
            message["oneway"] = True
        return encode(message)


class Reply(NamedTuple):
    """One answer; `error` is the full name of a Varlink error, or None."""

    parameters: JsonObject = _NONE
    continues: bool = False
    error: str | None = None

    def to_bytes(self) -> bytes:
        message: JsonObject = {"parameters": self.parameters}
        if self.error is not None:
            message["error"] = self.error
        if self.continues:
            message["continues"] = True
        return encode(message)


class FrameReader:
    """Cuts a stream of bytes into frames; a frame over `max_frame` bytes is a ProtocolError."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._rest = bytearray()
        self._is_broken = False

    @property
    def is_unfinished(self) -> bool:
        """Whether a frame has begun and not ended."""
        return bool(self._rest)

    @property
    def unfinished(self) -> int:
        """How many bytes of a frame have come that has not ended."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that `data` completes, in order, without their NUL."""
        if self._is_broken:
            raise ProtocolError("the stream is broken already")
        *ended, rest = data.split(b"\0")
        frames = [bytes(self._rest) + ended[0], *ended[1:]] if ended else []
        if ended:
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > self._max_frame or any(len(frame) > self._max_frame for frame in frames):
            self._is_broken = True
            self._rest.clear()
            raise ProtocolError(f"a frame is longer than {self._max_frame} bytes")
        return frames


def encode(message: JsonObject) -> bytes:
    """The frame of a message, NUL included. Raises ValueError for what JSON cannot hold."""
    return to_json(message).encode() + b"\0"


def to_json(value: Any) -> str:
    """The canonical JSON text of a value: no spaces, no escapes beyond the needed, keys in the given order."""
    return ENCODER.encode(value)


ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
"""What makes that text, for whoever wants it in pieces."""


def parse_request(frame: bytes, max_depth: int = MAX_DEPTH) -> Request:
    """The request in a frame. Raises ProtocolError, or IntegerOutOfRangeError where a reply is possible."""
    request = request_of(_parse(frame, _OF_REQUESTS))
    has_escapes = b"\\u" in frame
    if has_escapes:
        _check_text((request.method,))
    oversized = _check(request.parameters, max_depth, has_escapes)
    if oversized is not None:
        raise IntegerOutOfRangeError(oversized, request)
    return request


def request_of(message: Any) -> Request:
    """The request that a message is, whose values are as they should be. Raises ProtocolError."""
    if not isinstance(message, dict):
        raise ProtocolError("a message is no JSON object")
    _refuse_unknown(message, {"method", "parameters", "more", "oneway", "upgrade"})
    method, parameters = message.get("method"), message.get("parameters")
    if not isinstance(method, str):
        raise ProtocolError("a request has no method")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict):
        raise ProtocolError("the parameters of a request are no object")
    more, oneway = _flag(message, "more"), _flag(message, "oneway")
    if more and oneway:
        raise ProtocolError("a request asks for several answers and for none")
    if _flag(message, "upgrade"):
        raise ProtocolError("upgraded connections are not supported")
    return Request(method, parameters, more, oneway)


def parse_parameters(frame: bytes, max_depth: int = MAX_DEPTH) -> JsonObject:
    """The parameters of a request, where they come without one; what a request may hold they may.

    Raises ProtocolError, or InvalidParameterError for an integer beyond 64 bit.
    """
    parameters = _parse(frame, _OF_REQUESTS)
    oversized = _check(parameters, max_depth, b"\\u" in frame)
    if oversized is not None:
        raise InvalidParameterError(parameter=oversized)
    return parameters


def parse_reply(frame: bytes) -> Reply:
    """The reply in a frame. Raises ProtocolError."""
    message = _parse(frame, _OF_REPLIES)
    parameters, error = message.get("parameters"), message.get("error")
    if parameters is None:
        parameters = {}
    if not isinstance(parameters, dict) or not (error is None or isinstance(error, str)):
        raise ProtocolError("a reply has no valid parameters or error")
    reply = Reply(parameters, _flag(message, "continues"), error)
    if _DOUBTFUL.search(frame):
        _refuse_unsayable(reply)
    return reply


_DOUBTFUL: Final = re.compile(rb"\\u[dD][89a-fA-F]|[:,\[]\s*-?[0-9.]+[eE]\+?[0-9]{3}|[0-9]{100}")
"""What lone surrogates, and numbers that are not finite, look like; an honest daemon hardly ever writes any of it."""


def _refuse_unsayable(reply: Reply) -> None:
    try:
        reply.to_bytes()
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a reply holds what JSON cannot: {error}") from None


def _parse(frame: bytes, decoder: json.JSONDecoder) -> JsonObject:
    try:
        text = frame.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a frame is no UTF-8 (at byte {error.start})") from None
    try:
        message = decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"a frame is no valid JSON: {error}") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message is no JSON object")
    return message


def unique(pairs: list[tuple[str, Any]]) -> JsonObject:
    """The object of these keys and values, as a hook of json's. Raises ValueError for a key that it has twice."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("an object has a key twice")
    return fields


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


_ParseConstant = Callable[[str], Any]


def bounded_int(text: str) -> int:
    """The number; of more digits than 64 bit have, one that is out of range as well."""
    # 19 digits and a sign hold every 64 bit integer; longer texts are quadratic to convert, and out of range anyhow.
    return int(text) if len(text) <= 20 else INT_MAX + 1


def loads(text: str, parse_constant: _ParseConstant, parse_int: Callable[[str], int] = bounded_int) -> Any:
    """The value, with no key twice, and what the function makes of NaN and the infinities. Raises ValueError."""
    return _decoder(parse_constant, parse_int).decode(text)


def _decoder(parse_constant: _ParseConstant, parse_int: Callable[[str], int]) -> json.JSONDecoder:
    return json.JSONDecoder(object_pairs_hook=unique, parse_constant=parse_constant, parse_int=parse_int)


# Kept, for to make one takes as long as to read a short text.
_OF_REQUESTS: Final = _decoder(_refuse_constant, bounded_int)
_OF_REPLIES: Final = _decoder(_refuse_constant, int)


def _refuse_unknown(message: JsonObject, known: set[str]) -> None:
    if not known.issuperset(message):
        raise ProtocolError(f"a message has an unknown field: {sorted(set(message) - known)[0]!r}")


def _flag(message: JsonObject, name: str) -> bool:
    value = message.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ProtocolError(f"{name} is no boolean")
    return value


def _check(parameters: JsonObject, max_depth: int, has_escapes: bool) -> str | None:
    """The parameter that holds an integer beyond 64 bit, or None; what breaks the protocol raises."""
    # The message is the level above; parameters in which nothing is nested are never too deep.
    if check_value(parameters, max(1, max_depth - 1), has_escapes):
        return None
    return next(name for name, value in parameters.items() if not check_value(value, max_depth, False))


def check_value(value: Any, max_depth: int, has_escapes: bool, known: Collection[int] = frozenset()) -> bool:
    """Whether all integers below fit 64 bit; goes down level by level, so depth costs no stack.

    What breaks the protocol raises. Lists and objects with an id that is `known` are not looked into.
    """
    fits = True
    level, depth = [value], 0
    while level:
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                if has_escapes:
                    _check_text((item,))
            elif id(item) in known:
                continue
            elif isinstance(item, dict):
                if has_escapes:
                    _check_text(item)
                below.append(item.values())
            elif isinstance(item, list):
                below.append(item)
            elif isinstance(item, float):
                if not isfinite(item):
                    raise ProtocolError("a number is not finite")
            elif isinstance(item, int) and not INT_MIN <= item <= INT_MAX:
                fits = False
        if below:
            depth += 1
            if depth > max_depth:
                raise ProtocolError("a message is nested too deeply")
        level = [item for items in below for item in items]
    return fits


def _check_text(texts: Iterable[str]) -> None:
    for text in texts:
        if "\0" in text:
            raise ProtocolError("a text holds a NUL character")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ProtocolError("a text holds a lone surrogate") from None
