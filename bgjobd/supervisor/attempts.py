"""The attempts that run, all together: which there are, what becomes of their journals, and what is to end at once.

What stands here in memory follows from the file and the spool. No rule about jobs or attempts is here, and nothing is
stored but by handing facts to the writer.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final, TypeVar

from bgjob.words import EntryType
from bgjobd.core import attempt_sights as seen
from bgjobd.core.job import AttemptKey, Ending, Job
from bgjobd.core.verdict import Life, StopReason
from bgjobd.core.why import UnderWay
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.process_identity import parent
from bgjobd.store.committed import Claim
from bgjobd.store.items.attempts import Noted
from bgjobd.supervisor.attempt import Attempt
from bgjobd.supervisor.fork_server_link import ForkServer
from bgjobd.supervisor.looks import Asked, GoneError, Look
from bgjobd.supervisor.surroundings import AttemptSurroundings

T = TypeVar("T")

_GATHER: Final = 0.05
"""Seconds until journals that appeared are read, all together; most small attempts have ended by then."""

_BREATH: Final = 0.005
"""Seconds between two portions of what attempts have told of themselves, where there is much of it."""


class Attempts:
    """All attempts of this daemon, of whatever fork server, and of the daemons before it.

    An end goes to the outbox with the attempt's key as its ticket.
    """

    def __init__(self, around: AttemptSurroundings, life: Life) -> None:
        self._around, self._life = around, life
        self._spool, self._loop = around.spool, around.loop
        around.note_changes, around.catch_up = self._note_changes_but, self._catch_up_with
        self._all: dict[AttemptKey, Attempt] = {}
        self._gathering: asyncio.TimerHandle | None = None
        self._behind: dict[AttemptKey, Attempt] = {}
        self._catching_up: asyncio.TimerHandle | None = None
        self._is_empty: asyncio.Future[None] | None = None
        self._loop.add_reader(self._spool.fileno(), self._on_journals)

    def __len__(self) -> int:
        return len(self._all)

    def close(self) -> None:
        """Let go of descriptors and timers; the attempts go on."""
        self._around.is_closed = True
        for timer in (self._gathering, self._catching_up):
            if timer is not None:
                timer.cancel()
        for reading in self._around.readings:
            reading.cancel()
        self._loop.remove_reader(self._spool.fileno())
        self._around.looks.close()
        for attempt in self._all.values():
            attempt.release()

    def keys(self) -> frozenset[AttemptKey]:
        """Those that are not seen to their end."""
        return frozenset(self._all)

    def jobs(self) -> set[int]:
        """The jobs that have an attempt which is not seen to its end."""
        return {job_id for job_id, _ in self._all}

    def count(self, kind_of: Callable[[Ending | None], T]) -> Counter[T]:
        """How many there are of each kind, by their endings as far as those are known."""
        return Counter(kind_of(attempt.ending) for attempt in self._all.values())

    def directories(self) -> set[str]:
        """The names of the directories that they work in."""
        return {attempt.process.directory for attempt in self._all.values()}

    def directories_of(self, class_name: str) -> list[str]:
        """Those of the class's attempts that have begun, and not ended."""
        running = (one for one in self._all.values() if one.life.state.has_begun)
        return [one.process.directory for one in running if one.class_name == class_name]

    def marks(self) -> set[str | None]:
        """The fork servers whose attempts they are; None is among them where that is not known of one."""
        return {attempt.mark for attempt in self._all.values()}

    def pids(self) -> set[int]:
        """The processes that proved their starts."""
        known = (attempt.journal or self._spool.try_read(attempt.key) for attempt in self._all.values())
        return {journal.started["pid"] for journal in known if journal is not None and journal.started}

    def journals(self) -> dict[AttemptKey, Journal]:
        """The journals of those that have proved their start, as they are known without a look at the spool."""
        return {key: attempt.journal for key, attempt in self._all.items() if attempt.journal is not None}

    def renew_spool(self) -> None:
        """Make the spool again, which was removed with the journals in it. Raises OSError."""
        for attempt in self._all.values():
            if attempt.mark != "":
                attempt.see(seen.SpoolRenewed())
        self._spool.renew(key for key, attempt in self._all.items() if attempt.life.is_bereft)

    def waiting(self) -> list[int]:
        """The jobs whose results wait for room."""
        lives = ((job_id, attempt.life) for (job_id, _), attempt in self._all.items())
        return [job_id for job_id, life in lives if life.is_waiting and not life.state.is_final]

    def under_way(self, key: AttemptKey) -> UnderWay | None:
        """How an attempt stands, as it is known here; None for one that is not of this daemon, any more or yet."""
        attempt = self._all.get(key)
        return None if attempt is None else attempt.under_way()

    async def look(self, key: AttemptKey, asked: Asked, uid: int) -> Look:
        """Where the attempt's process is, for this user. Raises GoneError where it is not there, and OSError."""
        attempt = self._all.get(key)
        if attempt is None:
            raise GoneError
        self._around.outbox.send(Noted(*key, EntryType.INFO, f"stack was looked at by uid {uid}"))
        return await attempt.look(asked)

    def try_open(self, key: AttemptKey, journal: Journal) -> int | None:
        """A pidfd of the attempt's process, for any thread; None where it is gone. Raises OSError."""
        attempt = self._all.get(key)
        return None if attempt is None else attempt.process.try_open_for_others(journal)

    def job_of(self, pid: int) -> int | None:
        """The job whose attempt this process is, or comes from, in the session that it leads; None for any other."""
        if not self._all or self._around.is_closed:
            return None
        known = self._around.processes
        try:
            leader = os.getsid(pid) if pid else 0
            if leader not in known.leaders and known.is_helper(parent(leader)):
                self._note_changes_now()  # it has just begun
        except OSError:
            return None  # it is gone, or not of this container
        return known.job_of(leader)

    async def wait_until_empty(self) -> None:
        """Wait until the end of every attempt is on disk."""
        if self._all:
            self._is_empty = self._loop.create_future()
            await self._is_empty

    # Start

    def start(self, claim: Claim) -> None:
        """Have a claimed attempt started, in its turn, by the fork server in charge then."""
        attempt = Attempt.claimed(self._around, claim)
        self._all[attempt.key] = attempt
        why_unfit = self._around.why_unfit(claim.job)
        if why_unfit is None:
            attempt.way.put(claim)
            return
        with suppress(OSError):  # no room: a hook that is owed would be called once as well, but for a crash
            attempt.is_fenced = self._spool.fences.put(attempt.key, "")
            self._spool.fences.keep(attempt.key)
        attempt.see(seen.CallUnfit(why_unfit))

    def _on_journals(self) -> None:
        self._loop.remove_reader(self._spool.fileno())
        # Where there is a line, somebody waits for those before it to begin.
        pause = 0.0 if self._around.starts.has_line else _GATHER
        self._gathering = self._loop.call_later(pause, self._note_changes)

    def _note_changes_now(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
        self._note_changes()

    def _note_changes(self) -> None:
        """Record the starts whose journals appeared, and what attempts tell of themselves meanwhile."""
        self._loop.add_reader(self._spool.fileno(), self._on_journals)
        self._note_changes_but(None)
        self._around.starts.look()
        self._around.outbox.send()

    def _note_changes_but(self, one: Attempt | None) -> None:
        for attempt in self._take_changes():
            if attempt is not one:
                self._around.retry_on_oserror(attempt.note_change)

    def _take_changes(self) -> list[Attempt]:
        """The attempts whose journals appeared or grew since the last call, or may have."""
        changes = self._spool.take_changes()
        for key in changes.created & self._all.keys():
            self._all[key].on_journal()
        for key in self._all.keys() & (self._all.keys() if changes.has_missed else changes.saved):
            self._all[key].on_save()
        keys = self._all.keys() if changes.has_missed else changes.created | changes.grown
        found = [self._all[key] for key in keys & self._all.keys()]
        return [attempt for attempt in found if not attempt.life.state.is_final]

    def _catch_up_with(self, attempt: Attempt) -> None:
        """Record, in a moment, another portion of what it has told of itself."""
        self._behind[attempt.key] = attempt
        if self._catching_up is None:
            self._catching_up = self._loop.call_later(_BREATH, self._catch_up)

    def _catch_up(self) -> None:
        """Record another portion of the one that waits longest."""
        self._catching_up = None
        attempt = self._behind.pop(next(iter(self._behind)))
        if not attempt.life.state.is_final:
            self._around.retry_on_oserror(attempt.note_news)
            self._around.outbox.send()
        if self._behind and self._catching_up is None:
            self._catching_up = self._loop.call_later(_BREATH, self._catch_up)

    # End

    def on_report(self, message: dict[str, Any]) -> None:
        """What a fork server tells: that an attempt ended, or that it could not begin."""
        attempt = self._all.get((message["job"], message["number"]))
        if attempt is not None:  # else it was settled by other means, as after a fence
            self._around.retry_on_oserror(attempt.on_report, message)

    def on_end_of_server(self, server: ForkServer) -> None:
        """A fork server is gone, and will report no more of its attempts."""
        for attempt in [attempt for attempt in self._all.values() if attempt.server is server]:
            attempt.on_end_of_server(server)

    def on_refused_end(self, key: AttemptKey, why: str) -> None:
        """The writer could not make sense of an end: the attempt is over all the same, and nobody knows how."""
        attempt = self._all.get(key)
        if attempt is not None:
            attempt.see(seen.EndRefused(why))

    def ending_of(self, job: Job) -> Ending | None:
        """How the latest attempt of a job ended, as long as it is remembered."""
        attempt = self._all.get((job.id, job.attempt))
        return None if attempt is None else attempt.ending

    def forget(self, key: AttemptKey, keep_journal: bool) -> None:
        """The attempt's end is on disk: nobody needs its journal any more, unless for a hook."""
        attempt = self._all.pop(key, None)
        if attempt is not None:
            attempt.release()
        if attempt is not None and attempt.life.stop_reason is not None:
            self._spool.remove_stop(key)
        if attempt is not None and attempt.life.is_bereft:
            self._spool.remove_bereft(key)
        self._spool.remove_carry(key)
        if attempt is None or attempt.may_have_state:
            self._spool.remove_state(key)
        if not keep_journal and attempt is not None and attempt.is_fenced:
            self._spool.fences.lift(key)
        elif not keep_journal:
            self._spool.remove(key)
        if not self._all and self._is_empty is not None and not self._is_empty.done():
            self._is_empty.set_result(None)

    # Stop

    def start_no_more(self) -> None:
        """Give back those that no fork server was asked for yet."""
        self._around.starts_no_more = True
        for attempt in list(self._all.values()):
            if attempt.life.state.is_unasked:
                attempt.see(seen.DAEMON_ENDS)

    def stop(self, key: AttemptKey, reason: StopReason) -> None:
        """End the attempt from outside: TERM to its group, KILL once its class's grace is over."""
        attempt = self._all.get(key)
        if attempt is not None:
            attempt.see(seen.StopRequested(reason))

    def stop_all(self, reason: StopReason, grace: float) -> None:
        """Stop every attempt; from now on none is given more than `grace` seconds, nor those told to stop before.

        One whose claim is heard of later does not start.
        """
        self._around.starts_no_more, self._around.longest_grace = True, grace
        for attempt in list(self._all.values()):
            attempt.see(seen.StopRequested(reason))

    def stop_repeatable(self) -> None:
        """Stop what others may repeat, for they are about to: by its class alone, retries or not. What nobody may
        repeat goes on.
        """
        for attempt in list(self._all.values()):
            if self._around.policy(attempt.class_name).retry_lost:
                attempt.see(seen.StopRequested(StopReason.FENCED))

    # What an earlier daemon left behind

    def recover(self, rows: Iterable[dict[str, Any]]) -> None:
        """Settle the attempts whose end is not recorded: collect, wait for, give back, or count as lost."""
        bereft = set(self._spool.bereft())
        for row in rows:
            key = row["job_id"], row["number"]
            attempt = self._all[key] = Attempt.left_behind(self._around, row, key in bereft)
            ending = self._life.try_ending(row["boot_id"])
            if ending is not None:
                self._around.retry_on_oserror(attempt.settle_dead, ending)
            else:
                self._around.retry_on_oserror(attempt.adopt, row["cancel_requested_at"] is not None)
