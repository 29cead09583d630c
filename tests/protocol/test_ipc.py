"""The socket's rules against a real server at a real path: order, limits, ends and credentials; methods are small."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import socket
import stat
import threading
import traceback
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from bgjob.client import Client
from bgjob.codec import FrameReader, JsonObject, Reply, Request, parse_reply
from bgjob.errors import DaemonUnavailableError, JobNotFoundError, TooManyConnectionsError
from bgjobd.api.connection import Connection
from bgjobd.api.dispatch import Methods
from bgjobd.api.peer import Caller
from bgjobd.api.server import Server
from bgjobd.api.unix_socket import SocketInUseError
from bgjobd.config.sections import Socket

T = TypeVar("T")
PATIENCE = 10.0
"""Seconds after which a test that waits has failed; no test takes them when all is well."""


class House:
    """What the test server serves, and what became of it."""

    def __init__(self) -> None:
        self.door = asyncio.Event()
        self.entered = asyncio.Event()
        self.calls: list[str] = []
        self.bugs: list[tuple[str, Exception]] = []
        self.closed_streams = 0
        self.carried_out = asyncio.Event()

    def methods(self) -> Methods:
        answers = (
            self.echo,
            self.wait,
            self.done,
            self.open,
            self.refuse,
            self.fail,
            self.abandon,
            self.who,
            self.grow,
            self.unsayable,
        )
        return Methods(
            {f"test.{answer.__name__.title()}": answer for answer in answers},
            {
                "test.Count": self.count,
                "test.Echo": self.echo_twice,
                "test.Endless": self.endless,
                "test.Unsayable": self.unsayable_midway,
            },
            waiting=frozenset({"test.Wait"}),
        )

    def on_bug(self, method: str, error: Exception) -> None:
        self.bugs.append((method, error))

    async def echo(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        self.calls.append("Echo")
        return parameters

    async def wait(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        self.calls.append("Wait")
        self.entered.set()
        await self.door.wait()
        return parameters

    async def done(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        await self.wait(parameters, caller)
        self.calls.append("Done")
        self.carried_out.set()
        return parameters

    async def open(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        self.calls.append("Open")
        self.door.set()
        return {}

    async def refuse(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        raise JobNotFoundError(id=parameters.get("id", 7))

    async def fail(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        raise ValueError("no good")

    async def abandon(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        raise asyncio.CancelledError

    async def who(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        return asdict(caller) | {"groups": sorted(caller.groups)}

    async def grow(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        return {"text": "x" * parameters["size"]}

    async def unsayable(self, parameters: JsonObject, caller: Caller) -> JsonObject:
        return {"number": float("nan")}

    async def count(self, parameters: JsonObject, caller: Caller) -> AsyncIterator[JsonObject]:
        for number in range(parameters["to"]):
            if number == parameters.get("refuse_at"):
                raise JobNotFoundError(id=number)
            if number == parameters.get("fail_at"):
                raise ValueError("no good")
            yield {"n": number}

    async def echo_twice(self, parameters: JsonObject, caller: Caller) -> AsyncIterator[JsonObject]:
        yield parameters
        yield parameters

    async def unsayable_midway(self, parameters: JsonObject, caller: Caller) -> AsyncIterator[JsonObject]:
        yield {"n": 0}
        yield {"number": float("nan")}
        yield {"n": 2}

    async def endless(self, parameters: JsonObject, caller: Caller) -> AsyncIterator[JsonObject]:
        try:
            yield {}
            await self.door.wait()
        finally:
            self.closed_streams += 1
            self.entered.set()


@dataclass
class Peer:
    """The other end of one connection: sends bytes, reads replies."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: FrameReader = field(default_factory=lambda: FrameReader(max_frame=2**26))
    unread: list[bytes] = field(default_factory=list)

    def send(self, *sent: Request | bytes) -> None:
        for each in sent:
            self.writer.write(each.to_bytes() if isinstance(each, Request) else each)

    async def try_reply(self) -> Reply | None:
        """The next reply, or None where the server closed the connection."""
        while not self.unread:
            try:
                data = await self.reader.read(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.unread += self.frames.feed(data)
        return parse_reply(self.unread.pop(0))

    async def reply(self) -> Reply:
        reply = await self.try_reply()
        assert reply is not None, "the server closed the connection"
        return reply

    async def ask(self, method: str, **parameters: Any) -> Reply:
        self.send(Request(f"test.{method}", parameters))
        return await self.reply()

    async def rest(self) -> list[Reply]:
        """All replies until the server closes the connection."""
        replies = []
        while (reply := await self.try_reply()) is not None:
            replies.append(reply)
        return replies

    async def leave(self) -> None:
        """Close, and wait until the server has done so."""
        self.writer.write_eof()
        assert await self.rest() == []
        self.writer.close()
        await self.writer.wait_closed()


@dataclass
class World:
    """A server that listens, its methods, and the way to it."""

    path: Path
    house: House
    server: Server
    troubles: list[dict[str, Any]]
    stack: contextlib.AsyncExitStack

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        self.stack.callback(writer.close)
        return Peer(reader, writer)

    async def settle(self) -> None:
        """Returns when the server has read all that was sent to it before: what comes later is read later."""
        for _ in range(3):
            other = await self.connect()
            assert await other.ask("Echo") == Reply()
            await other.leave()

    async def leave_amid(self, *asked: Request) -> None:
        """Ask for this, and hang up once it is worked on; the server has heard of that."""
        with await raw_connection(self.path) as caller:
            frames = b"".join(one.to_bytes() for one in asked)
            await asyncio.get_running_loop().sock_sendall(caller, frames)
            await self.house.entered.wait()
        await self.settle()

    async def at_rest(self) -> dict[str, str]:
        """The descriptors that stay open, and what they are: those that two rounds in turn find alike."""
        seen = None
        while seen != (seen := open_descriptors()):
            await self.settle()
        return seen


@asynccontextmanager
async def world(path: Path, limits: Socket) -> AsyncIterator[World]:
    house, troubles = House(), list[dict[str, Any]]()
    server = Server(house.methods(), limits, on_bug=house.on_bug)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: troubles.append(context))
    await server.listen(path, 0o660, None)
    async with contextlib.AsyncExitStack() as stack:
        yield World(path, house, server, troubles, stack)
        server.stop_listening()
        house.door.set()
        await server.finish()
    for _ in range(100):
        await asyncio.sleep(0)
    assert server.admission.turns._held == 0, "somebody who has left keeps the room that he had"
    assert troubles == [], "the loop met an exception that nobody caught"


