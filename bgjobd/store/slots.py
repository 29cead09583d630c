"""The jobs that get the free slots: in the file as a transaction has it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.words import Status
from bgjobd.core import planner
from bgjobd.core.job import Job
from bgjobd.core.planner import Candidate, Lanes
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import rates, statements
from bgjobd.store.batch import Arrival, Batch
from bgjobd.store.gate import Gate
from bgjobd.store.rows import job_from_row
from bgjobd.store.statements import Execute
from bgjobd.store.tally import Countable
from bgjobd.store.written import BEHIND

READY_AT_ONCE: Final = 500
"""How many scheduled jobs one transaction makes ready; the rest follows in the next."""


class Slots:
    """Looks for the jobs to start; `execute` runs a statement, with its values, in the transaction that is open."""

    def __init__(self, execute: Execute, lanes: Lanes, batch: Batch, gate: Gate) -> None:
        self._execute = execute
        self._lanes = lanes
        self._batch = batch
        self._gate = gate
        self._places: dict[str, int] | None = None
        self._due: str | None = None
        self._timeout: str | None = None

    def granted(self) -> list[Job]:
        """The jobs to start now."""
        running = dict(self._running(statements.COUNT_RUNNING, statements.COUNT_RUNNING_HERE))
        free = planner.free_slots(self._lanes, running)
        if free == 0:
            return []
        paused = [name for name, _ in self._execute(statements.SELECT_PAUSED).fetchall()]
        self._places = planner.free_by_queue(self._lanes, running, paused)
        self._due = self._make_ready()
        return self._chosen(free, self._places)

    def _running(self, of_all: str, of_host: str) -> list[tuple[Any, ...]]:
        """What takes slots: this host's own attempts, where it is one of several."""
        host = self._batch.host
        asked = self._execute(of_all) if host is None else self._execute(of_host, {"host": host.host})
        found: list[tuple[Any, ...]] = asked.fetchall()
        return found

    def next_due(self) -> float:
        """When to look again, once the claims are stored; never where an end or a submit comes first anyhow."""
        if self._places is None:
            return math.inf
        times = [from_text(due) for due in (self._due, self._timeout) if due is not None]
        if self._batch.may_be_behind:
            at = self._gate.next_due()
            times += [] if at is None else [at]
        if self._batch.rates or self._batch.holds:
            at = rates.next_of_classes(self._execute, self._places, self._batch)
            times += [] if at is None else [at]
        return min(times, default=math.inf)

    def _make_ready(self) -> str | None:
        """Have those wait for slots alone whose time has come; answers when the next one's comes."""
        now = to_text(self._batch.now)
        self._end_waits(now)
        due = self._next_due()
        if due is None or due > now:
            return due
        if self._batch.rules or self._batch.holds:
            self._take_in(now)
        else:
            self._execute(statements.MAKE_READY, {"now": now, "count": READY_AT_ONCE})
        return self._next_due()

    def _end_waits(self, now: str) -> None:
        """The same of those that have slept, or waited for a signal, for so long as they would. Most look nowhere."""
        if not self._batch.may_wait:
            return
        (due,) = self._execute(statements.SELECT_NEXT_TIMEOUT).fetchone()
        if due is not None and due <= now:
            self._take_in(now, statements.MAKE_READY_AFTER_WAIT, is_waiting=True)
            (due,) = self._execute(statements.SELECT_NEXT_TIMEOUT).fetchone()
        self._timeout = due

    def _take_in(
        self, now: str, statement: str = statements.MAKE_READY_OR_BEHIND, is_waiting: bool = False
    ) -> None:
        """The same where some have to wait for those with their key, or for their turn."""
        batch = self._batch
        limited = [queue for queue, rules in batch.rules.items() if rules.is_limited]
        shared = [queue for queue in batch.rules if batch.takes_turns(queue)]
        given = {"limited": to_json(limited), "shared": to_json(shared)}
        asked = {**given, "now": now, "count": READY_AT_ONCE}
        found = self._execute(statement, asked).fetchall()
        for _, id, queue, key, priority, has_begun, ready in sorted(found):
            stood = Countable(Status.PENDING, queue, None, is_waiting=is_waiting)
            stands = Countable(Status.PENDING, queue, None, is_behind=ready == BEHIND)
            if stands != stood:
                batch.move(stood, stands)
            if ready == BEHIND or is_waiting:
                batch.place(id, ready=ready)
            if ready != BEHIND:
                continue
            if queue in shared:
                batch.arrivals.append(Arrival(id, queue, key, priority, bool(has_begun)))
            if batch.is_limited(queue, key):
                batch.touched.add((queue, key))
        self._gate.settle()

    def _next_due(self) -> str | None:
        due: str | None = self._execute(statements.SELECT_NEXT_DUE).fetchone()[0]
        return due

    def _chosen(self, free: int, places: Mapping[str, int]) -> list[Job]:
        tokens = rates.of_classes(self._execute, self._batch)
        if not (self._lanes.classes or tokens):
            waiting = [job for queue, count in places.items() for job in self._ready(queue, count)]
            return planner.choose(free, places, waiting)
        found = self._running(statements.SELECT_RUNNING, statements.SELECT_RUNNING_HERE)
        running = Counter(class_name for _, _, class_name in found)
        of_classes = planner.free_by_class(self._lanes, running, tokens)
        candidates = [one for place in places.items() for one in self._candidates(*place, of_classes)]
        return self._jobs([one.id for one in planner.choose(free, places, candidates, of_classes)])

    def _candidates(self, queue: str, count: int, of_classes: Mapping[str, int]) -> Iterator[Candidate]:
        """Of each class the first jobs of the queue that are due, as many as could start."""
        for class_name in self._ready_classes(queue):
            wanted = {"queue": queue, "class_name": class_name}
            most = min(count, of_classes.get(class_name, count))
            if most > 0:
                found = self._execute(statements.SELECT_READY_OF_CLASS, wanted | {"count": most}).fetchall()
                yield from (Candidate(id, queue, class_name, *order) for id, *order in found)

    def _ready_classes(self, queue: str) -> Iterator[str]:
        """The classes that have jobs in the queue which are due, each found without a look at the jobs of another."""
        wanted = {"queue": queue, "class_name": ""}
        while row := self._execute(statements.SELECT_NEXT_READY_CLASS, wanted).fetchone():
            (wanted["class_name"],) = row
            yield row[0]

    def _ready(self, queue: str, count: int) -> list[Job]:
        rows = self._execute(statements.SELECT_READY, {"queue": queue, "count": count}).fetchall()
        return [job_from_row(row) for row in rows]

    def _jobs(self, ids: list[int]) -> list[Job]:
        """These jobs, in this order."""
        rows = self._execute(statements.SELECT_JOBS, {"ids": to_json(ids)}).fetchall() if ids else []
        jobs = {job.id: job for job in map(job_from_row, rows)}
        return [jobs[id] for id in ids]
