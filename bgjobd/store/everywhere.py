"""The slots that hosts share: how many attempts of a queue, or a class, may still start on any of them.

Who counts them holds the lock of that name until its claims are stored, and takes it only where it could start one. Of
SQLite's file no statement here is run: there the one host has them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from bgjobd.core.job import Job
from bgjobd.core.planner import Lanes
from bgjobd.store.engines import Execute

LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"
COUNT_OF_QUEUE: Final = "SELECT count(*) FROM background_jobs WHERE status = 'running' AND queue = :name"
COUNT_OF_CLASS: Final = "SELECT count(*) FROM background_jobs WHERE status = 'running' AND class_name = :name"


class _Shared(NamedTuple):
    """What slots are shared of: the word of its lock, what counts its running attempts, the slots by name."""

    word: str
    counting: str
    slots: Mapping[str, int]


class Everywhere:
    """The shared slots that are left, of those queues and classes that somebody wants to start one of."""

    def __init__(self, execute: Execute, lanes: Lanes) -> None:
        self._execute = execute
        self._of_queues = _Shared("queue", COUNT_OF_QUEUE, lanes.queues_everywhere)
        self._of_classes = _Shared("class", COUNT_OF_CLASS, lanes.classes_everywhere)
        self.queues: dict[str, int] = {}
        self.classes: dict[str, int] = {}

    def exceeds(self, jobs: Sequence[Job]) -> bool:
        """Whether these are more than may start; from now on nobody else starts any of the same."""
        queues, classes = Counter(job.queue for job in jobs), Counter(job.class_name for job in jobs)
        found = [
            self._are_more(queues, self._of_queues, self.queues),
            self._are_more(classes, self._of_classes, self.classes),
        ]
        return any(found)

    def places(self, places: Mapping[str, int]) -> dict[str, int]:
        """So many of each queue may start on this host, within what is left on all."""
        within = {name: min(count, self.queues.get(name, count)) for name, count in places.items()}
        return {name: count for name, count in within.items() if count > 0}

    def _are_more(self, wanted: Mapping[str, int], shared: _Shared, left: dict[str, int]) -> bool:
        for name in sorted(wanted.keys() & shared.slots.keys() - left.keys()):
            self._execute(LOCK, {"name": f"{shared.word} {name}"})
            (running,) = self._execute(shared.counting, {"name": name}).fetchone()
            left[name] = max(0, shared.slots[name] - running)
        return any(number > left.get(name, number) for name, number in wanted.items())
