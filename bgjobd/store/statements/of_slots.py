"""The statements of a claim: which jobs are ready for a slot, in which order, and what has one."""

from __future__ import annotations

from typing import Final

from peewee import SQL, fn

from bgjob.words import Status
from bgjobd.store.models.jobs import BackgroundJob
from bgjobd.store.statements.compiled import compiled, p, quoted
from bgjobd.store.statements.of_jobs import JOBS

_IS_READY: Final = (BackgroundJob.status == quoted(Status.PENDING)) & (BackgroundJob.ready == SQL("1"))
_IS_RUNNING: Final = BackgroundJob.status == quoted(Status.RUNNING)
# By name, as what another engine has in that index, and what not, is said by it.
SELECT_READY: Final = compiled(
    JOBS.where(_IS_READY & (BackgroundJob.queue == p("queue")))
    .order_by(BackgroundJob.queue, BackgroundJob.priority.desc(), BackgroundJob.turn, BackgroundJob.id)
    .limit(p("count"))
)
SELECT_READY_OF_QUEUES: Final = """
    SELECT w.queue, r.count, t.*
    FROM (SELECT value ->> 0 AS queue, (value ->> 1)::bigint AS most FROM jsonb_array_elements(:places::jsonb)) AS w
    CROSS JOIN LATERAL (
        SELECT count(*) FROM (
            SELECT 1 FROM background_jobs
            WHERE status = 'pending' AND ready = 1 AND host_wanted IS NULL AND queue = w.queue LIMIT w.most) AS those
    ) AS r LEFT JOIN LATERAL ({ready} FOR NO KEY UPDATE OF t1 SKIP LOCKED) AS t ON true
""".format(
    ready=SELECT_READY.replace('("t1"."ready" = 1)', '("t1"."ready" = 1 AND "t1"."host_wanted" IS NULL)')
    .replace(":queue", "w.queue")
    .replace(":count", "w.most")
)
"""The same of several queues, by their places, for one of several writers; with how many of so many there are."""

# By name, for jobs_ready would serve as well, and have each commit read all that waits of a class without a slot.
SELECT_READY_OF_CLASS: Final = """
    SELECT id, priority, turn FROM background_jobs INDEXED BY jobs_of_class
    WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name = :class_name
    ORDER BY priority DESC, turn, id LIMIT :count
"""
COUNT_READY_OF_CLASS: Final = """
    SELECT count(*) FROM (
        SELECT 1 FROM background_jobs INDEXED BY jobs_of_class
        WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name = :class_name LIMIT :most)
"""
SELECT_NEXT_READY_CLASS: Final = """
    SELECT class_name FROM background_jobs INDEXED BY jobs_of_class
    WHERE status = 'pending' AND ready = 1 AND queue = :queue AND class_name > :class_name
    ORDER BY class_name LIMIT 1
"""
# What asks for a host is in an index of its own, so that nobody walks over what others are to start.
_IS_PINNED: Final = "status = 'pending' AND ready = 1 AND host_wanted = :host"
IS_ANY_PINNED: Final = f"SELECT 1 FROM background_jobs WHERE {_IS_PINNED} LIMIT 1"
SELECT_PINNED_OF_CLASS: Final = f"""
    SELECT id, priority, turn FROM background_jobs
    WHERE {_IS_PINNED} AND queue = :queue AND class_name = :class_name ORDER BY priority DESC, turn, id LIMIT :count
"""
COUNT_PINNED_OF_CLASS: Final = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM background_jobs
        WHERE {_IS_PINNED} AND queue = :queue AND class_name = :class_name LIMIT :most) AS those
"""
SELECT_NEXT_PINNED_CLASS: Final = f"""
    SELECT class_name FROM background_jobs
    WHERE {_IS_PINNED} AND queue = :queue AND class_name > :class_name ORDER BY class_name LIMIT 1
"""
COUNT_RUNNING: Final = compiled(
    BackgroundJob.select(BackgroundJob.queue, fn.COUNT(SQL("*")))
    .where(_IS_RUNNING)
    .group_by(BackgroundJob.queue)
)
SELECT_RUNNING: Final = """
    SELECT id, queue, class_name FROM background_jobs INDEXED BY jobs_running WHERE status = 'running'
"""
_RUNNING_HERE: Final = """
    FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.host = :host AND a.host IS NOT NULL AND a.outcome IS NULL
"""
COUNT_RUNNING_HERE: Final = f"SELECT j.queue, count(*) {_RUNNING_HERE} GROUP BY j.queue"
SELECT_RUNNING_HERE: Final = f"SELECT j.id, j.queue, j.class_name {_RUNNING_HERE}"
"""What takes the slots of one host, where several work from the database."""
