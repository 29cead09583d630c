"""Who may have a request read: bytes of all, and of a user; everybody who waits gets there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from bgjobd.api import admission
from bgjobd.api.admission import TINY, Rounds, Turns
from bgjobd.host import pacing
from bgjobd.host.pacing import Alternation, AtMostOnce, paced
from bgjobd.store.questions import Questions, asker

ALICE, BOB, CAROL, DAVE, EVE, FRED = range(1000, 1006)


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


@pytest.mark.parametrize("leaves", [False, True])
def test_who_comes_later_does_not_get_in_before_one_for_whom_there_is_no_room_yet(leaves: bool) -> None:
    async def scene() -> None:
        turns, order = Turns(400), list[int]()

        async def wait(uid: int, size: int) -> None:
            await turns.take(uid, size)
            order.append(uid)

        assert all(turns.try_take(uid, 90) for uid in (ALICE, BOB, CAROL, DAVE))
        first = asyncio.ensure_future(wait(EVE, 100))
        await asyncio.sleep(0)
        assert not turns.try_take(FRED, 30)
        later = asyncio.ensure_future(wait(FRED, 30))
        await asyncio.sleep(0)
        assert order == []
        first.cancel() if leaves else turns.give_back(ALICE, 90)
        await later
        assert order == [FRED] if leaves else [EVE, FRED]

    play(scene)


def test_a_user_who_is_gone_is_forgotten_unless_something_of_his_goes_on() -> None:
    turns = Turns(400)
    known = turns.of(ALICE)
    assert turns.try_take(ALICE, 100)
    turns.forget(ALICE)
    assert not turns.try_take(ALICE, 100)
    turns.give_back(ALICE, 100)
    turns.forget(ALICE)
    turns.forget(BOB)
    assert turns.of(ALICE) is not known


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


def test_long_work_lets_others_have_two_turns_whenever_it_has_gone_on_for_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has come is read in the first, and begun with in the second."""
    now, order = 0.0, list[str]()
    monkeypatch.setattr(pacing, "time", SimpleNamespace(monotonic=lambda: now))

    def work() -> Generator[None, None, str]:
        nonlocal now
        for _ in range(6):
            order.append("work")
            now += 0.4 * pacing._AT_ONCE
            yield
        return "done"

    async def others() -> None:
        while True:
            order.append("others")
            await asyncio.sleep(0)

    async def scene() -> None:
        waiting = asyncio.ensure_future(others())
        assert await paced(work()) == "done"
        waiting.cancel()

    play(scene)
    assert order == [*["work"] * 3, *["others"] * 2] * 2


def test_of_those_who_all_have_something_to_do_one_goes_on_in_a_turn_of_the_loop() -> None:
    async def scene() -> None:
        turns, loop = Alternation(), asyncio.get_running_loop()
        done: list[str] = []
        turn = 0

        def on_turn() -> None:
            nonlocal turn
            turn += 1
            loop.call_soon(on_turn)

        async def work(name: str) -> None:
            for _ in range(3):
                await turns.next()
                done.append(f"{turn} {name}")

        loop.call_soon(on_turn)
        given_up = [asyncio.ensure_future(work("given up")) for _ in range(2)]
        others = [asyncio.ensure_future(work(name)) for name in "abcd"]
        await asyncio.sleep(0)
        for one in given_up:
            one.cancel()
        await asyncio.gather(*others)
        assert len({each.split()[0] for each in done}) == 12  # no two in one turn
        assert [each[-1] for each in done] == list("abcd" * 3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await turns.next()  # as at first

    play(scene)


def test_who_asks_one_question_waits_for_few_of_another_users_however_many_those_are() -> None:
    async def scene() -> None:
        questions, order = Questions(ThreadPoolExecutor(1)), list[str]()
        troubles: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: troubles.append(context))
        asker.set(ALICE)
        questions.ask(order.append, "alice has left meanwhile").cancel()
        many = [questions.ask(order.append, f"{number} of alice") for number in range(50)]
        asker.set(BOB)
        one = questions.ask(order.append, "bob")
        left = questions.ask(order.append, "bob has left")
        left.cancel()
        await one
        asker.set(None)
        count = len(order)
        own = questions.ask(order.append, "the daemon")
        await asyncio.gather(*many, own)
        assert [name for name in order if "of alice" in name] == [
            f"{number} of alice" for number in range(50)
        ]
        assert order.index("bob") <= 3
        assert order.index("the daemon") <= count + 4
        assert "bob has left" not in order
        questions.close()
        assert troubles == []

    play(scene)


