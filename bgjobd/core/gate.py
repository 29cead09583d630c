"""Which jobs of a key have a place, and which are behind it: from counts, and from the two that come next; no I/O.

A job has a place while it runs, or waits for nothing but a slot. What is ready is what comes first of all of a key that
wait, in the order of claims, as many as may run beside those that do.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final, NamedTuple

from bgjobd.core.rates import Rate


class Share(StrEnum):
    """By what jobs of equal priority take turns in a queue: by none, by their keys, by who submits them."""

    NONE = auto()
    KEY = auto()
    USER = auto()


@dataclass(frozen=True, slots=True)
class KeyRules:
    """What a queue says of keys: how many jobs of one may run at once, how often they start, and who takes turns."""

    slots: int | None = None
    rate: Rate | None = None
    share: Share = Share.NONE

    @property
    def is_limited(self) -> bool:
        """Whether a key may have to wait."""
        return self.slots is not None or self.rate is not None


NO_RULES: Final = KeyRules()


class Queued(NamedTuple):
    """A job of a key that waits; those compare as they are claimed."""

    rank: int
    """Its priority, negative."""
    turn: int
    id: int


class Step(StrEnum):
    """What is done next for a key."""

    PROMOTE = auto()
    """The first behind it gets a place."""
    PUT_BEHIND = auto()
    """The last that is ready loses its own."""
    CHANGE = auto()
    """Both."""


def room(rules: KeyRules, running: int, tokens: int | None) -> int | None:
    """How many jobs of a key may be ready; None: any number. `tokens`: how many its rate lets start now, None for all.

    With a rate one at most: it is told by its start when the next may follow.
    """
    places = None if rules.slots is None else max(0, rules.slots - running)
    if tokens is None:
        return places
    by_rate = min(1, tokens) if rules.rate is not None else tokens
    return by_rate if places is None else min(places, by_rate)


def next_step(
    room: int | None, ready: int, last_ready: Queued | None, first_behind: Queued | None
) -> Step | None:
    """What is to be done where so many are ready; None where all is as it should be."""
    if room is not None and ready > room:
        return Step.PUT_BEHIND
    if first_behind is None:
        return None
    if room is None or ready < room:
        return Step.PROMOTE
    return Step.CHANGE if last_ready is not None and first_behind < last_ready else None
