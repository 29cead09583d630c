"""What suspended jobs wait for, and the signals that are sent to them, within a transaction of the ledger's.

A wait is settled where the next slot is granted: by the oldest signal of its name that nobody has taken, else by its
time. Both are results, which later attempts get again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bgjob.codec import to_json
from bgjob.words import EntryType
from bgjobd.core.job import Job
from bgjobd.core.log_entries import WAIT_OVER
from bgjobd.core.waiting import WaitKind, signal_of
from bgjobd.host.clock import to_text
from bgjobd.store.batch import Batch, SentSignal
from bgjobd.store.engines import Execute
from bgjobd.store.noting import log
from bgjobd.store.rows import carried_row
from bgjobd.store.statements import of_times
from bgjobd.store.written import WAITING, Kind

OPEN_WAIT: Final = """
    INSERT INTO job_steps (job_id, kind, name, turn, attempt, tries, began_at, until, is_awaited, timed_out)
    VALUES (:job_id, :kind, :name, :turn, :attempt, 1, :now, :until, 0, 0)
    ON CONFLICT (job_id, kind, name, turn) DO UPDATE
    SET attempt = :attempt, tries = job_steps.tries + 1, began_at = :now, until = :until
    WHERE job_steps.number IS NULL
"""
# What is shown of an open wait goes with the job's own time, wherever a clock that was set has moved that.
FOLLOW_JOBS: Final = f"""
    UPDATE job_steps SET until = j.scheduled_at FROM background_jobs AS j INDEXED BY jobs_waiting
    WHERE j.status = 'pending' AND j.ready = {WAITING} AND j.scheduled_at IS NOT NULL
        AND job_steps.job_id = j.id AND job_steps.kind <> 'step' AND job_steps.number IS NULL
"""
MOVE_WAIT: Final = (
    "UPDATE job_steps SET until = :until WHERE job_id = :job_id AND kind <> 'step' AND number IS NULL"
)
DROP_WAIT: Final = "DELETE FROM job_steps WHERE job_id = :job_id AND kind <> 'step' AND number IS NULL"
SELECT_OPEN: Final = """
    SELECT kind, name, turn FROM job_steps WHERE job_id = :id AND kind <> 'step' AND number IS NULL
"""
SETTLE: Final = """
    UPDATE job_steps SET number = :number, finished_at = :now, result = :result, timed_out = :timed_out
    WHERE job_id = :id AND kind = :kind AND name = :name AND turn = :turn
"""
SELECT_UNTAKEN: Final = """
    SELECT number, payload FROM job_signals WHERE job_id = :id AND name = :name AND taken_by IS NULL
    ORDER BY number LIMIT 1
"""
TAKE_SIGNAL: Final = "UPDATE job_signals SET taken_by = :taken_by WHERE job_id = :id AND number = :number"
FREE_SIGNALS: Final = "UPDATE job_signals SET taken_by = NULL WHERE job_id = :job_id AND taken_by IS NOT NULL"
INSERT_SIGNAL: Final = """
    INSERT INTO job_signals (job_id, number, name, payload, key, sent_at, uid)
    VALUES (:job_id, :number, :name, :payload, :key, :now, :uid)
"""
SELECT_SIGNALS: Final = """
    SELECT s.job_id, s.number, s.name, s.key, s.taken_by IS NULL,
        CASE WHEN s.taken_by IS NULL THEN length(CAST(s.payload AS BLOB)) ELSE 0 END
    FROM json_each(:ids) AS wanted CROSS JOIN job_signals AS s ON s.job_id = wanted.value ORDER BY s.number
"""


def shift(execute: Execute, batch: Batch, seconds: float) -> None:
    """The clock was set: who was to sleep for ten seconds more still is."""
    if batch.may_wait:
        execute(of_times.SHIFT_WAITS, {"seconds": seconds, "now": to_text(batch.now)})
        execute(FOLLOW_JOBS)


def bound(execute: Execute, batch: Batch) -> None:
    """The clock may have been set while nobody ran: nobody waits longer than it was to be."""
    if batch.may_wait:
        execute(of_times.SHIFT_WAITS_FROM_THE_FUTURE, {"now": to_text(batch.now)})
        execute(FOLLOW_JOBS)


def signals_of(execute: Execute, job_ids: Sequence[int]) -> dict[int, list[SentSignal]]:
    """The signals that were sent to these jobs, in order."""
    found: dict[int, list[SentSignal]] = {job_id: [] for job_id in job_ids}
    for job_id, *signal in execute(SELECT_SIGNALS, {"ids": to_json(list(job_ids))}).fetchall():
        found[job_id].append(SentSignal(*signal))
    return found


def settle(execute: Execute, job: Job, batch: Batch) -> Job:
    """The job whose slot is granted, once what it waited for is a result."""
    carried = job.carried
    if carried is None or carried.waiting_on is None:
        return job
    carried = carried._replace(waiting_on=None)
    found = execute(SELECT_OPEN, {"id": job.id}).fetchone()
    if found is not None:
        kind, name, turn = found
        place = {"id": job.id, "kind": kind, "name": name, "turn": turn}
        result, timed_out = _outcome(execute, job.id, kind, name, turn)
        if timed_out or kind != WaitKind.SIGNAL:
            log(batch, job, job.attempt, batch.now, EntryType.INFO, WAIT_OVER)
        given = {
            "number": carried.steps + 1,
            "now": to_text(batch.now),
            "result": result,
            "timed_out": timed_out,
        }
        execute(SETTLE, {**place, **given})
        size = 0 if result is None else len(result.encode())
        carried = carried._replace(steps=carried.steps + 1, step_bytes=carried.step_bytes + size)
    batch.write(Kind.COUNTED_STEPS, carried_row(job.id, carried))
    return job.changed(carried=carried)


def _outcome(execute: Execute, job_id: int, kind: str, name: str, turn: int) -> tuple[str | None, bool]:
    if kind != WaitKind.SIGNAL:
        return None, False
    signal = execute(SELECT_UNTAKEN, {"id": job_id, "name": name}).fetchone()
    if signal is None:
        return None, True
    execute(TAKE_SIGNAL, {"id": job_id, "number": signal[0], "taken_by": f"{name} {turn}"})
    return signal[1], False


def is_waited_for(job: Job, name: str) -> bool:
    """Whether the job waits for a signal of this name, and has not heard of one."""
    waiting_on = None if job.carried is None else job.carried.waiting_on
    return job.is_waiting and waiting_on is not None and signal_of(waiting_on) == name
