"""Reloads that are asked for at once: never two beside each other, and nobody gets one that began before he asked."""

from __future__ import annotations

import asyncio

import pytest

from bgjobd.daemon.reload import Reloads


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
