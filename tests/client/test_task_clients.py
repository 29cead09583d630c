"""The clients that backends of Django's tasks share, which need no Django: against a scripted daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bgjob import _task_clients
from bgjob.codec import Request
from tests.client.scripted import Line, ScriptedDaemon
from tests.support import eventually


def test_of_loops_that_are_over_none_keeps_its_connection_but_the_latest(tmp_path: Path) -> None:
    """Each call of an async view under WSGI has a loop of its own."""

    def script(line: Line, request: Request) -> None:
        line.reply(sentence="it runs")

    async def view() -> None:
        several = [_task_clients.async_client(daemon).why(1) for _ in range(3)]
        assert await asyncio.gather(*several) == 3 * ["it runs"]

    with ScriptedDaemon(tmp_path / "s.sock", script) as scripted:
        daemon = str(scripted.path), 5.0
        for _ in range(5):
            asyncio.run(view())
        eventually(lambda: [line.number for line in scripted.lines if line.peer.fileno() >= 0] == [5])
