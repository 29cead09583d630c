"""Reads in the books which attempts have ended, as who has committed their ends has counted them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from bgjob.words import FINAL, Outcome, Status
from bgjobd.core.job import AttemptKey
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.committed import EndedAttempt
from bgjobd.store.engines import Execute
from bgjobd.store.sql_functions import held
from bgjobd.store.written import Row

_DOUBT: Final = 600.0
"""Seconds by which a job may seem to have ended before its attempt, as clocks are set."""

# Those that have ended since, by the index of ends, and those that have not, by the indexes of such.
ENDED_SINCE: Final = """
    SELECT a.job_id, a.number, a.outcome, a.started_at, a.finished_at, a.spends_retry, a.max_rss,
        coalesce(a.cpu_user, 0) + coalesce(a.cpu_system, 0), a.waited, a.error_group, a.host, j.class_name, j.status,
        a.number = (SELECT max(number) FROM job_attempts WHERE job_id = a.job_id)
    FROM (
        SELECT id, class_name, status FROM background_jobs INDEXED BY jobs_ended
        WHERE status IN ('completed', 'failed', 'cancelled') AND finished_at IS NOT NULL AND finished_at >= :about
        UNION ALL
        SELECT id, class_name, status FROM background_jobs INDEXED BY jobs_pending
        WHERE status = 'pending' AND finished_at IS NULL AND started_at IS NOT NULL
        UNION ALL
        SELECT id, class_name, status FROM background_jobs INDEXED BY jobs_running WHERE status = 'running'
    ) AS j CROSS JOIN job_attempts AS a ON a.job_id = j.id
    WHERE a.outcome IS NULL OR a.finished_at >= :since
"""


class Booked(NamedTuple):
    """An attempt of the books, on this host; `end` is None as long as it has none. It had `waited` so long, where that
    is known.
    """

    key: AttemptKey
    end: EndedAttempt | None
    waited: float | None
    error_group: int | None
    host: int | None


def since(execute: Execute, at: float, host: int | None) -> Iterator[Booked]:
    """The attempts that have ended since then, and those that run; where there are several hosts, of this one, but for
    what was lost: whoever has settled that has counted it.
    """
    found = booked(execute(ENDED_SINCE, given_since(at)).fetchall(), host)
    return (one for one in found if host is None or one.end is None or one.end.outcome is not Outcome.LOST)


def given_since(at: float) -> Row:
    """The values of the statement."""
    return {"since": to_text(held(at)), "about": to_text(held(at - _DOUBT))}


def booked(rows: Iterable[tuple[Any, ...]], host: int | None) -> Iterator[Booked]:
    """What the statement has found, on this host alone, or on all."""
    for row in rows:
        job_id, number, outcome, *used, waited, error_group, of_host, class_name, status, is_latest = row
        if (host is None or of_host == host) and (outcome is None or outcome in _OUTCOMES):
            key = job_id, number
            end = None if outcome is None else _end(key, class_name, outcome, used, status, bool(is_latest))
            yield Booked(key, end, waited, None if end is None else error_group, of_host)


_OUTCOMES: Final = frozenset({one.value for one in Outcome})
"""What else stands there is a fault of the books, which others tell."""


def _end(
    key: AttemptKey, class_name: str, outcome: str, used: Sequence[Any], status: str, is_latest: bool
) -> EndedAttempt:
    started_at, finished_at, spends_retry, memory, cpu = used
    at = from_text(finished_at)
    return EndedAttempt(
        class_name,
        Outcome(outcome),
        0.0 if started_at is None else max(0.0, at - from_text(started_at)),
        is_retried=bool(spends_retry) and not (is_latest and status in FINAL),
        key=key,
        at=at,
        has_failed=is_latest and status == Status.FAILED,
        cpu=cpu,
        memory=memory or 0,
    )
