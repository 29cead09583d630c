"""What can happen to a job, in the past tense; every fact goes through state_machine.advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from bgjob.words import Removable
from bgjobd.core.edges import Fate, Node, Place, Standing, Ties
from bgjobd.core.job import Call, Ending, RetryPolicy, Usage
from bgjobd.core.unique import Unique

BESIDE_CALL: Final = "="
"""What a digest begins with that is of what a request asks for beside its call; the calls themselves are compared."""

REPLACED: Final = "~"
"""The digest of a job that another request has replaced: whoever repeats the first one, by its key, still gets it."""


@dataclass(frozen=True, slots=True)
class Again:
    """That a job calls once more what the job `of` did; from the step `from_step` on, where one is named: it has the
    `steps` that were finished before that, so many, whose results take so many bytes.
    """

    of: int
    from_step: str | None = None
    steps: int = 0
    step_bytes: int = 0


class Submitted(NamedTuple):
    """A caller asked for a job, and nothing was wrong with the request; a tuple, for each submit makes two of them."""

    id: int
    call: Call
    retry_count: int
    policy: RetryPolicy
    queue: str = "default"
    priority: int = 0
    timeout: float | None = None
    scheduled_at: float | None = None
    idempotency_key: str | None = None
    digest: str | None = None  # of the request as it was asked; a key stands for one request
    by_job: int | None = None  # whose attempt asked for it
    schedule: str | None = None
    occurrence: float | None = None  # of the schedule
    ties: Ties | None = None  # to other jobs, as they were asked for; None where it has none
    place: Place | None = None  # among those, which the ledger finds
    expires_at: float | None = None
    unique: Unique | None = None
    expires_in: float | None = None  # instead of expires_at, from when it may start
    key: str | None = None  # which it shares with others of its queue
    again: Again | None = None
    host: str | None = None  # that alone may start it
    traceparent: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PredecessorMoved:
    """What the job comes after has ended, or is to run again, so that the edge stands otherwise; `fate` is why.

    `kept_by` holds the unique key of a job that would wait again, and so it does not.
    """

    node: Node
    before: Standing
    after: Standing
    fate: Fate
    kept_by: int | None = None


@dataclass(frozen=True, slots=True)
class PredecessorDeleted:
    """What failed, and the job has waited for, will never be retried; so many of its edges have `failed` by now."""

    node: Node
    failed: int


@dataclass(frozen=True, slots=True)
class ValuesTaken:
    """Results were put among the job's parameters; both are JSON text, `takes` with what went wrong."""

    parameters: str
    takes: str


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """The planner gave the job a slot: its next attempt may start."""


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The journal of the attempt is there: process `pid` runs the job, since wall time `at`, with this code."""

    number: int
    pid: int
    at: float
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The attempt is over, however it went, at wall time `at`; `usage` is None where nobody saw it.

    `oom_kills` is how many of its processes the kernel has killed for their memory; `own_cpu` the seconds of CPU time
    that its process alone has spent, told where it may have been killed for them. `has_advanced`: it has
    finished a step. It ran for so many `seconds` by a clock that nobody sets, None where that is not known.
    """

    number: int
    ending: Ending
    at: float
    usage: Usage | None = None
    oom_kills: int = 0
    own_cpu: float | None = None
    has_advanced: bool = False
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Replaced:
    """A request with the same unique key takes the place of the one that made the job; it is to start by then."""

    by: Submitted
    scheduled_at: float | None


@dataclass(frozen=True, slots=True)
class Changed:
    """User `by` gives a job that waits other terms: it keeps those that are None, and is `without` some from now on.

    `key` is what it shares with others of another queue, where that says so itself.
    """

    by: int | None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: float | None = None
    expires_at: float | None = None
    timeout: float | None = None
    max_retries: int | None = None
    without: frozenset[Removable] = frozenset()
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Expired:
    """The job's time is up, and no attempt has been granted a slot."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was stored before anybody had looked at it may not be a job of this caller's."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignalSent:
    """The signal is there that the job waits for."""

    name: str


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """A caller wants the job not to run, or to stop."""


@dataclass(frozen=True, slots=True)
class RetryRequested:
    """A person wants an ended job to run again; `anyway`: though it comes after what failed, `forgiven` such edges.

    `from_start`: what it did is forgotten, not what it was told. It does not start before `at`, None: at once.
    """

    anyway: bool = False
    forgiven: int = 0
    from_start: bool = False
    at: float | None = None


@dataclass(frozen=True, slots=True)
class SettledAsCompleted:
    """User `by` says that a job for review took effect; `result` is JSON text."""

    by: int | None
    result: str


@dataclass(frozen=True, slots=True)
class SettledAsFailed:
    """User `by` says that a job for review did nothing, and is over; `why` is None where there is no more to say."""

    by: int | None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class StepSettled:
    """User `by` says that this step of a job for review took effect: it goes on behind it. `result` is JSON text."""

    by: int | None
    name: str
    result: str


Settled = SettledAsCompleted | SettledAsFailed | StepSettled
"""A person's word about a job of which nobody knows what it did."""


@dataclass(frozen=True, slots=True)
class ClockJumped:
    """The wall clock was set; `delta` is by how many seconds."""

    delta: float


Fact = (
    Submitted
    | PredecessorMoved
    | PredecessorDeleted
    | ValuesTaken
    | SlotGranted
    | AttemptStarted
    | AttemptEnded
    | Replaced
    | Changed
    | Expired
    | Refused
    | SignalSent
    | CancelRequested
    | RetryRequested
    | SettledAsCompleted
    | SettledAsFailed
    | StepSettled
    | ClockJumped
)
