"""Reads for callers, on a connection that cannot write: jobs as objects with the columns as keys."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from peewee import DatabaseError

from bgjob.codec import JsonObject, to_json
from bgjob.errors import StorageUnavailableError
from bgjob.words import Outcome, Status
from bgjobd.core.alerts import Load
from bgjobd.core.job import AttemptKey, Call, Ending, Job
from bgjobd.core.masking import masked_names, masked_text
from bgjobd.core.need_kinds import MetError, RisingError
from bgjobd.core.on_file import LatestAttempt, OnFile
from bgjobd.core.peers import Peer
from bgjobd.core.quarantine import ClassHold
from bgjobd.core.rates import Bucket, scope_of_class
from bgjobd.host.clock import to_text
from bgjobd.store import (
    alerts,
    backfills,
    changes,
    class_holds,
    due,
    error_pages,
    expected,
    first_loads,
    graphs,
    hooks,
    hosts,
    inbox,
    kept_outputs,
    keys,
    labels,
    matching,
    method_usage,
    needs,
    news,
    occurrences,
    pages,
    peers,
    rates,
    rising,
    schedules,
    statements,
    step_pages,
    trends,
    usage,
    values,
    waiting,
)
from bgjobd.store.alert_items import AlertsLooked
from bgjobd.store.committed import StoredSchedule
from bgjobd.store.engines import Place
from bgjobd.store.engines.sqlite import engine_at
from bgjobd.store.error_pages import ErrorFilter, ErrorRead
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.graphs import Graph
from bgjobd.store.inbox import Sent
from bgjobd.store.items import SkippedRow
from bgjobd.store.kept_outputs import Place as PlaceOfAttempt
from bgjobd.store.matching import Row
from bgjobd.store.news import Missed, News
from bgjobd.store.occurrences import OccurrencePage, ScheduleStanding
from bgjobd.store.pages import BUDGET, PAGE, Page
from bgjobd.store.pending import COUNT, PENDING, PendingJob
from bgjobd.store.retention import OldRows
from bgjobd.store.rows import instant, job_from_row
from bgjobd.store.span_counts import Counted
from bgjobd.store.statements import SELECT_LAST_LOG_ID
from bgjobd.store.step_pages import StepsOfJob
from bgjobd.store.tally import Tally, counted
from bgjobd.store.trends import Asked
from bgjobd.store.values import ValuesOfJob
from bgjobd.store.written import BEHIND, BLOCKED, WAITING

T = TypeVar("T")

_QUEUES: Final = tuple(
    f"SELECT DISTINCT queue FROM background_jobs WHERE {condition}"
    for condition in (
        "status = 'pending' AND ready = 1",
        "status = 'pending' AND ready = 0",
        f"status = 'pending' AND finished_at IS NULL AND ready = {BLOCKED}",
        f"status = 'pending' AND ready = {BEHIND}",
        f"status = 'pending' AND finished_at IS NULL AND ready = {WAITING}",
        "status = 'running'",
    )
)
"""The queues of jobs that have not ended, by the conditions of the partial indexes."""

_STANDS_STILL: Final = 5.0
"""Seconds; as long as a session may be idle amid a transaction."""

_MOST_WAITING: Final = 100
_MOST_PRIORITIES: Final = 10

# A job is due since its time has come; one without a time, since it was submitted, or put back by a person.
_DUE_SINCE: Final = "max(updated_at, coalesce(scheduled_at, updated_at))"
OLDEST_DUE: Final = f"""
    SELECT min(since) FROM (
        SELECT since FROM (
            SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_pending
            WHERE status = 'pending' AND finished_at IS NULL AND ready = 1 ORDER BY id LIMIT :count
        )
        UNION ALL
        SELECT since FROM (
            SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 AND scheduled_at <= :now ORDER BY scheduled_at LIMIT 1
        )
    )
