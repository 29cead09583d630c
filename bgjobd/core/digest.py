"""How often values fell between fixed bounds, the later ones counting more: 128 bytes, read as quantiles; no I/O."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from struct import Struct
from typing import Final

COUNTS: Final = 64

_ONE: Final = 256
"""What a value counts at first: so often can it be halved before it is forgotten."""

_FULL: Final = 128 * _ONE
_STORED: Final = Struct(f"<{COUNTS}H")
"""Counts as they are stored: numbers of two bytes, the least significant first."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The bounds up to which values are counted together, each `ratio` times the one before; the last has no end."""

    first: float
    ratio: float
    bounds: tuple[float, ...] = field(init=False)

    def __post_init__(self) -> None:
        bounds = tuple([self.first * self.ratio**place for place in range(COUNTS)])
        object.__setattr__(self, "bounds", bounds)


SECONDS: Final = Scale(0.001, 2 ** (1 / 2))
"""From 1 ms to 35 days."""

BYTES: Final = Scale(float(2**20), 2 ** (1 / 4))
"""From 1 MiB to 55 GiB."""


class Digest:
    """How the latest values were spread; some 83 of another kind, and they are what it tells.

    `halvings` is how often all its counts were halved, so that it holds no more than 128 values.
    """

    __slots__ = ("_counts", "_inner", "_total", "halvings", "scale")

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self._inner = scale.bounds[:-1]
        self._counts = [0] * COUNTS
        self._total = self.halvings = 0

    def note(self, value: float) -> None:
        """Count a value that is not negative."""
        self._counts[bisect_left(self._inner, value)] += _ONE
        self._total += _ONE
        if self._total >= _FULL:
            self._halve()

    def take(self, later: Digest) -> None:
        """Count what another has, of the same scale, as if its values had come after all of these."""
        self._counts = [
            (own >> later.halvings) + new for own, new in zip(self._counts, later._counts, strict=True)
        ]
        self._total = sum(self._counts)
        if self._total >= _FULL:
            self._halve()

    def _halve(self) -> None:
        self._counts = [count // 2 for count in self._counts]
        self._total = sum(self._counts)
        self.halvings += 1

    # Stored

    def to_bytes(self) -> bytes:
        """All but `halvings`, in 128 bytes."""
        return _STORED.pack(*self._counts)

    @classmethod
    def of(cls, stored: bytes, scale: Scale) -> Digest:
        """What to_bytes() has made; an empty one of anything else."""
        made = cls(scale)
        if len(stored) == _STORED.size:
            counts = list(_STORED.unpack(stored))
            if sum(counts) < 2 * _FULL:  # what two full ones come to
                made._counts, made._total = counts, sum(counts)
        return made

    # Read

    @property
    def is_empty(self) -> bool:
        return self._total == 0

    def quantile(self, share: float) -> float | None:
        """What this share of the values, between 0 and 1, does not exceed; None where there are none."""
        return None if self._total == 0 else self._at(share * self._total)

    def median_above(self, value: float) -> float | None:
        """What half of the values above this one do not exceed; None where none are."""
        below = self._below(value)
        above = self._total - below
        return None if above <= 0 else self._at(below + above / 2)

    def _at(self, weight: float) -> float:
        return value_at(self._counts, list(accumulate(self._counts)), min(weight, self._total), self.scale)

    def _below(self, value: float) -> float:
        """How much lies below this value."""
        place = bisect_left(self._inner, value)
        bounds = self.scale.bounds
        least = bounds[place] / self.scale.ratio
        part = math.log(value / least, self.scale.ratio) if value > least else 0.0
        return sum(self._counts[:place]) + min(part, 1.0) * self._counts[place]


def value_at(counts: Sequence[int], sums: Sequence[int], weight: float, scale: Scale) -> float:
    """The value that so much lies below, by counts and their running sums; between two bounds all is spread evenly in
    the logarithm.
    """
    place = min(bisect_left(sums, weight), COUNTS - 1)
    count = counts[place]
    part = 1.0 if count == 0 else (weight - (sums[place] - count)) / count
    return float(scale.bounds[place] * scale.ratio ** (min(part, 1.0) - 1.0))
