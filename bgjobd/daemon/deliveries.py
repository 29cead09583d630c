"""What follows from a commit: lines of the log, starts, answers, stops, and whoever waits or follows hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bgjob.words import EntryType
from bgjobd.core.job import AttemptKey
from bgjobd.core.verdict import StopReason
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.due_timer import DueTimer
from bgjobd.daemon.followers import Followers
from bgjobd.daemon.waiters import Waiters
from bgjobd.host.log import Line, Lines, Log
from bgjobd.store.items import Committed, LogLine, StoredBulk
from bgjobd.store.tally import Tally
from bgjobd.store.writer import Delivery
from bgjobd.supervisor.supervisor import Supervisor


class Deliveries:
    """Takes what the writer delivers. `tally` is what all jobs add up to since then; None before the first commit.

    `say` writes a line about the daemon itself.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        due_timer: DueTimer,
        counters: Counters,
        followers: Followers,
        waiters: Waiters,
        log: Log,
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._supervisor = supervisor
        self._due_timer = due_timer
        self._counters = counters
        self._followers = followers
        self._waiters = waiters
        self._log = log
        self._say = say
        self.tally: Tally | None = None

    def take(self, delivery: Delivery) -> None:
        """Carry out what follows; stops come last, for what they stop may have been started by the same commit."""
        if delivery.committed is not None:
            self._announce(delivery.committed)
        for ticket, answer in delivery.answered:
            self._answer(ticket, answer)
        for job in delivery.committed.stops if delivery.committed is not None else ():
            self._supervisor.attempts.stop((job.id, job.attempt), StopReason.CANCELLED)

    def _announce(self, committed: Committed) -> None:
        self.tally = committed.tally
        self._counters.note(committed)
        self._log.put([*map(_lines, committed.bulks), *map(_line, committed.lines)])
        for claim in committed.claims:
            self._supervisor.attempts.start(claim)
        self._followers.publish(committed)
        for job in committed.ended:
            self._waiters.announce(job.id)
        self._due_timer.arm(committed.next_due)

    def _answer(self, ticket: asyncio.Future[Any] | AttemptKey | None, answer: Any) -> None:
        """A caller's future gets its answer; the key of an attempt means that its end is on disk."""
        refusal = answer if isinstance(answer, Exception) else None
        if isinstance(ticket, asyncio.Future):
            if not ticket.done():
                ticket.set_result(answer) if refusal is None else ticket.set_exception(refusal)
            return
        reason = "" if refusal is None else f"{type(refusal).__name__}: {refusal}"
        if refusal is not None:
            self._say(EntryType.FAILURE, f"bug: {reason}")
        if ticket is not None and refusal is not None:
            self._supervisor.attempts.on_refused_end(ticket, reason)
        elif ticket is not None:
            self._supervisor.on_end_of_attempt(ticket, answer)


def _lines(bulk: StoredBulk) -> Lines:
    return Lines(_line(bulk.first_line), len(bulk), bulk.characters, bulk.contexts)


def _line(line: LogLine) -> Line:
    return Line(
        line.at,
        line.type,
        line.target,
        line.message,
        line.job_id,
        line.attempt,
        line.context,
        line.is_passing,
    )
