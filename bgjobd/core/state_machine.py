"""The life of a job as one table: which happening leads from which status to which; no I/O, no clock.

`advance` is the only door. A fact is first classified as a happening, which depends on the job (retries left,
cancel wanted), then looked up; a pair that is not in the table is a bug of ours and raises IllegalFactError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from bgjob.words import EXPIRED, IfFailed, Outcome, Removable, Status
from bgjobd.core.edges import Fate, Place, fails_more, waits_more
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    Changed,
    ClockJumped,
    Expired,
    Fact,
    PredecessorDeleted,
    PredecessorMoved,
    Refused,
    Replaced,
    RetryRequested,
    Settled,
    SettledAsCompleted,
    SettledAsFailed,
    SignalSent,
    SlotGranted,
    StepSettled,
    Submitted,
    ValuesTaken,
)
from bgjobd.core.job import Carried, Ending, Job
from bgjobd.core.quarantine import sentence
from bgjobd.core.retry import (
    crashes_after,
    delay_before_retry,
    delay_before_start,
    has_retries_left,
    is_quarantined,
)
from bgjobd.core.waiting import WaitKind, moves_with_clock


class IllegalFactError(Exception):
    """A fact met a status that cannot see it: a bug, never a caller's fault."""

    def __init__(self, job: Job | None, fact: Fact) -> None:
        self.job, self.fact = job, fact
        where = "no job" if job is None else f"job {job.id} ({job.status}, attempt {job.attempt})"
        super().__init__(f"{where} cannot see {fact}")


class Happening(StrEnum):
    """What a fact means to the job that it met."""

    SUBMITTED = "submitted"
    PREDECESSOR_MOVED = "what it comes after ended"
    CANCELLED_FOR = "what it comes after failed"
    REVIVED = "what it comes after is to run again"
    VALUES_TAKEN = "results taken"
    SLOT_GRANTED = "slot granted"
    ATTEMPT_STARTED = "attempt started"
    ATTEMPT_COMPLETED = "attempt completed"
    RETRY_DUE = "attempt ended badly, retries left"
    GIVEN_UP = "attempt ended badly, none left"
    LEFT_UNKNOWN = "attempt ended, and nobody knows what it did"
    NOT_STARTED = "attempt not started"
    CRASHED = "start ended its fork server"
    QUARANTINED = "attempts in a row crashed"
    INTERRUPTED = "attempt ended by no doing of its own"
    SNOOZED = "attempt asked for a snooze"
    SUSPENDED = "attempt ended to wait"
    SIGNAL_SENT = "signal came"
    STOPPED = "attempt ended after cancel was requested"
    REPLACED = "replaced"
    CHANGED = "changed"
    EXPIRED = "not started in time"
    REFUSED = "refused"
    CANCEL_REQUESTED = "cancel requested"
    RETRY_REQUESTED = "retry requested"
    SETTLED_AS_COMPLETED = "settled as completed"
    SETTLED_AS_FAILED = "settled as failed"
    STEP_SETTLED = "step settled"
    CLOCK_JUMPED = "clock jumped"


