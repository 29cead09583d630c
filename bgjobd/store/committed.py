"""What comes back of the writer: an answer to each item, and what a transaction has made of jobs; plain values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple

from bgjob.codec import to_json
from bgjob.words import EntryType, Outcome, Status
from bgjobd.core.edges import Group
from bgjobd.core.job import AttemptKey, Job
from bgjobd.core.masking import masked_text
from bgjobd.core.schedules import Verdict
from bgjobd.core.traces import Belonging
from bgjobd.store.items.retention import KeyPlace
from bgjobd.store.items.submissions import BulkRow
from bgjobd.store.snapshots import snapshot_of
from bgjobd.store.tally import Tally
from bgjobd.store.written import Row, Written


@dataclass(frozen=True, slots=True)
class Dealt:
    """How far a schedule was dealt with by now, and what became of its occurrences; nothing, where somebody else has
    dealt with them, or nobody can, with the `refusal`. Of a skip `is_more`: its row was there, and has grown. Nothing
    either where the definition that holds is another, which the host of this name has `set_by` its configuration.
    """

    cursor: float
    verdicts: tuple[Verdict, ...] = ()
    is_more: bool = False
    refusal: Exception | None = None
    set_by: str | None = None


@dataclass(frozen=True, slots=True)
class StoredSchedule:
    """A schedule as it is stored; `known` are occurrences behind the cursor that became jobs.

    `uid` and `made_by` are of who has put it, None where the configuration has it; `set_by` is the host of that.
    """

    name: str
    definition: str
    since: float
    cursor: float
    paused_at: float | None
    known: frozenset[float] = frozenset()
    uid: int | None = None
    made_by: str | None = None
    set_by: str | None = None


@dataclass(frozen=True, slots=True)
class SetBack:
    """Where a schedule's cursor is by now, what behind it became jobs, and how many skips were not true."""

    cursor: float
    known: frozenset[float]
    taken_back: int


class Stored(NamedTuple):
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

    rows: int
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
class TrimmedErrors:
    """How many errors are forgotten; `has_more`: others may be due."""

    rows: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A job whose next attempt is to start now; the claim is committed. It was due for `waited` seconds.

    `carry` is what those before it have finished, as JSON text; None where they have nothing.
    """

    job: Job
    token: str
    waited: float = 0.0
    carry: str | None = None


class Late(NamedTuple):
    """What an attempt has told came when others had settled it: nothing follows from that."""


class Ran(NamedTuple):
    """An attempt that completed: how many seconds it took by a clock that nobody sets, and bytes of memory, where that
    is known.
    """

    class_name: str
    method_name: str
    job_id: int
    number: int
    seconds: float
    memory: int | None


class EndedAttempt(NamedTuple):
    """An attempt that is over, `seconds` after it got its slot; `is_retried`: its job has spent a retry on another.

    It `ran` where it completed, and its process told for how long. It was over at wall time `at`; `has_failed`: so had
    its job, by it. It used so many seconds of `cpu`, and bytes of `memory`; its process `took` so long, if it told.
    """

    class_name: str
    outcome: Outcome
    seconds: float
    is_retried: bool
    ran: Ran | None = None
    key: AttemptKey = (0, 0)
    at: float = 0.0
    has_failed: bool = False
    cpu: float = 0.0
    memory: int = 0
    took: float | None = None


class LogLine(NamedTuple):  # each job has several, and a frozen dataclass takes three times as long to make
    """A log entry as it was committed; `at` in seconds since the epoch, `context` is JSON text.

    `attempts_allowed` is how many attempts the job was to have in all, where the entry is of one that ran.
    `is_passing`: what it tells of went wrong, and is tried again. `trace` is what the job, or its attempt, belongs to.
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
    trace: Belonging | None = None

    @property
    def target(self) -> str:
        """Class and method as logs and people write them."""
        return f"{self.class_name}::{self.method_name}"


Entry = tuple[
    float, EntryType, str, int, int | None, str, str, str | None, int | None, bool, Belonging | None
]
"""A LogLine without its id, which it gets last of all."""


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

    def told_from(self, entry_id: int) -> StoredBulk:
        """The same with the ids that its entries have from there on."""
        return replace(self, first_line=self.first_line._replace(id=entry_id))

    def job(self, place: int) -> Job:
        """The job of this row, counted from 0."""
        row = self.rows[place]
        call = replace(self.first.call, parameters=row.parameters, sensitive=row.sensitive)
        return self.first.changed(id=self.first.id + place, call=call, idempotency_key=row.idempotency_key)

    def line(self, place: int) -> LogLine:
        """The entry of this row's job."""
        first, row = self.first_line, self.rows[place]
        job_id = first.job_id + place
        context = snapshot_of(job_id, self.rest, masked_text(row.parameters, row.sensitive))
        return first._replace(id=first.id + place, job_id=job_id, context=context)


class Committed(NamedTuple):
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
    after what is `written`, or as that says too: the columns, by id. `said` are lines about the daemon itself.
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
    placed: Mapping[int, Row] = MappingProxyType({})
    values: tuple[StoredValue, ...] = ()
    said: tuple[tuple[EntryType, str], ...] = ()


class LostUpdateError(Exception):
    """A guarded update met another status than was read a moment before: somebody else writes this file.

    Of jobs that were written together it is not known which of them it was.
    """

    def __init__(self, *expected: tuple[int, Status]) -> None:
        first, *others = expected
        job_id, status = first
        more = f", or one of {len(others)} others," if others else ""
        super().__init__(f"job {job_id} was {status}{more} a moment ago and is not any more")


class OvertakenError(Exception):
    """Another writer has changed what this transaction has gone by; the next try finds that."""
