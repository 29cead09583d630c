"""What becomes of the attempts that run when the daemon is told to end; pure."""

from __future__ import annotations

from enum import StrEnum


class AtStop(StrEnum):
    """What `[daemon] at_stop` asks for; AUTO is one of the others, by where the daemon runs."""

    AUTO = "auto"
    LEAVE = "leave"
    STOP = "stop"
    DRAIN = "drain"


def at_stop(wanted: AtStop, is_in_container: bool) -> AtStop:
    """LEAVE, STOP or DRAIN. In a container nothing can be left to run: all in it ends with its first process."""
    if wanted is not AtStop.AUTO:
        return wanted
    return AtStop.STOP if is_in_container else AtStop.LEAVE