TABLE: Final[Mapping[tuple[Status | None, Happening], Status]] = MappingProxyType(
    {
        (None, Happening.SUBMITTED): Status.PENDING,
        (Status.PENDING, Happening.PREDECESSOR_MOVED): Status.PENDING,
        (Status.PENDING, Happening.CANCELLED_FOR): Status.CANCELLED,
        (Status.PENDING, Happening.VALUES_TAKEN): Status.PENDING,
        (Status.PENDING, Happening.SLOT_GRANTED): Status.RUNNING,
        (Status.PENDING, Happening.CANCEL_REQUESTED): Status.CANCELLED,
        (Status.PENDING, Happening.REPLACED): Status.PENDING,
        (Status.PENDING, Happening.CHANGED): Status.PENDING,
        (Status.PENDING, Happening.EXPIRED): Status.CANCELLED,
        (Status.PENDING, Happening.REFUSED): Status.FAILED,
        (Status.PENDING, Happening.CLOCK_JUMPED): Status.PENDING,
        (Status.RUNNING, Happening.ATTEMPT_STARTED): Status.RUNNING,
        (Status.RUNNING, Happening.CANCEL_REQUESTED): Status.RUNNING,
        (Status.RUNNING, Happening.ATTEMPT_COMPLETED): Status.COMPLETED,
        (Status.RUNNING, Happening.RETRY_DUE): Status.PENDING,
        (Status.RUNNING, Happening.GIVEN_UP): Status.FAILED,
        (Status.RUNNING, Happening.LEFT_UNKNOWN): Status.FAILED,
        (Status.RUNNING, Happening.NOT_STARTED): Status.PENDING,
        (Status.RUNNING, Happening.CRASHED): Status.PENDING,
        (Status.RUNNING, Happening.QUARANTINED): Status.FAILED,
        (Status.RUNNING, Happening.INTERRUPTED): Status.PENDING,
        (Status.RUNNING, Happening.SNOOZED): Status.PENDING,
        (Status.RUNNING, Happening.SUSPENDED): Status.PENDING,
        (Status.PENDING, Happening.SIGNAL_SENT): Status.PENDING,
        (Status.RUNNING, Happening.STOPPED): Status.CANCELLED,
        (Status.FAILED, Happening.RETRY_REQUESTED): Status.PENDING,
        (Status.FAILED, Happening.SETTLED_AS_COMPLETED): Status.COMPLETED,
        (Status.FAILED, Happening.SETTLED_AS_FAILED): Status.FAILED,
        (Status.FAILED, Happening.STEP_SETTLED): Status.PENDING,
        (Status.CANCELLED, Happening.RETRY_REQUESTED): Status.PENDING,
        (Status.CANCELLED, Happening.PREDECESSOR_MOVED): Status.CANCELLED,
        (Status.CANCELLED, Happening.REVIVED): Status.PENDING,
        (Status.CANCELLED, Happening.VALUES_TAKEN): Status.CANCELLED,
        (Status.FAILED, Happening.VALUES_TAKEN): Status.FAILED,
    }
)


def advance(job: Job | None, fact: Fact, now: float, jitter: float = 1.0) -> Job:
    """The job after the fact. Raises IllegalFactError for a fact that its status cannot see."""
    if job is not None and isinstance(fact, AttemptStarted | AttemptEnded) and fact.number != job.attempt:
        raise IllegalFactError(job, fact)
    if job is not None and job.waits_for and isinstance(fact, SlotGranted):
        raise IllegalFactError(job, fact)
    if job is not None and isinstance(fact, Settled) and not job.is_for_review:
        raise IllegalFactError(job, fact)
    if job is not None and isinstance(fact, AttemptEnded) and fact.has_advanced:
        job = _set_back(job)
    happening = classify(job, fact)
    status = TABLE.get((job.status if job else None, happening))
    if status is None:
        raise IllegalFactError(job, fact)
    after = _CHANGES[happening](job, fact, status, now, jitter)
    if after.waits_for < 0 or after.failed_before < 0:
        raise IllegalFactError(job, fact)
    return after


def _set_back(job: Job) -> Job:
    """The job as it was submitted: so many are tried, and may crash, in a row without getting on."""
    count = 0 if job.carried is None else job.carried.retry_count_at_submit
    return job.changed(retry_count=count, crashes=0)


def is_allowed(job: Job, fact: CancelRequested | RetryRequested | Changed) -> bool:
    """Whether a caller may ask for this now; the answer to a caller is a refusal, not an error of ours."""
    return (job.status, classify(job, fact)) in TABLE


def try_misfit(before: Job, after: Job) -> str | None:
    """Which term of a changed job cannot be, by the socket's name of it; None where all can."""
    if after.policy != before.policy and after.policy.max_retries < after.retry_count:
        return "max_retries"
    if after.expires_at not in (None, before.expires_at) and after.started_at is not None:
        return "expires_at"  # it counts until the first slot
    is_moved = (after.scheduled_at, after.expires_at) != (before.scheduled_at, before.expires_at)
    if not is_moved or after.started_at is not None or not _starts_too_late(after):
        return None
    return "at" if after.scheduled_at != before.scheduled_at else "expires_at"


def _starts_too_late(job: Job) -> bool:
    if job.scheduled_at is None or job.expires_at is None:
        return False
    return job.scheduled_at >= job.expires_at


def classify(job: Job | None, fact: Fact) -> Happening:
    """What the fact means to this job."""
    match fact:
        case AttemptEnded(ending=ending) if job is not None:
            return _classify_end(job, ending)
        case PredecessorMoved() | PredecessorDeleted() if job is not None:
            return _classify_move(job, fact)
        case _:
            return _SIMPLE[type(fact)]


