"""The writer thread: takes items as they come, commits whatever has gathered, and delivers what was committed.

One thread owns the writing connection, so a slow disk holds up nobody but those who wait for it. After an
error of the file it starts over with a fresh connection: an fsync that failed once says nothing the second time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from peewee import DatabaseError, DataError, IntegrityError, SqliteDatabase

from bgjob.errors import StorageUnavailableError
from bgjobd.clock import Clock
from bgjobd.core.facts import ClockJumped
from bgjobd.core.planner import Lanes
from bgjobd.store.database import open_for_writing
from bgjobd.store.items import AttemptNotes, Committed, DaemonStarted, Item, JobFact, Look, Noted
from bgjobd.store.ledger import Ledger

_MAX_BATCH: Final = 256
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Entrusted:
    """An item with whatever the sender wants back beside its answer."""

    item: Item
    ticket: Any = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one turn of the writer came to: the tickets in order with their answers, and the transaction if any."""

    answered: tuple[tuple[Any, Any], ...]
    committed: Committed | None
    trouble: str | None = None


class Writer:
    """Owns the file. `put` never blocks; `deliver` is called on the writer's thread, once a turn."""

    def __init__(
        self,
        state_dir: Path,
        boot_id: str,
        clock: Clock,
        lanes: Lanes,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.lanes = lanes
        self._state_dir = state_dir
        self._boot_id = boot_id
        self._clock = clock
        self._deliver = deliver
        self._inbox: SimpleQueue[tuple[Entrusted, ...] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._database: SqliteDatabase | None = None
        self._ledger: Ledger | None = None

    def start(self) -> None:
        self._thread.start()

    def put(self, *entrusted: Entrusted) -> None:
        """Hand over items, to be applied in this order, in one transaction."""
        self._inbox.put(entrusted)

    def finish(self) -> None:
        """Commit what was put so far, then end the thread."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        waiting: list[Entrusted] = []
        pause = 0.0
        is_last = False
        while not is_last:
            more, is_last = self._take(pause, block=not waiting)
            waiting += more
            try:
                self._deliver(self._commit(waiting))
                waiting, pause = [], 0.0
            except (IntegrityError, DataError):
                waiting = self._commit_apart(waiting)
            except (DatabaseError, OSError) as error:
                self._close()
                waiting = self._give_up(waiting, str(error))
                pause = min(max(_FIRST_PAUSE, pause * 2), _LONGEST_PAUSE) if waiting else 0.0
            except Exception:
                waiting = self._commit_apart(waiting)
        self._close()

    def _take(self, pause: float, block: bool) -> tuple[list[Entrusted], bool]:
        """What has gathered, and whether it is the last. Blocks for the first, unless older ones are to be replayed."""
        if not block:
            time.sleep(pause)
        taken: list[Entrusted] = []
        try:
            batch = self._inbox.get(block)
            while batch is not None:
                taken += batch
                if len(taken) >= _MAX_BATCH:
                    return taken, False
                batch = self._inbox.get_nowait()
        except Empty:
            return taken, False
        return taken, True

    def _commit(self, entrusted: Sequence[Entrusted]) -> Delivery:
        if self._ledger is None:
            self._database = open_for_writing(self._state_dir)
            self._ledger = Ledger(self._database, self._boot_id, random.random)
        committed = self._ledger.commit([one.item for one in entrusted], self.lanes, self._clock.now())
        tickets = [one.ticket for one in entrusted]
        return Delivery(tuple(zip(tickets, committed.answers, strict=True)), committed)

    def _commit_apart(self, waiting: Sequence[Entrusted]) -> list[Entrusted]:
        """Commit one by one what failed together for another reason than the disk; the bug is its own item's answer."""
        for one in waiting:
            try:
                delivery = self._commit([one])
            except Exception as error:
                self._close()
                delivery = Delivery(((one.ticket, error),), None)
            self._deliver(delivery)
        return []

    def _give_up(self, waiting: list[Entrusted], reason: str) -> list[Entrusted]:
        """Refuse what somebody asked for, and keep what happened: facts are replayed until they are stored."""
        refused = [one for one in waiting if not _is_fact(one.item)]
        answered = tuple((one.ticket, StorageUnavailableError(reason=reason)) for one in refused)
        self._deliver(Delivery(answered, None, trouble=reason))
        return [one for one in waiting if _is_fact(one.item)]

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database = self._ledger = None


def _is_fact(item: Item) -> bool:
    """Whether the item tells what happened anyway, time passed too, rather than what somebody asks for."""
    return isinstance(item, JobFact | Noted | AttemptNotes | ClockJumped | DaemonStarted | Look)
