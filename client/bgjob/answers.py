"""What the daemon's answers mean: values made of a reply's parameters, and what an ended job comes to; no I/O here."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Generic, NamedTuple, TypeVar

from bgjob import shapes
from bgjob.codec import JsonObject, Reply
from bgjob.errors import (
    JobCancelledError,
    JobError,
    JobExpiredError,
    JobFailedError,
    JobForReviewError,
    from_reply,
)
from bgjob.words import EXPIRED, Status

T = TypeVar("T")
K = TypeVar("K")


class Key(int):
    """Where a page ends: the id of a job, and `at`, when it had ended, as a retry changes that; else None."""

    at: str | None

    def __new__(cls, number: int, at: str | None = None) -> Key:
        made = super().__new__(cls, number)
        made.at = at
        return made


class PageBy(Generic[T, K]):
    """Some of a long list: `items`, and `next`, the key that the following page begins with (None at the end).

    `is_complete` is False where a search ended because its time was up: `next` then says where to go on. `total` is how
    many there are in all, at most the `count` that was asked for; None where it is not known.
    """

    __slots__ = ("is_complete", "items", "next", "total")

    def __init__(
        self, items: list[T], next: K | None, is_complete: bool = True, total: int | None = None
    ) -> None:
        self.items = items
        self.next = next
        self.is_complete = is_complete
        self.total = total

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Page of {len(self.items)}, next {self.next}>"


class Page(PageBy[T, int]):
    """The same of what has ids."""

    __slots__ = ()


class Backfilled(NamedTuple):
    """How many occurrences had no job, and the ids of those that were made of them."""

    occurrences: int
    ids: list[int]


class Matched(NamedTuple):
    """So many jobs match a filter by the moment `as_of`, how many of them run, and may be tried but once; of which
    classes, each with `class_name`, `count` and `at_most_once`; when the first and the last ended, or were submitted.
    """

    jobs: int
    running: int
    at_most_once: int
    classes: list[JsonObject]
    oldest: str | None
    newest: str | None
    as_of: str


class DoneToMany(NamedTuple):
    """So many jobs were retried, or cancelled, and so many left out; `change`, whose jobs they are, tells of it. It is
    None where none was.
    """

    done: int
    left_out: int
    change: int | None


class StoredMany(NamedTuple):
    """The ids of jobs, and of the groups that were made for them, in the order of the request."""

    ids: list[int]
    groups: list[int]


class JobRead(NamedTuple):
    """One answer of Get or Wait: the job with its latest attempts, and before which number the earlier ones are.

    `next` is None where those are all.
    """

    job: JsonObject
    next: int | None

    def with_earlier(self, earlier: JobRead) -> JobRead:
        """The same job with the attempts of another answer before its own. Raises ProtocolError where they are not."""
        if self.next is None or (earlier.next is not None and earlier.next >= self.next):
            raise shapes.misshapen("next")
        attempts = [*earlier.job["attempts"], *self.job["attempts"]]
        return JobRead({**self.job, "attempts": attempts}, earlier.next)


class Graph(NamedTuple):
    """Jobs that come after one another: summaries, the groups that they are in or come after, and who comes after whom.

    An edge: `job_id` comes after the job or group (`of`) whose id is `after`; its `standing` is "open", "met" or
    "failed". `is_whole` is False where more jobs are connected than were asked for; `total` is how many are, at most
    the `count` that was asked for, None without, and where it took too long to know.
    """

    jobs: list[JsonObject]
    groups: list[JsonObject]
    edges: list[JsonObject]
    is_whole: bool
    total: int | None = None


class StepsRead(NamedTuple):
    """What a job has done, waits for and was told: its steps and waits as they were finished, at the end those that are
    not, and its signals and state, which are told without `after` alone. `next` is the number to go on behind, None at
    the end. Of a state that is not to be shown the size alone is told, in bytes; None: there is none.
    """

    steps: list[JsonObject]
    state: Any
    signals: list[JsonObject]
    next: int | None
    state_size: int | None = None

    @property
    def open_step(self) -> JsonObject | None:
        """The step that has begun last and is not finished, with its token."""
        begun = [step for step in self.steps if step["kind"] == "step" and step["finished_at"] is None]
        return begun[-1] if begun else None

    def with_more(self, more: StepsRead) -> StepsRead:
        """With those of the following answer. Raises ProtocolError where they are not."""
        if self.next is None or (more.next is not None and more.next <= self.next):
            raise shapes.misshapen("next")
        return self._replace(steps=[*self.steps, *more.steps], next=more.next)


class StackRead(NamedTuple):
    """Where attempt `number` was at that moment, of what the kernel sees of its `process`, and what it told itself:
    `answered` is by whom, "python", "c" or "no", `note` why not by Python. Keys as in the interface.
    """

    number: int
    at: str
    answered: str
    process: JsonObject
    threads: list[JsonObject]
    tasks: list[JsonObject]
    note: str | None


class ClassStats(NamedTuple):
    """What a class came to in the last 24 hours, and in the 13 days before; its newest attempts that have ended.
    Keys as in the interface.
    """

    day: JsonObject
    before: JsonObject
    attempts: list[JsonObject]


class ErrorRead(NamedTuple):
    """An error, keys as in the interface; how many of its newest attempts are of each class; the latest traceback, None
    where there is none; what became of the jobs of each class, and when the next of these is retried; what its attempts
    have in common, None unless that was asked.
    """

    error: JsonObject
    classes: dict[str, int]
    traceback: str | None
    met_by: Sequence[JsonObject] = ()
    next_retry: str | None = None
    traits: JsonObject | None = None


class Needed(NamedTuple):
    """What waits for somebody, keys as in the interface, and how many more there are than were told."""

    needs: list[JsonObject]
    more: int


class Value(NamedTuple):
    """A value that a job has emitted: its `number`, from 1 on, the attempt that did, in which step, None outside of
    steps, and when, a UTC text.
    """

    number: int
    attempt: int
    step: str | None
    at: str
    value: Any


class ValuesRead(NamedTuple):
    """Some of a job's; `next` is the number to go on behind. Before them `left_out` are not kept any more. `is_end`:
    the job has ended, and there are none behind them.
    """

    values: list[Value]
    next: int
    left_out: int
    is_end: bool


class OutputPart(NamedTuple):
    """Some of what attempt `number` wrote to stdout and stderr, behind `left_out` bytes that were not kept.

    `offset` is how many bytes it wrote before the data.
    """

    number: int
    data: bytes
    left_out: int = 0
    offset: int = 0

    @property
    def marked(self) -> bytes:
        """The data, behind a line that stands for what was left out."""
        return (
            b"\n[... %d bytes left out ...]\n%b" % (self.left_out, self.data) if self.left_out else self.data
        )


class OutputRead(NamedTuple):
    """One answer of Output: the part, where to go on, and whether the attempt has ended and this is all."""

    part: OutputPart
    next: int
    is_end: bool


class Reloaded(NamedTuple):
    """What a reload came to: the version of the code that holds now; keys of the configuration of which the old values
    hold until a restart; what becomes of jobs that wait and do not fit the new code, a sentence a kind; how many go on
    in it with steps of before, 1,000 at most; and what is approved with words that mean nothing, a sentence each.
    """

    code_version: str
    needing_restart: list[str]
    waiting_jobs: list[str]
    amid_steps: int = 0
    doubts: Sequence[str] = ()


# What an ended job comes to


def has_ended(job: Mapping[str, Any]) -> bool:
    return Status(job["status"]).is_final


def has_group_ended(group: Mapping[str, Any]) -> bool:
    return group["ended_at"] is not None


def result_of(job: JsonObject) -> Any:
    """What the method returned. Raises JobFailedError, JobCancelledError, ProtocolError where it is not told."""
    failure = failure_of(job)
    if failure is not None:
        raise failure
    if "result" not in job:
        raise shapes.misshapen("result")
    return job["result"]


def failure_of(job: JsonObject) -> JobError | None:
    """What an ended job raises that did not complete; None for one that did."""
    match job["status"]:
        case Status.COMPLETED:
            return None
        case Status.CANCELLED:
            return JobExpiredError(job) if has_expired(job) else JobCancelledError(job)
        case _:
            return JobForReviewError(job) if is_for_review(job) else JobFailedError(job)


def is_for_review(job: Mapping[str, Any]) -> bool:
    """Whether it failed, and a person is to say what it did; daemons before did not ask."""
    return job.get("review_since") is not None


def has_expired(job: Mapping[str, Any]) -> bool:
    """Whether the job was cancelled because it had not started in time; errors of attempts may begin like that, too."""
    told = str(job.get("error") or "").startswith(f"{EXPIRED}: ")
    return told and job["status"] == Status.CANCELLED and job.get("started_at") is None


# Shapes


def checked(reply: Reply) -> JsonObject:
    """The parameters of a reply. Raises the error that it is."""
    if reply.error is not None:
        raise from_reply(reply.error, reply.parameters)
    return reply.parameters


def field(reply: JsonObject, name: str, kind: type[T]) -> T:
    """What the daemon answered under this name. Raises ProtocolError where it is not there, or is something else."""
    value: T = reply.get(name)  # type: ignore[assignment]  # which is seen to in the next line
    shapes.check(value, _KINDS[kind], name)
    return value


_KINDS: Final[Mapping[type, str]] = {int: "int", str: "string", bool: "bool"}


def nothing(reply: JsonObject) -> None:
    return None


class Made(NamedTuple):
    """What a submit came to: a job's id; not `is_new` where one had the key already."""

    id: int
    is_new: bool


