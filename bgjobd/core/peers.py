"""What is known of the hosts that work from the same database, this one among them, and what it means for a job.

When one counts as lost is no question of this: that is decided by who watches it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Final

_KNOWN_FOR: Final = 86_400.0
"""Seconds since it was seen for which a host's name and its queues may be asked for: it may be back in a moment."""

_LIVES_FOR: Final = 600.0
"""The same for which one lives that never counts as lost by itself."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A host; `seen_at` is when it last said that it lives, after `lost_after` seconds it counts as lost, if ever.

    `has_left`: its daemon was stopped; `is_draining`: it starts nothing new. `queues` are those that it gives slots,
    `classes` those that it can start.
    """

    name: str
    seen_at: float
    lost_after: float | None = None
    queues: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    has_left: bool = False
    is_lost: bool = False
    is_draining: bool = False

    def is_known(self, now: float) -> bool:
        """Whether it was seen within a day."""
        return now - self.seen_at <= _KNOWN_FOR

    def lives(self, now: float) -> bool:
        """Whether a job may wait for it."""
        is_silent = now - self.seen_at > (self.lost_after or _LIVES_FOR)
        return not (self.has_left or self.is_lost or is_silent)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job wants of a host."""

    queue: str
    class_name: str
    host: str | None = None


def queues_of(peers: Collection[Peer], now: float) -> frozenset[str]:
    """The queues that a job may be submitted to."""
    return frozenset().union(*(peer.queues for peer in peers if peer.is_known(now)))


def names_of(peers: Collection[Peer], now: float) -> frozenset[str]:
    """The hosts that a job may ask for."""
    return frozenset(peer.name for peer in peers if peer.is_known(now))


def takers(peers: Collection[Peer], wanted: Wanted, now: float) -> list[Peer]:
    """The hosts that live and could start it."""
    living = [peer for peer in peers if peer.lives(now)]
    return [peer for peer in living if all(fits(peer) for _, fits in _conditions(wanted))]


def why_nobody(peers: Collection[Peer], wanted: Wanted, now: float) -> str | None:
    """What no host that lives has; None where one could start the job."""
    left = [peer for peer in peers if peer.lives(now)]
    for lacking, fits in _conditions(wanted):
        left = [peer for peer in left if fits(peer)]
        if not left:
            return f"no host that lives {lacking}"
    return None


def _conditions(wanted: Wanted) -> Iterator[tuple[str, Callable[[Peer], bool]]]:
    """What a host has to meet, one after the other, each with the words for that none does."""
    if wanted.host is not None:
        yield f"is {wanted.host}, which it asks for", lambda peer: peer.name == wanted.host
    yield f"has queue {wanted.queue}", lambda peer: wanted.queue in peer.queues
    yield "has its class approved", lambda peer: wanted.class_name in peer.classes
    yield "takes it, as those that could are draining", lambda peer: not peer.is_draining


def silence(peer: Peer, now: float) -> float | None:
    """For how many seconds it was not seen, where that is longer than it should be."""
    since = now - peer.seen_at
    return since if since > min(_LATE, (peer.lost_after or _LIVES_FOR) / 2) else None


_LATE: Final = 30.0
