"""What other daemons have committed, as the rows tell it: new log entries, jobs as they stand, what has ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject, to_json
from bgjob.words import EntryType
from bgjobd.core.job import AttemptKey, Job
from bgjobd.core.verdict import StopReason
from bgjobd.host.clock import from_text
from bgjobd.store import values
from bgjobd.store.committed import LogLine, StoredValue
from bgjobd.store.engines import Connection
from bgjobd.store.pages.summaries import summaries_of
from bgjobd.store.rows import job_from_row
from bgjobd.store.statements import of_entries, of_jobs

_MOST_ENTRIES: Final = 2_000
_VALUES_AT_ONCE: Final = 200

SELECT_NEW_ENTRIES: Final = """
    SELECT l.id, l.created_at, l.type, l.message, l.job_id, l.attempt, j.class_name, j.method_name, l.context,
        l.attempts_allowed
    FROM job_logs AS l JOIN background_jobs AS j ON j.id = l.job_id WHERE l.id > :after ORDER BY l.id LIMIT :count
"""
SELECT_UNFINISHED: Final = """
    SELECT j.id FROM json_each(:ids) AS wanted CROSS JOIN background_jobs AS j ON j.id = wanted.value
    WHERE j.finished_at IS NULL
"""
SELECT_UNENDED_GROUPS: Final = """
    SELECT g.id FROM json_each(:ids) AS wanted CROSS JOIN job_groups AS g ON g.id = wanted.value
    WHERE g.ended_at IS NULL
"""
SELECT_CANCELLED: Final = """
    SELECT j.id FROM json_each(:ids) AS wanted CROSS JOIN background_jobs AS j ON j.id = wanted.value
    WHERE j.status = 'running' AND j.cancel_requested_at IS NOT NULL
"""


class News(NamedTuple):
    """The log entries up to `last`, and how the jobs stand that these are of, or that were asked for, and what those
    have emitted whose values are wanted; all of one moment. Where `has_more` there are newer entries, and of jobs and
    values nothing yet.
    """

    lines: Sequence[LogLine]
    last: int
    has_more: bool = False
    jobs: Sequence[Job] = ()
    summaries: Mapping[int, JsonObject] = MappingProxyType({})
    values: Sequence[StoredValue] = ()


class Missed(NamedTuple):
    """What has become of jobs and groups that somebody waits for, and of attempts: which have ended, or are gone, and
    which are to be stopped.
    """

    ended: Sequence[int]
    groups: Sequence[int]
    stops: Sequence[tuple[AttemptKey, StopReason]]


def news(connection: Connection, after: int, job_ids: Iterable[int], valued: Mapping[int, int]) -> News:
    """What is newer than the log entry `after`; of the jobs `valued` the values behind these numbers, where the job is
    among those that have changed, or is asked for.
    """
    given = {"after": after, "count": _MOST_ENTRIES + 1}
    rows = connection.execute(SELECT_NEW_ENTRIES, given).fetchall()
    lines = [_line(row) for row in rows[:_MOST_ENTRIES]]
    if len(rows) > _MOST_ENTRIES:
        return News(lines, lines[-1].id, has_more=True)
    last = int(connection.execute(of_entries.SELECT_LAST_LOG_ID).fetchone()[0])
    wanted = sorted({*job_ids, *(line.job_id for line in lines)})
    found = connection.execute(of_jobs.SELECT_JOBS, {"ids": to_json(wanted)}).fetchall()
    emitted = [
        value
        for job_id in wanted
        if job_id in valued
        for value in _values(connection, job_id, valued[job_id])
    ]
    summaries = summaries_of(connection, wanted)
    return News(lines, max(last, after), False, [job_from_row(row) for row in found], summaries, emitted)


def missed(
    connection: Connection,
    jobs: Collection[int],
    groups: Collection[int],
    attempts: Collection[AttemptKey],
) -> Missed:
    """What has become of these by now."""
    numbers = dict(sorted(attempts))
    return Missed(
        sorted({*jobs} - _of(connection, SELECT_UNFINISHED, jobs)),
        sorted({*groups} - _of(connection, SELECT_UNENDED_GROUPS, groups)),
        [
            ((job_id, numbers[job_id]), StopReason.CANCELLED)
            for job_id in sorted(_of(connection, SELECT_CANCELLED, numbers))
        ],
    )


def _of(connection: Connection, statement: str, ids: Collection[int]) -> set[int]:
    if not ids:
        return set()
    return {id for (id,) in connection.execute(statement, {"ids": to_json(sorted(ids))}).fetchall()}


def _line(row: tuple[Any, ...]) -> LogLine:
    id, at, type, *rest = row
    return LogLine(id, from_text(at), EntryType(type), *rest)


def _values(connection: Connection, job_id: int, after: int) -> list[StoredValue]:
    found: list[StoredValue] = []
    page = values.page(connection, job_id, after, _VALUES_AT_ONCE)
    while page is not None:
        found += page.values
        page = values.page(connection, job_id, page.next, _VALUES_AT_ONCE) if page.has_more else None
    return found
