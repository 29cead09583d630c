"""Reads what of the file may need somebody: what crashes, what runs for long, jobs for review, new errors, and what
schedules have come to.

Each is read by an index, and no more of it than is told of at most.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import takewhile
from typing import Final, NamedTuple

from bgjob import errors_told
from bgjob.words import QUARANTINED, Status
from bgjobd.core.fingerprint import NEW_FOR
from bgjobd.core.need_kinds import DAY, MOST, Crashed, FailedInRow, ForReview, MetError, Run, SkippedLast
from bgjobd.core.quarantine import ClassHold
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import class_holds
from bgjobd.store.engines import Connection
from bgjobd.store.method_usage import usual_of
from bgjobd.store.rows import instant
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import of_attempts

_MOST_FOR_REVIEW: Final = 1000
_MOST_CRASHED: Final = 1000
_IN_ROW: Final = 100
"""How many of a schedule's newest jobs are looked at."""

CRASHED: Final = """
    SELECT class_name, finished_at, error FROM background_jobs INDEXED BY jobs_crashed
    WHERE status = 'failed' AND crashes > 0 AND finished_at >= :since ORDER BY finished_at DESC LIMIT :count
"""
REVIEW: Final = """
    SELECT class_name, count(*), min(review_since) FROM (
        SELECT class_name, review_since FROM background_jobs INDEXED BY jobs_for_review
        WHERE review_since IS NOT NULL ORDER BY id DESC LIMIT :count
    ) AS newest GROUP BY class_name ORDER BY class_name
"""
NEW_ERRORS: Final = """
    SELECT id, name, error_type, outcome, place, line, message, class_name, first_at, back_at, attempts, failed, last_at
    FROM error_groups INDEXED BY errors_by_time
    WHERE last_at >= :since AND (first_at >= :since OR back_at >= :since) ORDER BY last_at DESC, id DESC LIMIT :count
"""
FAILURES: Final = """
    SELECT id, name, error_type, outcome, place, line, message, class_name, first_at, back_at, attempts, failed, last_at
    FROM error_groups INDEXED BY errors_by_time
    WHERE last_at >= :since AND failed > 0 ORDER BY last_at DESC, id DESC LIMIT :count
"""
SKIPPED: Final = """
    SELECT s.name, o.at, o.count, o.reason FROM schedules AS s CROSS JOIN schedule_occurrences AS o
    ON o.name = s.name AND o.at = (SELECT max(at) FROM schedule_occurrences WHERE name = s.name)
    WHERE s.removed_at IS NULL AND s.paused_at IS NULL AND o.at >= :since AND o.verdict = 'skipped'
    AND o.reason IN ('missed', 'refused', 'queue full') ORDER BY s.name LIMIT :count
"""
FAILING: Final = """
    SELECT s.name FROM schedules AS s WHERE s.removed_at IS NULL AND s.paused_at IS NULL AND (
        SELECT status FROM background_jobs INDEXED BY jobs_by_schedule
        WHERE schedule = s.name AND schedule IS NOT NULL AND status IN ('completed', 'failed')
        ORDER BY id DESC LIMIT 1
    ) = 'failed' ORDER BY s.name LIMIT :count
"""
LAST_JOBS: Final = """
    SELECT id, status, finished_at FROM background_jobs INDEXED BY jobs_by_schedule
    WHERE schedule = :name AND schedule IS NOT NULL AND status IN ('completed', 'failed')
    ORDER BY id DESC LIMIT :count
"""


class Stored(NamedTuple):
    """What was read."""

    crashed: tuple[Crashed, ...]
    held: tuple[ClassHold, ...]
    runs: tuple[Run, ...]
    review: tuple[ForReview, ...]
    errors: tuple[MetError, ...]
    skipped: tuple[SkippedLast, ...]
    failed_in_row: tuple[FailedInRow, ...]


def failures(connection: Connection, now: float) -> tuple[MetError, ...]:
    """The errors that were met within a day, and by which jobs have failed."""
    return _errors(connection, FAILURES, now)


def read(connection: Connection, now: float) -> Stored:
    """All of it, but for what only a rule may ask for."""
    return Stored(
        _crashed(connection, now),
        tuple(class_holds.stored(connection.execute).values()),
        _runs(connection),
        _review(connection),
        _errors(connection, NEW_ERRORS, now),
        _skipped(connection, now),
        _failing(connection),
    )


def _crashed(connection: Connection, now: float) -> tuple[Crashed, ...]:
    """Of the newest that have failed within a day while they crashed, those that were given up for that, by class."""
    given = {"since": to_text(held(now - DAY)), "count": _MOST_CRASHED}
    found: dict[str, Crashed] = {}
    for name, at, error in connection.execute(CRASHED, given).fetchall():
        if (error or "").startswith(QUARANTINED):
            since = from_text(at)
            newest = found.get(name) or Crashed(name, 0, since, since, error)
            found[name] = replace(newest, jobs=newest.jobs + 1, since=since)
    return tuple(found.values())


def _runs(connection: Connection) -> tuple[Run, ...]:
    """What runs of methods that enough is known of."""
    rows = connection.execute(of_attempts.SELECT_RUNNING_ATTEMPTS, {}).fetchall()
    usual = usual_of(connection.execute, {(row[5], row[6]) for row in rows}) if rows else {}
    found = []
    for job_id, _, _, started_at, _, class_name, method_name, *_ in rows:
        known = usual.get((class_name, method_name))
        p95 = None if known is None else known.seconds.quantile(0.95)
        if known is not None and p95 is not None and started_at is not None:
            found.append(Run(job_id, class_name, method_name, from_text(started_at), p95, known.runs))
    return tuple(found)


def _review(connection: Connection) -> tuple[ForReview, ...]:
    rows = connection.execute(REVIEW, {"count": _MOST_FOR_REVIEW}).fetchall()
    is_more = sum(jobs for _, jobs, _ in rows) == _MOST_FOR_REVIEW
    return tuple(ForReview(name, jobs, from_text(since), is_more) for name, jobs, since in rows)


def _errors(connection: Connection, statement: str, now: float) -> tuple[MetError, ...]:
    given = {"since": to_text(held(now - NEW_FOR)), "count": MOST + 1}
    cursor = connection.execute(statement, given)
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return tuple(
        MetError(
            row["id"],
            errors_told.title_of(row),
            row["class_name"],
            from_text(row["first_at"]),
            instant(row["back_at"]),
            row["attempts"],
            row["failed"],
            from_text(row["last_at"]),
        )
        for row in rows
    )


def _skipped(connection: Connection, now: float) -> tuple[SkippedLast, ...]:
    given = {"since": to_text(held(now - DAY)), "count": MOST + 1}
    rows = connection.execute(SKIPPED, given).fetchall()
    return tuple(SkippedLast(name, from_text(at), count, reason) for name, at, count, reason in rows)


def _failing(connection: Connection) -> tuple[FailedInRow, ...]:
    names = [name for (name,) in connection.execute(FAILING, {"count": MOST + 1}).fetchall()]
    found = []
    for name in names:
        rows = connection.execute(LAST_JOBS, {"name": name, "count": _IN_ROW}).fetchall()
        failed = list(takewhile(lambda row: row[1] == Status.FAILED, rows))
        if failed:  # else one has completed meanwhile
            found.append(FailedInRow(name, len(failed), from_text(failed[-1][2]), failed[0][0]))
    return tuple(found)