Scene = Callable[[World], Awaitable[None]]
Play = Callable[..., None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Runs a scene with a server of these limits; whatever it waits for must come."""

    def run(scene: Scene, **limits: Any) -> None:
        async def whole() -> None:
            async with (
                asyncio.timeout(PATIENCE),
                world(tmp_path / "socket", Socket(**limits)) as given,
            ):
                await scene(given)

        asyncio.run(whole())

    return run


@pytest.fixture
def play_alone(play: Play) -> Play:
    """Plays in a process of its own: threads that earlier tests have left here open descriptors, too."""

    def run(scene: Scene, **limits: Any) -> None:
        pid = os.fork()
        if pid == 0:
            failures = 1
            try:
                play(scene, **limits)
                failures = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(failures)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "what failed is on stderr"

    return run


def echo(number: int, **flags: bool) -> Request:
    return Request("test.Echo", {"n": number}, **flags)


WAIT = Request("test.Wait", {"w": 1})
DONE = Request("test.Done", oneway=True)
OPEN = Request("test.Open")
BROKEN = b"{\0"


# Requests and replies


def test_a_request_gets_its_reply(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        assert await peer.ask("Echo", a=[1, "ä"]) == Reply({"a": [1, "ä"]})

    play(scene)


def test_the_next_requests_are_taken_while_the_first_waits_and_replies_come_in_order(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        # The first is answered only because the third is taken meanwhile.
        peer.send(WAIT, echo(2), OPEN, echo(4))
        assert [await peer.reply() for _ in range(4)] == [
            Reply({"w": 1}),
            Reply({"n": 2}),
            Reply(),
            Reply({"n": 4}),
        ]

    play(scene)


def test_a_thousand_requests_in_one_write_are_answered_in_order(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(b"".join(echo(number).to_bytes() for number in range(1000)))
        assert [(await peer.reply()).parameters["n"] for _ in range(1000)] == list(range(1000))

    play(scene, max_pipelined=4)


def test_no_more_requests_are_read_while_as_many_wait_as_may(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(WAIT, WAIT)
        await world.house.entered.wait()
        await world.settle()
        peer.send(OPEN)
        await world.settle()
        assert "Open" not in world.house.calls
        world.house.door.set()
        assert [await peer.reply() for _ in range(3)] == [Reply({"w": 1}), Reply({"w": 1}), Reply()]

    play(scene, max_pipelined=2)


def test_no_more_requests_of_one_write_are_taken_than_may_wait(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(b"".join(request.to_bytes() for request in (WAIT, WAIT, OPEN)))
        await world.house.entered.wait()
        await world.settle()
        assert world.house.calls.count("Wait") == 2
        assert "Open" not in world.house.calls

    play(scene, max_pipelined=2)


def test_what_an_answered_request_leaves_room_for_is_taken_though_its_reply_waits(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        # The first is answered only because the third is taken, for which there is no room before the second's answer.
        peer.send(WAIT, Request("test.Echo", {"n": "x" * 80}), Request("test.Open", {"padding": "x" * 80}))
        replies = [await peer.reply() for _ in range(3)]
        assert [reply.parameters for reply in replies] == [{"w": 1}, {"n": "x" * 80}, {}]

    play(scene, max_frame=200)


def test_requests_that_wait_are_as_large_together_as_one_may_be(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        for _ in range(2):  # what is answered takes no room from the next
            world.house.calls.clear()
            world.house.door.clear()
            world.house.entered.clear()
            peer.send(WAIT, large("Wait", 500), large("Wait", 500))
            await world.house.entered.wait()
            await world.settle()
            assert world.house.calls.count("Wait") == 2
            world.house.door.set()
            assert all([(await peer.reply()).error is None for _ in range(3)])

    play(scene, max_frame=1000)


def test_a_oneway_request_is_carried_out_though_its_caller_has_left(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, staying = await world.connect(), await world.connect()
        peer.send(Request("test.Done", oneway=True), Request("test.Done"))
        await world.house.entered.wait()
        peer.writer.close()
        await world.settle()
        world.house.door.set()
        assert await staying.ask("Echo") == Reply()
        await world.house.carried_out.wait()
        await world.settle()
        assert world.house.calls.count("Done") == 1

    play(scene)


def test_a_oneway_request_is_carried_out_without_reply(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(
            echo(1, oneway=True), Request("test.Refuse", oneway=True), Request("x.Y", oneway=True), echo(2)
        )
        assert await peer.reply() == Reply({"n": 2})
        assert world.house.calls == ["Echo", "Echo"]

    play(scene)


def test_a_oneway_request_with_a_large_integer_gets_no_reply_either(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(b'{"method":"test.Echo","parameters":{"n":9223372036854775808},"oneway":true}\0', echo(2))
        assert await peer.reply() == Reply({"n": 2})

    play(scene)


def test_a_refusal_is_an_error_reply(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        expected = Reply({"id": 12}, error="org.bgjobd.Jobs.JobNotFound")
        assert await peer.ask("Refuse", id=12) == expected
        assert await peer.ask("Echo") == Reply()
        assert world.house.bugs == []

    play(scene)


@pytest.mark.parametrize(
    "method",
    ["test.Nothing", "test", "", "org.bgjobd.Jobs.Submit", "../x", "test.Echo.", "test.echo", "__class__"],
)
def test_an_unknown_method_is_not_found(play: Play, method: str) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        for more in (False, True):
            peer.send(Request(method, {"a": 1}, more=more))
            expected = Reply({"method": method}, error="org.varlink.service.MethodNotFound")
            assert await peer.reply() == expected
        assert await peer.ask("Echo") == Reply()
        assert world.house.bugs == []

    play(scene)


def test_a_large_integer_is_an_invalid_parameter_and_the_connection_goes_on(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(WAIT, b'{"method":"test.Echo","parameters":{"n":[9223372036854775808]}}\0', OPEN)
        expected = Reply({"parameter": "n"}, error="org.varlink.service.InvalidParameter")
        assert [await peer.reply() for _ in range(3)] == [Reply({"w": 1}), expected, Reply()]
        assert world.house.calls == ["Wait", "Open"]

    play(scene)


# Bugs of the daemon's


def test_a_bug_is_an_internal_error_and_told_to_whoever_keeps_the_log(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        expected = Reply({"reason": "ValueError: no good"}, error="org.bgjobd.Jobs.InternalError")
        assert await peer.ask("Fail") == expected
        assert await peer.ask("Echo", n=2) == Reply({"n": 2})
        ((method, error),) = world.house.bugs
        assert (method, type(error), str(error)) == ("test.Fail", ValueError, "no good")

    play(scene)


def test_an_answer_that_something_else_has_cancelled_is_a_bug_while_its_caller_is_there(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Abandon", {"padding": "x" * 600}), echo(2))
        first, second = await peer.reply(), await peer.reply()
        assert (first.error, second) == ("org.bgjobd.Jobs.InternalError", Reply({"n": 2}))
        assert [(method, str(error)) for method, error in world.house.bugs] == [
            ("test.Abandon", "the call was cancelled")
        ]

    play(scene)


def test_an_answer_that_json_cannot_hold_is_a_bug_and_takes_nobody_elses_place(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Unsayable"), echo(2))
        first, second = await peer.reply(), await peer.reply()
        assert (first.error, second) == ("org.bgjobd.Jobs.InternalError", Reply({"n": 2}))
        assert [method for method, _ in world.house.bugs] == ["test.Unsayable"]

    play(scene)


def test_a_method_name_that_cannot_be_told_back_ends_the_connection(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(echo(1), rb'{"method":"\ud800"}' + b"\0", echo(3))
        assert await peer.rest() == [Reply({"n": 1})]

    play(scene)


# Streams


def test_a_stream_ends_with_a_reply_that_does_not_continue(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Count", {"to": 3}, more=True), echo(9))
        replies = [await peer.reply()]
        while replies[-1].continues:
            replies.append(await peer.reply())
        assert [reply.parameters["n"] for reply in replies if reply.parameters] == [0, 1, 2]
        assert all(reply.error is None for reply in replies)
        assert await peer.reply() == Reply({"n": 9})

    play(scene)


def test_a_stream_without_news_is_one_reply(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Count", {"to": 0}, more=True), echo(9))
        assert [await peer.reply(), await peer.reply()] == [Reply(), Reply({"n": 9})]

    play(scene)


def test_a_stream_waits_for_its_place_in_the_line(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(WAIT, Request("test.Count", {"to": 1}, more=True), OPEN)
        replies = [await peer.reply() for _ in range(4)]
        assert replies == [Reply({"w": 1}), Reply({"n": 0}, continues=True), Reply(), Reply()]

    play(scene)


def test_a_stream_that_is_refused_midway_ends_with_the_error(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Count", {"to": 3, "refuse_at": 1}, more=True), echo(9))
        assert await peer.reply() == Reply({"n": 0}, continues=True)
        assert await peer.reply() == Reply({"id": 1}, error="org.bgjobd.Jobs.JobNotFound")
        assert await peer.reply() == Reply({"n": 9})
        assert world.house.bugs == []

    play(scene)


def test_a_stream_with_a_bug_ends_with_an_internal_error(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Count", {"to": 3, "fail_at": 0}, more=True), echo(9))
        assert (await peer.reply()).error == "org.bgjobd.Jobs.InternalError"
        assert await peer.reply() == Reply({"n": 9})
        assert [method for method, _ in world.house.bugs] == ["test.Count"]

    play(scene)


def test_a_stream_with_news_that_json_cannot_hold_ends_there(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Unsayable", more=True), echo(9))
        assert await peer.reply() == Reply({"n": 0}, continues=True)
        assert (await peer.reply()).error == "org.bgjobd.Jobs.InternalError"
        assert await peer.reply() == Reply({"n": 9})
        assert [method for method, _ in world.house.bugs] == ["test.Unsayable"]

    play(scene)


def test_a_method_of_both_kinds_answers_once_without_more_and_often_with_it(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(echo(1), echo(2, more=True), echo(3))
        replies = [await peer.reply() for _ in range(4)]
        assert [reply.continues for reply in replies[:3]] == [False, True, True]
        assert replies[3] == Reply()
        assert await peer.reply() == Reply({"n": 3})

    play(scene)


def test_a_method_that_only_answers_answers_once_with_more_too(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Open", more=True), echo(2))
        assert [await peer.reply(), await peer.reply()] == [Reply(), Reply({"n": 2})]

    play(scene)


def test_a_stream_ends_when_its_caller_is_gone(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(Request("test.Endless", {"padding": "x" * 1000}, more=True))
        assert await peer.reply() == Reply(continues=True)
        peer.writer.transport.abort()
        await world.house.entered.wait()
        assert world.house.closed_streams == 1

    play(scene)


# Ends


@pytest.mark.parametrize(
    "broken",
    [
        b"hello\0",
        b"\0",
        b"[]\0",
        b'{"method":1}\0',
        b'{"method":"test.Echo","method":"test.Echo"}\0',
        b'{"method":"test.Echo","id":1}\0',
        b'{"method":"test.Echo","parameters":[]}\0',
        b'{"method":"test.Echo","parameters":{"a":NaN}}\0',
        b'{"method":"test.Echo","parameters":{"a":"\xff"}}\0',
        rb'{"method":"test.Echo","parameters":{"a":"\ud800"}}' + b"\0",
        b'{"method":"test.Echo","parameters":{"a":' + b"[" * 3000 + b"]" * 3000 + b"}}\0",
        b'{"method":"test.Echo","parameters":{"a":' + b"[" * 500 + b"]" * 500 + b"}}\0",
        b'{"method":"test.Echo","upgrade":true}\0',
        b"x" * 10_001,
    ],
    ids=lambda broken: repr(broken[:50]),
)
def test_broken_bytes_close_the_connection_and_are_never_carried_out(play: Play, broken: bytes) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(broken)
        assert await peer.rest() == []
        assert world.house.calls == []
        assert world.house.bugs == []

    play(scene, max_frame=10_000)


def test_the_limits_of_the_configuration_hold(play: Play) -> None:
    async def scene(world: World) -> None:
        for refused in (Request("test.Echo", {"a": "x" * 200}), Request("test.Echo", {"a": [[[1]]]})):
            peer = await world.connect()
            assert await peer.ask("Echo", a=[[1]]) == Reply({"a": [[1]]})
            peer.send(refused)
            assert await peer.rest() == []

    play(scene, max_frame=200, max_depth=4)


def test_what_was_asked_before_broken_bytes_is_answered_and_what_comes_after_is_not_taken(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(b"".join((echo(1).to_bytes(), WAIT.to_bytes(), BROKEN, echo(2).to_bytes())))
        await world.house.entered.wait()
        peer.send(echo(3))
        await world.settle()
        calls = list(world.house.calls)
        world.house.door.set()
        assert await peer.rest() == [Reply({"n": 1}), Reply({"w": 1})]
        assert calls[:2] == ["Echo", "Wait"]
        assert calls[2:] == ["Echo"] * 3  # those of `settle`

    play(scene)


def test_a_peer_that_goes_on_after_broken_bytes_costs_no_memory(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(b"".join((WAIT.to_bytes(), BROKEN)))
        await world.house.entered.wait()
        sock, chunk = peer.writer.get_extra_info("socket"), bytes(65536).replace(b"\0", b"x")
        tracemalloc.start()
        try:
            await send_up_to(os.dup(sock.fileno()), chunk, times=256)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 40 * len(chunk)

    play(scene, max_frame=1000)


async def send_up_to(descriptor: int, chunk: bytes, times: int) -> None:
    """Send until the server reads no more, or closes, or has read it all."""
    loop = asyncio.get_running_loop()
    with socket.socket(fileno=descriptor) as sock:
        sock.setblocking(False)
        with contextlib.suppress(OSError, TimeoutError):
            for _ in range(times):
                await asyncio.wait_for(loop.sock_sendall(sock, chunk), timeout=0.5)


def test_a_caller_that_says_no_more_still_gets_the_replies(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(echo(1), WAIT, echo(2))
        peer.writer.write_eof()
        await world.house.entered.wait()
        await world.settle()
        world.house.door.set()
        assert await peer.rest() == [Reply({"n": 1}), Reply({"w": 1}), Reply({"n": 2})]

    play(scene)


def test_a_caller_that_says_nothing_and_no_more_is_let_go(play: Play) -> None:
    async def scene(world: World) -> None:
        for unfinished in (b"", b'{"method":"test.Ec'):
            peer = await world.connect()
            peer.send(unfinished)
            peer.writer.write_eof()
            assert await peer.rest() == []
        assert world.house.calls == []

    play(scene)


def test_callers_that_vanish_leave_nothing_behind(play_alone: Play) -> None:
    async def scene(world: World) -> None:
        before = await world.at_rest()
        for number in range(50):
            peer = await world.connect()
            peer.send((WAIT if number % 2 else echo(1)).to_bytes()[: 10 * number])
            peer.writer.transport.abort()
        await world.settle()
        world.house.door.set()
        assert await world.at_rest() == before
        assert world.house.bugs == []

    play_alone(scene, max_connections=60)


@pytest.mark.parametrize("has_said_all", [False, True], ids=["at once", "after it said that it says no more"])
def test_a_caller_that_vanishes_while_it_waits_makes_room(play: Play, has_said_all: bool) -> None:
    """Its job may take hours; whoever was killed beside it must not be locked out meanwhile."""

    async def scene(world: World) -> None:
        peer, witness = await world.connect(), await world.connect()
        peer.send(WAIT)
        await world.house.entered.wait()
        if has_said_all:
            peer.writer.write_eof()
            for _ in range(3):
                assert await witness.ask("Echo") == Reply()  # so the server has seen it
        peer.writer.transport.abort()
        for _ in range(1000):
            other = await world.connect()
            other.send(echo(1))
            reply = await other.try_reply()
            if reply is not None and reply.error is None:
                return
            other.writer.close()
        pytest.fail("its connection still counts")

    play(scene, max_connections_per_uid=2)


def test_a_server_that_ends_answers_what_it_owes_and_takes_nobody_new(play: Play) -> None:
    async def scene(world: World) -> None:
        idle, peer = await world.connect(), await world.connect()
        assert await idle.ask("Echo") == Reply()
        peer.send(WAIT, echo(2))
        await world.house.entered.wait()
        world.server.stop_listening()
        with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
            await raw_connection(world.path)
        finishing = asyncio.ensure_future(world.server.finish())
        assert await idle.ask("Open") == Reply()
        await finishing
        assert await peer.rest() == [Reply({"w": 1}), Reply({"n": 2})]
        assert await idle.rest() == []

    play(scene)


async def raw_connection(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, str(path))
    except OSError:
        sock.close()
        raise
    return sock


# Large requests


def large(method: str, padding: int = 200_000, **parameters: Any) -> Request:
    return Request(f"test.{method}", parameters | {"padding": "x" * padding})


def test_a_user_has_one_large_request_at_a_time_and_small_ones_meanwhile(play: Play) -> None:
    async def scene(world: World) -> None:
        first, second, small = [await world.connect() for _ in range(3)]
        first.send(large("Wait"))
        await world.house.entered.wait()
        second.send(large("Open"))
        await world.settle()
        assert await small.ask("Echo", n=1) == Reply({"n": 1})
        assert "Open" not in world.house.calls
        world.house.door.set()
        assert (await first.reply()).error is None
        assert await second.reply() == Reply()

    play(scene)


def test_a_large_request_that_waits_for_its_turn_is_not_read(play: Play) -> None:
    """64 of 1 MiB each took the daemon to 1.4 GiB: all of them were read at once."""

    async def scene(world: World) -> None:
        first, second = await world.connect(), await world.connect()
        first.send(large("Wait"))
        await world.house.entered.wait()
        second.send(large("Open", 3_000_000))
        await world.settle()
        assert second.writer.transport.get_write_buffer_size() > 2_000_000
        world.house.door.set()
        assert await second.reply() == Reply()

    play(scene, max_frame=4_000_000)


def test_who_waits_for_hours_takes_no_room_from_large_requests_nor_they_from_whoever_asks_little(
    play: Play,
) -> None:
    async def scene(the: World) -> None:
        waiting, pouring, asking = [await the.connect() for _ in range(3)]
        waiting.send(WAIT)
        await the.house.entered.wait()
        assert await pouring.ask("Echo", padding="x" * 200_000) == Reply({"padding": "x" * 200_000})
        waiting.send(large("Wait"))
        pouring.send(large("Echo"))  # waits for the other
        await the.settle()
        assert await asking.ask("Echo") == Reply()

    play(scene, max_under_way=1_000_000)


def test_of_what_one_has_sent_others_wait_for_a_part(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def feed(frames: FrameReader, data: bytes) -> list[bytes]:
        sizes.append(len(data))
        return real(frames, data)

    async def scene(the: World) -> None:
        peer = await the.connect()
        peer.send(large("Echo"))
        peer.writer.write_eof()
        monkeypatch.setattr(FrameReader, "feed", feed)
        assert len(await peer.rest()) == 1

    real = FrameReader.feed
    play(scene)
    assert max(sizes) <= 65536


def test_one_who_leaves_with_a_large_request_makes_room_for_the_next(play: Play) -> None:
    async def scene(world: World) -> None:
        half, worked_on, waiting, last = [await world.connect() for _ in range(4)]
        half.send(large("Open").to_bytes()[:150_000])
        await world.settle()
        for peer, request in ((worked_on, "Wait"), (waiting, "Refuse"), (last, "Open")):
            peer.send(large(request))
            await world.settle()
        assert world.house.calls.count("Wait") == 0
        half.writer.close()
        await world.house.entered.wait()
        waiting.writer.close()
        worked_on.writer.close()
        assert await last.reply() == Reply()

    play(scene)


def test_one_who_leaves_while_a_large_request_waits_for_room_makes_way_for_the_next(play: Play) -> None:
    async def scene(world: World) -> None:
        small, waiting, last = [await world.connect() for _ in range(3)]
        small.send(large("Wait", 6_000))
        await world.house.entered.wait()
        waiting.send(large("Echo"))
        await world.settle()
        waiting.writer.close()
        await world.settle()
        last.send(large("Echo"))
        await world.settle()
        world.house.door.set()
        assert (await last.reply()).error is None

    play(scene, max_under_way=1_000_000)


def test_requests_behind_a_large_one_are_answered_in_their_order(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(echo(1), large("Open"), echo(2), large("Grow", size=3), echo(3), b'{"method":"x"')
        replies = [await peer.reply() for _ in range(5)]
        assert [reply.parameters for reply in replies] == [{"n": 1}, {}, {"n": 2}, {"text": "xxx"}, {"n": 3}]

    play(scene)


def test_a_large_request_that_is_none_ends_its_connection_after_the_replies_that_are_owed(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, other = await world.connect(), await world.connect()
        peer.send(echo(1), b'{"method":"test.Open","parameters":{"a":[' + b"[]," * 50_000 + b"]}}\0", echo(2))
        assert await peer.rest() == [Reply({"n": 1})]
        assert "Open" not in world.house.calls
        other.send(large("Open"))
        assert await other.reply() == Reply()

    play(scene)


def test_a_user_whose_requests_take_up_his_share_waits_with_the_next(play: Play) -> None:
    async def scene(world: World) -> None:
        peers = [await world.connect() for _ in range(3)]
        for peer in peers:
            peer.send(large("Wait", 6_000))
            await world.settle()
        assert world.house.calls.count("Wait") == 1
        world.house.door.set()
        assert all([(await peer.reply()).error is None for peer in peers])

    play(scene, max_under_way=40_000)


# Deadlines


def test_an_unfinished_frame_is_cut_at_the_deadline_and_a_silent_connection_is_not(play: Play) -> None:
    async def scene(world: World) -> None:
        silent, finished, slow = [await world.connect() for _ in range(3)]
        finished.send(echo(1).to_bytes()[:9])
        await world.settle()
        finished.send(echo(1).to_bytes()[9:])
        assert await finished.reply() == Reply({"n": 1})
        slow.send(b'{"method":')
        # Its deadline began last, so those of the others would be over too.
        assert await slow.rest() == []
        assert await finished.ask("Echo", n=2) == Reply({"n": 2})
        assert await silent.ask("Echo", n=3) == Reply({"n": 3})

    play(scene, frame_timeout=1.0)


def test_an_unfinished_frame_after_whole_ones_is_cut_too(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(echo(1).to_bytes() + echo(2).to_bytes()[:9])
        assert await peer.rest() == [Reply({"n": 1})]

    play(scene, frame_timeout=0.05)


def test_drops_of_a_frame_do_not_move_its_deadline(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, loop = await world.connect(), asyncio.get_running_loop()
        patience_ends = loop.time() + 3.0
        peer.send(b'{"method":"')
        while not peer.reader.at_eof() and peer.reader.exception() is None:
            assert loop.time() < patience_ends, "the connection is still open"
            peer.send(b"x")
            await world.settle()

    play(scene, frame_timeout=0.3)


def test_a_busy_caller_whose_writes_end_inside_frames_is_not_cut(play: Play) -> None:
    """The deadline is that of one frame: a new frame has a new one."""

    async def scene(world: World) -> None:
        peer, loop = await world.connect(), asyncio.get_running_loop()
        end = loop.time() + 1.2
        number = 0
        peer.send(echo(0).to_bytes()[:9])
        while loop.time() < end:
            peer.send(echo(number).to_bytes()[9:] + echo(number + 1).to_bytes()[:9])
            assert await peer.reply() == Reply({"n": number})
            number += 1

    play(scene, frame_timeout=1.0)


def test_a_frame_that_the_server_would_not_read_yet_is_not_late(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, other = await world.connect(), await world.connect()
        peer.send(WAIT.to_bytes() + echo(2).to_bytes()[:9])
        await world.house.entered.wait()
        peer.send(echo(2).to_bytes()[9:])
        other.send(b"{")
        assert await other.rest() == []  # a deadline that began later is over
        world.house.door.set()
        assert [await peer.reply(), await peer.reply()] == [Reply({"w": 1}), Reply({"n": 2})]

    play(scene, frame_timeout=0.1, max_pipelined=1)


def test_a_frame_that_is_still_unfinished_when_the_server_reads_on_is_cut(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        peer.send(WAIT.to_bytes() + echo(2).to_bytes()[:9])
        await world.house.entered.wait()
        world.house.door.set()
        assert await peer.rest() == [Reply({"w": 1})]

    play(scene, frame_timeout=0.05, max_pipelined=1)


# Connections that nobody uses


def test_a_connection_that_nobody_uses_is_closed_at_its_deadline(play: Play) -> None:
    async def scene(world: World) -> None:
        silent, finished, oneway = [await world.connect() for _ in range(3)]
        assert await finished.ask("Echo", n=1) == Reply({"n": 1})
        oneway.send(echo(2, oneway=True))
        assert [await peer.rest() for peer in (silent, finished, oneway)] == [[], [], []]
        assert world.house.calls == ["Echo", "Echo"]

    play(scene, idle_timeout=1.0)


def test_a_connection_in_use_outlives_the_deadline_of_idle_ones(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, loop = await world.connect(), asyncio.get_running_loop()
        end = loop.time() + 1.2
        while loop.time() < end:
            assert await peer.ask("Echo") == Reply()
        assert await peer.rest() == []

    play(scene, idle_timeout=1.0)


def test_callers_that_wait_for_an_answer_or_for_news_are_not_idle(play: Play) -> None:
    async def scene(world: World) -> None:
        waiting, listening = await world.connect(), await world.connect()
        listening.send(Request("test.Endless", more=True))
        assert await listening.reply() == Reply(continues=True)
        waiting.send(WAIT)
        for _ in range(3):
            assert await (await world.connect()).rest() == []  # a deadline that began later is over
        world.house.door.set()
        assert [await waiting.reply(), await listening.reply()] == [Reply({"w": 1}), Reply()]
        assert [await waiting.rest(), await listening.rest()] == [[], []]

    play(scene, idle_timeout=0.5)


def test_the_deadline_of_an_idle_connection_counts_from_its_last_answer(play: Play) -> None:
    async def scene(world: World) -> None:
        peer, loop = await world.connect(), asyncio.get_running_loop()
        peer.send(WAIT)
        await world.house.entered.wait()
        assert await (await world.connect()).rest() == []
        world.house.door.set()
        answered_at = loop.time()
        assert await peer.rest() == [Reply({"w": 1})]
        assert loop.time() - answered_at >= 0.3

    play(scene, idle_timeout=0.3)


def test_a_caller_that_never_reads_its_answer_makes_room_at_the_deadline(play: Play) -> None:
    async def scene(world: World) -> None:
        with await raw_connection(world.path) as sock:
            ask = Request("test.Grow", {"size": 2_000_000}).to_bytes()
            await asyncio.get_running_loop().sock_sendall(sock, ask)
            for _ in range(10_000):
                other = await world.connect()
                other.send(echo(1))
                if await other.try_reply() is not None:
                    return
                other.writer.close()
        pytest.fail("its connection still counts")

    play(scene, idle_timeout=0.05, max_connections_per_uid=1)


def test_a_request_that_comes_at_the_moment_of_the_deadline_is_answered(play: Play) -> None:
    """Whoever may not repeat a request would not know what became of it."""

    async def scene(world: World) -> None:
        loop = asyncio.get_running_loop()
        with await raw_connection(world.path) as sock:
            await loop.sock_sendall(sock, echo(1).to_bytes())
            assert await loop.sock_recv(sock, 100) == Reply({"n": 1}).to_bytes()
            # Both timers are due when the loop looks again: the request comes first, the deadline right behind it.
            loop.call_later(0.01, sock.send, echo(2).to_bytes())
            end = loop.time() + 0.5
            while loop.time() < end:
                pass
            assert await loop.sock_recv(sock, 100) == Reply({"n": 2}).to_bytes()
            assert await loop.sock_recv(sock, 100) == b""

    play(scene, idle_timeout=0.4)


# The client, whose connection the server may have closed since the last request


@asynccontextmanager
async def jobs_served(path: Path, cancelled: list[int], **limits: Any) -> AsyncIterator[Server]:
    """A server that notes what is to be cancelled."""

    async def cancel(parameters: JsonObject, caller: Caller) -> JsonObject:
        cancelled.extend(parameters["ids"])
        return {"ids": parameters["ids"]}

    server = Server(
        Methods({"org.bgjobd.Jobs.Cancel": cancel}, {}), Socket(**limits), on_bug=lambda name, error: None
    )
    await server.listen(path, 0o600, None)
    try:
        yield server
    finally:
        server.stop_listening()
        await server.finish()


def test_a_cancel_after_the_server_closed_the_idle_connection_is_done_once(tmp_path: Path) -> None:
    cancelled: list[int] = []

    async def scene() -> None:
        path = tmp_path / "socket"
        async with asyncio.timeout(PATIENCE), jobs_served(path, cancelled, idle_timeout=0.5):
            with Client(str(path)) as client:
                await asyncio.to_thread(client.cancel, 1)
                with await raw_connection(path) as witness:
                    # Its deadline began later, so that of the client's connection is over too.
                    assert await asyncio.get_running_loop().sock_recv(witness, 1) == b""
                await asyncio.to_thread(client.cancel, 2)

    asyncio.run(scene())
    assert cancelled == [1, 2]


def test_a_cancel_after_the_server_was_replaced_reaches_the_new_one(tmp_path: Path) -> None:
    first: list[int] = []
    second: list[int] = []

    async def scene() -> None:
        path = tmp_path / "socket"
        with Client(str(path)) as client:
            async with asyncio.timeout(PATIENCE):
                async with jobs_served(path, first):
                    await asyncio.to_thread(client.cancel, 1)
                async with jobs_served(path, second):
                    await asyncio.to_thread(client.cancel, 2)

    asyncio.run(scene())
    assert (first, second) == ([1], [2])


def test_a_cancel_that_was_sent_and_not_answered_is_not_repeated(tmp_path: Path) -> None:
    path, received = tmp_path / "socket", list[bytes]()

    def serve_once_then_take_and_hang_up(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            received.append(peer.recv(65536))
            peer.sendall(Reply().to_bytes())
            received.append(peer.recv(65536))

    with socket.socket(socket.AF_UNIX) as listener, Client(str(path)) as client:
        listener.bind(str(path))
        listener.listen()
        server = threading.Thread(target=serve_once_then_take_and_hang_up, args=[listener])
        server.start()
        client.cancel(1)
        with pytest.raises(DaemonUnavailableError, match="broke"):
            client.cancel(2)
        server.join()
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert [json.loads(frame[:-1])["parameters"] for frame in received] == [{"ids": [1]}, {"ids": [2]}]


def test_a_missing_daemon_is_one_error_without_a_chain_of_others(tmp_path: Path) -> None:
    with pytest.raises(DaemonUnavailableError, match="no daemon answers") as caught:
        Client(str(tmp_path / "nobody")).stats()
    told = "".join(traceback.format_exception(caught.value))
    assert told.count("Traceback") == 1


# Socket


@pytest.mark.parametrize(
    ("limits", "setting"),
    [
        pytest.param({"max_connections": 3, "max_connections_per_uid": 100}, "max_connections", id="in all"),
        pytest.param(
            {"max_connections": 100, "max_connections_per_uid": 3}, "max_connections_per_uid", id="per uid"
        ),
    ],
)
def test_connections_beyond_the_limit_are_told_so_and_closed_at_once(
    play: Play, limits: dict[str, int], setting: str
) -> None:
    no_place = Reply({"limit": 3, "setting": setting}, error=TooManyConnectionsError.error_name)

    async def scene(world: World) -> None:
        peers = [await world.connect() for _ in range(3)]
        for peer in peers:
            assert await peer.ask("Echo") == Reply()
        for _ in range(5):
            assert await (await world.connect()).rest() == [no_place]
        for peer in peers:
            assert await peer.ask("Echo") == Reply()
        # Whoever leaves makes room for one, and being refused took none.
        await peers.pop().leave()
        peers.append(await world.connect())
        assert await peers[-1].ask("Echo") == Reply()
        assert await (await world.connect()).rest() == [no_place]

    play(scene, **limits)


def test_nothing_is_kept_of_connections_that_were_turned_away(play: Play) -> None:
    """Whoever is turned away may come again as often as he likes."""

    async def scene(world: World) -> None:
        staying = await world.connect()
        assert await staying.ask("Echo") == Reply()
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                assert len(await (await world.connect()).rest()) == 1
            await staying.ask("Echo")
            assert sum(isinstance(one, Connection) for one in gc.get_objects()) == 1
        finally:
            gc.enable()

    play(scene, max_connections=1)


@pytest.mark.parametrize(
    "asked", [(DONE,), (Request("test.Endless", more=True), DONE)], ids=["alone", "behind a stream"]
)
def test_whoever_has_left_keeps_his_place_until_what_goes_on_without_him_is_over(
    play: Play, asked: tuple[Request, ...]
) -> None:
    async def scene(world: World) -> None:
        await world.leave_amid(*asked)
        assert len(world.server.admission.admitted) == 1
        world.house.door.set()
        await world.house.carried_out.wait()
        await world.settle()
        assert not world.server.admission.admitted

    play(scene)


def test_whoever_has_left_keeps_no_place_for_what_only_waits(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.leave_amid(*[Request("test.Wait", oneway=True)] * 3)
        assert not world.server.admission.admitted

    play(scene)


def test_a_stop_waits_for_what_goes_on_without_its_caller(play: Play) -> None:
    async def scene(world: World) -> None:
        await world.leave_amid(DONE)
        stop = asyncio.ensure_future(world.server.finish())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stop.done()
        world.house.door.set()
        await stop
        assert world.house.calls[-1] == "Done"

    play(scene)


def test_many_replies_to_a_caller_who_has_just_left_are_no_news(
    play: Play, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(world: World) -> None:
        with await raw_connection(world.path) as caller:
            await asyncio.get_running_loop().sock_sendall(caller, WAIT.to_bytes() * 16)
            await world.settle()
            assert world.house.calls.count("Wait") == 16
        world.house.door.set()  # before it is heard that nobody is there
        await world.settle()

    play(scene)
    assert caplog.messages == []


def test_a_caller_that_does_not_read_is_cut_off_and_others_are_served(play: Play) -> None:
    async def scene(world: World) -> None:
        slow = await raw_connection(world.path)
        ask = Request("test.Grow", {"size": 100_000}).to_bytes()
        with slow, pytest.raises((BrokenPipeError, ConnectionResetError)):
            await send_for_ever(slow, ask)
        peer = await world.connect()
        assert await peer.ask("Echo") == Reply()

    play(scene, max_unread=200_000)


def test_what_is_taken_of_a_caller_in_the_moment_it_is_cut_off_takes_up_nothing(play: Play) -> None:
    """Nobody begins to work on it any more; that the room is given back is seen at the end of each play."""

    async def scene(world: World) -> None:
        slow = await raw_connection(world.path)
        with slow:
            ask = Request("test.Grow", {"size": 2_000_000, "padding": "x" * 600}).to_bytes()
            await asyncio.get_running_loop().sock_sendall(slow, ask * 4)
            await world.settle()
            assert world.server.admission.admitted == set()

    play(scene, max_unread=200_000, max_pipelined=1)


async def send_for_ever(sock: socket.socket, request: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(sock, request)


def test_a_caller_that_reads_may_get_more_than_the_limit_in_all(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        for _ in range(5):
            assert len((await peer.ask("Grow", size=1_000_000)).parameters["text"]) == 1_000_000

    play(scene, max_unread=2_000_000)


def open_descriptors() -> dict[str, str]:
    """What each descriptor of this process is: a failure says which one is left."""
    gc.collect()  # what earlier tests left to the collector is not counted
    targets = {}
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            targets[number] = os.readlink(f"/proc/self/fd/{number}")
    return targets


# Who calls


def test_the_caller_is_whom_the_kernel_says(play: Play) -> None:
    async def scene(world: World) -> None:
        peer = await world.connect()
        assert await peer.ask("Who", pid=1, uid=0) == Reply(
            {
                "pid": os.getpid(),
                "uid": os.getuid(),
                "gid": os.getgid(),
                "groups": sorted(set(os.getgroups())),
                "job": None,
                "is_unmapped": False,
            }
        )

    play(scene)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give itself groups")
@pytest.mark.parametrize("groups", [[], [4_000_000_000], range(1000, 1256), range(1000, 1257), range(9000)])
def test_the_groups_of_the_caller_are_those_that_the_kernel_says(play: Play, groups: Sequence[int]) -> None:
    async def scene(world: World) -> None:
        own = os.getgroups()
        os.setgroups(groups)
        try:
            sock = await raw_connection(world.path)
        finally:
            os.setgroups(own)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        assert (await Peer(reader, writer).ask("Who")).parameters["groups"] == list(groups)
        writer.close()

    play(scene)


@pytest.mark.parametrize("name", [";uid=0;", "pid=1;uid=4242;", "a;uid=0;gid=0;socket=x;"])
def test_a_socket_with_a_telling_name_changes_nothing(play: Play, name: str) -> None:
    async def scene(world: World) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(world.path.parent / name))
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, str(world.path))
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        answer = (await Peer(reader, writer).ask("Who")).parameters
        assert (answer["pid"], answer["uid"], answer["gid"]) == (os.getpid(), os.getuid(), os.getgid())
        writer.close()

    play(scene)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can call as somebody else")
@pytest.mark.parametrize("uid", [65534, 2**31 - 1, 2**31, 4_000_000_000])
def test_another_user_is_told_apart_and_has_room_of_their_own(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o711)

    async def scene(world: World) -> None:
        world.path.chmod(0o666)
        mine = await world.connect()
        assert (await mine.ask("Who")).parameters["uid"] == 0
        (refused,) = await (await world.connect()).rest()
        assert refused.parameters == {"limit": 1, "setting": "max_connections_per_uid"}
        sock = socket.socket(socket.AF_UNIX)
        with acting_as(uid):
            sock.connect(world.path.name)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        assert (await Peer(reader, writer).ask("Who")).parameters["uid"] == uid
        writer.close()

    play(scene, max_connections_per_uid=1)


@contextlib.contextmanager
def acting_as(uid: int) -> Any:
    try:
        os.seteuid(uid)
    except OSError as error:
        pytest.skip(f"this user namespace does not know uid {uid}: {error}")
    try:
        yield
    finally:
        os.seteuid(0)


# The path


async def mode_while_listening(path: Path, mode: int, gid: int | None = None) -> int:
    """What stands at the path while a server listens there."""
    server = Server(Methods({}, {}), Socket(), on_bug=lambda method, error: None)
    await server.listen(path, mode, gid)
    try:
        return os.stat(path).st_mode
    finally:
        server.stop_listening()


@pytest.fixture
def umask() -> Any:
    """The widest umask, which a test may find changed by the code; the tests' own comes back."""
    old = os.umask(0)
    yield
    os.umask(old)


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o660, 0o600, 0o666])
def test_the_socket_has_its_mode_and_at_no_moment_a_wider_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    seen = []

    chmod_really, chown_really = os.chmod, os.chown

    def chmod(path: str, mode: int) -> None:
        seen.append(stat.S_IMODE(os.stat(path).st_mode))
        chmod_really(path, mode)

    def chown(path: str, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(os.stat(path).st_mode))
        chown_really(path, uid, gid)

    monkeypatch.setattr(os, "chmod", chmod)
    monkeypatch.setattr(os, "chown", chown)
    found = asyncio.run(mode_while_listening(tmp_path / "socket", mode, os.getgid()))
    assert stat.S_ISSOCK(found)
    assert stat.S_IMODE(found) == mode
    assert seen == [0o600, 0o600]
    assert os.umask(0) == 0


