"""All jobs that match, the oldest first, in portions: for wishes about many."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

from bgjob.words import INT_MAX, INT_MIN
from bgjobd.store.engines import Connection
from bgjobd.store.filters import JobFilter
from bgjobd.store.pages.job_sources import (
    BY_ID,
    ENDED_SOURCES,
    OWN_IDS,
    OWNERS,
    standing_by,
    told_apart,
    ways_to_jobs,
    within_time,
)
from bgjobd.store.pages.jobs import BY_END, NO_END, walk_over_jobs
from bgjobd.store.pages.page import BUDGET, Found
from bgjobd.store.pages.walks import FIRST_CHUNK, RowPlace, Walk, look_through, sizes

_MATCHED: Final = "j.id, j.class_name, j.status, j.max_retries, {at}"


def oldest_first(
    connection: Connection,
    wanted: JobFilter,
    as_of: str,
    behind: RowPlace | None,
    limit: int,
    now: float,
    budget: float = BUDGET,
) -> tuple[list[tuple[Any, ...]], RowPlace | None]:
    """At most `limit` of all these jobs that had ended, where all of `status` are ends, else were submitted, by the
    stored instant `as_of`: those behind a place, and the place from which to go on, None at the end.

    Each is id, class, status, max_retries and that moment. Those for review are not among them.
    """
    at = "j.finished_at" if wanted.has_ended else "j.created_at"
    sources, rest = _ways_to_all(wanted, at)
    if not sources:
        return [], None
    usual = walk_over_jobs(wanted, sources, rest, now)
    by_end = sources[0] in ENDED_SOURCES.values()
    by_id = OWN_IDS.get(sources, BY_ID)
    ended_by = min((as_of, INT_MAX), (NO_END if wanted.until is None else wanted.until, INT_MIN))
    first, last = ((wanted.since or "", INT_MIN), ended_by) if by_end else ((INT_MIN,), (INT_MAX,))
    walk = replace(
        usual,
        keys=BY_END if by_end else by_id,
        columns=_MATCHED.format(at=at),
        parameters={**usual.parameters, "as_of": as_of},
        is_backwards=False,
        last=last,
        first_chunk=FIRST_CHUNK,
    )
    deadline = time.monotonic() + budget
    return _portion(connection, walk, first if behind is None else behind, limit, deadline)


def _ways_to_all(wanted: JobFilter, at: str) -> tuple[tuple[str, ...], list[str]]:
    """As ways_to_jobs, by what has jobs of its own where such a one is named: those are few."""
    owners = [name for name in OWNERS if getattr(wanted, name) is not None]
    if not owners:
        sources, rest = ways_to_jobs(wanted)
        return sources, [*rest, f"{at} <= :as_of", "j.review_since IS NULL"]
    rest = [*standing_by(wanted.status), *(OWNERS[name][0] for name in owners[1:]), *told_apart(wanted)]
    rest += [f"{at} <= :as_of", "j.review_since IS NULL"]
    return (OWNERS[owners[0]][1],), rest + within_time(wanted)


def _portion(
    connection: Connection, walk: Walk, start: RowPlace, limit: int, deadline: float
) -> tuple[list[tuple[Any, ...]], RowPlace | None]:
    found, is_over = Found(limit), False
    for size in sizes(walk.first_chunk):
        start, is_over = look_through(connection, walk, start, size, found)
        if is_over or found.is_full or time.monotonic() > deadline:
            break
    wanted = found.rows[:-1] if found.is_full else found.rows
    rows = [row[len(walk.keys) :] for row in wanted]
    if not found.is_full:
        return rows, None if is_over else start
    return rows, walk.place_of(wanted[-1])
