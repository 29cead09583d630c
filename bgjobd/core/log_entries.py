"""What the log says of each fact, and of occurrences that became no job, in sentences: pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from bgjob.log_words import AT_PROGRESS, DISPATCHED, INITIATED, STARTED
from bgjob.words import EntryType, Outcome, Throttle
from bgjobd.core.edges import Fate, Group
from bgjobd.core.facts import (
    Again,
    AttemptEnded,
    Changed,
    Fact,
    PredecessorDeleted,
    PredecessorMoved,
    RetryRequested,
    SettledAsCompleted,
    SettledAsFailed,
    StepSettled,
    Submitted,
)
from bgjobd.core.job import Job
from bgjobd.core.retry import STARTS_AWAITED
from bgjobd.core.schedules import Reason, Skipped
from bgjobd.core.state_machine import Happening, classify, why_cancelled
from bgjobd.core.waiting import signal_of


class Entry(NamedTuple):
    """One log entry; `with_job` asks for the whole job as its context.

    `is_passing`: what it tells of went wrong, and is tried again.
    """

    type: EntryType
    message: str
    with_job: bool = False
    is_passing: bool = False


def entries(before: Job | None, fact: Fact, after: Job) -> tuple[Entry, ...]:
    """The entries that tell the fact, oldest first; many facts tell nothing."""
    tell = _TOLD.get(classify(before, fact))
    return tell(fact, before, after) if tell else ()


def group_ended(group: Group) -> str:
    """The line of the daemon that tells of a group's end."""
    counts = {"completed": group.completed, "failed": group.failed, "cancelled": group.cancelled}
    told = ", ".join(f"{count:,} {how}" for how, count in counts.items() if count) or "no members"
    return f"group {group.id}{f' ({group.name})' if group.name else ''} ended: {told}"


def pause_ended(queue: str) -> str:
    """The line of the daemon that tells of a queue that goes on by itself."""
    return f"queue {queue} is resumed: its pause is over"


def progress_message(fraction: float, message: str) -> str:
    """The message of the entry that tells how far an attempt is; `fraction` is in [0, 1]."""
    return f"{AT_PROGRESS}{fraction:.0%}" + (f": {message}" if message else "")


def signal_message(name: str, uid: int | None) -> str:
    """What is told of a signal that was sent to the job, whether or not it waits for it; `uid` is who sent it."""
    return f"Background job got signal {name}" + ("" if uid is None else f" from uid {uid}")


WAIT_OVER: Final = "Background job goes on: its time came"
"""What is told of a sleep that is over, and of a wait for a signal that did not come in time."""


def unused_steps(names: Sequence[str], codes: Sequence[str | None], code: str | None) -> str:
    """What is told of finished steps that did not come again; of each the code that has finished it, and this one's.

    >>> unused_steps(["charge", "label 3"], ["736711a9ab89", "736711a9ab89"], "9c01d2e4f7aa")
    '2 finished steps did not come again: charge, label 3 (of code 736711a9ab89, this is 9c01d2e4f7aa)'
    """
    count = f"{len(names):,} finished steps" if len(names) > 1 else "1 finished step"
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    earlier = ", ".join(sorted({one for one in codes if one is not None}))
    of_code = f" (of code {earlier}, this is {code})" if earlier and code else ""
    return f"{count} did not come again: {', '.join(names[:_MOST_NAMES])}{more}{of_code}"


_MOST_NAMES: Final = 10


def again_message(job_id: int, uid: int | None) -> str:
    """What is told of a job whose call runs again as another; `uid` is who asked for that."""
    return f"Background job runs again as {job_id}" + ("" if uid is None else f", by uid {uid}")


def late_end(number: int, outcome: Outcome, host: str) -> str:
    """What is told of an attempt whose end is heard of when others have counted it as lost, with its host.

    >>> late_end(1, Outcome.COMPLETED, "web1")
    'attempt 1 completed on host web1 after it had counted as lost'
    """
    ended = _LATE_ENDS.get(outcome, f"ended ({outcome})")
    return f"attempt {number} {ended} on host {host} after it had counted as lost"


_LATE_ENDS: Final = {
    Outcome.COMPLETED: "completed",
    Outcome.FAILED: "failed",
    Outcome.CANCELLED: "was cancelled",
    Outcome.NOT_STARTED: "did not begin",
}


