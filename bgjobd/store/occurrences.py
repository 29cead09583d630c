"""Reads what became of schedules' occurrences: the latest of each schedule, and those of one in pages by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjobd.store.engines import Connection
from bgjobd.store.rows import instant

_NAMES: Final = ("at", "until", "count", "verdict", "reason", "job_id", "dealt_at", "status")
_COLUMNS: Final = ", ".join([*(f"o.{name}" for name in _NAMES[:-1]), "j.status"])
_ITS_JOB: Final = "LEFT JOIN background_jobs AS j ON j.id = o.job_id AND o.verdict <> 'skipped'"
"""The job that it became, not one that had not ended."""

STANDINGS: Final = f"""
    SELECT s.name, s.paused_at, {_COLUMNS} FROM schedules AS s
    LEFT JOIN schedule_occurrences AS o ON o.name = s.name AND o.at = (
        SELECT max(at) FROM schedule_occurrences WHERE name = s.name
    )
    {_ITS_JOB}
    WHERE s.removed_at IS NULL AND s.name = coalesce(:name, s.name)
"""
OCCURRENCES: Final = f"""
    SELECT {_COLUMNS} FROM schedule_occurrences AS o {_ITS_JOB}
    WHERE o.name = :name AND o.at < :before ORDER BY o.at DESC LIMIT :limit
"""
_LAST_SUCCESSES: Final = """
    SELECT wanted.value, (
        SELECT finished_at FROM background_jobs INDEXED BY jobs_by_schedule
        WHERE schedule = wanted.value AND schedule IS NOT NULL AND status = 'completed' ORDER BY id DESC LIMIT 1
    ) FROM json_each(:names) AS wanted
"""
_IS_KNOWN: Final = "SELECT 1 FROM schedules WHERE name = :name"
_NO_END: Final = "~"
"""Behind each stored instant, as texts are compared."""


@dataclass(frozen=True, slots=True)
class ScheduleStanding:
    """Since when a schedule is paused, and its latest row; None where there is no such."""

    paused_at: str | None = None
    last: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class OccurrencePage:
    """Some of a schedule's rows, newest first; `next` is the instant from behind which to go on, None at the end."""

    rows: list[JsonObject]
    next: str | None


def standings(connection: Connection, name: str | None) -> Mapping[str, ScheduleStanding]:
    """Of each schedule that is configured, or of the one of this name."""
    return {
        name: ScheduleStanding(paused_at, None if row[0] is None else _shown(row))
        for name, paused_at, *row in connection.execute(STANDINGS, {"name": name}).fetchall()
    }


def last_successes(connection: Connection, names: Sequence[str]) -> Mapping[str, float | None]:
    """When the newest job of each of these schedules that completed did; None where none has."""
    found = connection.execute(_LAST_SUCCESSES, {"names": to_json(names)}).fetchall()
    return {name: instant(at) for name, at in found}


def page(connection: Connection, name: str, before: str | None, limit: int) -> OccurrencePage | None:
    """What became of the schedule's occurrences before an instant; None where there never was such a schedule."""
    values = {"name": name, "before": before or _NO_END, "limit": limit + 1}
    rows = [_shown(row) for row in connection.execute(OCCURRENCES, values).fetchall()]
    if not rows and connection.execute(_IS_KNOWN, values).fetchone() is None:
        return None
    return OccurrencePage(rows[:limit], rows[limit - 1]["at"] if len(rows) > limit else None)


def _shown(row: list[Any] | tuple[Any, ...]) -> JsonObject:
    return dict(zip(_NAMES, row, strict=True))
