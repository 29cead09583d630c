"""A job's log as its page has it: what the job said first, how long after its submit, its progress as one; no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob.text import instant
from bgjob.words import EntryType

_PROGRESS: Final = re.compile(r"Background job is at [0-9]")
_ROUTINE: Final = re.compile(r"Background job (?:initiated|dispatched on |started\Z)")
"""What the daemon says of a job that goes its way; a job may say what begins like it."""

Told = Mapping[str, Any]


def is_routine(entry: Told) -> bool:
    """Whether it tells nothing but that the job was initiated, dispatched or started, or how far it is."""
    return is_progress(entry) or (
        entry["type"] == EntryType.SUCCESS and _ROUTINE.match(str(entry["message"])) is not None
    )


def rows_of(entries: Sequence[Told], created_at: str, is_all: bool) -> list[dict[str, Any]]:
    """The entries, oldest first, each with how long `after` the submit it came; an attempt's progress is one of them.

    `progress_of` is its attempt. Without `is_all` those that are routine are left out.
    """
    latest = {entry["attempt"]: entry["id"] for entry in entries if is_progress(entry)}
    kept = [entry for entry in entries if not is_progress(entry) or latest[entry["attempt"]] == entry["id"]]
    begin = instant(created_at)
    return [
        {
            **entry,
            "after": after_text(instant(entry["created_at"]) - begin),
            "progress_of": entry["attempt"] if is_progress(entry) else None,
        }
        for entry in kept
        if is_all or not is_routine(entry)
    ]


def is_progress(entry: Told) -> bool:
    return entry["type"] == EntryType.INFO and _PROGRESS.match(str(entry["message"])) is not None


def after_text(seconds: float) -> str:
    """So long after: +0:03, +2:17, +1:02:17.

    >>> [after_text(seconds) for seconds in (-1, 3.9, 137, 3737, 90_000)]
    ['+0:00', '+0:03', '+2:17', '+1:02:17', '+25:00:00']
    """
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"+{hours}:{minutes:02}:{rest:02}" if hours else f"+{minutes}:{rest:02}"