class Stopping(ThreadPoolExecutor):
    """Tells what it does that it is to stop, once it does nothing else any more."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.stops = threading.Event()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=cancel_futures)
        self.stops.set()
        super().shutdown(wait)


def test_at_the_end_what_was_asked_is_answered_or_given_up() -> None:
    async def scene() -> None:
        questions = Questions(ThreadPoolExecutor(1))
        failing = questions.ask(int, "none")
        rest = [questions.ask(int, str(number)) for number in range(5)]
        questions.close()
        assert await asyncio.gather(*rest) == list(range(5))
        with pytest.raises(ValueError, match="none"):
            await failing
        executor = Stopping(1)
        given_up = Questions(executor)
        running = given_up.ask(executor.stops.wait)
        waiting = [given_up.ask(int, "7") for _ in range(5)]
        given_up.close(cancel=True)
        assert await running
        await asyncio.wait(waiting)
        assert all(one.cancelled() for one in waiting[1:])  # the first was on the way

    play(scene)


class Game:
    """Rounds, in a time of their own, and who has had something taken, in order."""

    def __init__(self) -> None:
        self.now = 0.0
        self.took: list[str] = []
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]  # nobody waits for it
        self.rounds = Rounds()

    def player(self, name: str, uid: int, *sizes: int) -> Player:
        return Player(self, name, uid, list(sizes))

    async def next_round(self) -> list[str]:
        """Whose requests are taken in it."""
        self.took.clear()
        await asyncio.sleep(0)
        assert self.took == []  # what was taken is answered before the next
        await asyncio.sleep(0)
        return self.took.copy()


class Player:
    """A connection with requests of these sizes; each takes as long as one says to take."""

    def __init__(self, game: Game, name: str, uid: int, sizes: list[int]) -> None:
        self._game, self._name, self.uid, self.sizes, self.takes = game, name, uid, sizes, 0.0
        self.told = 0

    @property
    def size_of_next(self) -> int:
        return self.sizes[0] if self.sizes else 0

    def go_on(self) -> None:
        self.told += 1
        while self.sizes and self._game.rounds.try_take(self, self.sizes[0]):
            self.sizes.pop(0)
            self._game.took.append(self._name)
            self._game.now += self.takes


def test_a_connection_takes_its_share_of_a_round_and_goes_on_in_the_next() -> None:
    async def scene() -> None:
        game = Game()
        one, other = game.player("one", ALICE, *[4096] * 6), game.player("other", ALICE, 4096)
        one.go_on()
        other.go_on()
        assert game.took == ["one"] * 4 + ["other"]
        assert await game.next_round() == ["one"] * 2
        assert await game.next_round() == []
        other.sizes.append(1)
        other.go_on()
        assert await game.next_round() == []
        assert (one.told, other.told) == (2, 2)

    play(scene)


def test_a_round_is_over_once_much_has_been_taken_or_it_has_taken_long_but_for_who_asks_for_little() -> None:
    async def scene() -> None:
        game = Game()
        many = [game.player(str(number), ALICE, *[4096] * 4) for number in range(17)]
        for one in many:
            one.go_on()
        assert sum(map(len, (one.sizes for one in many))) == 4  # 256 KiB are 16 times 16
        small, late = game.player("small", ALICE, TINY, 1), game.player("late", ALICE, TINY + 1)
        small.go_on()
        late.go_on()
        assert game.took[-1] == "small"
        assert set(await game.next_round()) == {"16", "small", "late"}
        slow, other = game.player("slow", BOB, 4096, 4096), game.player("other", ALICE, 4096)
        slow.takes = admission._LONGEST_ROUND
        await game.next_round()
        slow.go_on()
        other.go_on()
        assert (slow.sizes, other.sizes) == ([4096], [4096])
        assert await game.next_round() == ["other", "slow"]

    play(scene)


def test_in_the_next_round_the_user_comes_first_who_has_had_least_then_the_connection_and_who_asks_for_less() -> (
    None
):
    async def scene() -> None:
        game = Game()
        greedy = game.player("greedy", ALICE, *[4096] * 5)
        another, yet_another = game.player("another", ALICE, 4096), game.player("yet another", ALICE, 2000)
        bob = game.player("bob", BOB, 4000)
        greedy.go_on()
        game.now += admission._LONGEST_ROUND
        for late in (another, bob, yet_another):
            late.go_on()
        assert await game.next_round() == ["bob", "yet another", "another", "greedy"]

    play(scene)


def test_who_does_not_get_into_the_next_round_comes_in_a_later_one() -> None:
    async def scene() -> None:
        game = Game()
        first, *players = game.player("a", ALICE, 1000), *[game.player(name, BOB, 100, 100) for name in "bcd"]
        for one in (first, *players):
            one.takes = admission._LONGEST_ROUND
            one.go_on()
        assert game.took == ["a", "b", "c", "d"]
        assert [await game.next_round() for _ in range(4)] == [["b"], ["c"], ["d"], []]

    play(scene)


def test_what_is_asked_for_again_and_again_is_done_at_once_and_once_more_after_a_while() -> None:
    done: list[int] = []

    async def ask() -> None:
        again = asyncio.Event()

        def act() -> None:
            done.append(len(asked))
            if len(done) > 1:
                again.set()

        wish = AtMostOnce(1.0, act)
        asked: list[None] = []
        for _ in range(100):
            wish()
            asked.append(None)
            await asyncio.sleep(0)
        await again.wait()

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert done[0] < 3
    assert done[1:] == [100]
