"""Statements that delete jobs with what is stored of them, and old log entries."""

from __future__ import annotations

from typing import Final

from peewee import SQL, fn

from bgjob.words import FINAL
from bgjobd.store.models.jobs import BackgroundJob, JobAttempt, JobLog
from bgjobd.store.models.ties import Consequence, JobDependency
from bgjobd.store.statements.compiled import compiled, p, quoted

# What is deleted. A job that has a newer log entry is not what it was; one whose entry is the newest of all keeps it,
# for the next one's id is counted from there.
_NEWER_ENTRY: Final = JobLog.select(SQL("1")).where(
    (JobLog.job_id == BackgroundJob.id) & (JobLog.id > p("last_entry"))
)
_OWNER_OF_NEWEST_ENTRY: Final = JobLog.select(JobLog.job_id).order_by(JobLog.id.desc()).limit(SQL("1"))
# So is one that others come after, as long as these have not heard of its end.
_IS_BEFORE_OTHERS: Final = fn.EXISTS(
    JobDependency.select(SQL("1")).where(
        (JobDependency.of == quoted("job")) & (JobDependency.after_id == BackgroundJob.id)
    )
)
_IS_UNSETTLED: Final = fn.EXISTS(
    Consequence.select(SQL("1")).where(
        (Consequence.of == quoted("job")) & (Consequence.id == BackgroundJob.id)
    )
)
SELECT_DELETABLE: Final = compiled(
    BackgroundJob.select(
        BackgroundJob.status,
        BackgroundJob.queue,
        BackgroundJob.finished_at,
        BackgroundJob.if_failed,
        BackgroundJob.group_id,
        BackgroundJob.carries,
        BackgroundJob.labels,
        _IS_BEFORE_OTHERS.alias("is_before_others"),
    ).where(
        (BackgroundJob.id == p("id"))
        & ~_IS_UNSETTLED
        & BackgroundJob.finished_at.is_null(False)
        & BackgroundJob.review_since.is_null()
        & BackgroundJob.status.in_(SQL("({})".format(", ".join(f"'{status}'" for status in sorted(FINAL)))))
        & ~fn.EXISTS(_NEWER_ENTRY)
        & (BackgroundJob.id != fn.COALESCE(_OWNER_OF_NEWEST_ENTRY, SQL("0")))
    )
)
SELECT_NUMBERS: Final = compiled(JobAttempt.select(JobAttempt.number).where(JobAttempt.job_id == p("job_id")))
DELETE_ENTRIES: Final = compiled(
    JobLog.delete().where(
        JobLog.id.in_(JobLog.select(JobLog.id).where(JobLog.job_id == p("job_id")).limit(p("count")))
    )
)
DELETE_ATTEMPTS: Final = compiled(JobAttempt.delete().where(JobAttempt.job_id == p("job_id")))
DELETE_JOB: Final = compiled(
    BackgroundJob.delete().where((BackgroundJob.id == p("id")) & (BackgroundJob.status == p("expected")))
)
DELETE_OUTPUTS: Final = "DELETE FROM job_outputs WHERE job_id = :job_id"
"""In a file, which has some that came from a server; a server itself deletes them with the job."""
DELETE_EDGES: Final = "DELETE FROM job_dependencies WHERE job_id = :job_id"
SELECT_ENTRIES_AFTER: Final = compiled(
    JobLog.select(JobLog.id, JobLog.created_at)
    .where(JobLog.id > p("after"))
    .order_by(JobLog.id)
    .limit(p("count"))
)
DELETE_OLD_ENTRIES: Final = compiled(
    JobLog.delete().where(
        (JobLog.id > p("after")) & (JobLog.id <= p("last")) & (JobLog.created_at < p("before"))
    )
)
