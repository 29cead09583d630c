"""The rules of several hosts at one database: whose transactions count, who may take a term, and when another counts as
lost.

Instants are of the monotonic clock of the host that watches; what others' clocks say decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

Pulse = tuple[int, int]
"""A host's term and its beats: what changes as long as it lives."""

_LATE: Final = 2
"""Beats within which one has to be acknowledged; after a longer silence of the database all are watched anew. A daemon
that has been silent for so long does not hinder another one of its identity.
"""


class Term(NamedTuple):
    """One daemon's turn at being a host: whatever it stores counts until somebody else takes the next."""

    host: int
    number: int
    name: str


class Drained(NamedTuple):
    """That a host starts nothing new: since when, as it is stored, and who has asked for it, in words."""

    at: str
    by: str


@dataclass(frozen=True, slots=True)
class Profile:
    """What a host says of itself, for others to see; `clock_difference` in seconds before the database's clock. `rules`
    of its configuration, by their keys, count for all.
    """

    slots: int
    queues: tuple[str, ...]
    classes: tuple[str, ...]
    code_version: str | None = None
    trouble: str | None = None
    clock_difference: float | None = None
    rules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Seen:
    """A host as its row was found; it has moved where `term` or `beats` differ.

    `lost_after` in seconds, None: it never counts as lost by itself. `is_owing`: attempts of it have no end.
    `has_left`: its daemon was stopped, and its attempts may go on without one.
    """

    host: int
    name: str
    term: int
    beats: int
    lost_after: float | None
    is_owing: bool = True
    has_left: bool = False
    is_lost: bool = False

    @property
    def pulse(self) -> Pulse:
        return self.term, self.beats


class Former(NamedTuple):
    """Who has the term that a daemon of the same identity wants to follow: `boot_id` is of its life, `unseen_for` in
    seconds by the database's clock.
    """

    pulse: Pulse
    boot_id: str
    unseen_for: float
    has_left: bool = False


class LivesElsewhereError(Exception):
    """Another machine has the identity of this one, and beats."""

    def __init__(self) -> None:
        super().__init__(
            "another machine beats with the identity of this host: the machine, or its state directory, was copied"
        )


def wait_before_term(
    former: Former, boot_id: str, beat: float, watched: Pulse | None, was_away: bool = False
) -> float:
    """Seconds in which a daemon of this life waits whether the one before beats; 0.0: it may take the next term.

    A life is over before the next one of its host begins: who beats after that is another machine, such as a clone.
    `watched` is the pulse as it was found before such a wait. Raises LivesElsewhereError where it has moved since; a
    database that went back tells of nobody's life, and one that `was_away` until now of nobody's silence.
    """
    if former.boot_id == boot_id or former.has_left:
        return 0.0
    if watched is not None and former.pulse > watched:
        raise LivesElsewhereError
    if was_away:
        return _LATE * beat
    if watched is None or former.pulse < watched:
        return max(0.0, _LATE * beat - max(0.0, former.unseen_for))
    return 0.0


@dataclass(frozen=True, slots=True)
class Vigil:
    """What a host has seen of the others, and since when each has not moved; `acknowledged_at`: its own last beat."""

    acknowledged_at: float | None = None
    still: Mapping[int, tuple[Seen, float]] = field(default_factory=dict)


def acknowledged(vigil: Vigil, now: float, beat: float, others: Iterable[Seen]) -> Vigil:
    """The vigil after an own beat was acknowledged, by a transaction that has found the others like this.

    Where the one before is too long ago the database was away, and so it was for the others: all begin to count anew.
    """
    last = vigil.acknowledged_at
    is_unbroken = last is not None and now - last <= _LATE * beat
    known = vigil.still if is_unbroken else {}
    return replace(vigil, acknowledged_at=now, still={one.host: _watched(one, known, now) for one in others})


def _watched(one: Seen, known: Mapping[int, tuple[Seen, float]], now: float) -> tuple[Seen, float]:
    before = known.get(one.host)
    return one, (now if before is None or before[0].pulse != one.pulse else before[1])


def lost(vigil: Vigil) -> list[Seen]:
    """The hosts that have not moved for as long as they said, while own beats were acknowledged all that time.

    One whose daemon was stopped counts too, for what it left may run on: but not where it has left nothing.
    """
    now = vigil.acknowledged_at
    return [
        one
        for one, since in vigil.still.values()
        if now is not None
        and one.lost_after is not None
        and now - since >= one.lost_after
        and not one.is_lost
        and (one.is_owing or not one.has_left)
    ]
