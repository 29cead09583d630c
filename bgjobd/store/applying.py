"""What a fact makes of a job that is stored, a change and a retry with its causes too, and the rows that this comes to;
no SQL.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from bgjob.errors import (
    BehindFailedError,
    InvalidParameterError,
    InvalidStateError,
    PermissionDeniedError,
)
from bgjob.results import MISSING, Result
from bgjob.words import MOST_STEP_BYTES, MOST_STEPS, Outcome, Status, Throttle
from bgjobd.core import state_machine
from bgjobd.core.edges import Fate, Node, Of, Standing
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    Changed,
    Expired,
    Fact,
    PredecessorDeleted,
    PredecessorMoved,
    Replaced,
    RetryRequested,
    SignalSent,
    StepSettled,
    ValuesTaken,
)
from bgjobd.core.fingerprint import try_error
from bgjobd.core.job import Carried, Ending, Job, Usage
from bgjobd.core.quarantine import ClassEnd, says
from bgjobd.core.rates import scope_of_class, scope_of_key
from bgjobd.core.retry import delay_before_start
from bgjobd.core.taking import mentions, taken
from bgjobd.core.waiting import Wait, WaitKind
from bgjobd.store import hooks, noting, uniques
from bgjobd.store.batch import Batch, Met, Overlay
from bgjobd.store.committed import EndedAttempt, Ran
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobsChanged
from bgjobd.store.rows import (
    carried_row,
    changes_of,
    edge_row,
    ended_row,
    moved_wait_row,
    reviewed_row,
    started_row,
    terms_of,
    ties_of,
    wait_row,
)
from bgjobd.store.written import Kind


def apply_fact(job_id: int, fact: Fact, overlay: Overlay) -> Job:
    """The job after the fact, and all that follows from that. Raises InvalidStateError."""
    before = overlay.job(job_id)
    if isinstance(fact, _ASKED_FOR) and not state_machine.is_allowed(before, fact):
        raise InvalidStateError(id=job_id, status=before.status)
    fact = _with_steps(before, _backed_off(job_id, fact, overlay.batch), overlay)
    after = advance(before, fact, overlay)
    if isinstance(fact, AttemptStarted):
        overlay.write(Kind.STARTED_ATTEMPT, started_row(job_id, fact))
        if before.carried is not None:
            overlay.codes[job_id, fact.number] = fact.code_version
    elif isinstance(fact, AttemptEnded):
        overlay.write(Kind.ENDED_ATTEMPT, ended_row(job_id, fact))
        overlay.attempts.append(_ended(before, fact, after, overlay.batch.now))
        if fact.ending.crash is not None or overlay.batch.counts_ends:
            overlay.class_ends += (_of_class(before, fact),)
        if fact.ending.outcome is not Outcome.COMPLETED:
            _meet_error(before, fact, after, overlay)
        if fact.ending.wait is not None and after.status is Status.PENDING:
            after = _open_wait(after, fact, fact.ending.wait, overlay)
        if fact.ending.throttles is not None and after.status is Status.PENDING:
            _hold_others(after, fact.ending.throttles, overlay)
    if before.unique_key is not None:
        uniques.release(before, fact, after, overlay)
    if after.status.is_final:
        if not before.status.is_final:
            overlay.ended.append(after)
            if after.carried is not None and after.carried.waiting_on is not None:
                after = _drop_wait(after, after.carried, overlay)
    elif isinstance(fact, CancelRequested):
        overlay.stops.append(after)
    return after


_ASKED_FOR: Final = (CancelRequested, RetryRequested, Changed)
"""What a caller is told that it cannot be."""


def _meet_error(before: Job, fact: AttemptEnded, after: Job, overlay: Overlay) -> None:
    """Note which error has ended the attempt, if it was one, and who calls the hook of a job that has failed by it."""
    has_failed = after.status is Status.FAILED
    error = try_error(fact.ending, before.call, has_failed)
    is_over = has_failed and not after.is_for_review
    if is_over:
        hooks.owe(after, overlay)
    if error is not None:
        overlay.errors.append(Met(error, before.class_name, before.id, fact.number, is_over))


def _of_class(job: Job, fact: AttemptEnded) -> ClassEnd:
    ending = fact.ending
    told = says(ending, job.crashes)
    return ClassEnd(job.class_name, job.id, fact.number, ending.outcome, told, crash=ending.crash or "")


def _open_wait(job: Job, fact: AttemptEnded, wait: Wait, overlay: Overlay) -> Job:
    """Keep what the job waits for; a signal that is there already wakes it at once."""
    overlay.write(Kind.OPENED_WAIT, wait_row(job, fact.number, wait, overlay.batch.now))
    if job.carried is not None:
        overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, job.carried))
    if wait.kind is not WaitKind.SIGNAL:
        return job
    is_there = any(one.name == wait.name and one.is_untaken for one in overlay.signals_of(job.id))
    return apply_fact(job.id, SignalSent(wait.name), overlay) if is_there else job


def _drop_wait(job: Job, carried: Carried, overlay: Overlay) -> Job:
    """The job, which has ended, waits for nothing any more."""
    after = job.changed(carried=carried._replace(waiting_on=None))
    overlay.jobs[job.id] = after
    overlay.write(Kind.DROPPED_WAIT, {"job_id": job.id})
    overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, after.carried or Carried()))
    return after


def _hold_others(job: Job, whom: Throttle, overlay: Overlay) -> None:
    """Have no other of its class, or key, start before the job does, which another side has told to come later."""
    until = job.scheduled_at
    if whom is Throttle.CLASS:
        scope = scope_of_class(job.class_name)
    elif whom is Throttle.KEY and job.key is not None:
        scope = scope_of_key(job.queue, job.key)
        overlay.touched.add((job.queue, job.key))
    else:
        return
    if until is not None:
        overlay.holds.append((scope, until))
        overlay.write(Kind.HELD_SCOPE, {"scope": scope, "held_until": until, "held_by": job.id})


def take_values(job: Job, node: Node, result: Result, overlay: Overlay) -> Job:
    """The job with what it takes of this node."""
    values = taken(job.takes or "{}", node, result, job.call.parameters, overlay.batch.max_parameters)
    return apply_fact(job.id, ValuesTaken(*values), overlay)


def expire(job_ids: Sequence[int], batch: Batch) -> None:
    """End these jobs, whose time is up."""
    overlay = Overlay(batch)
    for job_id in job_ids:
        apply_fact(job_id, Expired(), overlay)
    batch.take_in(overlay)


def advance(before: Job, fact: Fact, overlay: Overlay) -> Job:
    """The job after the fact, its rows and what is told of it; what the fact means to others is left to the caller."""
    batch = overlay.batch
    changed = state_machine.advance(before, fact, batch.now, batch.jitter())
    is_changed = changed != before
    after = overlay.at_gate(before, changed) if is_changed else before
    if is_changed:
        overlay.write(Kind.CHANGED_JOB, changes_of(after, batch.now) | {"expected": before.status})
        if isinstance(fact, _OF_TIES):
            overlay.write(Kind.TIED_JOB, ties_of(after))
            if before.status.is_final and not after.status.is_final:
                overlay.expire_at(after.expires_at)
        if isinstance(fact, _OF_TERMS):
            overlay.write(Kind.CHANGED_TERMS, terms_of(after))
            overlay.expire_at(after.expires_at)
            if before.is_waiting and after.scheduled_at != before.scheduled_at:
                overlay.write(Kind.MOVED_WAIT, moved_wait_row(after))
        if after.review_since != before.review_since:
            overlay.write(Kind.REVIEWED_JOB, reviewed_row(after, fact, batch.now))
        if isinstance(fact, RetryRequested | StepSettled) and after.carried is not None:
            overlay.write(Kind.COUNTED_STEPS, carried_row(after.id, after.carried))
            if isinstance(fact, RetryRequested) and fact.from_start:
                _forget(after.id, overlay)
        overlay.jobs[after.id] = after
        if after.status is not before.status or _is_elsewhere(before, after):
            overlay.move(before, after)
    if is_changed or isinstance(fact, AttemptStarted):  # whose change is the attempt's
        overlay.changed.append(after)
    noting.tell(before, fact, after, overlay)
    return after


def _forget(job_id: int, overlay: Overlay) -> None:
    """Have nothing left of what the job did: what it was told is there to be taken anew."""
    overlay.steps[job_id] = {}
    for kind in (Kind.FORGOTTEN_STEPS, Kind.FORGOTTEN_STATE, Kind.FREED_SIGNALS):
        overlay.write(kind, {"job_id": job_id})


_OF_TIES: Final = (PredecessorMoved, PredecessorDeleted, ValuesTaken, RetryRequested)
"""What changes a job's ties, and nothing else does."""

