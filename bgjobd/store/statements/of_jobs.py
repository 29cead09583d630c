"""Statements that store, read and change jobs by their ids and keys, and the columns that they have of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from peewee import SQL, Field, FloatField, fn

from bgjobd.store.models.jobs import BackgroundJob, JobAttempt
from bgjobd.store.statements.compiled import compiled, insert, insert_each, p

_LATEST_ATTEMPT: Final = JobAttempt.select(fn.COALESCE(fn.MAX(JobAttempt.number), SQL("0"))).where(
    JobAttempt.job_id == BackgroundJob.id
)


def _of_latest_attempt(column: Field) -> Any:
    own = JobAttempt.select(column).where(JobAttempt.job_id == BackgroundJob.id)
    return own.order_by(JobAttempt.number.desc()).limit(SQL("1")).alias(column.name)


JOB_COLUMNS: Final = (
    *("id", "class_name", "method_name", "parameters", "status", "retry_count", "max_retries", "retry_delay"),
    *(
        "backoff",
        "max_retry_delay",
        "queue",
        "priority",
        "timeout",
        "scheduled_at",
        "started_at",
        "finished_at",
    ),
    *("created_at", "updated_at", "cancel_requested_at", "idempotency_key", "result", "error", "sensitive"),
    *("crashes", "schedule", "occurrence"),
    *("waits_for", "failed_before", "if_failed", "cancelled_after", "group_id", "takes", "expires_at"),
    *("unique_key", "unique_while", "key", "turn", "ready"),
    *("steps", "step_bytes", "life", "retry_count_at_submit", "waiting_on", "emitted"),
    *("again_of", "review_since", "host_wanted", "traceparent", "labels"),
)
"""What the rules know of a job; rows.job_from_row reads them in this order, then those of its latest attempt."""

COLUMNS_OF_JOB: Final = tuple(field.name for field in BackgroundJob._meta.sorted_fields)
"""All columns of a job's row, as SELECT_ROW_OF_JOB has them."""

UNTIED: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("waits_for", "failed_before"), 0),
    **dict.fromkeys(("if_failed", "cancelled_after", "group_id", "takes", "expires_at")),
    **dict.fromkeys(("unique_key", "unique_while", "key", "waits_until", "waiting_on")),
    **dict.fromkeys(("again_of", "review_since", "settled_at", "settled_uid", "host_wanted")),
    **dict.fromkeys(("traceparent", "bulk", "labels")),
    **dict.fromkeys(
        ("turn", "carries", "steps", "step_bytes", "life", "retry_count_at_submit", "emitted"), 0
    ),
}
"""What a job without ties to others, a time or a key has in the columns of these; most have none, and pay for none."""

REAL_COLUMNS: Final = frozenset(
    field.name
    for model in (BackgroundJob, JobAttempt)
    for field in model._meta.sorted_fields
    if isinstance(field, FloatField)
)
"""The columns of jobs and attempts that hold numbers with a fraction."""

JOBS: Final = BackgroundJob.select(
    *[getattr(BackgroundJob, name) for name in JOB_COLUMNS],
    _LATEST_ATTEMPT.alias("attempt"),
    _of_latest_attempt(JobAttempt.progress),
    _of_latest_attempt(JobAttempt.outcome),
)

INSERT_JOB: Final = insert(BackgroundJob, without=UNTIED)
INSERT_TIED_JOB: Final = insert(BackgroundJob)
_OF_BULK: Final = {
    "id": ":id + key",
    "parameters": "value ->> 0",
    "idempotency_key": "value ->> 1",
    "request_digest": "value ->> 2",
    "sensitive": "value ->> 3",
}
TYPED_INSERT_BULK: Final = insert_each(BackgroundJob, "rows", _OF_BULK, is_typed=True)
INSERT_BULK: Final = insert_each(BackgroundJob, "rows", _OF_BULK)
"""One statement for all jobs of a bulk, whose `rows` are JSON: it takes half of what a statement a job does."""

SELECT_JOB: Final = compiled(JOBS.where(BackgroundJob.id == p("id")))
# The list first, whose values are few: a job is found by each.
SELECT_JOBS: Final = compiled(
    JOBS.from_(SQL('json_each(:ids) AS "wanted" CROSS JOIN "background_jobs" AS "t1"')).where(
        BackgroundJob.id == SQL('"wanted"."value"')
    )
)
SELECT_SUBMITTERS: Final = """
    SELECT j.id, j.submitted_uid FROM json_each(:ids) AS wanted CROSS JOIN background_jobs AS j ON j.id = wanted.value
"""
SELECT_JOBS_BY_KEY: Final = compiled(
    BackgroundJob.select(
        BackgroundJob.idempotency_key,
        BackgroundJob.id,
        BackgroundJob.request_digest,
        BackgroundJob.submitted_uid,
        BackgroundJob.class_name,
        BackgroundJob.method_name,
        BackgroundJob.parameters,
    ).where(BackgroundJob.idempotency_key.in_(SQL("(SELECT value FROM json_each(:keys))")))
)
SELECT_LAST_ID: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'background_jobs'"


SELECT_ROW_OF_JOB: Final = compiled(BackgroundJob.select().where(BackgroundJob.id == p("id")))

UPDATE_JOB: Final = compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): p(name)
            for name in (
                "status",
                "retry_count",
                "scheduled_at",
                "started_at",
                "finished_at",
                "updated_at",
                "cancel_requested_at",
                "result",
                "error",
                "ready",
                "turn",
                "crashes",
            )
        }
    ).where((BackgroundJob.id == p("id")) & (BackgroundJob.status == p("expected")))
)
UPDATE_REPLACED: Final = compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): p(name)
            for name in (
                *("parameters", "sensitive", "retry_delay", "backoff", "max_retry_delay", "unique_while"),
                *("retry_count_at_submit", "request_digest", "host_wanted", "traceparent"),
                "labels",
            )
        }
    ).where(BackgroundJob.id == p("id"))
)
UPDATE_TERMS: Final = compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): p(name)
            for name in ("queue", "priority", "timeout", "max_retries", "expires_at", "key", "waits_until")
        }
    ).where(BackgroundJob.id == p("id"))
)
REVIEW_JOB: Final = """
    UPDATE background_jobs SET review_since = :review_since, settled_at = :settled_at, settled_uid = :settled_uid
    WHERE id = :id
"""


def last_id(asked: Any) -> int:
    """The id behind which this transaction has those of so many new jobs, or groups, to itself that it has asked for.

    By AUTOINCREMENT's own counter: ids are never used again, also after that job is pruned. PostgreSQL has them taken
    from a sequence; those that come to nothing are gaps.
    """
    row = asked.fetchone()
    return row[0] if row else 0