def made(reply: JsonObject) -> Made:
    return Made(job_id(reply), reply.get("created") is not False)


def job_id(reply: JsonObject) -> int:
    return field(reply, "id", int)


def job_ids(reply: JsonObject) -> list[int]:
    ids: list[int] = shaped(reply, "ids", "[]int")
    return ids


def stored_many(reply: JsonObject) -> StoredMany:
    groups: list[int] = [] if reply.get("groups") is None else shaped(reply, "groups", "[]int")
    return StoredMany(job_ids(reply), groups)


def reloaded(reply: JsonObject) -> Reloaded:
    needing_restart, waiting_jobs, doubts = (
        _maybe_texts(reply, name) for name in ("needing_restart", "waiting_jobs", "doubts")
    )
    amid: int = 0 if reply.get("amid_steps") is None else shaped(reply, "amid_steps", "int")
    return Reloaded(field(reply, "code_version", str), needing_restart, waiting_jobs, amid, doubts)


def _maybe_texts(reply: JsonObject, name: str) -> list[str]:
    """None for null, which daemons before this one mean by saying nothing."""
    texts: list[str] = [] if reply.get(name) is None else shaped(reply, name, "[]string")
    return texts


def job(reply: JsonObject, shape: str = "Job") -> JsonObject:
    job: JsonObject = shaped(reply, "job", shape)
    return job


