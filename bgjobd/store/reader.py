"""Reads for callers, on a connection that cannot write: jobs as objects with the columns as keys."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from peewee import SQL, SqliteDatabase, fn

from bgjob.words import FINAL, Outcome, Status
from bgjobd.core.job import Call, Ending, masked
from bgjobd.store import pages, usage
from bgjobd.store.database import open_for_reading
from bgjobd.store.items import JobFilter, LogFilter
from bgjobd.store.models import BackgroundJob, JobAttempt, Property, Queue
from bgjobd.store.pages import BUDGET, PAGE, Page
from bgjobd.store.statements import SELECT_LAST_LOG_ID

JsonObject = dict[str, Any]

_OPEN: Final = ("status = 'pending' AND ready = 1", "status = 'pending' AND ready = 0", "status = 'running'")
"""Jobs that have not ended, by the conditions of the partial indexes."""

_LONGEST_MESSAGE: Final = 200
"""How many characters of a progress message are told of each attempt that runs: there may be 64 KiB of them."""

_HIDDEN: Final = frozenset({"ready", "request_digest", "sensitive", "token", "boot_id", "noted"})


class Reader:
    """Answers questions about the file; use from one thread at a time."""

    def __init__(self, state_dir: Path) -> None:
        self._database = open_for_reading(state_dir)

    def close(self) -> None:
        self._database.close()

    def job(self, job_id: int) -> JsonObject | None:
        """The job, keys as the columns, with its `attempts`, sensitive values masked; None where there is none."""
        rows = _dicts(self._database, BackgroundJob.select().where(BackgroundJob.id == job_id))
        if not rows:
            return None
        attempts = _dicts(
            self._database, JobAttempt.select().where(JobAttempt.job_id == job_id).order_by(JobAttempt.number)
        )
        job = _shown(rows[0])
        job["parameters"] = masked(json.loads(job["parameters"]), json.loads(rows[0]["sensitive"] or "[]"))
        job["result"] = None if job["result"] is None else json.loads(job["result"])
        job["attempts"] = [
            _shown(attempt) | {"progress": pages.parsed(attempt["progress"])} for attempt in attempts
        ]
        return job

    def counts(self) -> dict[str, int]:
        """How many jobs stand in each status; each is counted by its own index."""
        finished = BackgroundJob.finished_at.is_null(False)
        counts = {
            status.value: BackgroundJob.select()
            .where((BackgroundJob.status == SQL(f"'{status}'")) & finished)
            .bind(self._database)
            .count()
            for status in FINAL
        }
        for queue in self.queues().values():
            for status in (Status.PENDING, Status.RUNNING):
                counts[status] = counts.get(status, 0) + queue[status]
        return {status: count for status, count in counts.items() if count}

    def queues(self) -> dict[str, JsonObject]:
        """For each queue that has jobs or was paused: how many are pending and running, and whether it is paused."""
        paused = {row["name"] for row in _dicts(self._database, Queue.select())}
        counts = [row for condition in _OPEN for row in self._by_queue(condition)]
        names = paused | {queue for queue, _, _ in counts}
        queues: dict[str, JsonObject] = {
            name: {"pending": 0, "running": 0, "paused": name in paused} for name in names
        }
        for queue, status, number in counts:
            queues[queue][status] += number
        return queues

    def _by_queue(self, condition: str) -> list[tuple[Any, ...]]:
        count = fn.COUNT(SQL("*"))
        query = BackgroundJob.select(BackgroundJob.queue, fn.MIN(BackgroundJob.status), count).where(
            SQL(condition)
        )
        return _tuples(self._database, query.group_by(BackgroundJob.queue))

    def usage(self) -> dict[str, JsonObject]:
        """What the latest attempts of each class used, as usage.by_class() tells it."""
        return usage.of_latest(self._database.connection())

    def list(
        self,
        wanted: JobFilter,
        before: int | None = None,
        limit: int = PAGE,
        budget: float = BUDGET,
        now: float | None = None,
    ) -> Page:
        """The jobs as summaries with what their latest attempts used, newest first, from below the id `before`.

        At most `budget` seconds are spent looking.

        `now`, in seconds since the epoch, parts what waits for its time from what is due; else the wall clock does.
        Raises InvalidParameterError for an unknown word of status.
        """
        now = time.time() if now is None else now
        return pages.jobs(self._database.connection(), wanted, before, limit, budget, now)

    def summary(self, job_id: int) -> JsonObject | None:
        """How the job stands, in short; None where there is none."""
        return self.summaries([job_id]).get(job_id)

    def summaries(self, job_ids: Sequence[int]) -> dict[int, JsonObject]:
        """How these jobs stand, in short, by id; those that there are."""
        return pages.summaries(self._database.connection(), job_ids)

    def logs(
        self,
        wanted: LogFilter,
        before: int | None = None,
        after: int | None = None,
        limit: int = PAGE,
        budget: float = BUDGET,
    ) -> Page:
        """Log entries, newest first; with `after` oldest first, those of larger ids. At most `budget` seconds."""
        return pages.entries(self._database.connection(), wanted, before, after, limit, budget)

    def last_log_id(self) -> int:
        """The id of the newest log entry; 0 where there is none."""
        return int(self._database.execute_sql(SELECT_LAST_LOG_ID).fetchone()[0])

    def open_attempts(self) -> Sequence[JsonObject]:
        """The attempts whose end is not recorded, each with what its job says of it.

        Keys: job_id, number, token, boot_id, pid, noted; of the job class_name, timeout, cancel_requested_at.
        """
        names = ("job_id", "number", "token", "boot_id", "pid", "noted")
        columns = [getattr(JobAttempt, name) for name in names]
        of_job = (BackgroundJob.class_name, BackgroundJob.timeout, BackgroundJob.cancel_requested_at)
        its_job = BackgroundJob.id == JobAttempt.job_id
        attempts = JobAttempt.select(*columns, *of_job).join(BackgroundJob, on=its_job)
        return _dicts(self._database, attempts.where(JobAttempt.outcome.is_null()))

    def running(self) -> Sequence[JsonObject]:
        """The attempts whose end is not recorded, by their jobs' ids, as they are shown to callers.

        Keys: job_id, number, pid, started_at, progress; of the job class_name, method_name, queue, timeout.
        """
        names = ("job_id", "number", "pid", "started_at", "progress")
        of_job = ("class_name", "method_name", "queue", "timeout")
        columns = [
            *(getattr(JobAttempt, name) for name in names),
            *(getattr(BackgroundJob, name) for name in of_job),
        ]
        attempts = JobAttempt.select(*columns).join(BackgroundJob, on=BackgroundJob.id == JobAttempt.job_id)
        rows = _dicts(
            self._database,
            attempts.where(JobAttempt.outcome.is_null()).order_by(JobAttempt.job_id, JobAttempt.number),
        )
        return [row | {"progress": _in_short(pages.parsed(row["progress"]))} for row in rows]

    def failed_attempt(self, job_id: int, number: int) -> tuple[Call, Ending] | None:
        """What a failed job called and how this attempt, its last, ended; None for any other job or attempt."""
        jobs = _dicts(self._database, BackgroundJob.select().where(BackgroundJob.id == job_id))
        attempts = _dicts(
            self._database,
            JobAttempt.select().where(JobAttempt.job_id == job_id).order_by(-JobAttempt.number).limit(1),
        )
        if not jobs or jobs[0]["status"] != Status.FAILED or not attempts or attempts[0]["number"] != number:
            return None
        job, last = jobs[0], attempts[0]
        sensitive = tuple(json.loads(job["sensitive"] or "[]"))
        known = ("exit_code", "signal", "error_type", "error_message", "traceback")
        return (
            Call(job["class_name"], job["method_name"], job["parameters"], sensitive),
            Ending(Outcome(last["outcome"]), **{name: last[name] for name in known}),
        )

    def database_id(self) -> str:
        (row,) = _dicts(self._database, Property.select().where(Property.name == "database_id"))
        return str(row["value"])


def _shown(row: JsonObject) -> JsonObject:
    return {name: value for name, value in row.items() if name not in _HIDDEN}


def _in_short(progress: JsonObject | None) -> JsonObject | None:
    """How far an attempt is, with the beginning of what it says."""
    return None if progress is None else progress | {"message": progress["message"][:_LONGEST_MESSAGE]}


# A model knows one database for the whole process, and each reader has its own: so each query is told which. peewee's
# stubs say what a query selects, not the form that dicts() and tuples() give it.


def _dicts(database: SqliteDatabase, query: Any) -> list[JsonObject]:
    return list(query.bind(database).dicts())


def _tuples(database: SqliteDatabase, query: Any) -> list[tuple[Any, ...]]:
    return list(query.bind(database).tuples())
