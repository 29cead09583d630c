"""What attempts tell that count as lost by then, with their host: it changes nothing about their jobs; no SQL."""

from __future__ import annotations

from typing import Final

from bgjob.words import EntryType, Outcome, Status
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.log_entries import late_end
from bgjobd.store import noting
from bgjobd.store.batch import Overlay
from bgjobd.store.committed import Late
from bgjobd.store.items.attempts import AttemptNotes, JobFact, StateSaved
from bgjobd.store.items.item import Item

_OF_ATTEMPTS: Final = (JobFact, AttemptNotes, StateSaved)


def is_late(item: Item, overlay: Overlay) -> bool:
    """Whether the item is of an attempt that has an end already: others may have started the next one."""
    if not isinstance(item, _OF_ATTEMPTS):
        return False
    number = item.fact.number if isinstance(item, JobFact) else item.number
    job = overlay.try_job(item.job_id)
    return job is None or job.status is not Status.RUNNING or job.attempt != number


def note(item: Item, overlay: Overlay) -> Late:
    """An end that nobody knew of is told in the job's log, where there still is one; all else is passed over."""
    fact = item.fact if isinstance(item, JobFact) else None
    job = overlay.try_job(item.job_id) if isinstance(item, JobFact) else None
    host = overlay.batch.host
    if job is None or host is None or not isinstance(fact, AttemptEnded):
        return Late()
    if fact.ending.outcome is not Outcome.LOST:
        message = late_end(fact.number, fact.ending.outcome, host.name)
        noting.log(overlay, job, fact.number, overlay.batch.now, EntryType.INFO, message)
    return Late()
