"""Who of a key has a place, and whose turn it is: settled once all items of a transaction are stored, before it claims.

What came in waits behind its key until then. How many have a place is counted, never kept: nothing can leak.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from bgjob.words import Status
from bgjobd.core import gate
from bgjobd.core.gate import NO_RULES, Queued, Step
from bgjobd.core.job import Job
from bgjobd.core.rates import scope_of_key
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import rates
from bgjobd.store.batch import Arrival, Batch
from bgjobd.store.engines import Execute
from bgjobd.store.tally import Countable
from bgjobd.store.written import BEHIND

AT_ONCE: Final = 500
"""Keys whose time has come, and jobs of one key, that one transaction deals with; the rest follows in the next."""

_IS_BEHIND: Final = f"status = 'pending' AND ready = {BEHIND}"
COUNT_KEY_RUNNING: Final = """
    SELECT count(*) FROM background_jobs INDEXED BY jobs_key_running
    WHERE status = 'running' AND key IS NOT NULL AND queue = :queue AND key = :key
"""
COUNT_KEY_READY: Final = """
    SELECT count(*) FROM (
        SELECT 1 FROM background_jobs INDEXED BY jobs_key_ready
        WHERE status = 'pending' AND ready = 1 AND key IS NOT NULL AND queue = :queue AND key = :key LIMIT :most)
"""
SELECT_LAST_READY: Final = """
    SELECT -priority, turn, id FROM background_jobs INDEXED BY jobs_key_ready
    WHERE status = 'pending' AND ready = 1 AND key IS NOT NULL AND queue = :queue AND key = :key
    ORDER BY priority, turn DESC, id DESC LIMIT 1
"""
SELECT_FIRST_BEHIND: Final = f"""
    SELECT -priority, turn, id, waits_until FROM background_jobs INDEXED BY jobs_behind
    WHERE {_IS_BEHIND} AND queue = :queue AND key = :key ORDER BY priority DESC, turn, id LIMIT 1
"""
PROMOTE: Final = "UPDATE background_jobs SET ready = 1, waits_until = NULL, updated_at = :now WHERE id = :id"
PUT_BEHIND: Final = f"UPDATE background_jobs SET ready = {BEHIND} WHERE id = :id"
PUT_FIRST_BEHIND: Final = f"""
    UPDATE background_jobs SET ready = {BEHIND} WHERE id IN (
        SELECT id FROM background_jobs INDEXED BY jobs_key_ready
        WHERE status = 'pending' AND ready = 1 AND key IS NOT NULL AND queue = :queue AND key = :key
        ORDER BY priority DESC, turn, id LIMIT :most)
"""
SET_WAIT: Final = "UPDATE background_jobs SET waits_until = :at WHERE id = :id"
SELECT_DUE_BEHIND: Final = f"""
    SELECT id, queue, key FROM background_jobs INDEXED BY jobs_due_behind
    WHERE {_IS_BEHIND} AND waits_until IS NOT NULL AND waits_until <= :now ORDER BY waits_until LIMIT :count
"""
SELECT_NEXT_BEHIND: Final = f"""
    SELECT min(waits_until) FROM background_jobs INDEXED BY jobs_due_behind
    WHERE {_IS_BEHIND} AND waits_until IS NOT NULL
"""
SELECT_LATEST_TURN: Final = """
    SELECT max(turn) FROM background_jobs INDEXED BY jobs_turns
    WHERE status = 'pending' AND turn > 0 AND queue = :queue AND key IS :key AND priority = :priority
"""
SELECT_QUEUE_TURN: Final = "SELECT turn FROM queue_turns WHERE queue = :queue AND priority = :priority"
# Unless it has left again, or come in elsewhere, by what came later in the transaction.
SET_TURN: Final = f"""
    UPDATE background_jobs SET turn = :turn, ready = :ready
    WHERE id = :id AND {_IS_BEHIND} AND queue = :queue AND key IS :key AND priority = :priority
"""
NOTE_TURN: Final = """
    INSERT INTO queue_turns VALUES (:queue, :priority, :turn)
    ON CONFLICT (queue, priority) DO UPDATE SET turn = max(queue_turns.turn, :turn)
