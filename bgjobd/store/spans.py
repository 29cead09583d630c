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
from bgjobd.core.spans import FIVE_MINUTES, HOUR, OfQueue, begin
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import span_books, span_rows
from bgjobd.store.batch import Batch
from bgjobd.store.committed import EndedAttempt
from bgjobd.store.span_counts import PROPERTY, Counted
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import SELECT_PROPERTY, SET_PROPERTY, Execute
from bgjobd.store.tally import Tally

_COUNTED_AT_FIRST: Final = float(HOUR)
"""Seconds that are counted by who finds that nobody has, as after an upgrade."""

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
        self._written: tuple[float, Counted] | None = None

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
        until = _until_at_first(execute, now) if text is None else from_text(text)
        waits: dict[AttemptKey, float] = {}
        for found in span_books.since(execute, until, host):
            if found.end is None:
                waits[found.key] = found.waited or 0.0
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
        until = batch.now if self._is_last else float(begin(batch.now, FIVE_MINUTES))
        until = max(until, self._until)
        early, rest = Counted(), Counted()
        self._note(batch, early, rest, until)
        before, _ = self._counted.parted(until)
        early.take(before)
        span_rows.add(execute, executemany, early, batch.now)
        if until > self._until:
            execute(SET_PROPERTY, {"name": self._counted.kept_in, "value": to_text(held(until))})
        self._written = until, rest

    def _is_any_late(self, attempts: Sequence[EndedAttempt]) -> bool:
        """Whether one is of a time that the rows have all of, or would not be counted again as this host's."""
        until, lost = self._until, Outcome.LOST if self._host is not None else None
        return any(end.at < until or end.outcome is lost for end in attempts)

    def take(self, batch: Batch, tally: Tally) -> None:
        """Follow a transaction that is committed; what stands of queues is by this tally."""
        if not (batch.attempts or batch.moves or batch.claims or self._written):
            return
        with self._lock:
            if self._written is None:
                self._note(batch, self._counted, self._counted, -math.inf)
            else:
                until, rest = self._written
                _, kept = self._counted.parted(until)
                kept.take(rest)
                kept.until = self._counted.until
                if until > self._until:
                    kept.until = to_text(held(until))
                    self._until = until
                self._counted = kept
            self._follow(batch, tally)
        self._next = self._counted.first if self._written or self._next == math.inf else self._next

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
        for end in batch.attempts:
            self._waits.pop(end.key, None)
        longest: dict[str, float] = {}
        for claim in batch.claims:
            job = claim.job
            self._waits[job.id, job.attempt] = claim.waited
            longest[job.queue] = max(claim.waited, longest.get(job.queue, 0.0))
        at = begin(batch.now, FIVE_MINUTES)
        for queue in _queues_of(batch):
            pending, running = (tally.of_queue(queue, one) for one in (Status.PENDING, Status.RUNNING))
            self._counted.note_queue(at, queue, OfQueue(pending, running, longest.get(queue, 0.0)))


def _queues_of(batch: Batch) -> set[str]:
    """Those of which something has moved."""
    moved = {one.queue for move in batch.moves for one in move if one is not None}
    return moved | {bulk.first.queue for bulk in batch.bulks}


def _until_at_first(execute: Execute, now: float) -> float:
    """From when on is counted what this host has not: behind what is in rows, that may have come from elsewhere."""
    (newest,) = execute(NEWEST, {"span": FIVE_MINUTES}).fetchone()
    first = begin(now - _COUNTED_AT_FIRST, FIVE_MINUTES)
    return float(first) if newest is None else max(first, from_text(newest) + FIVE_MINUTES)
