"""Reads the steps, the waits, the state and the signals of a job, in pages, values as JSON text."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject, to_json
from bgjob.words import Status
from bgjobd.core.job import Job
from bgjobd.core.on_file import StepUnderWay
from bgjobd.host.clock import from_text
from bgjobd.store.engines import Connection
from bgjobd.store.pages.page import MOST_BYTES

SELECT_OWNER: Final = "SELECT class_name, sensitive, life FROM background_jobs WHERE id = :id"
_COLUMNS: Final = (
    *("kind", "name", "turn", "number", "attempt", "tries", "began_at", "finished_at", "until"),
    *("timed_out", "unused_in", "by_uid"),
)
_SELECT: Final = f"""
    SELECT {", ".join(_COLUMNS)}, coalesce(length(CAST(result AS BLOB)), 0), result FROM job_steps
    WHERE job_id = :id
"""
SELECT_FINISHED: Final = f"{_SELECT} AND number > :after ORDER BY number LIMIT :limit"
SELECT_BEGUN: Final = f"{_SELECT} AND number IS NULL ORDER BY began_at, name"
_SIGNAL: Final = ("number", "name", "sent_at", "uid", "taken_by")
SELECT_SIGNALS: Final = f"""
    SELECT {", ".join(_SIGNAL)}, length(CAST(payload AS BLOB)), CASE WHEN taken_by IS NULL THEN payload END
    FROM job_signals WHERE job_id = :id ORDER BY number
"""

SELECT_STATE: Final = "SELECT length(CAST(value AS BLOB)), value FROM job_states WHERE job_id = :id"
SELECT_UNDER_WAY: Final = """
    SELECT name, began_at FROM job_steps
    WHERE job_id = :id AND kind = 'step' AND number IS NULL AND attempt = :attempt ORDER BY began_at DESC LIMIT 1
"""
SELECT_ALL_UNDER_WAY: Final = """
    SELECT s.job_id, s.attempt, s.name
    FROM background_jobs AS j INDEXED BY jobs_running
    CROSS JOIN job_steps AS s ON s.job_id = j.id AND s.kind = 'step' AND s.number IS NULL
    WHERE j.status = 'running' AND j.carries <> 0
        AND s.attempt = (SELECT max(number) FROM job_attempts WHERE job_id = j.id)
    ORDER BY s.began_at
"""
_AT_MOST: Final = 1000
COUNT_AMID: Final = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM background_jobs INDEXED BY jobs_running WHERE status = 'running' AND steps > 0
        UNION ALL
        SELECT 1 FROM background_jobs INDEXED BY jobs_suspended WHERE status = 'pending' AND waiting_on IS NOT NULL
        UNION ALL
        SELECT 1 FROM (
            SELECT steps, waiting_on FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 ORDER BY scheduled_at LIMIT {_AT_MOST})
        WHERE steps > 0 AND waiting_on IS NULL
        LIMIT {_AT_MOST})
"""


class Value(NamedTuple):
    """What a step returned, or a signal brings, or the state: its size in bytes, and its JSON text where it is told."""

    size: int
    text: str | None


class StepsOfJob(NamedTuple):
    """Those finished behind a number, in their order, behind the last of them those that are not; `next` is the number
    to go on behind, None at the end. The state and the signals are there from the start on alone, each signal with
    its payload until a wait has taken it: that has it as its result.
    """

    class_name: str
    sensitive: frozenset[str]
    life: int
    steps: list[tuple[JsonObject, Value]]
    state: Value | None
    signals: list[tuple[JsonObject, Value]]
    next: int | None


def page(connection: Connection, job_id: int, after: int | None, limit: int) -> StepsOfJob | None:
    """None where there is no such job. No page is larger than MOST_BYTES, but for its last step."""
    owner = connection.execute(SELECT_OWNER, {"id": job_id}).fetchone()
    if owner is None:
        return None
    class_name, sensitive, life = owner
    steps, following = _finished(connection, job_id, after or 0, limit)
    if following is None:
        steps += [_step(row) for row in connection.execute(SELECT_BEGUN, {"id": job_id})]
    state = connection.execute(SELECT_STATE, {"id": job_id}).fetchone() if after is None else None
    signals = connection.execute(SELECT_SIGNALS, {"id": job_id}).fetchall() if after is None else []
    names = frozenset(json.loads(sensitive or "[]"))
    told = None if state is None else Value(*state)
    return StepsOfJob(class_name, names, life, steps, told, [_signal(row) for row in signals], following)


def _finished(
    connection: Connection, job_id: int, after: int, limit: int
) -> tuple[list[tuple[JsonObject, Value]], int | None]:
    found: list[tuple[JsonObject, Value]] = []
    size = 0
    for row in connection.execute(SELECT_FINISHED, {"id": job_id, "after": after, "limit": limit + 1}):
        if len(found) == limit or size > MOST_BYTES:
            return found, found[-1][0]["number"]
        found.append(_step(row))
        size += len(to_json(found[-1]))
    return found, None


def _step(row: tuple[Any, ...]) -> tuple[JsonObject, Value]:
    *columns, size, result = row
    step = dict(zip(_COLUMNS, columns, strict=True))
    return step | {"timed_out": bool(step["timed_out"])}, Value(size, result)


def _signal(row: tuple[Any, ...]) -> tuple[JsonObject, Value]:
    *columns, size, payload = row
    return dict(zip(_SIGNAL, columns, strict=True)), Value(size, payload)


def under_way(connection: Connection, job: Job) -> StepUnderWay | None:
    """The step that a running job is in; None where it is in none."""
    if job.status is not Status.RUNNING:
        return None
    row = connection.execute(SELECT_UNDER_WAY, {"id": job.id, "attempt": job.attempt}).fetchone()
    return None if row is None else StepUnderWay(row[0], from_text(row[1]))


def all_under_way(connection: Connection) -> list[tuple[int, int, str]]:
    """The steps that running attempts are in: job, attempt and name, as they began."""
    return list(connection.execute(SELECT_ALL_UNDER_WAY))


def count_amid(connection: Connection) -> int:
    """How many jobs have finished steps and run, wait, or are among the next that are tried again; 1,000 at most."""
    (count,) = connection.execute(COUNT_AMID).fetchone()
    return int(count)
