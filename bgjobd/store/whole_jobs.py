"""A job with all that is stored of it, as an archive has it; which jobs those are is decided elsewhere."""

from __future__ import annotations

import math
from typing import Final

from bgjob.codec import JsonObject
from bgjobd.store.filters import LogFilter
from bgjobd.store.reader import Reader
from bgjobd.store.rows import parsed

_ENTRIES_AT_ONCE: Final = 1000


def whole(job_id: int, reader: Reader) -> JsonObject | None:
    """The job, keys as the columns, with all its `attempts` and log entries (`logs`), oldest first; None where there is
    none.
    """
    job = reader.job(job_id)
    if job is None:
        return None
    attempts, before = list(job.attempts), job.next
    while before is not None:
        older = reader.job(job_id, before)
        if older is None:
            return None
        attempts, before = [*older.attempts, *attempts], older.next
    for attempt in attempts:
        attempt.pop("span")
    read = {name: parsed(job.columns[name]) for name in ("parameters", "result")}
    return job.columns | read | {"attempts": attempts, "logs": _entries(job_id, reader)}


def _entries(job_id: int, reader: Reader) -> list[JsonObject]:
    entries: list[JsonObject] = []
    after: int | None = 0
    while after is not None:
        page = reader.logs(LogFilter(id=job_id), after=after, limit=_ENTRIES_AT_ONCE, budget=math.inf)
        entries += page.rows
        after = page.next
    return entries
