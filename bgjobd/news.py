"""Tells those who follow what was committed, in order; whoever falls too far behind is cut off."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Final, Generic, Protocol, TypeVar

from bgjob.codec import JsonObject
from bgjobd.core.job import Job
from bgjobd.ipc import TooSlowError
from bgjobd.store.items import Committed, LogLine
from bgjobd.store.pages import summary_of

_MOST_WAITING: Final = 16 * 1024 * 1024
"""How far a follower may be behind before it is given more, in bytes; one commit is taken whole, however large."""

_SIZE: Final = 1024
"""What a summary or an entry takes beside its longest texts."""


class Told:
    """One commit as followers are told of it; what several of them ask for is made once."""

    def __init__(self, committed: Committed) -> None:
        self.changed = committed.changed
        self.lines = committed.lines
        self._summaries: dict[int, JsonObject] = {}

    @cached_property
    def jobs(self) -> frozenset[int]:
        """The ids of the jobs that something is told of."""
        return frozenset([job.id for job in self.changed]) | frozenset([line.job_id for line in self.lines])

    def summaries(self, is_wanted: Callable[[Job], bool]) -> list[JsonObject]:
        """The changed jobs that are wanted, after each of their changes."""
        return [self._summary(place) for place, job in enumerate(self.changed) if is_wanted(job)]

    def _summary(self, place: int) -> JsonObject:
        if place not in self._summaries:
            self._summaries[place] = summary_of(self.changed[place])
        return self._summaries[place]


class Part(Protocol):
    """What a follower has picked of a commit."""

    def size(self) -> int:
        """About how many bytes it takes."""


class Changes(list[JsonObject]):
    """Jobs after their changes, as summaries."""

    def size(self) -> int:
        return sum([_SIZE + len(summary["error"] or "") for summary in self])


class Lines(list[LogLine]):
    """Log entries, and whether these are the last of the job that was asked for."""

    is_over = False

    def size(self) -> int:
        return sum([_SIZE + len(line.message) + len(line.context or "") for line in self])


P = TypeVar("P", bound=Part)


class Follower(Generic[P]):
    """One who follows: takes what it has picked of the commits, one after the other."""

    def __init__(self, pick: Callable[[Told], P | None]) -> None:
        self._pick = pick
        self._waiting: deque[P] = deque()
        self._size = 0
        self._has_news = asyncio.Event()
        self._is_dropped = False

    def put(self, told: Told) -> None:
        part = None if self._is_dropped else self._pick(told)
        if part is None:
            return
        if self._size > _MOST_WAITING:
            self._is_dropped = True
            self._waiting.clear()
        else:
            self._waiting.append(part)
            self._size += part.size()
        self._has_news.set()

    async def next(self) -> P:
        """What is picked of the next commit that has any. Raises TooSlowError."""
        while not self._waiting:
            if self._is_dropped:
                raise TooSlowError
            self._has_news.clear()
            await self._has_news.wait()
        part = self._waiting.popleft()
        self._size -= part.size()
        return part


class News:
    """The followers of one daemon."""

    def __init__(self) -> None:
        self._followers: set[Follower[Changes] | Follower[Lines]] = set()
        self._events: dict[int, set[asyncio.Event]] = {}

    @contextmanager
    def changes(self, pick: Callable[[Told], Changes | None]) -> Iterator[Follower[Changes]]:
        """Follow from now on how jobs change; None is picked where nothing is wanted."""
        follower = Follower(pick)
        with self._following(follower):
            yield follower

    @contextmanager
    def lines(self, pick: Callable[[Told], Lines | None]) -> Iterator[Follower[Lines]]:
        """Follow from now on what is logged; None is picked where nothing is wanted."""
        follower = Follower(pick)
        with self._following(follower):
            yield follower

    @contextmanager
    def _following(self, follower: Follower[Changes] | Follower[Lines]) -> Iterator[None]:
        self._followers.add(follower)
        try:
            yield
        finally:
            self._followers.discard(follower)

    @contextmanager
    def mark(self, job_id: int, event: asyncio.Event) -> Iterator[None]:
        """Meanwhile the event is set whenever the job changes."""
        self._events.setdefault(job_id, set()).add(event)
        try:
            yield
        finally:
            self._events[job_id].discard(event)
            if not self._events[job_id]:
                del self._events[job_id]

    def publish(self, committed: Committed) -> None:
        """Tell everybody."""
        told = Told(committed)
        for follower in self._followers:
            follower.put(told)
        if self._events:
            for event in [event for job in committed.changed for event in self._events.get(job.id, ())]:
                event.set()
