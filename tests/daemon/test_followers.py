"""Followers are told of commits whatever went wrong with one before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bgjobd.daemon import followers as followers_module
from bgjobd.daemon.followers import Changes, Commit, Followers, TooFarBehindError, Values
from bgjobd.store.committed import StoredValue


def test_who_follows_is_told_though_telling_failed_once() -> None:
    async def play() -> None:
        followers, heard = Followers(), []

        def pick(commit: Commit) -> Changes | None:
            heard.append(commit)
            if len(heard) == 1:
                raise ValueError("a bug of ours")
            return None

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        nothing: Any = {"lines": (), "bulks": (), "values": (), "written": ()}
        many: Any = SimpleNamespace(changed=[SimpleNamespace(id=1)] * 5000, **nothing)
        few: Any = SimpleNamespace(changed=[SimpleNamespace(id=1)], **nothing)
        with followers.changes(pick):
            followers.publish(many)
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
            followers.publish(few)
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
        assert len(heard) == 51

    asyncio.run(play())


def test_who_does_not_read_is_dropped_though_the_first_part_of_a_commit_is_nothing_to_him(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a bulk, whose entries come before the jobs."""

    async def play() -> None:
        monkeypatch.setattr(followers_module, "_MOST_WAITING", 10)
        followers = Followers()

        def pick(commit: Commit) -> Any:
            return None if commit.is_first else SimpleNamespace(size=lambda: 8)

        nothing: Any = {"lines": (), "bulks": (), "values": (), "written": ()}
        many: Any = SimpleNamespace(changed=[SimpleNamespace(id=1)] * 300, **nothing)
        with followers.changes(pick) as follower:
            for _ in range(3):
                followers.publish(many)
                await asyncio.sleep(0)
            with pytest.raises(TooFarBehindError):
                await follower.next()

    asyncio.run(play())


def test_values_are_told_before_the_end_of_their_job_however_many_there_are() -> None:
    async def play() -> None:
        followers, heard = Followers(), []

        def pick(commit: Commit) -> Values | None:
            heard.append((len(commit.values), len(commit.changed)))
            return None

        value = StoredValue(1, 1, 1, None, "2026-11-28T14:35:00.000000Z", "1")
        others: Any = {"changed": [SimpleNamespace(id=1)], "lines": (), "bulks": (), "written": ()}
        many: Any = SimpleNamespace(**others, values=[value] * 250)
        few: Any = SimpleNamespace(**others, values=[value])
        with followers.values(1, pick):
            followers.publish(many)
            followers.publish(few)
        assert heard == [(100, 0), (100, 0), (50, 0), (0, 1), (1, 1)]

    asyncio.run(play())


def test_who_reads_no_values_is_dropped_once_they_are_many() -> None:
    async def play() -> None:
        followers = Followers()
        value = StoredValue(1, 1, 1, None, "2026-11-28T14:35:00.000000Z", "x" * 64 * 1024)
        commit: Any = SimpleNamespace(changed=(), lines=(), bulks=(), written=(), values=[value] * 100)
        with followers.values(1, lambda commit: Values(commit.values)) as follower:
            for _ in range(4):
                followers.publish(commit)
            with pytest.raises(TooFarBehindError):
                await follower.next()

    asyncio.run(play())