"""


class Gate:
    """Settles the keys that the batch has touched, and gives those that came in their turn.

    `is_whole`: no key has more ready jobs than one transaction could put behind it.
    """

    def __init__(self, execute: Execute, batch: Batch) -> None:
        self._execute = execute
        self._batch = batch
        self._is_locked = False
        self.has_promoted = False
        self.is_whole = True

    @property
    def queues(self) -> Collection[str] | None:
        """Those that are ours; None: all are."""
        return self._batch.own_queues

    def lock(self) -> None:
        """Have nobody else give or take places and turns until the commit."""
        if not self._is_locked:
            self._is_locked = True
            self._batch.locks.places()

    def settle(self) -> None:
        """Deal with what has come in, and with the keys of what has left, or has waited long enough."""
        batch = self._batch
        if batch.may_be_behind:
            self._take_due()
        if batch.arrivals:
            self._give_turns()
        while batch.touched:
            self.lock()
            touched, batch.touched = sorted(batch.touched), set()
            for queue, key in touched:
                self.settle_key(queue, key)

    def _take_due(self) -> None:
        asked = {"now": to_text(self._batch.now), "count": AT_ONCE}
        for id, queue, key in self._execute(SELECT_DUE_BEHIND, asked).fetchall():
            self._set_wait(id, None)
            self._batch.touched.add((queue, key))

    def next_due(self) -> float | None:
        """When the first of some key has waited long enough; now, where some may start that came after the claims."""
        if self.has_promoted:
            return self._batch.now
        at = self._execute(SELECT_NEXT_BEHIND).fetchone()[0]
        return None if at is None else from_text(at)

    def take_note(self, jobs: Sequence[Job]) -> None:
        """These were claimed: of their queues' turns, and of who follows by the rates of their keys.

        Nobody counts the places of their keys meanwhile (`lock_for`).
        """
        for job in jobs:
            if job.turn:
                self._execute(NOTE_TURN, {"queue": job.queue, "priority": job.priority, "turn": job.turn})
            if job.key is not None and self._batch.rules.get(job.queue, NO_RULES).rate is not None:
                self._batch.touched.add((job.queue, job.key))
        self.has_promoted = False
        self.settle()

    def lock_for(self, jobs: Sequence[Job]) -> None:
        """Have nobody else settle the keys and turns of these until they are claimed."""
        batch = self._batch
        if batch.locks.are_needed and any(job.turn or batch.is_limited(job.queue, job.key) for job in jobs):
            self.lock()

    # Turns

    def _give_turns(self) -> None:
        """Start-time fair queueing, settled as a job comes in: one round behind the latest of its key, or at the next
        round of its queue where it has none that waits, or comes back.
        """
        self.lock()
        arrivals, self._batch.arrivals = {one.id: one for one in self._batch.arrivals}.values(), []
        latest: dict[tuple[Any, ...], int] = {}
        current: dict[tuple[str, int], int] = {}
        for one in arrivals:
            round, own = (one.queue, one.priority), (one.queue, one.key, one.priority)
            if round not in current:
                current[round] = self._turn(SELECT_QUEUE_TURN, one)
            if own not in latest:
                latest[own] = self._turn(SELECT_LATEST_TURN, one)
            after = current[round] if one.has_begun else max(current[round], latest[own])
            is_gated = self._batch.is_limited(one.queue, one.key)
            given = {"turn": after + 1, "ready": BEHIND if is_gated else 1}
            if not self._execute(SET_TURN, one._asdict() | given).rowcount:
                continue
            self._batch.place(one.id, **given)
            latest[own] = max(latest[own], after + 1)
            if not is_gated:
                self._move(one.queue, is_behind=False)

    def _turn(self, statement: str, one: Arrival) -> int:
        found = self._execute(statement, one._asdict()).fetchone()
        return 0 if found is None or found[0] is None else found[0]

    # Places

    def settle_key(self, queue: str, key: str) -> bool:
        """Have the first of those that wait be ready, as many as may; whether that is done."""
        self.lock()
        named = {"queue": queue, "key": key}
        opens_at, room = self._room(queue, key)
        ready = 0 if room is None else self._count(COUNT_KEY_READY, named | {"most": room + AT_ONCE + 1})
        if room == 0 and ready:
            ready -= self._put_first_behind(named)
        first = self._first_behind(named)
        for _ in range(0 if room == 0 and ready else AT_ONCE):
            is_full = room is not None and ready >= room and ready > 0
            last = self._last_ready(named) if is_full else None
            step = gate.next_step(room, ready, last, None if first is None else first[0])
            # All that are ready are just claimed.
            if step is None or (step is not Step.PROMOTE and last is None):
                break
            if step is not Step.PROMOTE and last is not None:
                self._put_behind(queue, last.id)
                ready -= 1
            if step is not Step.PUT_BEHIND and first is not None:
                self._promote(queue, first[0].id)
                ready += 1
            first = self._first_behind(named)
        else:
            opens_at = self._batch.now
            self.is_whole = False
        if first is not None and opens_at is not None and first[1] != to_text(opens_at):
            self._set_wait(first[0].id, to_text(opens_at))
        return opens_at != self._batch.now

    def within_limits(self, jobs: Sequence[Job]) -> list[Job]:
        """Those of these that their keys let start, where it is not sure yet that all do which are ready."""
        rooms: dict[tuple[str, str], int | None] = {}
        found = []
        for job in jobs:
            if job.key is None or not self._batch.is_limited(job.queue, job.key):
                found.append(job)
                continue
            place = job.queue, job.key
            if place not in rooms:
                _, rooms[place] = self._room(*place)
            room = rooms[place]
            if room is None or room > 0:
                rooms[place] = None if room is None else room - 1
                found.append(job)
        return found

    def _room(self, queue: str, key: str) -> tuple[float | None, int | None]:
        """When a time that the key waits for has come, if it does; how many of its jobs may be ready."""
        rules = self._batch.rules.get(queue, NO_RULES)
        opens_at, tokens = rates.of_key(self._execute, rules, scope_of_key(queue, key), self._batch)
        named = {"queue": queue, "key": key}
        running = self._count(COUNT_KEY_RUNNING, named) if rules.slots is not None else 0
        return opens_at, gate.room(rules, running, tokens)

    def _count(self, statement: str, asked: Mapping[str, str | int]) -> int:
        count: int = self._execute(statement, asked).fetchone()[0]
        return count

    def _first_behind(self, named: dict[str, str]) -> tuple[Queued, str | None] | None:
        found = self._execute(SELECT_FIRST_BEHIND, named).fetchone()
        return None if found is None else (Queued(*found[:3]), found[3])

    def _last_ready(self, named: dict[str, str]) -> Queued | None:
        found = self._execute(SELECT_LAST_READY, named).fetchone()
        return None if found is None else Queued(*found)

    def _promote(self, queue: str, id: int) -> None:
        now = to_text(self._batch.now)
        self._execute(PROMOTE, {"id": id, "now": now})
        self._batch.place(id, ready=1, updated_at=now, waits_until=None)
        self._batch.promoted[id] = queue
        self._move(queue, is_behind=False)
        self.has_promoted = True

    def _set_wait(self, id: int, at: str | None) -> None:
        self._execute(SET_WAIT, {"id": id, "at": at})
        self._batch.place(id, waits_until=at)

    def _put_behind(self, queue: str, id: int) -> None:
        self._execute(PUT_BEHIND, {"id": id})
        self._batch.place(id, ready=BEHIND)
        self._move(queue, is_behind=True)

    def _put_first_behind(self, named: dict[str, str]) -> int:
        """Those that would be claimed next lose their places; how many do."""
        count: int = self._execute(PUT_FIRST_BEHIND, named | {"most": AT_ONCE}).rowcount
        self.forget_jobs()
        for _ in range(count):
            self._move(named["queue"], is_behind=True)
        return count

    def forget_jobs(self) -> None:
        """Tell that jobs have changed which nobody has counted up."""
        self._batch.has_unseen_changes = True

    def _move(self, queue: str, is_behind: bool) -> None:
        places = [Countable(Status.PENDING, queue, None, is_behind=one) for one in (not is_behind, is_behind)]
        self._batch.move(*places)
