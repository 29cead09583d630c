"""Says in the log who has asked for what was done; no decision is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.words import EntryType
from bgjobd.api.peer import Caller

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


def say_who(daemon: Daemon, what: str, caller: Caller) -> None:
    """What is done to jobs, queues and schedules is committed, and can be traced: a line of the log has the caller."""
    daemon.say(EntryType.INFO, f"{what} requested by uid {caller.uid} (pid {caller.pid})")
