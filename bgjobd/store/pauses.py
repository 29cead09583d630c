"""Pauses of queues: how one begins, and how it ends, by itself too; in the file as a transaction has it."""

from __future__ import annotations

import math

from bgjob.words import ChangeKind
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import changes
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Execute
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from bgjobd.store.statements import of_pauses


def carry_out(execute: Execute, item: QueuePaused | QueueResumed, batch: Batch) -> None:
    """Have the queue be paused, or open again; a second pause replaces when the first ends."""
    match item:
        case QueuePaused(queue, at, who):
            resumes_at = None if at is None else to_text(at)
            begun = {"name": queue, "now": to_text(batch.now), "resumes_at": resumes_at}
            execute(of_pauses.PAUSE_QUEUE, begun)
            changes.note(execute, batch, ChangeKind.PAUSED, {"queue": queue, "until": resumes_at}, who)
        case QueueResumed(queue, who):
            if execute(of_pauses.RESUME_QUEUE, {"name": queue}).rowcount:
                changes.note(execute, batch, ChangeKind.RESUMED, {"queue": queue}, who)
    batch.next_resume = next_end(execute)


def end(execute: Execute, batch: Batch) -> None:
    """Have the queues be open from here on whose pause is over. Most transactions look nowhere."""
    if batch.next_resume > batch.now:
        return
    over = execute(of_pauses.END_PAUSES, {"now": to_text(batch.now)}).fetchall()
    batch.resumed = sorted(name for (name,) in over)
    for queue in batch.resumed:
        changes.note(execute, batch, ChangeKind.RESUMED, {"queue": queue})
    batch.next_resume = next_end(execute)


def next_end(execute: Execute) -> float:
    """When a queue goes on by itself, `inf` for never."""
    (at,) = execute(of_pauses.SELECT_NEXT_RESUME).fetchone()
    return math.inf if at is None else from_text(at)
