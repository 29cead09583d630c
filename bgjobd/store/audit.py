"""What the books say, for whoever checks them: the questions that SQL answers, on a connection that cannot write.

Whether what was found is right beside the spool and the processes is asked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from bgjob.words import EXPIRED, FINAL, QUARANTINED, Outcome, Status
from bgjobd.core.state_machine import STAYS_FOR_KEY
from bgjobd.host.clock import from_text
from bgjobd.store import (
    audit_of_errors,
    audit_of_keys,
    audit_of_labels,
    audit_of_places,
    audit_of_spans,
    audit_of_steps,
    audit_of_ties,
)
from bgjobd.store.database import UnusableDatabaseError
from bgjobd.store.engines import Given, Place
from bgjobd.store.engines.sqlite import engine_at, errors_named
from bgjobd.store.migrations import STEPS

Key = tuple[int, int]
"""A job's id and an attempt's number."""

_MOST: Final = 100
"""How many rows are told of each kind of oddity: whoever has more has seen enough."""

_MOST_OPEN: Final = 10_000

_MOST_OCCURRENCES: Final = 1000
"""Of how many occurrences of a schedule, the newest, it is asked whether each has a row."""


class SchemaTooOldError(Exception):
    """The file is of an older bgjobd, and no daemon of this one has opened it yet."""

    def __init__(self, name: str, found: int) -> None:
        super().__init__(
            f"{name} has schema version {found}, this bgjobd reads {len(STEPS)}; "
            "start the daemon once, which brings it up to date"
        )


@dataclass(frozen=True, slots=True)
class Oddity:
    """A row that contradicts another, or itself; `number` is the attempt's, None where the job is meant."""

    job_id: int
    number: int | None
    told: str


@dataclass(frozen=True, slots=True)
class BookedRow:
    """So many occurrences in a row, and what became of them."""

    at: float
    until: float
    count: int


@dataclass(frozen=True, slots=True)
class BookedSchedule:
    """A schedule with its newest rows in order, but for what somebody asked for; `is_whole`: there are no others.

    Each occurrence behind `since`, up to `cursor`, is to be in one of them, as the `definition` has it.
    """

    name: str
    definition: str
    since: float
    cursor: float
    rows: tuple[BookedRow, ...]
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Odd:
    """Something other than a job that contradicts itself, or another; `subject` names it as a user would."""

    subject: str
    told: str


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """An attempt whose end is not recorded; `pid` is None as long as its start isn't."""

    key: Key
    token: str
    boot_id: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What the books say of one attempt; `is_latest` of its job."""

    status: Status
    is_open: bool
    is_latest: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is."""

    jobs: int
    attempts: int
    running: int


def _words(words: Iterable[str]) -> str:
    return "({})".format(", ".join(f"'{word}'" for word in sorted(words)))


_FINAL: Final = _words(FINAL)
_SPENDS_NOTHING: Final = _words({Outcome.NOT_STARTED, Outcome.SNOOZED, Outcome.SUSPENDED})

# Each: what must not be, and what is said of it. A row is told by the first that holds. `j` is the job, `a` its
# latest attempt; in the second table `a` is any attempt, `j` its job.

