"""What each item of a transaction comes to, by the rules of `core` and by what was loaded for it: no SQL, no file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.errors import (
    BehindFailedError,
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidStateError,
    QueueFullError,
    RequestError,
)
from bgjob.results import MISSING, Result
from bgjob.words import EntryType, IfFailed, Outcome, Status
from bgjobd.core import state_machine
from bgjobd.core.edges import Fate, Node, Of, Standing, Ties
from bgjobd.core.facts import (
    BESIDE_CALL,
    REPLACED,
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    Expired,
    Fact,
    PredecessorDeleted,
    PredecessorMoved,
    Replaced,
    RetryRequested,
    SlotGranted,
    Submitted,
    ValuesTaken,
)
from bgjobd.core.job import Job
from bgjobd.core.log_entries import entries, progress_message
from bgjobd.core.retry import delay_before_start
from bgjobd.core.taking import mentions, taken
from bgjobd.core.unique import Verdict, bounded
from bgjobd.store import uniques
from bgjobd.store.batch import CANCEL, Batch, Keyed, Needs, Overlay, Unsettled
from bgjobd.store.items import (
    AttemptNotes,
    Claim,
    EndedAttempt,
    Flow,
    GroupCancelled,
    Item,
    JobFact,
    JobRequests,
    Look,
    Note,
    Noted,
    Ping,
    Stored,
    StoredFlow,
    Submission,
    Submitter,
)
from bgjobd.store.placing import Edge, Placing, check_owner, sealed
from bgjobd.store.rows import (
    changes_of,
    edge_row,
    ended_row,
    new_attempt_row,
    noted_row,
    progress_of,
    replaced_row,
    row_of_new,
    row_of_new_tied,
    started_row,
    ties_of,
)
from bgjobd.store.snapshots import snapshot
from bgjobd.store.sql_functions import held
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
                if _is_to_back_off(fact):
                    needs.last_begun.append(job_id)
            case JobRequests(job_ids, fact):
                needs.jobs += job_ids
                if isinstance(fact, RetryRequested):
                    needs.retried += job_ids
            case Noted(job_id):
                needs.jobs.append(job_id)
            case AttemptNotes(job_id, number):
                needs.jobs.append(job_id)
                needs.noted.append((job_id, number))
            case Submission(jobs):
                _note_jobs(jobs, needs)
            case Flow(jobs):
                needs.flows.append(item)
                _note_jobs(jobs, needs)
            case GroupCancelled():
                needs.flows.append(Flow((), item.submitter, seals=(item.id,)))
    return needs


def _note_jobs(jobs: Sequence[Submitted], needs: Needs) -> None:
    """What has to be known for these to be stored."""
    for job in jobs:
        if job.idempotency_key is not None:
            needs.keyed.append(job.idempotency_key)
        if job.unique is not None:
            needs.unique += uniques.wanted_by_each([job])
    needs.last_id = True


def settle(item: Item, batch: Batch) -> Any:
    """The item's answer. A refusal or a bug is an answer too, and leaves nothing of this item."""
    overlay = Overlay.over(batch)
    try:
        answer = _decide(item, overlay)
    except REFUSALS as error:
        return error
    batch.take_in(overlay)
    return answer


def claim(jobs: Sequence[Job], tokens: Sequence[str], boot_id: str, batch: Batch) -> None:
    """Grant a slot to each of these jobs, whose attempt gets the token."""
    overlay = Overlay.over(batch)
    for job, token in zip(jobs, tokens, strict=True):
        claimed = _advance(job, SlotGranted(), overlay)
        overlay.write(Kind.NEW_ATTEMPT, new_attempt_row(claimed, token, boot_id))
        overlay.claims.append(Claim(claimed, token, _waited(job, batch.now)))
    batch.take_in(overlay)


def _decide(item: Item, overlay: Overlay) -> Any:
    match item:
        case JobFact(job_id, fact):
            return apply_fact(job_id, fact, overlay)
        case JobRequests(job_ids, RetryRequested() as fact):
            after = {job_id: _retry(job_id, fact, overlay) for job_id in sorted(job_ids)}  # causes first
            return tuple([after[job_id] for job_id in job_ids])
        case JobRequests(job_ids, fact):
            return tuple([apply_fact(job_id, fact, overlay) for job_id in job_ids])
        case Submission():
            return _submit(item, overlay)
        case Flow():
            return _submit_flow(item, overlay)
        case GroupCancelled():
            _cancel_group(item, overlay)
        case Noted(job_id, attempt, type, message):
            _log(overlay, overlay.job(job_id), attempt, overlay.batch.now, type, message)
        case AttemptNotes():
            _record_notes(item, overlay)
        case Look() | Ping():
            pass
        case _:
            raise TypeError(f"nothing is decided about {item}")
    return None


