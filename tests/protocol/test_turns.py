"""Who may have a request read: bytes of all, and of a user; everybody who waits gets there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from bgjobd.turns import Turns

ALICE, BOB = 1000, 1001


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(10):
            await scene()

    asyncio.run(whole())


def test_a_user_has_a_quarter_and_others_have_room_then() -> None:
    turns = Turns(400)
    assert turns.try_take(ALICE, 60)
    assert not turns.try_take(ALICE, 60)
    assert turns.try_take(BOB, 100)
    turns.give_back(ALICE, 60)
    assert turns.try_take(ALICE, 100)


def test_one_request_always_finds_room() -> None:
    turns = Turns(400)
    assert turns.try_take(ALICE, 1000)
    assert not turns.try_take(BOB, 1)
    turns.give_back(ALICE, 1000)
    assert turns.try_take(BOB, 1)


def test_who_waits_gets_in_by_turns_and_one_with_his_share_keeps_nobody_out() -> None:
    async def scene() -> None:
        turns, order = Turns(400), list[str]()

        async def wait(name: str, uid: int, size: int) -> None:
            await turns.take(uid, size)
            order.append(name)

        assert turns.try_take(ALICE, 100)
        waiting = [asyncio.ensure_future(wait(f"alice {number}", ALICE, 50)) for number in range(3)]
        waiting.append(asyncio.ensure_future(wait("bob", BOB, 50)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == ["bob"]
        turns.give_back(ALICE, 100)
        await asyncio.sleep(0)
        assert order == ["bob", "alice 0", "alice 1"]
        turns.give_back(ALICE, 50)
        await asyncio.gather(*waiting)
        assert order[-1] == "alice 2"

    play(scene)


@pytest.mark.parametrize("is_let_in_first", [False, True])
def test_one_who_leaves_takes_nothing_along(is_let_in_first: bool) -> None:
    async def scene() -> None:
        turns = Turns(400)
        assert turns.try_take(ALICE, 100)
        waiting = asyncio.ensure_future(turns.take(ALICE, 100))
        await asyncio.sleep(0)
        if is_let_in_first:
            turns.give_back(ALICE, 100)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        if not is_let_in_first:
            turns.give_back(ALICE, 100)
        assert turns.try_take(ALICE, 100)

    play(scene)