_OF_TERMS: Final = (Replaced, Changed, RetryRequested, StepSettled)
"""The same of its terms."""


def _is_elsewhere(before: Job, after: Job) -> bool:
    """Whether it is counted in another place, though its status is the same."""
    return (
        after.queue != before.queue
        or after.is_blocked != before.is_blocked
        or after.is_behind != before.is_behind
        or after.is_waiting != before.is_waiting
        or after.is_for_review != before.is_for_review
    )


def is_to_back_off(fact: Fact) -> bool:
    """Whether an attempt could not start, and nobody says how long the next one is to wait."""
    if not isinstance(fact, AttemptEnded) or fact.ending.outcome is not Outcome.NOT_STARTED:
        return False
    return fact.ending.delay is None and fact.ending.crash is None


def _backed_off(job_id: int, fact: Fact, batch: Batch) -> Fact:
    """The fact as it came; where its attempt is to back off, with a longer delay the more have come before it."""
    if not isinstance(fact, AttemptEnded) or not is_to_back_off(fact):
        return fact
    in_a_row = fact.number - batch.last_begun.get(job_id, 0)
    return replace(fact, ending=replace(fact.ending, delay=delay_before_start(in_a_row, batch.jitter())))


def _with_steps(job: Job, fact: Fact, overlay: Overlay) -> Fact:
    """The fact, with that its attempt has got on where it ended badly all the same.

    One that waits for what it has waited for already has written its journal by itself: a wait has one outcome.
    """
    if not isinstance(fact, AttemptEnded) or fact.ending.outcome is Outcome.COMPLETED:
        return fact
    wait, carried = fact.ending.wait, job.carried or Carried()
    if wait is not None:
        known = overlay.steps_of(job.id).get((wait.kind, wait.name, wait.turn))
        is_full = carried.steps >= MOST_STEPS or (
            wait.kind is WaitKind.SIGNAL and carried.step_bytes > MOST_STEP_BYTES
        )
        if is_full or (known is not None and known.number is not None):
            ended = replace(_NO_WAIT, exit_code=fact.ending.exit_code, signal=fact.ending.signal)
            fact = replace(fact, ending=ended)
    return replace(fact, has_advanced=True) if overlay.has_advanced((job.id, fact.number)) else fact


