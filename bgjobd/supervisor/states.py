"""The state that an attempt saves, handed to the writer: amid changes as often as its size allows, and at the end."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver.journal_lines import Record
from bgjobd.forkserver.state_file import Saved
from bgjobd.store.items import StateSaved
from bgjobd.supervisor.surroundings import AttemptSurroundings

_PAUSE: Final = 1.0
_BYTES_A_SECOND: Final = 8 * 1024
"""How often it is stored while it changes: so long a pause at least, and the longer the larger it is."""


class StateReader:
    """One attempt's. Where nothing changes nobody looks; a look that has found something is followed by another."""

    def __init__(self, around: AttemptSurroundings, key: AttemptKey) -> None:
        self._around, self._key = around, key
        self._due = around.loop.time() + _PAUSE
        self._timer: asyncio.TimerHandle | None = None
        self._known = 0
        self._storing: asyncio.Future[Any] | None = None
        self._is_over = self._was_torn = False
        self.is_read = False

    def look_soon(self) -> None:
        """It may have changed: look once that is due, and what was handed over before is stored."""
        if self._timer is None and self._storing is None and not self._is_over:
            at = max(self._due, self._around.loop.time())
            self._timer = self._around.loop.call_at(at, self._look)

    def stop(self) -> None:
        """Look no more."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        self._due = self._around.loop.time() + _PAUSE
        try:
            found = self._try_new()
        except OSError:  # no descriptors
            self.look_soon()
            return
        if found is not None:
            self._store(found)

    def _store(self, found: Saved) -> None:
        """Hand it over; what comes meanwhile waits until it is stored."""
        self._storing = self._around.loop.create_future()
        self._storing.add_done_callback(lambda stored: self._on_stored(stored, found.size))
        self._around.outbox.send(self._item(found), self._storing)

    def _on_stored(self, stored: asyncio.Future[Any], size: int) -> None:
        self._storing = None
        self._due = self._around.loop.time() + max(_PAUSE, size / _BYTES_A_SECOND)
        if stored.cancelled() or stored.exception() is not None:
            self._known = 0  # it is told again at the end
            return
        self.look_soon()

    def read_last(self, started: Record | None) -> None:
        """Hand on what it has saved last, now that its process is gone, whose start this record tells. Raises OSError
        where that cannot be read now.
        """
        self.stop()
        found = self._try_new() if not self.is_read and may_have_state(started) else None
        if found is not None:
            self._around.outbox.hold(self._item(found))
        self.is_read = True

    def _try_new(self) -> Saved | None:
        """What it has saved since the last look. Raises OSError."""
        found = self._around.spool.try_read_state(self._key)
        if found is None or found.number <= self._known:
            if found is not None and found.is_torn and not self._was_torn:
                self._was_torn = True
                self.look_soon()  # it is just being written
            return None
        self._known, self._was_torn = found.number, False
        return found

    def _item(self, found: Saved) -> StateSaved:
        return StateSaved(*self._key, found.number, found.text)


def may_have_state(started: Record | None) -> bool:
    """Whether an attempt may have a file for its job's state, whose start this record tells, None where none does."""
    return started is None or started.get("state") is True
