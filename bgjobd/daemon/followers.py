"""Tells those who follow what was committed, in order; whoever falls too far behind is cut off."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

from bgjob.codec import JsonObject
from bgjobd.core.job import Job
from bgjobd.host.pacing import Alternation, Pace
from bgjobd.store.committed import Committed, LogLine, StoredBulk, StoredValue
from bgjobd.store.news import News
from bgjobd.store.pages.summaries import summary_of
from bgjobd.store.under_way import StepsUnderWay

_MOST_WAITING: Final = 16 * 1024 * 1024
"""How far a follower may be behind before it is given more, in bytes; one commit is taken whole, however large."""

_SIZE: Final = 1024
"""What a summary or an entry takes beside its longest texts."""

_AT_ONCE: Final = 100
"""Jobs or entries of a commit that a follower is told of at once."""

_FEW: Final = 16
"""So many followers are told at once."""


_NONE: Final[Mapping[int, JsonObject]] = MappingProxyType({})


class TooFarBehindError(Exception):
    """A follower takes what it follows too slowly to ever get all of it, and is told no more."""


class Commit:
    """A commit, or a part of one, as followers are told of it; what several of them ask for is made once.

    `steps` tells in which step a job is as that is told; of those in `summaries` these are told.
    """

    def __init__(
        self,
        changed: Sequence[Job] = (),
        lines: Sequence[LogLine] = (),
        is_first: bool = True,
        values: Sequence[StoredValue] = (),
        steps: StepsUnderWay | None = None,
        summaries: Mapping[int, JsonObject] = _NONE,
    ) -> None:
        self.changed = changed
        self.lines = lines
        self.is_first = is_first
        self.values = values
        self._steps = steps or StepsUnderWay()
        self._read = summaries
        self._summaries: dict[int, JsonObject] = {}
        self._values: dict[int, Values] = {}

    @cached_property
    def jobs(self) -> frozenset[int]:
        """The ids of the jobs that something is told of."""
        return frozenset([job.id for job in self.changed]) | frozenset([line.job_id for line in self.lines])

    def summaries(self, is_wanted: Callable[[Job], bool]) -> list[JsonObject]:
        """The changed jobs that are wanted, after each of their changes."""
        return [self._summary(place) for place, job in enumerate(self.changed) if is_wanted(job)]

    def values_of(self, job_id: int) -> Values:
        """What the job has emitted, and whether it has ended."""
        if job_id not in self._values:
            found = self._values[job_id] = Values([value for value in self.values if value.job_id == job_id])
            found.is_over = any(job.id == job_id and job.status.is_final for job in self.changed)
        return self._values[job_id]

    def _summary(self, place: int) -> JsonObject:
        if place not in self._summaries:
            job = self.changed[place]
            self._summaries[place] = self._read.get(job.id) or summary_of(job, self._steps.of(job))
        return self._summaries[place]


_Part = Callable[..., Commit]
"""What makes a part of a commit, once it is to be told."""


class Picked(Protocol):
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


class Values(list[StoredValue]):
    """Values that the job asked for has emitted, and whether these are the last, for it has ended."""

    is_over = False

    @cached_property
    def texts(self) -> list[str]:
        """Each as JSON; made once for all who follow."""
        return [value.to_json() for value in self]

    def size(self) -> int:
        return sum([_SIZE + len(value.value) for value in self])


P = TypeVar("P", bound=Picked)


class Follower(Generic[P]):
    """One who follows: takes what it has picked of the commits, one after the other; `turns` with others."""

    def __init__(self, pick: Callable[[Commit], P | None], turns: Alternation) -> None:
        self._pick = pick
        self._turns = turns
        self._waiting: deque[P] = deque()
        self._size = 0
        self._has_news = asyncio.Event()
        self._is_dropped = False

    def put(self, commit: Commit) -> None:
        if self._is_dropped:
            return
        # Before it is asked what this one is to it: of a commit in parts the first may be nothing.
        if self._size > _MOST_WAITING and commit.is_first:
            self._is_dropped = True
            self._waiting.clear()
            self._has_news.set()
            return
        picked = self._pick(commit)
        if picked is not None:
            self._waiting.append(picked)
            self._size += picked.size()
            self._has_news.set()

    async def next(self) -> P:
        """What is picked next. Raises TooFarBehindError."""
        while not self._waiting:
            if self._is_dropped:
                raise TooFarBehindError
            self._has_news.clear()
            await self._has_news.wait()
            await self._turns.next()
        picked = self._waiting.popleft()
        self._size -= picked.size()
        return picked


AnyFollower = Follower[Changes] | Follower[Lines] | Follower[Values]


class Followers:
    """The followers of one daemon; `steps` are under way, of which job and attempt."""

    def __init__(self, steps: Iterable[tuple[int, int, str]] = ()) -> None:
        self._steps = StepsUnderWay(steps)
        self._followers: set[AnyFollower] = set()
        self._events: dict[int, set[asyncio.Event]] = {}
        self._valued: Counter[int] = Counter()
        self._turns = Alternation()
        self._untold: deque[_Part] = deque()
        self._telling: asyncio.Task[None] | None = None

    @contextmanager
    def changes(self, pick: Callable[[Commit], Changes | None]) -> Iterator[Follower[Changes]]:
        """Follow from now on how jobs change; None is picked where nothing is wanted."""
        follower = Follower(pick, self._turns)
        with self._following(follower):
            yield follower

    @contextmanager
    def lines(self, pick: Callable[[Commit], Lines | None]) -> Iterator[Follower[Lines]]:
        """Follow from now on what is logged; None is picked where nothing is wanted."""
        follower = Follower(pick, self._turns)
        with self._following(follower):
            yield follower

    @contextmanager
    def values(self, job_id: int, pick: Callable[[Commit], Values | None]) -> Iterator[Follower[Values]]:
        """Follow from now on what this job emits; None is picked where nothing is wanted."""
        follower = Follower(pick, self._turns)
        self._valued[job_id] += 1
        try:
            with self._following(follower):
                yield follower
        finally:
            self._valued[job_id] -= 1
            self._valued += Counter()  # without those that nobody follows

    @property
    def is_followed(self) -> bool:
        """Whether anybody is to be told of what is committed."""
        return bool(self._followers or self._events)

    @property
    def valued(self) -> frozenset[int]:
        """The jobs of which somebody follows what they emit."""
        return frozenset(self._valued)

    @contextmanager
    def _following(self, follower: AnyFollower) -> Iterator[None]:
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
        """Tell everybody: at once, or where there is much to tell, in parts, and others have their turn in between."""
        self._steps.take(committed)
        self._put(_parts(committed, self._steps) if self._followers else [], committed.changed)

    def publish_read(self, news: News) -> None:
        """The same of what others have committed, as it was read."""
        self._put(_parts_of_read(news) if self._followers else [], news.jobs)

    def _put(self, parts: Iterable[_Part], changed: Sequence[Job]) -> None:
        self._untold += parts
        if self._telling is None and len(self._untold) * len(self._followers) <= _FEW:
            while self._untold:
                commit = self._untold.popleft()()
                for follower in self._followers:
                    follower.put(commit)
        elif self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._tell())
        if self._events:
            for event in [event for job in changed for event in self._events.get(job.id, ())]:
                event.set()

    async def _tell(self) -> None:
        pace = Pace()
        try:
            while self._untold:
                commit = self._untold.popleft()()
                for follower in list(self._followers):
                    follower.put(commit)
                    if pace.is_over:
                        await pace.rest()
        finally:
            self._telling = None  # else nobody would be told of anything any more


def _parts(committed: Committed, steps: StepsUnderWay) -> list[_Part]:
    """What is to be told, in portions: the changes of jobs come last, which may be their ends."""
    changed, lines, values = committed.changed, committed.lines, committed.values
    parts: list[_Part] = [part for bulk in committed.bulks for part in _parts_of_bulk(bulk)]
    if not parts and len(changed) + len(lines) + len(values) <= _AT_ONCE:
        return [partial(Commit, changed, lines, values=values, steps=steps)]
    parts += [partial(Commit, lines=lines[some.start : some.stop]) for some in _portions(len(lines))]
    parts += [partial(Commit, values=values[some.start : some.stop]) for some in _portions(len(values))]
    portions = [changed[some.start : some.stop] for some in _portions(len(changed))]
    parts += [partial(Commit, portion, steps=steps) for portion in portions]
    return [partial(part, is_first=place == 0) for place, part in enumerate(parts)]


def _parts_of_read(news: News) -> list[_Part]:
    """The same of what was read: how the jobs stand by now."""
    lines, values, jobs = news.lines, news.values, news.jobs
    parts: list[_Part] = [
        partial(Commit, lines=lines[some.start : some.stop]) for some in _portions(len(lines))
    ]
    parts += [partial(Commit, values=values[some.start : some.stop]) for some in _portions(len(values))]
    parts += [
        partial(Commit, jobs[some.start : some.stop], summaries=news.summaries)
        for some in _portions(len(jobs))
    ]
    return [partial(part, is_first=place == 0) for place, part in enumerate(parts)]


def _parts_of_bulk(bulk: StoredBulk) -> list[_Part]:
    """The same of new jobs that are made when it is their turn."""

    def entries(some: range, is_first: bool) -> Commit:
        return Commit(lines=[bulk.line(place) for place in some], is_first=is_first)

    def jobs(some: range, is_first: bool) -> Commit:
        return Commit([bulk.job(place) for place in some], is_first=is_first)

    return [partial(make, some) for make in (entries, jobs) for some in _portions(len(bulk))]


def _portions(count: int) -> list[range]:
    return [range(start, min(start + _AT_ONCE, count)) for start in range(0, count, _AT_ONCE)]
