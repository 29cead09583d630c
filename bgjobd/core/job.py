"""What the rules know of a job and of an attempt's end; values only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from bgjob.fingerprints import Whence
from bgjob.words import LONGEST_THROTTLE, Backoff, IfFailed, Outcome, Status, Throttle, UniqueWhile
from bgjobd.core.masking import masked_text
from bgjobd.core.waiting import Wait, signal_of

AttemptKey = tuple[int, int]
"""A job's id and the attempt's number."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a job is tried again; delays in seconds."""

    max_retries: int = 3
    retry_delay: float = 5.0
    backoff: Backoff = Backoff.CONSTANT
    max_retry_delay: float = 3600.0


@dataclass(frozen=True, slots=True)
class Call:
    """What a job runs: names to look up in the catalogue, and the parameters as JSON text.

    `sensitive` names the parameters whose values nobody is shown; two calls that differ in it run the same.
    """

    class_name: str
    method_name: str
    parameters: str = field(default="{}", repr=False)  # for they may hold what is not to be shown
    sensitive: tuple[str, ...] = field(default=(), compare=False)

    @property
    def target(self) -> str:
        """Class and method as logs and people write them."""
        return f"{self.class_name}::{self.method_name}"

    @property
    def shown_parameters(self) -> str:
        """The parameters as JSON text for logs and people, sensitive values masked."""
        return masked_text(self.parameters, self.sensitive)


class Carried(NamedTuple):
    """What of a job its attempts hand on: so many finished steps, whose results take so many bytes; all of it forgotten
    `life` times.

    What it had spent of its retries when it was submitted counts where an attempt has got on. It may be `waiting_on`
    time ("sleep 3"), or a signal ("signal packed"). So many values it has `emitted` outside of steps, in one attempt.
    """

    steps: int = 0
    step_bytes: int = 0
    life: int = 0
    retry_count_at_submit: int = 0
    waiting_on: str | None = None
    emitted: int = 0

    def from_start(self) -> Carried:
        """What is left once all that the job did is forgotten."""
        return Carried(life=self.life + 1)


class Job(NamedTuple):
    """One job; instants are wall time in seconds since the epoch, `attempt` is the latest attempt's number.

    `progress` is the latest that this attempt told, as JSON text, `outcome` how it ended, None until it has. `crashes`
    is how many attempts in a row, up to the latest, have crashed; whoever has any starts alone. Where a
    `schedule` has submitted it, `occurrence` is for when. `updated_at` is when the row last changed.

    Of the edges to what it comes after `waits_for` are not met, and for `failed_before` of these it is cancelled, which
    `cancelled_after` names one of ("12", "group 5"). `takes` is as the column has it, JSON text. One that has got no
    slot by `expires_at` is cancelled. It holds its `unique_key`, if any, `unique_while` it stands so.

    `key` is what it shares with others of its queue, that limits how many of them may run at once: where these have all
    places, it `is_behind` them. Among jobs of equal priority a lower `turn` goes first, 0 where nobody takes turns.
    `carried` is what its attempts hand on, None where that is nothing; it `is_waiting` as long as what it waits for,
    time or a signal, is to come. It calls `again_of`, another job, once more. It failed, and nobody knows what it did,
    `review_since`; a person says it. `host_wanted` is the name of the host that alone may start it.
    `traceparent` is the span that it was submitted in, `labels` are what it is found by, each once.
    """

    id: int
    call: Call
    status: Status
    retry_count: int = 0
    policy: RetryPolicy = RetryPolicy()
    queue: str = "default"
    priority: int = 0
    attempt: int = 0
    timeout: float | None = None
    created_at: float = 0.0
    scheduled_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    cancel_requested_at: float | None = None
    idempotency_key: str | None = None
    result: str | None = None
    error: str | None = None
    progress: str | None = None
    outcome: Outcome | None = None
    crashes: int = 0
    schedule: str | None = None
    occurrence: float | None = None
    waits_for: int = 0
    failed_before: int = 0
    if_failed: IfFailed | None = None
    cancelled_after: str | None = None
    group_id: int | None = None
    takes: str | None = None
    expires_at: float | None = None
    unique_key: str | None = None
    unique_while: UniqueWhile | None = None
    key: str | None = None
    turn: int = 0
    is_behind: bool = False
    is_waiting: bool = False
    carried: Carried | None = None
    again_of: int | None = None
    review_since: float | None = None
    host_wanted: str | None = None
    traceparent: str | None = None
    labels: tuple[str, ...] = ()
    updated_at: float = 0.0

    def changed(self, **values: Any) -> Job:
        """The same with some other values."""
        return self._replace(**values)

    def __eq__(self, other: object) -> bool:
        """When a row last changed tells no two jobs apart."""
        return isinstance(other, Job) and self[:-1] == other[:-1]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:-1])

    @property
    def class_name(self) -> str:
        return self.call.class_name

    @property
    def is_for_review(self) -> bool:
        """Whether it failed, and nobody knows what it did: until a person says it, nothing follows from its end."""
        return self.review_since is not None

    @property
    def is_over(self) -> bool:
        """Whether it has ended, and what comes after it may go by that."""
        return self.status.is_final and self.review_since is None

    def is_due(self, now: float) -> bool:
        """Whether the job's time has come."""
        return self.scheduled_at is None or self.scheduled_at <= now

    def has_expired(self, now: float) -> bool:
        """Whether it should have got a slot by now, and has had none."""
        return self.expires_at is not None and self.expires_at <= now and self.started_at is None

    @property
    def is_blocked(self) -> bool:
        """Whether the job waits for others."""
        return self.waits_for > 0 and self.status is Status.PENDING

    @property
    def is_waiting_for_retry(self) -> bool:
        """Whether the job has been attempted and waits for the next time."""
        return self.status is Status.PENDING and self.attempt > 0 and self.scheduled_at is not None

    @property
    def waits_for_signal(self) -> bool:
        """Whether what it waits for is a signal; then its time is no more than a timeout."""
        waiting_on = None if self.carried is None else self.carried.waiting_on
        return self.is_waiting and waiting_on is not None and signal_of(waiting_on) is not None

    @property
    def is_to_carry(self) -> bool:
        """Whether its next attempt is given what those before it have finished."""
        return self.carried is not None and (self.carried.steps > 0 or self.carried.waiting_on is not None)

    @property
    def attempts_allowed(self) -> int:
        """How many attempts the job gets in all, should each one end badly."""
        return self.attempt + max(0, self.policy.max_retries - self.retry_count)


