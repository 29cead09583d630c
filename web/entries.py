"""A job's log as its page has it: what the job said first, how long after its submit, its progress as one; no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bgjob.log_words import is_progress, is_said
from bgjob.text import instant

Told = Mapping[str, Any]


def rows_of(entries: Sequence[Told], created_at: str, is_all: bool) -> list[dict[str, Any]]:
    """The entries, oldest first, each with how long `after` the submit it came; an attempt's progress is one of them.

    `progress_of` is its attempt. Without `is_all` those alone that tell more than that a job goes its way.
    """
    latest = {entry["attempt"]: entry["id"] for entry in entries if _tells_progress(entry)}
    kept = [
        entry for entry in entries if not _tells_progress(entry) or latest[entry["attempt"]] == entry["id"]
    ]
    begin = instant(created_at)
    return [
        {
            **entry,
            "after": after_text(instant(entry["created_at"]) - begin),
            "progress_of": entry["attempt"] if _tells_progress(entry) else None,
        }
        for entry in kept
        if is_all or is_said(entry["type"], entry["message"])
    ]


def _tells_progress(entry: Told) -> bool:
    return is_progress(entry["type"], entry["message"])


def after_text(seconds: float) -> str:
    """So long after: +0:03, +2:17, +1:02:17.

    >>> [after_text(seconds) for seconds in (-1, 3.9, 137, 3737, 90_000)]
    ['+0:00', '+0:03', '+2:17', '+1:02:17', '+25:00:00']
    """
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"+{hours}:{minutes:02}:{rest:02}" if hours else f"+{minutes}:{rest:02}"
