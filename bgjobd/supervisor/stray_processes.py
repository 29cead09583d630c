"""Processes that fall to the daemon when a fork server dies, and that no attempt knows: ended, reaped, and told of."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from bgjob.words import EntryType
from bgjobd.core.log_entries import left_behind
from bgjobd.forkserver import subreaper

_FIRST_PAUSE: Final = 0.05
"""Seconds that a child of a dead fork server has to prove its start, or to find that it may not."""

_LAST_PAUSE: Final = 1.0


class StrayProcesses:
    """Ends the children of this process but those that are `known`: its fork servers, and attempts that it watches.

    `is_ours` tells of one that is not known whether it comes from a fork server of ours at all. `on_rest` hears once
    there are none any more after a fork server's end.
    """

    def __init__(
        self,
        known: Callable[[], Collection[int]],
        is_ours: Callable[[int], bool],
        say: Callable[[EntryType, str], None],
        on_rest: Callable[[], None],
    ) -> None:
        self._known = known
        self._is_ours = is_ours
        self._say = say
        self._on_rest = on_rest
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._dying: frozenset[int] = frozenset()
        self._told: frozenset[int] = frozenset()
        self._servers: set[int] = set()  # by whose sessions it is known what is none of an attempt's
        self._gone: set[int] = set()  # of these, until nothing of theirs is left
        self._around_servers: set[int] = set()
        self._of_servers: dict[int, str] = {}  # of whom the log is yet to tell

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def note_server(self, pid: int) -> None:
        """A fork server begins to start attempts."""
        self._servers.add(pid)

    def end_soon(self, server_pid: int | None = None) -> None:
        """A fork server is gone, by this pid where it was this daemon's: end what it leaves, once its last starts have
        been decided.
        """
        if server_pid is not None:
            self._gone.add(server_pid)
        self._look_in(_FIRST_PAUSE)

    def end(self) -> Mapping[int, str]:
        """End those that are there now. Those found anew that an attempt may have left, by pid with the names of their
        programs: not what a fork server had around it, such as its spares, of which the log tells.
        """
        found = self._end()
        self._of_servers |= {pid: name for pid, name in found.items() if pid in self._around_servers}
        return {pid: name for pid, name in found.items() if pid not in self._around_servers}

    def _end(self) -> Mapping[int, str]:
        try:
            strangers = subreaper.end_strangers(self._known, self._look_at)
        except OSError:  # no descriptors
            self._look_in(_LAST_PAUSE)
            return {}
        found = {pid: name for pid, name in strangers.found.items() if pid not in self._told}
        self._dying = strangers.dying
        self._told = self._told.union(found) if self._dying else frozenset()
        if self._dying:
            self._look_in(_FIRST_PAUSE)  # at what they had forked, which falls to this process with their end
        return found

    def _look_at(self, pid: int) -> bool:
        """Whether it is ours; before it is ended it is noted whether it, and with it all below it, is in the session of
        a fork server: an attempt begins one of its own.
        """
        with suppress(ProcessLookupError):
            if os.getsid(pid) in self._servers:
                self._around_servers |= subreaper.family(pid).keys()
        return self._is_ours(pid)

    def _look_in(self, pause: float) -> None:
        self.close()
        self._timer = self._loop.call_later(pause, self._look, pause)

    def _look(self, pause: float) -> None:
        self._timer = None
        found = self._of_servers | dict(self._end())
        self._of_servers = {}
        if found:
            text = left_behind(len(found), subreaper.told_names(found))
            self._say(EntryType.INFO, f"ended what a dead fork server left behind, processes: {text}")
        if self._dying:
            self._look_in(min(pause * 2, _LAST_PAUSE))
        elif self._timer is None:
            self._servers -= self._gone
            self._gone.clear()
            self._around_servers.clear()
            self._on_rest()
