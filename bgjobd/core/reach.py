"""What was met of a graph on the way from a job: which of it failed, what that blocks, what of it is shown; no I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from bgjob.words import Status
from bgjobd.core.edges import Node, Of


@dataclass(slots=True)
class Reach:
    """At most so many jobs that were met, the nearest first; `is_cut`: there is more, or may be."""

    most: int
    statuses: dict[int, str] = field(default_factory=dict)
    within: dict[Node, int] = field(default_factory=dict)
    held_up: dict[Node, list[int]] = field(default_factory=dict)
    is_cut: bool = False

    @property
    def is_full(self) -> bool:
        return len(self.statuses) >= self.most

    @property
    def total(self) -> int | None:
        """How many jobs there are, at most so many; None where it took too long to know."""
        return None if self.is_cut and not self.is_full else len(self.statuses)

    def put_within(self, node: Node, group_id: int | None) -> None:
        if group_id is not None:
            self.within[node] = group_id

    def groups_of(self, of: Of, ids: Iterable[int]) -> list[int]:
        """Those that these jobs, or groups, are in."""
        nodes = (Node(of, id) for id in ids)
        return list(dict.fromkeys(self.within[node] for node in nodes if node in self.within))

    def failed(self) -> list[int]:
        """The jobs that did."""
        return [id for id, status in self.statuses.items() if status == Status.FAILED]

    def blocked(self) -> Iterator[int]:
        """The jobs that wait for those that failed, or for such ones, and those that were cancelled for it."""
        waiting = deque(Node(Of.JOB, id) for id in self.failed())
        met = set(waiting)
        while waiting:
            node = waiting.popleft()
            later = [Node(Of.JOB, id) for id in self.held_up.get(node, ())]
            if node in self.within:
                later.append(Node(Of.GROUP, self.within[node]))
            for other in later:
                if other not in met:
                    met.add(other)
                    waiting.append(other)
                    if other.of is Of.JOB and other.id in self.statuses:
                        yield other.id


def chosen(reach: Reach, job_id: int, nearest: Iterable[int], limit: int) -> list[int]:
    """So many jobs: the one that was asked for; those that failed and what they block, a quarter of the room each, or
    what the other leaves of both quarters; then the nearest.
    """
    shown = dict.fromkeys([job_id])
    failed, blocked = reach.failed(), list(reach.blocked())
    half = (limit - 1) // 2
    _take(shown, failed, 1 + (half + 1) // 2)
    _take(shown, blocked, 1 + half)
    _take(shown, failed, 1 + half)
    for others in (nearest, failed, blocked, reach.statuses):
        _take(shown, others, limit)
    return list(shown)


def _take(shown: dict[int, None], others: Iterable[int], most: int) -> None:
    shown |= dict.fromkeys(islice((id for id in others if id not in shown), max(0, most - len(shown))))
