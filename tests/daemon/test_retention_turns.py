"""Whoever deletes what is old asks first whether it is its turn, where others delete from the same database; no daemon
runs here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from types import SimpleNamespace
from typing import Any, cast

from bgjobd.config import sections
from bgjobd.daemon.retention import AroundRetention, Retention
from bgjobd.store.committed import Trimmed
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import HostTrimming, RetentionDone, RetentionTaken, Trimming

NOW = 1_764_086_400.0
LOGS_ALONE = sections.Retention(completed=False, failed=False, logs=60.0)


class Files:
    """The outputs of one job, which the database may not know."""

    def __init__(self) -> None:
        self.removed: list[tuple[int, int]] = []

    async def all_keys(self) -> AsyncIterator[set[tuple[int, int]]]:
        yield {(1, 1)}

    async def remove(self, keys: Any) -> None:
        self.removed += keys


class Site:
    """A retention that finds an old log entry, with what it hands to the writer; `is_turn` is what that answers."""

    def __init__(self, is_turn: bool, is_shared: bool = True) -> None:
        self.items: list[Item] = []
        self.files, self.is_turn, self.known = Files(), is_turn, {1}
        self._tasks: list[asyncio.Task[None]] = []
        self.retention = Retention(
            AroundRetention(
                kept=lambda: LOGS_ALONE,
                outputs=cast(Any, self.files),
                in_use=lambda: (),
                classes=lambda: None,
                read=self._read,
                record=self._record,
                in_background=self._begin,
                now=lambda: NOW,
                say=lambda type, text: None,
                is_shared=is_shared,
            )
        )

    async def _read(self, ask: Any) -> Any:
        old = SimpleNamespace(
            oldest_entry=lambda now: None if self.has(Trimming) else 0.0,
            known=lambda ids: self.known,
            **dict.fromkeys(("oldest_key", "first_full_bucket", "oldest_error"), lambda: None),
        )
        return ask(SimpleNamespace(old=old))

    async def _record(self, item: Item) -> Any:
        self.items.append(item)
        match item:
            case RetentionTaken():
                return self.is_turn
            case Trimming():
                return Trimmed(1, None)
            case _:
                return SimpleNamespace(rows=0, next=None, has_more=False)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def look(self) -> None:
        self.retention._look()
        await self._tasks.pop()
        self.retention.close()

    def has(self, kind: type[Item]) -> bool:
        return any(isinstance(item, kind) for item in self.items)


def looked(is_turn: bool) -> Site:
    async def look() -> Site:
        site = Site(is_turn)
        await site.look()
        return site

    return asyncio.run(look())


def test_what_is_old_is_deleted_by_whose_turn_it_is_who_gives_it_back() -> None:
    site = looked(is_turn=True)
    assert isinstance(site.items[0], RetentionTaken)
    assert site.has(Trimming)
    assert isinstance(site.items[-1], RetentionDone)
    assert not site.has(HostTrimming)  # kept for ever, as failed jobs are


def test_nothing_is_deleted_while_another_host_is_at_it() -> None:
    assert [type(item) for item in looked(is_turn=False).items] == [RetentionTaken]


def test_files_of_jobs_that_another_host_has_deleted_are_removed_in_time() -> None:
    async def removed(is_shared: bool) -> list[tuple[int, int]]:
        site = Site(is_turn=False, is_shared=is_shared)
        await site.look()
        site.known = set()
        await site.look()
        assert site.files.removed == []
        site.retention._tidied_at = asyncio.get_running_loop().time() - 3600.0
        await site.look()
        return site.files.removed

    assert asyncio.run(removed(is_shared=True)) == [(1, 1)]
    assert asyncio.run(removed(is_shared=False)) == []
