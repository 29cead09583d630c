"""Processes that fall to the daemon when a fork server dies, and that no attempt knows: ended, reaped, and told of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from bgjob.words import EntryType
from bgjobd.forkserver import kin

_FIRST_PAUSE: Final = 0.05
"""Seconds that a child of a dead fork server has to prove its start, or to find that it may not."""

_LAST_PAUSE: Final = 1.0


class Strays:
    """Ends the children of this process but those that are `known`: its fork servers, and attempts that it watches."""

    def __init__(self, known: Callable[[], Collection[int]], say: Callable[[EntryType, str], None]) -> None:
        self._known = known
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._dying: frozenset[int] = frozenset()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> int:
        """End those that are there now. How many were found anew."""
        try:
            strangers = kin.end_strangers(self._known)
        except OSError:  # no descriptors
            self._look_in(_LAST_PAUSE)
            return 0
        found = strangers.found - self._dying
        self._dying = strangers.dying
        if self._dying:
            self._look_in(_FIRST_PAUSE)  # at what they had forked, which falls to this process with their end
        return len(found)

    def end_soon(self) -> None:
        """A fork server is gone: end what it leaves, once its last starts have been decided."""
        self._look_in(_FIRST_PAUSE)

    def _look_in(self, pause: float) -> None:
        self.close()
        self._timer = self._loop.call_later(pause, self._look, pause)

    def _look(self, pause: float) -> None:
        found = self.end()
        if found:
            self._say(EntryType.INFO, f"ended what a dead fork server left behind, processes: {found}")
        if self._dying:
            self._look_in(min(pause * 2, _LAST_PAUSE))
