"""Targets that are streams of frames or lines: the socket's both ends, the named pipe, the link, a whole server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from bgjob.codec import (
    FrameReader,
    IntegerOutOfRangeError,
    JsonObject,
    Reply,
    Request,
    encode,
    parse_parameters,
    parse_reply,
    parse_request,
)
from bgjob.errors import (
    ExpectedMoreError,
    InvalidParameterError,
    MethodNotFoundError,
    ProtocolError,
    RequestError,
    TooLargeError,
)
from bgjob.words import INTERFACE
from bgjobd.api import methods
from bgjobd.api.dispatch import Methods
from bgjobd.api.fifo import LineReader
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import (
    InGroup,
    Input,
    NewGroup,
    NewJob,
    Options,
    Predecessor,
    Source,
    UnnamedJob,
    checked,
)
from bgjobd.api.server import Server
from bgjobd.api.ties import Names
from bgjobd.config.sections import Socket
from bgjobd.forkserver import wire
from tests.fuzz.target import luck_of, pieces, scratch

_FRAME = 2048
_LINE = 64
_LIMITS = Socket(max_frame=_FRAME, max_depth=8, max_pipelined=4, max_unread=64 * 1024)
_PATIENCE = 10.0
_SHAPES: dict[str, type[Input]] = {name: shape for name, (shape, _) in methods._TABLE.items()}
_STREAMS: dict[str, type[Input]] = {name: shape for name, (shape, _) in methods._STREAMS.items()}


# Frames


def codec_as_server(data: bytes) -> None:
    """Requests: the same however they are cut, and the same again once they were written and read."""
    told = _same_however_cut(data, _request)
    for request in told:
        if isinstance(request, Request):
            assert parse_request(request.to_bytes()[:-1]) == request


def codec_as_client(data: bytes) -> None:
    """Replies, in the same way."""
    for reply in _same_however_cut(data, _reply):
        if isinstance(reply, Reply):
            assert parse_reply(reply.to_bytes()[:-1]) == reply


def _same_however_cut(data: bytes, read: Callable[[bytes], Any]) -> list[Any]:
    whole, is_broken = _frames([data])
    cut, is_broken_too = _frames(pieces(data))
    assert is_broken == is_broken_too
    # Of a stream that breaks, what came in one piece with the break is lost.
    assert whole == cut[: len(whole)]
    assert is_broken or whole == cut
    return [read(frame) for frame in cut]


def _frames(arriving: Iterable[bytes]) -> tuple[list[bytes], bool]:
    frames, reader = [], FrameReader(_FRAME)
    try:
        for piece in arriving:
            frames += reader.feed(piece)
    except ProtocolError:
        return frames, True
    return frames, False


def _request(frame: bytes) -> Request | str:
    try:
        return parse_request(frame)
    except (ProtocolError, IntegerOutOfRangeError) as error:
        return str(error)


def _reply(frame: bytes) -> Reply | str:
    try:
        return parse_reply(frame)
    except ProtocolError as error:
        return str(error)


def link(data: bytes) -> None:
    """Messages between daemon and fork server, which trust each other's shapes, not where they are cut."""
    whole, cut = _messages([data]), _messages(pieces(data))
    assert whole is None or whole == cut
    for message in whole or ():
        assert wire.Decoder().feed(wire.encode(message)) == [message] or message != message


def _messages(arriving: Iterable[bytes]) -> list[wire.Message] | None:
    decoder = wire.Decoder()
    try:
        return [message for piece in arriving for message in decoder.feed(piece)]
    except (ValueError, RecursionError):
        return None  # the link ends over that, and with it the fork server


# Lines, and parameters


def fifo(data: bytes) -> None:
    """Lines of the named pipe, and the parameters that they are."""
    whole, cut = _lines([data]), _lines(pieces(data))
    assert whole == cut
    assert all(line is None or len(line) <= _LINE for line in whole)
    for line in data.split(b"\n"):
        _parameters(line)


def _lines(arriving: Iterable[bytes]) -> list[bytes | None]:
    reader = LineReader(_LINE)
    return [line for piece in arriving for line in reader.feed(piece)]


def inputs(data: bytes) -> None:
    """Parameters, as those of each method: they fit and fit again, or the parameter is named that does not."""
    parameters = _parameters(data)
    for shape in {*_SHAPES.values(), *_STREAMS.values(), *PARTS}:
        fitting = _fitting(shape, parameters or {})
        if isinstance(fitting, Input):
            again = fitting.model_dump(warnings=False)  # of SubmitMany's jobs, which nobody has looked at yet
            assert checked(shape, again) == fitting
        if isinstance(fitting, UnnamedJob) and fitting.options is not None:
            _tie(fitting.options)


PARTS: Final = (NewJob, NewGroup, Options, Predecessor, Source, InGroup)
"""Shapes within those of methods."""


def _tie(options: Options) -> None:
    """What a job comes after: places and nodes, or a refusal that names what is wrong."""
    with suppress(InvalidParameterError, TooLargeError):
        ties = Names({"a": 0}, {"g": 0}).ties(options)
        assert ties is None or all(ties.path_of(one) for one in ties.predecessors)


