"""What a log entry holds of its job, as JSON text: what runs, and where it stands; no SQL."""

from __future__ import annotations

from functools import lru_cache

from bgjob.codec import to_json
from bgjob.words import Status
from bgjobd.core.job import Job


def snapshot(job: Job) -> str:
    """The job as JSON text for a log entry's context."""
    return snapshot_of(job.id, rest_of(job), job.call.shown_parameters)


def snapshot_of(job_id: int, rest: str, shown_parameters: str) -> str:
    """The same, put together; of_entries.INSERT_BULK_ENTRIES does it as well."""
    return f'{{"id":{job_id}{rest}{shown_parameters}}}'


def rest_of(job: Job) -> str:
    """What stands between id and parameters, which jobs of a bulk have in common."""
    call, how_often = job.call, (job.retry_count, job.policy.max_retries)
    return _told(call.class_name, call.method_name, job.status, *how_often, job.queue, job.priority)


@lru_cache(maxsize=128)  # those of a class are told alike
def _told(
    class_name: str,
    method_name: str,
    status: Status,
    retry_count: int,
    max_retries: int,
    queue: str,
    priority: int,
) -> str:
    rest = to_json(
        {
            "class_name": class_name,
            "method_name": method_name,
            "status": status,
            "retry_count": retry_count,
            "max_retries": max_retries,
            "queue": queue,
            "priority": priority,
        }
    )
    return f',{rest[1:-1]},"parameters":'
