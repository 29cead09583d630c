"""Tells those who follow what was committed, in order; whoever falls too far behind is cut off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bgjobd.store.items import Committed

_MOST_WAITING: Final = 10_000
"""How many commits a follower may be behind."""


class TooSlowError(Exception):
    """The follower has not taken the news for so long that it was dropped."""


class Follower:
    """One who follows: takes the commits one after the other."""

    def __init__(self) -> None:
        self._waiting: deque[Committed] = deque()
        self._has_news = asyncio.Event()
        self._is_dropped = False

    async def next_or(self, other: asyncio.Event, is_news: Callable[[Committed], bool]) -> None:
        """Wait until a commit comes for which `is_news` holds, or the other event is set. Raises TooSlowError."""
        while not other.is_set():
            while self._waiting:
                if is_news(self._waiting.popleft()):
                    return
            if self._is_dropped:
                raise TooSlowError
            self._has_news.clear()
            waits = [asyncio.ensure_future(event.wait()) for event in (self._has_news, other)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waits:
                    one.cancel()

    def put(self, committed: Committed) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._is_dropped = True
            self._waiting.clear()
        elif not self._is_dropped:
            self._waiting.append(committed)
        self._has_news.set()

    async def next(self) -> Committed:
        """The next commit, once there is one. Raises TooSlowError."""
        while not self._waiting:
            if self._is_dropped:
                raise TooSlowError
            self._has_news.clear()
            await self._has_news.wait()
        return self._waiting.popleft()


class News:
    """The followers of one daemon."""

    def __init__(self) -> None:
        self._followers: set[Follower] = set()

    @contextmanager
    def follow(self) -> Iterator[Follower]:
        """Follow from now on."""
        follower = Follower()
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def publish(self, committed: Committed) -> None:
        """Tell everybody."""
        for follower in self._followers:
            follower.put(committed)