_NO_WAIT: Final = Ending.failed(
    "StepError", "it waits for what is settled, or once too often, or has no room", may_retry=False
)


def _ended(before: Job, fact: AttemptEnded, after: Job, now: float) -> EndedAttempt:
    ended_at = min(fact.at, now)  # a job may have written its journal by itself
    started_at = ended_at if before.started_at is None else before.started_at
    usage = fact.usage or _NO_USAGE
    return EndedAttempt(
        before.call.class_name,
        fact.ending.outcome,
        max(0.0, ended_at - started_at),  # the clock may have been set back
        after.status is Status.PENDING and fact.ending.spends_retry,
        _ran(before, fact, fact.seconds),
        (before.id, fact.number),
        ended_at,
        after.status is Status.FAILED,
        usage.cpu_user + usage.cpu_system,
        usage.max_rss,
        fact.seconds,
    )


_NO_USAGE: Final = Usage()


def _ran(job: Job, fact: AttemptEnded, seconds: float | None) -> Ran | None:
    """Memory that the kernel has counted another way, as where it killed for that, is not known."""
    if seconds is None or fact.ending.outcome is not Outcome.COMPLETED:
        return None
    memory = None if fact.usage is None or fact.oom_kills else fact.usage.max_rss
    return Ran(job.call.class_name, job.call.method_name, job.id, fact.number, seconds, memory)


