"""The jobs that a transaction claims, for they get its free slots: by the file as it has it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.codec import to_json
from bgjob.words import Status
from bgjobd.core import planner
from bgjobd.core.job import Job
from bgjobd.core.planner import Candidate, Lanes
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import class_holds, rates
from bgjobd.store.batch import Arrival, Batch
from bgjobd.store.engines import Execute
from bgjobd.store.everywhere import Everywhere
from bgjobd.store.gate import Gate
from bgjobd.store.rows import job_from_row
from bgjobd.store.statements import of_jobs, of_pauses, of_slots, of_times
from bgjobd.store.tally import Countable
from bgjobd.store.written import BEHIND

_LOOK_AGAIN_AFTER: Final = 0.05
"""Seconds until a look at jobs that another writer had locked: it may have claimed others."""


class _Ways(NamedTuple):
    """How the classes are found that have jobs in a queue which are due, the first jobs of one, and how many it has."""

    next_class: str
    of_class: str
    counting: str


_OF_ANY_HOST: Final = _Ways(
    of_slots.SELECT_NEXT_READY_CLASS, of_slots.SELECT_READY_OF_CLASS, of_slots.COUNT_READY_OF_CLASS
)
_OF_THIS_HOST: Final = _Ways(
    of_slots.SELECT_NEXT_PINNED_CLASS, of_slots.SELECT_PINNED_OF_CLASS, of_slots.COUNT_PINNED_OF_CLASS
)

_SELECT_STANDING: Final = f"""
    SELECT (SELECT json_agg(json_build_array(queue, count)) FROM ({of_slots.COUNT_RUNNING_HERE}) AS of_queues),
        (SELECT json_agg(name) FROM queues), ({of_times.SELECT_NEXT_DUE}), ({of_times.SELECT_NEXT_TIMEOUT}),
        EXISTS ({of_slots.IS_ANY_PINNED.replace(":host", ":name")})