# Submissions


def _submit(submission: Submission, overlay: Overlay) -> tuple[Stored, ...]:
    stored: list[Stored] = []
    by = submission.submitter
    _store_each(submission.jobs, by, overlay, stored, lambda fact: store_new(fact, by, overlay))
    return tuple(stored)


def _submit_flow(flow: Flow, overlay: Overlay) -> StoredFlow:
    stored: list[Stored] = []
    placing = Placing(flow, stored, overlay)

    def store(fact: Submitted) -> Job:
        place, edges = placing.place(len(stored), fact.ties or _NO_TIES)
        return store_placed(replace(fact, place=place), edges, flow.submitter, overlay)

    def on_known(fact: Submitted, job_id: int) -> None:
        placing.adopt(fact.ties or _NO_TIES, job_id)

    _store_each(flow.jobs, flow.submitter, overlay, stored, store, on_known)
    groups = placing.groups()
    for group_id in flow.seals:
        _seal(group_id, flow.submitter, overlay)
    return StoredFlow(tuple(stored), groups)


_NO_TIES: Final = Ties()


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
            own[key] = fact.numbered(job.id, by.job)
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
        _check_room(fact.queue, overlay)
    at_latest = None if fact.unique is None else fact.unique.at_latest
    at = bounded(fact.scheduled_at, before.created_at, at_latest)
    after = apply_fact(job_id, Replaced(fact, at), overlay)
    overlay.write(Kind.REPLACED_JOB, replaced_row(after))
    known = None if before.idempotency_key is None else overlay.keyed_as(before.idempotency_key)
    if known is not None and before.idempotency_key is not None:
        overlay.keyed[before.idempotency_key] = known._replace(digest=REPLACED)
    overlay.expire_at(after.expires_at)
    uniques.take(fact, job_id, by, overlay)


def store_placed(fact: Submitted, edges: Sequence[Edge], by: Submitter, overlay: Overlay) -> Job:
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


def _seal(group_id: int, by: Submitter, overlay: Overlay, is_cancelled: bool = False) -> None:
    """Have the group take no more members. Raises GroupNotFoundError, PermissionDeniedError."""
    group = overlay.group(group_id)
    check_owner(group, by)
    overlay.seal(sealed(group, overlay.batch.now, is_cancelled))


def _cancel_group(item: GroupCancelled, overlay: Overlay) -> None:
    _seal(item.id, item.submitter, overlay, is_cancelled=True)
    overlay.unsettled.append(Unsettled(CANCEL, item.id))


def store_new(fact: Submitted, by: Submitter, overlay: Overlay) -> Job:
    """The job that is made of the fact, under the next id. Raises QueueFullError."""
    _check_room(fact.queue, overlay)
    overlay.last_id += 1
    fact = fact.numbered(overlay.last_id, by.job)
    job = state_machine.advance(None, fact, overlay.batch.now)
    given = job, fact.digest, overlay.batch.now, by
    if fact.place is None and fact.unique is None and job.expires_at is None:
        overlay.write(Kind.NEW_JOB, row_of_new(*given))
    else:
        overlay.write(Kind.NEW_TIED_JOB, row_of_new_tied(*given))
    overlay.jobs[job.id] = job
    overlay.changed.append(job)
    overlay.move(None, job)
    if job.expires_at is not None:
        overlay.expire_at(job.expires_at)
    if fact.unique is not None:
        uniques.take(fact, job.id, by, overlay)
    _tell(None, fact, job, overlay)
    return job


def _check_room(queue: str, overlay: Overlay) -> None:
    """Raises QueueFullError where no other job may be pending in the queue."""
    limit = overlay.batch.max_pending.get(queue)
    if limit is not None and overlay.waiting_in(queue) >= limit:
        raise QueueFullError(queue=queue, limit=limit)


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


# Facts


def _retry(job_id: int, fact: RetryRequested, overlay: Overlay) -> Job:
    """The job after that; what has kept it has to be retried before it, if not `anyway`. Raises BehindFailedError, and
    DuplicateError where another has its unique key by now.
    """
    job = overlay.job(job_id)
    is_forgiven = job_id in overlay.forgiven or job_id in overlay.batch.forgiven
    failed = [] if is_forgiven else overlay.batch.failed_edges.get(job_id, [])
    if fact.anyway:
        return _retry_anyway(job, failed, fact, overlay)
    if job.failed_before == 0 or not failed:
        return _run_again(job_id, fact, overlay)
    if any(not _is_retried(node, overlay) for node in failed):
        raise BehindFailedError(id=job_id, before=job.cancelled_after or str(failed[0]))
    uniques.check_own(job, overlay)
    overlay.reviving.add(job_id)
    return job if job.cancelled_after is not None else _retry_behind(job, failed, fact, overlay)


