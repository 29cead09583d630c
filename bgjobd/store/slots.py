"""The queues whose pause is over, and the jobs that get the free slots: in the file as a transaction has it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgjob.codec import to_json
from bgjobd.core import planner
from bgjobd.core.job import Job
from bgjobd.core.planner import Candidate, Lanes
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import statements
from bgjobd.store.rows import job_from_row

READY_AT_ONCE: Final = 500
"""How many scheduled jobs one transaction makes ready; the rest follows in the next."""


def end_pauses(execute: Callable[..., Any], now: float) -> tuple[list[str], float]:
    """The queues whose pause is over, which are open from here on; and when the next one's is, `inf` for never."""
    next_end = _next_end_of_pause(execute)
    if next_end > now:
        return [], next_end
    over = execute(statements.END_PAUSES, {"now": to_text(now)}).fetchall()
    return sorted(name for (name,) in over), _next_end_of_pause(execute)


def _next_end_of_pause(execute: Callable[..., Any]) -> float:
    (at,) = execute(statements.SELECT_NEXT_RESUME).fetchone()
    return math.inf if at is None else from_text(at)


@dataclass(slots=True)
class Slots:
    """Looks for the jobs to start; `execute` runs a statement, with its values, in the transaction that is open."""

    execute: Callable[..., Any]
    lanes: Lanes
    now: float

    def granted(self) -> tuple[list[Job], float | None]:
        """The jobs to start now, and when to look again. None: an end or a submit comes first anyhow."""
        running = dict(self.execute(statements.COUNT_RUNNING).fetchall())
        free = planner.free_slots(self.lanes, running)
        if free == 0:
            return [], None
        paused = [name for name, _ in self.execute(statements.SELECT_PAUSED).fetchall()]
        places = planner.free_by_queue(self.lanes, running, paused)
        due = self._make_ready()
        return self._chosen(free, places), None if due is None else from_text(due)

    def _make_ready(self) -> str | None:
        """Have those wait for slots alone whose time has come; answers when the next one's comes."""
        now = to_text(self.now)
        due = self._next_due()
        if due is None or due > now:
            return due
        self.execute(statements.MAKE_READY, {"now": now, "count": READY_AT_ONCE})
        return self._next_due()

    def _next_due(self) -> str | None:
        due: str | None = self.execute(statements.SELECT_NEXT_DUE).fetchone()[0]
        return due

    def _chosen(self, free: int, places: Mapping[str, int]) -> list[Job]:
        if not self.lanes.classes:
            waiting = [job for queue, count in places.items() for job in self._ready(queue, count)]
            return planner.choose(free, places, waiting)
        running = Counter(class_name for _, _, class_name in self.execute(statements.SELECT_RUNNING))
        of_classes = planner.free_by_class(self.lanes, running)
        candidates = [one for place in places.items() for one in self._candidates(*place, of_classes)]
        return self._jobs([one.id for one in planner.choose(free, places, candidates, of_classes)])

    def _candidates(self, queue: str, count: int, of_classes: Mapping[str, int]) -> Iterator[Candidate]:
        """Of each class the first jobs of the queue that are due, as many as could start."""
        for class_name in self._ready_classes(queue):
            wanted = {"queue": queue, "class_name": class_name}
            most = min(count, of_classes.get(class_name, count))
            if most > 0:
                found = self.execute(statements.SELECT_READY_OF_CLASS, wanted | {"count": most}).fetchall()
                yield from (Candidate(id, queue, class_name, priority) for id, priority in found)

    def _ready_classes(self, queue: str) -> Iterator[str]:
        """The classes that have jobs in the queue which are due, each found without a look at the jobs of another."""
        wanted = {"queue": queue, "class_name": ""}
        while row := self.execute(statements.SELECT_NEXT_READY_CLASS, wanted).fetchone():
            (wanted["class_name"],) = row
            yield row[0]

    def _ready(self, queue: str, count: int) -> list[Job]:
        rows = self.execute(statements.SELECT_READY, {"queue": queue, "count": count}).fetchall()
        return [job_from_row(row) for row in rows]

    def _jobs(self, ids: list[int]) -> list[Job]:
        """These jobs, in this order."""
        rows = self.execute(statements.SELECT_JOBS, {"ids": to_json(ids)}).fetchall() if ids else []
        jobs = {job.id: job for job in map(job_from_row, rows)}
        return [jobs[id] for id in ids]
