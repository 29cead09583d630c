"""Reloads, coalesced: one that runs, and one more for all who ask meanwhile; what a reload does is its caller's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Reloads(Generic[T]):
    """Whoever asks gets the outcome of a reload that began after that; none runs beside another."""

    def __init__(self, reload: Callable[[], Awaitable[T]]) -> None:
        self._reload = reload
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def ask(self) -> T:
        """What the reload came to, or raised. Who leaves does not end it."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._follow(self._running))
            self._next.add_done_callback(_take_note)
        return await asyncio.shield(self._next)

    async def _follow(self, before: asyncio.Task[Any] | None) -> T:
        """Reload once the one before is over; whoever asks from then on waits for another."""
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._reload()


def _take_note(task: asyncio.Task[Any]) -> None:
    """Everybody who asked may have left: then nobody but the log hears of an error."""
    with suppress(asyncio.CancelledError):
        task.exception()
