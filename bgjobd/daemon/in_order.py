"""Tells followers what this daemon and others commit, each log entry once, in the order of ids: what others have
committed is read, and what this one commits meanwhile waits for that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from typing import Any

from bgjob.errors import StorageUnavailableError
from bgjobd.daemon.followers import Followers
from bgjobd.store.committed import Committed
from bgjobd.store.news import News

Ask = Callable[[int, Collection[int], dict[int, int]], Awaitable[News]]
"""Reads what is newer than a log entry, as Reader.news() does."""


class InOrder:
    """`last` is the newest log entry that all who follow know, or need not know."""

    def __init__(
        self, followers: Followers, ask: Ask, in_background: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._followers = followers
        self._ask = ask
        self._in_background = in_background
        self._held: list[Committed] = []
        self._jobs: set[int] = set()
        self._valued: dict[int, int] = {}
        self._is_behind = False
        self._is_reading = False
        self.last = 0

    def publish(self, committed: Committed) -> None:
        """Tell of a commit of this daemon, at once if nothing of another's comes before it."""
        first, _ = _span(committed)
        has_gap = first > self.last + 1 and self._followers.is_followed
        if has_gap or self._held or self._is_reading:
            self._held.append(committed)
            self._read()
        else:
            self._tell(committed)

    def note_others(self, last: int | None, job_ids: Iterable[int]) -> None:
        """Others have committed log entries up to this one, None: nobody knows which; and have changed these jobs."""
        if not (self._followers.is_followed or self._held):
            self.last = max(self.last, last or 0)
            return
        self._jobs.update(job_ids)
        if last is None or last > self.last or self._jobs or self._held:
            self._read()

    def _read(self) -> None:
        self._is_behind = True
        if not self._is_reading:
            self._is_reading = True
            self._in_background(self._catch_up())

    async def _catch_up(self) -> None:
        """Read until nothing is left; where the database is away, what it was about stays for the next time."""
        try:
            while self._is_behind:
                self._is_behind = False
                held, jobs, self._jobs = len(self._held), self._jobs, set()
                try:
                    news = await self._ask(self.last, jobs, self._numbers())
                except StorageUnavailableError:
                    self._jobs |= jobs
                    return
                self._take(news, held)
                if news.has_more:
                    self._jobs |= jobs | {line.job_id for line in news.lines}
                self._is_behind |= news.has_more or bool(self._held)
        finally:
            self._is_reading = False

    def _numbers(self) -> dict[int, int]:
        """The jobs whose values are followed, each with the number of the last that was read."""
        self._valued = {job_id: self._valued.get(job_id, 0) for job_id in self._followers.valued}
        return dict(self._valued)

    def _take(self, news: News, held: int) -> None:
        """Tell what was read. The first so many that were held are part of it, and those whose entries are."""
        known = self.last
        self._followers.publish_read(news._replace(lines=[line for line in news.lines if line.id > known]))
        self._valued |= {value.job_id: value.number for value in news.values if value.job_id in self._valued}
        self.last = max(known, news.last)
        if news.has_more:
            return
        waiting, self._held = self._held, []
        spans = [_span(committed)[1] for committed in waiting]
        part = max([held, *(place for place, last in enumerate(spans, 1) if 0 < last <= news.last)])
        for committed in waiting[:part]:
            self._pass(committed, {job.id for job in news.jobs})
        for place, committed in enumerate(waiting[part:], part):
            if _span(committed)[0] > self.last + 1:
                self._held = waiting[place:]
                return
            self._tell(committed)

    def _tell(self, committed: Committed) -> None:
        _, last = _span(committed)
        if 0 < last <= self.last:
            self._pass(committed, {line.job_id for line in committed.lines})
        else:
            self._followers.publish(committed)
            self.last = max(self.last, last)

    def _pass(self, committed: Committed, told: Collection[int]) -> None:
        """Tell the rest of what was read already: of these jobs more is known than this."""
        changed = tuple([job for job in committed.changed if job.id not in told])
        self._followers.publish(committed._replace(lines=(), bulks=(), changed=changed))


def _span(committed: Committed) -> tuple[int, int]:
    """The ids of the first and the last of its log entries; 0 and 0 where it has none."""
    ids = [line.id for line in (*committed.lines[:1], *committed.lines[-1:])]
    for bulk in committed.bulks:
        ids += [bulk.first_line.id, bulk.first_line.id + len(bulk) - 1]
    return min(ids, default=0), max(ids, default=0)
