"""Since when the job is due that waits longest for a slot: of all, and of each queue."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bgjob.codec import to_json
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Database

_MOST_WAITING: Final = 100

_MOST_PRIORITIES: Final = 10

_DUE_SINCE: Final = "max(updated_at, coalesce(scheduled_at, updated_at))"

OLDEST_DUE: Final = f"""
    SELECT min(since) FROM (
        SELECT since FROM (
            SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_pending
            WHERE status = 'pending' AND finished_at IS NULL AND ready = 1 ORDER BY id LIMIT :count
        )
        UNION ALL
        SELECT since FROM (
            SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 AND scheduled_at <= :now ORDER BY scheduled_at LIMIT 1
        )
    )
"""

OLDEST_DUE_BY_QUEUE: Final = f"""
    WITH RECURSIVE levels (queue, priority, number) AS (
        SELECT names.value, (
            SELECT min(priority) FROM background_jobs INDEXED BY jobs_ready
            WHERE status = 'pending' AND ready = 1 AND queue = names.value
        ), 1
        FROM json_each(:queues) AS names
        UNION ALL
        SELECT levels.queue, (
            SELECT min(priority) FROM background_jobs INDEXED BY jobs_ready
            WHERE status = 'pending' AND ready = 1 AND queue = levels.queue AND priority > levels.priority
        ), levels.number + 1
        FROM levels WHERE levels.priority IS NOT NULL AND levels.number < :priorities
    )
    SELECT queue, min(since) FROM (
        SELECT levels.queue AS queue, (
            SELECT min(since) FROM (
                SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_ready
                WHERE status = 'pending' AND ready = 1 AND queue = levels.queue AND priority = levels.priority
                ORDER BY turn, id LIMIT :count
            )
        ) AS since
        FROM levels WHERE levels.priority IS NOT NULL
        UNION ALL
        SELECT queue, since FROM (
            SELECT queue, {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 AND scheduled_at <= :now ORDER BY scheduled_at LIMIT :count
        )
    )
    GROUP BY queue
"""


def oldest(database: Database, now: float) -> str | None:
    """Since when the job waits for a slot that has waited longest, as it is stored; None where none waits.

    Of many that wait, those are looked at that were submitted first.
    """
    found = database.execute_sql(OLDEST_DUE, {"now": to_text(now), "count": _MOST_WAITING})
    since: str | None = found.fetchone()[0]
    return since


def oldest_by_queue(database: Database, queues: Collection[str], now: float) -> dict[str, str]:
    """As oldest(), of each of these queues in which a job waits.

    Of many priorities, the lowest are looked at; of many jobs of a priority, those that were submitted first.
    """
    values = {
        "queues": to_json(list(queues)),
        "now": to_text(now),
        "count": _MOST_WAITING,
        "priorities": _MOST_PRIORITIES,
    }
    return dict(database.execute_sql(OLDEST_DUE_BY_QUEUE, values).fetchall())
