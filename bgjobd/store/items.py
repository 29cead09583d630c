"""What goes to the writer: plain values, no closures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from bgjob.codec import JsonObject
from bgjob.words import EntryType, Status
from bgjobd.core.edges import NewGroup
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
from bgjobd.core.hosts import Profile
from bgjobd.core.job import AttemptKey, Job
from bgjobd.core.many import Wish
from bgjobd.core.schedules import Calendar, Due, Reason, Rules, Span
from bgjobd.store.alert_items import AlertAcknowledged, AlertsLooked, AlertsMuted, AlertsTested, AlertTrimming


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
class Received:
    """A job that an application's own transaction has asked for: to be stored under the id that it was told, `fact.id`,
    in one transaction with the end of its row in the inbox; `refused` is why it has failed as it is stored.

    Answered by Stored; None where another daemon has it. Raises DuplicateError where it would be another job.
    """

    fact: Submitted
    submitter: Submitter
    refused: str | None = None


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
class ManyAsked:
    """The same wish about some of many jobs, a request each, by itself: what is refused of it is left out, and so is a
    job of none of these `statuses` any more, or that has ended, or was submitted, after `as_of`.

    `what` tells of all of them in a row of changes: that of id `change`, None where there is none yet, by which
    so many were `done` and `left_out` before these, which are the last ones or not. Answered by many.Portion.
    """

    requests: tuple[JobRequests, ...]
    wish: Wish
    statuses: frozenset[Status]
    as_of: float
    at_most_once: bool
    what: JsonObject
    who: str
    change: int | None = None
    done: int = 0
    left_out: int = 0
    is_last: bool = False


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
class OutputEnded:
    """Head and tail of what an attempt has printed, whose end comes next, for other hosts; between them so many bytes
    are `left_out`. Answered by None.
    """

    job_id: int
    number: int
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)
    left_out: int


@dataclass(frozen=True, slots=True)
class QueuePaused:
    """Grant no slots to a queue until it is resumed, or until `resumes_at`, in place of an earlier such time. Answered
    by None.
    """

    queue: str
    resumes_at: float | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class QueueResumed:
    """Grant slots to a queue again. Answered by None."""

    queue: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ClassHeld:
    """Start no attempt of a class until it is resumed, for this user has asked. Answered by whether it was held."""

    class_name: str
    uid: int | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ClassResumed:
    """Start attempts of a class again, whatever holds it. Answered by whether it was held."""

    class_name: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class DaemonStarted:
    """A daemon of this version begins, on a host where there are several. The clock may have been set while nobody
    ran: hold no retry longer than its own delay. Answered by None.
    """

    version: str = ""
    host: str | None = None


@dataclass(frozen=True, slots=True)
class CodeLoaded:
    """Attempts run this code from now on, for `who` has asked for a reload, or by itself. Answered by None."""

    code_version: str
    host: str | None = None
    is_asked: bool = False
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """All stays as it was. Answered by None."""

    reason: str
    host: str | None = None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class Beat:
    """This host lives; `profile` where it has to say something else of itself. Answered by hosts.Beaten.

    `may_be_alone`: where nothing has moved since, no transaction need look at all that there is beside it.
    """

    profile: Profile | None = None
    may_be_alone: bool = False


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host is lost, unless it has moved since it was seen in this term with so many beats, None: wherever it is.

    Answered by whether it is by this.
    """

    host: int
    term: int
    beats: int | None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptsLost:
    """How some attempts of a lost host end, as far as they have not ended yet. Answered by the jobs after that.

    Nothing is done where another host sees to the same ones at that moment.
    """

    host: int
    ends: tuple[JobFact, ...]


@dataclass(frozen=True, slots=True)
class HooksTakenOver:
    """Some hooks that a lost host has not begun to call, of these classes, are this host's from now on. Answered by the
    keys of their attempts; by none where another host sees to the same one at that moment.
    """

    host: int
    classes: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class HookBegun:
    """This host is about to call the hook that is owed after this attempt. Answered by whether it may."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class HostDrained:
    """The host of this name is to start nothing new until its next daemon, for somebody, `by`, has asked for it.

    Answered by whether it is there.
    """

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class HostLeft:
    """This host's daemon ends; what runs may go on. Answered by None."""


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
class ErrorTrimming:
    """Forget some of the errors that were met last before that time. Answered by TrimmedErrors."""

    before: float


@dataclass(frozen=True, slots=True)
class UsageTrimming:
    """Forget what the methods of classes take that are not `known`, and of which nothing completed since that time.
    Answered by how many methods that were.
    """

    before: float
    known: frozenset[str]


@dataclass(frozen=True, slots=True)
class HostTrimming:
    """Forget the hosts that have left, or were lost, before that time and hold nothing. Answered by their names."""

    before: float


@dataclass(frozen=True, slots=True)
class RetentionTaken:
    """This host is about to delete what is old: one does at a time. Answered by whether it may, until it is done."""


@dataclass(frozen=True, slots=True)
class RetentionDone:
    """Another host may. Answered by None."""


@dataclass(frozen=True, slots=True)
class TimeLeapt:
    """The clock tells a time that may be wrong; the next daemon learns when that was seen. Answered by None."""


@dataclass(frozen=True, slots=True)
class ScheduleDue:
    """What is due of a schedule behind its `cursor`, at wall time `now`, and the job that each occurrence asks for.

    `job` is None where it is refused; `jitter` in seconds; `uid` is who has put it, None where the daemon submits. The
    `definition` is as this host has it, None where no other may have another one.
    """

    name: str
    cursor: float
    due: Due
    rules: Rules
    job: Submitted | None
    jitter: float
    now: float
    uid: int | None = None
    definition: str | None = None


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
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    """A schedule that was made by a SchedulePut is wanted no more. Answered by whether there was one."""

    name: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class SchedulesSetBack:
    """The clock was set back behind what some schedules were dealt with. Answered by a tuple of SetBack, in order."""

    schedules: tuple[tuple[str, Calendar], ...]


@dataclass(frozen=True, slots=True)
class SchedulePaused:
    """Have no occurrence of a schedule become a job until it is resumed. Answered by None."""

    name: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleResumed:
    """Have its occurrences become jobs again. Answered by None."""

    name: str
    who: str | None = None


Item = (
    Submission
    | Received
    | Flow
    | BulkSubmission
    | GroupCancelled
    | JobFact
    | JobRequests
    | ManyAsked
    | AgainAsked
    | Signal
    | JobSettled
    | JobsChanged
    | Noted
    | AttemptNotes
    | StateSaved
    | OutputEnded
    | QueuePaused
    | QueueResumed
    | ClassHeld
    | ClassResumed
    | ClockJumped
    | DaemonStarted
    | CodeLoaded
    | ReloadFailed
    | TimeLeapt
    | Deletion
    | Trimming
    | OccurrenceTrimming
    | GroupTrimming
    | KeyTrimming
    | RateTrimming
    | ErrorTrimming
    | UsageTrimming
    | AlertTrimming
    | HostTrimming
    | RetentionTaken
    | RetentionDone
    | OccurrencesDue
    | OccurrenceAsked
    | Backfill
    | AlertsLooked
    | AlertsTested
    | AlertAcknowledged
    | AlertsMuted
    | SchedulesDefined
    | SchedulePut
    | ScheduleDeleted
    | SchedulesSetBack
    | SchedulePaused
    | ScheduleResumed
    | Look
    | Ping
    | Beat
    | HostLost
    | AttemptsLost
    | HooksTakenOver
    | HookBegun
    | HostDrained
    | HostLeft
)