@pytest.mark.usefixtures("umask")
def test_a_socket_that_cannot_be_bound_leaves_the_umask_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long"):
        asyncio.run(mode_while_listening(tmp_path / ("long" * 50), 0o660))
    assert os.umask(0) == 0


def test_an_old_socket_at_the_path_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(path))

    async def scene() -> None:
        async with asyncio.timeout(PATIENCE), world(path, Socket()) as given:
            assert await (await given.connect()).ask("Echo") == Reply()

    asyncio.run(scene())


def test_a_path_where_somebody_answers_is_refused(tmp_path: Path) -> None:
    async def scene() -> None:
        first, second = [
            Server(Methods({}, {}), Socket(), on_bug=lambda method, error: None) for _ in range(2)
        ]
        await first.listen(tmp_path / "socket", 0o660, None)
        with pytest.raises(SocketInUseError):
            await second.listen(tmp_path / "socket", 0o660, None)
        first.stop_listening()

    asyncio.run(scene())


def test_something_else_at_the_path_is_kept_and_refused(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    path.write_text("precious")
    with pytest.raises(FileExistsError):
        asyncio.run(mode_while_listening(path, 0o660))
    assert path.read_text() == "precious"


def test_a_server_that_stops_takes_its_socket_with_it_and_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "socket"

    async def scene(is_replaced: bool) -> None:
        first, second = [
            Server(Methods({}, {}), Socket(), on_bug=lambda method, error: None) for _ in range(2)
        ]
        await first.listen(path, 0o660, None)
        if is_replaced:
            path.unlink()
            await second.listen(path, 0o660, None)
        first.stop_listening()
        assert path.exists() is is_replaced
        second.stop_listening()
        assert not path.exists()

    asyncio.run(scene(is_replaced=False))
    asyncio.run(scene(is_replaced=True))