def _retry_behind(job: Job, failed: Sequence[Node], fact: RetryRequested, overlay: Overlay) -> Job:
    """The same of a job that a person had cancelled: it waits again for these, which are to run again, too."""
    for node in failed:
        overlay.write(Kind.MOVED_EDGE, edge_row(job.id, node, Standing.OPEN))
        moved = PredecessorMoved(node, Standing.FAILED, Standing.OPEN, Fate.UNFINISHED)
        apply_fact(job.id, moved, overlay)
    return _run_again(job.id, fact, overlay)


def _retry_anyway(job: Job, failed: Sequence[Node], fact: RetryRequested, overlay: Overlay) -> Job:
    """What it comes after, and ended badly, counts as met: a value of that is null."""
    after = _run_again(job.id, replace(fact, forgiven=len(failed)), overlay)
    if failed:
        overlay.write(Kind.FORGIVEN_EDGES, {"job_id": job.id})
        overlay.forgiven.add(job.id)
    for node in failed:
        if mentions(after.takes, node):
            after = take_values(after, node, MISSING, overlay)
    return after


def take_values(job: Job, node: Node, result: Result, overlay: Overlay) -> Job:
    """The job with what it takes of this node."""
    values = taken(job.takes or "{}", node, result, job.call.parameters, overlay.batch.max_parameters)
    return apply_fact(job.id, ValuesTaken(*values), overlay)


def _run_again(job_id: int, fact: RetryRequested, overlay: Overlay) -> Job:
    after = apply_fact(job_id, fact, overlay)
    uniques.take_again(after, overlay)
    return after


def _is_retried(node: Node, overlay: Overlay) -> bool:
    """Whether it is to run again by now, or will once what it comes after itself does."""
    job = overlay.try_job(node.id) if node.of is Of.JOB else None
    is_reviving = node.id in overlay.reviving or node.id in overlay.batch.reviving
    return job is not None and (not job.status.is_final or is_reviving)


def expire(job_ids: Sequence[int], batch: Batch) -> None:
    """End these jobs, whose time is up."""
    overlay = Overlay.over(batch)
    for job_id in job_ids:
        apply_fact(job_id, Expired(), overlay)
    batch.take_in(overlay)


def apply_fact(job_id: int, fact: Fact, overlay: Overlay) -> Job:
    """The job after the fact, and all that follows from that. Raises InvalidStateError."""
    before = overlay.job(job_id)
    if isinstance(fact, CancelRequested | RetryRequested) and not state_machine.is_allowed(before, fact):
        raise InvalidStateError(id=job_id, status=before.status)
    fact = _backed_off(job_id, fact, overlay.batch)
    after = _advance(before, fact, overlay)
    if isinstance(fact, AttemptStarted):
        overlay.write(Kind.STARTED_ATTEMPT, started_row(job_id, fact))
    elif isinstance(fact, AttemptEnded):
        overlay.write(Kind.ENDED_ATTEMPT, ended_row(job_id, fact))
        overlay.attempts.append(_ended(before, fact, after, overlay.batch.now))
    if before.unique_key is not None:
        uniques.release(before, fact, after, overlay)
    if after.status.is_final:
        if not before.status.is_final:
            overlay.ended.append(after)
    elif isinstance(fact, CancelRequested):
        overlay.stops.append(after)
    return after


def _is_to_back_off(fact: Fact) -> bool:
    """Whether an attempt could not start, and nobody says how long the next one is to wait."""
    if not isinstance(fact, AttemptEnded) or fact.ending.outcome is not Outcome.NOT_STARTED:
        return False
    return fact.ending.delay is None and fact.ending.crash is None


def _backed_off(job_id: int, fact: Fact, batch: Batch) -> Fact:
    """The fact as it came; where its attempt is to back off, with a longer delay the more have come before it."""
    if not isinstance(fact, AttemptEnded) or not _is_to_back_off(fact):
        return fact
    in_a_row = fact.number - batch.last_begun.get(job_id, 0)
    return replace(fact, ending=replace(fact.ending, delay=delay_before_start(in_a_row, batch.jitter())))


