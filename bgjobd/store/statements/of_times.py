"""Statements of what time alone does to jobs that wait: due, expired, timed out, moved with the clock."""

from __future__ import annotations

from typing import Final

from peewee import SQL, fn

from bgjob.words import Status
from bgjobd.store.models.jobs import BackgroundJob, JobAttempt
from bgjobd.store.statements.compiled import compiled, p, quoted
from bgjobd.store.written import BEHIND, WAITING

IS_SCHEDULED: Final = (BackgroundJob.status == quoted(Status.PENDING)) & (BackgroundJob.ready == SQL("0"))
_IS_WAITING_FOR_RETRY: Final = IS_SCHEDULED & fn.EXISTS(
    JobAttempt.select(SQL("1")).where(JobAttempt.job_id == BackgroundJob.id)
)
SELECT_NEXT_DUE: Final = compiled(
    BackgroundJob.select(fn.MIN(BackgroundJob.scheduled_at)).where(IS_SCHEDULED)
)

SELECT_EXPIRED: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_expiring
    WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL AND expires_at <= :now
    ORDER BY expires_at LIMIT :count
"""
SELECT_NEXT_EXPIRY: Final = """
    SELECT min(expires_at) FROM background_jobs INDEXED BY jobs_expiring
    WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL
"""
MAKE_READY: Final = compiled(
    BackgroundJob.update({BackgroundJob.ready: SQL("1")}).where(
        BackgroundJob.id.in_(
            BackgroundJob.select(BackgroundJob.id)
            .where(IS_SCHEDULED & (BackgroundJob.scheduled_at <= p("now")))
            .order_by(BackgroundJob.scheduled_at)
            .limit(p("count"))
        )
    )
)
_MAKE_READY_OR_BEHIND: Final = f"""
    UPDATE background_jobs SET ready = CASE
        WHEN queue IN (SELECT value FROM json_each(:shared)) THEN {BEHIND}
        WHEN key IS NULL THEN 1
        WHEN queue IN (SELECT value FROM json_each(:limited)) THEN {BEHIND}
        WHEN EXISTS (
            SELECT 1 FROM rates WHERE scope = 'key:' || queue || ':' || key AND held_until IS NOT NULL) THEN {BEHIND}
        ELSE 1 END
    WHERE id IN ({{due}} AND scheduled_at <= :now ORDER BY scheduled_at LIMIT :count)
    RETURNING scheduled_at, id, queue, key, priority, started_at IS NOT NULL, ready
"""
MAKE_READY_OR_BEHIND: Final = _MAKE_READY_OR_BEHIND.format(
    due="SELECT id FROM background_jobs INDEXED BY jobs_scheduled WHERE status = 'pending' AND ready = 0"
)
_WAITS: Final = f"status = 'pending' AND ready = {WAITING} AND scheduled_at IS NOT NULL"
MAKE_READY_AFTER_WAIT: Final = _MAKE_READY_OR_BEHIND.format(
    due=f"SELECT id FROM background_jobs INDEXED BY jobs_waiting WHERE {_WAITS}"
)
SELECT_NEXT_TIMEOUT: Final = (
    f"SELECT min(scheduled_at) FROM background_jobs INDEXED BY jobs_waiting WHERE {_WAITS}"
)
SHIFT_WAITS: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_waiting
    SET scheduled_at = shifted(scheduled_at, :seconds), updated_at = :now
    WHERE {_WAITS} AND waiting_on NOT LIKE 'until %'
"""
SHIFT_WAITS_FROM_THE_FUTURE: Final = f"""
    UPDATE background_jobs INDEXED BY jobs_waiting
    SET scheduled_at = shifted(scheduled_at, seconds_between(updated_at, :now)), updated_at = :now
    WHERE {_WAITS} AND waiting_on NOT LIKE 'until %' AND updated_at > :now
"""
SHIFT_RETRIES: Final = compiled(
    BackgroundJob.update(
        {
            BackgroundJob.scheduled_at: fn.shifted(BackgroundJob.scheduled_at, p("seconds")),
            BackgroundJob.updated_at: p("now"),
        }
    ).where(_IS_WAITING_FOR_RETRY)
)
# A retry waits since its row was last written: if that is later than now, the clock was set back in between.
SHIFT_RETRIES_FROM_THE_FUTURE: Final = compiled(
    BackgroundJob.update(
        {
            BackgroundJob.scheduled_at: fn.shifted(
                BackgroundJob.scheduled_at, fn.seconds_between(BackgroundJob.updated_at, p("now"))
            ),
            BackgroundJob.updated_at: p("now"),
        }
    ).where(_IS_WAITING_FOR_RETRY & (BackgroundJob.updated_at > p("now")))
)
