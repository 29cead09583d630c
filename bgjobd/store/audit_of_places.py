"""What the books say of places and turns: keys with more or fewer than they may have; the SQL and the words for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from bgjobd.store.adoption import PROPERTY
from bgjobd.store.written import BEHIND

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Runs a statement on a connection that cannot write."""

OF_JOBS: Final = (
    (
        f"j.ready = {BEHIND} AND (j.status <> 'pending' OR j.key IS NULL)",
        "it is {status}, and its ready says that it is behind a key",
    ),
    (
        f"j.turn <> 0 AND (j.status <> 'pending' OR j.ready NOT IN (1, {BEHIND}))",
        "it is {status}, and has a turn, though it does not wait for that",
    ),
)
"""Rows of audit._OF_JOBS."""

# Of a queue whose keys are just being settled nothing is certain.
RULES: Final = f"""
    WITH rules AS (
        SELECT e.key AS queue, json_extract(e.value, '$[0]') AS slots,
            json_extract(e.value, '$[1]') IS NOT NULL AS has_rate, json_extract(e.value, '$[2]') AS share,
            json_array_length(e.value) > 3 AS is_being_settled
        FROM properties AS p JOIN json_each(p.value) AS e WHERE p.name = '{PROPERTY}')
"""
_IS_READY: Final = "status = 'pending' AND ready = 1 AND key IS NOT NULL"
_RUNNING: Final = """
    (SELECT count(*) FROM background_jobs INDEXED BY jobs_key_running
    WHERE status = 'running' AND key IS NOT NULL AND queue = {0}.queue AND key = {0}.key)
"""
_READY: Final = f"""
    (SELECT count(*) FROM background_jobs INDEXED BY jobs_key_ready
    WHERE {_IS_READY} AND queue = {{0}}.queue AND key = {{0}}.key)
"""
_TOO_MANY: Final = f"""
    {RULES}
    SELECT last, queue, key, ready, running, slots FROM (
        SELECT k.last, k.queue, k.key, k.ready, {_RUNNING.format("k")} AS running, r.slots, r.has_rate
        FROM (
            SELECT queue, key, count(*) AS ready, max(id) AS last FROM background_jobs INDEXED BY jobs_key_ready
            WHERE {_IS_READY} GROUP BY queue, key
        ) AS k JOIN rules AS r ON r.queue = k.queue AND NOT r.is_being_settled)
    WHERE ready + running > slots OR (has_rate AND ready > 1) LIMIT {{most}}"""
_FOR_NOTHING: Final = f"""
    {RULES}
    SELECT j.id, k.queue, k.key
    FROM (
        SELECT DISTINCT queue, key FROM background_jobs INDEXED BY jobs_behind
        WHERE status = 'pending' AND ready = {BEHIND}
    ) AS k LEFT JOIN rules AS r ON r.queue = k.queue
    JOIN background_jobs AS j ON j.id = (
        SELECT id FROM background_jobs INDEXED BY jobs_behind
        WHERE status = 'pending' AND ready = {BEHIND} AND queue = k.queue AND key = k.key
        ORDER BY priority DESC, turn, id LIMIT 1)
    WHERE r.is_being_settled IS NOT true
        AND NOT (r.slots IS NOT NULL AND {_RUNNING.format("k")} + {_READY.format("k")} >= r.slots)
        AND NOT (r.has_rate IS true AND {_READY.format("k")} > 0)
        AND NOT (j.waits_until IS NOT NULL AND (r.has_rate IS true
            OR j.waits_until <= strftime('%Y-%m-%dT%H:%M:%f', 'now')
            OR EXISTS (SELECT 1 FROM rates WHERE scope = 'key:' || k.queue || ':' || k.key AND held_until IS NOT NULL)))
    LIMIT {{most}}"""
_SHARES: Final = "(SELECT queue FROM rules WHERE share <> 'none' OR is_being_settled)"
_TURNS: Final = f"""
    {RULES}
    SELECT id, queue FROM background_jobs INDEXED BY jobs_turns
    WHERE status = 'pending' AND turn > 0 AND queue NOT IN {_SHARES} LIMIT {{most}}"""
_QUEUE_TURNS: Final = f"""
    {RULES}
    SELECT DISTINCT queue FROM queue_turns WHERE queue NOT IN {_SHARES} LIMIT {{most}}"""


def odd_places(ask: Ask, most: int) -> Iterator[tuple[int, str]]:
    """A job of each key that has more places than its queue allows, or a free one with a job behind it; and the jobs
    that have turns where nobody takes them.
    """
    for job_id, queue, key, ready, running, slots in ask(_TOO_MANY.format(most=most)):
        beside = f"of its key {key} in queue {queue} {ready} are ready and {running} run"
        yield job_id, f"{beside}, which is more than {'its rate' if slots is None else slots} allows"
    for job_id, queue, key in ask(_FOR_NOTHING.format(most=most)):
        yield job_id, f"it is behind its key {key} in queue {queue}, where a place is free"
    for job_id, queue in ask(_TURNS.format(most=most)):
        yield job_id, f"it has a turn, and in queue {queue} nobody takes turns"


def odd_queues(ask: Ask, most: int) -> Iterator[tuple[str, str]]:
    """The queues with turns that nobody takes."""
    for (queue,) in ask(_QUEUE_TURNS.format(most=most)):
        yield queue, "the latest turn of its jobs is stored, and nobody takes turns there"
