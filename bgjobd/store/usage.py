"""What the attempts of each class used, as percentiles over the latest that have ended."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjobd.store.engines import Connection

MOST_ATTEMPTS: Final = 10_000
"""How many attempts are looked at: those of the newest jobs."""

_MEASURES: Final = ("wall", "cpu", "memory", "output")
_PERCENTILES: Final = (50, 95)

# Rounded to the microseconds of a CPU time, and to the milliseconds that julianday() knows.
_LATEST_ENDED: Final = """
    SELECT
        j.class_name,
        round(86400 * (julianday(a.finished_at) - julianday(a.started_at)), 3),
        round(a.cpu_user + a.cpu_system, 6),
        a.max_rss,
        a.output_bytes
    FROM job_attempts AS a CROSS JOIN background_jobs AS j ON j.id = a.job_id
    WHERE a.outcome IS NOT NULL
    ORDER BY a.job_id DESC, a.number DESC
    LIMIT :limit
"""

Used = tuple[Any, ...]
"""The class of an attempt, and what it used in the order of the measures: seconds, seconds, bytes, bytes."""


def of_latest(connection: Connection) -> dict[str, JsonObject]:
    """by_class() of the latest attempts that have ended."""
    return by_class(connection.execute(_LATEST_ENDED, {"limit": MOST_ATTEMPTS}))


def by_class(attempts: Iterable[Used]) -> dict[str, JsonObject]:
    """For each class, by name: how many `attempts`, and `wall_p50`, `wall_p95`, `cpu_p50`… of what is known of them."""
    used: dict[str, list[Used]] = {}
    for attempt in attempts:
        used.setdefault(attempt[0], []).append(attempt)
    return {class_name: _summed_up(used[class_name]) for class_name in sorted(used)}


def _summed_up(used: Sequence[Used]) -> JsonObject:
    told: JsonObject = {"attempts": len(used)}
    for place, measure in enumerate(_MEASURES, 1):
        known = sorted(attempt[place] for attempt in used if attempt[place] is not None)
        told |= {f"{measure}_p{percent}": percentile(known, percent) for percent in _PERCENTILES}
    return told


def percentile(ordered: Sequence[float], percent: int) -> float | None:
    """The least of these values that is not below `percent` of 100 of them (nearest rank); None where there is none."""
    rank = -(-percent * len(ordered) // 100)
    return ordered[rank - 1] if ordered else None
