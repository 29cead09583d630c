"""What ends by spans of time, and how queues stand: in memory, added to rows by the first commit after a span's end.

What a host has counted up to an instant that it stores, `until`, is in the rows; what ended later is in memory, and is
counted again in the books by who connects anew. So each attempt is counted once, whatever is killed and
however clocks are set. Several hosts add to the same rows. Within the ledger's transactions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Lock
from typing import Final

from bgjob.words import Outcome, Status
from bgjobd.core.job import AttemptKey
from bgjobd.core.spans import FIVE_MINUTES, HOUR, begin
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import span_books, span_rows
from bgjobd.store.batch import Batch
from bgjobd.store.committed import EndedAttempt
from bgjobd.store.engines import Execute
from bgjobd.store.span_counts import PROPERTY, Counted
from bgjobd.store.sql_functions import held
from bgjobd.store.statements.of_properties import SELECT_PROPERTY, SET_PROPERTY
from bgjobd.store.tally import Tally

_COUNTED_AT_FIRST: Final = float(HOUR)
"""Seconds that are counted by who finds that nobody has, as after an upgrade."""

_MOMENT: Final = 1e-6
"""What a stored instant can tell apart."""

NEWEST: Final = "SELECT max(at) FROM class_tallies WHERE span = :span"


class Spans:
    """What one host counts; on the writer's thread, but for `counted`."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._counted = Counted()
        self._until = -math.inf
        self._next = math.inf
        self._host: int | None = None
        self._waits: dict[AttemptKey, float] = {}
        self._is_last = False
        self._written: tuple[Counted, Counted] | None = None

    def hurry(self) -> None:
        """Have the next transaction write all of it."""
        self._is_last, self._next = True, -math.inf

    def counted(self) -> Counted:
        """A copy of what is in no row, on any thread."""
        with self._lock:
            return self._counted.copy()

    # Counted again

    def count_again(self, execute: Execute, host: int | None, now: float) -> None:
        """Forget what was counted, and count in the books what is in no row."""
        name = PROPERTY if host is None else f"{PROPERTY}.{host}"
        stored = execute(SELECT_PROPERTY, {"name": name}).fetchone()
        text = None if stored is None else stored[0]
        counted = Counted(name, text)
        until = _until_at_first(execute, host, now) if text is None else from_text(text)
        waits: dict[AttemptKey, float] = {}
        for found in span_books.since(execute, until, host):
            if found.end is None:
                waits |= {} if found.waited is None else {found.key: found.waited}
                continue
            counted.note(found.end, found.waited)
            if found.error_group is not None:
                counted.note_error(found.error_group, found.end.at, found.end.has_failed)
        with self._lock:
            self._counted, self._until, self._host, self._waits = counted, until, host, waits
        self._next = -math.inf if self._is_last else counted.first

    # Written

    def write(self, execute: Execute, executemany: Execute, batch: Batch) -> None:
        """Add to rows what began before now's span, where there is any, with what this transaction has come to."""
        self._written = None
        if batch.now < self._next and not (batch.attempts and self._is_any_late(batch.attempts)):
            return
        over = self._end_of_all(batch) if self._is_last else float(begin(batch.now, FIVE_MINUTES))
        goes_on = over > self._until
        until = over if goes_on else self._until
        early, late = Counted(), Counted()
        self._note(batch, early, late, until)
        # Where the clock was set back, what is in memory is of a time that is to come; how queues stood is not.
        before, after = self._counted.parted(until if goes_on else -math.inf, over)
        early.take(before)
        if not (early.classes or early.queues or early.errors):
            return
        span_rows.add(execute, executemany, early, batch.now)
        if goes_on:
            after.until = to_text(held(until))
            execute(SET_PROPERTY, {"name": after.kept_in, "value": after.until})
        self._written = after, late

    def _end_of_all(self, batch: Batch) -> float:
        """Just behind all that has ended, as the clock may have been set back meanwhile."""
        latest = max((end.at for end in batch.attempts), default=self._counted.latest)
        return max(batch.now, self._counted.latest + _MOMENT, latest + _MOMENT)

    def _is_any_late(self, attempts: Sequence[EndedAttempt]) -> bool:
        """Whether one is of a time that the rows have all of, or would not be counted again as this host's."""
        until, lost = self._until, Outcome.LOST if self._host is not None else None
        return any(end.at < until or end.outcome is lost for end in attempts)

    def take(self, batch: Batch, tally: Tally) -> None:
        """Follow a transaction that is committed; what stands of queues is by this tally."""
        if not (batch.attempts or batch.moves or self._written):
            return
        with self._lock:
            if self._written is None:
                self._note(batch, self._counted, self._counted, -math.inf)
            else:
                after, late = self._written
                after.take(late)
                self._counted = after
                self._until = self._until if after.until is None else from_text(after.until)
            self._follow(batch, tally)
        if self._written or self._next == math.inf:
            self._next = self._counted.first

    def _note(self, batch: Batch, early: Counted, late: Counted, until: float) -> None:
        """Count what ended, before that and later apart."""
        waits, lost = self._waits, Outcome.LOST if self._host is not None else None
        ended: dict[AttemptKey, tuple[Counted, float]] = {}
        for end in batch.attempts:
            into = early if end.at < until or end.outcome is lost else late
            into.note(end, waits.get(end.key))
            if batch.met:
                ended[end.key] = into, end.at
        for group, key, has_failed in batch.met:
            if key in ended:
                into, at = ended[key]
                into.note_error(group, at, has_failed)

    def _follow(self, batch: Batch, tally: Tally) -> None:
        """How long what has a slot now had waited, and how queues stand."""
        waits = self._waits
        for end in batch.attempts:
            waits.pop(end.key, None)
        longest: dict[str, float] = {}
        for claim in batch.claims:
            job, waited = claim.job, claim.waited
            waits[job.id, job.attempt] = waited
            if waited > longest.get(job.queue, 0.0):
                longest[job.queue] = waited
        at = begin(batch.now, FIVE_MINUTES)
        for queue in _queues_of(batch):
            running = tally.places.get((Status.RUNNING, queue, 0), 0)
            pending = tally.of_queue(queue, Status.PENDING)
            self._counted.note_queue(at, queue, pending, running, longest.get(queue, 0.0))


def _queues_of(batch: Batch) -> set[str]:
    """Those in which more jobs may wait or run than before."""
    moved = {after.queue for _, after in batch.moves if after is not None and after.status in _OPEN}
    return moved | {bulk.first.queue for bulk in batch.bulks} if batch.bulks else moved


_OPEN: Final = (Status.PENDING, Status.RUNNING)


def _until_at_first(execute: Execute, host: int | None, now: float) -> float:
    """From when on is counted what this host has not. Where the rows came from a database that one daemon had alone, or
    from one that several had, that is behind them; what others have counted says nothing of this host's own.
    """
    first = float(begin(now - _COUNTED_AT_FIRST, FIVE_MINUTES))
    if host is not None and execute(SELECT_PROPERTY, {"name": PROPERTY}).fetchone() is None:
        return first
    (newest,) = execute(NEWEST, {"span": FIVE_MINUTES}).fetchone()
    return first if newest is None else max(first, from_text(newest) + FIVE_MINUTES)
