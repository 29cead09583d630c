"""Stops an attempt from outside, at its deadline or when that is asked for: SIGTERM, after `stop_grace` SIGKILL."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import Final

from bgjob.words import EntryType
from bgjobd.core.attempt_sights import GraceEnded, KillOutlasted, Sight, StackRead, StopRequested
from bgjobd.core.log_entries import outlasts_kill
from bgjobd.core.verdict import StopReason
from bgjobd.forkserver.journal import Journal
from bgjobd.store.items.attempts import Noted
from bgjobd.supervisor.claimed import Claimed
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.looks import GoneError, Look
from bgjobd.supervisor.processes import LAST_LOOK, LONG_DYING, AttemptProcess, began_at
from bgjobd.supervisor.surroundings import AttemptSurroundings

_LONGEST_LOOK: Final = 0.8
"""Seconds in which an attempt whose time is up can tell where it is."""


class AttemptStop:
    """The signals to one attempt and the timer until the next, of which `see` hears.

    `owes_end` is asked whether its process has ended, and only word of that is missing. `has_looked`: where it is, or
    was, was asked before it was told to stop.
    """

    def __init__(
        self,
        around: AttemptSurroundings,
        claimed: Claimed,
        *,
        process: AttemptProcess,
        see: Callable[[Sight], None],
        owes_end: Callable[[], bool],
    ) -> None:
        self._around, self._key, self._class_name = around, claimed.key, claimed.class_name
        self._process, self._see, self._owes_end = process, see, owes_end
        self._timer: asyncio.TimerHandle | None = None
        self._repeat: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self.has_looked = False

    @property
    def is_armed(self) -> bool:
        """Whether its deadline was set, or it was signalled, or is about to be."""
        return self._timer is not None or self._looking is not None

    @property
    def seconds_left(self) -> float | None:
        """Until its deadline, or the next signal."""
        return None if self._timer is None else max(0.0, self._timer.when() - self._around.loop.time())

    def disarm(self) -> None:
        for timer in (self._timer, self._repeat):
            if timer is not None:
                timer.cancel()
        self._timer = self._repeat = None
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def leave_word(self, reason: StopReason | None) -> None:
        """Write why it is stopped, for its process and for a later daemon; a full spool stops no stop."""
        if reason is None:
            return
        try:
            self._around.spool.write_stop(self._key, reason)
        except OSError as error:
            self._around.recording.suspect()
            text = f"no stop reason for job {self._key[0]}: {error.strerror} in the spool"
            self._around.say(EntryType.FAILURE, text)

    def arm_deadline(self, timeout: float | None, journal: Journal | None) -> None:
        """Have it stopped at its deadline, which counts from its start, whoever the daemon was then."""
        if timeout is None:
            return
        # asyncio's clock is CLOCK_MONOTONIC, as the journal's.
        record = None if journal is None else journal.started
        deadline = timeout + (self._around.loop.time() if record is None else began_at(record))
        self._timer = self._around.loop.call_at(deadline, self._see, StopRequested(StopReason.TIMED_OUT))

    def look_first(self, look: Callable[[], Awaitable[Look]], then: Callable[[], None]) -> None:
        """Tell where it is, should it say so in a moment, and do then what is to be done."""
        self.disarm()
        self.has_looked = True
        self._looking = self._around.loop.create_task(self._look_first(look, then))

    async def _look_first(self, look: Callable[[], Awaitable[Look]], then: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(_LONGEST_LOOK):
                self._see(StackRead((await look()).text))
        except (GoneError, OSError):
            pass  # of a process that is gone, or without an answer in time, nothing is told
        except Exception as error:  # it is stopped all the same
            text = (
                f"bug: job {self._key[0]} could not be looked at: {type(error).__name__}: {error}; report it"
            )
            self._around.say(EntryType.FAILURE, text)
        self._looking = None
        then()

    def terminate(
        self, journal: Journal | None, server: ForkServer | None, reason: StopReason | None
    ) -> None:
        self._signal(signal.SIGTERM, journal, server)
        grace = self._around.grace(self._class_name, reason)
        self._timer = self._around.loop.call_later(grace, self._see, GraceEnded())

    def kill(self, journal: Journal | None, server: ForkServer | None) -> None:
        self._signal(signal.SIGKILL, journal, server)
        self._timer = self._around.loop.call_later(LONG_DYING, self._on_long_dying)

    def _on_long_dying(self) -> None:
        if not self._owes_end():
            self._see(KillOutlasted())

    def tell_unkillable(self, journal: Journal | None) -> None:
        """It waits for a disk or a network that does not answer: it stays running, and its slot held. Whoever else
        is in its cgroup does not.
        """
        group = self._around.work.try_group(self._process.directory)
        if group is not None:
            group.kill()  # not before: of those who are killed with it none is counted as left behind
        pid = journal.started["pid"] if journal and journal.started else "unknown"
        text = outlasts_kill(pid, LONG_DYING)
        self._around.outbox.send(Noted(*self._key, EntryType.FAILURE, text))

    def _signal(self, number: signal.Signals, journal: Journal | None, server: ForkServer | None) -> None:
        """Signal the group of the process that the journal tells, else have the fork server signal its child."""
        self.disarm()
        self._send(number, journal, server)

    def _send(self, number: signal.Signals, journal: Journal | None, server: ForkServer | None) -> None:
        self._repeat, is_known = None, False
        try:
            is_known = self._process.signal(number, journal)
        except OSError as error:
            text = f"job {self._key[0]} could not be sent signal {number}: {error.strerror}"
            self._around.say(EntryType.FAILURE, text)
            if server is None:  # nobody else can
                self._repeat = self._around.loop.call_later(LAST_LOOK, self._send, number, journal, None)
        if server is not None and (number is signal.SIGKILL or not is_known):
            server.signal(*self._key, number)  # which knows its children, whatever a job writes
