"""What goes to the writer and what comes back, and what readers pick by: plain values, no closures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from bgjob.codec import to_json
from bgjob.words import EntryType, Outcome, Status
from bgjobd.core.edges import Group, NewGroup
from bgjobd.core.facts import (
    AttemptEnded,
    AttemptStarted,
    CancelRequested,
    Changed,
    ClockJumped,
    RetryRequested,
    Settled,
    Submitted,
)
from bgjobd.core.job import Job
from bgjobd.core.masking import masked_text
from bgjobd.core.schedules import Calendar, Due, Reason, Rules, Span, Verdict
from bgjobd.store.snapshots import snapshot_of
from bgjobd.store.tally import Tally
from bgjobd.store.written import Row, Written


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who asked, as the kernel says; None where it does not, as for a line of the named pipe.

    `job` is the one whose attempt asked, None where it was none. `may_manage` groups of
    others, too, `may_read` results.
    """

    uid: int | None
    gid: int | None
    pid: int | None
    job: int | None = None
    may_manage: bool = False
    may_read: bool = False


@dataclass(frozen=True, slots=True)
class Submission:
    """Jobs to store, all or none. Answered by a tuple of Stored, in order."""

    jobs: tuple[Submitted, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class Flow:
    """The same of jobs that have ties to others, with `groups` that are made for them, and some that it `seals`.

    Answered by StoredFlow.
    """

    jobs: tuple[Submitted, ...]
    submitter: Submitter
    groups: tuple[NewGroup, ...] = ()
    seals: tuple[int, ...] = ()


class BulkRow(NamedTuple):  # each job has one: all else is there once
    """What one job of a bulk has for itself; `parameters` is JSON text, nobody is shown those that are `sensitive`."""

    parameters: str
    sensitive: tuple[str, ...] = ()
    idempotency_key: str | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class BulkSubmission:
    """Jobs to store that differ in their rows alone, all or none. Answered by a tuple of their ids, in order.

    `common` is what is asked of each, without id, parameters and key.
    """

    common: Submitted
    rows: tuple[BulkRow, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class GroupCancelled:
    """Seal a group, and cancel its members that have not ended, some at a time. Answered by None."""

    id: int
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class JobFact:
    """What an attempt of a job came to. Answered by the job after it."""

    job_id: int
    fact: AttemptStarted | AttemptEnded


@dataclass(frozen=True, slots=True)
class JobRequests:
    """The same wish about several jobs, all or none. Answered by a tuple of the jobs after it, in order."""

    job_ids: tuple[int, ...]
    fact: CancelRequested | RetryRequested


@dataclass(frozen=True, slots=True)
class AgainAsked:
    """Somebody wants the call of a job that has ended run again, as another job, from a step on where that is named.

    `wanted` was made of the job as it stood as `source`; both are None where it had not ended. `key` is of idempotency,
    `digest` of the request. Answered by Stored; by None, with nothing done, where the job is not as it was.
    """

    source_id: int
    from_step: str | None
    source: Job | None
    wanted: Submitted | None
    key: str | None
    digest: str
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class Signal:
    """Send a signal to the job of this id, or idempotency key. Answered by the job's id, and whether it is a new one.

    `payload` is JSON text; `signal_key`, where it has one, tells it from others: one that is known is sent once.
    """

    job_id: int | None
    key: str | None
    name: str
    payload: str
    signal_key: str | None
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class JobSettled:
    """A person's word about a job for review. Answered by the job after it."""

    job_id: int
    fact: Settled


@dataclass(frozen=True, slots=True)
class JobsChanged:
    """Other terms for jobs that wait, all or none. Answered by a tuple of the ids of those that are not as before."""

    job_ids: tuple[int, ...]
    fact: Changed
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth an entry in a job's log that changes nothing about the job. Answered by None."""

    job_id: int
    attempt: int | None
    type: EntryType
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """What an attempt told while it ran, in its own words; `progress` is the fraction where it told one."""

    at: float
    type: EntryType
    message: str
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class StepNote:
    """A step of the job's has begun in an attempt, or is done: then `result` is its JSON text."""

    at: float
    name: str
    result: str | None = None
    is_awaited: bool = False


@dataclass(frozen=True, slots=True)
class UnusedSteps:
    """Finished steps of the job's that did not come again in an attempt which completed."""

    at: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueNote:
    """A value, JSON text, for whoever follows the job: from within a step, else from this place among those outside."""

    at: float
    place: int
    step: str | None
    value: str


Told = Note | StepNote | UnusedSteps | ValueNote
"""What an attempt tells of itself."""


@dataclass(frozen=True, slots=True)
class AttemptNotes:
    """The notes `first`, `first + 1`, … of an attempt's journal, counted from 0. Answered by None.

    Those that are recorded already are passed over, so the same may come again, whole or in part.
    """

    job_id: int
    number: int
    first: int
    notes: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class StateSaved:
    """An attempt has saved its job's state, as JSON text, for the `saved`-th time. Answered by None.

    One that was stored already, or came before it, is passed over.
    """

    job_id: int
    number: int
    saved: int
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class QueuePaused:
    """Grant no slots to a queue until it is resumed, or until `resumes_at`, in place of an earlier such time. Answered
    by None.
    """

    queue: str
    resumes_at: float | None = None


@dataclass(frozen=True, slots=True)
class QueueResumed:
    """Grant slots to a queue again. Answered by None."""

    queue: str


@dataclass(frozen=True, slots=True)
class DaemonStarted:
    """The clock may have been set while nobody ran: hold no retry longer than its own delay. Answered by None."""


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing happened but time: see what may start. Answered by None."""


@dataclass(frozen=True, slots=True)
class Ping:
    """Nothing at all: an answer, even a refusal, tells that the writer is alive. Answered by None."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Delete these jobs with all that is stored of them, as many as a moment allows. Answered by Deleted.

    Those stay that have not ended, or have a log entry newer than `last_entry`: they are not what somebody looked at.
    """

    job_ids: tuple[int, ...]
    last_entry: int


@dataclass(frozen=True, slots=True)
class Trimming:
    """Of some log entries behind the id `after` delete those from before that time. Answered by Trimmed."""

    before: float
    after: int = 0


KeyPlace = tuple[str, str, str, str]
"""Until when a unique key was held, and the key."""


@dataclass(frozen=True, slots=True)
class OccurrenceTrimming:
    """Of some schedules behind the name `after` delete the rows of occurrences from before that time.

    Answered by TrimmedOccurrences.
    """

    before: float
    after: str = ""


@dataclass(frozen=True, slots=True)
class GroupTrimming:
    """Of some groups behind the id `after` delete those that ended before that time, and have no members.

    Answered by TrimmedGroups.
    """

    before: float
    after: int = 0


@dataclass(frozen=True, slots=True)
class KeyTrimming:
    """Look at some of the unique keys whose time has passed, behind a place, and delete the rows of those that nobody
    holds any more. Answered by TrimmedKeys.
    """

    after: KeyPlace = ("", "", "", "")


@dataclass(frozen=True, slots=True)
class RateTrimming:
    """Look at some of the buckets behind the scope `after`, and delete the rows of those that say nothing any more.
    Answered by TrimmedRates.
    """

    after: str = ""


@dataclass(frozen=True, slots=True)
class TimeLeapt:
    """The clock tells a time that may be wrong; the next daemon learns when that was seen. Answered by None."""


@dataclass(frozen=True, slots=True)
class ScheduleDue:
    """What is due of a schedule behind its `cursor`, at wall time `now`, and the job that each occurrence asks for.

    `job` is None where it is refused; `jitter` in seconds; `uid` is who has put it, None where the daemon submits.
    """

    name: str
    cursor: float
    due: Due
    rules: Rules
    job: Submitted | None
    jitter: float
    now: float
    uid: int | None = None


@dataclass(frozen=True, slots=True)
class OccurrencesDue:
    """Deal with what is due of some schedules. Answered by a tuple of Dealt, in order."""

    schedules: tuple[ScheduleDue, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class OccurrenceAsked:
    """Somebody asks for a job of a schedule, now. Answered by its id."""

    name: str
    job: Submitted
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row of occurrences that were skipped in a row, as it is stored."""

    span: Span
    reason: Reason
    job_id: int | None


@dataclass(frozen=True, slots=True)
class Backfill:
    """Occurrences of a schedule that have no job are to become some, each from an instant on, None: at once.

    In place of the `rows` that they were skipped in comes what is `left` of those. Answered by a tuple of the jobs'
    ids; by None, with nothing done, where one of the rows is not as it was, or an occurrence has got one.
    """

    name: str
    wanted: tuple[tuple[float, float | None], ...]
    rows: tuple[SkippedRow, ...]
    left: tuple[SkippedRow, ...]
    job: Submitted
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class ScheduleDefined:
    """What is configured of a schedule, as JSON text. `changed`: of one whose times have changed, what was due by the
    old ones; where they have changed, or it is new, nothing is due from before `since`, which is now where it is None.
    """

    name: str
    definition: str
    is_new: bool = False
    changed: tuple[Span, ...] = ()
    since: float | None = None


@dataclass(frozen=True, slots=True)
class SchedulesDefined:
    """These schedules are configured, and none else. Answered by a tuple of StoredSchedule, in order."""

    schedules: tuple[ScheduleDefined, ...]


@dataclass(frozen=True, slots=True)
class SchedulePut:
    """Somebody makes a schedule, or changes one that was made so. Answered by it as a StoredSchedule.

    Refused where there would be more than `most` of them.
    """

    schedule: ScheduleDefined
    uid: int
    made_by: str
    most: int


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    """A schedule that was made by a SchedulePut is wanted no more. Answered by whether there was one."""

    name: str


@dataclass(frozen=True, slots=True)
class SchedulesSetBack:
    """The clock was set back behind what some schedules were dealt with. Answered by a tuple of SetBack, in order."""

    schedules: tuple[tuple[str, Calendar], ...]


@dataclass(frozen=True, slots=True)
class SchedulePaused:
    """Have no occurrence of a schedule become a job until it is resumed. Answered by None."""

    name: str


@dataclass(frozen=True, slots=True)
class ScheduleResumed:
    """Have its occurrences become jobs again. Answered by None."""

    name: str


Item = (
    Submission
    | Flow
    | BulkSubmission
    | GroupCancelled
    | JobFact
    | JobRequests
    | AgainAsked
    | Signal
    | JobSettled
    | JobsChanged
    | Noted
    | AttemptNotes
    | StateSaved
    | QueuePaused
    | QueueResumed
    | ClockJumped
    | DaemonStarted
    | TimeLeapt
    | Deletion
    | Trimming
    | OccurrenceTrimming
    | GroupTrimming
    | KeyTrimming
    | RateTrimming
    | OccurrencesDue
    | OccurrenceAsked
    | Backfill
    | SchedulesDefined
    | SchedulePut
    | ScheduleDeleted
    | SchedulesSetBack
    | SchedulePaused
    | ScheduleResumed
    | Look
    | Ping
)


@dataclass(frozen=True, slots=True)
class Dealt:
    """How far a schedule was dealt with by now, and what became of its occurrences; nothing, where somebody else has
    dealt with them, or nobody can, with the `refusal`. Of a skip `is_more`: its row was there, and has grown.
    """

    cursor: float
    verdicts: tuple[Verdict, ...] = ()
    is_more: bool = False
    refusal: Exception | None = None


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule as it is stored; `known` are occurrences behind the cursor that became jobs.

    `uid` and `made_by` are of who has put it, None where the configuration has it.
    """

    name: str
    definition: str
    since: float
    cursor: float
    paused_at: float | None
    known: frozenset[float] = frozenset()
    uid: int | None = None
    made_by: str | None = None


@dataclass(frozen=True, slots=True)
class SetBack:
    """Where a schedule's cursor is by now, what behind it became jobs, and how many skips were not true."""

    cursor: float
    known: frozenset[float]
    taken_back: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A submitted job's id, and whether this submission made it, or took the place of the one that did."""

    id: int
    created: bool
    replaced: bool = False


class StoredFlow(NamedTuple):
    """What became of the jobs, and the ids of the groups, in order."""

    jobs: tuple[Stored, ...]
    groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a Deletion came to: the jobs that are gone, their attempts, how many log entries; `left` awaits another."""

    jobs: tuple[int, ...] = ()
    attempts: tuple[tuple[int, int], ...] = ()
    entries: int = 0
    left: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Trimmed:
    """How many log entries are gone; `next` is the id to go on after, None where the last looked at were younger."""

    entries: int
    next: int | None


@dataclass(frozen=True, slots=True)
class TrimmedOccurrences:
    """How many rows are gone; `next` is the name to go on after, None where there are no more schedules."""

    rows: int
    next: str | None


@dataclass(frozen=True, slots=True)
class TrimmedGroups:
    """How many groups are gone; `next` is the id to go on after, None where there are no more."""

    groups: int
    next: int | None


@dataclass(frozen=True, slots=True)
class TrimmedKeys:
    """How many rows are gone; `next` is the place to go on behind, None where the last was looked at."""

    rows: int
    next: KeyPlace | None


@dataclass(frozen=True, slots=True)
class TrimmedRates:
    """How many rows are gone; `next` is the scope to go on behind, None where the last was looked at."""

    rows: int
    next: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job whose next attempt is to start now; the claim is committed. It was due for `waited` seconds.

    `carry` is what those before it have finished, as JSON text; None where they have nothing.
    """

    job: Job
    token: str
    waited: float = 0.0
    carry: str | None = None


class EndedAttempt(NamedTuple):
    """An attempt that is over, `seconds` after it got its slot; `is_retried`: its job has spent a retry on another."""

    class_name: str
    outcome: Outcome
    seconds: float
    is_retried: bool


class LogLine(NamedTuple):  # each job has several, and a frozen dataclass takes three times as long to make
    """A log entry as it was committed; `at` in seconds since the epoch, `context` is JSON text.

    `attempts_allowed` is how many attempts the job was to have in all, where the entry is of one that ran.
    `is_passing`: what it tells of went wrong, and is tried again.
    """

    id: int
    at: float
    type: EntryType
    message: str
    job_id: int
    attempt: int | None
    class_name: str
    method_name: str
    context: str | None = None
    attempts_allowed: int | None = None
    is_passing: bool = False

    @property
    def target(self) -> str:
        """Class and method as logs and people write them."""
        return f"{self.class_name}::{self.method_name}"


class StoredValue(NamedTuple):
    """A value of a job as it was committed, JSON text."""

    job_id: int
    number: int
    attempt: int
    step: str | None
    at: str
    value: str

    def to_json(self) -> str:
        """As it is told, the value as it is stored: that a reply can hold it was seen before."""
        own = {"number": self.number, "attempt": self.attempt, "step": self.step, "at": self.at}
        return f'{to_json(own)[:-1]},"value":{self.value}}}'


@dataclass(frozen=True, slots=True)
class StoredBulk:
    """The new jobs of a bulk as they were stored, each with an entry in the log; made one by one for whoever asks.

    `first` is the first of them, and `first_line` its entry: the others' ids follow. `rest` is what they have in common
    in their entries' contexts; in the parameters of all there are so many `characters`.
    """

    first: Job
    first_line: LogLine
    rest: str
    rows: tuple[BulkRow, ...]
    characters: int

    def contexts(self) -> Iterator[tuple[int, str]]:
        """The ids of its jobs, with the contexts of their entries."""
        for job_id, row in enumerate(self.rows, self.first.id):
            yield job_id, snapshot_of(job_id, self.rest, masked_text(row.parameters, row.sensitive))

    def __len__(self) -> int:
        return len(self.rows)

    def job(self, place: int) -> Job:
        """The job of this row, counted from 0."""
        row = self.rows[place]
        call = replace(self.first.call, parameters=row.parameters, sensitive=row.sensitive)
        return replace(self.first, id=self.first.id + place, call=call, idempotency_key=row.idempotency_key)

    def line(self, place: int) -> LogLine:
        """The entry of this row's job."""
        first, row = self.first_line, self.rows[place]
        job_id = first.job_id + place
        context = snapshot_of(job_id, self.rest, masked_text(row.parameters, row.sensitive))
        return first._replace(id=first.id + place, job_id=job_id, context=context)


@dataclass(frozen=True, slots=True)
class Committed:
    """One transaction, on disk: an answer (a value or an exception) a item, and what follows from it.

    `stops` are the running jobs that somebody wants cancelled, with the attempt to stop.
    `next_due` is when to look again though nothing happens, in seconds since the epoch.
    `changed` are the jobs after each of their changes, in order, progress among them; not those whose time
    moved with the clock. `tally` is what all jobs add up to by now. `attempts` are those that are over.
    `written` are the rows of jobs and attempts as they were written; with `has_unseen_changes` others have changed too.
    What was deleted is among the answers.
    `bulks` are told before all else: their jobs are not among the changed, nor their entries among the lines. `values`
    are those that attempts have emitted. `groups` have ended; jobs that were `settled` have failed without an attempt
    that did; of the queues that `resumed` the pause is over. `placed` is what else has become of jobs that share keys,
    after what is `written`, or as that says too: the columns, by id.
    """

    answers: tuple[Any, ...]
    claims: tuple[Claim, ...]
    ended: tuple[Job, ...]
    stops: tuple[Job, ...]
    lines: tuple[LogLine, ...]
    next_due: float | None
    changed: tuple[Job, ...]
    tally: Tally
    attempts: tuple[EndedAttempt, ...]
    written: tuple[Written, ...] = ()
    has_unseen_changes: bool = False
    bulks: tuple[StoredBulk, ...] = ()
    groups: tuple[Group, ...] = ()
    settled: tuple[Job, ...] = ()
    resumed: tuple[str, ...] = ()
    placed: Mapping[int, Row] = field(default_factory=dict)
    values: tuple[StoredValue, ...] = ()


class LostUpdateError(Exception):
    """A guarded update met another status than was read a moment before: somebody else writes this file.

    Of jobs that were written together it is not known which of them it was.
    """

    def __init__(self, *expected: tuple[int, Status]) -> None:
        first, *others = expected
        job_id, status = first
        more = f", or one of {len(others)} others," if others else ""
        super().__init__(f"job {job_id} was {status}{more} a moment ago and is not any more")
