"""Which pending jobs get a slot: pure choices over lanes, what runs, and what waits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from heapq import merge
from itertools import groupby
from operator import attrgetter
from typing import Final, Protocol, TypeVar

from bgjobd.core.gate import KeyRules
from bgjobd.core.rates import Rate

BESIDE: Final = "~alerts"
"""The queue of what tells people that something is wrong, which has a slot beyond all others: else what hangs in these
would keep it from that. No configuration can have this name.
"""


@dataclass(frozen=True, slots=True)
class Lanes:
    """The slots that exist: `slots` in all, and for each known queue its own number or None for no own limit.

    `classes` are the slots of the classes that have a limit, in whatever queues their jobs are; `max_pending` is how
    many jobs may be pending in a queue for another to be taken in, `max_parameters` how many bytes a job's may take.
    `keys` is what the queues say of keys that say anything, None where that is not known, and so nothing is changed;
    `rates` are those of classes. Where several hosts work from the database `host` is the name of this one, and nothing
    starts but what is of its `known` classes, and asks for no other host; None where there is but one. On all hosts
    together so many may run of the queues in `queues_everywhere`, and of the classes in `classes_everywhere`. What
    starts is of this `code_version`, None where that is not known. Somebody waits for jobs of `awaited`, classes or
    methods, to complete.
    """

    slots: int
    queues: Mapping[str, int | None] = field(default_factory=lambda: {"default": None})
    classes: Mapping[str, int] = field(default_factory=dict)
    max_pending: Mapping[str, int] = field(default_factory=dict)
    max_parameters: int = 64 * 1024
    keys: Mapping[str, KeyRules] | None = None
    rates: Mapping[str, Rate] = field(default_factory=dict)
    host: str | None = None
    known: frozenset[str] | None = None
    queues_everywhere: Mapping[str, int] = field(default_factory=dict)
    classes_everywhere: Mapping[str, int] = field(default_factory=dict)
    code_version: str | None = None
    hookless: frozenset[str] = frozenset()
    awaited: frozenset[str] = frozenset()

    @property
    def has_shared(self) -> bool:
        """Whether what runs on other hosts may keep something from starting here."""
        return bool(self.queues_everywhere or self.classes_everywhere)

    def closed(self) -> Lanes:
        """The same lanes with no slot to give, as while draining."""
        return replace(self, slots=0)

    def of_classes(self, classes: Iterable[str]) -> Lanes:
        """The same lanes with slots for these classes alone, where others have hosts of their own."""
        return self if self.host is None else replace(self, known=frozenset(classes))

    def of_code(self, code_version: str | None) -> Lanes:
        """The same lanes for attempts of this code."""
        return replace(self, code_version=code_version)

    def without(self, classes: Iterable[str]) -> Lanes:
        """The same lanes with no slot for these classes, as while nothing of them can start."""
        return replace(self, classes={**self.classes, **dict.fromkeys(classes, 0)})


class Waiting(Protocol):
    """A pending job that is due, as far as the choice needs it."""

    @property
    def id(self) -> int: ...
    @property
    def queue(self) -> str: ...
    @property
    def class_name(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def turn(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pending job that is due, and no more of it than the choice needs."""

    id: int
    queue: str
    class_name: str
    priority: int
    turn: int = 0


def may_go(crashes: int, on_the_way: int, has_suspect: bool) -> bool:
    """Whether the next start in line may go to the fork server now, by how many are on the way there and by whom.

    A start of a job with `crashes` may end the fork server, with it those on the way: it goes alone, so that one more
    end tells that it is its doing.
    """
    return not has_suspect and (not crashes or not on_the_way)


W = TypeVar("W", bound=Waiting)


def free_slots(lanes: Lanes, running: Mapping[str, int]) -> int:
    """How many more attempts could start in all queues together, but for the one beside them."""
    return max(0, lanes.slots - sum(running.values()) + running.get(BESIDE, 0))


def free_beside(lanes: Lanes, running: Mapping[str, int]) -> int:
    """How many could start in the queue that has a slot beyond all others, where there is one."""
    return max(0, lanes.queues.get(BESIDE) or 0) - running.get(BESIDE, 0) if lanes.slots else 0


def free_by_queue(lanes: Lanes, running: Mapping[str, int], paused: Iterable[str]) -> dict[str, int]:
    """How many more attempts each queue could start now; queues that could start none are left out."""
    free = free_slots(lanes, running)
    closed = set(paused)
    places = {
        queue: free if own is None else min(free, own - running.get(queue, 0))
        for queue, own in lanes.queues.items()
        if queue not in closed and queue != BESIDE
    }
    return {queue: count for queue, count in places.items() if count > 0}


def free_by_class(
    lanes: Lanes, running: Mapping[str, int], tokens: Mapping[str, int] | None = None
) -> dict[str, int]:
    """How many more attempts each class with a limit could start, 0 where it is full; `running` is by class, and so
    are the `tokens` of those with a rate.
    """
    free = {name: max(0, slots - running.get(name, 0)) for name, slots in lanes.classes.items()}
    return free | {name: min(number, free.get(name, number)) for name, number in (tokens or {}).items()}


def choose(
    free: int, places: Mapping[str, int], waiting: Iterable[W], of_classes: Mapping[str, int] | None = None
) -> list[W]:
    """The jobs to start now: higher priority first, then the older, each within its queue's places and its class's.

    In a queue whose jobs take turns the turn comes before the age; between queues it tells nothing. `free` is the
    number of slots left in all, `places` what free_by_queue() gave, `of_classes` what free_by_class() gave: a class
    that it lacks has no limit.
    """
    left, left_of_classes = dict(places), dict(of_classes or {})
    chosen: list[W] = []
    for job in _in_order(waiting):
        if len(chosen) >= free:
            break
        if left.get(job.queue, 0) > 0 and left_of_classes.get(job.class_name, 1) > 0:
            left[job.queue] -= 1
            if job.class_name in left_of_classes:
                left_of_classes[job.class_name] -= 1
            chosen.append(job)
    return chosen


def _in_order(waiting: Iterable[W]) -> Iterable[W]:
    """Of each queue in its own order, the heads of which are compared."""
    by_turn = sorted(waiting, key=lambda job: (job.queue, -job.priority, job.turn, job.id))
    queues = [list(jobs) for _, jobs in groupby(by_turn, attrgetter("queue"))]
    if len(queues) == 1:
        return queues[0]
    return merge(*queues, key=lambda job: (-job.priority, job.id))
