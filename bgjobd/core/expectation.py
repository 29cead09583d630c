"""How long an attempt may take that runs, by those of its method that completed, or by what it tells itself; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from bgjobd.core.digest import Digest

LEAST_RUNS: Final = 5
"""Of fewer that completed nothing is said."""

MOST_METHODS: Final = 5000
"""So many are known apart; what others took is counted as OTHER."""

OTHER: Final = "(other)"
"""What no class or method can be called."""

SLOW_TIMES: Final = 3.0
_SLOW_AND: Final = 10.0
"""So many times the p95, and so many seconds more, is no longer as usual: of 20 ms three times as much is nothing."""

_LEAST_PROGRESS: Final = 0.05
_LEAST_TOLD: Final = 2
"""From how far on, and how often told, an attempt's own progress says how long it takes."""


class Usual(NamedTuple):
    """What the `runs` of a method that completed took, in seconds, and how much memory, in bytes."""

    runs: int
    seconds: Digest
    memory: Digest


class HowFar(NamedTuple):
    """What an attempt has told of itself, so many times: which `fraction` of it was done after so many seconds."""

    fraction: float
    told: int
    after: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """Half of the `runs` took no longer than `p50` seconds, 95 of 100 no longer than `p95`, and no more bytes than
    `memory_p95`, None where that is not known.

    `left` is how many seconds are left, None where nothing tells; `times` how many times as long as usual it runs
    already, None as long as it is not slow.
    """

    runs: int
    p50: float
    p95: float
    memory_p95: int | None = None
    left: float | None = None
    times: float | None = None


def try_expected(
    usual: Usual | None, elapsed: float | None = None, how_far: HowFar | None = None
) -> Expectation | None:
    """What is expected of an attempt of that method, `elapsed` seconds after its begin; None where little is known."""
    if usual is None or usual.runs < LEAST_RUNS:
        return None
    p50, p95 = usual.seconds.quantile(0.5), usual.seconds.quantile(0.95)
    if p50 is None or p95 is None:
        return None
    memory = usual.memory.quantile(0.95)
    left = times = None
    if elapsed is not None:
        left = _by_progress(elapsed, how_far)
        left = _by_others(elapsed, usual.seconds) if left is None else left
        times = elapsed / p50 if is_slow(elapsed, p95) else None
    return Expectation(usual.runs, p50, p95, None if memory is None else round(memory), left, times)


def is_slow(elapsed: float, p95: float, times: float = SLOW_TIMES) -> bool:
    """Whether that is longer than so many times what 95 of 100 take, by more than a moment."""
    return elapsed > slow_after(p95, times)


def slow_after(p95: float, times: float = SLOW_TIMES) -> float:
    """After how many seconds an attempt is slow."""
    return times * p95 + _SLOW_AND


def _by_others(elapsed: float, seconds: Digest) -> float | None:
    """The median of what those still had before them that took longer than this."""
    median = seconds.median_above(elapsed)
    return None if median is None else max(0.0, median - elapsed)


def _by_progress(elapsed: float, how_far: HowFar | None) -> float | None:
    """As if it went on as fast as it has come so far."""
    if how_far is None or how_far.told < _LEAST_TOLD or how_far.fraction < _LEAST_PROGRESS:
        return None
    whole = how_far.after / how_far.fraction
    return max(0.0, whole - elapsed)
