"""What the daemon does in the background: tasks that nobody awaits, whose errors are bugs and go to the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bgjob.words import EntryType

T = TypeVar("T", bound=asyncio.Future[Any])


def unheard(future: T) -> T:
    """One that nobody may wait for any more: how it ends is nobody's business then."""
    future.add_done_callback(lambda done: done.cancelled() or done.exception())
    return future


class Background:
    """Holds tasks until they end. `say` writes a line about the daemon itself."""

    def __init__(self, say: Callable[[EntryType, str], None]) -> None:
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have it done, for who needs no task."""
        self.begin(work)

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have it done; the task can be cancelled."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)
        return task

    def close(self) -> None:
        """Give up what is not done."""
        for task in self._tasks:
            task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._say(EntryType.FAILURE, f"bug: {type(error).__name__}: {error}; restart the daemon")
