"""Whether a database has gone back behind what it once said was committed, as after a failover that lost something."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What tells a log entry from another of the same id."""

    id: int
    job_id: int
    created_at: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a host was told is committed: how many beats of its own, and the newest log entry that it wrote."""

    beats: int = 0
    entry: LogEntry | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a new connection finds: the host's beats, None where they are not known, the id of the newest log entry, and
    the one that has the id of the acknowledged one, None where it is gone.
    """

    newest: int
    entry: LogEntry | None = None
    beats: int | None = None


def why_gone_back(known: Acknowledged, found: Found) -> str | None:
    """What shows that it has; None where nothing does. An entry may have been deleted, but never the newest."""
    if found.beats is not None and found.beats < known.beats:
        return f"it has {found.beats} beats of this host, and {known.beats} were acknowledged"
    if known.entry is None:
        return None
    if found.newest < known.entry.id:
        return f"its newest log entry is {found.newest}, and {known.entry.id} was acknowledged"
    if found.entry is not None and found.entry != known.entry:
        return f"log entry {known.entry.id} is another than the one that was acknowledged"
    return None
