"""What a log entry holds of its job, as JSON text: what runs, and where it stands; no SQL."""

from __future__ import annotations

from bgjob.codec import to_json
from bgjobd.core.job import Job


def snapshot(job: Job) -> str:
    """The job as JSON text for a log entry's context."""
    return snapshot_of(job.id, rest_of(job), job.call.shown_parameters)


def snapshot_of(job_id: int, rest: str, shown_parameters: str) -> str:
    """The same, put together; statements.INSERT_BULK_ENTRIES does it as well."""
    return f'{{"id":{job_id}{rest}{shown_parameters}}}'


def rest_of(job: Job) -> str:
    """What stands between id and parameters, which jobs of a bulk have in common."""
    rest = to_json(
        {
            "class_name": job.call.class_name,
            "method_name": job.call.method_name,
            "status": job.status,
            "retry_count": job.retry_count,
            "max_retries": job.policy.max_retries,
            "queue": job.queue,
            "priority": job.priority,
        }
    )
    return f',{rest[1:-1]},"parameters":'