def skip_entry(name: str, skipped: Skipped) -> Entry:
    """What tells of occurrences of the schedule of this name that became no job."""
    is_failure = skipped.reason in (Reason.REFUSED, Reason.QUEUE_FULL)
    why = _OF_ANOTHER.get(skipped.reason, skipped.reason.value).format(skipped.job_id)
    span = skipped.span
    if span.count == 1:
        which = f"occurrence {_moment(span.at)}"
    else:
        which = f"{span.count} occurrences from {_moment(span.at)} to {_moment(span.until)}"
    return Entry(
        EntryType.FAILURE if is_failure else EntryType.INFO, f"schedule {name}: {which} skipped: {why}"
    )


_OF_ANOTHER: Final[Mapping[Reason, str]] = MappingProxyType(
    {Reason.OVERLAP: "job {} has not ended", Reason.HELD: "job {} has its unique key"}
)


def left_behind(count: int, names: Sequence[str]) -> str:
    """So many processes, and which programs they ran as far as that is known: `2 (sleep, python3)`."""
    return f"{count} ({', '.join(names)})" if names else f"{count}"


OVERSTAYED: Final = (
    "what was to end with it took longer than exit_grace, and was ended; the output tells where"
)
"""What is told of an attempt, or a hook, that had to be ended after its outcome."""


def killed_strays(count: int, names: Sequence[str]) -> str:
    """What is told of the processes that an attempt, or a hook, has left behind."""
    return f"processes that it left behind, killed: {left_behind(count, names)}"


def outlasts_kill(pid: int | str, seconds: float) -> str:
    """What is told of an attempt, or a hook, that was killed so long ago and is still there."""
    return f"its process (pid {pid}) was killed {seconds:g} s ago and does not end; it waits in the kernel"


def hook_could_not_start(reason: str, in_vain: int) -> str | None:
    """What a job's log tells of its hook, whose starts were in vain so often in a row; None once that has been told."""
    if in_vain > STARTS_AWAITED:
        return None
    told = f"could not start: {reason}"
    if in_vain < STARTS_AWAITED:
        return told
    return f"{told}; {in_vain} starts in a row were in vain: {_HOOK_TRIED_AGAIN}"


_HOOK_TRIED_AGAIN: Final = (
    "it is tried again each minute, and by `bgjob reload` at once, of which no more is told here"
)


def _success(message: str, with_job: bool = False) -> Callable[[Any, Job, Job], tuple[Entry, ...]]:
    told = (Entry(EntryType.SUCCESS, message, with_job),)
    return lambda fact, before, after: told


def _submitted(fact: Submitted, before: None, after: Job) -> tuple[Entry, ...]:
    by = "" if fact.by_job is None else f", submitted by job {fact.by_job}"
    told = Entry(EntryType.SUCCESS, f"{INITIATED}{by}", with_job=True)
    more = [] if fact.again is None else [Entry(EntryType.INFO, f"Background job is {_again(fact.again)}")]
    more += [Entry(EntryType.INFO, f"Background job waits for {_others(after)}")] if after.waits_for else []
    return (told, *more)


def _again(again: Again) -> str:
    if again.from_step is None:
        return f"again of {again.of}"
    done = "1 step is" if again.steps == 1 else f"{again.steps:,} steps are"
    return f"again of {again.of}, from step {again.from_step}; {done} done"


def _others(job: Job) -> str:
    return "another" if job.waits_for == 1 else f"{job.waits_for} others"


def _predecessor_moved(fact: Fact, before: Job, after: Job) -> tuple[Entry, ...]:
    """The last one that it waited for; of those before nothing is told."""
    if isinstance(fact, PredecessorMoved) and fact.kept_by is not None and after.status.is_final:
        return (
            Entry(EntryType.INFO, f"Background job stays cancelled: job {fact.kept_by} has its unique key"),
        )
    if not isinstance(fact, PredecessorMoved) or after.waits_for or not before.is_blocked:
        return ()
    return (_free_to_run(fact),)


def _free_to_run(fact: PredecessorMoved) -> Entry:
    return Entry(EntryType.INFO, f"Background job is free to run: {fact.node.named} {_HOW_ENDED[fact.fate]}")


