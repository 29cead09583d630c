"""Which jobs are due: since when the one is that waits longest for a slot, and how many of each queue."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

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

MOST_COUNTED: Final = 1000
"""So many of either are counted: time moves a job from one to the other without a commit, so no tally has them."""

LATER: Final = """
    SELECT queue, count(*) FROM (
        SELECT queue FROM background_jobs INDEXED BY jobs_scheduled
        WHERE status = 'pending' AND ready = 0 AND scheduled_at > :now LIMIT :most
    ) AS soonest GROUP BY queue
"""
DUE: Final = """
    SELECT names.value, (
        SELECT count(*) FROM (
            SELECT 1 FROM background_jobs INDEXED BY jobs_ready
            WHERE status = 'pending' AND ready = 1 AND queue = names.value LIMIT :most
        ) AS those
    ) FROM json_each(:queues) AS names
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


class DueByQueue(NamedTuple):
    """By queue: those for later, None where there are more than are counted; then those that are due, as far."""

    later: Mapping[str, int] | None
    due: Mapping[str, int]

    def of(self, queue: str, pending: int) -> tuple[int | None, int | None]:
        """How many of so many pending jobs of the queue are due, and for later; both None where either are many."""
        if self.later is not None:
            later = min(pending, self.later.get(queue, 0))
            return pending - later, later
        due = self.due.get(queue, 0)
        if due >= MOST_COUNTED:
            return None, None
        return min(pending, due), max(0, pending - due)


def counted(database: Database, queues: Collection[str], now: float) -> DueByQueue:
    """How many jobs of these queues are due, and how many for later: by indexes, and of many no more than a bound."""
    later = dict(database.execute_sql(LATER, {"now": to_text(now), "most": MOST_COUNTED}).fetchall())
    if sum(later.values()) < MOST_COUNTED:
        return DueByQueue(later, {})
    given = {"queues": to_json(list(queues)), "most": MOST_COUNTED}
    return DueByQueue(None, dict(database.execute_sql(DUE, given).fetchall()))
