"""What a submission comes to: new jobs in their places, or those that have its idempotency or unique keys; no SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from bgjob.errors import DuplicateError, IdempotencyConflictError, InvalidParameterError
from bgjob.words import IfFailed
from bgjobd.core import state_machine
from bgjobd.core.edges import Standing, Ties
from bgjobd.core.facts import (
    BESIDE_CALL,
    REPLACED,
    CancelRequested,
    PredecessorMoved,
    Refused,
    Replaced,
    Submitted,
)
from bgjobd.core.job import Job
from bgjobd.core.unique import Verdict, bounded
from bgjobd.store import noting, uniques
from bgjobd.store.applying import apply_fact
from bgjobd.store.batch import CANCEL, Keyed, Overlay, Unsettled
from bgjobd.store.committed import Stored, StoredFlow
from bgjobd.store.items.submissions import Flow, Received, Submission
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import GroupCancelled
from bgjobd.store.placing import Edge, Placing, check_owner, sealed
from bgjobd.store.rows import edge_row, replaced_row, row_of_new, row_of_new_tied
from bgjobd.store.written import Kind


def submit(submission: Submission, overlay: Overlay) -> tuple[Stored, ...]:
    """Its jobs, new or known, in order. Raises the refusals."""
    stored: list[Stored] = []
    by = submission.submitter
    _store_each(submission.jobs, by, overlay, stored, lambda fact: store_new(fact, by, overlay))
    return tuple(stored)


def submit_flow(flow: Flow, overlay: Overlay) -> StoredFlow:
    """The same of jobs that have their places in groups and behind others, which it may seal."""
    stored: list[Stored] = []
    placing = Placing(flow, stored, overlay)

    def store(fact: Submitted) -> Job:
        place, edges = placing.place(len(stored), fact.ties or _NO_TIES)
        return _store_placed(fact._replace(place=place), edges, flow.submitter, overlay)

    def on_known(fact: Submitted, job_id: int) -> None:
        placing.adopt(fact.ties or _NO_TIES, job_id)

    _store_each(flow.jobs, flow.submitter, overlay, stored, store, on_known)
    groups = placing.groups()
    for group_id in flow.seals:
        _seal(group_id, flow.submitter, overlay)
    return StoredFlow(tuple(stored), groups)


def receive(item: Received, overlay: Overlay) -> Stored | None:
    """The job under the id that its caller knows. Raises the refusals, and DuplicateError for one that is another."""
    fact, by = item.fact, item.submitter
    if fact.id not in overlay.batch.received:
        return None
    overlay.write(Kind.RECEIVED, {"id": fact.id})
    if fact.ties is None:
        (stored,) = submit(Submission((fact,), by), overlay)
    else:
        (stored,) = submit_flow(Flow((fact,), by), overlay).jobs
    if stored.id != fact.id:
        raise DuplicateError(id=stored.id)
    if item.refused is not None and stored.created:  # else it was taken up twice at the same moment
        apply_fact(fact.id, Refused(item.refused), overlay)
    return stored


_NO_TIES: Final = Ties()


def cancel_group(item: GroupCancelled, overlay: Overlay) -> None:
    """Seal the group, and have its members cancelled by and by. Raises GroupNotFoundError, PermissionDeniedError."""
    _seal(item.id, item.submitter, overlay, is_cancelled=True)
    overlay.unsettled.append(Unsettled(CANCEL, item.id))


def _seal(group_id: int, by: Submitter, overlay: Overlay, is_cancelled: bool = False) -> None:
    """Have the group take no more members. Raises GroupNotFoundError, PermissionDeniedError."""
    group = overlay.group(group_id)
    check_owner(group, by)
    overlay.seal(sealed(group, overlay.batch.now, is_cancelled))


def _store_each(
    jobs: Sequence[Submitted],
    by: Submitter,
    overlay: Overlay,
    stored: list[Stored],
    store: Callable[[Submitted], Job],
    on_known: Callable[[Submitted, int], None] = lambda fact, job_id: None,
) -> None:
    """Have those stored, in order, that no idempotency key has made before."""
    own: dict[str, Submitted] = {}
    for index, fact in enumerate(jobs):
        key = fact.idempotency_key
        earlier = None if key is None else own.get(key) or overlay.keyed_as(key)
        known = known_id(fact, earlier, by.uid, f"jobs.{index}.options.idempotency_key")
        if known is not None:
            stored.append(Stored(known, created=False))
            on_known(fact, known)
            continue
        held = None if fact.unique is None else _try_held(fact, by, overlay, index)
        if held is not None:
            stored.append(held)
            continue
        job = store(fact)
        if key is not None:
            own[key] = fact._replace(id=job.id)
            overlay.keyed[key] = Keyed(job.id, fact.digest, by.uid, fact.call)
        stored.append(Stored(job.id, created=True))


def _try_held(fact: Submitted, by: Submitter, overlay: Overlay, index: int) -> Stored | None:
    """The job that holds the unique key of the request, which may take its place. Raises DuplicateError."""
    judged = uniques.judged(fact, by, overlay, index)
    if judged is None:
        return None
    found, job_id = judged
    if found is Verdict.REPLACES:
        _replace(job_id, fact, by, overlay)
    return Stored(job_id, created=False, replaced=found is Verdict.REPLACES)


def _replace(job_id: int, fact: Submitted, by: Submitter, overlay: Overlay) -> None:
    """Raises QueueFullError, where it would wait in another queue."""
    before = overlay.job(job_id)
    if fact.queue != before.queue:
        overlay.check_room(fact.queue)
    at_latest = None if fact.unique is None else fact.unique.at_latest
    at = bounded(fact.scheduled_at, before.created_at, at_latest)
    after = apply_fact(job_id, Replaced(_shared(fact, by, overlay), at), overlay)
    overlay.write(Kind.REPLACED_JOB, replaced_row(after))
    _relabel(before, after, overlay)
    known = None if before.idempotency_key is None else overlay.keyed_as(before.idempotency_key)
    if known is not None and before.idempotency_key is not None:
        overlay.keyed[before.idempotency_key] = known._replace(digest=REPLACED)
    uniques.take(fact, job_id, by, overlay)


def _relabel(before: Job, after: Job, overlay: Overlay) -> None:
    if before.labels == after.labels:
        return
    for label in before.labels:
        overlay.write(Kind.LOST_LABEL, {"label": label, "job_id": after.id})
    overlay.write(Kind.LABELLED_JOB, {"id": after.id})


def store_new(fact: Submitted, by: Submitter, overlay: Overlay) -> Job:
    """The job that is made of the fact, under the next id. Raises QueueFullError."""
    overlay.check_room(fact.queue)
    if not fact.id:
        overlay.last_id += 1
    fact = _shared(fact._replace(id=fact.id or overlay.last_id, by_job=by.job), by, overlay)
    job = overlay.at_gate(None, state_machine.advance(None, fact, overlay.batch.now))
    given = job, fact.digest, overlay.batch.now, by
    has_ties = fact.place is not None or fact.unique is not None or job.expires_at is not None
    has_ties = has_ties or fact.again is not None or fact.host is not None or fact.traceparent is not None
    has_ties = has_ties or bool(fact.labels)
    if not has_ties and job.key is None and job.carried is None:
        overlay.write(Kind.NEW_JOB, row_of_new(*given))
    else:
        overlay.write(Kind.NEW_TIED_JOB, row_of_new_tied(*given))
    if job.labels:
        overlay.write(Kind.LABELLED_JOB, {"id": job.id})
    overlay.jobs[job.id] = job
    overlay.changed.append(job)
    overlay.move(None, job)
    if job.expires_at is not None:
        overlay.expire_at(job.expires_at)
    if fact.unique is not None:
        uniques.take(fact, job.id, by, overlay)
    noting.tell(None, fact, job, overlay)
    return job


def _shared(fact: Submitted, by: Submitter, overlay: Overlay) -> Submitted:
    key = overlay.batch.key_in(fact.queue, fact.key, by.uid)
    return fact if key == fact.key else fact._replace(key=key)


def _store_placed(fact: Submitted, edges: Sequence[Edge], by: Submitter, overlay: Overlay) -> Job:
    """The same of a job whose place is found; one that comes after what failed is cancelled as it is stored."""
    job = store_new(fact, by, overlay)
    for edge in edges:
        overlay.write(Kind.NEW_EDGE, edge_row(job.id, edge.node, edge.standing))
        if edge.standing is Standing.FAILED and job.if_failed is IfFailed.CANCEL:
            apply_fact(
                job.id, PredecessorMoved(edge.node, Standing.OPEN, Standing.FAILED, edge.fate), overlay
            )
        if edge.is_taken_of:
            overlay.unsettled.append(Unsettled(edge.node.of, edge.node.id, job.id - 1))
    is_unwanted = any(group.cancel_requested_at is not None for group in overlay.enclosing(job.group_id))
    if is_unwanted and not overlay.job(job.id).status.is_final:
        apply_fact(job.id, CancelRequested(), overlay)
    return overlay.job(job.id)


# What was submitted before


def known_id(fact: Submitted, earlier: Keyed | Submitted | None, uid: int | None, place: str) -> int | None:
    """The id of the job that this idempotency key made before. Raises where that was another request, or where this
    one, which has it in this place, asks for two different jobs by it.

    Whether another user's request had the same secrets nobody may find out by guessing them.
    """
    if earlier is None:
        return None
    is_guess = bool(fact.call.sensitive) and isinstance(earlier, Keyed) and earlier.submitted_uid != uid
    if _is_same_request(earlier, fact) and not is_guess:
        return earlier.id
    if isinstance(earlier, Submitted):  # of this submission, so its id goes with it
        raise InvalidParameterError(parameter=place)
    raise IdempotencyConflictError(id=earlier.id)


def _is_same_request(earlier: Keyed | Submitted, fact: Submitted) -> bool:
    """By their digests, which may leave out what they call; by that alone where these are none, or of two kinds.

    So it is where a job was stored by an earlier version. Of one that was replaced nobody knows it any more.
    """
    if earlier.digest == REPLACED:
        return True
    kinds = {_has_call(digest) for digest in (earlier.digest, fact.digest)}
    is_same_call = kinds == {True} or earlier.call == fact.call
    return is_same_call and (len(kinds) > 1 or earlier.digest == fact.digest)


def _has_call(digest: str | None) -> bool | None:
    """Whether it is of what is called, too; None where there is no digest."""
    return None if digest is None else not digest.startswith(BESIDE_CALL)
