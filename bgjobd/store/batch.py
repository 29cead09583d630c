"""What a transaction has read of the file, and what its items come to so far: values in memory, no SQL.

Each item works on an overlay, which the batch takes in, or which is dropped where the item is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgjob.errors import GroupNotFoundError, JobNotFoundError, QueueFullError
from bgjob.words import EntryType, Status
from bgjobd.core.edges import Fate, Group, Node
from bgjobd.core.fingerprint import MetError
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.hosts import Term
from bgjobd.core.job import AttemptKey, Call, Job
from bgjobd.core.quarantine import ClassEnd, ClassHold
from bgjobd.core.rates import Rate, scope_of_key
from bgjobd.core.unique import Holding, UniqueKey
from bgjobd.store.committed import Claim, Committed, EndedAttempt, Entry, LogLine, StoredBulk, StoredValue
from bgjobd.store.engines.locks import ALONE, Locks
from bgjobd.store.holds import Holds
from bgjobd.store.items.submissions import Flow
from bgjobd.store.progress import Steps
from bgjobd.store.rows import checked, is_of_same_key, sealed_row
from bgjobd.store.tally import Countable, Move, Tally
from bgjobd.store.values import Kept
from bgjobd.store.written import BEHIND, Kind, Row, Written

_PLACES: Final = {kind: place for place, kind in enumerate(Kind)}

CANCEL: Final = "cancel"
CANCEL_NESTED: Final = "cancel_nested"


class Unsettled(NamedTuple):
    """What the jobs behind `done_to` that come after this node have not heard of yet.

    `of` is "job" or "group"; CANCEL where a group's members behind it are to be cancelled, CANCEL_NESTED those groups.
    """

    of: str
    id: int
    done_to: int = 0


class Arrival(NamedTuple):
    """A job that has come in where jobs take turns, and has no turn yet; `has_begun`: it has had an attempt."""

    id: int
    queue: str
    key: str | None
    priority: int
    has_begun: bool


class SentSignal(NamedTuple):
    """A signal that a job was sent; `size` in bytes, 0 where a wait has taken it."""

    number: int
    name: str
    key: str | None
    is_untaken: bool
    size: int


class StoredStep(NamedTuple):
    """A step or wait: the attempt that began or finished it, and in which place it was finished, None until it is."""

    attempt: int
    number: int | None


StoredSteps = dict[tuple[str, str, int], StoredStep]
"""The steps and waits of a job by kind, name and turn: a step may be named as a signal is."""


class Met(NamedTuple):
    """An error that has ended an attempt of a class's; `has_failed`: the job has failed by it, for good."""

    error: MetError
    class_name: str
    job_id: int
    number: int
    has_failed: bool


Cut = tuple[int, str]
"""A job, and the step of this name before which what it has finished ends."""


class Keyed(NamedTuple):
    """A job as its idempotency key tells it apart."""

    id: int
    digest: str | None
    submitted_uid: int | None
    call: Call


# Written out: dataclasses, whose fields each have a factory, would take three times as long to make for each commit.


class Needs:
    """What is to be loaded for items; each name is that of the values in Batch."""

    def __init__(self) -> None:
        self.jobs: list[int] = []
        self.last_begun: list[int] = []
        self.noted: list[AttemptKey] = []
        self.keyed: list[str] = []
        self.new_jobs: int = 0
        self.retried: list[int] = []
        self.changed: list[int] = []
        self.flows: list[Flow] = []
        self.unique: list[UniqueKey] = []
        self.stepped: list[int] = []
        self.unused: list[int] = []
        self.ended: list[int] = []
        self.results: list[str] = []
        self.signalled: list[int] = []
        self.signalled_keys: list[str] = []
        self.valued: list[AttemptKey] = []
        self.cuts: list[Cut] = []
        self.received: list[int] = []


