"""In which order a process is asked where it is, by what the kernel tells of it, and why it does not say; no I/O.

To be asked ends a wait: Python's calls go on, a bare read of C's would fail. Whoever may be in one is not asked so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Way(StrEnum):
    """Who answers: Python, with all threads and tasks, or C, with the main thread. Python prints that, too, where the
    journal takes no more.
    """

    ASK = "python"
    INSIST = "c"


PATIENCE: Final = {Way.ASK: 0.5, Way.INSIST: 0.3}
"""Seconds in which an answer comes, or none does."""

_NOBODY: Final[frozenset[Way]] = frozenset()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the kernel tells of a process: the letter of its state, and in which of its functions it waits, None where
    that is not told; by which ways it can answer, and whose signals it blocks. `program`: it runs another one.
    `own`: signals of these ways the application handles itself.
    """

    state: str
    waits_in: str | None = None
    hears: frozenset[Way] = frozenset(Way)
    blocks: frozenset[Way] = _NOBODY
    program: str | None = None
    own: frozenset[Way] = _NOBODY

    @property
    def _open(self) -> frozenset[Way]:
        return self.hears - self.blocks - self.own

    @property
    def _function(self) -> str:
        return (self.waits_in or "").partition(".")[0]


def order(seen: Seen, insist: bool) -> tuple[Way, ...]:
    """How to ask it, one after the other until it answers; `insist`: also where that may end a call of C's."""
    if seen.state not in ("R", "S"):
        return ()
    if seen.state == "R" and not insist and Way.ASK not in seen._open:
        return ()  # C would read what changes
    if seen.state == "R" or insist or _GOES_ON.search(seen._function):
        ways = [Way.ASK, Way.INSIST]
    else:
        ways = [] if _ENDS.search(seen._function) else [Way.INSIST]
    return tuple(way for way in ways if way in seen._open)


_GOES_ON: Final = re.compile(r"futex|poll|select|nanosleep|nsleep|^(do|kernel)_wait")
"""Waits for a lock, for one of many descriptors, for time or for a child: after a signal Python waits on."""

_ENDS: Final = re.compile(r"sys_pause|sigsuspend")
"""Waits for a signal, whichever: any would be the one."""


def why_silent(seen: Seen, insist: bool) -> str | None:
    """What is known of why Python did not tell; None where it could have."""
    match seen:
        case Seen(program=str(program)):
            return f"it runs another program: {program}"
        case Seen(state="D"):
            return "it waits in the kernel (state D)"
        case Seen(state="T" | "t"):
            return f"it is stopped (state {seen.state})"
        case Seen(state="Z" | "X"):
            return "it has ended"
    if Way.ASK in seen.own:
        return "the application handles SIGWINCH itself"
    if Way.ASK in seen.hears & seen.blocks:
        return "it blocks the signal"
    if Way.ASK not in seen.hears:
        return "it has taken the handlers away"
    if not insist and Way.ASK not in order(seen, insist):
        return "to ask it for more might end the call that it waits in"
    return None
