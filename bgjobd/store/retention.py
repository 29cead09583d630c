"""What is old enough to go, and what there still is of it: reads for whoever deletes, the daemon or `bgjobd prune`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from bgjob.codec import to_json
from bgjob.words import FINAL, INT_MAX, Status
from bgjobd.host.clock import to_text
from bgjobd.store.alerts import OLDEST as OLDEST_ALERT
from bgjobd.store.deletions import KEPT_FROM, MAY_GO
from bgjobd.store.engines import Database
from bgjobd.store.errors import OLDEST as OLDEST_ERROR
from bgjobd.store.hosts import OLDEST_GONE
from bgjobd.store.method_usage import OLDEST as OLDEST_USAGE
from bgjobd.store.rates import FIRST_FULL
from bgjobd.store.rows import instant
from bgjobd.store.sql_functions import held
from bgjobd.store.uniques import OLDEST_PASSED

# What is old, by the index of ends: (status, finished_at), and the id as in every index.
# Of one that is for review there is no end yet; those that are, are few, and have an index of their own.
_IS_OVER: Final = """
    id NOT IN (SELECT id FROM background_jobs INDEXED BY jobs_for_review WHERE review_since IS NOT NULL)
"""
OLDEST_END: Final = f"""
    SELECT min(finished_at) FROM background_jobs INDEXED BY jobs_ended
    WHERE status = :status AND finished_at IS NOT NULL AND {_IS_OVER}
"""
ENDED_BEFORE: Final = f"""
    SELECT finished_at, id FROM background_jobs INDEXED BY jobs_ended
    WHERE status = :status AND finished_at IS NOT NULL AND finished_at < :before AND (finished_at, id) > (:at, :id)
        AND {_IS_OVER}
    ORDER BY finished_at, id LIMIT :limit
"""
COUNT_ENDED_BEFORE: Final = f"""
    SELECT count(*) FROM background_jobs INDEXED BY jobs_ended
    WHERE status = :status AND finished_at IS NOT NULL AND finished_at < :before AND {_IS_OVER}
"""
_COUNT_ENTRIES: Final = """
    SELECT count(*) FROM job_logs AS l CROSS JOIN background_jobs AS j ON j.id = l.job_id
    WHERE l.created_at < :logs
        OR (j.status = 'completed' AND j.finished_at < :completed)
        OR (j.status = 'failed' AND j.finished_at < :failed AND j.review_since IS NULL)
        OR (j.status = 'cancelled' AND j.finished_at < :cancelled)
"""
_KNOWN: Final = "SELECT id FROM background_jobs WHERE id IN (SELECT value FROM json_each(:ids))"
_KNOWN_ATTEMPTS: Final = (
    "SELECT job_id, number FROM job_attempts WHERE job_id IN (SELECT value FROM json_each(:ids))"
)
_OLDEST_ENTRY: Final = "SELECT created_at FROM job_logs WHERE created_at <= :now ORDER BY id LIMIT 1"
_NEWEST_ENTRY: Final = "SELECT created_at FROM job_logs ORDER BY id DESC LIMIT 1"

_OLDEST_OCCURRENCE: Final = f"""
    SELECT min((
        SELECT until FROM schedule_occurrences
        WHERE name = s.name AND at < {KEPT_FROM} AND until < {KEPT_FROM} ORDER BY at LIMIT 1
    )) FROM schedules AS s
"""

_OLDEST_GROUP: Final = f"SELECT min(ended_at) FROM job_groups AS g WHERE {MAY_GO}"

Place = tuple[str, int]
"""Where a job stands among those that ended: when, as it is stored, and its id."""

FIRST: Final[Place] = ("", 0)


class OldRows:
    """Asks what is old; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ended_before(self, status: Status, before: float, after: Place, limit: int) -> Sequence[Place]:
        """The jobs that ended so before that time, oldest first, behind a place."""
        at, id = after
        given = {"status": status, "before": _stored(before), "at": at, "id": id, "limit": limit}
        return list(self._database.execute_sql(ENDED_BEFORE, given).fetchall())

    def count_ended_before(self, status: Status, before: float) -> int:
        given = {"status": status, "before": _stored(before)}
        return int(self._database.execute_sql(COUNT_ENDED_BEFORE, given).fetchone()[0])

    def count_entries(self, ends: Mapping[Status, float], logs: float | None) -> int:
        """The log entries from before `logs`, and those of jobs that ended so before that time; it reads all."""
        given = {status.value: _stored(ends[status]) if status in ends else "" for status in FINAL}
        given["logs"] = "" if logs is None else _stored(logs)
        return int(self._database.execute_sql(_COUNT_ENTRIES, given).fetchone()[0])

    def oldest_end(self, status: Status) -> float | None:
        """When the job ended that ended so first; None where none has."""
        return instant(self._database.execute_sql(OLDEST_END, {"status": status}).fetchone()[0])

    def oldest_entry(self, now: float) -> float | None:
        """When the first log entry that is left was made, but for those of a time to come; None where there is none."""
        row = self._database.execute_sql(_OLDEST_ENTRY, {"now": _stored(now)}).fetchone()
        return None if row is None else instant(row[0])

    def oldest_occurrence(self) -> float | None:
        """Until when the first row of occurrences was that may go; None where there is none."""
        return instant(self._database.execute_sql(_OLDEST_OCCURRENCE).fetchone()[0])

    def oldest_group(self) -> float | None:
        """When the first group ended that has no members; None where there is none."""
        return instant(self._database.execute_sql(_OLDEST_GROUP).fetchone()[0])

    def oldest_key(self) -> float | None:
        """Until when the first unique key was held that nobody holds by now, or will; None where there is none."""
        row = self._database.execute_sql(OLDEST_PASSED).fetchone()
        return None if row is None else instant(row[0])

    def first_full_bucket(self) -> float | None:
        """When the first bucket of starts says nothing any more; None where there is none."""
        at: float | None = self._database.execute_sql(FIRST_FULL).fetchone()[0]
        return at

    def oldest_error(self) -> float | None:
        """When the error was met last that has been silent for longest; None where there is none."""
        return instant(self._database.execute_sql(OLDEST_ERROR).fetchone()[0])

    def oldest_usage(self, known: Collection[str]) -> float | None:
        """When the first of the classes that are not known completed last; None where there is none."""
        given = {"known": to_json(sorted(known))}
        return instant(self._database.execute_sql(OLDEST_USAGE, given).fetchone()[0])

    def oldest_alert(self) -> float | None:
        """When the first alert was over; None where none is."""
        return instant(self._database.execute_sql(OLDEST_ALERT).fetchone()[0])

    def oldest_gone(self) -> float | None:
        """When the host left, or was lost, that did so first; None where none has."""
        return instant(self._database.execute_sql(OLDEST_GONE).fetchone()[0])

    def newest_entry(self) -> float | None:
        """When the last log entry was made; None where there is none."""
        row = self._database.execute_sql(_NEWEST_ENTRY).fetchone()
        return None if row is None else instant(row[0])

    def known(self, job_ids: Collection[int]) -> set[int]:
        """Those of these jobs that there are."""
        given = {"ids": to_json([id for id in job_ids if id <= INT_MAX])}
        return {id for (id,) in self._database.execute_sql(_KNOWN, given).fetchall()}

    def known_attempts(self, job_ids: Collection[int]) -> set[tuple[int, int]]:
        """The attempts of these jobs that there are, as job and number."""
        given = {"ids": to_json([id for id in job_ids if id <= INT_MAX])}
        return set(self._database.execute_sql(_KNOWN_ATTEMPTS, given).fetchall())


def _stored(at: float) -> str:
    return to_text(held(at))
