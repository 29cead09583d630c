"""One transaction: loads what a batch of items is about, has them decided, stores what they come to, grants free slots.

With the modules of this room that it imports, and those that they import, the only SQL that writes. What is decided
stands in memory until all of it is stored, each kind of row in one go; so an item that is refused costs its neighbours
nothing.
Nothing here is remembered between transactions but what is derived from the file.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from peewee import __exception_wrapper__ as as_peewees_own  # type: ignore[attr-defined]  # its stubs lack it

from bgjob.words import Status
from bgjobd.core.facts import ClockJumped
from bgjobd.core.gate import KeyRules
from bgjobd.core.hosts import Term
from bgjobd.core.planner import Lanes
from bgjobd.host.clock import Reading, to_text
from bgjobd.store import (
    adoption,
    apart,
    applying,
    bulks,
    class_holds,
    decisions,
    errors,
    hosts,
    ids,
    loading,
    locking,
    pauses,
    progress,
    rates,
    release,
    steps,
    sweeps,
    tallies,
    waits,
)
from bgjobd.store.adoption import Adopted
from bgjobd.store.apart import APART
from bgjobd.store.batch import Batch
from bgjobd.store.committed import Committed, LogLine, LostUpdateError, Ran
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines import Database
from bgjobd.store.gate import Gate
from bgjobd.store.items.hosts import Beat
from bgjobd.store.items.item import Item
from bgjobd.store.known import Known, read_alone, read_anew, read_next_expiry
from bgjobd.store.method_usage import Gathering, Method
from bgjobd.store.notices import Notice, notice_of, text_of
from bgjobd.store.row_writers import WRITERS
from bgjobd.store.rows import log_row
from bgjobd.store.slots import Slots
from bgjobd.store.spans import Spans
from bgjobd.store.statements import of_entries, of_properties, of_times
from bgjobd.store.sweeps import SWEEPS
from bgjobd.store.tally import NOTHING, Tally, counted
from bgjobd.store.written import Kind, Row, Written

_ALONE: Final = (*SWEEPS, *APART)
"""The items before which all that came earlier is written."""

_EXPIRED_AT_ONCE: Final = 100


class _Done(NamedTuple):
    """What a transaction has come to, before it is committed: `first_entry` tells the id of its first log entry after
    that. What the attempts that `ran` took counts for their methods; of the methods `gathered` what was known in memory
    is written with it.
    """

    batch: Batch
    answers: tuple[Any, ...]
    next_due: float | None
    tally: Tally
    known: Known
    ran: list[Ran]
    gathered: list[Method]
    first_entry: Callable[[], int]


def _made(done: _Done, first_entry: int) -> Committed:
    """What a transaction has come to, by the id of its first log entry."""
    lines = tuple([LogLine(id, *entry) for id, entry in enumerate(done.batch.entries, first_entry)])
    return done.batch.committed(done.answers, lines, done.next_due, done.tally)


def _rows_of(written: Sequence[Written], kind: Kind) -> Iterator[Row]:
    return (row for each in written for row in each.get(kind, ()))


def _expected(rows: Iterable[Row]) -> list[tuple[int, Status]]:
    """Which status these rows of jobs were to meet."""
    return [(row["id"], row["expected"]) for row in rows]


def _no_entry() -> int:
    """The id of the first, where there is none."""
    return 0


class Ledger:
    """The database as the writer sees it. `jitter` gives a number in [0, 1]; `boot_id` marks new attempts.

    `host` is whose term it is, where several hosts work from the database. `told_as` is how this daemon calls itself to
    others that listen; None as long as nobody does. `gathering` has what attempts took, whatever the
    connection; `spans` what has ended, counted again by each, None where nobody counts.
    """

    told_as: str | None = None

    def __init__(
        self,
        database: Database,
        boot_id: str,
        jitter: Callable[[], float],
        host: Term | None = None,
        gathering: Gathering | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._database = database
        self._spans = spans
        self._gathering = gathering or Gathering()
        self._host = host
        database.write_as(host)
        # Not by way of peewee, which would cost more than some statements do; errors become its own in commit().
        self._execute: Callable[..., Any] = database.connection().execute
        self._executemany: Callable[..., Any] = database.connection().executemany
        self._boot_id = boot_id
        self._jitter = jitter
        self._known: Known | None = None
        self._written: Sequence[Written] = ()  # by the transaction that is open, or was the last

    def try_beat(self, items: Sequence[Item]) -> tuple[hosts.Beaten, Reading] | None:
        """The one item's answer, by a statement of its own, and what time the database has; None where that will not
        do: it is to be committed as any. Raises peewee's errors.
        """
        if self._host is None or self._known is None or len(items) != 1:
            return None
        (item,) = items
        if not (isinstance(item, Beat) and item.may_be_alone):
            return None
        with as_peewees_own:
            return hosts.try_beat(self._execute, self._host, self._known.seen.id)

    def commit(self, items: Sequence[Item], lanes: Lanes, now: float) -> Committed:
        """Apply the items and grant free slots in one durable transaction.

        Raises peewee's errors and LostUpdateError if it can't, and UncertainCommitError where it was too late to say
        so for sure.
        """
        try:
            self._database.begin_writing()
            with as_peewees_own:
                done = self._carry_out(items, lanes, now)
            batch = done.batch

            def made(first_entry: int) -> Committed:
                """Called once it is known that this is committed, however late."""
                self._gathering.take(done.ran, now, done.gathered)
                return _made(done, first_entry)

            self._commit(made)
        except BaseException as error:
            self._database.roll_back()
            if self._database.is_lost_update(error):
                raise LostUpdateError(*_expected(_rows_of(self._written, Kind.CHANGED_JOB))) from error
            raise
        batch.holds.keep(now)
        if self._spans is not None:
            self._spans.take(batch, done.tally)
        self._known = done.known
        return made(done.first_entry())

    def _carry_out(self, items: Sequence[Item], lanes: Lanes, now: float) -> _Done:
        """All that the transaction does, but for its begin and its commit."""
        locking.lock(items, self._execute, self._database.locks)
        known = self._know(lanes, now)
        lanes = lanes.closed() if self._database.is_drained else lanes
        batch = self._new_batch(known, lanes, now)
        limits = self._take_up(lanes, known, batch)
        next_expiry = self._expire(batch, known.next_expiry)
        answers = self._settle(items, batch)
        has_consequences = self._follow(batch, known, lanes)
        gate = Gate(self._execute, batch)
        gate.settle()
        adopted = adoption.adopt(self._execute, gate, lanes.keys, known.adopted)
        next_look = self._grant_slots(lanes, batch, gate, adopted)
        ran = [end.ran for end in batch.attempts if end.ran is not None]
        gathered = self._gathering.write(self._execute, self._executemany, ran, now, lanes.awaited)
        if self._spans is not None:
            self._spans.write(self._execute, self._executemany, batch)
        first_entry = self._store_entries(batch)
        next_expiry = min(next_expiry, batch.next_expiry)
        if self._database.locks.are_needed:
            self._tell_others(batch, known)
        if self.told_as is not None:
            self._tell(notice_of(batch, items, answers, lanes, self.told_as))
        tally = self._tally_after(items, batch)
        by_jobs = (tally if known.seen.id == 0 else known.tally), has_consequences, next_expiry
        after = Known(
            *(*by_jobs, batch.next_resume, batch.holds, adopted, limits, known.seen),
            class_holds=batch.class_holds,
        )
        due = now if after.has_more else min(next_expiry, next_look)
        next_due = None if due == math.inf else due
        return _Done(batch, answers, next_due, tally, after, ran, gathered, first_entry)

    def _commit(self, made: Callable[[int], Committed]) -> None:
        try:
            self._database.commit_writing()
        except UncertainCommitError as error:
            error.made = made
            raise

    def _know(self, lanes: Lanes, now: float) -> Known:
        """What is known before this transaction."""
        if self._known is None and self._spans is not None:
            self._spans.count_again(self._execute, None if self._host is None else self._host.host, now)
        if self._database.locks.are_needed:
            return read_anew(self._database, self._execute, self._known, lanes.queues, now)
        return self._known or read_alone(self._database, self._execute, now)

    def _new_batch(self, known: Known, lanes: Lanes, now: float) -> Batch:
        known.holds.drop()  # what is left of one that came to nothing
        batch = Batch(
            now=now,
            jitter=self._jitter,
            tally=known.tally,
            max_pending=lanes.max_pending,
            max_parameters=lanes.max_parameters,
            rules=_rules(lanes, known),
            own_queues=lanes.queues if self._database.locks.are_needed else None,
            rates=lanes.rates,
            next_resume=known.next_resume,
            holds=known.holds,
            class_holds=dict(known.class_holds),
            counts_ends=bool(known.class_holds),
            distance=self._database.distance,
            host=self._host,
            hookless=lanes.hookless,
            locks=self._database.locks,
        )
        self._written = batch.written
        return batch

    def _take_up(self, lanes: Lanes, known: Known, batch: Batch) -> tuple[Any, ...] | None:
        """The limits as they are by now; where they are others, no bucket is emptier than one can be."""
        if lanes.keys is None:
            return known.limits
        limits = lanes.keys, lanes.rates
        if limits != known.limits:
            rates.bound(self._execute, batch)
        return limits

    def prove_writable(self, now: float) -> None:
        """Commit a row that no commit before had: only then can the file be written. Raises peewee's errors."""
        with as_peewees_own:
            self._execute(of_properties.SET_PROPERTY, {"name": "written_again_at", "value": to_text(now)})

    def _tally_after(self, items: Sequence[Item], batch: Batch) -> Tally:
        """Carried on; counted anew by a transaction after which other minutes are the last ones."""
        if any(isinstance(item, ClockJumped) for item in items):
            return counted(self._database, batch.now)
        return _moved(batch.tally, batch)

    def _tell_others(self, batch: Batch, known: Known) -> None:
        """Append what this transaction has moved to what all that write know."""
        difference = _moved(NOTHING, batch)
        if any(difference.places.values()) or difference.ends or batch.holds.own:
            self._database.lock_log()
            tallies.append(self._execute, difference, batch.holds.own, batch.now)
        if known.seen.rows > tallies.SUMMED_UP_AFTER:
            self._database.lock_log()
            tallies.sum_up(self._execute, known.tally, known.seen)

    def _settle(self, items: Sequence[Item], batch: Batch) -> tuple[Any, ...]:
        """The items' answers, in order; what they came to is in the file by then, but for the log entries."""
        answers: list[Any] = []
        for is_alone, stretch in groupby(items, lambda item: isinstance(item, _ALONE)):
            if is_alone:
                for item in stretch:
                    answers.append(self._settle_alone(item, batch))
                    ids.give_back(self._database, batch)
                continue
            together = list(stretch)
            loading.load(self._execute, together, batch)
            answers += [decisions.settle(item, batch) for item in together]
            self._store(batch)
            ids.give_back(self._database, batch)
        return tuple(answers)

    def _settle_alone(self, item: Item, batch: Batch) -> Any:
        if isinstance(item, SWEEPS):
            return sweeps.carry_out(self._execute, item, batch)
        try:
            answer = apart.carry_out(self._execute, self._executemany, item, batch)
        except decisions.REFUSALS as error:
            answer = error
        self._store(batch)
        return answer

    # Store

    def _store(self, batch: Batch) -> None:
        """Write the rows that were decided on, each kind in one go."""
        if not batch.rows:
            return
        by_kind = batch.take_rows()
        for kind, rows in by_kind.items():
            written = self._write(WRITERS[kind], rows)
            if kind is Kind.CHANGED_JOB and written != len(rows):
                raise LostUpdateError(*_expected(rows))

    def _store_entries(self, batch: Batch) -> Callable[[], int]:
        """Write the log entries, whose ids follow that of the newest; what tells the id of the first of those that are
        of no bulk once all is committed.
        """
        if batch.bulks:
            self._database.lock_log()
            first = self._last_entry() + 1
            for place, bulk in enumerate(batch.bulks):
                batch.bulks[place] = bulk.told_from(first)
                self._execute(of_entries.INSERT_BULK_ENTRIES, bulks.entries_of(batch.bulks[place]))
                first += len(bulk)
        if not batch.entries:
            return _no_entry
        first_of_these = self._database.write_log([log_row(entry) for entry in batch.entries])
        if batch.progressed:
            progress.delete_earlier(self._executemany, batch.progressed, len(batch.entries))
        return first_of_these

    def _last_entry(self) -> int:
        (newest,) = self._execute(of_entries.SELECT_LAST_LOG_ID).fetchone()
        return int(newest)

    def _tell(self, notice: Notice | None) -> None:
        if notice is not None:
            self._database.tell(text_of(notice))

    def _write(self, statement: str, rows: Sequence[Row]) -> int:
        """How many rows that has changed."""
        changed: int = self._executemany(statement, rows).rowcount
        return changed

    # What follows

    def _follow(self, batch: Batch, known: Known, lanes: Lanes) -> bool:
        """Do what follows from what the items have come to; whether something is left for the next transaction."""
        if batch.errors:
            errors.record(self._execute, self._executemany, batch)
        if batch.class_ends or batch.class_holds:
            class_holds.settle(self._execute, batch, lanes.code_version)
        has_consequences = self._release(batch, known.has_consequences)
        rates.end_holds(self._execute, batch)
        return has_consequences

    def _expire(self, batch: Batch, next_expiry: float) -> float:
        """End what has not started in time, some at once; answers when the next does. Most look nowhere."""
        if next_expiry > batch.now:
            return next_expiry
        given = {"now": to_text(batch.now), "count": _EXPIRED_AT_ONCE}
        expired = [id for (id,) in self._execute(of_times.SELECT_EXPIRED, given).fetchall()]
        batch.jobs |= loading.jobs_of(self._execute, expired)
        applying.expire(expired, batch)
        self._store(batch)
        return read_next_expiry(self._execute)

    def _release(self, batch: Batch, has_more: bool) -> bool:
        """Settle what comes after what has ended; whether something is left of that for the next transaction."""
        if not has_more and batch.is_followed_by_none:
            self._store(batch)
            return False
        return release.Release(self._execute, batch, lambda: self._store(batch)).settle(has_more)

    def _grant_slots(self, lanes: Lanes, batch: Batch, gate: Gate, adopted: Adopted) -> float:
        """Let queues go on whose pause is over, and claim for every free slot; answers when to look again."""
        pauses.end(self._execute, batch)
        if batch.class_holds:
            lanes = class_holds.kept_back(lanes, batch)
        slots = Slots(self._execute, lanes, batch, gate)
        found = slots.granted()
        # Those that are left out have their turn to end next.
        jobs = [job for job in found if not job.has_expired(batch.now)]
        gate.lock_for(jobs)
        if not (adopted.is_whole and gate.is_whole):
            jobs = gate.within_limits(jobs)
        jobs = rates.within(self._execute, jobs, batch)
        if batch.class_holds:
            found, jobs = jobs, class_holds.on_trial(self._execute, jobs, lanes, batch)
            slots.look_again(len(jobs) < len(found))
        if jobs:
            jobs = [waits.settle(self._execute, job, batch) for job in jobs]
            tokens = [secrets.token_hex(8) for _ in jobs]
            carried = steps.carried_of(self._execute, jobs)
            decisions.claim(jobs, tokens, self._boot_id, batch, carried)
            self._store(batch)
            rates.spend(self._execute, jobs, batch)
            gate.take_note(jobs)
        return min(batch.next_resume, slots.next_due())


def _rules(lanes: Lanes, known: Known) -> Mapping[str, KeyRules]:
    """What queues say of keys: ours as they are by now, those of others as they have stored them."""
    own = known.adopted.known_rules if lanes.keys is None else lanes.keys
    return {**known.others.known_rules, **own} if known.others.rules else own


def _moved(tally: Tally, batch: Batch) -> Tally:
    for bulk in batch.bulks:
        tally = tally.joined(bulk.first, len(bulk))
    return tally.moved(batch.moves, batch.now) if batch.moves else tally
