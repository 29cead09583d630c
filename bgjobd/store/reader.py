"""Reads for callers, on a connection that cannot write: jobs as objects with the columns as keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Final, TypeVar

from peewee import DatabaseError

from bgjob.codec import JsonObject
from bgjob.errors import StorageUnavailableError
from bgjobd.core.job import AttemptKey, Call, Ending, Job
from bgjobd.core.on_file import OnFile
from bgjobd.store import (
    changes,
    error_pages,
    expected,
    inbox,
    keys,
    labels,
    matching,
    news,
    step_pages,
    values,
)
from bgjobd.store.engines import OldSnapshot, Place
from bgjobd.store.engines.sqlite import engine_at
from bgjobd.store.error_pages import ErrorFilter, ErrorRead
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.inbox import Sent
from bgjobd.store.matching import Row
from bgjobd.store.news import Missed, News
from bgjobd.store.pages.attempts import page_of_attempts
from bgjobd.store.pages.entries import page_of_entries
from bgjobd.store.pages.jobs import page_of_jobs
from bgjobd.store.pages.page import BUDGET, PAGE, Page
from bgjobd.store.pages.summaries import summaries_of
from bgjobd.store.pages.walks import RowPlace
from bgjobd.store.pending import COUNT, PENDING, PendingJob
from bgjobd.store.reads import due, on_file
from bgjobd.store.reads.groups import GroupReads
from bgjobd.store.reads.hosts import HostReads
from bgjobd.store.reads.needs import NeedReads
from bgjobd.store.reads.rows import dicts
from bgjobd.store.reads.schedules import ScheduleReads
from bgjobd.store.reads.stored_jobs import StoredJob, shown
from bgjobd.store.reads.trends import TrendReads
from bgjobd.store.retention import OldRows
from bgjobd.store.rows import instant, parsed
from bgjobd.store.statements import of_attempts, of_jobs, of_pauses, of_properties
from bgjobd.store.statements.of_entries import SELECT_LAST_LOG_ID
from bgjobd.store.step_pages import StepsOfJob
from bgjobd.store.tally import Tally, counted
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


ID_OF_KEY: Final = "SELECT id FROM background_jobs WHERE idempotency_key = :key"

_LONGEST_MESSAGE: Final = 200
"""How many characters of a progress message are told of each attempt that runs: there may be 64 KiB of them."""

_WAITING: Final = (1, BEHIND, 0, WAITING, BLOCKED)
"""What pending jobs wait for, as `ready` has it, in the order in which they may start."""


class Reader:
    """Answers questions about the file, `old` those about what may go; use from one thread at a time."""

    def __init__(self, place: Place, is_patient: bool = False) -> None:
        self._engine = engine_at(place)
        self._database = self._engine.open_for_reading(is_patient)
        # Which opens all files: later it may take long.
        self._database.execute_sql("PRAGMA schema_version").fetchall()
        self.old = OldRows(self._database)
        self.groups = GroupReads(self._database)
        self.schedules = ScheduleReads(self._database)
        self.needs = NeedReads(self._database)
        self.trends = TrendReads(self._database)
        self.hosts = HostReads(self._database)

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
            rows = dicts(self._database, of_jobs.SELECT_ROW_OF_JOB, {"id": job_id})
            if not rows:
                return None
            attempts = page_of_attempts(self._database.connection(), job_id, before, limit)
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

    def paused(self) -> dict[str, str | None]:
        """The queues that are paused, with when each goes on by itself, as it is stored, or None."""
        return dict(self._database.execute_sql(of_pauses.SELECT_PAUSED).fetchall())

    def oldest_pending(self, now: float) -> str | None:
        """Since when the job waits for a slot that has waited longest, as due.oldest() tells it."""
        return due.oldest(self._database, now)

    def oldest_pending_by_queue(self, queues: Collection[str], now: float) -> dict[str, str]:
        """As oldest_pending(), of each of these queues in which a job waits."""
        return due.oldest_by_queue(self._database, queues, now)

    def due_by_queue(self, queues: Collection[str], now: float) -> due.DueByQueue:
        """How many pending jobs of these queues are due, and how many are for later."""
        return due.counted(self._database, queues, now)

    def changes(self, before: int, limit: int) -> Sequence[JsonObject]:
        """What was changed, the newest first, of the rows whose ids are smaller than `before`."""
        return changes.page(self._database.connection(), before, limit)

    def size(self) -> int:
        """How many bytes the file has, with its write-ahead log."""
        return self._engine.size(self._database)

    def oldest_snapshot(self) -> OldSnapshot | None:
        """Of a server's database, the transaction that keeps what is dead from being removed."""
        return self._engine.oldest_snapshot(self._database)

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
        return page_of_jobs(self._database.connection(), wanted, before, limit, budget, now, count, before_at)

    def matching(
        self, wanted: JobFilter, as_of: str, behind: RowPlace | None, limit: int, now: float
    ) -> tuple[Sequence[Row], RowPlace | None]:
        """Some of the jobs that a wish about many is about, as matching.portion() has them."""
        return matching.portion(self._database.connection(), wanted, as_of, behind, limit, now)

    def summary(self, job_id: int) -> JsonObject | None:
        """How the job stands, in short; None where there is none."""
        return self.summaries([job_id]).get(job_id)

    def summaries(self, job_ids: Sequence[int]) -> dict[int, JsonObject]:
        """How these jobs stand, in short, by id; those that there are."""
        return summaries_of(self._database.connection(), job_ids)

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
        return page_of_entries(
            self._database.connection(), wanted, before, after, limit, budget, count, until
        )

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

    def last_log_id(self) -> int:
        """The id of the newest log entry; 0 where there is none."""
        return int(self._database.execute_sql(SELECT_LAST_LOG_ID).fetchone()[0])

    def leapt_at(self) -> float | None:
        """When a daemon last saw time leap ahead; None where none has."""
        return instant(self._property(of_properties.LEAPT_AT))

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

    def running(self, host: str | None = None, label: str | None = None) -> Sequence[JsonObject]:
        """The attempts whose end is not recorded, by their jobs' ids, as they are shown to callers.

        Keys: job_id, number, pid, started_at, progress, host; of the job class_name, method_name, queue, timeout.
        With `host` those alone that are on the host of this name, with `label` those whose jobs have it.
        """
        if label is None:
            rows = dicts(self._database, of_attempts.SELECT_RUNNING_ATTEMPTS)
        else:
            rows = dicts(self._database, of_attempts.SELECT_RUNNING_ATTEMPTS_OF_LABEL, {"label": label})
        wanted = rows if host is None else [row for row in rows if row["host"] == host]
        return [row | {"progress": _in_short(parsed(row["progress"]))} for row in wanted]

    def with_expected(self, rows: Sequence[JsonObject], now: float) -> Sequence[JsonObject]:
        """Such attempts, or jobs as `list` has them, each with what is `expected` of it, at wall time `now`."""
        return expected.with_expected(self._database.connection().execute, rows, now)

    def failed_attempt(self, job_id: int, number: int) -> tuple[Call, Ending, float | None] | None:
        """What a failed job called and how this attempt, its last, ended, as on_file.failed_attempt() tells it."""
        return on_file.failed_attempt(self._database, job_id, number)

    def on_file(self, job_id: int, now: float, host: str | None = None) -> OnFile | None:
        """All that bears on why the job has not run, or has not ended, as on_file.on_file() tells it."""
        return on_file.on_file(self._database, job_id, now, host)

    def known(self, job_id: int) -> tuple[Job, int | None] | None:
        """A job as the rules know it, and who has submitted it; None where there is none."""
        return on_file.known(self._database, job_id)

    def database_id(self) -> str:
        return str(self._property("database_id"))

    def _property(self, name: str) -> str | None:
        row = self._database.execute_sql(of_properties.SELECT_PROPERTY, {"name": name}).fetchone()
        return None if row is None else row[0]


def _in_short(progress: JsonObject | None) -> JsonObject | None:
    """How far an attempt is, with the beginning of what it says."""
    return None if progress is None else progress | {"message": progress["message"][:_LONGEST_MESSAGE]}