def _advance(before: Job, fact: Fact, overlay: Overlay) -> Job:
    batch = overlay.batch
    changed = state_machine.advance(before, fact, batch.now, batch.jitter())
    is_changed = changed != before
    after = changed if is_changed else before
    if is_changed:
        overlay.write(Kind.CHANGED_JOB, changes_of(after, batch.now) | {"expected": before.status})
        if isinstance(fact, _OF_TIES):
            overlay.write(Kind.TIED_JOB, ties_of(after))
            if before.status.is_final and not after.status.is_final:
                overlay.expire_at(after.expires_at)
        overlay.jobs[after.id] = after
        if after.status is not before.status or _is_elsewhere(before, after):
            overlay.move(before, after)
    if is_changed or isinstance(fact, AttemptStarted):  # whose change is the attempt's
        overlay.changed.append(after)
    _tell(before, fact, after, overlay)
    return after


def _is_elsewhere(before: Job, after: Job) -> bool:
    """Whether it is counted in another place, though its status is the same."""
    return after.queue != before.queue or after.is_blocked != before.is_blocked


_OF_TIES: Final = (PredecessorMoved, PredecessorDeleted, ValuesTaken, RetryRequested)
"""What changes a job's ties, and nothing else does."""


def _tell(before: Job | None, fact: Fact, after: Job, overlay: Overlay) -> None:
    running = before if before is not None and before.status is Status.RUNNING else after
    for entry in entries(before, fact, after):
        context = snapshot(after) if entry.with_job else None
        line = entry.type, entry.message, context, entry.is_passing
        _log(overlay, running, after.attempt or None, overlay.batch.now, *line)


def _log(
    overlay: Overlay,
    job: Job,
    attempt: int | None,
    at: float,
    type: EntryType,
    message: str,
    context: str | None = None,
    is_passing: bool = False,
) -> None:
    """Tell of the job, and of how many attempts it is to have as long as it has one that runs."""
    allowed = job.attempts_allowed if attempt is not None and job.status is Status.RUNNING else None
    call, text = job.call, _storable(message)
    overlay.entries.append(
        (at, type, text, job.id, attempt, call.class_name, call.method_name, context, allowed, is_passing)
    )


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold replaced: one bad message would cost its neighbours the transaction."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _ended(before: Job, fact: AttemptEnded, after: Job, now: float) -> EndedAttempt:
    ended_at = min(fact.at, now)  # a job may have written its journal by itself
    started_at = ended_at if before.started_at is None else before.started_at
    return EndedAttempt(
        before.call.class_name,
        fact.ending.outcome,
        max(0.0, ended_at - started_at),  # the clock may have been set back
        is_retried=after.retry_count > before.retry_count,
    )


def _waited(job: Job, now: float) -> float:
    """For how many seconds a pending job was due: since it was submitted, put back, or its time had come."""
    return max(0.0, now - max(job.updated_at, job.scheduled_at or 0.0))


# What attempts tell of themselves


def _record_notes(item: AttemptNotes, overlay: Overlay) -> None:
    job, key, now = overlay.job(item.job_id), (item.job_id, item.number), overlay.batch.now
    noted = overlay.noted_of(key)
    if noted is None:
        raise ValueError(f"job {item.job_id} has no attempt {item.number} that could tell anything")
    notes = [_held(note, now) for note in item.notes[max(0, noted - item.first) :]]
    if not notes:
        return
    for note in notes:
        _log(overlay, job, item.number, note.at, note.type, _message_of(note))
    progress = _latest_progress(notes)
    overlay.noted[key] = item.first + len(item.notes)
    overlay.write(Kind.NOTED_ATTEMPT, noted_row(key, overlay.noted[key], progress))
    if progress is not None:
        after = replace(job, progress=progress) if item.number == job.attempt else job
        overlay.jobs[job.id] = after
        overlay.changed.append(after)


def _held(note: Note, now: float) -> Note:
    """The note as it can be stored: a job may have written its journal by itself."""
    at = note.at if note.at == note.at else now
    fraction = note.progress
    if fraction is not None:
        fraction = float(min(max(fraction, 0.0), 1.0)) if fraction == fraction else 0.0
    return Note(held(at), note.type, _storable(note.message), fraction)


def _message_of(note: Note) -> str:
    return note.message if note.progress is None else progress_message(note.progress, note.message)


def _latest_progress(notes: Sequence[Note]) -> str | None:
    """The latest that the notes tell of how far the attempt is, as JSON text."""
    with_progress = [note for note in notes if note.progress is not None]
    return to_json(progress_of(with_progress[-1])) if with_progress else None
