"""Reloads that are asked for at once: never two beside each other, and nobody gets one that began before he asked."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjob.errors import StorageUnavailableError
from bgjobd.daemon import reload as reloading
from bgjobd.daemon.reload import AroundReload, Reload, Reloads
from bgjobd.host.background import Background


class Doors:
    """Reloads that end when they are let: the number of each is what it comes to."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def reload(self) -> int:
        self.begun += 1
        number = self.begun
        self.has_begun.set()
        await self.may_end.wait()
        if number == 3:
            raise ValueError("the third")
        return number


def test_who_asks_during_a_reload_shares_the_next_one() -> None:
    async def ask() -> None:
        doors = Doors()
        reloads = Reloads(doors.reload)
        first = asyncio.create_task(reloads.ask())
        await doors.has_begun.wait()
        others = [asyncio.create_task(reloads.ask()) for _ in range(50)]
        await asyncio.sleep(0)
        others[0].cancel()
        doors.may_end.set()
        assert await first == 1
        assert await asyncio.gather(*others[1:]) == [2] * 49
        with pytest.raises(ValueError, match="the third"):
            await reloads.ask()
        assert await reloads.ask() == 4

    asyncio.run(ask())


def test_a_reload_by_signal_while_the_database_is_away_says_that_it_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reloading, "Enforcement", SimpleNamespace(here=lambda config: None))
    said: list[str] = []

    async def away(question: Any) -> None:
        raise StorageUnavailableError(reason="the server closed the connection")

    async def reload() -> None:
        unused: Any = SimpleNamespace(**dict.fromkeys(("pause", "resume", "suspect", "reopen"), lambda: None))
        reload = Reload(
            AroundReload(
                load_config=lambda: cast(Any, None),
                current_config=unused,
                current_catalogue=unused,
                supervisor=cast(Any, SimpleNamespace(trials=unused, recording=unused)),
                peers=unused,
                readers=cast(Any, SimpleNamespace(read=away)),
                log=unused,
                notifier=cast(
                    Any, SimpleNamespace(reload_begins=lambda: None, reload_ends=lambda status: ended.set())
                ),
                background=Background(lambda type, text: said.append(text)),
                status=lambda: "",
                say=lambda type, text: said.append(text),
            )
        )
        ended = asyncio.Event()
        reload.in_background()
        await ended.wait()
        assert reload.failure is not None

    asyncio.run(reload())
    (line,) = said
    assert line.startswith("the reload failed, the old code and configuration stay: nothing was stored: ")
