"""What each item of a transaction comes to, by the rules of `core` and by what was loaded for it: no SQL, no file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
        _of(item, _NEEDED)(item, needs)
    return needs


def _of(item: Item, table: Mapping[type, Callable[..., Any]]) -> Callable[..., Any]:
    """What the table has for such an item. Raises TypeError."""
    found = table.get(type(item))
    if found is None:
        raise TypeError(f"nothing is decided about {item}")
    return found


def is_decided(item: Item) -> bool:
    """Whether it is decided here; others are by what they find themselves."""
    return type(item) in _DECIDED


def _of_fact(item: JobFact, needs: Needs) -> None:
    fact = item.fact
    needs.jobs.append(item.job_id)
    if isinstance(fact, AttemptEnded) and fact.ending.outcome is not Outcome.COMPLETED:
        needs.ended.append(item.job_id)
        if fact.ending.wait is not None:
            needs.signalled.append(item.job_id)
    if applying.is_to_back_off(fact):
        needs.last_begun.append(item.job_id)


def _of_requests(item: JobRequests, needs: Needs) -> None:
    needs.jobs += item.job_ids
    if isinstance(item.fact, RetryRequested):
        needs.retried += item.job_ids


def _of_settled(item: JobSettled, needs: Needs) -> None:
    needs.jobs.append(item.job_id)
    needs.retried.append(item.job_id)
    if isinstance(item.fact, StepSettled):
        needs.stepped.append(item.job_id)


def _of_changed(item: JobsChanged, needs: Needs) -> None:
    needs.jobs += item.job_ids
    needs.changed += item.job_ids


def _of_signal(item: Signal, needs: Needs) -> None:
    if item.job_id is not None:
        needs.jobs.append(item.job_id)
        needs.signalled.append(item.job_id)
    if item.key is not None:
        needs.signalled_keys.append(item.key)


def _of_again(item: AgainAsked, needs: Needs) -> None:
    needs.jobs.append(item.source_id)
    needs.cuts += [] if item.from_step is None else [(item.source_id, item.from_step)]
    needs.keyed += [] if item.key is None else [item.key]
    _note_jobs([] if item.wanted is None else [item.wanted], needs)


def _of_notes(item: AttemptNotes, needs: Needs) -> None:
    needs.jobs.append(item.job_id)
    needs.noted.append((item.job_id, item.number))
    _note_steps(item, needs)


def _of_saved_state(item: StateSaved, needs: Needs) -> None:
    needs.jobs.append(item.job_id)
    needs.results.append(item.value)


def _of_submission(item: Submission, needs: Needs) -> None:
    _note_jobs(item.jobs, needs)


def _of_flow(item: Flow, needs: Needs) -> None:
    needs.flows.append(item)
    _note_jobs(item.jobs, needs)


def _of_received(item: Received, needs: Needs) -> None:
    needs.received.append(item.fact.id)
    needs.flows += [] if item.fact.ties is None else [Flow((item.fact,), item.submitter)]
    _note_jobs([item.fact], needs)


def _nothing(item: Item, needs: Needs) -> None:
    """It tells all that there is to know."""


_NEEDED: Final[Mapping[type, Callable[[Any, Needs], None]]] = {
    JobFact: _of_fact,
    JobRequests: _of_requests,
    JobSettled: _of_settled,
    JobsChanged: _of_changed,
    Noted: lambda item, needs: needs.jobs.append(item.job_id),
    Signal: _of_signal,
    AgainAsked: _of_again,
    AttemptNotes: _of_notes,
    StateSaved: _of_saved_state,
    Submission: _of_submission,
    Flow: _of_flow,
    Received: _of_received,
    GroupCancelled: lambda item, needs: needs.flows.append(Flow((), item.submitter, seals=(item.id,))),
    OutputEnded: _nothing,
    Look: _nothing,
    Ping: _nothing,
}


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
    return _of(item, _DECIDED)(item, overlay)


def _request(item: JobRequests, overlay: Overlay) -> tuple[Any, ...]:
    fact, job_ids = item.fact, item.job_ids
    if not isinstance(fact, RetryRequested):
        return tuple([applying.apply_fact(job_id, fact, overlay) for job_id in job_ids])
    causes_first = sorted(job_ids)
    after = {job_id: applying.retry(job_id, fact, overlay) for job_id in causes_first}
    return tuple([after[job_id] for job_id in job_ids])


def _note(item: Noted, overlay: Overlay) -> None:
    noting.log(overlay, overlay.job(item.job_id), item.attempt, overlay.batch.now, item.type, item.message)


_DECIDED: Final[Mapping[type, Callable[[Any, Overlay], Any]]] = {
    JobFact: lambda item, overlay: applying.apply_fact(item.job_id, item.fact, overlay),
    JobRequests: _request,
    JobSettled: reviews.settle,
    JobsChanged: applying.change_each,
    Submission: submitting.submit,
    Flow: submitting.submit_flow,
    Received: submitting.receive,
    AgainAsked: again.run_again,
    Signal: signalling.send,
    GroupCancelled: submitting.cancel_group,
    Noted: _note,
    AttemptNotes: noting.record_notes,
    StateSaved: noting.save_state,
    OutputEnded: lambda item, overlay: overlay.write(Kind.ENDED_OUTPUT, kept_outputs.row_of(item)),
    Look: lambda item, overlay: None,
    Ping: lambda item, overlay: None,
}
