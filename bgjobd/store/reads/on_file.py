"""All that bears on one job, as the rules want it: why it has not run, or how it ended."""

from __future__ import annotations

import json
from dataclasses import replace

from bgjob.codec import JsonObject
from bgjob.words import Outcome, Status
from bgjobd.core.job import Call, Ending, Job
from bgjobd.core.on_file import LatestAttempt, OnFile
from bgjobd.store import expected, peers, step_pages, waiting
from bgjobd.store.engines import Database
from bgjobd.store.reads.rows import dicts
from bgjobd.store.rows import instant, job_from_row
from bgjobd.store.statements import of_attempts, of_jobs


def on_file(database: Database, job_id: int, now: float, host: str | None = None) -> OnFile | None:
    """All that bears on why the job has not run, or has not ended, of one moment; None where there is no job.

    What runs is told of the host of this name alone, where there is one.
    """
    with database.atomic():
        row = database.execute_sql(of_jobs.SELECT_JOB, {"id": job_id}).fetchone()
        if row is None:
            return None
        job = job_from_row(row)
        latest = _latest(database, job)
        if job.status is not Status.PENDING:
            return _running_on_file(database, job, latest, now)
        return waiting.on_file(database.connection().execute, job, latest, now, host)


def _running_on_file(database: Database, job: Job, latest: LatestAttempt | None, now: float) -> OnFile:
    """The same of one that is not pending, and may have ended."""
    connection = database.connection()
    if job.status is not Status.RUNNING:
        return OnFile(job, latest)
    began_at = None if latest is None else latest.began_at
    is_expected = expected.try_expected_of(connection.execute, job, began_at, now)
    return OnFile(job, latest, step=step_pages.under_way(connection, job), expected=is_expected)


def failed_attempt(database: Database, job_id: int, number: int) -> tuple[Call, Ending, float | None] | None:
    """What a failed job called, how this attempt, its last, ended, and the occurrence that it was for; None for any
    other job or attempt, and for one that is for review. Where a person has settled it, in that one's words.
    """
    jobs = dicts(database, of_jobs.SELECT_ROW_OF_JOB, {"id": job_id})
    attempts = dicts(database, of_attempts.SELECT_LATEST_ATTEMPT, {"job_id": job_id})
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


def known(database: Database, job_id: int) -> tuple[Job, int | None] | None:
    """A job as the rules know it, and who has submitted it; None where there is none."""
    with database.atomic():
        row = database.execute_sql(of_jobs.SELECT_JOB, {"id": job_id}).fetchone()
        submitters = database.execute_sql(of_jobs.SELECT_SUBMITTERS, {"ids": f"[{job_id}]"})
        return None if row is None else (job_from_row(row), dict(submitters.fetchall())[job_id])


def _latest(database: Database, job: Job) -> LatestAttempt | None:
    rows = dicts(database, of_attempts.SELECT_ATTEMPT, {"job_id": job.id, "number": job.attempt})
    if not rows:
        return None
    (row,) = rows
    return LatestAttempt(
        row["number"],
        row["pid"],
        instant(row["started_at"]),
        instant(row["finished_at"]),
        None if row["outcome"] is None else _ending(row),
        None if row["host"] is None else _name_of(database, row["host"]),
    )


def _name_of(database: Database, host: int) -> str | None:
    row = database.execute_sql(peers.SELECT_NAME, {"id": host}).fetchone()
    return None if row is None else row[0]


def _ending(row: JsonObject) -> Ending:
    """How the attempt of this row ended."""
    known = ("exit_code", "signal", "error_type", "error_message", "traceback", "error_class")
    spends_retry = bool(row["spends_retry"])
    return Ending(Outcome(row["outcome"]), **{name: row[name] for name in known}, spends_retry=spends_retry)
