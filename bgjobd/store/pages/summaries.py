"""Jobs in short: the columns that lists have of them, of a row or of a job at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjobd.core.job import Job
from bgjobd.host.clock import to_text
from bgjobd.store import written
from bgjobd.store.engines import Connection
from bgjobd.store.pages.job_sources import jobs_by
from bgjobd.store.rows import labels_of, parsed, text_of
from bgjobd.store.statements.of_attempts import named_host

_SUMMARY: Final = (
    *("id", "class_name", "method_name", "status", "queue", "priority", "retry_count", "max_retries"),
    *(
        "scheduled_at",
        "started_at",
        "finished_at",
        "created_at",
        "updated_at",
        "cancel_requested_at",
        "error",
    ),
    *("schedule", "occurrence", "group_id", "key", "steps", "review_since", "labels"),
)
_UNDER_WAY: Final = """
    CASE WHEN j.status = 'running' AND j.carries <> 0 THEN (
        SELECT substr(max(s.began_at || s.name), length(max(s.began_at)) + 1) FROM job_steps AS s
        WHERE s.job_id = j.id AND s.kind = 'step' AND s.number IS NULL AND s.attempt = a.number) END
"""
"""The one that began last, without sorting: all instants are of one length."""

_USAGE: Final = ("max_rss", "cpu_user", "cpu_system", "output_bytes")
_OF_LISTED: Final = (*_USAGE, "host")
JOB_COLUMNS: Final = ", ".join(
    [
        *(f"j.{name}" for name in _SUMMARY),
        *(_UNDER_WAY, "j.waiting_on", "j.ready", "a.number", "a.outcome", "a.progress"),
    ]
)
LISTED_COLUMNS: Final = ", ".join([JOB_COLUMNS, *(f"a.{name}" for name in _USAGE), named_host("a")])


def summaries_of(connection: Connection, job_ids: Sequence[int]) -> dict[int, JsonObject]:
    """These jobs as summaries, by id; those that there are."""
    source = jobs_by("", "j.id IN (SELECT value FROM json_each(:ids))")
    sql = f"SELECT {JOB_COLUMNS} FROM {source}"
    return {row[0]: summary(row) for row in connection.execute(sql, {"ids": json.dumps(list(job_ids))})}


def summary_of(job: Job, step: str | None) -> JsonObject:
    """A job at hand, which is in this step, as summaries() has it."""
    return {
        "id": job.id,
        "class_name": job.call.class_name,
        "method_name": job.call.method_name,
        "status": job.status,
        "queue": job.queue,
        "priority": job.priority,
        "retry_count": job.retry_count,
        "max_retries": job.policy.max_retries,
        "scheduled_at": text_of(job.scheduled_at),
        "started_at": text_of(job.started_at),
        "finished_at": text_of(job.finished_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(job.updated_at),
        "cancel_requested_at": text_of(job.cancel_requested_at),
        "error": job.error,
        "schedule": job.schedule,
        "occurrence": text_of(job.occurrence),
        "group_id": job.group_id,
        "key": job.key,
        "steps": 0 if job.carried is None else job.carried.steps,
        "review_since": text_of(job.review_since),
        "labels": list(job.labels),
        "step": step,
        "waiting_on": job.carried.waiting_on if job.is_waiting and job.carried is not None else None,
        "is_blocked": job.is_blocked,
        "is_behind": job.is_behind,
        "attempt": job.attempt,
        "outcome": job.outcome,
        "progress": parsed(job.progress),
    }


def summary(row: tuple[Any, ...]) -> JsonObject:
    *columns, step, waiting_on, ready, attempt, outcome, progress = row
    return {
        **dict(zip(_SUMMARY, columns, strict=True)),
        "labels": labels_of(columns[-1]),
        "step": step,
        "waiting_on": waiting_on if ready == written.WAITING else None,
        "is_blocked": ready == written.BLOCKED,
        "is_behind": ready == written.BEHIND,
        "attempt": attempt or 0,
        "outcome": outcome,
        "progress": parsed(progress),
    }


def listed(row: tuple[Any, ...]) -> JsonObject:
    in_short, told = row[: -len(_OF_LISTED)], row[-len(_OF_LISTED) :]
    return summary(in_short) | dict(zip(_OF_LISTED, told, strict=True))