class Gathered:
    """What items come to: rows to write and what is told of them, in order; and how jobs stand after them.

    `pending` is how many jobs more, or less, wait in each queue; `noted` how many notes of an attempt are recorded;
    `sealed` which groups take no more members; `unsettled` what is to be settled beside all that has ended;
    `progressed` which entries tell how far an attempt is;
    `next_expiry` when the first of the new jobs expires; `holdings` who holds the unique keys; `touched` are the keys,
    each with its queue, of jobs that have come in or left, `arrivals` those jobs that have no turn yet; `codes` is of
    which code attempts are; `valued` how many values of an attempt are kept, `kept_values` which of a job's are.
    `settled` are jobs that a person says have failed; `errors` what has ended attempts, not written yet; `class_ends`
    what else bears on whether their classes are held, which mostly is nothing.
    Of `forgiven` jobs the edges that had failed count as met; those `reviving` go on as what they come after does.
    """

    def __init__(self) -> None:
        self.rows: list[tuple[Kind, Row]] = []
        self.entries: list[Entry] = []
        self.ended: list[Job] = []
        self.stops: list[Job] = []
        self.settled: list[Job] = []
        self.changed: list[Job] = []
        self.moves: list[Move] = []
        self.attempts: list[EndedAttempt] = []
        self.claims: list[Claim] = []
        self.jobs: dict[int, Job] = {}
        self.keyed: dict[str, Keyed] = {}
        self.noted: dict[AttemptKey, int] = {}
        self.progressed: dict[AttemptKey, Steps] = {}
        self.pending: dict[str, int] = {}
        self.groups: dict[int, Group] = {}
        self.group_keys: dict[str, int] = {}
        self.new_groups: list[Group] = []
        self.sealed: list[int] = []
        self.unsettled: list[Unsettled] = []
        self.forgiven: set[int] = set()
        self.reviving: set[int] = set()
        self.next_expiry: float = math.inf
        self.holdings: dict[UniqueKey, Holding | None] = {}
        self.arrivals: list[Arrival] = []
        self.touched: set[tuple[str, str]] = set()
        self.steps: dict[int, StoredSteps] = {}
        self.signals: dict[int, list[SentSignal]] = {}
        self.codes: dict[AttemptKey, str | None] = {}
        self.values: list[StoredValue] = []
        self.valued: dict[AttemptKey, int] = {}
        self.kept_values: dict[int, Kept] = {}
        self.errors: list[Met] = []
        self.class_ends: tuple[ClassEnd, ...] = ()

    def expire_at(self, at: float | None) -> None:
        """Note by when a new job is to have got a slot."""
        if at is not None:
            self.next_expiry = min(self.next_expiry, at)

    def write(self, kind: Kind, row: Row) -> None:
        """Have the row written. Raises ValueError and OverflowError where the file cannot hold it."""
        self.rows.append((kind, checked(row)))

    def move(self, before: Job | Countable | None, after: Job | Countable | None) -> None:
        """Note a change of status, or that a pending job waits for others, or no more."""
        self.moves.append((before, after))
        if before is not None and before.status is Status.PENDING and not before.is_waiting:
            self.pending[before.queue] = self.pending.get(before.queue, 0) - 1
        if after is not None and after.status is Status.PENDING and not after.is_waiting:
            self.pending[after.queue] = self.pending.get(after.queue, 0) + 1


