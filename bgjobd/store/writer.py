"""The writer thread: takes items as they come, commits whatever has gathered, and delivers what was committed.

One thread owns the writing connection, so a slow disk holds up nobody but those who wait for it. After an
error of the file it starts over with a fresh connection: an fsync that failed once says nothing the second time.
Until a try succeeds, what somebody asks for is refused at once, and what happened is kept to be replayed. What was
committed is told to nobody while the file is not in its place. A commit that had no answer is not guessed at, where the
next connection can tell what has become of it.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from peewee import DatabaseError

from bgjob.errors import StorageUnavailableError
from bgjobd.core.facts import ClockJumped
from bgjobd.core.hosts import Term
from bgjobd.core.planner import Lanes
from bgjobd.host.clock import Clock, Reading
from bgjobd.store import hosts
from bgjobd.store.committed import Committed, LostUpdateError, OvertakenError
from bgjobd.store.database import UncertainCommitError
from bgjobd.store.engines import (
    AT_ONCE,
    CommitFate,
    CountsAsLostError,
    Database,
    Place,
    TermOverError,
    TermTakenError,
)
from bgjobd.store.engines.sqlite import engine_at
from bgjobd.store.entrusted import Entrusted, Intake, is_fact
from bgjobd.store.history import History
from bgjobd.store.items.item import Item
from bgjobd.store.ledger import Ledger
from bgjobd.store.method_usage import Gathering
from bgjobd.store.span_counts import Counted
from bgjobd.store.spans import Spans

_IN_DOUBT_FOR: Final = 4.0
"""Seconds that callers are left to wait for what has become of a commit; a client waits for 5, unless told another."""

_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0


class Delivery(NamedTuple):
    """What one turn of the writer came to: the tickets in order with their answers, and the transaction if any.

    `trouble` is why the file could not be written, this time as before; `wal_bytes` how large its log has grown.
    `term_over` says that this host's term counts no more, and why; `term` is the one that it has taken since.
    """

    answered: tuple[tuple[Any, Any], ...]
    committed: Committed | None
    trouble: str | None = None
    wal_bytes: int = 0
    term_over: TermOverError | None = None
    term: Term | None = None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """Why the file cannot be written, and when to try again, after this pause (monotonic)."""

    reason: str
    pause: float
    next_try: float

    @classmethod
    def after(cls, last: _Trouble | None, error: Exception) -> _Trouble:
        """What keeps on is asked for ever more rarely."""
        pause = _FIRST_PAUSE if last is None else min(last.pause * 2, _LONGEST_PAUSE)
        return cls(str(error) or "no memory", pause, time.monotonic() + pause)


@dataclass(frozen=True, slots=True)
class _Doubt:
    """What was in a transaction whose commit had no answer; until when (monotonic) callers wait for the next connection
    to tell, and whether they were refused.
    """

    entrusted: tuple[Entrusted, ...]
    error: UncertainCommitError
    until: float
    is_refused: bool = False


class Writer:
    """Owns the file. `put` never blocks; `deliver` is called on the writer's thread, once a turn.

    `told_as` is by which name others are told of what is committed; None where nobody listens.
    """

    def __init__(
        self,
        place: Place,
        boot_id: str,
        clock: Clock,
        lanes: Lanes,
        deliver: Callable[[Delivery], None],
        term: Term | None = None,
        history: History | None = None,
    ) -> None:
        self.lanes = lanes
        self._term = term
        self._is_lost = False
        self._history = history or History(None)
        self._history.beats = self._own_beats
        self.told_as: str | None = None
        self._engine = engine_at(place)
        self._boot_id, self._clock, self._deliver = boot_id, clock, deliver
        self._jumps = 0.0  # of the clock that it was told of: before that, what waits would be early or late
        self._intake = Intake()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._database: Database | None = None
        self._ledger: Ledger | None = None
        self._gathering, self._spans = Gathering(), Spans()
        self._trouble: _Trouble | None = None
        self._ground = self._engine.ground()
        self._withheld: Delivery | None = None  # what was committed, and could be told to nobody
        self._doubt: _Doubt | None = None
        self._busy_since: float | None = None

    @property
    def busy_since(self) -> float | None:
        """Since when (monotonic) the file has been asked for something and has not answered; None where it rests."""
        return self._busy_since

    def counted(self) -> Counted:
        """What has ended that is in no row of the tallies, on any thread."""
        return self._spans.counted()

    def start(self) -> None:
        self._thread.start()

    def put(self, *entrusted: Entrusted) -> None:
        """Hand over items, to be applied in this order, in one transaction."""
        self._intake.put(entrusted)

    def finish(self) -> None:
        """Commit what was put so far, then end the thread."""
        self._intake.put(None)
        self._thread.join()

    def leave(self) -> None:
        """Have the database be whole where it is: after `finish`, once nobody reads any more."""
        self._ground.leave()

    def _run(self) -> None:
        waiting: list[Entrusted] = []
        is_last = False
        while not is_last:
            more, is_last = self._intake.take(self._patience())
            waiting += more
            if is_last:
                self._gathering.hurry()
                self._spans.hurry()
            self._refuse_in_doubt()
            if self._trouble is not None and not is_last and time.monotonic() < self._trouble.next_try:
                waiting = self._refuse(waiting, self._trouble.reason)
            else:
                waiting = self._turn(waiting)
            self._rest()
            self._busy_since = None
        self._refuse_in_doubt(at_once=True)
        self._close()

    def _turn(self, waiting: list[Entrusted]) -> list[Entrusted]:
        """Commit it all; what is left is to be tried again."""
        try:
            waiting = [*self._settle_doubt(), *waiting]
            delivery = self._commit(waiting)
        except Exception as error:
            if self._engine.is_trouble(error):
                return self._give_up(waiting, error)
            return self._commit_each(waiting)
        self._tell(waiting, delivery)
        return []

    def _tell(self, entrusted: Sequence[Entrusted], delivery: Delivery) -> None:
        """Deliver what was committed, if the file is still in its place; else once it is back there, for it has it.

        What somebody asked for is refused at once all the same.
        """
        try:
            wal_bytes = self._ground.check_written()
        except OSError as error:
            each = tuple(zip(entrusted, delivery.answered, strict=True))
            of_facts = tuple(answer for one, answer in each if is_fact(one.item))
            self._withheld = delivery._replace(answered=of_facts)
            self._give_up([one for one, _ in each if not is_fact(one.item)], error, may_be_stored=True)
        else:
            if delivery.committed is not None:
                self._history.note(delivery.committed.lines)
            self._deliver(delivery._replace(wal_bytes=wal_bytes))

    def _rest(self) -> None:
        """Tell what the database stands on, where nothing else follows at once."""
        if self._database is not None and self._intake.is_empty:
            self._ground.rest(self._database)

    def _patience(self) -> float | None:
        """Seconds to wait for what comes: in trouble until the next try is due, or a caller has waited too long."""
        due = [] if self._trouble is None else [self._trouble.next_try]
        if self._doubt is not None and not self._doubt.is_refused:
            due.append(self._doubt.until)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _commit(self, entrusted: Sequence[Entrusted]) -> Delivery:
        self._busy_since = time.monotonic()
        ledger = self._ledger if self._ledger is not None else self._open()
        self._ground.check()
        items = [one.item for one in entrusted]
        if self._term is not None and (found := ledger.try_beat(items)) is not None:
            return self._beaten(entrusted[0], *found)
        jumps = self._jumps + sum(item.delta for item in items if isinstance(item, ClockJumped))
        try:
            committed = self._try_commit(ledger, items, self._clock.after(jumps))
        except UncertainCommitError as error:
            if error.transaction is not None:
                self._doubt = _Doubt(tuple(entrusted), error, time.monotonic() + _IN_DOUBT_FOR)
            raise
        self._jumps = jumps
        self._trouble = None
        if self._term is not None:
            self._note_beats(committed)
        return _delivery(entrusted, committed)

    def _beaten(self, beat: Entrusted, beaten: hosts.Beaten, reading: Reading) -> Delivery:
        """A beat is acknowledged by which nothing else is stored."""
        self._trouble = None
        self._history.acknowledge_beats(beaten.beats)
        self._clock.follow(reading)
        return Delivery(((beat.ticket, beaten),), None)

    def _note_beats(self, committed: Committed) -> None:
        """A beat is acknowledged: it is to be found again by each connection, and what time it is, is asked anew."""
        for beaten in committed.answers:
            if isinstance(beaten, hosts.Beaten) and self._database is not None:
                self._history.acknowledge_beats(beaten.beats)
                with suppress(DatabaseError):  # the next transaction finds out
                    self._follow_time(self._database)

    def _own_beats(self, database: Database) -> int | None:
        return None if self._term is None else hosts.own_beats(database, self._term)

    def _settle_doubt(self) -> list[Entrusted]:
        """Learn what has become of a transaction whose commit had no answer; what of it is to be committed again."""
        doubt = self._doubt
        if doubt is None:
            return []
        self._busy_since = time.monotonic()
        if self._ledger is None:
            self._open()
        fate, first_entry = self._ask_about(doubt.error.transaction)
        self._doubt = None
        if fate is CommitFate.COMMITTED and doubt.error.made is not None:
            self._tell(doubt.entrusted, _delivery(doubt.entrusted, doubt.error.made(first_entry)))
            return []
        if fate is CommitFate.ABORTED:
            return [one for one in doubt.entrusted if not doubt.is_refused or is_fact(one.item)]
        return self._refuse(doubt.entrusted, str(doubt.error), may_be_stored=True)

    def _ask_about(self, transaction: Any) -> tuple[CommitFate, int]:
        """What has become of it, and the id of its first log entry if it is committed."""
        if self._database is None:
            return CommitFate.UNKNOWN, 0
        try:
            fate = self._database.fate_of(transaction)
            return fate, self._database.first_entry_of(transaction) if fate is CommitFate.COMMITTED else 0
        except DatabaseError as error:
            if self._engine.is_trouble(error):
                raise
            return CommitFate.UNKNOWN, 0

    def _try_commit(self, ledger: Ledger, items: Sequence[Item], now: float) -> Committed:
        """Once more at once, and without a word, where another transaction was in the way."""
        lanes = self.lanes if self._history.trouble is None else self.lanes.closed()
        ledger.told_as = self.told_as
        for _ in range(AT_ONCE - 1):
            try:
                return ledger.commit(items, lanes, now)
            except (DatabaseError, LostUpdateError, OvertakenError) as error:
                if not self._engine.is_passing(error):
                    raise
        return ledger.commit(items, lanes, now)

    def _open(self) -> Ledger:
        """A fresh connection; in trouble only once the file is proved to be writable."""
        self._ground.check()  # for opening what is not there would make another
        self._close()
        if self._trouble is not None:
            self._ground.prove_room()
        self._database = self._engine.open_for_writing()
        self._ground.learn()
        if self._is_lost and self._term is not None:
            self._come_back(self._database, self._term)
        self._follow_time(self._database)
        self._history.compare(self._database)
        ledger = Ledger(
            self._database, self._boot_id, random.random, self._term, self._gathering, self._spans
        )
        if self._trouble is not None:
            ledger.prove_writable(self._clock.after(self._jumps))
        self._ledger = ledger
        self._tell_withheld()
        return ledger

    def _come_back(self, database: Database, term: Term) -> None:
        """Take another term in place of one that counts as lost. Raises TermTakenError."""
        taken = hosts.come_back(database, term)
        if taken is None:
            raise TermTakenError(term.name)
        self._term, self._is_lost = taken, False
        self._history.acknowledge_beats(0)  # they are those of a term
        self._deliver(Delivery((), None, term=taken))

    def _follow_time(self, database: Database) -> None:
        """Have the server's clock be ours: all its hosts are to agree on when a job is due."""
        reading = database.time()
        if reading is not None:
            self._clock.follow(reading)

    def _tell_withheld(self) -> None:
        """Deliver what was committed before the file was away."""
        withheld, self._withheld = self._withheld, None
        if withheld is not None:
            self._deliver(withheld)

    def _commit_each(self, waiting: Sequence[Entrusted]) -> list[Entrusted]:
        """Commit one by one what failed together for another reason than the disk; the bug is its own item's answer."""
        for place, one in enumerate(waiting):
            try:
                delivery = self._commit([one])
            except Exception as error:
                if self._engine.is_trouble(error):
                    return self._give_up(waiting[place:], error)
                self._close()
                self._deliver(Delivery(((one.ticket, error),), None))
                continue
            self._tell([one], delivery)
            if self._withheld is not None:
                return list(waiting[place + 1 :])
        return []

    def _give_up(
        self, waiting: Sequence[Entrusted], error: Exception, may_be_stored: bool = False
    ) -> list[Entrusted]:
        """Try again later, on a fresh connection."""
        if self._doubt is not None and self._doubt.error is error:
            # Of those it is asked first what has become of them.
            waiting = waiting[len(self._doubt.entrusted) :]
        else:
            may_be_stored = may_be_stored or isinstance(error, UncertainCommitError)
        if self._database is None or self._ground.is_let_go(self._database, error):
            self._close()
        else:
            self._ledger = None  # that is tried again with the next try
        self._trouble = _Trouble.after(self._trouble, error)
        if isinstance(error, TermOverError):
            self._is_lost = isinstance(error, CountsAsLostError)
            self._deliver(Delivery((), None, trouble=str(error), term_over=error))
        return self._refuse(waiting, self._trouble.reason, may_be_stored)

    def _refuse_in_doubt(self, at_once: bool = False) -> None:
        """Refuse what was asked for in a transaction of which nobody knows, before its callers have waited too long."""
        doubt = self._doubt
        if doubt is not None and not doubt.is_refused and (at_once or time.monotonic() >= doubt.until):
            self._doubt = replace(doubt, is_refused=True)
            self._refuse(doubt.entrusted, str(doubt.error), may_be_stored=True)

    def _refuse(
        self, waiting: Sequence[Entrusted], reason: str, may_be_stored: bool = False
    ) -> list[Entrusted]:
        """Refuse what somebody asked for, and keep what happened: facts are replayed until they are stored."""
        refused = [one for one in waiting if not is_fact(one.item)]
        error = StorageUnavailableError(reason=reason, may_be_stored=may_be_stored)
        self._deliver(Delivery(tuple((one.ticket, error) for one in refused), None, trouble=reason))
        return [one for one in waiting if is_fact(one.item)]

    def _close(self) -> None:
        database, self._database, self._ledger = self._database, None, None
        if database is not None:
            with suppress(DatabaseError):
                database.close()


def _delivery(entrusted: Sequence[Entrusted], committed: Committed) -> Delivery:
    tickets = [one.ticket for one in entrusted]
    return Delivery(tuple(zip(tickets, committed.answers, strict=True)), committed)
