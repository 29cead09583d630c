"""Long work on the loop, cut into pieces, between which others have their turn; and what is not done too often."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from typing import Final, TypeVar

T = TypeVar("T")

_AT_ONCE: Final = 0.00025
"""Seconds of work after which others have their turn."""


async def let_others() -> None:
    """Let others have their turn: what has come is read in the first, and begun with in the second."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


class Pace:
    """The pace of one long piece of work."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether this has gone on for long enough: then it is to `rest`."""
        return time.monotonic() - self._since >= _AT_ONCE

    async def rest(self) -> None:
        """Let others have their turn."""
        await let_others()
        self._since = time.monotonic()


async def paced(work: Generator[None, None, T]) -> T:
    """Do work that is cut into pieces, and let others have their turn between them."""
    pace = Pace()
    while True:
        try:
            next(work)
        except StopIteration as end:
            done: T = end.value
            return done
        if pace.is_over:
            await pace.rest()


async def last_of(found: Iterable[T | None]) -> T | None:
    """The last value, others having their turn before each."""
    pace, last = Pace(), None
    for one in found:
        last = one
        if pace.is_over:
            await pace.rest()
    return last


class AtMostOnce:
    """What is called at once, and not again within so many seconds: who asks meanwhile has it called after them."""

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._seconds, self._act = seconds, act
        self._loop = asyncio.get_running_loop()
        self._earliest = 0.0
        self._is_waiting = False

    def __call__(self) -> None:
        if self._is_waiting:
            return
        self._is_waiting = True
        self._loop.call_at(max(self._earliest, self._loop.time()), self._run)

    def _run(self) -> None:
        self._is_waiting = False
        self._earliest = self._loop.time() + self._seconds
        self._act()


class Alternation:
    """Has those who all have something to do go on one after the other, one in a turn of the loop."""

    def __init__(self) -> None:
        self._line: deque[asyncio.Future[None]] = deque()
        self._is_taken = False

    async def next(self) -> None:
        """Go on when it is one's turn."""
        loop = asyncio.get_running_loop()
        if not self._is_taken:
            self._is_taken = True
            loop.call_soon(self._on_next_turn)
            await asyncio.sleep(0)
            return
        turn = loop.create_future()
        self._line.append(turn)
        await turn

    def _on_next_turn(self) -> None:
        while self._line:
            turn = self._line.popleft()
            if not turn.done():
                turn.set_result(None)
                asyncio.get_running_loop().call_soon(self._on_next_turn)
                return
        self._is_taken = False