@dataclass(kw_only=True)
class Batch(Gathered):
    """What one transaction has loaded, beside what it has gathered; `last_id` is that of the newest job,
    `ids_until` up to which ids are taken for others.

    `last_begun` is the latest attempt, of jobs that were asked for, which did not fail to start. `stands` is what has
    become of what new jobs come after, and in which group that is; `failed_edges` what jobs that are to be retried
    come after that ended badly; `submitters` whose jobs those are that are to be changed; `grown` is how many members
    groups got in bulk. Parameters have `max_parameters` bytes at most. `rules` is what queues say of keys, `rates` of
    classes how often they may start; `placed` has columns of jobs that statements of their own have set, by id;
    `promoted` are those that have come to a place of their key, each with its queue.
    `cuts` has how many steps and waits come before a finished step, and how many bytes their results take.
    `written` are the rows that have been written, which are all that have changed unless `has_unseen_changes`, beside
    the `bulks`. `resumed` are the queues whose pause is over, `next_resume` when the next one's is. `distance` is
    how far off the database is, as an engine tells it; `locks` keep other writers away, beside whom `own_queues` are
    ours. `host` is whose transaction it is, None of SQLite's one; no class of `hookless` has a hook. `received` are in
    the inbox, and in nobody else's hands. `met` is which error has ended which
    attempt, and whether its job has failed. `class_holds` is what is known of classes whose attempts crash, so that it
    `counts_ends` that are none; `said` are lines about the daemon itself.
    """

    now: float
    jitter: Callable[[], float]
    tally: Tally
    max_pending: Mapping[str, int]
    max_parameters: int
    rules: Mapping[str, KeyRules] = field(default_factory=dict)
    rates: Mapping[str, Rate] = field(default_factory=dict)
    last_id: int = 0
    last_group_id: int = 0
    ids_until: int = 0
    group_ids_until: int = 0
    last_begun: dict[int, int] = field(default_factory=dict)
    stands: dict[int, tuple[Fate, int | None]] = field(default_factory=dict)
    failed_edges: dict[int, list[Node]] = field(default_factory=dict)
    submitters: dict[int, int | None] = field(default_factory=dict)
    cuts: dict[Cut, tuple[int, int]] = field(default_factory=dict)
    grown: dict[int, int] = field(default_factory=dict)
    ended_groups: list[Group] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    has_unseen_changes: bool = False
    bulks: list[StoredBulk] = field(default_factory=list)
    no_results: set[str] = field(default_factory=set)
    received: Collection[int] = ()
    resumed: list[str] = field(default_factory=list)
    next_resume: float = math.inf
    holds: Holds = field(default_factory=Holds)
    placed: dict[int, Row] = field(default_factory=dict)
    promoted: dict[int, str] = field(default_factory=dict)
    distance: float = 1.0
    locks: Locks = ALONE
    own_queues: Collection[str] | None = None
    host: Term | None = None
    class_holds: dict[str, ClassHold] = field(default_factory=dict)
    counts_ends: bool = False
    said: list[tuple[EntryType, str]] = field(default_factory=list)
    met: list[tuple[int, AttemptKey, bool]] = field(default_factory=list)
    hookless: Collection[str] = ()

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def host_id(self) -> int | None:
        return None if self.host is None else self.host.host

    def is_limited(self, queue: str, key: str | None) -> bool:
        """Whether jobs of this key may have to wait for each other."""
        if key is None:
            return False
        rules = self.rules.get(queue)
        return (rules is not None and rules.is_limited) or self.holds.until(scope_of_key(queue, key)) > 0

    def key_in(self, queue: str, key: str | None, uid: int | None) -> str | None:
        """The key of a user's job in the queue: where users take turns it is the user, whatever was given, else one
        could take more turns.
        """
        rules = self.rules.get(queue)
        if rules is None or rules.share is not Share.USER:
            return key
        return None if uid is None else str(uid)

    @property
    def may_be_behind(self) -> bool:
        """Whether jobs may wait for those with their key."""
        return bool(self.rules or self.holds) or self.tally.may_be_behind

    @property
    def may_wait(self) -> bool:
        """Whether jobs may wait for time, or a signal, after an attempt."""
        return self.tally.waiting > 0 or any(
            after is not None and after.is_waiting for _, after in self.moves
        )

    @property
    def is_followed_by_none(self) -> bool:
        """Whether nothing comes after what it has come to, as where all of that are new jobs that are in no group."""
        if self.unsettled or self.groups or self.new_groups or self.sealed or self.grown:
            return False
        return all(
            before is None and isinstance(after, Job) and after.group_id is None
            for before, after in self.moves
        )

    def takes_turns(self, queue: str) -> bool:
        """Whether keys take turns in the queue."""
        rules = self.rules.get(queue)
        return rules is not None and rules.share is not Share.NONE

    def join(self, bulk: StoredBulk) -> None:
        """Take in the jobs of a bulk, which are written."""
        self.bulks.append(bulk)
        queue = bulk.first.queue
        self.pending[queue] = self.pending.get(queue, 0) + len(bulk)
        self.expire_at(bulk.first.expires_at)
        group_id = bulk.first.group_id
        if group_id is not None:
            self.grown[group_id] = self.grown.get(group_id, 0) + len(bulk)

    def take_in(self, overlay: Overlay) -> None:
        """Make what an item has come to part of the transaction."""
        self.last_id, self.last_group_id = overlay.last_id, overlay.last_group_id
        if overlay.progressed:
            before, known = len(self.entries), self.progressed
            known |= {key: told.behind(before, known.get(key)) for key, told in overlay.progressed.items()}
        self.rows += overlay.rows
        self.entries += overlay.entries
        self.ended += overlay.ended
        self.changed += overlay.changed
        self.moves += overlay.moves
        self.attempts += overlay.attempts
        self.claims += overlay.claims
        self.jobs |= overlay.jobs
        self.next_expiry = min(self.next_expiry, overlay.next_expiry)
        for queue, count in overlay.pending.items():
            self.pending[queue] = self.pending.get(queue, 0) + count
        for name in overlay.seldom:
            mine, more = getattr(self, name), getattr(overlay, name)
            if isinstance(mine, list):
                mine += more
            else:
                mine |= more
        for scope, until in overlay.holds:
            self.holds.hold(scope, until)
        if overlay.class_ends:
            self.class_ends += overlay.class_ends
            self.counts_ends = True

    def take_rows(self) -> dict[Kind, list[Row]]:
        """The rows that are not written yet, which then count as written."""
        by_kind: dict[Kind, list[Row]] = {}
        for kind, row in self.rows:
            by_kind.setdefault(kind, []).append(row)
            if kind is Kind.TAKEN_KEY:  # what was released before is written after it
                released = by_kind.get(Kind.RELEASED_KEY, [])
                released[:] = [one for one in released if not is_of_same_key(one, row)]
        self.rows.clear()
        in_order = {kind: by_kind[kind] for kind in sorted(by_kind, key=_PLACES.__getitem__)}
        self.written.append(in_order)
        return in_order

    def with_entries(self) -> set[int]:
        """The jobs that have log entries which are not written yet."""
        return {job_id for _, _, _, job_id, *_ in self.entries}

    def waiting_in(self, queue: str) -> int:
        """How many jobs take room in a queue by now: pending ones, but for those that sleep or wait for a signal."""
        pending = self.tally.of_queue(queue, Status.PENDING) - self.tally.waiting_of(queue)
        return pending + self.pending.get(queue, 0)

    def committed(
        self, answers: tuple[Any, ...], lines: tuple[LogLine, ...], next_due: float | None, tally: Tally
    ) -> Committed:
        """All of it, once it is on disk."""
        ended = {job.id for job in self.ended}
        return Committed(
            answers,
            tuple(self.claims),
            tuple(self.ended),
            tuple([job for job in self.stops if job.id not in ended]),
            lines,
            next_due,
            tuple([self._as_placed(job) for job in self.changed] if self.placed else self.changed),
            tally,
            tuple(self.attempts),
            tuple(self.written),
            self.has_unseen_changes,
            tuple(self.bulks),
            tuple(self.ended_groups),
            tuple(self.settled),
            tuple(self.resumed),
            self.placed,
            tuple(self.values),
            tuple(self.said),
        )

    def place(self, id: int, **columns: Any) -> None:
        """Note what a statement of its own has made of a job."""
        self.placed[id] = {**self.placed.get(id, {}), **columns}

    def _as_placed(self, job: Job) -> Job:
        ready = self.placed.get(job.id, {}).get("ready", BEHIND if job.is_behind else None)
        is_behind = ready == BEHIND and job.status is Status.PENDING
        return job if is_behind == job.is_behind else job.changed(is_behind=is_behind)