_HOW_ENDED: Final[Mapping[Fate, str]] = MappingProxyType(
    {
        Fate.COMPLETED: "completed",
        Fate.FAILED: "failed",
        Fate.CANCELLED: "was cancelled",
    }
)


def _cancelled_for(fact: PredecessorMoved | PredecessorDeleted, before: Job, after: Job) -> tuple[Entry, ...]:
    return (Entry(EntryType.INFO, f"Background job cancelled: {why_cancelled(fact)}"),)


def _revived(fact: PredecessorMoved, before: Job, after: Job) -> tuple[Entry, ...]:
    if not after.waits_for:
        return (_free_to_run(fact),)
    return (Entry(EntryType.INFO, f"Background job waits again: {fact.node.named} is to run again"),)


def _retry_due(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    at = _clock(after.scheduled_at)
    count = f"{after.retry_count} of {after.policy.max_retries}"
    return (
        Entry(EntryType.FAILURE, f"{fact.ending.error} ({_which(before)}, next at {at})", is_passing=True),
        Entry(EntryType.INFO, f"Background job waits for retry {count} at {at}"),
    )


def _given_up(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    has_more = before.attempt < before.attempts_allowed
    why = ", not retried" if has_more else ""
    return (Entry(EntryType.FAILURE, f"{fact.ending.error} ({_which(before)}{why})"),)


def _left_unknown(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    told = f"Background job is for review: what it did nobody knows; `bgjob settle {after.id}`"
    return (*_given_up(fact, before, after), Entry(EntryType.INFO, told))


def _put_back(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    at = _clock(after.scheduled_at)
    alone = ", alone" if after.crashes else ""
    message = f"{fact.ending.error} (attempt {before.attempt}, no retry spent, next at {at}{alone})"
    return (Entry(EntryType.FAILURE, message, is_passing=True),)


def _quarantined(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    spent = "" if fact.ending.spends_retry else ", no retry spent"
    return (
        Entry(EntryType.FAILURE, f"{fact.ending.error} (attempt {before.attempt}{spent})"),
        Entry(EntryType.FAILURE, f"{after.error}; `bgjob retry {after.id}` has it start again"),
    )


def _snoozed(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    at = _clock(after.scheduled_at)
    if fact.ending.throttles is None:
        return (Entry(EntryType.INFO, f"Background job snoozed until {at}"),)
    whom = _HELD[fact.ending.throttles].format(at, before.key)
    return (Entry(EntryType.INFO, f"Background job throttled for {fact.ending.delay:.12g} s: {whom}"),)


def _suspended(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    waiting_on = "" if after.carried is None else after.carried.waiting_on or ""
    name = signal_of(waiting_on)
    if name is None:
        return (Entry(EntryType.INFO, f"Background job sleeps until {_moment(after.scheduled_at or 0.0)}"),)
    until = "" if after.scheduled_at is None else f" until {_moment(after.scheduled_at)}"
    return (Entry(EntryType.INFO, f"Background job waits for signal {name}{until}"),)


_HELD: Final[Mapping[Throttle, str]] = MappingProxyType(
    {
        Throttle.CLASS: "no other of its class starts until {0}",
        Throttle.KEY: "no other of its key, {1}, starts until {0}",
        Throttle.JOB: "it alone, until {0}, for its class may hold no others (throttle = false)",
    }
)


def _changed(fact: Changed, before: Job, after: Job) -> tuple[Entry, ...]:
    """Nothing where all is as it was."""
    terms = [
        f"{name} from {tell(of(before))} to {tell(of(after))}"
        for name, of, tell in _TERMS
        if of(before) != of(after)
    ]
    if not terms:
        return ()
    return (Entry(EntryType.INFO, f"Background job changed{_by(fact.by)}: {', '.join(terms)}"),)


def _or_none(tell: Callable[[float], str]) -> Callable[[float | None], str]:
    return lambda value: "none" if value is None else tell(value)


def _cancel_requested(fact: Fact, before: Job, after: Job) -> tuple[Entry, ...]:
    if after.status.is_final:
        return (Entry(EntryType.INFO, "Background job cancelled"),)
    return (Entry(EntryType.INFO, "Background job cancel requested"),)


def _stopped(fact: AttemptEnded, before: Job, after: Job) -> tuple[Entry, ...]:
    is_plain = fact.ending.outcome is Outcome.CANCELLED and fact.ending.error_type is None
    why = "" if is_plain else f" ({fact.ending.error})"
    return (Entry(EntryType.INFO, f"Background job cancelled{why}"),)


def _retry_requested(fact: RetryRequested, before: Job, after: Job) -> tuple[Entry, ...]:
    how = ", from the start" if fact.from_start else ""
    return (Entry(EntryType.INFO, f"Background job retry requested{how}"),)


def _settled_as_completed(fact: SettledAsCompleted, before: Job, after: Job) -> tuple[Entry, ...]:
    return (Entry(EntryType.INFO, f"Background job settled as completed{_by(fact.by)}"),)


def _settled_as_failed(fact: SettledAsFailed, before: Job, after: Job) -> tuple[Entry, ...]:
    why = "" if fact.why is None else f": {fact.why}"
    return (Entry(EntryType.INFO, f"Background job settled as failed{_by(fact.by)}{why}"),)


def _step_settled(fact: StepSettled, before: Job, after: Job) -> tuple[Entry, ...]:
    return (
        Entry(EntryType.INFO, f"Background job goes on: step {fact.name} settled as finished{_by(fact.by)}"),
    )


def _by(uid: int | None) -> str:
    return "" if uid is None else f" by uid {uid}"


_TOLD: Final[Mapping[Happening, Callable[[Any, Any, Job], tuple[Entry, ...]]]] = MappingProxyType(
    {
        Happening.SUBMITTED: _submitted,
        Happening.SLOT_GRANTED: _success(DISPATCHED),
        Happening.ATTEMPT_STARTED: _success(STARTED, with_job=True),
        Happening.ATTEMPT_COMPLETED: _success("Background job completed processing"),
        Happening.RETRY_DUE: _retry_due,
        Happening.GIVEN_UP: _given_up,
        Happening.LEFT_UNKNOWN: _left_unknown,
        Happening.NOT_STARTED: _put_back,
        Happening.CRASHED: _put_back,
        Happening.QUARANTINED: _quarantined,
        Happening.INTERRUPTED: _put_back,
        Happening.SNOOZED: _snoozed,
        Happening.SUSPENDED: _suspended,
        Happening.STOPPED: _stopped,
        Happening.PREDECESSOR_MOVED: _predecessor_moved,
        Happening.CANCELLED_FOR: _cancelled_for,
        Happening.REPLACED: lambda fact, before, after: (
            Entry(EntryType.INFO, "Background job replaced", with_job=True),
        ),
        Happening.CHANGED: _changed,
        Happening.REFUSED: lambda fact, before, after: (
            Entry(EntryType.FAILURE, f"Background job refused: {fact.reason}"),
        ),
        Happening.EXPIRED: lambda fact, before, after: (Entry(EntryType.INFO, "Background job expired"),),
        Happening.REVIVED: _revived,
        Happening.CANCEL_REQUESTED: _cancel_requested,
        Happening.RETRY_REQUESTED: _retry_requested,
        Happening.SETTLED_AS_COMPLETED: _settled_as_completed,
        Happening.SETTLED_AS_FAILED: _settled_as_failed,
        Happening.STEP_SETTLED: _step_settled,
    }
)


def _which(job: Job) -> str:
    return f"attempt {job.attempt} of {job.attempts_allowed}"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _clock(at: float | None) -> str:
    return "once" if at is None else datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")


_TERMS: Final[Sequence[tuple[str, Callable[[Job], Any], Callable[[Any], str]]]] = (
    ("priority", lambda job: job.priority, str),
    ("queue", lambda job: job.queue, str),
    ("at", lambda job: job.scheduled_at, _or_none(_moment)),
    ("expires_at", lambda job: job.expires_at, _or_none(_moment)),
    ("timeout", lambda job: job.timeout, _or_none(lambda seconds: f"{seconds:.12g} s")),
    ("max_retries", lambda job: job.policy.max_retries, str),
)
"""What a change may give a job, by the names that the socket has for it."""