"""


class _Standing(NamedTuple):
    """What one host of several asks of all this at once, for each question takes its time: how many attempts it runs
    in each queue, which are paused, when the next scheduled job is due, and the next that waits, and whether jobs are
    due that ask for this host.
    """

    running: Sequence[tuple[str, int]] | None
    paused: Sequence[str] | None
    due: str | None
    timeout: str | None
    is_any_pinned: bool


_NONE: Final[Mapping[str, int]] = MappingProxyType({})

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
        self._beside: tuple[str, ...] = ()
        self._due: str | None = None
        self._timeout: str | None = None
        self._standing: _Standing | None = None
        self._has_passed_over = False

    def granted(self) -> list[Job]:
        """The jobs to start now."""
        standing = self._standing = self._try_standing()
        running = dict(
            self._execute(of_slots.COUNT_RUNNING).fetchall() if standing is None else standing.running or ()
        )
        free, beside = planner.free_slots(self._lanes, running), planner.free_beside(self._lanes, running)
        if free == 0 and beside <= 0:
            return []
        paused = self._paused() if standing is None else standing.paused or ()
        self._places = planner.free_by_queue(self._lanes, running, paused)
        self._due = self._make_ready()
        self._beside = (planner.BESIDE,) if beside > 0 and planner.BESIDE not in paused else ()
        found = self._chosen(beside, {planner.BESIDE: beside}) if self._beside else []
        if free == 0:
            return found
        chosen = self._chosen(free, self._places)
        return [*found, *(self._within_shared(free, chosen) if self._lanes.has_shared else chosen)]

    def _within_shared(self, free: int, chosen: list[Job]) -> list[Job]:
        """Those that may start as well by what runs on all hosts; others, perhaps, in the place of some."""
        everywhere = Everywhere(self._execute, self._lanes)
        while everywhere.exceeds(chosen):
            chosen = self._chosen(free, everywhere.places(self._places or {}), everywhere.classes)
        return chosen

    def _try_standing(self) -> _Standing | None:
        """None for who works alone, who asks for each when it is needed."""
        host = self._batch.host
        if host is None:
            return None
        asked = {"host": host.host, "name": self._lanes.host}
        return _Standing(*self._execute(_SELECT_STANDING, asked).fetchone())

    def _paused(self) -> list[str]:
        return [name for name, _ in self._execute(of_pauses.SELECT_PAUSED).fetchall()]

    def look_again(self, is_due: bool) -> None:
        """Look again in a moment, if that is due: another writer has what was to start."""
        self._has_passed_over |= is_due

    def next_due(self) -> float:
        """When to look again, once the claims are stored; never where an end or a submit comes first anyhow."""
        if self._places is None:
            return math.inf
        queues = (*self._places, *self._beside)
        times = [from_text(due) for due in (self._due, self._timeout) if due is not None]
        if self._batch.may_be_behind:
            at = self._gate.next_due()
            times += [] if at is None else [at]
        if self._batch.rates or self._batch.holds:
            at = rates.next_of_classes(self._execute, queues, self._batch)
            times += [] if at is None else [at]
        if self._batch.class_holds:
            at = class_holds.next_trial(self._execute, self._lanes, self._batch, queues)
            times += [] if at is None else [at]
        times += [self._batch.now + _LOOK_AGAIN_AFTER] if self._has_passed_over else []
        return min(times, default=math.inf)

    def _make_ready(self) -> str | None:
        """Have those wait for slots alone whose time has come; answers when the next one's comes."""
        now = to_text(self._batch.now)
        self._end_waits(now)
        due = self._next_due() if self._standing is None else self._standing.due
        if due is None or due > now:
            return due
        if self._batch.rules or self._batch.holds:
            self._take_in(now)
        else:
            self._execute(of_times.MAKE_READY, {"now": now, "count": READY_AT_ONCE})
        return self._next_due()

    def _end_waits(self, now: str) -> None:
        """The same of those that have slept, or waited for a signal, for so long as they would. Most look nowhere."""
        if not self._batch.may_wait:
            return
        due = self._next_timeout() if self._standing is None else self._standing.timeout
        if due is not None and due <= now:
            self._take_in(now, of_times.MAKE_READY_AFTER_WAIT, is_waiting=True)
            due = self._next_timeout()
        self._timeout = due

    def _take_in(
        self, now: str, statement: str = of_times.MAKE_READY_OR_BEHIND, is_waiting: bool = False
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

    def _next_timeout(self) -> str | None:
        due: str | None = self._execute(of_times.SELECT_NEXT_TIMEOUT).fetchone()[0]
        return due

    def _next_due(self) -> str | None:
        due: str | None = self._execute(of_times.SELECT_NEXT_DUE).fetchone()[0]
        return due

    def _chosen(self, free: int, places: Mapping[str, int], shared: Mapping[str, int] = _NONE) -> list[Job]:
        """`shared` are the classes of which no more may start than so many, by what runs on all hosts."""
        tokens = rates.of_classes(self._execute, self._batch)
        if not (self._lanes.classes or tokens or shared or self._is_any_pinned()):
            waiting = self._ready(places)
            known = self._lanes.known
            if known is None or all(job.class_name in known for job in waiting):
                return planner.choose(free, places, waiting)
        running = Counter(class_name for _, _, class_name in self._running())
        of_classes = planner.free_by_class(self._lanes, running, tokens)
        of_classes |= {name: min(number, of_classes.get(name, number)) for name, number in shared.items()}
        candidates = [one for place in places.items() for one in self._candidates(*place, of_classes)]
        return self._jobs([one.id for one in planner.choose(free, places, candidates, of_classes)])

    def _running(self) -> list[tuple[Any, ...]]:
        """What takes slots: this host's own attempts, where it is one of several."""
        host = self._batch.host
        if host is None:
            rows: list[tuple[Any, ...]] = self._execute(of_slots.SELECT_RUNNING).fetchall()
        else:
            rows = self._execute(of_slots.SELECT_RUNNING_HERE, {"host": host.host}).fetchall()
        return rows

    def _is_any_pinned(self) -> bool:
        """Whether jobs are due that ask for this host."""
        if self._standing is not None:
            return self._standing.is_any_pinned
        host = self._lanes.host
        return host is not None and bool(self._execute(of_slots.IS_ANY_PINNED, {"host": host}).fetchall())

    def _candidates(self, queue: str, count: int, of_classes: Mapping[str, int]) -> Iterator[Candidate]:
        """Of each class the first jobs of the queue that are due, as many as could start."""
        wanted = {"queue": queue, "class_name": ""}
        yield from self._of_each_class(_OF_ANY_HOST, wanted, count, of_classes)
        if self._lanes.host is not None:
            wanted = {"queue": queue, "class_name": "", "host": self._lanes.host}
            yield from self._of_each_class(_OF_THIS_HOST, wanted, count, of_classes)

    def _of_each_class(
        self, ways: _Ways, wanted: dict[str, str], count: int, of_classes: Mapping[str, int]
    ) -> Iterator[Candidate]:
        """Each class is found without a look at the jobs of another."""
        known = self._lanes.known
        while row := self._execute(ways.next_class, wanted).fetchone():
            (name,) = row
            wanted["class_name"] = name
            most = min(count, of_classes.get(name, count)) if known is None or name in known else 0
            if most > 0:
                found = self._execute(ways.of_class, wanted | {"count": most}).fetchall()
                if len(found) < most:
                    self._see_who_has_others(ways, wanted, found)
                yield from (Candidate(id, wanted["queue"], name, *order) for id, *order in found)

    def _ready(self, places: Mapping[str, int]) -> list[Job]:
        """Of each queue those that are due, as many as could start."""
        if self._batch.locks.are_needed:
            return list(self._ready_of_all(places))
        return [
            job_from_row(row)
            for queue, count in places.items()
            for row in self._execute(of_slots.SELECT_READY, {"queue": queue, "count": count}).fetchall()
        ]

    def _ready_of_all(self, places: Mapping[str, int]) -> Iterator[Job]:
        """The same by one question; what another writer has locked is passed over."""
        asked = {"places": to_json(list(places.items()))}
        found = Counter[str]()
        there = {}
        for queue, count, *row in self._execute(of_slots.SELECT_READY_OF_QUEUES, asked).fetchall():
            there[queue] = count
            if row[0] is not None:
                found[queue] += 1
                yield job_from_row(row)
        self._has_passed_over |= any(count > found[queue] for queue, count in there.items())

    def _see_who_has_others(
        self, ways: _Ways, wanted: Mapping[str, Any], found: Sequence[tuple[Any, ...]]
    ) -> None:
        """Note that more are ready than were found, though there are slots for them: another writer has locked them."""
        if self._batch.locks.are_needed:
            asked = {**wanted, "most": len(found) + 1}
            (count,) = self._execute(ways.counting, asked).fetchone()
            self._has_passed_over |= count > len(found)

    def _jobs(self, ids: list[int]) -> list[Job]:
        """These jobs, in this order."""
        rows = self._execute(of_jobs.SELECT_JOBS, {"ids": to_json(ids)}).fetchall() if ids else []
        jobs = {job.id: job for job in map(job_from_row, rows)}
        return [jobs[id] for id in ids]
