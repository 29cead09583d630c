"""Which pending jobs get a slot: pure choices over lanes, what runs, and what waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Lanes:
    """The slots that exist: `slots` in all, and for each known queue its own number or None for no own limit."""

    slots: int
    queues: Mapping[str, int | None] = field(default_factory=lambda: {"default": None})

    def closed(self) -> Lanes:
        """The same lanes with no slot to give, as while draining."""
        return Lanes(0, self.queues)


class Waiting(Protocol):
    """A pending job that is due, as far as the choice needs it."""

    @property
    def id(self) -> int: ...
    @property
    def queue(self) -> str: ...
    @property
    def priority(self) -> int: ...


W = TypeVar("W", bound=Waiting)


def free_slots(lanes: Lanes, running: Mapping[str, int]) -> int:
    """How many more attempts could start in all queues together."""
    return max(0, lanes.slots - sum(running.values()))


def room(lanes: Lanes, running: Mapping[str, int], paused: Iterable[str]) -> dict[str, int]:
    """How many more attempts each queue could start now; queues that could start none are left out."""
    free = free_slots(lanes, running)
    closed = set(paused)
    places = {
        queue: free if own is None else min(free, own - running.get(queue, 0))
        for queue, own in lanes.queues.items()
        if queue not in closed
    }
    return {queue: count for queue, count in places.items() if count > 0}


def choose(free: int, places: Mapping[str, int], waiting: Iterable[W]) -> list[W]:
    """The jobs to start now: higher priority first, then the older, each within its queue's places.

    `free` is the number of slots left in all, `places` what room() gave.
    """
    taken: Counter[str] = Counter()
    chosen: list[W] = []
    for job in sorted(waiting, key=lambda job: (-job.priority, job.id)):
        if len(chosen) >= free:
            break
        if taken[job.queue] < places.get(job.queue, 0):
            taken[job.queue] += 1
            chosen.append(job)
    return chosen
