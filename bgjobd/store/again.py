"""What it comes to where somebody wants the call of a job run again: a new job, perhaps with steps of that; no SQL."""

from __future__ import annotations

from dataclasses import replace

from bgjob.errors import DuplicateError, IdempotencyConflictError, InvalidStateError, StepNotFoundError
from bgjob.words import EntryType
from bgjobd.core.facts import REPLACED, Again, Submitted
from bgjobd.core.job import Job
from bgjobd.core.log_entries import again_message
from bgjobd.store import uniques
from bgjobd.store.batch import Keyed, Overlay
from bgjobd.store.committed import Stored
from bgjobd.store.items.submissions import AgainAsked
from bgjobd.store.noting import log
from bgjobd.store.submitting import store_new
from bgjobd.store.written import Kind


def run_again(item: AgainAsked, overlay: Overlay) -> Stored | None:
    """The new job, or the one that its key has made; None where the job is not as it was read. Raises the refusals."""
    known = None if item.key is None else overlay.keyed_as(item.key)
    if known is not None:
        return Stored(_known_id(known, item), created=False)
    source = overlay.job(item.source_id)
    if not source.is_over:
        standing = f"{source.status}, for review" if source.is_for_review else source.status
        raise InvalidStateError(id=source.id, status=standing)
    if item.wanted is None or source != item.source:
        return None
    wanted = _unique(item.wanted, source, overlay)._replace(again=_again(item, overlay))
    job = store_new(wanted, item.submitter, overlay)
    if job.carried is not None and job.carried.steps:
        steps = {"job_id": job.id, "of": source.id, "steps": job.carried.steps}
        overlay.write(Kind.COPIED_STEPS, steps)
    if item.key is not None:
        overlay.keyed[item.key] = Keyed(job.id, item.digest, item.submitter.uid, job.call)
    told = EntryType.INFO, again_message(job.id, item.submitter.uid)
    log(overlay, source, source.attempt or None, overlay.batch.now, *told)
    return Stored(job.id, created=True)


def _known_id(known: Keyed, item: AgainAsked) -> int:
    """Raises IdempotencyConflictError where something else was asked for, or by another: a secret may be guessed."""
    if known.digest not in (item.digest, REPLACED) or known.submitted_uid != item.submitter.uid:
        raise IdempotencyConflictError(id=known.id)
    return known.id


def _again(item: AgainAsked, overlay: Overlay) -> Again:
    """Raises StepNotFoundError."""
    if item.from_step is None:
        return Again(item.source_id)
    cut = overlay.batch.cuts.get((item.source_id, item.from_step))
    if cut is None:
        raise StepNotFoundError(id=item.source_id, name=item.from_step)
    return Again(item.source_id, item.from_step, *cut)


def _unique(wanted: Submitted, source: Job, overlay: Overlay) -> Submitted:
    """The request, which takes over the time for which the job itself still holds its key. Raises DuplicateError."""
    key = uniques.wanted_by(wanted)
    holding = None if key is None else uniques.holder_of(key, overlay)
    if wanted.unique is None or holding is None:
        return wanted
    if holding.job_id != source.id:
        raise DuplicateError(id=holding.job_id)
    held_for = None if holding.held_until is None else max(0.0, holding.held_until - overlay.batch.now)
    return wanted._replace(unique=replace(wanted.unique, held_for=held_for))
