"""What the kernel grants this process, and which of it somebody has taken away since; what follows is for others."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from typing import Final

from .sandbox import oom_score_adj

GAVE_WAY: Final = 75
"""The exit code of a fork server that ends because some were taken away, so that another takes its place."""

_LIMITS: Final = {
    name: getattr(resource, name)
    for name in dir(resource)
    if name.startswith("RLIMIT_") and name != "RLIMIT_OFILE"  # the old name of another
}
_NAMES: Final = (
    *(name for name in _LIMITS for _ in range(2)),
    "nice",
    "scheduling policy",
    "oom_score_adj",
    "CPUs",
)


def now() -> tuple[int, ...]:
    """What this process has; the less of any, the worse off are it and all that it forks."""
    limits = [limit for which in _LIMITS.values() for limit in resource.getrlimit(which)]
    return (
        *[sys.maxsize if limit == resource.RLIM_INFINITY else limit for limit in limits],
        -os.getpriority(os.PRIO_PROCESS, 0),
        -os.sched_getscheduler(0),  # batch and idle have the larger numbers
        -oom_score_adj(),
        len(os.sched_getaffinity(0)),
    )


def lost(before: Sequence[int]) -> tuple[str, ...]:
    """The names of what is worse than before: whoever runs as the same user may do that to a process."""
    after = now()
    if after == before:
        return ()
    worse = [name for name, had, has in zip(_NAMES, before, after, strict=True) if has < had]
    return tuple(dict.fromkeys(worse))
