"""What keeps a pending job, as the file has it: what it comes after, who goes before it, who of its key has a place.

Whoever calls this sees the file as of one moment.
"""

from __future__ import annotations

from typing import Any, Final

from bgjob.words import Status
from bgjobd.core.edges import Node, Of
from bgjobd.core.job import Job
from bgjobd.core.on_file import MOST_AHEAD, Ahead, Keeper, LatestAttempt, OfKey, OnFile, RunningJob
from bgjobd.core.rates import scope_of_class, scope_of_key
from bgjobd.host.clock import to_text
from bgjobd.store import class_holds, dependencies, rates
from bgjobd.store.engines import Execute
from bgjobd.store.rows import instant
from bgjobd.store.statements import of_pauses, of_slots
from bgjobd.store.written import BEHIND, BLOCKED

KEEPER: Final = """
    SELECT "of", after_id FROM job_dependencies WHERE job_id = :id AND standing <> 1
    ORDER BY standing DESC, "of" DESC, after_id LIMIT 1
"""
_SELECT_STATUS: Final = (
    f"SELECT status, ready = {BLOCKED}, review_since IS NOT NULL FROM background_jobs WHERE id = :id"
)
SELECT_READY: Final = "SELECT ready FROM background_jobs WHERE id = :id"


def _before(index: str, condition: str) -> str:
    """Those that such an index, which ends in the order of claims, has before the job."""
    ranges = (
        "priority > :priority",
        "priority = :priority AND turn < :turn",
        "priority = :priority AND turn = :turn AND id < :id",
    )
    selects = (
        f"SELECT 1 AS is_sure FROM background_jobs INDEXED BY {index} "
        f"WHERE status = 'pending' AND {condition} AND {one}"
        for one in ranges
    )
    return " UNION ALL ".join(selects)


def _due(condition: str, is_sure: str) -> str:
    """Those that nobody has looked at since their time has come, for no slot was free, and that may come before it."""
    return f"""
        SELECT CASE WHEN {is_sure} THEN 1 ELSE 0 END AS is_sure FROM (
            SELECT id, queue, priority, key FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 AND scheduled_at <= :now ORDER BY scheduled_at LIMIT :most)
        WHERE {condition} AND id <> :id
            AND (priority > :priority OR (priority = :priority AND (:turn > 0 OR id < :id)))
    """


def _count(found: str) -> str:
    """How many of them surely go before it, and how many may."""
    return f"SELECT coalesce(sum(is_sure), 0), count(*) FROM ({found} LIMIT :most)"


# Whoever comes in with a key may have to wait behind that, and where jobs take turns nobody has his before.
COUNT_AHEAD: Final = _count(
    f"{_before('jobs_ready', 'ready = 1 AND queue = :queue')} "
    f"UNION ALL {_due('queue = :queue', 'key IS NULL AND :turn = 0')}"
)
COUNT_BEHIND_AHEAD: Final = _count(
    f"{_before('jobs_behind', f'ready = {BEHIND} AND queue = :queue AND key = :key')} "
    f"UNION ALL {_due('queue = :queue AND key = :key', ':turn = 0')}"
)
COUNT_READY_AHEAD: Final = _count(
    _before("jobs_key_ready", "ready = 1 AND key IS NOT NULL AND queue = :queue AND key = :key")
)
SELECT_KEY_RUNNING: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_key_running
    WHERE status = 'running' AND key IS NOT NULL AND queue = :queue AND key = :key ORDER BY id LIMIT :most
"""
SELECT_KEY_READY: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_key_ready
    WHERE status = 'pending' AND ready = 1 AND key IS NOT NULL AND queue = :queue AND key = :key
    ORDER BY priority DESC, turn, id LIMIT :most
"""
# The turn that the gate would give it, by those that have one; 0 where nobody has.
SELECT_TURN_TO_COME: Final = """
    SELECT CASE
        WHEN latest.of_queue IS NULL AND latest.of_others IS NULL THEN 0
        WHEN :has_begun <> 0 THEN 1 + coalesce(latest.of_queue, 0)
        ELSE 1 + max(coalesce(latest.of_queue, 0), coalesce(latest.of_key, 0)) END
    FROM (SELECT
        (SELECT turn FROM queue_turns WHERE queue = :queue AND priority = :priority) AS of_queue, (
            SELECT max(turn) FROM background_jobs INDEXED BY jobs_turns
            WHERE status = 'pending' AND turn > 0 AND queue = :queue AND key IS :key AND priority = :priority
        ) AS of_key, (
            SELECT turn FROM background_jobs INDEXED BY jobs_turns
            WHERE status = 'pending' AND turn > 0 AND queue = :queue LIMIT 1
        ) AS of_others) AS latest
"""


