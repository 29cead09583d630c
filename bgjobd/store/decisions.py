"""What each item of a transaction comes to, by the rules of `core` and by what was loaded for it: no SQL, no file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from bgjob.errors import RequestError
from bgjob.words import Outcome
from bgjobd.core import state_machine
from bgjobd.core.facts import AttemptEnded, RetryRequested, SlotGranted, StepSettled, Submitted
from bgjobd.core.job import Job
from bgjobd.store import again, applying, kept_outputs, late, noting, reviews, signalling, submitting, uniques
from bgjobd.store.batch import Batch, Needs, Overlay
from bgjobd.store.committed import Claim
from bgjobd.store.items.attempts import (
    AttemptNotes,
    JobFact,
    Noted,
    OutputEnded,
    StateSaved,
    StepNote,
    UnusedSteps,
    ValueNote,
)
from bgjobd.store.items.daemons import Look, Ping
from bgjobd.store.items.item import Item
from bgjobd.store.items.submissions import AgainAsked, Flow, Received, Submission
from bgjobd.store.items.wishes import GroupCancelled, JobRequests, JobsChanged, JobSettled, Signal
from bgjobd.store.rows import new_attempt_row
from bgjobd.store.written import Kind

REFUSALS: Final = (RequestError, state_machine.IllegalFactError, ValueError, OverflowError)
"""What is the answer to an item, for its caller or as a bug, and leaves nothing of it."""


def needs_of(items: Sequence[Item]) -> Needs:
    """What has to be known for these items to be decided."""
    needs = Needs()
    for item in items:
        match item:
            case JobFact(job_id, fact):
                needs.jobs.append(job_id)
                if isinstance(fact, AttemptEnded) and fact.ending.outcome is not Outcome.COMPLETED:
                    needs.ended.append(job_id)
                    if fact.ending.wait is not None:
                        needs.signalled.append(job_id)
                if applying.is_to_back_off(fact):
                    needs.last_begun.append(job_id)
            case JobRequests(job_ids, fact):
                needs.jobs += job_ids
                if isinstance(fact, RetryRequested):
                    needs.retried += job_ids
            case JobSettled(job_id, fact):
                needs.jobs.append(job_id)
                needs.retried.append(job_id)
                needs.stepped += [job_id] if isinstance(fact, StepSettled) else []
            case JobsChanged(job_ids):
                needs.jobs += job_ids
                needs.changed += job_ids
            case Noted(job_id):
                needs.jobs.append(job_id)
            case Signal(job_id, key):
                needs.jobs += [] if job_id is None else [job_id]
                needs.signalled += [] if job_id is None else [job_id]
                needs.signalled_keys += [] if key is None else [key]
            case AgainAsked(job_id, from_step):
                needs.jobs.append(job_id)
                needs.cuts += [] if from_step is None else [(job_id, from_step)]
                needs.keyed += [] if item.key is None else [item.key]
                _note_jobs([] if item.wanted is None else [item.wanted], needs)
            case AttemptNotes(job_id, number):
                needs.jobs.append(job_id)
                needs.noted.append((job_id, number))
                _note_steps(item, needs)
            case StateSaved(job_id):
                needs.jobs.append(job_id)
                needs.results.append(item.value)
            case Submission(jobs):
                _note_jobs(jobs, needs)
            case Flow(jobs):
                needs.flows.append(item)
                _note_jobs(jobs, needs)
            case Received(fact):
                needs.received.append(fact.id)
                needs.flows += [] if fact.ties is None else [Flow((fact,), item.submitter)]
                _note_jobs([fact], needs)
            case GroupCancelled():
                needs.flows.append(Flow((), item.submitter, seals=(item.id,)))
    return needs


def _note_steps(item: AttemptNotes, needs: Needs) -> None:
    if any(isinstance(note, ValueNote) for note in item.notes):
        needs.valued.append((item.job_id, item.number))
    results = [note.result for note in item.notes if isinstance(note, StepNote)]
    if any(isinstance(note, UnusedSteps) for note in item.notes):
        needs.stepped.append(item.job_id)
        needs.unused.append(item.job_id)
    if results:
        needs.stepped.append(item.job_id)
        needs.results += [result for result in results if result is not None]


def _note_jobs(jobs: Sequence[Submitted], needs: Needs) -> None:
    """What has to be known for these to be stored."""
    for job in jobs:
        if job.idempotency_key is not None:
            needs.keyed.append(job.idempotency_key)
        if job.unique is not None:
            needs.unique += uniques.wanted_by_each([job])
    needs.new_jobs += len(jobs)


def settle(item: Item, batch: Batch) -> Any:
    """The item's answer. A refusal or a bug is an answer too, and leaves nothing of this item."""
    overlay = Overlay(batch)
    try:
        answer = _decide(item, overlay)
    except REFUSALS as error:
        return error
    batch.take_in(overlay)
    return answer


def claim(
    jobs: Sequence[Job], tokens: Sequence[str], boot_id: str, batch: Batch, carried: Mapping[int, str]
) -> None:
    """Grant a slot to each of these jobs, whose attempt gets the token, and what those before it have finished."""
    overlay = Overlay(batch)
    for job, token in zip(jobs, tokens, strict=True):
        claimed, waited = applying.advance(job, SlotGranted(), overlay), _waited(job, batch.now)
        overlay.write(Kind.NEW_ATTEMPT, new_attempt_row(claimed, token, boot_id, batch.host_id, waited))
        overlay.claims.append(Claim(claimed, token, waited, carried.get(job.id)))
    batch.take_in(overlay)


def _waited(job: Job, now: float) -> float:
    """For how many seconds a pending job was due: since it was submitted, put back, or its time had come."""
    return max(0.0, now - max(job.updated_at, job.scheduled_at or 0.0))


def _decide(item: Item, overlay: Overlay) -> Any:
    if overlay.batch.host is not None and late.is_late(item, overlay):
        return late.note(item, overlay)
    match item:
        case JobFact(job_id, fact):
            return applying.apply_fact(job_id, fact, overlay)
        case JobRequests(job_ids, RetryRequested() as fact):
            causes_first = sorted(job_ids)
            after = {job_id: applying.retry(job_id, fact, overlay) for job_id in causes_first}
            return tuple([after[job_id] for job_id in job_ids])
        case JobRequests(job_ids, fact):
            return tuple([applying.apply_fact(job_id, fact, overlay) for job_id in job_ids])
        case JobSettled():
            return reviews.settle(item, overlay)
        case JobsChanged():
            return applying.change_each(item, overlay)
        case Submission():
            return submitting.submit(item, overlay)
        case Flow():
            return submitting.submit_flow(item, overlay)
        case Received():
            return submitting.receive(item, overlay)
        case AgainAsked():
            return again.run_again(item, overlay)
        case Signal():
            return signalling.send(item, overlay)
        case GroupCancelled():
            submitting.cancel_group(item, overlay)
        case Noted(job_id, attempt, type, message):
            noting.log(overlay, overlay.job(job_id), attempt, overlay.batch.now, type, message)
        case AttemptNotes():
            noting.record_notes(item, overlay)
        case StateSaved():
            noting.save_state(item, overlay)
        case OutputEnded():
            overlay.write(Kind.ENDED_OUTPUT, kept_outputs.row_of(item))
        case Look() | Ping():
            pass
        case _:
            raise TypeError(f"nothing is decided about {item}")
    return None