_OF_JOBS: Final = (
    (f"j.status NOT IN {_words(Status)}", "its status is {status}, a word that there is not"),
    (
        "j.status = 'running' AND (a.number IS NULL OR a.outcome IS NOT NULL)",
        "it is running, and its latest attempt ({outcome}) is not",
    ),
    ("j.status = 'running' AND j.started_at IS NULL", "it is running, and has no started_at"),
    (f"j.status IN {_FINAL} AND j.finished_at IS NULL", "it is {status}, and has no finished_at"),
    (f"j.status NOT IN {_FINAL} AND j.finished_at IS NOT NULL", "it is {status}, and has a finished_at"),
    (
        "j.status = 'completed' AND a.outcome IS NOT 'completed' AND j.settled_at IS NULL",
        "it is completed, and its latest attempt is not ({outcome}), nor has anybody settled it",
    ),
    (
        "j.status <> 'completed' AND a.outcome IS 'completed'",
        "it is {status}, and its latest attempt completed",
    ),
    ("j.status = 'completed' AND j.result IS NULL", "it is completed, and has no result"),
    ("j.status <> 'completed' AND j.result IS NOT NULL", "it is {status}, and has a result"),
    (
        f"j.status = 'failed' AND (a.outcome IS NULL OR a.outcome IN {_SPENDS_NOTHING}) "
        f"AND NOT (a.outcome IS 'not_started' AND coalesce(j.error, '') GLOB '{QUARANTINED}: *')",
        "it is failed, and its latest attempt ({outcome}) is no reason for that",
    ),
    ("j.status = 'failed' AND j.error IS NULL", "it is failed, and no error says why"),
    ("j.review_since IS NOT NULL AND j.status <> 'failed'", "it is {status}, and for review as well"),
    (
        "j.review_since IS NOT NULL AND j.settled_at IS NOT NULL",
        "it is for review, and somebody has settled it",
    ),
    (
        "j.status = 'cancelled' AND j.cancel_requested_at IS NULL AND j.cancelled_after IS NULL "
        f"AND NOT (j.expires_at IS NOT NULL AND coalesce(j.error, '') GLOB '{EXPIRED}: *') "
        f"AND NOT (j.unique_key IS NOT NULL AND coalesce(j.error, '') GLOB '{STAYS_FOR_KEY}')",
        "it is cancelled, and nobody asked for that",
    ),
    ("j.retry_count < 0", "its retry_count is below 0"),
    (
        # A caller may give more than max_retries; then there is one attempt that counts, and no more.
        "j.retry_count > j.max_retries AND 1 < (SELECT count(*) FROM job_attempts AS n "
        "WHERE n.job_id = j.id AND n.outcome IS NOT NULL AND n.spends_retry <> 0)",
        "it was retried more often than its max_retries allows",
    ),
    *audit_of_ties.OF_JOBS,
    *audit_of_places.OF_JOBS,
    *audit_of_steps.OF_JOBS,
)

_OF_ATTEMPTS: Final = (
    ("j.id IS NULL", "it belongs to no job"),
    (
        "a.outcome IS NULL AND j.status <> 'running'",
        "its end is not recorded, and its job is not running but {status}",
    ),
    (
        "a.outcome IS NULL AND EXISTS "
        "(SELECT 1 FROM job_attempts AS n WHERE n.job_id = a.job_id AND n.number > a.number)",
        "its end is not recorded, and a later attempt was started",
    ),
    (f"a.outcome NOT IN {_words(Outcome)}", "its outcome is {outcome}, a word that there is not"),
    ("a.outcome IS NULL AND a.finished_at IS NOT NULL", "it has a finished_at, and no outcome"),
    ("a.outcome IS NOT NULL AND a.finished_at IS NULL", "it ended ({outcome}), and has no finished_at"),
    ("a.outcome = 'completed' AND a.pid IS NULL", "it completed, and no process was ever started for it"),
    (
        "a.outcome = 'not_started' AND a.pid IS NOT NULL",
        "it counts as not started, and process {pid} was started for it",
    ),
)


def _first_of(checks: Sequence[tuple[str, str]]) -> str:
    cases = " ".join(f"WHEN {condition} THEN {index}" for index, (condition, _) in enumerate(checks))
    return f"CASE {cases} END"


_ODD_JOBS: Final = f"""
    SELECT * FROM (
        SELECT {_first_of(_OF_JOBS)} AS told, j.id, NULL, j.status, a.outcome, a.pid
        FROM background_jobs AS j LEFT JOIN job_attempts AS a ON a.job_id = j.id
            AND a.number = (SELECT max(number) FROM job_attempts WHERE job_id = j.id))
    WHERE told IS NOT NULL LIMIT {_MOST}"""
_ODD_ATTEMPTS: Final = f"""
    SELECT * FROM (
        SELECT {_first_of(_OF_ATTEMPTS)} AS told, a.job_id, a.number, j.status, a.outcome, a.pid
        FROM job_attempts AS a LEFT JOIN background_jobs AS j ON j.id = a.job_id)
    WHERE told IS NOT NULL LIMIT {_MOST}"""
_HOLES: Final = f"""
    SELECT job_id, count(*), max(number) FROM job_attempts
    GROUP BY job_id HAVING min(number) <> 1 OR max(number) <> count(*) LIMIT {_MOST}"""
_NOBODYS_ENTRIES: Final = f"""
    SELECT job_id, count(*) FROM job_logs
    WHERE NOT EXISTS (SELECT 1 FROM background_jobs AS j WHERE j.id = job_id)
    GROUP BY job_id LIMIT {_MOST}"""
_REUSABLE_ID: Final = """
    SELECT max(id) FROM background_jobs
    HAVING max(id) > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'background_jobs')"""
