"""Occurrences that had become no job, and are to: what is read of them, and what a transaction writes.

Within a transaction that is the ledger's.
"""

from __future__ import annotations

from typing import Final

from bgjob.errors import PermissionDeniedError
from bgjobd.core.schedules import Became, Reason, Skipped, Span, Wanted
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import ids, submitting, uniques
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.engines import Execute
from bgjobd.store.items.schedules import Backfill, SkippedRow
from bgjobd.store.rows import occurrence_row
from bgjobd.store.schedules import check_there
from bgjobd.store.written import Kind

# Rows do not overlap: of those that begin before, the latest alone may reach into it.
_SELECT_ROWS: Final = """
    SELECT at, until, count, verdict, reason, job_id FROM schedule_occurrences
    WHERE name = :name AND until >= :first AND at <= :last AND at >= coalesce(
        (SELECT max(at) FROM schedule_occurrences WHERE name = :name AND verdict <> 'asked' AND at <= :first), ''
    )
    ORDER BY at
"""
_SELECT_ROW: Final = """
    SELECT 1 FROM schedule_occurrences
    WHERE name = :name AND at = :at AND until = :until AND count = :count AND verdict = 'skipped'
"""
_SELECT_AT: Final = "SELECT 1 FROM schedule_occurrences WHERE name = :name AND at = :at"
_SELECT_END: Final = """
    SELECT until FROM schedule_occurrences
    WHERE name = :name AND at <= :since AND verdict IN ('submitted', 'skipped') ORDER BY at DESC LIMIT 1
"""
_DELETE: Final = "DELETE FROM schedule_occurrences WHERE name = :name AND at = :at"


def read(execute: Execute, name: str, first: float, last: float) -> tuple[set[float], list[SkippedRow]]:
    """Which occurrences of a span have become jobs, and the rows of those that have not."""
    jobs: set[float] = set()
    rows: list[SkippedRow] = []
    asked = {"name": name, "first": to_text(first), "last": to_text(last)}
    for at, until, count, verdict, reason, job_id in execute(_SELECT_ROWS, asked).fetchall():
        if verdict == Became.SKIPPED:
            rows.append(SkippedRow(Span(from_text(at), from_text(until), count), Reason(reason), job_id))
        else:
            jobs.add(from_text(at))
    return jobs, rows


def end_of_older(execute: Execute, name: str, since: float) -> float | None:
    """Up to when rows tell of other times that the schedule had before `since`; None where there are no such."""
    row = execute(_SELECT_END, {"name": name, "since": to_text(since)}).fetchone()
    return None if row is None else from_text(row[0])


def backfill(execute: Execute, item: Backfill, batch: Batch) -> tuple[int, ...] | None:
    """Make the jobs, and the rows that tell of them. Raises the refusals, with nothing written of it."""
    check_there(execute, item.name, item.definition)
    if not _is_as_it_was(execute, item):
        return None
    ids.take(execute, batch, len(item.wanted))
    uniques.load(execute, [item.job], batch)
    overlay = Overlay(batch)
    if item.job.unique is not None and len(item.wanted) > 1:
        raise PermissionDeniedError(reason="of jobs with a unique key one occurrence at a time is backfilled")
    uniques.check_free(item.job, overlay)
    made = tuple([_submit(item, at, start_at, overlay) for at, start_at in item.wanted])
    for row in item.left:
        overlay.write(
            Kind.OCCURRENCES, occurrence_row(item.name, Skipped(row.span, row.reason, row.job_id), batch.now)
        )
    for row in item.rows:
        execute(_DELETE, {"name": item.name, "at": to_text(row.span.at)})
    batch.take_in(overlay)
    return made


def _is_as_it_was(execute: Execute, item: Backfill) -> bool:
    for row in item.rows:
        times = {"at": to_text(row.span.at), "until": to_text(row.span.until), "count": row.span.count}
        if execute(_SELECT_ROW, {"name": item.name, **times}).fetchone() is None:
            return False
    given = {row.span.at for row in item.rows}  # their places are free by then
    others = [at for at, _ in item.wanted if at not in given]
    return all(
        execute(_SELECT_AT, {"name": item.name, "at": to_text(at)}).fetchone() is None for at in others
    )


def _submit(item: Backfill, at: float, start_at: float | None, overlay: Overlay) -> int:
    fact = item.job._replace(schedule=item.name, occurrence=at, scheduled_at=start_at)
    job = submitting.store_new(fact, item.submitter, overlay)
    row = occurrence_row(item.name, Wanted(at, job.id), overlay.batch.now)
    overlay.write(Kind.OCCURRENCES, row | {"verdict": Became.BACKFILLED})
    return job.id
