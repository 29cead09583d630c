"""Which attempts are lost, on which host, and whether what was done to that host is a cause of it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from tests.faults.books import Key
from tests.faults.torture.killer import ENDS_DAEMON, ENDS_SERVER, KEEPS_AWAY, Deed, Done

GIVEN_UP: Final = "counts as lost"
FENCED: Final = "cut off from the database"
_SLACK: Final = 5.0
"""Seconds before its start that an attempt's fork server and daemon may have died, and after its end."""


class Loss(NamedTuple):
    """A lost attempt; its times in seconds since the epoch."""

    key: Key
    host: str
    begin: float
    end: float
    why: str

    def __str__(self) -> str:
        return f"job {self.key[0]}, attempt {self.key[1]}: {self.why}"

    @property
    def is_given_up(self) -> bool:
        """Whether others have taken over, whatever became of it."""
        return GIVEN_UP in self.why


def met(loss: Loss, done: Sequence[Done], earlier: float = 0.0) -> frozenset[Deed]:
    """What was done to its host while it ran, and so long before."""
    begin, end = loss.begin - _SLACK - earlier, loss.end + _SLACK
    return frozenset(one.deed for one in done if begin <= one.at <= end)


def was_left_alone(loss: Loss, done: Sequence[Done]) -> bool:
    """Whether nobody was there to end it before others took over: neither its daemon nor its fork server."""
    deeds = met(loss, done)
    return loss.is_given_up and bool(deeds & KEEPS_AWAY) and bool(deeds & ENDS_SERVER)


def findings(
    losses: Sequence[Loss], done: Callable[[str], Sequence[Done]], lost_after: float
) -> Iterator[str]:
    """Those without a cause. That a host was cut off is one: who knows how long a busy machine takes."""
    for loss in losses:
        if loss.is_given_up:
            if not met(loss, done(loss.host), 2 * lost_after) & KEEPS_AWAY:
                yield f"{loss}, and its daemon was not kept away"
        elif FENCED not in loss.why:
            deeds = met(loss, done(loss.host))
            if not (deeds & ENDS_DAEMON and deeds & ENDS_SERVER):
                yield f"{loss}, and daemon and fork server of {loss.host} did not both die"
