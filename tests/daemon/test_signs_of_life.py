"""Signs of life are asked for by two who do not know of each other, and a refusal is one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bgjob.errors import StorageUnavailableError
from bgjobd.daemon.signs_of_life import SignsOfLife
from bgjobd.forkserver import wire
from bgjobd.supervisor.fork_server_link import ForkServer


class Outbox:
    """A writer that lives, and can write nothing."""

    def __init__(self, on_delivery: Any) -> None:
        self._on_delivery = on_delivery

    def send(self, item: Any, ticket: asyncio.Future[Any]) -> None:
        ticket.set_exception(StorageUnavailableError(reason="the disk is full"))
        asyncio.get_running_loop().call_soon(self._on_delivery)


class Transport:
    """Answers each ping, later."""

    def __init__(self) -> None:
        self.server: Any = None

    def write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self.server.data_received, wire.encode({"type": "pong"}))


def test_two_who_ask_at_once_both_come_back_though_the_writer_refuses() -> None:
    async def ask() -> None:
        unseen: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
        server = pinged()
        signs = SignsOfLife(cast(Any, None), cast(Any, Outbox(lambda: signs.note_delivery())), lambda: server)
        async with asyncio.timeout(20):
            await asyncio.gather(signs.hear_from_all(), signs.hear_from_all())
        assert unseen == []

    asyncio.run(ask())


def pinged() -> ForkServer:
    """One of which nothing but the link is there."""
    transport = Transport()
    unused: Any = None
    server = ForkServer(unused, unused, unused, set(), cast(Any, SimpleNamespace(mark="")), Path(), False)
    server.data_received(wire.encode({"type": "ready"}))
    transport.server, server._transport = server, cast(Any, transport)
    return server