_OPEN_ATTEMPTS: Final = f"""
    SELECT job_id, number, token, boot_id, pid FROM job_attempts
    WHERE outcome IS NULL AND (host IS NULL OR host = (SELECT id FROM hosts WHERE uuid = :host))
    LIMIT {_MOST_OPEN}"""
_ENTRIES: Final = """
    SELECT a.job_id, a.number, j.status, a.outcome IS NULL,
        a.number = (SELECT max(number) FROM job_attempts WHERE job_id = a.job_id)
    FROM json_each(:keys) AS given
    JOIN job_attempts AS a ON a.job_id = json_extract(given.value, '$[0]')
        AND a.number = json_extract(given.value, '$[1]')
    JOIN background_jobs AS j ON j.id = a.job_id"""
_SCHEDULES: Final = "SELECT name, definition, since, cursor FROM schedules WHERE removed_at IS NULL"
_NEWEST_ROWS: Final = f"""
    SELECT at, until, count FROM schedule_occurrences
    WHERE name = ? AND at > ? AND at <= ? AND verdict <> 'asked' ORDER BY at DESC LIMIT {_MOST_OCCURRENCES}"""
_NOT_ITS_JOB: Final = f"""
    SELECT o.name, o.at, o.job_id FROM schedule_occurrences AS o LEFT JOIN background_jobs AS j ON j.id = o.job_id
    WHERE o.verdict IN ('submitted', 'backfilled') AND (
        j.schedule IS NOT o.name OR j.occurrence IS NOT o.at
    ) AND (j.id IS NOT NULL OR o.job_id IS NULL
        OR o.job_id > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'background_jobs'))
    LIMIT {_MOST}"""
_NO_OCCURRENCE: Final = f"""
    SELECT j.schedule, j.occurrence, j.id FROM background_jobs AS j JOIN schedules AS s ON s.name = j.schedule
    WHERE j.occurrence > s.since AND NOT EXISTS (
        SELECT 1 FROM schedule_occurrences AS o
        WHERE o.name = j.schedule AND o.at >= j.occurrence AND o.job_id = j.id AND o.verdict <> 'skipped')
    LIMIT {_MOST}"""
_COUNTS: Final = """
    SELECT (SELECT count(*) FROM background_jobs), (SELECT count(*) FROM job_attempts),
        (SELECT count(*) FROM background_jobs WHERE status = 'running')"""