def job_read(reply: JsonObject) -> JobRead:
    return JobRead(job(reply), maybe_int(reply, "next"))


def shaped(reply: JsonObject, name: str, kind: str) -> Any:
    shapes.check(reply.get(name), kind, name)
    return reply[name]


def stats(reply: JsonObject) -> JsonObject:
    shapes.check(reply, "Stats")
    return reply


def jobs(reply: JsonObject) -> Page[JsonObject]:
    return page(shaped(reply, "jobs", "[]Listed"), reply)


def entries(reply: JsonObject) -> Page[JsonObject]:
    return page(shaped(reply, "entries", "[]Entry"), reply)


def page(items: list[JsonObject], reply: JsonObject) -> Page[JsonObject]:
    is_complete, following = field(reply, "is_complete", bool), maybe_int(reply, "next")
    if following is not None and reply.get("next_at") is not None:
        following = Key(following, field(reply, "next_at", str))
    return Page(items, following, is_complete, maybe_int(reply, "total"))


def group(reply: JsonObject) -> JsonObject:
    group: JsonObject = shaped(reply, "group", "GroupState")
    return group


def groups(reply: JsonObject) -> Page[JsonObject]:
    return Page(shaped(reply, "groups", "[]GroupState"), maybe_int(reply, "next"))


def graph(reply: JsonObject) -> Graph:
    jobs, of_groups, edges = (
        shaped(reply, name, kind)
        for name, kind in (("jobs", "[]Summary"), ("groups", "[]GroupState"), ("edges", "[]Edge"))
    )
    return Graph(jobs, of_groups, edges, field(reply, "is_whole", bool), maybe_int(reply, "total"))


def schedules(reply: JsonObject) -> PageBy[JsonObject, str]:
    following = None if reply.get("next") is None else field(reply, "next", str)
    return PageBy(shaped(reply, "schedules", "[]Schedule"), following)


def keys(reply: JsonObject) -> PageBy[JsonObject, str]:
    following = None if reply.get("next") is None else field(reply, "next", str)
    return PageBy(shaped(reply, "keys", "[]KeyState"), following)


def labels(reply: JsonObject) -> PageBy[JsonObject, str]:
    following = None if reply.get("next") is None else field(reply, "next", str)
    return PageBy(shaped(reply, "labels", "[]LabelState"), following)


def needs(reply: JsonObject) -> Needed:
    return Needed(shaped(reply, "needs", "[]Need"), field(reply, "more", int))


def alerts(reply: JsonObject) -> PageBy[JsonObject, int]:
    following = None if reply.get("next") is None else field(reply, "next", int)
    return PageBy(shaped(reply, "alerts", "[]Alert"), following)


def changes(reply: JsonObject) -> Page[JsonObject]:
    return Page(shaped(reply, "changes", "[]ChangeEntry"), maybe_int(reply, "next"))


