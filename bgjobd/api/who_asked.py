"""Says in the log who has asked for what was done; no decision is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bgjob.words import EntryType
from bgjobd.api.peer import Caller

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


_MOST_NAMED: Final = 20
"""So many jobs of one request a line of the log names."""


def say_who(daemon: Daemon, what: str, caller: Caller) -> None:
    """What is done to jobs, queues and schedules is committed, and can be traced: a line of the log has the caller."""
    daemon.say(EntryType.INFO, f"{what} requested by uid {caller.uid} (pid {caller.pid})")


def who(daemon: Daemon, caller: Caller) -> str:
    """Who has asked, as changes tell it: on which host where there are several, for users have other numbers there."""
    host = daemon.host_name
    return f"uid {caller.uid}" if host is None else f"uid {caller.uid} at host {host}"


def first_jobs(ids: Sequence[int]) -> str:
    """Some of these jobs by their ids, and how many more there are."""
    named = ", ".join(map(str, ids[:_MOST_NAMED]))
    more = f" and {len(ids) - _MOST_NAMED} more" if len(ids) > _MOST_NAMED else ""
    return f"job{'s' if len(ids) > 1 else ''} {named}{more}"
