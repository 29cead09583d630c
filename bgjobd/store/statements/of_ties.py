"""Statements of what ties jobs to others: groups, edges, unique keys."""

from __future__ import annotations

from typing import Final

from bgjobd.store.models.jobs import BackgroundJob
from bgjobd.store.models.ties import JobGroup
from bgjobd.store.statements.compiled import compiled, insert, p

INSERT_GROUP: Final = insert(JobGroup)
COUNT_GROUP: Final = """
    UPDATE job_groups SET total = :total, unfinished = :unfinished, completed = :completed, failed = :failed,
        cancelled = :cancelled, ended_at = :ended_at WHERE id = :id
"""
SEAL_GROUP: Final = """
    UPDATE job_groups SET sealed_at = coalesce(sealed_at, :sealed_at),
        cancel_requested_at = coalesce(:cancel_requested_at, cancel_requested_at)
    WHERE id = :id
"""
INSERT_EDGE: Final = """
    INSERT INTO job_dependencies VALUES (:job_id, :of, :after_id, :standing) ON CONFLICT DO NOTHING
"""
MOVE_EDGE: Final = """
    UPDATE job_dependencies SET standing = :standing WHERE job_id = :job_id AND "of" = :of AND after_id = :after_id
"""
FORGIVE_EDGES: Final = "UPDATE job_dependencies SET standing = 1 WHERE job_id = :job_id AND standing = 2"
SELECT_LAST_GROUP_ID: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'job_groups'"
UPDATE_TIES: Final = compiled(
    BackgroundJob.update(
        {
            getattr(BackgroundJob, name): p(name)
            for name in ("waits_for", "failed_before", "if_failed", "cancelled_after", "parameters", "takes")
        }
    ).where(BackgroundJob.id == p("id"))
)
TAKE_KEY: Final = """
    INSERT INTO unique_keys VALUES (:class_name, :method_name, :key, :job_id, :held_until)
    ON CONFLICT (class_name, method_name, key) DO UPDATE SET job_id = :job_id, held_until = :held_until
"""
RELEASE_KEY: Final = """
    DELETE FROM unique_keys WHERE class_name = :class_name AND method_name = :method_name AND key = :key
        AND job_id = :job_id AND (held_until IS NULL OR held_until <= :now)
"""
_HOLDINGS: Final = """
    SELECT u.class_name, u.method_name, u.key, u.job_id, u.held_until, j.submitted_uid
    FROM {wanted} CROSS JOIN unique_keys AS u ON {same} LEFT JOIN background_jobs AS j ON j.id = u.job_id
"""
SELECT_HOLDINGS: Final = _HOLDINGS.format(
    wanted="json_each(:keys) AS w",
    same="u.class_name = json_extract(w.value, '$[0]') AND u.method_name = json_extract(w.value, '$[1]') "
    "AND u.key = json_extract(w.value, '$[2]')",
)
SELECT_HOLDINGS_OF_JOBS: Final = _HOLDINGS.format(
    wanted="json_each(:ids) AS w CROSS JOIN background_jobs AS o ON o.id = w.value AND o.unique_key IS NOT NULL",
    same="u.class_name = o.class_name AND u.method_name = o.method_name AND u.key = o.unique_key",
)