def matched(reply: JsonObject) -> Matched:
    jobs, running, at_most_once = (field(reply, name, int) for name in ("count", "running", "at_most_once"))
    oldest, newest = (
        None if reply.get(one) is None else shaped(reply, one, "moment") for one in ("oldest", "newest")
    )
    classes = shaped(reply, "classes", "[]MatchedClass")
    as_of: str = shaped(reply, "as_of", "moment")
    return Matched(jobs, running, at_most_once, classes, oldest, newest, as_of)


def done_to_many(reply: JsonObject) -> DoneToMany:
    done = field(reply, "retried" if "retried" in reply else "cancelled", int)
    return DoneToMany(done, field(reply, "left_out", int), maybe_int(reply, "change"))


def errors(reply: JsonObject) -> PageBy[JsonObject, str]:
    following = None if reply.get("next") is None else field(reply, "next", str)
    return PageBy(shaped(reply, "errors", "[]ErrorGroup"), following)


def trend(reply: JsonObject) -> list[JsonObject]:
    points: list[JsonObject] = shaped(reply, "points", "[]TrendPoint")
    return points


def class_trends(reply: JsonObject) -> list[JsonObject]:
    classes: list[JsonObject] = shaped(reply, "classes", "[]ClassTrend")
    return classes


def class_stats(reply: JsonObject) -> ClassStats:
    day, before = (shaped(reply, name, "ClassFigures") for name in ("day", "before"))
    return ClassStats(day, before, shaped(reply, "attempts", "[]AttemptMark"))


def error(reply: JsonObject) -> ErrorRead:
    traceback = None if reply.get("traceback") is None else field(reply, "traceback", str)
    classes: dict[str, int] = shaped(reply, "classes", "[string]int")
    met_by = [] if reply.get("met_by") is None else shaped(reply, "met_by", "[]ErrorOfClass")
    next_retry = None if reply.get("next_retry") is None else field(reply, "next_retry", str)
    traits = None if reply.get("traits") is None else shaped(reply, "traits", "ErrorTraits")
    return ErrorRead(shaped(reply, "error", "ErrorGroup"), classes, traceback, met_by, next_retry, traits)


def values(reply: JsonObject) -> ValuesRead:
    told = [
        Value(**{name: one[name] for name in Value._fields}) for one in shaped(reply, "values", "[]Value")
    ]
    return ValuesRead(
        told, field(reply, "next", int), field(reply, "left_out", int), field(reply, "is_end", bool)
    )


def steps(reply: JsonObject) -> StepsRead:
    told, signals = shaped(reply, "steps", "[]Step"), shaped(reply, "signals", "[]SignalState")
    size = maybe_int(reply, "state_size")
    return StepsRead(told, reply.get("state"), signals, maybe_int(reply, "next"), size)


def stack(reply: JsonObject) -> StackRead:
    told = field(reply, "number", int), shaped(reply, "at", "moment"), field(reply, "answered", str)
    process, threads = shaped(reply, "process", "ProcessState"), shaped(reply, "threads", "[]ThreadStack")
    note = None if reply.get("note") is None else field(reply, "note", str)
    return StackRead(*told, process, threads, shaped(reply, "tasks", "[]TaskStack"), note)


def created(reply: JsonObject) -> bool:
    return field(reply, "created", bool)


def occurrences(reply: JsonObject) -> PageBy[JsonObject, str]:
    following = None if reply.get("next") is None else field(reply, "next", str)
    return PageBy(shaped(reply, "occurrences", "[]Occurrence"), following)


def backfilled(reply: JsonObject) -> Backfilled:
    return Backfilled(field(reply, "count", int), job_ids(reply))


def maybe_int(reply: JsonObject, name: str) -> int | None:
    return None if reply.get(name) is None else field(reply, name, int)


def draining(reply: JsonObject) -> JsonObject:
    """Which host starts nothing new, how many attempts go on there, and for how many seconds it was not seen."""
    kinds = {"host": "string", "running": "int", "unseen_for": "float"}
    return {name: shaped(reply, name, kind) for name, kind in kinds.items()}


def resumes_at(reply: JsonObject) -> str | None:
    """What daemons that know no such time say nothing of."""
    return None if reply.get("resumes_at") is None else shaped(reply, "resumes_at", "moment")


def output(reply: JsonObject) -> OutputRead:
    try:
        data = b64decode(field(reply, "data", str), validate=True)
    except ValueError:
        raise shapes.misshapen("data") from None
    number, left_out, offset = (field(reply, name, int) for name in ("number", "left_out", "offset"))
    part = OutputPart(number, data, left_out, offset)
    return OutputRead(part, field(reply, "next", int), field(reply, "is_end", bool))
