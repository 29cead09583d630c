"""Reads and writes JSON in portions, so that whatever it holds keeps nobody waiting; what a message means stays out.

A list or object that is long is never read whole: what stands between two of its commas is, a portion at a time. A long
one within another is read before it, and stands there as a hole, for whose value the reader asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator
from typing import Any, Final

from bgjob import codec
from bgjob.codec import IntegerOutOfRangeError, JsonObject, Request
from bgjob.errors import InvalidParameterError, ProtocolError
from bgjob.words import INT_MAX, INT_MIN

PORTION: Final = 1024
"""Characters that are read at once: half a millisecond at most, where each is a value of its own."""

# What needs no look inside: at most two levels of what is short. Possessive, so that no text has a search go back.
_PLAIN: Final = r'"[^"\\]*+"'
_FLAT: Final = rf'[\[{{](?:[^"\[\]{{}}\\]++|{_PLAIN})*+[\]}}]'
_SHORT: Final = rf'[\[{{](?:[^"\[\]{{}}\\]++|{_PLAIN}|{_FLAT})*+[\]}}]'
_STRETCH: Final = re.compile(rf'(?:[^"\[\]{{}}\\]++|{_PLAIN}|{_SHORT})*+')
_TO_LAST_COMMA: Final = re.compile(rf'(?:(?:[^,"\[\]{{}}\\]++|{_PLAIN}|{_SHORT})*+,)++')
_IN_STRING: Final = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)
_CLOSING: Final = {"": "", "[": "]", "{": "}"}
_HOLE: Final = "NaN"
"""What stands where a long value was: no JSON of others may have it."""


def request_in(frame: bytes, max_depth: int) -> Generator[None, None, Request]:
    """The request in a frame, with the errors of `codec.parse_request`; gives way after each portion.

    Of a request that is refused no parameters are left.
    """
    message, fits = yield from _value_in(frame, max_depth)
    try:
        request = codec.request_of(message)
    except ProtocolError:
        yield from emptied([message])
        raise
    if not fits:
        name = yield from _name_of_oversized(request.parameters)
        yield from emptied([request.parameters])
        raise IntegerOutOfRangeError(name, request)
    return request


def parameters_in(frame: bytes, max_depth: int) -> Generator[None, None, JsonObject]:
    """The parameters of a request that come without one, with the errors of `codec.parse_parameters`."""
    parameters, fits = yield from _value_in(frame, max_depth - 1)
    if not isinstance(parameters, dict):
        yield from emptied([parameters])
        raise ProtocolError("a message is no JSON object")
    if not fits:
        name = yield from _name_of_oversized(parameters)
        yield from emptied([parameters])
        raise InvalidParameterError(parameter=name)
    return parameters


def check(text: str, max_depth: int) -> Generator[None, None, None]:
    """See that the text is JSON that can be passed on as it stands. Raises ValueError, or UnsayableError.

    No more than a portion of what it holds is ever there.
    """
    try:
        yield from _Checker(text, max_depth).read()
    except ProtocolError as error:
        raise UnsayableError(str(error)) from None


class UnsayableError(Exception):
    """The text is JSON by its form, and holds what no reply can tell."""


def _value_in(frame: bytes, max_depth: int) -> Generator[None, None, tuple[Any, bool]]:
    """The value, and whether all integers in it are of 64 bit."""
    try:
        text = frame.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"a frame is no UTF-8 (at byte {error.start})") from None
    reader = _Reader(text, max_depth)
    try:
        value = yield from reader.read()
    except (ValueError, RecursionError, ProtocolError) as error:
        yield from reader.emptied()
        raise ProtocolError(f"a frame is no valid JSON: {error}") from error
    return value, reader.fits


def written(value: JsonObject, to_text: Callable[[Any], str]) -> Generator[None, None, str]:
    """The text of it as `to_text` has it; of the long lists that it has, a portion is written at once."""
    if len(value) > PORTION or not any(map(_is_long, value.values())):
        return to_text(value)
    fields = []
    for name, item in value.items():
        text = (yield from _written_list(item, to_text)) if _is_long(item) else to_text(item)
        fields.append(f"{to_text(name)}:{text}")
    return f"{{{','.join(fields)}}}"


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > PORTION


def _written_list(items: list[Any], to_text: Callable[[Any], str]) -> Generator[None, None, str]:
    texts = []
    for start in range(0, len(items), PORTION):
        texts.append(to_text(items[start : start + PORTION])[1:-1])
        yield
    return f"[{','.join(texts)}]"


def emptied(value: list[Any]) -> Generator[None, None, None]:
    """Let go of all that is in it, however much that is: the end of its last reference would take long, too."""
    pending: list[Any] = [value]
    count = 0
    while pending:
        one = pending.pop()
        items = one
        if isinstance(one, dict):
            items = list(one.values())
            one.clear()
        while items:
            item = items.pop()
            if isinstance(item, dict | list) and item:
                pending.append(item)
            count += 1
            if count % PORTION == 0:
                yield


class _Open:
    """A list or object whose end is not reached: what is read of it, and the text of it that is not."""

    __slots__ = ("begin", "holes", "kind", "length", "since", "texts", "value")

    def __init__(self, kind: str, begin: int) -> None:
        self.kind = kind
        self.begin = begin
        self.since = begin + len(kind)
        self.texts: list[str] = []
        self.length = 0
        """Of those texts; behind them comes what begins at `since`."""
        self.holes: list[Any] = []
        self.value: Any = None


class _Reader:
    """`fits` is whether all integers so far are of 64 bit."""

    def __init__(self, text: str, max_depth: int) -> None:
        self._text = text
        self._max_depth = max_depth
        self._open = [_Open("", 0)]
        self.fits = True

    def read(self) -> Generator[None, None, Any]:
        """The value; raises ValueError and ProtocolError."""
        text, size, at, rested = self._text, len(self._text), 0, 0
        while True:
            if at - rested >= PORTION:  # no comma has ended a portion before
                rested = at
                yield
            stretch = _STRETCH.match(text, at, at + PORTION)
            assert stretch is not None  # it may be empty
            stop = stretch.end()
            if self._cut(at, stop):
                yield
            if stop == size:
                break
            if stop == at + PORTION:
                at = stop
                continue
            match text[stop]:
                case '"':
                    at = yield from self._end_of_string(stop + 1)
                case "[" | "{" as kind:
                    self._open.append(_Open(kind, stop))
                    if len(self._open) > self._max_depth + 1:
                        raise ProtocolError("a message is nested too deeply")
                    at = stop + 1
                case "]" | "}" as closing:
                    if self._close(closing, stop):
                        yield
                    at = stop + 1
                case strange:
                    raise ValueError(f"{strange!r} outside of a text")
        if len(self._open) > 1:
            raise ValueError("something is not closed")
        self._take(size)
        return self._open[0].value

    def emptied(self) -> Generator[None, None, None]:
        """Let go of what has been read, of a text that turned out to be none."""
        return emptied([part for one in self._open for part in (one.value, one.holes)])

    def _end_of_string(self, at: int) -> Generator[None, None, int]:
        """Behind the quote that ends the string."""
        while True:
            inside = _IN_STRING.match(self._text, at, at + PORTION)
            assert inside is not None  # it may be empty
            if self._text[inside.end() : inside.end() + 1] == '"':
                return inside.end() + 1
            if inside.end() == at:
                raise ValueError("a text is not closed")
            at = inside.end()
            yield

    def _cut(self, at: int, stop: int) -> bool:
        """Whether what is open has become long, and has been read up to its last comma in this stretch."""
        top = self._open[-1]
        if not top.kind or top.length + stop - top.since <= PORTION:
            return False
        found = _TO_LAST_COMMA.match(self._text, at, stop)
        if found is None:
            return False
        self._take(found.end() - 1)
        if not top.value:
            raise ValueError("a comma without a value")
        return True

    def _close(self, closing: str, stop: int) -> bool:
        """Whether what is closed here was long, and has been read. What is short is read with what it stands in."""
        top = self._open[-1]
        if _CLOSING[top.kind] != closing:
            raise ValueError(f"{closing} closes nothing")
        if top.value is None and stop - top.begin < PORTION:
            self._open.pop()
            return False
        self._take(stop)
        self._open.pop()
        around = self._open[-1]
        before = self._text[around.since : top.begin]
        around.texts += [before, _HOLE]
        around.length += len(before) + len(_HOLE)
        around.holes.append(top.value)
        around.since = stop + 1
        return True

    def _take(self, end: int) -> None:
        """Read what there is of the innermost up to here."""
        top = self._open[-1]
        text = "".join([*top.texts, self._text[top.since : end]])
        if top.value is not None and (not text or text.isspace()):
            raise ValueError("a comma without a value")
        holes = iter(top.holes)

        def fill(name: str) -> Any:
            try:
                return next(holes)
            except StopIteration:  # one of them was the text's own
                raise ValueError(f"{name} is no JSON number") from None

        read = self._read(f"{top.kind}{text}{_CLOSING[top.kind]}", fill)
        depth = self._max_depth - max(0, len(self._open) - 2)
        self._look_at(read, depth, "\\u" in text, {id(hole) for hole in top.holes})
        kept = self._kept(read)
        top.value = kept if top.value is None else _joined(top.value, kept)
        top.texts, top.length, top.holes, top.since = [], 0, [], end + 1

    def _read(self, text: str, fill: Callable[[str], Any]) -> Any:
        return codec.loads(text, fill)

    def _look_at(self, value: Any, max_depth: int, has_escapes: bool, known: Collection[int]) -> None:
        if not codec.check_value(value, max_depth, has_escapes, known):
            self.fits = False

    def _kept(self, value: Any) -> Any:
        return value


class _Checker(_Reader):
    """Takes what a reply may hold, which is more than a request may; keeps nothing of it but the keys of objects."""

    def _read(self, text: str, fill: Callable[[str], Any]) -> Any:
        return codec.loads(text, fill, int)

    def _look_at(self, value: Any, max_depth: int, has_escapes: bool, known: Collection[int]) -> None:
        codec.check_value(value, max_depth, False, known)
        if has_escapes:
            try:
                codec.to_json(value).encode()
            except UnicodeEncodeError:
                raise ProtocolError("a text holds a lone surrogate") from None

    def _kept(self, value: Any) -> Any:
        if isinstance(value, dict):
            return dict.fromkeys(value)
        return [None] if isinstance(value, list) and value else value


def _joined(value: Any, more: Any) -> Any:
    if isinstance(value, list):
        value += more
        return value
    count = len(value) + len(more)
    value |= more
    if len(value) != count:
        raise ValueError("an object has a key twice")
    return value


def _name_of_oversized(parameters: JsonObject) -> Generator[None, None, str]:
    """The parameter that holds an integer beyond 64 bit; one does."""
    looked_at = 0
    for name, value in parameters.items():
        pending = [iter((value,))]
        while pending:
            for item in pending[-1]:
                looked_at += 1
                if looked_at % PORTION == 0:
                    yield
                if isinstance(item, dict):
                    pending.append(iter(item.values()))
                    break
                if isinstance(item, list):
                    pending.append(iter(item))
                    break
                if isinstance(item, int) and not INT_MIN <= item <= INT_MAX:
                    return name
            else:
                pending.pop()
    raise ValueError("every integer fits")