MOST_CRASHES: Final = 3
"""After so many attempts in a row that crashed a job has failed; innocents meet the end of a fork server once."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt used: bytes, seconds, bytes."""

    max_rss: int = 0
    cpu_user: float = 0.0
    cpu_system: float = 0.0
    output_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, with the evidence; made by the constructors below, one a kind of end.

    `delay` overrides the policy's where the job asked for one, `may_retry` is False where it asked for none.
    `spends_retry` is False where the end was none of the job's doing, so that another attempt costs it no retry.
    `crash` tells of a process that was ended by nobody of ours: the attempt's, or that of the fork server which was to
    start it, perhaps over this start ("signal 11"). After `most_crashes` in a row its job is given up.
    `error_class` is the type of an exception with its module, where that is known. `for_review`: where no other attempt
    follows, a person is to say what it did. `throttles` is whom it keeps from
    starting for `delay`, beside its job: JOB nobody, for its class may not; None where it did not ask for others.
    """

    outcome: Outcome
    exit_code: int | None = None
    signal: int | None = None
    result: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    traceback: str | None = None
    delay: float | None = None
    may_retry: bool = True
    spends_retry: bool = True
    crash: str | None = None
    most_crashes: int = MOST_CRASHES
    error_class: str | None = None
    throttles: Throttle | None = None
    wait: Wait | None = None
    until: float | None = None
    for_review: bool = False
    whence: Whence | None = None

    @classmethod
    def completed(cls, result: str, exit_code: int | None = None, signal: int | None = None) -> Ending:
        return cls(Outcome.COMPLETED, exit_code, signal, result)

    @classmethod
    def failed(
        cls,
        error_type: str,
        message: str,
        traceback: str | None = None,
        may_retry: bool = True,
        delay: float | None = None,
        error_class: str | None = None,
        whence: Whence | None = None,
    ) -> Ending:
        return cls(
            Outcome.FAILED,
            error_type=error_type,
            error_message=message,
            traceback=traceback,
            delay=delay,
            may_retry=may_retry,
            error_class=error_class,
            whence=whence,
        )

    @classmethod
    def exited(cls, exit_code: int) -> Ending:
        return cls(Outcome.EXITED, exit_code=exit_code)

    @classmethod
    def signalled(cls, signal: int) -> Ending:
        return cls(Outcome.SIGNALLED, signal=signal, crash=f"signal {signal}")

    @classmethod
    def lost(cls, why: str, may_retry: bool = True, spends_retry: bool = True) -> Ending:
        return cls(Outcome.LOST, error_message=why, may_retry=may_retry, spends_retry=spends_retry)

    @classmethod
    def vanished(cls, why: str) -> Ending:
        """Its process has ended in this life, and nobody saw how."""
        return replace(cls.lost(why), crash="unseen")

    @classmethod
    def unrecorded(cls, why: str) -> Ending:
        """An end that could not be recorded, which is none of the job's doing: nobody knows what it came to."""
        return cls.lost(f"how it ended could not be recorded: {why}", spends_retry=False)

    @classmethod
    def not_started(cls, why: str, delay: float | None = None) -> Ending:
        message = f"the attempt could not start: {why}"
        return cls(Outcome.NOT_STARTED, error_message=message, delay=delay, spends_retry=False)

    @classmethod
    def crashed_at_start(cls, how: str) -> Ending:
        """`how` the fork server ended, by itself, that the attempt was on its way to: "signal 11", "exit code 1"."""
        return replace(cls.not_started(f"its fork server ended before it began ({how})"), crash=how)

    @classmethod
    def snoozed(cls, delay: float) -> Ending:
        return cls(Outcome.SNOOZED, delay=delay, spends_retry=False)

    @classmethod
    def throttled(cls, delay: float, of: Throttle) -> Ending:
        """A snooze of at most an hour that others of its class or key share; of JOB, or of no time, nobody does."""
        is_shared = of is not Throttle.JOB and delay > 0
        return replace(cls.snoozed(min(delay, LONGEST_THROTTLE)), throttles=of if is_shared else None)

    @classmethod
    def suspended(cls, wait: Wait, delay: float | None, until: float | None = None) -> Ending:
        """An attempt that ended to wait, for so many seconds or until then; None: for as long as it takes."""
        return cls(Outcome.SUSPENDED, delay=delay, spends_retry=False, wait=wait, until=until)

    @classmethod
    def exceeded(cls, outcome: Outcome, evidence: str, beneath: Ending) -> Ending:
        """An attempt that met a limit; `beneath` is how it ended over that."""
        crash = "out of memory" if outcome is Outcome.OUT_OF_MEMORY else None
        return replace(cls._by_other_cause(outcome, evidence, beneath), crash=crash)

    @classmethod
    def timed_out(cls, limit: float, beneath: Ending, where: str | None = None) -> Ending:
        """`limit` in seconds; `beneath` is how the attempt ended once it was told to stop, `where` it was before."""
        ending = cls._by_other_cause(
            Outcome.TIMED_OUT, f"the attempt ran longer than {limit:.12g} s", beneath
        )
        if where is None:
            return ending
        return replace(ending, traceback="\n".join(text for text in (where, beneath.traceback) if text))

    @classmethod
    def cancelled(cls, beneath: Ending) -> Ending:
        """`beneath` is how the attempt ended once it was told to stop."""
        return cls._by_other_cause(Outcome.CANCELLED, "a cancel was requested", beneath)

    @classmethod
    def cut_off(cls, beneath: Ending) -> Ending:
        """`beneath` is how the attempt ended once it was told to stop: what it did, nobody can store in time."""
        why = "stopped, for its host was cut off from the database"
        return cls._by_other_cause(Outcome.LOST, why, beneath)

    @classmethod
    def _by_other_cause(cls, outcome: Outcome, why: str, beneath: Ending) -> Ending:
        """The ending beneath under another cause; its evidence stays, a result and whom it holds do not."""
        if beneath.error_type is not None:
            detail = f": {beneath.error_message}" if beneath.error_message else ""
            why = f"{why} ({beneath.error_type}{detail})"
        cleared: dict[str, Any] = {"result": None, "throttles": None, "wait": None, "crash": None}
        return replace(beneath, outcome=outcome, error_message=why, **cleared)

    @property
    def error(self) -> str:
        """One sentence, `"Type: message"` for an exception, made from the evidence."""
        match self.outcome:
            case Outcome.FAILED:
                return f"{self.error_type}: {self.error_message}"
            case Outcome.EXITED if self.exit_code == 0:
                return "exited: the process ended with code 0 before the method returned"
            case Outcome.EXITED:
                return f"exited: the process ended with code {self.exit_code}"
            case Outcome.SIGNALLED:
                return f"signalled: the process was ended by signal {self.signal}"
            case _:
                return f"{self.outcome}: {self.error_message or 'no more is known'}"