class Overlay(Gathered):
    """What one item has come to, over what the batch has; `holds` are scopes that it holds, and until when.

    Of all that can be gathered most items have little: what is not usual is made when it is first asked for, and is
    among the `seldom` from then on.
    """

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.last_id, self.last_group_id = batch.last_id, batch.last_group_id
        self.holds: list[tuple[str, float]] = []
        self.seldom: list[str] = []
        self.rows, self.entries, self.ended, self.changed, self.moves = [], [], [], [], []
        self.attempts, self.claims = [], []
        self.jobs, self.pending, self.progressed = {}, {}, {}
        self.next_expiry, self.class_ends = math.inf, ()

    if not TYPE_CHECKING:  # to which it has them all

        def __getattr__(self, name: str) -> Any:
            if name not in _MAKERS:
                raise AttributeError(name)
            made = _MAKERS[name]()
            setattr(self, name, made)
            self.seldom.append(name)
            return made

    def job(self, job_id: int) -> Job:
        """The job as it stands now. Raises JobNotFoundError."""
        job = self.try_job(job_id)
        if job is None:
            raise JobNotFoundError(id=job_id)
        return job

    def try_job(self, job_id: int) -> Job | None:
        """The same; None where it was not loaded."""
        return self.jobs.get(job_id) or self.batch.jobs.get(job_id)

    def keyed_as(self, key: str) -> Keyed | None:
        """The job that has the idempotency key now."""
        return self.keyed.get(key) or self.batch.keyed.get(key)

    def holding(self, key: UniqueKey) -> Holding | None:
        """Who is stored to hold the key now, as far as that was loaded."""
        return self.holdings[key] if key in self.holdings else self.batch.holdings.get(key)

    def group(self, group_id: int) -> Group:
        """The group as it stands now, but for what it counts. Raises GroupNotFoundError."""
        group = self.groups.get(group_id) or self.batch.groups.get(group_id)
        if group is None:
            raise GroupNotFoundError(id=group_id)
        return group

    def try_group_of_key(self, key: str) -> int | None:
        """The group that has this idempotency key."""
        return self.group_keys.get(key) or self.batch.group_keys.get(key)

    def seal(self, group: Group) -> None:
        """Have it take no more members."""
        self.groups[group.id] = group
        self.sealed.append(group.id)
        self.write(Kind.SEALED_GROUP, sealed_row(group))

    def enclosing(self, group_id: int | None) -> list[Group]:
        """This group, the one that it is in, and so on. Raises GroupNotFoundError."""
        found = []
        while group_id is not None:
            found.append(self.group(group_id))
            group_id = found[-1].parent
        return found

    def noted_of(self, key: AttemptKey) -> int | None:
        """How many notes of the attempt are recorded; None where there is no such attempt."""
        return self.noted.get(key, self.batch.noted.get(key))

    def waiting_in(self, queue: str) -> int:
        """How many jobs are pending in a queue by now."""
        return self.batch.waiting_in(queue) + self.pending.get(queue, 0)

    def check_room(self, queue: str) -> None:
        """Raises QueueFullError where no other job may be pending in the queue."""
        limit = self.batch.max_pending.get(queue)
        if limit is not None and self.waiting_in(queue) >= limit:
            raise QueueFullError(queue=queue, limit=limit)

    def steps_of(self, job_id: int) -> StoredSteps:
        """The steps and waits of the job, to be changed."""
        if job_id not in self.steps:
            self.steps[job_id] = dict(self.batch.steps.get(job_id, {}))
        return self.steps[job_id]

    def signals_of(self, job_id: int) -> list[SentSignal]:
        """What the job was sent, in order; to be changed."""
        if job_id not in self.signals:
            self.signals[job_id] = list(self.batch.signals.get(job_id, []))
        return self.signals[job_id]

    def valued_of(self, key: AttemptKey) -> int:
        """How many values of the attempt are kept."""
        return self.valued.get(key, self.batch.valued.get(key, 0))

    def kept_values_of(self, job_id: int) -> Kept:
        """Which values of the job there are."""
        return self.kept_values.get(job_id) or self.batch.kept_values.get(job_id) or Kept()

    def code_of(self, key: AttemptKey) -> str | None:
        """Of which code the attempt is, as far as that was loaded, or it has just begun."""
        return self.codes.get(key, self.batch.codes.get(key))

    def has_advanced(self, key: AttemptKey) -> bool:
        """Whether the attempt has finished a step of its own."""
        known = self.steps.get(key[0]) or self.batch.steps.get(key[0], {})
        return any(step.attempt == key[1] and step.number is not None for step in known.values())

    def at_gate(self, before: Job | None, after: Job) -> Job:
        """The job as the gate is to find it: where it has come in, behind its key; what it has left is looked at.

        It keeps its turn as long as it waits for nothing but that; who comes in waits, behind its key or not, until it
        is given one.
        """
        batch = self.batch
        if not (batch.rules or after.key or after.turn) and (before is None or before.key is None):
            return after
        if before is not None and before.key is not None and after.status is not Status.RUNNING:
            self.touched.add((before.queue, before.key))
        is_kept = after.is_blocked or after.is_waiting
        is_in = after.status is Status.PENDING and not is_kept and after.is_due(batch.now)
        takes_turns = is_in and batch.takes_turns(after.queue)
        is_limited = is_in and batch.is_limited(after.queue, after.key)
        has_come_in = takes_turns and _has_come_in(before, after)
        if has_come_in:
            place = after.queue, after.key, after.priority, after.started_at is not None
            self.arrivals.append(Arrival(after.id, *place))
        if is_limited and after.key is not None:
            self.touched.add((after.queue, after.key))
        is_behind, turn = is_limited or has_come_in, after.turn if takes_turns and not has_come_in else 0
        if (after.is_behind, after.turn) == (is_behind, turn):
            return after
        return after.changed(is_behind=is_behind, turn=turn)


_MAKERS: Final[Mapping[str, Callable[[], Any]]] = {
    name: type(made) for name, made in vars(Gathered()).items() if isinstance(made, list | dict | set)
}


def _has_come_in(before: Job | None, after: Job) -> bool:
    """Whether it is to have a turn anew."""
    if before is None or before.status is not Status.PENDING or before.turn == 0:
        return True
    if before.is_blocked or before.is_waiting:
        return True
    return (before.queue, before.key, before.priority) != (after.queue, after.key, after.priority)
