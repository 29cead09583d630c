"""How many jobs of each queue are due, and how many are for later: by indexes, and of many no more than a bound.

Time moves a job from one to the other without a commit, so no tally has them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from bgjob.codec import to_json
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Connection

MOST: Final = 1000
"""So many are counted."""

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
        if due >= MOST:
            return None, None
        return min(pending, due), max(0, pending - due)


def counted(connection: Connection, queues: Collection[str], now: float) -> DueByQueue:
    """How many there are of these queues."""
    later = dict(connection.execute(LATER, {"now": to_text(now), "most": MOST}).fetchall())
    if sum(later.values()) < MOST:
        return DueByQueue(later, {})
    given = {"queues": to_json(list(queues)), "most": MOST}
    return DueByQueue(None, dict(connection.execute(DUE, given).fetchall()))
