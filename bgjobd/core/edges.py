"""That jobs come after others: where each such edge stands, what a group counts, and when it has ended; no I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum, auto
from typing import Final, NamedTuple

from bgjob.words import IfFailed, Status

MOST_ENCLOSING: Final = 8
"""How many groups may enclose a job: its own, the one that this is in, and so on."""


class Of(StrEnum):
    """What a job comes after."""

    JOB = "job"
    GROUP = "group"


class Node(NamedTuple):
    """A job or a group, as what others come after."""

    of: Of
    id: int

    def __str__(self) -> str:
        return str(self.id) if self.of is Of.JOB else f"group {self.id}"

    @property
    def named(self) -> str:
        """As sentences name it."""
        return f"{self.of} {self.id}"


class Standing(IntEnum):
    """Where an edge stands; the numbers are stored. What is met stays so."""

    OPEN = 0
    MET = 1
    FAILED = 2


class Fate(StrEnum):
    """What has become of a job or a group, as far as those ask that come after it."""

    UNFINISHED = auto()
    COMPLETED = auto()
    FAILED = auto()
    CANCELLED = auto()
    DELETED = auto()


_FATES: Final = {
    Status.PENDING: Fate.UNFINISHED,
    Status.RUNNING: Fate.UNFINISHED,
    Status.COMPLETED: Fate.COMPLETED,
    Status.FAILED: Fate.FAILED,
    Status.CANCELLED: Fate.CANCELLED,
}


def fate_of(status: Status, is_for_review: bool = False, *, to_next_one: bool = False) -> Fate:
    """Of a job that stands so; what nobody knows of, until a person says it, is no end but to the next one of its
    schedule, which is another matter.
    """
    return Fate.UNFINISHED if is_for_review and not to_next_one else _FATES[status]


def standing(predecessor: Fate, if_failed: IfFailed) -> Standing:
    """Where an edge from this predecessor stands by now."""
    if predecessor is Fate.UNFINISHED:
        return Standing.OPEN
    if predecessor is Fate.COMPLETED or if_failed is IfFailed.RUN:
        return Standing.MET
    return Standing.FAILED


def settled(stored: Standing, predecessor: Fate, if_failed: IfFailed) -> Standing:
    """The same of an edge that stood so before."""
    return stored if stored is Standing.MET else standing(predecessor, if_failed)


MOVED: Final = frozenset({Status.PENDING, Status.CANCELLED})
"""The jobs that what they come after still moves: whatever else comes after something has had its turn."""

TAKING: Final = MOVED | {Status.FAILED}
"""Those that may run again, and then with the values of now."""


def is_for_good(predecessor: Fate, after: Standing, if_failed: IfFailed) -> bool:
    """Whether a job waits for a retry that nobody can ask for any more."""
    return predecessor is Fate.DELETED and after is Standing.FAILED and if_failed is IfFailed.WAIT


def waits_more(before: Standing, after: Standing) -> int:
    """By how much it changes the number of edges that are not met."""
    return (after is not Standing.MET) - (before is not Standing.MET)


def fails_more(before: Standing, after: Standing, if_failed: IfFailed) -> int:
    """By how much it changes the number of failed edges for which a job is cancelled."""
    if if_failed is not IfFailed.CANCEL:
        return 0
    return (after is Standing.FAILED) - (before is Standing.FAILED)


# What is asked of a new job


@dataclass(frozen=True, slots=True)
class Mentioned:
    """A job or a group of the same request, by its place in the request's list; never equal to a Node."""

    of: Of
    place: int


@dataclass(frozen=True, slots=True)
class Take:
    """The parameter `name` is to come from a result; `pointer` is of RFC 6901."""

    name: str
    of: Node | Mentioned
    pointer: str = ""


