"""What is entrusted to the writer: items, each with what its sender wants back, on their way from the loop to there.

What an item comes to is not looked at here, only how much it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple

from bgjobd.core.facts import ClockJumped
from bgjobd.store.items.attempts import AttemptNotes, JobFact, Noted, OutputEnded, StateSaved
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, Look, ReloadFailed
from bgjobd.store.items.hosts import AttemptsLost, HooksTakenOver
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import Backfill, OccurrencesDue
from bgjobd.store.items.submissions import BulkSubmission, Flow, Submission
from bgjobd.store.items.wishes import JobRequests, JobsChanged, ManyAsked

_MAX_BATCH: Final = 256
"""How many jobs one transaction is about; one item may exceed it."""


class Entrusted(NamedTuple):
    """An item with whatever the sender wants back beside its answer."""

    item: Item
    ticket: Any = None


class Outbox:
    """What the loop hands to the writer, in order: items that may wait go with the next that may not.

    `put` takes several to be committed together.
    """

    def __init__(self, put: Callable[..., None]) -> None:
        self._put = put
        self._held: list[Entrusted] = []

    def hold(self, item: Item, ticket: Any = None) -> None:
        """Keep an item until something is sent."""
        self._held.append(Entrusted(item, ticket))

    def send(self, item: Item | None = None, ticket: Any = None) -> None:
        """Hand over what was held, then this item, to be committed together."""
        if item is not None:
            self.hold(item, ticket)
        held, self._held = self._held, []
        if held:
            self._put(*held)


class Intake:
    """What was put and is not taken yet, for the writer's thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[tuple[Entrusted, ...] | None] = SimpleQueue()

    @property
    def is_empty(self) -> bool:
        return self._queue.empty()

    def put(self, entrusted: tuple[Entrusted, ...] | None) -> None:
        """Items to be committed together; None says that they were the last."""
        self._queue.put(entrusted)

    def take(self, patience: float | None) -> tuple[list[Entrusted], bool]:
        """What has gathered, and whether it is the last. Blocks for the first, so many seconds at most."""
        taken: list[Entrusted] = []
        jobs = 0
        try:
            batch = self._queue.get(timeout=patience)
            while batch is not None:
                taken += batch
                jobs += sum(_jobs(one.item) for one in batch)
                if jobs >= _MAX_BATCH:
                    return taken, False
                batch = self._queue.get_nowait()
        except Empty:
            return taken, False
        return taken, True


def _jobs(item: Item) -> int:
    """How many jobs the item is about, which is what it costs; what deletes does that for a moment, however many."""
    match item:
        case JobFact():  # as most are
            return 1
        case Submission():
            return len(item.jobs)
        case Flow():
            edges = sum(len(job.ties.predecessors) for job in item.jobs if job.ties is not None)
            return len(item.jobs) + len(item.groups) + edges
        case BulkSubmission():
            return len(item.rows)
        case JobRequests() | JobsChanged():
            return len(item.job_ids)
        case ManyAsked():
            return sum(len(one.job_ids) for one in item.requests)
        case AttemptsLost():
            return len(item.ends)
        case HooksTakenOver():
            return item.count
        case Backfill():
            return len(item.wanted)
        case OccurrencesDue(schedules):
            return sum(max(1, len(one.due.instants)) for one in schedules)
    return 1


def is_fact(item: Item) -> bool:
    """Whether the item tells what happened anyway, time passed too, rather than what somebody asks for."""
    return isinstance(item, _FACTS)


_FACTS: Final = (
    *(JobFact, Noted, AttemptNotes, StateSaved, OutputEnded, ClockJumped, Look),
    *(DaemonStarted, CodeLoaded, ReloadFailed),
    HooksTakenOver,  # whose answer alone tells what there is to call
)