_SIMPLE: Final[Mapping[type[Fact], Happening]] = MappingProxyType(
    {
        Submitted: Happening.SUBMITTED,
        PredecessorMoved: Happening.PREDECESSOR_MOVED,  # without a job, as the next; the table has no cells for them
        PredecessorDeleted: Happening.PREDECESSOR_MOVED,
        ValuesTaken: Happening.VALUES_TAKEN,
        Replaced: Happening.REPLACED,
        Changed: Happening.CHANGED,
        Expired: Happening.EXPIRED,
        Refused: Happening.REFUSED,
        SignalSent: Happening.SIGNAL_SENT,
        SlotGranted: Happening.SLOT_GRANTED,
        AttemptStarted: Happening.ATTEMPT_STARTED,
        AttemptEnded: Happening.GIVEN_UP,  # without a job; the table has no cell for it
        CancelRequested: Happening.CANCEL_REQUESTED,
        RetryRequested: Happening.RETRY_REQUESTED,
        SettledAsCompleted: Happening.SETTLED_AS_COMPLETED,
        SettledAsFailed: Happening.SETTLED_AS_FAILED,
        StepSettled: Happening.STEP_SETTLED,
        ClockJumped: Happening.CLOCK_JUMPED,
    }
)


def _classify_end(job: Job, ending: Ending) -> Happening:
    if ending.outcome is Outcome.COMPLETED:
        return Happening.ATTEMPT_COMPLETED
    if job.cancel_requested_at is not None:
        return Happening.STOPPED
    if is_quarantined(job, ending):
        return Happening.LEFT_UNKNOWN if ending.for_review else Happening.QUARANTINED
    if ending.outcome is Outcome.NOT_STARTED:
        return Happening.NOT_STARTED if ending.crash is None else Happening.CRASHED
    if ending.outcome is Outcome.SNOOZED:
        return Happening.SNOOZED
    if ending.outcome is Outcome.SUSPENDED:
        return Happening.SUSPENDED
    if ending.may_retry and not ending.spends_retry and job.policy.max_retries > 0:
        # Not for whom no retry was asked at all: one attempt begins, and no more.
        return Happening.INTERRUPTED
    if ending.may_retry and has_retries_left(job.policy, job.retry_count):
        return Happening.RETRY_DUE
    return Happening.LEFT_UNKNOWN if ending.for_review else Happening.GIVEN_UP


def _classify_move(job: Job, fact: PredecessorMoved | PredecessorDeleted) -> Happening:
    fails = _failed_before(job, fact)
    if fails and job.status is Status.PENDING:
        return Happening.CANCELLED_FOR
    if not fails and job.status is Status.CANCELLED and job.cancelled_after is not None:
        is_kept = isinstance(fact, PredecessorMoved) and fact.kept_by is not None
        return Happening.PREDECESSOR_MOVED if is_kept else Happening.REVIVED
    return Happening.PREDECESSOR_MOVED


def _failed_before(job: Job, fact: PredecessorMoved | PredecessorDeleted) -> int:
    """For how many of its edges the job is cancelled, or would be, after the fact."""
    if isinstance(fact, PredecessorDeleted):
        return fact.failed
    return job.failed_before + fails_more(fact.before, fact.after, job.if_failed or IfFailed.CANCEL)


def _submitted(_: Job | None, fact: Submitted, status: Status, now: float, jitter: float) -> Job:
    place = fact.place or _NOWHERE
    return Job(
        id=fact.id,
        call=fact.call,
        status=status,
        retry_count=fact.retry_count,
        policy=fact.policy,
        queue=fact.queue,
        priority=fact.priority,
        timeout=fact.timeout,
        created_at=now,
        updated_at=now,
        scheduled_at=fact.scheduled_at,
        idempotency_key=fact.idempotency_key,
        schedule=fact.schedule,
        occurrence=fact.occurrence,
        waits_for=place.waits_for,
        if_failed=place.if_failed,
        group_id=place.group_id,
        takes=place.takes,
        expires_at=fact.expires_at
        if fact.expires_in is None
        else (fact.scheduled_at or now) + fact.expires_in,
        unique_key=None if fact.unique is None else fact.unique.key,
        unique_while=None if fact.unique is None else fact.unique.holds_while,
        key=fact.key,
        carried=_carried_at_submit(fact),
        again_of=None if fact.again is None else fact.again.of,
        host_wanted=fact.host,
        traceparent=fact.traceparent,
        labels=fact.labels,
    )