class Audit:
    """Questions about the file; from one thread. What is asked within `as_one` sees the same moment."""

    def __init__(self, place: Place) -> None:
        """Raises SchemaTooNewError, SchemaTooOldError, and as every question does UnusableDatabaseError."""
        self._engine = engine_at(place)
        with errors_named(self._engine):
            self._database = self._engine.open_for_reading(is_patient=True)
        self._check_version()

    def _check_version(self) -> None:
        with errors_named(self._engine):
            found = self._engine.version(self._database)
        if found > len(STEPS):
            raise self._engine.too_new(found)
        if found < len(STEPS):
            raise SchemaTooOldError(self._engine.name, found)

    def close(self) -> None:
        self._database.close()

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """All that is asked meanwhile is answered from one snapshot."""
        with errors_named(self._engine), self._database.atomic():
            yield

    def damage(self) -> tuple[str, ...]:
        """What SQLite finds wrong with the file itself; it reads all of it."""
        try:
            lines = tuple([str(line) for (line,) in self._ask("PRAGMA integrity_check")])
        except UnusableDatabaseError as error:
            return (str(error.__cause__),)
        return () if lines == ("ok",) else lines

    def oddities(self) -> tuple[Oddity, ...]:
        """Every row that contradicts another; of each kind the first hundred."""
        return (
            *self._told(_ODD_JOBS, _OF_JOBS),
            *self._told(_ODD_ATTEMPTS, _OF_ATTEMPTS),
            *(
                Oddity(job_id, None, f"its attempts have holes: there are {count}, the last is number {last}")
                for job_id, count, last in self._ask(_HOLES)
            ),
            *(
                Oddity(job_id, None, f"the log has entries of it ({count}), and there is no such job")
                for job_id, count in self._ask(_NOBODYS_ENTRIES)
            ),
            *(
                Oddity(job_id, None, "the counter of ids is behind it: its id could be given again")
                for (job_id,) in self._ask(_REUSABLE_ID)
            ),
            *(Oddity(job_id, None, told) for job_id, told in audit_of_ties.odd_edges(self._ask, _MOST)),
            *(Oddity(job_id, None, told) for job_id, told in audit_of_keys.odd_keys(self._ask, _MOST)),
            *(Oddity(job_id, None, told) for job_id, told in audit_of_labels.odd_labels(self._ask, _MOST)),
            *(Oddity(job_id, None, told) for job_id, told in audit_of_places.odd_places(self._ask, _MOST)),
            *(Oddity(job_id, None, told) for job_id, told in audit_of_steps.odd_steps(self._ask, _MOST)),
        )

    def others(self) -> tuple[Odd, ...]:
        """What else contradicts itself, or another."""
        return (
            *self.odd_groups(),
            *self.odd_queues(),
            *self.odd_errors(),
            *self.odd_spans(),
            *self.odd_occurrences(),
        )

    def odd_groups(self) -> tuple[Odd, ...]:
        """The groups that do not count what they have."""
        return tuple([Odd(f"group {id}", told) for id, told in audit_of_ties.odd_groups(self._ask, _MOST)])

    def odd_queues(self) -> tuple[Odd, ...]:
        """The queues with turns that nobody takes."""
        return tuple(
            [Odd(f"queue {name}", told) for name, told in audit_of_places.odd_queues(self._ask, _MOST)]
        )

    def odd_errors(self) -> tuple[Odd, ...]:
        """The errors that count less than there is."""
        return tuple([Odd(f"error {id}", told) for id, told in audit_of_errors.odd_errors(self._ask, _MOST)])

    def odd_spans(self) -> tuple[Odd, ...]:
        """Where less is counted than has ended."""
        return tuple(
            [Odd(f"what ended from {at} on", told) for at, told in audit_of_spans.odd_spans(self._ask)]
        )

    def odd_occurrences(self) -> tuple[Odd, ...]:
        """Where an occurrence and the job that it became do not know each other."""
        return (
            *(
                Odd(
                    f"schedule {name}",
                    f"its occurrence {at} became job {job_id}, which is not of that occurrence",
                )
                for name, at, job_id in self._ask(_NOT_ITS_JOB)
            ),
            *(
                Odd(f"schedule {name}", f"job {job_id} is of its occurrence {at}, and no row tells of that")
                for name, at, job_id in self._ask(_NO_OCCURRENCE)
            ),
        )

    def schedules(self) -> tuple[BookedSchedule, ...]:
        """Those that are configured, each with as many rows as tell of its last thousand occurrences."""
        return tuple([self._booked(*schedule) for schedule in self._ask(_SCHEDULES)])

    def _booked(self, name: str, definition: str, since: str, cursor: str) -> BookedSchedule:
        rows: list[BookedRow] = []
        counted = 0
        for at, until, count in self._ask(_NEWEST_ROWS, (name, since, cursor)):
            rows.insert(0, BookedRow(from_text(at), from_text(until), count))
            counted += count
            if counted >= _MOST_OCCURRENCES:
                break
        is_whole = counted < _MOST_OCCURRENCES
        return BookedSchedule(name, definition, from_text(since), from_text(cursor), tuple(rows), is_whole)

    def _told(self, statement: str, checks: Sequence[tuple[str, str]]) -> Iterator[Oddity]:
        for index, job_id, number, status, outcome, pid in self._ask(statement):
            message = checks[index][1].format(status=status, outcome=outcome or "without an end", pid=pid)
            yield Oddity(job_id, number, message)

    def open_attempts(self, host: str | None = None) -> tuple[OpenAttempt, ...]:
        """The attempts whose end is not recorded, of whatever job; not those of other hosts than the one of this id."""
        rows = self._ask(_OPEN_ATTEMPTS, {"host": host})
        return tuple([OpenAttempt((job, number), token, boot, pid) for job, number, token, boot, pid in rows])

    def entries(self, keys: Collection[Key]) -> dict[Key, Entry]:
        """What the books say of these attempts; those that they know."""
        rows = self._ask(_ENTRIES, {"keys": json.dumps(list(keys))})
        return {
            (job, number): Entry(Status(status), bool(is_open), bool(is_latest))
            for job, number, status, is_open, is_latest in rows
            if status in frozenset(Status)
        }

    def counts(self) -> Counts:
        return Counts(*self._ask(_COUNTS)[0])

    def database_id(self) -> str | None:
        """What marks a spool as this file's; None where the file has none."""
        rows = self._ask("SELECT value FROM properties WHERE name = 'database_id'")
        return str(rows[0][0]) if rows else None

    def _ask(self, statement: str, values: Given = ()) -> list[tuple[Any, ...]]:
        with errors_named(self._engine):
            rows: list[tuple[Any, ...]] = self._database.execute_sql(statement, values).fetchall()
        return rows
