"""Reads the newest attempts that an error has ended, and others of the same classes: a few, by indexes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.words import INT_MAX, Outcome
from bgjobd.core.error_traits import Seen, Traits, traits_of
from bgjobd.store.engines import Connection
from bgjobd.store.statements.of_attempts import named_host

_MOST: Final = 50
"""Attempts of the error."""

_CLASSES: Final = 3
_BESIDE: Final = 25
"""Of so many classes so many jobs, the newest and those before the first that met it."""

_COLUMNS: Final = (
    f"a.job_id, a.number, a.code_version, j.queue, {named_host('a')}, seconds_between(a.started_at, a.finished_at), "
    "a.finished_at, a.outcome"
)
OWN: Final = f"""
    SELECT {_COLUMNS} FROM (
        SELECT job_id, number FROM job_attempts INDEXED BY attempts_of_error
        WHERE error_group = :id AND error_group IS NOT NULL ORDER BY job_id DESC LIMIT :most
    ) AS e CROSS JOIN job_attempts AS a ON a.job_id = e.job_id AND a.number = e.number
    CROSS JOIN background_jobs AS j ON j.id = a.job_id
"""
OTHERS: Final = f"""
    SELECT {_COLUMNS} FROM (
        SELECT id, queue FROM background_jobs INDEXED BY jobs_by_class
        WHERE class_name = :class_name AND id > 0 AND id < :before ORDER BY id DESC LIMIT :most
    ) AS j CROSS JOIN job_attempts AS a ON a.job_id = j.id AND a.outcome IS NOT NULL AND a.error_group IS NOT :id
"""


def read(connection: Connection, error: JsonObject, classes: Sequence[str]) -> Traits:
    """What its newest attempts have in common; `classes` have met it, those most often first."""
    rows = connection.execute(OWN, {"id": error["id"], "most": _MOST}).fetchall()
    others: dict[tuple[int, int], Seen] = {}
    for name in classes[:_CLASSES]:
        for before in (INT_MAX, error["first_job"]):
            given = {"class_name": name, "before": before, "most": _BESIDE, "id": error["id"]}
            found = map(_seen, connection.execute(OTHERS, given).fetchall())
            others.update({(one.job_id, one.number): one for one in found})
    return traits_of([_seen(row) for row in rows], list(others.values()))


def as_json(traits: Traits) -> JsonObject:
    """As it is told."""
    completed = traits.completed
    return traits._asdict() | {
        "each": [one._asdict() for one in traits.each],
        "completed": None
        if completed is None
        else {"job_id": completed.job_id, "number": completed.number, "at": completed.at},
    }


def _seen(row: tuple[Any, ...]) -> Seen:
    job_id, number, code, queue, host, seconds, at, outcome = row
    took = None if seconds is None else round(max(0.0, seconds), 3)
    return Seen(job_id, number, code, queue, host, took, at, outcome == Outcome.COMPLETED)
