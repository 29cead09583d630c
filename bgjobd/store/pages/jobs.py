"""Pages of jobs for lists, newest first: the latest ids, or of those that have all ended the latest ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from bgjob.words import INT_MAX, INT_MIN
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Connection
from bgjobd.store.filters import JobFilter
from bgjobd.store.pages.job_sources import ALL_JOBS, ANY_JOB, BY_ID, OWN_IDS, ways_to_jobs, within_time
from bgjobd.store.pages.page import Page
from bgjobd.store.pages.searches import needles
from bgjobd.store.pages.summaries import LISTED_COLUMNS, listed
from bgjobd.store.pages.totals import Count, with_total
from bgjobd.store.pages.walks import RowPlace, Walk, walk_to_page

_FIRST_JOBS: Final = 10
"""The same of jobs: each may have parameters that take milliseconds."""

BY_END: Final = ("j.finished_at", "j.id")
NO_END: Final = "~"
"""Behind each stored instant, as texts are compared."""

_END_OF: Final = """
    SELECT coalesce(finished_at, (SELECT max(finished_at) FROM job_attempts WHERE job_id = id), updated_at)
    FROM background_jobs WHERE id <= :id ORDER BY id DESC LIMIT 1
"""
"""When a job ended last, or changed; one that is gone stands where the one does that was submitted before it."""


def page_of_jobs(
    connection: Connection,
    wanted: JobFilter,
    before: int | None,
    limit: int,
    budget: float,
    now: float,
    count: int | None = None,
    before_at: str | None = None,
) -> Page:
    """Jobs as summaries with what their latest attempts used, newest first; with their total, at most `count`.

    Where only ended ones are wanted, those that ended last are first: `before` had ended at `before_at`, unless that is
    None, for it may have been retried meanwhile, or be gone.
    Raises InvalidParameterError for an unknown word of status.
    """
    deadline = time.monotonic() + budget
    sources, rest = ways_to_jobs(wanted)
    if not sources:
        return Page([], None, total=None if count is None else 0)
    walk = walk_over_jobs(wanted, sources, rest, now)
    start = _behind_job(connection, wanted, before, before_at)
    page = walk_to_page(connection, walk, start, limit, deadline, listed)
    if count is None:
        return page
    counted = Count(_countable_jobs(wanted, sources, rest), walk.rest, walk.parameters, count)
    return with_total(connection, page, counted, before is None, deadline)


def walk_over_jobs(wanted: JobFilter, sources: tuple[str, ...], rest: Sequence[str], now: float) -> Walk:
    by_id = OWN_IDS.get(sources, BY_ID)
    keys, last = (BY_END, (wanted.since or "", INT_MIN)) if wanted.is_by_end else (by_id, (INT_MIN,))
    parameters = {
        "now": to_text(now),
        "queue": wanted.queue,
        "class_name": wanted.class_name,
        "method_name": wanted.method_name,
        **needles(wanted),
        "since": wanted.since,
        "until": wanted.until,
        "longer_than": wanted.longer_than,
        "outcome": wanted.outcome,
        "schedule": wanted.schedule,
        "group": wanted.group,
        "key": wanted.key,
        "again_of": wanted.again_of,
        "bulk": wanted.bulk,
        "host": wanted.host,
        "error": wanted.error,
        "label": wanted.label,
    }
    return Walk(keys, LISTED_COLUMNS, sources, tuple(rest), parameters, True, last, _FIRST_JOBS)


def _behind_job(
    connection: Connection, wanted: JobFilter, before: int | None, before_at: str | None
) -> RowPlace:
    """Where a walk over these jobs begins."""
    if wanted.is_by_end:
        place = _behind_end(connection, before, before_at)
        return place if wanted.until is None else min(place, (wanted.until, INT_MIN))
    return (INT_MAX if before is None else before,)


def _behind_end(connection: Connection, before: int | None, before_at: str | None) -> RowPlace:
    """The place of the job `before` among those that have ended."""
    if before is None:
        return NO_END, INT_MAX
    if before_at is None:
        (before_at,) = connection.execute(_END_OF, {"id": before}).fetchone() or ("",)
    return before_at, before


def _countable_jobs(wanted: JobFilter, sources: tuple[str, ...], rest: Sequence[str]) -> tuple[str, ...]:
    """The sources with what a walk is told by its bounds; all jobs in no order, and on indexes alone."""
    if wanted.is_by_end:
        within = "".join(f" AND {condition}" for condition in within_time(wanted))
        return tuple(f"{source}{within}" for source in sources)
    return ALL_JOBS if sources == (ANY_JOB,) and not rest else sources
