"""Followers are told of commits whatever went wrong with one before."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from bgjobd.daemon.followers import Changes, Commit, Followers


def test_who_follows_is_told_though_telling_failed_once() -> None:
    async def play() -> None:
        followers, heard = Followers(), []

        def pick(commit: Commit) -> Changes | None:
            heard.append(commit)
            if len(heard) == 1:
                raise ValueError("a bug of ours")
            return None

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        many: Any = SimpleNamespace(changed=[SimpleNamespace(id=1)] * 5000, lines=(), bulks=())
        few: Any = SimpleNamespace(changed=[SimpleNamespace(id=1)], lines=(), bulks=())
        with followers.changes(pick):
            followers.publish(many)
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
            followers.publish(few)
            await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()})  # type: ignore[arg-type]
        assert len(heard) == 51

    asyncio.run(play())