def _parameters(line: bytes) -> JsonObject | None:
    try:
        parameters = parse_parameters(line)
    except (ProtocolError, InvalidParameterError):
        return None
    assert parse_parameters(encode(parameters)[:-1]) == parameters
    return parameters


def _fitting(shape: type[Input], parameters: JsonObject) -> Input | Reply:
    """The parameters in this shape, or the refusal, which can be sent."""
    try:
        return checked(shape, parameters)
    except (InvalidParameterError, TooLargeError) as error:
        refusal = Reply(error.parameters, error=error.error_name)
        assert parse_reply(refusal.to_bytes()[:-1]) == refusal
        return refusal


# A server


def ipc(data: bytes) -> None:
    """A connection, which sends this and leaves, politely or not: each request has its answer, in its place."""
    _House.one().attempt(data)


class _House:
    """A server of the socket's own methods, each of which checks its parameters and says its name."""

    @classmethod
    @cache
    def one(cls) -> _House:
        return cls()

    def __init__(self) -> None:
        self._bugs: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(lambda _, context: self._bugs.append(str(context)))
        answers = {_full(name): partial(_answer, name, shape) for name, shape in _SHAPES.items()}
        streams = {_full(name): partial(_stream, name, shape) for name, shape in _STREAMS.items()}
        self._server = Server(
            Methods(answers, streams),
            _LIMITS,
            on_bug=lambda method, error: self._bugs.append(f"{method}: {error!r}"),
        )
        self._directory = scratch()
        self._path = Path(self._directory.name, "socket")
        self._loop.run_until_complete(self._server.listen(self._path, 0o600, None))

    def attempt(self, data: bytes) -> None:
        self._loop.run_until_complete(asyncio.wait_for(self._attempt(data), _PATIENCE))
        assert not self._bugs, self._bugs

    async def _attempt(self, data: bytes) -> None:
        is_polite = luck_of(data).random() < 0.8
        with socket.socket(socket.AF_UNIX) as peer:
            peer.setblocking(False)
            await self._loop.sock_connect(peer, str(self._path))
            reading = asyncio.ensure_future(self._all(peer))
            try:
                for piece in pieces(data):
                    await self._loop.sock_sendall(peer, piece)
                    await asyncio.sleep(0)
                if is_polite:
                    peer.shutdown(socket.SHUT_WR)
            except OSError:
                is_polite = False  # the server has closed, over what was sent
            if is_polite:
                _check(data, await reading)
            reading.cancel()
            await asyncio.wait([reading])
        while self._server.admission.admitted:  # noqa: ASYNC110 - it tells nobody that one is gone
            await asyncio.sleep(0)

    async def _all(self, peer: socket.socket) -> bytes:
        told = b""
        with suppress(ConnectionResetError):  # how a server closes that has not read all
            while piece := await self._loop.sock_recv(peer, 65536):
                told += piece
        return told


def _full(name: str) -> str:
    return f"{INTERFACE}.{name}"


async def _answer(name: str, shape: type[Input], parameters: JsonObject, caller: Caller) -> JsonObject:
    checked(shape, parameters)
    return {"name": name}


async def _stream(
    name: str, shape: type[Input], parameters: JsonObject, caller: Caller
) -> AsyncIterator[JsonObject]:
    checked(shape, parameters)
    for number in range(3):
        yield {"number": number}
        await asyncio.sleep(0)


def _check(data: bytes, told: bytes) -> None:
    """Whether these are the answers to all that was sent; up to where it breaks the protocol, those to some of it."""
    got = [reply for frame in FrameReader(2**26).feed(told) if not (reply := parse_reply(frame)).continues]
    frames, is_broken = _frames(pieces(data))
    wanted = []
    for frame in frames:
        try:
            reply = _wanted(frame)
        except ProtocolError:
            is_broken = True
            break
        wanted += [reply] if reply is not None else []
    assert got == wanted[: len(got)]
    assert is_broken or got == wanted


def _wanted(frame: bytes) -> Reply | None:
    """The last reply to this request; None to one that wants none. Raises ProtocolError."""
    try:
        request = parse_request(frame, _LIMITS.max_depth)
    except IntegerOutOfRangeError as error:
        return None if error.request.oneway else _refusal(InvalidParameterError(parameter=error.parameter))
    name = request.method.removeprefix(f"{INTERFACE}.") if request.method.startswith(INTERFACE) else ""
    if request.oneway:
        return None
    if request.more and name in _STREAMS:
        return _if_fitting(_STREAMS[name], request, Reply())
    if name in _SHAPES:
        return _if_fitting(_SHAPES[name], request, Reply({"name": name}))
    return _refusal(ExpectedMoreError() if name in _STREAMS else MethodNotFoundError(method=request.method))


def _if_fitting(shape: type[Input], request: Request, reply: Reply) -> Reply:
    fitting = _fitting(shape, request.parameters)
    return reply if isinstance(fitting, Input) else fitting


def _refusal(error: RequestError) -> Reply:
    return Reply(error.parameters, error=error.error_name)
