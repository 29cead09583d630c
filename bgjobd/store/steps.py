"""The steps of jobs as they are stored: what a transaction reads of them, and what the next attempt is given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bgjob.codec import to_json
from bgjobd.core.job import AttemptKey, Job
from bgjobd.store.batch import StoredStep, StoredSteps
from bgjobd.store.engines import Execute

SELECT_NAMES: Final = """
    SELECT s.job_id, s.kind, s.name, s.turn, s.attempt, s.number
    FROM json_each(:ids) AS wanted CROSS JOIN job_steps AS s ON s.job_id = wanted.value
"""
SELECT_FINISHED: Final = """
    SELECT name, result, is_awaited FROM job_steps
    WHERE job_id = :id AND kind = 'step' AND number IS NOT NULL ORDER BY number
"""
SELECT_SETTLED: Final = """
    SELECT kind, name, turn, result, timed_out FROM job_steps
    WHERE job_id = :id AND kind <> 'step' AND number IS NOT NULL ORDER BY number
"""
BEGIN_STEP: Final = """
    INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, is_awaited, timed_out)
    VALUES (:job_id, 'step', :name, 1, :attempt, 1, :began_at, 0, 0)
    ON CONFLICT (job_id, kind, name, turn) DO UPDATE
    SET attempt = :attempt, tries = job_steps.tries + 1, began_at = :began_at WHERE job_steps.number IS NULL
"""
FINISH_STEP: Final = """
    INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, is_awaited, timed_out,
        number, finished_at, result)
    VALUES (:job_id, 'step', :name, 1, :attempt, 1, :finished_at, :is_awaited, 0, :number, :finished_at, :result)
    ON CONFLICT (job_id, kind, name, turn) DO UPDATE
    SET attempt = :attempt, number = :number, finished_at = :finished_at, result = :result, is_awaited = :is_awaited
    WHERE job_steps.number IS NULL
"""
SETTLE_STEP: Final = """
    INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, is_awaited, timed_out,
        number, finished_at, result, by_uid)
    VALUES (:job_id, 'step', :name, 1, :attempt, 0, :now, 0, 0, :number, :now, :result, :by_uid)
    ON CONFLICT (job_id, kind, name, turn) DO UPDATE
    SET number = :number, finished_at = :now, result = :result, by_uid = :by_uid
    WHERE job_steps.number IS NULL
"""
MARK_UNUSED: Final = """
    UPDATE job_steps SET unused_in = :attempt
    WHERE job_id = :job_id AND kind = 'step' AND name = :name AND turn = 1 AND number IS NOT NULL
"""
SELECT_CODES: Final = """
    SELECT a.job_id, a.number, a.code_version FROM json_each(:ids) AS wanted CROSS JOIN job_attempts AS a
    ON a.job_id = wanted.value
"""
SELECT_EMITTED: Final = "SELECT emitted FROM background_jobs WHERE id = :id"
COUNT_STEPS: Final = """
    UPDATE background_jobs SET steps = :steps, step_bytes = :step_bytes, waiting_on = :waiting_on,
        retry_count_at_submit = :retry_count_at_submit, carries = :carries, life = :life, emitted = :emitted
    WHERE id = :id
"""
SAVE_STATE: Final = """
    INSERT INTO job_states (job_id, value, attempt, saved) VALUES (:job_id, :value, :attempt, :saved)
    ON CONFLICT (job_id) DO UPDATE SET value = :value, attempt = :attempt, saved = :saved
    WHERE job_states.attempt < :attempt OR job_states.attempt = :attempt AND job_states.saved < :saved
"""
SELECT_STATES: Final = """
    SELECT s.job_id, s.value FROM json_each(:ids) AS wanted CROSS JOIN job_states AS s ON s.job_id = wanted.value
"""
# What another job has finished is no attempt's of this one.
COPY_STEPS: Final = """
    INSERT INTO job_steps (job_id, kind, name, turn, number, attempt, tries, began_at, finished_at, until, result,
        is_awaited, timed_out, by_uid)
    SELECT :job_id, kind, name, turn, number, 0, 0, began_at, finished_at, until, result, is_awaited, timed_out, by_uid
    FROM job_steps WHERE job_id = :of AND number <= :steps
"""
SELECT_CUTS: Final = """
    SELECT s.job_id, s.name, s.number - 1, (
        SELECT coalesce(sum(length(CAST(b.result AS BLOB))), 0) FROM job_steps AS b
        WHERE b.job_id = s.job_id AND b.number < s.number)
    FROM json_each(:cuts) AS wanted CROSS JOIN job_steps AS s
        ON s.job_id = json_extract(wanted.value, '$[0]') AND s.kind = 'step'
        AND s.name = json_extract(wanted.value, '$[1]') AND s.turn = 1
    WHERE s.number IS NOT NULL
"""
FORGET_STEPS: Final = "DELETE FROM job_steps WHERE job_id = :job_id"
FORGET_STATE: Final = "DELETE FROM job_states WHERE job_id = :job_id"
DELETE_CARRIED: Final = tuple(
    f"DELETE FROM {table} WHERE job_id = :job_id"
    for table in ("job_steps", "job_signals", "job_states", "job_values")
)
"""What goes with a job that `carries` anything."""


def of_jobs(execute: Execute, job_ids: Sequence[int]) -> dict[int, StoredSteps]:
    """The steps and waits of these jobs, as far as the rules need them."""
    found: dict[int, StoredSteps] = {job_id: {} for job_id in job_ids}
    for job_id, kind, name, turn, *step in execute(SELECT_NAMES, {"ids": to_json(list(job_ids))}).fetchall():
        found[job_id][kind, name, turn] = StoredStep(*step)
    return found


def codes_of(execute: Execute, job_ids: Sequence[int]) -> dict[AttemptKey, str | None]:
    """Of which code the attempts of these jobs are."""
    rows = execute(SELECT_CODES, {"ids": to_json(list(job_ids))}).fetchall() if job_ids else []
    return {(job_id, number): code for job_id, number, code in rows}


def carried_of(execute: Execute, jobs: Sequence[Job]) -> dict[int, str]:
    """What the next attempts of these jobs are given of those before them, of those that are given anything."""
    ids = [job.id for job in jobs if job.attempt > 0]
    states = dict(execute(SELECT_STATES, {"ids": to_json(ids)}).fetchall() if ids else ())
    return {
        job.id: carried(execute, job.id, states.get(job.id))
        for job in jobs
        if job.is_to_carry or job.id in states
    }


def carried(execute: Execute, job_id: int, state: str | None) -> str:
    """What the job's next attempt is given of those before it, as JSON text, its state too."""
    rows = execute(SELECT_FINISHED, {"id": job_id}).fetchall()
    waits = execute(SELECT_SETTLED, {"id": job_id}).fetchall()
    (emitted,) = execute(SELECT_EMITTED, {"id": job_id}).fetchone()
    return to_json(
        {
            "steps": [[name, result, bool(is_awaited)] for name, result, is_awaited in rows],
            "waits": [[*wait, bool(timed_out)] for *wait, timed_out in waits],
            "state": state,
            "emitted": emitted,
        }
    )


def ask_is_json(execute: Execute, text: str) -> Callable[[], bool]:
    """What tells whether the text is JSON, however long, without a value made of it: a job may have written it.

    SQLite looks no further than to a NUL.
    """
    if "\0" in text:
        return lambda: False
    asked = execute("SELECT json_valid(?)", (text,))
    return lambda: bool(asked.fetchone()[0])
