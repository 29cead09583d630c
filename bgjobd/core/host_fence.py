"""Until when a host may run what others repeat, should it be lost to them; and how long a stop may take then. Pure."""

from __future__ import annotations

from typing import Final

_LONGEST_SPARE: Final = 10.0
_SPARE: Final = 0.1
"""Seconds, and the part of `lost_after`, that are left between the last SIGKILL and the others' first start."""


def until(sent_at: float, lost_after: float) -> float:
    """When the host ends them: half of the time after which others take it for lost, on the clock of `sent_at`, when
    the last of its beats was sent that was acknowledged.
    """
    return sent_at + lost_after / 2


def longest_grace(lost_after: float) -> float:
    """Seconds from SIGTERM to SIGKILL that are left in the other half."""
    return lost_after / 2 - min(lost_after * _SPARE, _LONGEST_SPARE)