"""

# By the index that claims use, which has a queue's jobs apart by priority: of each priority, from the lowest, which
# waits longest, the jobs that were submitted first; and of all queues what is due and not yet ready.
OLDEST_DUE_BY_QUEUE: Final = f"""
    WITH RECURSIVE levels (queue, priority, number) AS (
        SELECT names.value, (
            SELECT min(priority) FROM background_jobs INDEXED BY jobs_ready
            WHERE status = 'pending' AND ready = 1 AND queue = names.value
        ), 1
        FROM json_each(:queues) AS names
        UNION ALL
        SELECT levels.queue, (
            SELECT min(priority) FROM background_jobs INDEXED BY jobs_ready
            WHERE status = 'pending' AND ready = 1 AND queue = levels.queue AND priority > levels.priority
        ), levels.number + 1
        FROM levels WHERE levels.priority IS NOT NULL AND levels.number < :priorities
    )
    SELECT queue, min(since) FROM (
        SELECT levels.queue AS queue, (
            SELECT min(since) FROM (
                SELECT {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_ready
                WHERE status = 'pending' AND ready = 1 AND queue = levels.queue AND priority = levels.priority
                ORDER BY turn, id LIMIT :count
            )
        ) AS since
        FROM levels WHERE levels.priority IS NOT NULL
        UNION ALL
        SELECT queue, since FROM (
            SELECT queue, {_DUE_SINCE} AS since FROM background_jobs INDEXED BY jobs_scheduled
            WHERE status = 'pending' AND ready = 0 AND scheduled_at <= :now ORDER BY scheduled_at LIMIT :count
        )
    )
    GROUP BY queue
"""

ID_OF_KEY: Final = "SELECT id FROM background_jobs WHERE idempotency_key = :key"

_LONGEST_MESSAGE: Final = 200
"""How many characters of a progress message are told of each attempt that runs: there may be 64 KiB of them."""

_ENTRIES_AT_ONCE: Final = 1000

_WAITING: Final = (1, BEHIND, 0, WAITING, BLOCKED)
"""What pending jobs wait for, as `ready` has it, in the order in which they may start."""

_HIDDEN: Final = frozenset(
    {
        *("ready", "request_digest", "sensitive", "failed_before", "unique_while"),
        *("carries", "step_bytes", "life", "retry_count_at_submit", "emitted"),
    }
)


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job with some of its attempts, the latest last; `next` is the number before which the others come, or None.

    `columns` are as they are stored, but that `parameters` have sensitive values masked; `sensitive` are their names.
    So these and `result` are JSON text: they may be large, and to pass them on nobody has to read them. Each attempt
    has the `span` that stands for it, and no token.
    """

    columns: JsonObject
    attempts: Sequence[JsonObject]
    next: int | None


class Reader:
    """Answers questions about the file, `old` those about what may go; use from one thread at a time."""

    def __init__(self, place: Place, is_patient: bool = False) -> None:
        self._engine = engine_at(place)
        self._database = self._engine.open_for_reading(is_patient)
        # Which opens all files: later it may take long.
        self._database.execute_sql("PRAGMA schema_version").fetchall()
        self.old = OldRows(self._database)

    def close(self) -> None:
        self._database.close()

    def answer(self, question: Callable[[Reader], T]) -> T:
        """What the question comes to; asked once more where the server had ended the connection meanwhile.

        Raises StorageUnavailableError where the database is away.
        """
        try:
            return self._ask(question)
        except StorageUnavailableError:
            return self._ask(question)

    def _ask(self, question: Callable[[Reader], T]) -> T:
        try:
            return question(self)
        except DatabaseError as error:
            if not self._engine.is_away(error):
                raise
            raise StorageUnavailableError(reason=str(error), may_be_stored=False) from error

    def job(self, job_id: int, before: int | None = None, limit: int | None = None) -> StoredJob | None:
        """The job with its latest attempts of smaller numbers than `before`: at most `limit`, and as fit a page.

        None where there is none.
        """
        with self._database.atomic():  # so that the attempts are those of the job as it stands
            rows = self._dicts(statements.SELECT_ROW_OF_JOB, {"id": job_id})
            if not rows:
                return None
            attempts = pages.attempts(self._database.connection(), job_id, before, limit)
        return shown(rows[0], attempts.rows, attempts.next)

    def try_expected(self, job: StoredJob, now: float) -> JsonObject | None:
        """What is expected of a job that runs; None of any other, or where too little is known."""
        return expected.of_stored(self._database.connection().execute, job.columns, job.attempts, now)

    def id_of(self, key: str) -> int | None:
        """The id of the job with this idempotency key; None where there is none."""
        row = self._database.execute_sql(ID_OF_KEY, {"key": key}).fetchone()
        return None if row is None else row[0]

    def tally(self, now: float) -> Tally:
        """What all jobs add up to, counted in the file."""
        return counted(self._database, now)

    def queues(self) -> set[str]:
        """The queues that have jobs which have not ended, or that are paused."""
        return self.paused().keys() | {
            name for statement in _QUEUES for (name,) in self._database.execute_sql(statement).fetchall()
        }

    def last_successes(self, names: Sequence[str]) -> Mapping[str, float | None]:
        """When the newest job of each of these schedules that completed did; None where none has."""
        return occurrences.last_successes(self._database.connection(), names)

    def schedules(self) -> tuple[StoredSchedule, ...]:
        """The schedules that are configured."""
        return schedules.stored(self._database.connection().execute)

    def skipped(self, name: str, first: float, last: float) -> tuple[set[float], list[SkippedRow]]:
        """Which occurrences of a schedule in a span have become jobs, and the rows of those that have not."""
        return backfills.read(self._database.connection().execute, name, first, last)

    def end_of_older(self, name: str, since: float) -> float | None:
        """Up to when rows tell of other times that a schedule had before `since`; None where there are no such."""
        return backfills.end_of_older(self._database.connection().execute, name, since)

    def schedule_standings(self, name: str | None = None) -> Mapping[str, ScheduleStanding]:
        """How each schedule that is configured stands, or the one of this name, by name."""
        return occurrences.standings(self._database.connection(), name)

    def occurrences(self, name: str, before: str | None = None, limit: int = PAGE) -> OccurrencePage | None:
        """What became of a schedule's occurrences, newest first, from behind the stored instant `before`.

        None where there never was such a schedule.
        """
        return occurrences.page(self._database.connection(), name, before, limit)

    def paused(self) -> dict[str, str | None]:
        """The queues that are paused, with when each goes on by itself, as it is stored, or None."""
        return dict(self._database.execute_sql(statements.SELECT_PAUSED).fetchall())

    def oldest_pending(self, now: float) -> str | None:
        """Since when the job waits for a slot that has waited longest, as it is stored; None where none waits.

        Of many that wait, those are looked at that were submitted first.
        """
        found = self._database.execute_sql(OLDEST_DUE, {"now": to_text(now), "count": _MOST_WAITING})
        since: str | None = found.fetchone()[0]
        return since

    def oldest_pending_by_queue(self, queues: Collection[str], now: float) -> dict[str, str]:
        """As oldest_pending(), of each of these queues in which a job waits.

        Of many priorities, the lowest are looked at; of many jobs of a priority, those that were submitted first.
        """
        values = {
            "queues": to_json(list(queues)),
            "now": to_text(now),
            "count": _MOST_WAITING,
            "priorities": _MOST_PRIORITIES,
        }
        return dict(self._database.execute_sql(OLDEST_DUE_BY_QUEUE, values).fetchall())

    def due_by_queue(self, queues: Collection[str], now: float) -> due.DueByQueue:
        """How many pending jobs of these queues are due, and how many are for later."""
        return due.counted(self._database.connection(), queues, now)

    def changes(self, before: int, limit: int) -> Sequence[JsonObject]:
        """What was changed, the newest first, of the rows whose ids are smaller than `before`."""
        return changes.page(self._database.connection(), before, limit)

    def size(self) -> int:
        """How many bytes the file has, with its write-ahead log."""
        return self._engine.size(self._database)

    def usage(self) -> dict[str, JsonObject]:
        """What the latest attempts of each class used, as usage.by_class() tells it."""
        return usage.of_latest(self._database.connection())

    def list(
        self,
        wanted: JobFilter,
        *,
        now: float,
        before: int | None = None,
        limit: int = PAGE,
        budget: float = BUDGET,
        count: int | None = None,
        before_at: str | None = None,
    ) -> Page:
        """The jobs as summaries with what their latest attempts used, newest first, from behind the job `before`.

        Where only jobs that have ended are wanted, the latest end is first, and `before` had ended at `before_at`.

        At most `budget` seconds are spent looking. With `count` the page has its total, of at most so many, whatever
        `before` is.

        `now`, in seconds since the epoch, parts what waits for its time from what is due.
        Raises InvalidParameterError for an unknown word of status.
        """
        return pages.jobs(self._database.connection(), wanted, before, limit, budget, now, count, before_at)

    def matching(
        self, wanted: JobFilter, as_of: str, behind: pages.Place | None, limit: int, now: float
    ) -> tuple[Sequence[Row], pages.Place | None]:
        """Some of the jobs that a wish about many is about, as matching.portion() has them."""
        return matching.portion(self._database.connection(), wanted, as_of, behind, limit, now)

    def summary(self, job_id: int) -> JsonObject | None:
        """How the job stands, in short; None where there is none."""
        return self.summaries([job_id]).get(job_id)

    def summaries(self, job_ids: Sequence[int]) -> dict[int, JsonObject]:
        """How these jobs stand, in short, by id; those that there are."""
        return pages.summaries(self._database.connection(), job_ids)

    def steps_under_way(self) -> Sequence[tuple[int, int, str]]:
        """The steps that running attempts are in: job, attempt and name, as they began."""
        return step_pages.all_under_way(self._database.connection())

    def amid_steps(self) -> int:
        """How many jobs are amid their steps, as step_pages.count_amid() counts them."""
        return step_pages.count_amid(self._database.connection())

    def steps(self, job_id: int, after: int | None, limit: int) -> StepsOfJob | None:
        """The steps, waits and signals of a job, as a page behind the step of this number; None where there is none."""
        with self._database.atomic():
            return step_pages.page(self._database.connection(), job_id, after, limit)

    def values(self, job_id: int, after: int, limit: int) -> ValuesOfJob | None:
        """The values that a job has emitted, as a page behind this number, from the end where it is below 0; None where
        there is no such job.
        """
        with self._database.atomic():
            return values.page(self._database.connection(), job_id, after, limit)

    def errors(
        self, wanted: ErrorFilter, now: float, before: str | None = None, limit: int = PAGE
    ) -> tuple[Sequence[JsonObject], str | None]:
        """Errors in their order, from behind the place `before`; and where to go on. Raises InvalidParameterError where
        that is none.
        """
        return error_pages.page(self._database.connection(), wanted, before, limit, now)

    def error(self, error_id: int, now: float, with_traits: bool = False) -> ErrorRead | None:
        """An error with its classes and its newest traceback; None where there is none."""
        with self._database.atomic():
            return error_pages.one(self._database.connection(), error_id, now, with_traits)

    def group(self, group_id: int) -> JsonObject | None:
        """A group as the socket tells it; None where there is none."""
        return graphs.group(self._database.connection(), group_id)

    def groups(
        self, state: str | None, within: int | None, before: int | None, limit: int
    ) -> tuple[Sequence[JsonObject], int | None]:
        """Groups in this state, and in this group, newest first, those with smaller ids than `before`; and where to go
        on.
        """
        return graphs.groups(self._database.connection(), state, within, before, limit)

    def keys(
        self,
        queue: str,
        search: str | None = None,
        after: str | None = None,
        limit: int = PAGE,
        budget: float = BUDGET,
    ) -> tuple[Sequence[JsonObject], str | None]:
        """How the keys of a queue stand that have `search` in them, in their order, those behind `after`; and where to
        go on.
        """
        with self._database.atomic():  # so that a key is counted as it was found
            return keys.page(self._database.connection(), queue, search, after or "", limit, budget)

    def labels(self, prefix: str, after: str, limit: int = PAGE) -> tuple[Sequence[JsonObject], str | None]:
        """The labels that begin so, in their order, those behind `after`, with how their jobs stand; and where to go
        on.
        """
        with self._database.atomic():
            return labels.page(self._database.connection(), prefix, after, limit)

    def busiest_keys(self, queue: str, limit: int) -> Sequence[JsonObject]:
        """How the busiest keys of a queue stand, as far as they can be told in a moment."""
        with self._database.atomic():
            return keys.busiest(self._database.connection(), queue, limit)

    def held_classes(self, names: Collection[str], now: float) -> Mapping[str, Bucket]:
        """The buckets of those of these classes that are held."""
        scopes = {scope_of_class(name): name for name in names}
        stored = rates.stored(self._database.connection().execute, list(scopes))
        return {scopes[scope]: bucket for scope, bucket in stored.items() if bucket.is_held(now)}

    def class_holds(self) -> Mapping[str, ClassHold]:
        """What is known of classes whose attempts crash, or that somebody holds."""
        return class_holds.stored(self._database.connection().execute)

    def needing(self, now: float) -> needs.Stored:
        """What of the file may need somebody."""
        with self._database.atomic():
            return needs.read(self._database.connection(), now)

    def rising(self, counted: Callable[[], Counted], now: float) -> tuple[RisingError, ...]:
        """The errors by which jobs have failed of late, with how many and how many usually."""
        return trends.as_one(
            self._database, counted, lambda known: rising.read(self._database.connection(), known, now)
        )

    def failures(self, now: float) -> tuple[MetError, ...]:
        """The errors by which jobs have failed within a day."""
        return needs.failures(self._database.connection(), now)

    def last_successes_of(self, jobs: Collection[str]) -> Mapping[str, float]:
        """When the last attempt of each of these classes, or `Class::method`, completed, of which any has."""
        return method_usage.last_successes(self._database.connection().execute, jobs)

    def first_loads(self) -> Mapping[str, Load]:
        """When the rules that wait for a success were first loaded."""
        return first_loads.stored(self._database.connection().execute)

    def alerts(self, is_open: bool, before: int, limit: int) -> Sequence[JsonObject]:
        """Alerts, newest first, those with smaller ids than `before`."""
        return alerts.page(self._database.connection().execute, is_open, before, limit)

    def mutes(self, now: float) -> Mapping[str, float]:
        """Until when rules tell nothing."""
        return alerts.mutes(self._database.connection().execute, now)

    def is_owed(self, item: AlertsLooked, now: float) -> tuple[bool, float | None]:
        """Whether something is to be stored of what rules have found, or told, and else when."""
        with self._database.atomic():
            return alerts.is_owed(self._database.connection().execute, item, now)

    def unended_groups(self) -> int:
        return graphs.count_unended(self._database.connection())

    def retryable_members(self, group_id: int, after: int, count: int) -> Sequence[tuple[int, str | None]]:
        """Members that failed, or were cancelled for what did, and which that is, in the order of their ids."""
        return graphs.retryable(self._database.connection(), group_id, after, count)

    def nested_groups(self, group_id: int) -> Sequence[int]:
        return graphs.nested(self._database.connection(), group_id)

    def graph(self, job_id: int, limit: int) -> Graph | None:
        """What hangs together with the job, of one moment; None where there is no such job."""
        with self._database.atomic():
            return graphs.graph(self._database.connection(), job_id, limit)

    def logs(
        self,
        wanted: LogFilter,
        before: int | None = None,
        after: int | None = None,
        limit: int = PAGE,
        budget: float = BUDGET,
        count: int | None = None,
        until: str | None = None,
    ) -> Page:
        """Log entries, newest first; with `after` oldest first, those of larger ids. At most `budget` seconds.

        With `count` the page has its total, of at most so many, whatever `before` and `after` are. With `until`, a
        stored instant, those up to where the log had got to then, without a total.
        """
        return pages.entries(self._database.connection(), wanted, before, after, limit, budget, count, until)

    def news(self, after: int, job_ids: Iterable[int], valued: Mapping[int, int]) -> News:
        """What is newer than the log entry `after`, as news.news() tells it."""
        with self._database.atomic():
            return news.news(self._database.connection(), after, job_ids, valued)

    def missed(
        self, jobs: Collection[int], groups: Collection[int], attempts: Collection[AttemptKey]
    ) -> Missed:
        """What has become of jobs and groups that have not ended, as far as is known, and of attempts."""
        return news.missed(self._database.connection(), jobs, groups, attempts)

    def end_standing(self) -> int:
        """Have sessions ended that hold up this daemon, for theirs stand still; how many."""
        return self._database.end_standing(_STANDS_STILL)

    def trend(self, counted: Callable[[], Counted], asked: Asked) -> Sequence[JsonObject]:
        """What ended, or how queues stood, by spans; `counted` tells what is in no row yet."""
        return trends.trend(self._database, counted, asked)

    def class_trends(self, counted: Callable[[], Counted], now: float) -> Sequence[JsonObject]:
        """What ended of each class within 14 days, and each hour of the last 24."""
        return trends.of_each(self._database, counted, now)

    def class_stats(self, counted: Callable[[], Counted], name: str, limit: int, now: float) -> JsonObject:
        """The same of one class, with its newest attempts."""
        return trends.of_one(self._database, counted, name, limit, now)

    def last_log_id(self) -> int:
        """The id of the newest log entry; 0 where there is none."""
        return int(self._database.execute_sql(SELECT_LAST_LOG_ID).fetchone()[0])

    def leapt_at(self) -> float | None:
        """When a daemon last saw time leap ahead; None where none has."""
        return instant(self._property(statements.LEAPT_AT))

    def whole(self, job_id: int) -> JsonObject | None:
        """The job, keys as the columns, with all its `attempts` and log entries (`logs`), oldest first, or None."""
        job = self.job(job_id)
        if job is None:
            return None
        attempts, before = list(job.attempts), job.next
        while before is not None:
            older = self.job(job_id, before)
            if older is None:
                return None
            attempts, before = [*older.attempts, *attempts], older.next
        entries: list[JsonObject] = []
        after: int | None = 0
        while after is not None:
            page = self.logs(LogFilter(id=job_id), after=after, limit=_ENTRIES_AT_ONCE, budget=math.inf)
            entries += page.rows
            after = page.next
        for attempt in attempts:
            attempt.pop("span")
        read = {name: pages.parsed(job.columns[name]) for name in ("parameters", "result")}
        return job.columns | read | {"attempts": attempts, "logs": entries}

    def peers(self) -> tuple[Peer, ...]:
        """The hosts that work from the database; none where it is a file."""
        return peers.peers(self._database.connection().execute)

    def place_of(self, job_id: int, number: int) -> PlaceOfAttempt:
        """On which host an attempt is, and what others know of its output."""
        with self._database.atomic():
            return kept_outputs.place_of(self._database.connection().execute, job_id, number)

    def open_attempts(self, host: int | None = None) -> Sequence[JsonObject]:
        """The host's attempts whose end is not recorded, each with what its job says of it.

        Keys: job_id, number, token, boot_id, pid, started_at, noted; of the job class_name, timeout,
        cancel_requested_at, key.
        """
        return self._dicts(statements.SELECT_OPEN_ATTEMPTS, {"host": host})

    def counts_as_lost(self, job_id: int, number: int) -> bool:
        """Whether this attempt has ended so that nobody saw it."""
        rows = self._dicts(statements.SELECT_ATTEMPT, {"job_id": job_id, "number": number})
        return bool(rows) and rows[0]["outcome"] == Outcome.LOST

    def owed_hooks(self, host: int) -> Sequence[tuple[int, int]]:
        """The attempts after which this host is to call a hook, and has not begun to: job and number."""
        found: Sequence[tuple[int, int]] = self._database.execute_sql(
            hooks.SELECT_OWED, {"host": host}
        ).fetchall()
        return found

    def lost_attempts(self, host: int, classes: Sequence[str], limit: int) -> Sequence[tuple[int, int, str]]:
        """Attempts of a host that have no end, of these classes: job, number and class."""
        asked = {"id": host, "classes": json.dumps(classes), "count": limit}
        found: Sequence[tuple[int, int, str]] = self._database.execute_sql(
            hosts.SELECT_LOST, asked
        ).fetchall()
        return found

    def hosts(self) -> Sequence[JsonObject]:
        """The hosts that work, or have worked, from the database, by their names, as their rows have it.

        Keys: `running`, how many attempts have no end, `unseen_for`, seconds since the last beat; else the columns.
        """
        rows = self._dicts(hosts.SELECT_HOSTS)
        return [row | {name: json.loads(row[name]) for name in ("queues", "classes")} for row in rows]

    def inbox(self, after: int, max_depth: int) -> Sequence[Sent]:
        """What applications have sent by their own transactions, behind an id; of PostgreSQL alone."""
        return inbox.waiting(self._database.connection().execute, after, max_depth)

    def pending_count(self) -> int:
        return sum(self._database.execute_sql(COUNT, (ready,)).fetchone()[0] for ready in _WAITING)

    def pending(self) -> Generator[PendingJob]:
        """Those that are due, then those behind their key, those that wait for their time, and for another job.

        To be closed: it holds on to what the file was.
        """
        for ready in _WAITING:
            with closing(self._database.walk(PENDING, (ready,))) as rows:
                yield from (PendingJob(*row) for row in rows)

    def running(self, host: str | None = None) -> Sequence[JsonObject]:
        """The attempts whose end is not recorded, by their jobs' ids, as they are shown to callers.

        Keys: job_id, number, pid, started_at, progress, host; of the job class_name, method_name, queue, timeout.
        With `host` those alone that are on the host of this name.
        """
        rows = self._dicts(statements.SELECT_RUNNING_ATTEMPTS)
        wanted = rows if host is None else [row for row in rows if row["host"] == host]
        return [row | {"progress": _in_short(pages.parsed(row["progress"]))} for row in wanted]

    def with_expected(self, rows: Sequence[JsonObject], now: float) -> Sequence[JsonObject]:
        """Such attempts, or jobs as `list` has them, each with what is `expected` of it, at wall time `now`."""
        return expected.with_expected(self._database.connection().execute, rows, now)

    def failed_attempt(self, job_id: int, number: int) -> tuple[Call, Ending, float | None] | None:
        """What a failed job called, how this attempt, its last, ended, and the occurrence that it was for; None for any
        other job or attempt, and for one that is for review. Where a person has settled it, in that one's words.
        """
        jobs = self._dicts(statements.SELECT_ROW_OF_JOB, {"id": job_id})
        attempts = self._dicts(statements.SELECT_LATEST_ATTEMPT, {"job_id": job_id})
        if not jobs or jobs[0]["status"] != Status.FAILED or not attempts or attempts[0]["number"] != number:
            return None
        job, last = jobs[0], attempts[0]
        if job["review_since"] is not None:
            return None
        sensitive = tuple(json.loads(job["sensitive"] or "[]"))
        call = Call(job["class_name"], job["method_name"], job["parameters"], sensitive)
        ending = _ending(last)
        if job["settled_at"] == job["finished_at"]:  # else that was an earlier end
            ending = replace(ending, error_message=job["error"])
        return call, ending, instant(job["occurrence"])

    def on_file(self, job_id: int, now: float, host: str | None = None) -> OnFile | None:
        """All that bears on why the job has not run, or has not ended, of one moment; None where there is no job.

        What runs is told of the host of this name alone, where there is one.
        """
        with self._database.atomic():
            row = self._database.execute_sql(statements.SELECT_JOB, {"id": job_id}).fetchone()
            if row is None:
                return None
            job = job_from_row(row)
            latest = self._latest(job)
            if job.status is not Status.PENDING:
                return self._running_on_file(job, latest, now)
            return waiting.on_file(self._database.connection().execute, job, latest, now, host)

    def _running_on_file(self, job: Job, latest: LatestAttempt | None, now: float) -> OnFile:
        """The same of one that is not pending, and may have ended."""
        connection = self._database.connection()
        if job.status is not Status.RUNNING:
            return OnFile(job, latest)
        began_at = None if latest is None else latest.began_at
        is_expected = expected.try_expected_of(connection.execute, job, began_at, now)
        return OnFile(job, latest, step=step_pages.under_way(connection, job), expected=is_expected)

    def known(self, job_id: int) -> tuple[Job, int | None] | None:
        """A job as the rules know it, and who has submitted it; None where there is none."""
        with self._database.atomic():
            row = self._database.execute_sql(statements.SELECT_JOB, {"id": job_id}).fetchone()
            submitters = self._database.execute_sql(statements.SELECT_SUBMITTERS, {"ids": f"[{job_id}]"})
            return None if row is None else (job_from_row(row), dict(submitters.fetchall())[job_id])

    def _latest(self, job: Job) -> LatestAttempt | None:
        rows = self._dicts(statements.SELECT_ATTEMPT, {"job_id": job.id, "number": job.attempt})
        if not rows:
            return None
        (row,) = rows
        return LatestAttempt(
            row["number"],
            row["pid"],
            instant(row["started_at"]),
            instant(row["finished_at"]),
            None if row["outcome"] is None else _ending(row),
            None if row["host"] is None else self._name_of(row["host"]),
        )

    def _name_of(self, host: int) -> str | None:
        row = self._database.execute_sql(peers.SELECT_NAME, {"id": host}).fetchone()
        return None if row is None else row[0]

    def database_id(self) -> str:
        return str(self._property("database_id"))

    def _property(self, name: str) -> str | None:
        row = self._database.execute_sql(statements.SELECT_PROPERTY, {"name": name}).fetchone()
        return None if row is None else row[0]

    def _dicts(self, statement: str, values: Mapping[str, Any] | None = None) -> Sequence[JsonObject]:
        """The rows, keys as the columns."""
        cursor = self._database.execute_sql(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def shown(row: JsonObject, attempts: Sequence[JsonObject], next: int | None) -> StoredJob:
    """The job of this row, whose keys are all columns, as callers may see it."""
    columns = {name: value for name, value in row.items() if name not in _HIDDEN}
    columns["is_blocked"] = row["ready"] == BLOCKED
    columns["is_behind"] = row["ready"] == BEHIND
    columns["waiting_on"] = row["waiting_on"] if row["ready"] == WAITING else None
    columns["waits_until"] = row["waits_until"] if columns["is_behind"] else None
    columns["labels"] = pages.labels_of(row["labels"])
    columns["takes"] = None if row["takes"] is None else json.loads(row["takes"])
    sensitive = json.loads(row["sensitive"] or "[]")
    columns["sensitive"] = masked_names(row["parameters"], sensitive)
    columns["parameters"] = masked_text(row["parameters"], sensitive)
    return StoredJob(columns, attempts, next)


def _ending(row: JsonObject) -> Ending:
    """How the attempt of this row ended."""
    known = ("exit_code", "signal", "error_type", "error_message", "traceback", "error_class")
    spends_retry = bool(row["spends_retry"])
    return Ending(Outcome(row["outcome"]), **{name: row[name] for name in known}, spends_retry=spends_retry)


def _in_short(progress: JsonObject | None) -> JsonObject | None:
    """How far an attempt is, with the beginning of what it says."""
    return None if progress is None else progress | {"message": progress["message"][:_LONGEST_MESSAGE]}
