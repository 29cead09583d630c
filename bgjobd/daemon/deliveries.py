"""What follows from a commit: answers, news for who waits or follows; then lines of the log, starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from bgjob.words import EntryType
from bgjobd.core.job import AttemptKey
from bgjobd.core.log_entries import group_ended, pause_ended
from bgjobd.core.verdict import StopReason
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.due_timer import DueTimer
from bgjobd.daemon.waiters import Waiters
from bgjobd.host.log import Line, Log, SimilarLines
from bgjobd.store.committed import Committed, Late, LogLine, StoredBulk
from bgjobd.store.recent import RecentJobs
from bgjobd.store.tally import Tally
from bgjobd.store.writer import Delivery
from bgjobd.supervisor.supervisor import Supervisor


class Deliveries:
    """Takes what the writer delivers. `tally` is what all jobs add up to since then; None before the first commit.

    `publish` tells those who follow, `say` writes a line about the daemon itself, `trace_of` says to which trace one of
    a job belongs.
    """

    def __init__(
        self,
        *,
        supervisor: Supervisor,
        due_timer: DueTimer,
        counters: Counters,
        publish: Callable[[Committed], None],
        waiters: Waiters,
        group_waiters: Waiters,
        recent: RecentJobs,
        log: Log,
        say: Callable[[EntryType, str], None],
        trace_of: Callable[[LogLine], str | None],
    ) -> None:
        self._supervisor = supervisor
        self._due_timer = due_timer
        self._counters = counters
        self._publish = publish
        self._waiters = waiters
        self._group_waiters = group_waiters
        self._recent = recent
        self._log = log
        self._say = say
        self._trace_of = trace_of
        self._loop = asyncio.get_running_loop()
        self._put_off: Delivery | None = None
        self.tally: Tally | None = None

    def take(self, delivery: Delivery) -> None:
        """Tell those who ask, and carry out the rest once that is on its way; where nobody asks, at once."""
        self.carry_out()
        self._put_off = delivery
        self._recent.take(delivery.committed)
        if delivery.committed is not None:
            self._note(delivery.committed)
        asking = [
            (ticket, answer) for ticket, answer in delivery.answered if isinstance(ticket, asyncio.Future)
        ]
        for ticket, answer in asking:
            _answer(ticket, answer)
        is_awaited = delivery.committed is not None and self._announce(delivery.committed)
        if asking or is_awaited:
            # The next turn of the loop has their answers made and sent before this.
            self._loop.call_soon(self.carry_out)
        else:
            self.carry_out()

    def carry_out(self) -> None:
        """Do what is put off of the last delivery; stops come last, for what they stop may have been started by it."""
        delivery, self._put_off = self._put_off, None
        if delivery is None:
            return
        committed = delivery.committed
        if committed is not None:
            self._begin(committed)
        for ticket, answer in delivery.answered:
            if not isinstance(ticket, asyncio.Future):
                self._on_recorded(ticket, answer)
        for job in committed.stops if committed is not None else ():
            self._supervisor.attempts.stop((job.id, job.attempt), StopReason.CANCELLED)

    def _note(self, committed: Committed) -> None:
        self.tally = committed.tally
        self._counters.note(committed)

    def _announce(self, committed: Committed) -> bool:
        """Whether anybody waited for what has ended."""
        self._publish(committed)
        self._due_timer.arm(committed.next_due)
        awaited = [job.id for job in committed.ended if self._waiters.announce(job.id)]
        awaited += [group.id for group in committed.groups if self._group_waiters.announce(group.id)]
        return bool(awaited)

    def _begin(self, committed: Committed) -> None:
        # Not before: it wakes the log's thread, which takes the interpreter from this one.
        self._log.put([*map(self._lines, committed.bulks), *map(self._line, committed.lines)])
        for group in committed.groups:
            self._say(EntryType.INFO, group_ended(group))
        for queue in committed.resumed:
            self._say(EntryType.INFO, pause_ended(queue))
        for type, message in committed.said:
            self._say(type, message)
        for job in committed.settled:
            self._supervisor.on_settled(job)
        for claim in committed.claims:
            self._supervisor.attempts.start(claim)

    def _on_recorded(self, ticket: AttemptKey | None, answer: Any) -> None:
        """What happened is on disk, or is refused; the key of an attempt says that it was its end."""
        if isinstance(answer, Late):
            if ticket is not None:
                self._supervisor.attempts.forget(ticket, keep_journal=False)
            return
        if not isinstance(answer, Exception):
            if ticket is not None:
                self._supervisor.on_end_of_attempt(ticket, answer)
            return
        reason = f"{type(answer).__name__}: {answer}"
        self._say(EntryType.FAILURE, f"bug: {reason}")
        if ticket is not None:
            self._supervisor.attempts.on_refused_end(ticket, reason)

    def _lines(self, bulk: StoredBulk) -> SimilarLines:
        return SimilarLines(self._line(bulk.first_line), len(bulk), bulk.characters, bulk.contexts)

    def _line(self, line: LogLine) -> Line:
        return Line(
            line.at,
            line.type,
            line.target,
            line.message,
            line.job_id,
            line.attempt,
            line.context,
            line.is_passing,
            trace_id=None if line.trace is None else self._trace_of(line),
        )


def _answer(ticket: asyncio.Future[Any], answer: Any) -> None:
    if ticket.done():
        return
    if isinstance(answer, Exception):
        ticket.set_exception(answer)
    else:
        ticket.set_result(answer)