def _carried_at_submit(fact: Submitted) -> Carried | None:
    if not fact.retry_count and fact.again is None:
        return None
    carried = Carried(retry_count_at_submit=fact.retry_count)
    if fact.again is not None:
        carried = carried._replace(steps=fact.again.steps, step_bytes=fact.again.step_bytes)
    return carried if any(carried) else None


_NOWHERE: Final = Place()


def _predecessor_moved(
    job: Job, fact: PredecessorMoved | PredecessorDeleted, status: Status, now: float, jitter: float
) -> Job:
    after = _changed(job, now, **_counts(job, fact))
    if isinstance(fact, PredecessorDeleted) or fact.kept_by is None:
        return after
    return after.changed(cancelled_after=None, error=STAYS_FOR_KEY.replace("*", str(fact.kept_by)))


HAS_KEY: Final = "has its unique key"
STAYS_FOR_KEY: Final = f"cancelled: job * {HAS_KEY}"
"""What the error of a job is that stays cancelled, for another has taken its key meanwhile; as a pattern of GLOB."""


def stays_for_key(job: Job) -> bool:
    """Whether it stays cancelled for that."""
    before, behind = STAYS_FOR_KEY.split("*")
    return job.error is not None and job.error.startswith(before) and job.error.endswith(behind)


def _counts(job: Job, fact: PredecessorMoved | PredecessorDeleted) -> dict[str, Any]:
    """What the job counts of its edges after the fact; for what is deleted it waits no more than for what failed."""
    counts: dict[str, Any] = {"failed_before": _failed_before(job, fact)}
    if isinstance(fact, PredecessorDeleted):
        return counts | {"if_failed": IfFailed.CANCEL}
    return counts | {"waits_for": job.waits_for + waits_more(fact.before, fact.after)}


def _cancelled_for(
    job: Job, fact: PredecessorMoved | PredecessorDeleted, status: Status, now: float, jitter: float
) -> Job:
    return _changed(
        job,
        now,
        status=status,
        finished_at=now,
        cancelled_after=str(fact.node),
        error=f"cancelled: {why_cancelled(fact)}",
        **_counts(job, fact),
    )


def why_cancelled(fact: PredecessorMoved | PredecessorDeleted) -> str:
    """In words why a job that comes after this cannot have its turn."""
    fate = Fate.DELETED if isinstance(fact, PredecessorDeleted) else fact.fate
    return f"{fact.node.named}, which it came after, {_HOW[fate]}"


_HOW: Final[Mapping[Fate, str]] = MappingProxyType(
    {
        Fate.FAILED: "failed",
        Fate.CANCELLED: "was cancelled",
        Fate.DELETED: "failed, and is deleted",
    }
)


def _revived(job: Job, fact: PredecessorMoved, status: Status, now: float, jitter: float) -> Job:
    counts = _counts(job, fact)
    return _changed(job, now, status=status, finished_at=None, cancelled_after=None, error=None, **counts)


def _values_taken(job: Job, fact: ValuesTaken, status: Status, now: float, jitter: float) -> Job:
    return _changed(job, now, call=replace(job.call, parameters=fact.parameters), takes=fact.takes)


def _changed(job: Job, now: float, **changes: Any) -> Job:
    return job.changed(updated_at=now, **changes)


def _ended(job: Job, fact: AttemptEnded, now: float, **changes: Any) -> Job:
    return _changed(job, now, outcome=fact.ending.outcome, **changes)


def _slot_granted(job: Job, fact: SlotGranted, status: Status, now: float, jitter: float) -> Job:
    return _changed(
        job, now, status=status, attempt=job.attempt + 1, started_at=now, progress=None, outcome=None
    )


def _attempt_started(job: Job, fact: AttemptStarted, status: Status, now: float, jitter: float) -> Job:
    return job