# Changes


def change_each(item: JobsChanged, overlay: Overlay) -> tuple[int, ...]:
    """The ids of those that are not as before. Raises JobNotFoundError, PermissionDeniedError, InvalidStateError,
    InvalidParameterError, QueueFullError.
    """
    changed = []
    for job_id in item.job_ids:
        before = overlay.job(job_id)
        _check_submitter(before, item.submitter, overlay)
        if _change(before, item.fact, overlay) != before:
            changed.append(job_id)
    return tuple(changed)


def _check_submitter(job: Job, by: Submitter, overlay: Overlay) -> None:
    """Of what came by the named pipe nobody is."""
    is_own = by.uid is not None and overlay.batch.submitters.get(job.id) == by.uid
    if not is_own and not by.may_manage:
        raise PermissionDeniedError(
            reason=f"job {job.id} is not of uid {by.uid}; who may manage may change it"
        )


def _change(before: Job, fact: Changed, overlay: Overlay) -> Job:
    if fact.queue not in (None, before.queue) and state_machine.is_allowed(before, fact):
        overlay.check_room(fact.queue)
        uid = overlay.batch.submitters.get(before.id)
        fact = replace(fact, key=overlay.batch.key_in(fact.queue, before.key, uid))
    after = apply_fact(before.id, fact, overlay)
    misfit = state_machine.try_misfit(before, after)
    if misfit is not None:
        raise InvalidParameterError(parameter=misfit)
    return after


# Retries


def retry(job_id: int, fact: RetryRequested, overlay: Overlay) -> Job:
    """The job after the retry; what has kept it has to be retried before it, if not `anyway`. Raises BehindFailedError,
    and DuplicateError where another has its unique key by now.
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
    if job.cancelled_after is None:
        return _retry_behind(job, failed, fact, overlay)
    return _from_start(job, overlay) if fact.from_start else job


def _retry_behind(job: Job, failed: Sequence[Node], fact: RetryRequested, overlay: Overlay) -> Job:
    """A job that a person had cancelled waits again for these, which are to run again, too."""
    for node in failed:
        overlay.write(Kind.MOVED_EDGE, edge_row(job.id, node, Standing.OPEN))
        moved = PredecessorMoved(node, Standing.FAILED, Standing.OPEN, Fate.UNFINISHED)
        apply_fact(job.id, moved, overlay)
    return _run_again(job.id, fact, overlay)


def _from_start(job: Job, overlay: Overlay) -> Job:
    """The job, which goes on as what it comes after does, without what it did."""
    after = job.changed(carried=(job.carried or Carried()).from_start())
    overlay.jobs[job.id] = after
    overlay.write(Kind.COUNTED_STEPS, carried_row(job.id, after.carried or Carried()))
    _forget(job.id, overlay)
    return after


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


def _run_again(job_id: int, fact: RetryRequested, overlay: Overlay) -> Job:
    after = apply_fact(job_id, fact, overlay)
    uniques.take_again(after, overlay)
    return after


def _is_retried(node: Node, overlay: Overlay) -> bool:
    """Whether it is to run again by now, or will once what it comes after itself does."""
    job = overlay.try_job(node.id) if node.of is Of.JOB else None
    is_reviving = node.id in overlay.reviving or node.id in overlay.batch.reviving
    return job is not None and (not job.status.is_final or is_reviving)
