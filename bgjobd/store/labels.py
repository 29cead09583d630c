"""The labels of jobs as they are found: the SQL that writes them, and that counts whose they are.

A job's row has them all, as a JSON list; `job_labels` has a row for each, by which jobs of a label are walked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgjob.codec import JsonObject, to_json
from bgjob.words import MOST_OF_KEY, Status
from bgjobd.store.committed import StoredBulk
from bgjobd.store.engines import Connection, Execute

ITS_LABELS: Final = "json_each(j.labels) AS own"
"""The labels of a job `j` as rows, which are its `value`."""

LABEL: Final = f"""
    INSERT INTO job_labels (label, job_id)
    SELECT own.value, j.id FROM background_jobs AS j CROSS JOIN {ITS_LABELS} WHERE j.id = :id
    ON CONFLICT DO NOTHING
"""
LOSE: Final = "DELETE FROM job_labels WHERE label = :label AND job_id = :job_id"
DELETE: Final = """
    DELETE FROM job_labels WHERE job_id = :job_id AND label IN (SELECT value FROM json_each(:labels))
"""
_LABEL_BULK: Final = """
    INSERT INTO job_labels (label, job_id)
    SELECT l.value, j.id FROM json_each(:labels) AS l CROSS JOIN background_jobs AS j ON j.id BETWEEN :id AND :last
"""

_OF_NEWEST: Final = 100
"""Of so many jobs of a label it is counted how they stand: that takes a look at each."""

# From label to label, without looking at what is between them.
_NAMES: Final = """
    WITH RECURSIVE names (label, number) AS (
        SELECT (SELECT min(label) FROM job_labels WHERE label >= :first AND label > :after), 1
        UNION ALL
        SELECT (SELECT min(label) FROM job_labels WHERE label > names.label), names.number + 1
        FROM names WHERE names.label IS NOT NULL AND names.number < :count
    )
"""
COUNT: Final = f"""
    {_NAMES}
    SELECT label, (SELECT max(job_id) FROM job_labels AS l WHERE l.label = names.label), (
        SELECT count(*) FROM (SELECT 1 FROM job_labels AS l WHERE l.label = names.label LIMIT {MOST_OF_KEY}) AS counted
    ) FROM names WHERE label IS NOT NULL ORDER BY label
"""
COUNT_STANDINGS: Final = f"""
    SELECT status, count(*) FROM (
        SELECT j.status AS status FROM job_labels AS l CROSS JOIN background_jobs AS j ON j.id = l.job_id
        WHERE l.label = :label ORDER BY l.job_id DESC LIMIT {_OF_NEWEST}
    ) AS newest GROUP BY status
"""


def label_bulk(execute: Execute, bulk: StoredBulk) -> None:
    """Have the jobs of a bulk found by their labels, if they have any."""
    first = bulk.first
    if first.labels:
        last = first.id + len(bulk) - 1
        execute(_LABEL_BULK, {"labels": to_json(first.labels), "id": first.id, "last": last})


def page(
    connection: Connection, prefix: str, after: str, limit: int
) -> tuple[Sequence[JsonObject], str | None]:
    """The labels that begin with `prefix`, in their order, those behind `after`; and where to go on.

    Of each: how many jobs it has, at most MOST_OF_KEY, the newest of them, and how the newest 100 stand.
    """
    given = {"first": prefix, "after": after, "count": limit + 1}
    found = [row for row in connection.execute(COUNT, given).fetchall() if row[0].startswith(prefix)]
    told = [_told(connection, *row) for row in found[:limit]]
    return told, told[-1]["label"] if len(found) > limit else None


def _told(connection: Connection, label: str, newest: int, jobs: int) -> JsonObject:
    standings = dict(connection.execute(COUNT_STANDINGS, {"label": label}).fetchall())
    return {
        "label": label,
        "jobs": jobs,
        "newest": newest,
        **{status.value: standings.get(status, 0) for status in Status},
    }