def _completed(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    return _ended(
        job, fact, now, status=status, finished_at=fact.at, result=fact.ending.result, error=None, crashes=0
    )


def _retry_due(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    asked = fact.ending.delay
    delay = asked if asked is not None else delay_before_retry(job.policy, job.retry_count, jitter)
    return _ended(
        job,
        fact,
        now,
        status=status,
        retry_count=job.retry_count + 1,
        scheduled_at=now + delay,
        error=fact.ending.error,
        crashes=crashes_after(job, fact.ending),
    )


def _given_up(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    crashes = crashes_after(job, fact.ending)
    return _ended(
        job, fact, now, status=status, finished_at=fact.at, error=fact.ending.error, crashes=crashes
    )


def _left_unknown(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    end = _quarantined if is_quarantined(job, fact.ending) else _given_up
    return end(job, fact, status, now, jitter).changed(review_since=fact.at)


def _put_back(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    asked = fact.ending.delay
    crashes = crashes_after(job, fact.ending)
    delay = asked if asked is not None else delay_before_start(max(1, crashes), jitter)
    return _ended(job, fact, now, status=status, scheduled_at=now + delay, crashes=crashes)


def _suspended(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    """One without a time that waits for none else goes on at once: a job may have written its journal by itself."""
    ending, wait = fact.ending, fact.ending.wait
    until = ending.until if ending.delay is None else now + ending.delay
    return _ended(
        job,
        fact,
        now,
        status=status,
        scheduled_at=until,
        crashes=0,
        carried=(job.carried or Carried())._replace(waiting_on=str(wait)),
        is_waiting=until is not None or (wait is not None and wait.kind is WaitKind.SIGNAL),
    )


def _signal_sent(job: Job, fact: SignalSent, status: Status, now: float, jitter: float) -> Job:
    return _changed(job, now, scheduled_at=None, is_waiting=False)


def _quarantined(job: Job, fact: AttemptEnded, status: Status, now: float, jitter: float) -> Job:
    crashes = crashes_after(job, fact.ending)
    error = sentence(fact.ending.outcome, fact.ending.crash or "", crashes)
    return _ended(job, fact, now, status=status, finished_at=fact.at, error=error, crashes=crashes)


def _cancel_requested(job: Job, fact: CancelRequested, status: Status, now: float, jitter: float) -> Job:
    wanted_at = job.cancel_requested_at if job.cancel_requested_at is not None else now
    finished_at = now if status.is_final else None
    changes: dict[str, Any] = {"cancel_requested_at": wanted_at, "finished_at": finished_at}
    return _changed(job, now, status=status, is_waiting=False, **changes)


def _replaced(job: Job, fact: Replaced, status: Status, now: float, jitter: float) -> Job:
    by = fact.by
    return _changed(
        job,
        now,
        call=by.call,
        retry_count=by.retry_count,
        policy=by.policy,
        queue=by.queue,
        priority=by.priority,
        timeout=by.timeout,
        scheduled_at=fact.scheduled_at,
        expires_at=by.expires_at,
        unique_while=None if by.unique is None else by.unique.holds_while,
        key=by.key,
        host_wanted=by.host,
        traceparent=by.traceparent,
        labels=by.labels,
        carried=_carried_at_submit(by),
    )


def _terms_changed(job: Job, fact: Changed, status: Status, now: float, jitter: float) -> Job:
    given = {
        "priority": fact.priority,
        "queue": fact.queue,
        "scheduled_at": fact.scheduled_at,
        "expires_at": fact.expires_at,
        "timeout": fact.timeout,
        "key": fact.key,
        "policy": None if fact.max_retries is None else replace(job.policy, max_retries=fact.max_retries),
    }
    new: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    new |= {_REMOVED[one]: None for one in fact.without}
    if Removable.AT in fact.without and job.is_waiting and not job.waits_for_signal:
        new["is_waiting"] = False  # nothing else would wake it
    return _changed(job, now, **new)


_REMOVED: Final[Mapping[Removable, str]] = MappingProxyType(
    {Removable.AT: "scheduled_at", Removable.EXPIRES_AT: "expires_at", Removable.TIMEOUT: "timeout"}
)


def _expired(job: Job, fact: Expired, status: Status, now: float, jitter: float) -> Job:
    by = "?" if job.expires_at is None else datetime.fromtimestamp(job.expires_at, UTC).strftime(_INSTANT)
    return _changed(job, now, status=status, finished_at=now, error=f"{EXPIRED}: not started by {by}")


def _refused(job: Job, fact: Refused, status: Status, now: float, jitter: float) -> Job:
    return _changed(job, now, status=status, finished_at=now, error=f"refused: {fact.reason}")


_INSTANT: Final = "%Y-%m-%dT%H:%M:%S.%fZ"


def _retry_requested(job: Job, fact: RetryRequested, status: Status, now: float, jitter: float) -> Job:
    return _changed(
        job,
        now,
        status=status,
        retry_count=0,
        scheduled_at=fact.at,
        finished_at=None,
        cancel_requested_at=None,
        error=None,
        crashes=0,
        waits_for=job.waits_for - fact.forgiven,
        failed_before=0,
        cancelled_after=None,
        expires_at=None,
        carried=_carried_by_retry(job, fact),
        review_since=None,
    )


def _carried_by_retry(job: Job, fact: RetryRequested) -> Carried | None:
    if fact.from_start:
        return (job.carried or Carried()).from_start()
    return None if job.carried is None else job.carried._replace(retry_count_at_submit=0)


def _settled_as_completed(
    job: Job, fact: SettledAsCompleted, status: Status, now: float, jitter: float
) -> Job:
    return _changed(
        job, now, status=status, finished_at=now, result=fact.result, error=None, review_since=None
    )


def _settled_as_failed(job: Job, fact: SettledAsFailed, status: Status, now: float, jitter: float) -> Job:
    error = job.error if fact.why is None else fact.why
    return _changed(job, now, status=status, finished_at=now, error=error, review_since=None)


def _step_settled(job: Job, fact: StepSettled, status: Status, now: float, jitter: float) -> Job:
    return _retry_requested(job, RetryRequested(), status, now, jitter)


def _clock_jumped(job: Job, fact: ClockJumped, status: Status, now: float, jitter: float) -> Job:
    if not job.is_waiting_for_retry or job.scheduled_at is None:
        return job
    if job.carried is not None and not moves_with_clock(job.carried.waiting_on):
        return job
    return _changed(job, now, scheduled_at=job.scheduled_at + fact.delta)


# Job and fact have the types that their happening implies; classify and TABLE see to it.
_CHANGES: Final[Mapping[Happening, Callable[[Any, Any, Status, float, float], Job]]] = MappingProxyType(
    {
        Happening.SUBMITTED: _submitted,
        Happening.SLOT_GRANTED: _slot_granted,
        Happening.ATTEMPT_STARTED: _attempt_started,
        Happening.ATTEMPT_COMPLETED: _completed,
        Happening.RETRY_DUE: _retry_due,
        Happening.GIVEN_UP: _given_up,
        Happening.LEFT_UNKNOWN: _left_unknown,
        Happening.NOT_STARTED: _put_back,
        Happening.CRASHED: _put_back,
        Happening.QUARANTINED: _quarantined,
        Happening.INTERRUPTED: _put_back,
        Happening.SNOOZED: _put_back,
        Happening.SUSPENDED: _suspended,
        Happening.SIGNAL_SENT: _signal_sent,
        Happening.STOPPED: _given_up,
        Happening.PREDECESSOR_MOVED: _predecessor_moved,
        Happening.CANCELLED_FOR: _cancelled_for,
        Happening.REVIVED: _revived,
        Happening.VALUES_TAKEN: _values_taken,
        Happening.REPLACED: _replaced,
        Happening.CHANGED: _terms_changed,
        Happening.EXPIRED: _expired,
        Happening.REFUSED: _refused,
        Happening.CANCEL_REQUESTED: _cancel_requested,
        Happening.RETRY_REQUESTED: _retry_requested,
        Happening.SETTLED_AS_COMPLETED: _settled_as_completed,
        Happening.SETTLED_AS_FAILED: _settled_as_failed,
        Happening.STEP_SETTLED: _step_settled,
        Happening.CLOCK_JUMPED: _clock_jumped,
    }
)


def diagram() -> str:
    """The table as a Mermaid state diagram; docs/guarantees.md shows it, a test holds the two together."""
    names: dict[Status | None, str] = {None: "[*]"}
    lines = ["stateDiagram-v2"]
    lines += [
        f"    {names.get(before, before)} --> {after}: {happening}"
        for (before, happening), after in TABLE.items()
        if before != after
    ]
    lines.append(f"    {Status.COMPLETED} --> [*]")
    return "\n".join(lines) + "\n"
