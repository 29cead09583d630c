"""What a person's word comes to about a job of which nobody knows what it did: it is over, or goes on; no SQL."""

from __future__ import annotations

from bgjob.errors import InvalidParameterError, NotForReviewError, TooLargeError
from bgjob.words import MOST_STEP_BYTES, MOST_STEPS
from bgjobd.core.facts import SettledAsFailed, StepSettled
from bgjobd.core.job import Carried, Job
from bgjobd.store import hooks, uniques
from bgjobd.store.applying import apply_fact
from bgjobd.store.batch import Overlay, StoredStep
from bgjobd.store.items.wishes import JobSettled
from bgjobd.store.rows import settled_step_row
from bgjobd.store.written import Kind


def settle(item: JobSettled, overlay: Overlay) -> Job:
    """The job after it. Raises JobNotFoundError, NotForReviewError; of a step InvalidParameterError where it is
    finished, or is one too many, TooLargeError, and DuplicateError where another job has its unique key by now.
    """
    job, fact = overlay.job(item.job_id), item.fact
    if not job.is_for_review:
        raise NotForReviewError(id=job.id, status=job.status)
    if isinstance(fact, StepSettled):
        _finish(job, fact, overlay)
    after = apply_fact(job.id, fact, overlay)
    if isinstance(fact, StepSettled):
        uniques.take_again(after, overlay)
    if isinstance(fact, SettledAsFailed):
        overlay.settled.append(after)
        hooks.owe(after, overlay)
        overlay.write(Kind.FAILED_BY_ERROR, {"job_id": job.id, "number": job.attempt})
    return after


def _finish(job: Job, fact: StepSettled, overlay: Overlay) -> None:
    """Have the step be finished, also one that no attempt has come to: it is a person's word."""
    known, carried = overlay.steps_of(job.id), job.carried or Carried()
    key = "step", fact.name, 1
    before = known.get(key)
    has_room = before is not None or len(known) < MOST_STEPS
    if (before is not None and before.number is not None) or not has_room or carried.steps >= MOST_STEPS:
        raise InvalidParameterError(parameter="step")
    size = carried.step_bytes + len(fact.result.encode())
    if size > MOST_STEP_BYTES:
        raise TooLargeError(limit=MOST_STEP_BYTES, size=size, parameter="result")
    carried = carried._replace(steps=carried.steps + 1, step_bytes=size)
    known[key] = StoredStep(job.attempt, carried.steps)
    overlay.write(Kind.SETTLED_STEP, settled_step_row(job, carried.steps, fact, overlay.batch.now))
    overlay.jobs[job.id] = job.changed(carried=carried)
