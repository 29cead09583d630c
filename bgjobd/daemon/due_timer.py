"""The one timer for jobs: it looks when the next one is due, and when the wall clock was set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from bgjob.words import EntryType
from bgjobd.core.facts import ClockJumped
from bgjobd.host.clock import Clock, SetClock
from bgjobd.store.entrusted import Outbox
from bgjobd.store.items.daemons import Look


class DueTimer:
    """Has the ledger look at what is due. `on_leap` hears by how many seconds the clock was set."""

    def __init__(
        self,
        clock: Clock,
        outbox: Outbox,
        on_leap: Callable[[float], None],
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._clock = clock
        self._outbox = outbox
        self._on_leap = on_leap
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._set_clock = SetClock()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Hear from now on when somebody sets the clock."""
        self._loop.add_reader(self._set_clock.fileno(), self._on_set_clock)

    def close(self) -> None:
        self._cancel()
        self._loop.remove_reader(self._set_clock.fileno())
        self._set_clock.close()

    def arm(self, next_due: float | None) -> None:
        """Look next at this time, and at no other; None for never."""
        self._cancel()
        if next_due is not None:
            self._timer = self._loop.call_later(max(0.0, next_due - self._clock.now()), self._on_due)

    def note_jump(self) -> None:
        """Have the ledger know by how much the clock was set, if it was, before anything that follows."""
        delta = self._clock.take_jump()
        if delta is not None:
            self._say(
                EntryType.INFO, f"the clock was set by {delta:+.1f} s; waiting retries keep their delay"
            )
            self._outbox.hold(ClockJumped(delta))
            self._on_leap(delta)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_set_clock(self) -> None:
        """What waits for its time may be due."""
        if self._set_clock.take():
            self._on_due()

    def _on_due(self) -> None:
        self._timer = None
        self.note_jump()
        self._outbox.send(Look())