@dataclass(frozen=True, slots=True)
class Ties:
    """What a job comes after, what of that it takes, and the group that it is in, as a request says."""

    after: tuple[Node | Mentioned, ...] = ()
    if_failed: IfFailed = IfFailed.CANCEL
    takes: tuple[Take, ...] = ()
    group: int | Mentioned | None = None

    @property
    def predecessors(self) -> tuple[Node | Mentioned, ...]:
        """All that it comes after, each once: what it takes something of among them."""
        return tuple(dict.fromkeys((*self.after, *(take.of for take in self.takes))))

    def path_of(self, predecessor: Node | Mentioned) -> str:
        """Where the options name it: "after.0", "take.rows.of"."""
        if predecessor in self.after:
            return f"after.{self.after.index(predecessor)}"
        return next(f"take.{take.name}.of" for take in self.takes if take.of == predecessor)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a new job stands among others: how many of its edges are not met; `takes` is JSON text."""

    waits_for: int = 0
    if_failed: IfFailed | None = None
    group_id: int | None = None
    takes: str | None = None


@dataclass(frozen=True, slots=True)
class NewGroup:
    """A group that a request makes; it is sealed with that unless it `is_open`."""

    name: str | None = None
    is_open: bool = False
    parent: int | Mentioned | None = None
    idempotency_key: str | None = None


# Groups


@dataclass(frozen=True, slots=True)
class Group:
    """A group and what it counts; `since_id` is the newest job before it, `parent` the group that it is in."""

    id: int
    since_id: int
    name: str | None = None
    parent: int | None = None
    total: int = 0
    unfinished: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    sealed_at: float | None = None
    ended_at: float | None = None
    cancel_requested_at: float | None = None
    created_at: float = 0.0
    submitted_uid: int | None = None

    @property
    def fate(self) -> Fate:
        if self.sealed_at is None or self.unfinished:
            return Fate.UNFINISHED
        return Fate.FAILED if self.failed or self.cancelled else Fate.COMPLETED

    @property
    def fate_told(self) -> Fate:
        """The same as of when its counts were written last: a group that is just made has not ended yet."""
        return Fate.UNFINISHED if self.ended_at is None else self.fate

    @property
    def state(self) -> str:
        """In the words of the socket."""
        if self.sealed_at is None:
            return "open"
        return "sealed" if self.fate is Fate.UNFINISHED else self.fate.value

    def counted(self, change: Change, now: float) -> Group:
        """The group after its members have changed so; it ends, and goes on, as they do."""
        after = replace(
            self,
            total=self.total + change.total,
            unfinished=self.unfinished + change.unfinished,
            completed=self.completed + change.completed,
            failed=self.failed + change.failed,
            cancelled=self.cancelled + change.cancelled,
        )
        if after.fate is Fate.UNFINISHED:
            return replace(after, ended_at=None)
        return after if after.ended_at is not None else replace(after, ended_at=now)


class Change(NamedTuple):
    """By how much a group's counts change."""

    total: int = 0
    unfinished: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0

    def plus(self, other: Change) -> Change:
        return Change(*[one + more for one, more in zip(self, other, strict=True)])


def change_of(before: Fate | None, after: Fate) -> Change:
    """What a member's change of fate means to its group; before it was a member there was none."""
    counts = dict.fromkeys(Change._fields, 0)
    counts["total"] = before is None
    if before is not None:
        counts[before.value] -= 1
    counts[after.value] += 1
    return Change(**counts)


# The order that allows no cycle


@dataclass(frozen=True, slots=True)
class Placed:
    """A node with the groups that enclose it, the innermost first."""

    node: Node
    within: tuple[int, ...] = ()


def is_in_order(predecessor: Placed, enclosing: Sequence[Group]) -> bool:
    """Whether a job that these groups enclose may come after this: in each it lies within as well, or is older.

    Then no cycle can be written down: of its oldest node, a group, the path would have to leave the group to something
    that is not older.
    """
    return all(_is_older(predecessor.node, group) or group.id in predecessor.within for group in enclosing)


def _is_older(node: Node, group: Group) -> bool:
    return node.id < group.id if node.of is Of.GROUP else node.id <= group.since_id
