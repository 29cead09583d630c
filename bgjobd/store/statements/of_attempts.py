"""Statements of attempts: the claim that makes one, each by its number, those without an end, and their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from peewee import OP, SQL, Expression, fn

from bgjobd.store.models.jobs import BackgroundJob, JobAttempt
from bgjobd.store.statements.compiled import compiled, p

INSERT_ATTEMPT: Final = compiled(
    JobAttempt.insert(
        {
            getattr(JobAttempt, name): p(name)
            for name in ("job_id", "number", "token", "boot_id", "host", "waited")
        }
    )
)
SELECT_LAST_BEGUN: Final = """
    SELECT value, (
        SELECT coalesce(max(number), 0) FROM job_attempts WHERE job_id = value AND outcome <> 'not_started'
    )
    FROM json_each(:ids)
"""
SELECT_NOTED: Final = """
    SELECT a.job_id, a.number, a.noted FROM json_each(:attempts) AS wanted CROSS JOIN job_attempts AS a
    ON a.job_id = json_extract(wanted.value, '$[0]') AND a.number = json_extract(wanted.value, '$[1]')
"""


def named_host(attempts: str) -> str:
    """The column `host` of these attempts: the name of the one that each is on, null where nobody else has any."""
    return f"(SELECT name FROM hosts WHERE hosts.id = {attempts}.host) AS host"


SELECT_ATTEMPT: Final = compiled(
    JobAttempt.select().where((JobAttempt.job_id == p("job_id")) & (JobAttempt.number == p("number")))
)
SELECT_LATEST_ATTEMPT: Final = compiled(
    JobAttempt.select()
    .where(JobAttempt.job_id == p("job_id"))
    .order_by(JobAttempt.number.desc())
    .limit(SQL("1"))
)


def _open_attempts(of_attempt: Sequence[str], of_job: Sequence[str], of_host: bool = False) -> str:
    """Select these columns of the attempts that have no end, one host's or all, and of their jobs."""
    columns = [getattr(JobAttempt, name) for name in of_attempt]
    columns += [getattr(BackgroundJob, name) for name in of_job]
    attempts = JobAttempt.select(*columns).join(BackgroundJob, on=BackgroundJob.id == JobAttempt.job_id)
    if of_host:
        attempts = attempts.where(Expression(JobAttempt.host, OP.IS, p("host")))
    return compiled(
        attempts.where(JobAttempt.outcome.is_null()).order_by(JobAttempt.job_id, JobAttempt.number)
    )


SELECT_OPEN_ATTEMPTS: Final = _open_attempts(
    ("job_id", "number", "token", "boot_id", "pid", "started_at", "noted"),
    ("class_name", "timeout", "cancel_requested_at", "key"),
    of_host=True,
)
_RUNNING_ATTEMPTS: Final = f"""
    SELECT a.job_id, a.number, a.pid, a.started_at, a.progress, j.class_name, j.method_name, j.queue, j.timeout,
        {named_host("a")}
    FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.outcome IS NULL{{more}} ORDER BY a.job_id, a.number
"""
_HAS_LABEL: Final = "EXISTS (SELECT 1 FROM job_labels AS l WHERE l.label = :label AND l.job_id = a.job_id)"
SELECT_RUNNING_ATTEMPTS: Final = _RUNNING_ATTEMPTS.format(more="")
SELECT_RUNNING_ATTEMPTS_OF_LABEL: Final = _RUNNING_ATTEMPTS.format(more=f" AND {_HAS_LABEL}")
UPDATE_ATTEMPT_STARTED: Final = compiled(
    JobAttempt.update(
        {
            JobAttempt.pid: p("pid"),
            JobAttempt.started_at: p("started_at"),
            JobAttempt.code_version: p("code_version"),
        }
    ).where(
        (JobAttempt.job_id == p("job_id")) & (JobAttempt.number == p("number")) & JobAttempt.outcome.is_null()
    )
)
UPDATE_ATTEMPT_ENDED: Final = compiled(
    JobAttempt.update(
        {
            getattr(JobAttempt, name): p(name)
            for name in (
                "finished_at",
                "outcome",
                "exit_code",
                "signal",
                "error_type",
                "error_class",
                "error_message",
                "traceback",
                "max_rss",
                "cpu_user",
                "cpu_system",
                "output_bytes",
                "spends_retry",
            )
        }
    ).where(
        (JobAttempt.job_id == p("job_id")) & (JobAttempt.number == p("number")) & JobAttempt.outcome.is_null()
    )
)
UPDATE_ATTEMPT_NOTED: Final = compiled(
    JobAttempt.update(
        {
            JobAttempt.noted: p("noted"),
            JobAttempt.progress: fn.COALESCE(p("progress"), JobAttempt.progress),
        }
    ).where((JobAttempt.job_id == p("job_id")) & (JobAttempt.number == p("number")))
)
