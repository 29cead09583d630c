"""Those who wait for the ends of jobs, or of groups: each hears of its own, or that the daemon ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from bgjob.errors import ShuttingDownError


class Waiters:
    """Who waits, by the job, or by the group."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiters: dict[int, set[asyncio.Future[bool]]] = {}
        self._is_closed = False

    def close(self) -> None:
        """Tell all of them, and who comes later, that the daemon ends."""
        self._is_closed = True
        for job_id in self._waiters:
            self._tell(job_id, has_ended=False)

    @contextmanager
    def waiting_for(self, job_id: int) -> Iterator[Callable[[float | None], Awaitable[bool]]]:
        """Listen for the job's end from now on; gives a function that waits (seconds) and says whether it came."""
        if self._is_closed:
            raise ShuttingDownError
        future: asyncio.Future[bool] = self._loop.create_future()
        waiting = self._waiters.setdefault(job_id, set())
        waiting.add(future)

        async def ended(timeout: float | None) -> bool:
            try:
                async with asyncio.timeout(timeout):
                    has_ended = await future
            except TimeoutError:
                return False
            if not has_ended:
                raise ShuttingDownError
            return True

        try:
            yield ended
        finally:
            waiting.discard(future)
            if not waiting:
                self._waiters.pop(job_id, None)

    @property
    def awaited(self) -> frozenset[int]:
        """The jobs, or groups, that somebody waits for."""
        return frozenset(self._waiters)

    def announce(self, job_id: int) -> bool:
        """The job has ended; whether anybody waits for that."""
        self._tell(job_id, has_ended=True)
        return job_id in self._waiters

    def _tell(self, job_id: int, has_ended: bool) -> None:
        for future in self._waiters.get(job_id, ()):
            if not future.done():
                future.set_result(has_ended)
