"""What attempts that one error has ended have in common, beside others of the same classes: counts, no I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple


class Seen(NamedTuple):
    """An attempt that has ended: of which job and number, with what, and how many seconds it took."""

    job_id: int
    number: int
    code: str | None
    queue: str
    host: str | None
    seconds: float | None
    at: str | None
    has_completed: bool


class Trait(NamedTuple):
    """So many of the attempts, and of the others, have this value of that."""

    of: str
    value: str | None
    attempts: int
    others: int


class Traits(NamedTuple):
    """Of so many attempts beside so many others: each trait that any of them has, of a kind the commonest first;
    what half of them took at most, and half of the others that completed; and the newest of these.
    """

    attempts: int
    others: int
    each: tuple[Trait, ...]
    seconds: float | None
    usual: float | None
    completed: Seen | None


KINDS: Final = ("code", "queue", "host")


def traits_of(own: Sequence[Seen], others: Sequence[Seen]) -> Traits:
    """What there is to them."""
    completed = [one for one in others if one.has_completed]
    return Traits(
        len(own),
        len(others),
        tuple(trait for kind in KINDS for trait in _each(kind, own, others)),
        _half(own),
        _half(completed),
        max(completed, key=lambda one: (one.at or "", one.job_id), default=None),
    )


def _each(kind: str, own: Sequence[Seen], others: Sequence[Seen]) -> list[Trait]:
    """By value; of what nobody tells, none."""
    mine, theirs = (Counter(getattr(one, kind) for one in those) for those in (own, others))
    found = [Trait(kind, value, count, theirs[value]) for value, count in mine.items()]
    return sorted(found, key=lambda one: (-one.attempts, one.value or "")) if set(mine) != {None} else []


def _half(those: Iterable[Seen]) -> float | None:
    known = sorted(one.seconds for one in those if one.seconds is not None)
    return known[(len(known) - 1) // 2] if known else None