_SELECT_RUNNING_ON: Final = """
    SELECT j.id, j.queue, j.class_name FROM job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.outcome IS NULL AND a.host IN (SELECT id FROM hosts WHERE name = :host) ORDER BY j.id
"""


def on_file(
    execute: Execute, job: Job, latest: LatestAttempt | None, now: float, host: str | None = None
) -> OnFile:
    """All that bears on why the job, which is pending, has not run; on this host, where there are several."""
    pause = execute(of_pauses.SELECT_PAUSE, {"name": job.queue}).fetchone()
    paused_at, resumes_at = pause or (None, None)
    (ready,) = execute(SELECT_READY, {"id": job.id}).fetchone()
    has_come_in = bool(ready) or not job.is_due(now)
    place = _place(execute, job, has_come_in) | {"now": to_text(now), "most": MOST_AHEAD}
    buckets = rates.stored(execute, [scope_of_class(job.class_name)])
    return OnFile(
        job,
        latest,
        instant(paused_at),
        _ahead(execute, COUNT_AHEAD, place),
        _running(execute, of_slots.SELECT_RUNNING)
        if host is None
        else _running(execute, _SELECT_RUNNING_ON, host=host),
        _try_keeper(execute, job),
        instant(resumes_at),
        None if job.key is None else _of_key(execute, job, job.key, place, has_come_in),
        buckets[scope_of_class(job.class_name)],
        everywhere=() if host is None else _running(execute, of_slots.SELECT_RUNNING),
        class_hold=class_holds.try_stored(execute, job.class_name),
        was_due=ready in (1, BEHIND),
    )


def _running(execute: Execute, statement: str, **given: str) -> tuple[RunningJob, ...]:
    return tuple(RunningJob(*row) for row in execute(statement, given))


def _place(execute: Execute, job: Job, has_come_in: bool) -> dict[str, Any]:
    """Where it stands in the order of claims, or will once it is looked at."""
    place = {"queue": job.queue, "key": job.key, "priority": job.priority, "turn": job.turn, "id": job.id}
    if not has_come_in:
        asked = place | {"has_begun": job.started_at is not None}
        (place["turn"],) = execute(SELECT_TURN_TO_COME, asked).fetchone()
    return place


def _ahead(execute: Execute, statement: str, place: dict[str, Any]) -> Ahead:
    sure, all = execute(statement, place).fetchone()
    return Ahead(sure, may_be_more=all > sure or all >= MOST_AHEAD)


def _of_key(execute: Execute, job: Job, key: str, place: dict[str, Any], has_come_in: bool) -> OfKey:
    scope = scope_of_key(job.queue, key)
    is_ready = has_come_in and not job.is_behind
    return OfKey(
        tuple(id for (id,) in execute(SELECT_KEY_RUNNING, place)),
        tuple(id for (id,) in execute(SELECT_KEY_READY, place)),
        _ahead(execute, COUNT_READY_AHEAD if is_ready else COUNT_BEHIND_AHEAD, place),
        rates.stored(execute, [scope])[scope],
        has_come_in,
    )


def _try_keeper(execute: Execute, job: Job) -> Keeper | None:
    """What a blocked job waits for; what has ended badly before the rest."""
    if not job.is_blocked:
        return None
    row = execute(KEEPER, {"id": job.id}).fetchone()
    if row is None:
        return None
    node = Node(Of(row[0]), row[1])
    if node.of is Of.GROUP:
        groups = dependencies.groups_by_id(execute, [node.id])
        return Keeper(node, group=groups.get(node.id))
    found = execute(_SELECT_STATUS, {"id": node.id}).fetchone()
    if found is None:
        return Keeper(node)
    return Keeper(node, Status(found[0]), is_blocked=bool(found[1]), is_for_review=bool(found[2]))
