"""How many jobs stand in each status, and how many ended in each of the last 60 minutes, without counting again.

Counted in the file once, then carried along with the commits; values, and the SQL that counts.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Final, NamedTuple

from bgjob.codec import to_json
from bgjob.words import FINAL, Status
from bgjobd.core.job import Job
from bgjobd.host.clock import to_text
from bgjobd.store.engines import Database
from bgjobd.store.sql_functions import held
from bgjobd.store.written import BEHIND, BLOCKED, WAITING

FOR_REVIEW: Final = -1
"""Beside what `ready` says of pending jobs."""

MINUTES: Final = 60

_MINUTE: Final = 60.0
_WRITTEN: Final = len("2024-12-04T14:31")
"""So much of a stored instant tells its minute."""


class Countable(NamedTuple):
    """What counts of a job."""

    status: Status
    queue: str
    finished_at: float | None
    is_blocked: bool = False
    is_behind: bool = False
    is_waiting: bool = False
    is_for_review: bool = False


Move = tuple[Job | Countable | None, Job | Countable | None]
"""A job before and after a change that counts; None before it was submitted, and after it was deleted."""

_Place = tuple[Status, str | None, int]
"""A status, with the queue of a job that has not ended, and BLOCKED, BEHIND or WAITING where it is that, FOR_REVIEW
of a failed one, else 0.
"""

_kept: Final = itemgetter(2)

_End = tuple[str, Status]
"""In which minute a job ended, as a stored instant begins, and how."""


@dataclass(frozen=True, slots=True)
class Tally:
    """All jobs by their places, and the ends of the last minutes; a job that is to run again has not ended."""

    places: Mapping[_Place, int]
    ends: Mapping[_End, int]

    def moved(self, moves: Iterable[Move], now: float) -> Tally:
        """The tally after these changes; what ended too long before `now` falls out."""
        places, ends = dict(self.places), dict(self.ends)
        for before, after in moves:
            if before is not None:
                _add(-1, before, places, ends)
            if after is not None:
                _add(+1, after, places, ends)
        # A minute has begun, or an end was taken back that was long forgotten, by a retry or with its job.
        return Tally(places, _of_last_minutes(ends, now) if len(ends) > len(self.ends) else ends)

    def plus(self, difference: Tally, now: float) -> Tally:
        """The tally after what others have moved."""
        places, ends = dict(self.places), dict(self.ends)
        for place, number in difference.places.items():
            places[place] = places.get(place, 0) + number
        for end, number in difference.ends.items():
            ends[end] = ends.get(end, 0) + number
        return Tally(places, _of_last_minutes(ends, now) if len(ends) > len(self.ends) else ends)

    def joined(self, job: Job, count: int) -> Tally:
        """The tally after so many jobs more that stand as this new one does."""
        places = dict(self.places)
        _add(count, job, places, {})
        return Tally(places, self.ends)

    @property
    def jobs(self) -> dict[str, int]:
        """How many jobs stand in each status that has any."""
        jobs: Counter[str] = Counter()
        for (status, _, _), number in self.places.items():
            jobs[status.value] += number
        return {status: number for status, number in jobs.items() if number}

    def of_queue(self, queue: str, status: Status) -> int:
        """How many jobs of a queue stand in a status that is no end."""
        return sum([self.places.get((status, queue, kept), 0) for kept in (0, BLOCKED, BEHIND, WAITING)])

    def blocked_of(self, queue: str) -> int:
        """How many jobs of a queue wait for others; they are pending, too."""
        return self.places.get((Status.PENDING, queue, BLOCKED), 0)

    def behind_of(self, queue: str) -> int:
        """How many wait for those with the same key; they are pending, too."""
        return self.places.get((Status.PENDING, queue, BEHIND), 0)

    def waiting_of(self, queue: str) -> int:
        """How many wait for time, or a signal, after an attempt; they are pending, too."""
        return self.places.get((Status.PENDING, queue, WAITING), 0)

    @property
    def waiting(self) -> int:
        """The same of all queues."""
        return sum(number for (_, _, kept), number in self.places.items() if kept == WAITING)

    @property
    def for_review(self) -> int:
        """How many failed jobs there are of which nobody knows what they did."""
        return self.places.get((Status.FAILED, None, FOR_REVIEW), 0)

    @property
    def may_be_behind(self) -> bool:
        """Whether there are any, or have been; each transaction asks."""
        return BEHIND in map(_kept, self.places)

    @property
    def blocked(self) -> int:
        """The same of all queues."""
        return sum(number for (_, _, kept), number in self.places.items() if kept == BLOCKED)

    def minutes(self, now: float) -> list[dict[str, Any]]:
        """The last 60 minutes, the one of `now` among them, oldest first: `at`, `completed`, `failed`."""
        return [
            {
                "at": at,
                "completed": self.ends.get((at[:_WRITTEN], Status.COMPLETED), 0),
                "failed": self.ends.get((at[:_WRITTEN], Status.FAILED), 0),
            }
            for at in _last_minutes(now)
        ]


def _add(number: int, job: Job | Countable, places: dict[_Place, int], ends: dict[_End, int]) -> None:
    kept = WAITING if job.is_waiting else BLOCKED if job.is_blocked else BEHIND if job.is_behind else 0
    if job.is_for_review:
        kept = FOR_REVIEW
    place = (job.status, None if job.status.is_final else job.queue, kept)
    places[place] = places.get(place, 0) + number
    if job.status in _TOLD and job.finished_at is not None:
        end = (to_text(job.finished_at)[:_WRITTEN], job.status)
        ends[end] = ends.get(end, 0) + number


def _of_last_minutes(ends: Mapping[_End, int], now: float) -> dict[_End, int]:
    first = _last_minutes(now)[0][:_WRITTEN]
    return {end: number for end, number in ends.items() if end[0] >= first}


def _last_minutes(now: float) -> list[str]:
    """When each minute began that is told of, oldest first."""
    newest = math.floor(now / _MINUTE)
    return [to_text(held(minute * _MINUTE)) for minute in range(newest - MINUTES + 1, newest + 1)]


_TOLD: Final = (Status.COMPLETED, Status.FAILED)
"""The ends that are told of by the minute."""

# Counting. Each statement names its index: the table itself has all that jobs were given and came to.

_COUNT_ENDED: Final = (
    "SELECT '{status}', NULL, 0, count(*) FROM background_jobs INDEXED BY jobs_finished "
    "WHERE status = '{status}' AND finished_at IS NOT NULL"
)
_COUNT_OPEN: Final = (
    "SELECT 'running', queue, 0, count(*) FROM background_jobs INDEXED BY jobs_running "
    "WHERE status = 'running' GROUP BY queue",
    "SELECT 'pending', queue, 0, count(*) FROM background_jobs INDEXED BY jobs_ready "
    "WHERE status = 'pending' AND ready = 1 GROUP BY queue",
    "SELECT 'pending', queue, 0, count(*) FROM background_jobs INDEXED BY jobs_scheduled "
    "WHERE status = 'pending' AND ready = 0 GROUP BY queue",
    f"SELECT 'pending', queue, {BLOCKED}, count(*) FROM background_jobs INDEXED BY jobs_pending "
    f"WHERE status = 'pending' AND finished_at IS NULL AND ready = {BLOCKED} GROUP BY queue",
    f"SELECT 'pending', queue, {BEHIND}, count(*) FROM background_jobs INDEXED BY jobs_behind "
    f"WHERE status = 'pending' AND ready = {BEHIND} GROUP BY queue",
    f"SELECT 'pending', queue, {WAITING}, count(*) FROM background_jobs INDEXED BY jobs_pending "
    f"WHERE status = 'pending' AND finished_at IS NULL AND ready = {WAITING} GROUP BY queue",
)
# They are among the failed ones, which the index of ends has whole.
_COUNT_FOR_REVIEW: Final = tuple(
    f"SELECT 'failed', NULL, {kept}, {count} FROM background_jobs INDEXED BY jobs_for_review "
    "WHERE review_since IS NOT NULL"
    for kept, count in ((FOR_REVIEW, "count(*)"), (0, "-count(*)"))
)
COUNT_PLACES: Final = (
    *(_COUNT_ENDED.format(status=status) for status in sorted(FINAL)),
    *_COUNT_FOR_REVIEW,
    *_COUNT_OPEN,
)
COUNT_ENDS: Final = """
    SELECT m.value, s.value, (
        SELECT count(*) FROM background_jobs INDEXED BY jobs_ended
        WHERE status = s.value AND finished_at >= m.value AND finished_at < m.value || '~'
    )
    FROM json_each(:minutes) AS m CROSS JOIN json_each(:statuses) AS s
"""
# When the clock was set back: what comes among the last minutes again once it has caught up.
COUNT_FUTURE_ENDS: Final = f"""
    SELECT substr(finished_at, 1, {_WRITTEN}), status, count(*) FROM background_jobs INDEXED BY jobs_ended
    WHERE status IN (SELECT value FROM json_each(:statuses)) AND finished_at > :last || '~'
    GROUP BY 1, 2
"""


NOTHING: Final = Tally({}, {})


def counted(database: Database, now: float) -> Tally:
    """The tally of all that is in the file."""
    places: dict[_Place, int] = {}
    for statement in COUNT_PLACES:
        for status, queue, kept, number in database.execute_sql(statement).fetchall():
            place = (Status(status), queue, kept)
            places[place] = places.get(place, 0) + number
    minutes = [begin[:_WRITTEN] for begin in _last_minutes(now)]
    statuses = to_json(_TOLD)
    ends = [
        *database.execute_sql(COUNT_ENDS, {"minutes": to_json(minutes), "statuses": statuses}).fetchall(),
        *database.execute_sql(COUNT_FUTURE_ENDS, {"last": minutes[-1], "statuses": statuses}).fetchall(),
    ]
    return Tally(places, {(minute, Status(status)): number for minute, status, number in ends if number})
