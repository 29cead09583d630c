"""What a client asks: one function a method, what can be sent, names and keys; no I/O here.

Both clients are thin over this: they carry a Call to the daemon. What an answer means stands in `answers`, what is
asked of streams in `following`, and when it is asked again in `retrying`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypedDict, TypeVar

from bgjob import answers, codec, predecessors, traces, values
from bgjob.answers import (
    Backfilled,
    ClassStats,
    DoneToMany,
    ErrorRead,
    Graph,
    JobRead,
    Key,
    Matched,
    Needed,
    OutputRead,
    Page,
    PageBy,
    Reloaded,
    StackRead,
    StepsRead,
    StoredMany,
    ValuesRead,
)
from bgjob.bulk import try_bulk
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import (
    BgjobError,
    InvalidParametersError,
    ProtocolError,
    TooLargeError,
)
from bgjob.filters import Filter
from bgjob.keys import new_keys
from bgjob.predecessors import AnyPredecessor, Predecessor, ResultOf
from bgjob.words import INTERFACE, MAX_DEPTH, MAX_FRAME, SERVICE, Removable

if TYPE_CHECKING:
    from datetime import datetime, timedelta

T = TypeVar("T")
E = TypeVar("E", bound=BgjobError)

FOR_MANY: Final = 600.0
"""Seconds for an answer about many jobs: a million take minutes."""

ASIDE: Final = 1.0
"""Seconds that a daemon has to say why it does not answer."""

_PART: Final = 256 * 1024
ALL_OF_A_JOB: Final = 1000
_OF_A_JOB: Final = re.compile(r"jobs[./](\d{1,9})\b")
_SYSTEM_SOCKET: Final = "/run/bgjobd.sock"


class Call(NamedTuple, Generic[T]):
    """One request, and what makes its reply's parameters an answer; `parse` raises ProtocolError for a wrong shape.

    `may_repeat`: whether it may be sent again after it was sent whole and the answer was lost. `needs_code`: the daemon
    answers once it has loaded the approved classes, however long that takes.
    """

    method: str
    parameters: JsonObject
    parse: Callable[[JsonObject], T]
    may_repeat: bool = True
    needs_code: bool = False

    @property
    def request(self) -> Request:
        return Request(self.method, self.parameters)

    def keyed(self, error: E) -> E:
        """The error, with the keys of the jobs that this submits, in order; a request of a file has any shape."""
        jobs = self.parameters.get("jobs", [self.parameters])
        each = [_try_key(job) for job in jobs] if isinstance(jobs, list) else []
        keys = self.parameters.get("keys", each)
        listed = keys if isinstance(keys, list) else []
        error.idempotency_keys = tuple([key for key in listed if isinstance(key, str)])
        return error

    def answer(self, reply: Reply) -> T:
        """What the reply means. Raises the error that it is."""
        return self.parse(answers.checked(reply))


def _try_key(job: Any) -> Any:
    options = job.get("options", job) if isinstance(job, dict) else None
    return options.get("idempotency_key") if isinstance(options, dict) else None


# The methods


class Options(TypedDict, total=False):
    """What a caller may say of a job beyond its parameters; times are seconds, None is as good as nothing.

    `at` has an offset; `idempotency_key`: the same key and request give the same job. `after`: jobs and groups that it
    comes after, handles or ids of jobs; `if_failed` of these: "cancel", "run", "wait". `group`: that it is a member of.
    A job that has got no slot by `expires_at`, or for `expires_in`, is cancelled. Of a class and method one job at a
    time holds a `unique_key`, `unique_while` it is "unfinished" or "pending", or `unique_for` some time; another submit
    with it gets that job, unless `if_held` is "refuse" or "replace" (which `at_latest` bounds). Of the jobs of a queue
    with the same `key` so many run at once, or start in some time, as its configuration says. Of the hosts that work
    from the daemon's database `host` alone, by its name, starts the job. It belongs to the trace of `traceparent`, else
    to that of OpenTelemetry's current span, or of $TRACEPARENT. By its `labels`, ten at most, it is found.
    """

    delay: float | timedelta | None
    at: str | datetime | None
    priority: int | None
    queue: str | None
    timeout: float | timedelta | None
    max_retries: int | None
    retry_delay: float | timedelta | None
    backoff: str | None
    idempotency_key: str | None
    after: Iterable[AnyPredecessor] | None
    if_failed: str | None
    group: Predecessor | int | Mapping[str, Any] | None
    expires_in: float | timedelta | None
    expires_at: str | datetime | None
    unique_key: str | None
    unique_while: str | None
    unique_for: float | timedelta | None
    if_held: str | None
    at_latest: float | timedelta | None
    key: str | None
    host: str | None
    traceparent: str | None
    labels: Iterable[str] | None


class Changes(TypedDict, total=False):
    """What may be changed of a job that waits; times as in Options. What is not given stays. None takes a time away:
    the job starts as soon as it can, does not expire, or runs without a timeout.
    """

    priority: int
    queue: str
    at: str | datetime | None
    expires_at: str | datetime | None
    timeout: float | timedelta | None
    max_retries: int


def job_of(
    class_name: str | type,
    method_name: str,
    parameters: JsonObject | None,
    retry_count: int,
    options: Mapping[str, object],
) -> JsonObject:
    """A job with the fields of Submit."""
    return {
        "class_name": class_name,
        "method_name": method_name,
        "parameters": parameters,
        "retry_count": retry_count,
        "options": options,
    }


def submit(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, check_only: bool = False
) -> Call[int]:
    """Store a job; its id. `job` has the fields of Submit; the retries are what the client's class sets, or None.

    With `check_only` nothing is stored, and the id is 0.
    """
    asked = submission(job, max_retries, retry_delay, new_keys(1)[0])
    return _call("Submit", answers.job_id, **asked, check_only=check_only or None)._replace(needs_code=True)


def submit_anew(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, check_only: bool = False
) -> Call[answers.Made]:
    """The same, with whether it made a job."""
    call = submit(job, max_retries, retry_delay, check_only)
    return _call("Submit", answers.made, **call.parameters)._replace(needs_code=True)


def submit_many(
    jobs: Iterable[Mapping[str, Any]], max_retries: int | None, retry_delay: float | None
) -> Call[list[int]]:
    """Store several jobs, all or none; their ids. They are asked for in bulk where they can be."""
    wanted = list(jobs)
    bulk = try_bulk(wanted)
    if bulk is None:
        asked: JsonObject = {
            "jobs": [submission(job, max_retries, retry_delay, new_keys(1)[0]) for job in wanted]
        }
    else:
        asked = submission(bulk.common, max_retries, retry_delay, None)
        made = new_keys(len(wanted))
        asked |= {
            "each": bulk.each,
            "keys": [new if key is None else key for key, new in zip(bulk.keys, made, strict=True)],
        }
    return _call("SubmitMany", answers.job_ids, **asked)._replace(needs_code=True)


def submit_flow(jobs: list[JsonObject], groups: list[JsonObject], seal: list[int]) -> Call[StoredMany]:
    """Store jobs, as `submission` makes them, and groups for them, all or none; seal groups of earlier requests."""
    asked = {"jobs": jobs, "groups": groups or None, "seal": seal or None}
    return _call("SubmitMany", answers.stored_many, **asked)._replace(needs_code=True)


def place_of_job(error: BgjobError) -> int | None:
    """Which of the jobs of a request an error is about, where it tells."""
    told = getattr(error, "parameters", {})
    match told.get("problems"):
        case [{"path": path}, *_]:
            named = path
        case _:
            named = told.get("parameter")
    found = _OF_A_JOB.match(str(named))
    return None if found is None else int(found[1])


def submission(
    job: Mapping[str, Any], max_retries: int | None, retry_delay: float | None, key: str | None
) -> JsonObject:
    """The job as the daemon takes it: the class by its name, and the options that every submit has.

    The key, where the job has none, makes a repeat after a lost answer give the same job.
    """
    own = {"max_retries": max_retries, "retry_delay": retry_delay, "idempotency_key": key}
    own |= {"traceparent": traces.try_current()}
    options = given(own | given(job.get("options") or {}))
    parameters, taken = predecessors.split(job.get("parameters"))
    if taken:
        options["take"] = {**options.get("take", {}), **taken}
    plain = {name: _PLAIN.get(name, plain_time)(value) for name, value in options.items()}
    names = {"class_name": class_or_none(job.get("class_name")), "parameters": parameters}
    return {**given(job), **given(names), "options": plain}


def _sources(take: Any) -> Any:
    """What each parameter is taken from."""
    if not isinstance(take, Mapping):
        return take  # a daemon refuses it
    return {
        name: given({"of": predecessors.named(source.source), "pointer": source.pointer or None})
        if isinstance(source, ResultOf)
        else source
        for name, source in take.items()
    }


def _listed(values: Any) -> Any:
    return values if isinstance(values, str) else list(values)  # one text a daemon refuses


_PLAIN: Final[Mapping[str, Callable[[Any], Any]]] = {
    "after": predecessors.all_named,
    "take": _sources,
    "group": predecessors.in_group,
    "labels": _listed,
}
"""The options that name other jobs and groups, and those that are lists."""


def plain_time(value: Any) -> Any:
    """A point in time or a time span of `datetime`, which nobody here imports, as the daemon takes it."""
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.total_seconds() if hasattr(value, "total_seconds") else value


def get(
    job_id: int | None, before: int | None = None, limit: int | None = None, key: str | None = None
) -> Call[JobRead]:
    """The job, by its id or its idempotency key, with its latest attempts, as many as one answer holds."""
    return _call("Get", answers.job_read, id=job_id, key=key, before=before, limit=limit)


def wait(job_id: int | None, timeout: float | None, key: str | None = None) -> Call[JobRead]:
    """The job, by its id or its idempotency key, once it has ended, or as it stands after `timeout` seconds."""
    return _call("Wait", answers.job_read, id=job_id, key=key, timeout=timeout)


def list_jobs(
    status: str | Sequence[str] | None,
    queue: str | None,
    class_name: str | type | None,
    method_name: str | None,
    search: str | None,
    before: int | None,
    limit: int | None,
    count: int | None = None,
    since: Any = None,
    schedule: str | None = None,
    group: Predecessor | int | None = None,
    key: str | None = None,
    again_of: int | None = None,
    host: str | None = None,
    error: int | None = None,
    bulk: int | None = None,
    label: str | None = None,
    until: Any = None,
    longer_than: float | timedelta | None = None,
    outcome: str | None = None,
    sort: str | None = None,
) -> Call[Page[JsonObject]]:
    """Summaries of jobs, newest first."""
    return _call(
        "List",
        answers.jobs,
        status=[status] if isinstance(status, str) else None if status is None else list(status),
        queue=queue,
        class_name=class_or_none(class_name),
        method_name=method_name,
        search=search,
        since=plain_time(since),
        before=before,
        before_at=before.at if isinstance(before, Key) else None,
        limit=limit,
        count=count,
        schedule=schedule,
        group=None if group is None else predecessors.in_group(group)["id"],
        key=key,
        again_of=again_of,
        bulk=bulk,
        host=host,
        error=error,
        label=label,
        until=plain_time(until),
        longer_than=plain_time(longer_than),
        outcome=outcome,
        sort=sort,
    )


def logs(
    id: int | None,
    class_name: str | type | None,
    method_name: str | None,
    type: str | None,
    search: str | None,
    before: int | None,
    after: int | None,
    limit: int | None,
    count: int | None = None,
    said: bool = False,
    until: Any = None,
) -> Call[Page[JsonObject]]:
    """Log entries: newest first, or, with `after`, oldest first."""
    return _call(
        "Logs",
        answers.entries,
        id=id,
        class_name=class_or_none(class_name),
        method_name=method_name,
        type=type,
        search=search,
        before=before,
        after=after,
        limit=limit,
        count=count,
        said=said or None,
        until=plain_time(until),
    )


def logs_of(job_id: int) -> Call[Page[JsonObject]]:
    """All that one job logged, oldest first."""
    return _call("Logs", answers.entries, id=job_id, after=0, limit=ALL_OF_A_JOB)


def output(job_id: int, number: int | None, offset: int) -> Call[OutputRead]:
    """What an attempt wrote, from `offset` on, as much as one answer holds; below 0 it counts from the end."""
    return _call("Output", answers.output, id=job_id, number=number, offset=offset, limit=_PART)


def tail_offset(tail: int | None) -> int:
    """Where the last `tail` bytes of an output begin; None is all. Raises ValueError."""
    if tail is None:
        return 0
    if tail < 1:
        raise ValueError(f"a tail has at least 1 byte, not {tail}")
    return -tail


def cancel(ids: Sequence[int]) -> Call[None]:
    """Not repeated: the lost answer may have been that it is done, and then a second is refused."""
    return _call("Cancel", answers.nothing, False, ids=list(ids))


def retry(ids: Sequence[int], anyway: bool = False, from_start: bool = False) -> Call[None]:
    """Not repeated, as a cancel."""
    how = {"anyway": anyway or None, "from_start": from_start or None}
    return _call("Retry", answers.nothing, False, ids=list(ids), **how)


def matching(wanted: Filter, to: str, as_of: Any) -> Call[Matched]:
    return _call("Matching", answers.matched, filter=wanted.as_json(), to=to, as_of=plain_time(as_of))


def retry_matching(
    wanted: Filter, as_of: Any, expected: int, spread: Any, at_most_once: bool
) -> Call[DoneToMany]:
    """Not repeated, as a retry."""
    how = {"spread": plain_time(spread), "at_most_once": at_most_once or None}
    return _to_matching("RetryMatching", wanted, as_of, expected, **how)


def cancel_matching(wanted: Filter, as_of: Any, expected: int) -> Call[DoneToMany]:
    """Not repeated, as a cancel."""
    return _to_matching("CancelMatching", wanted, as_of, expected)


def _to_matching(method: str, wanted: Filter, as_of: Any, expected: int, **how: Any) -> Call[DoneToMany]:
    told = {"filter": wanted.as_json(), "as_of": plain_time(as_of), "expected": expected}
    return _call(method, answers.done_to_many, False, **told, **how)


def changes(before: int | None, limit: int | None) -> Call[Page[JsonObject]]:
    """What was changed, newest first."""
    return _call("Changes", answers.changes, before=before, limit=limit)


def again(
    job_id: int, parameters: JsonObject | None, from_step: str | None, idempotency_key: str | None
) -> Call[int]:
    """Run what a job called again, as another; its id. Its key makes a repeat after a lost answer give the same job."""
    key = new_keys(1)[0] if idempotency_key is None else idempotency_key
    asked = {"parameters": parameters, "from_step": from_step, "idempotency_key": key}
    return _call("Again", answers.job_id, id=job_id, **asked)._replace(needs_code=True)


def settle(job_id: int, completed: bool | None, step: str | None, result: Any, why: str | None) -> Call[None]:
    """Not repeated, as a retry."""
    said = {"completed": completed, "step": step, "result": result, "why": why}
    return _call("Settle", answers.nothing, False, id=job_id, **said)


def change(ids: Sequence[int], changes: Mapping[str, object]) -> Call[None]:
    """Not repeated: the job may have changed, and started since. Raises TypeError for what no job has."""
    unknown = [name for name in changes if name not in Changes.__annotations__]
    if unknown:
        raise TypeError(
            f"{unknown[0]!r} of a job cannot be changed; {', '.join(Changes.__annotations__)} can"
        )
    without = [name for name, value in changes.items() if value is None and name in tuple(Removable)]
    plain = {name: plain_time(value) for name, value in changes.items()}
    return _call("Change", answers.nothing, False, ids=list(ids), without=without or None, **plain)


def signal(job: int | str, name: str, payload: Any, key: str | None) -> Call[bool]:
    """Whether it is a new one; `job` is an id or an idempotency key. Its own key makes a repeat harmless."""
    which: JsonObject = {"id": job} if isinstance(job, int) else {"key": job}
    told = {"name": name, "payload": payload, "signal_key": os.urandom(16).hex() if key is None else key}
    return _call("Signal", answers.created, **which, **told)


def group(group_id: int) -> Call[JsonObject]:
    return _call("Group", answers.group, id=group_id)


def groups(
    state: str | None, group: int | None, before: int | None, limit: int | None
) -> Call[Page[JsonObject]]:
    """How groups stand, newest first."""
    return _call("Groups", answers.groups, state=state, group=group, before=before, limit=limit)


def wait_group(group_id: int, timeout: float | None) -> Call[JsonObject]:
    """The group once it has ended, or as it stands after `timeout` seconds."""
    return _call("WaitGroup", answers.group, id=group_id, timeout=timeout)


def seal_group(group_id: int) -> Call[None]:
    return _call("SealGroup", answers.nothing, id=group_id)


def cancel_group(group_id: int) -> Call[None]:
    """Not repeated, as the cancel of a job."""
    return _call("CancelGroup", answers.nothing, False, id=group_id)


def retry_group(group_id: int) -> Call[int]:
    """Not repeated, as the retry of a job; how many members run again."""
    return _call("RetryGroup", lambda reply: answers.shaped(reply, "retried", "count"), False, id=group_id)


def graph(job_id: int, limit: int | None) -> Call[Graph]:
    """What comes before and after a job, and so on, the nearest first."""
    return _call("Graph", answers.graph, id=job_id, limit=limit)


def prune(ids: Sequence[int], last_entry: int) -> Call[tuple[list[int], int]]:
    """Not repeated: the second answer would not tell what the first has deleted."""
    return _call(
        "Prune",
        lambda reply: (answers.job_ids(reply), answers.field(reply, "entries", int)),
        False,
        ids=list(ids),
        last_entry=last_entry,
    )


def prune_logs(before: str, after: int) -> Call[tuple[int, int | None]]:
    """Not repeated, as prune."""
    return _call(
        "PruneLogs",
        lambda reply: (answers.field(reply, "entries", int), answers.maybe_int(reply, "next")),
        False,
        before=before,
        after=after,
    )


def pause(
    queue: str, resumes_in: float | timedelta | None = None, resumes_at: str | datetime | None = None
) -> Call[str | None]:
    """When it goes on by itself, as that is stored, or None."""
    until = {"resumes_in": plain_time(resumes_in), "resumes_at": plain_time(resumes_at)}
    return _call("Pause", answers.resumes_at, queue=queue, **until)


def resume(queue: str) -> Call[None]:
    return _call("Resume", answers.nothing, queue=queue)


def hold_class(name: str) -> Call[None]:
    return _call("HoldClass", answers.nothing, name=name)


def resume_class(name: str) -> Call[None]:
    return _call("ResumeClass", answers.nothing, name=name)


def schedules(next: int | None, name: str | None, after: str | None = None) -> Call[PageBy[JsonObject, str]]:
    """A page of them, or the one of this name, each with its next occurrences, at most 100."""
    return _call("Schedules", answers.schedules, next=next, name=name, after=after)


def put_schedule(name: str, definition: JsonObject) -> Call[bool]:
    return _call("PutSchedule", answers.created, name=name, definition=definition)._replace(needs_code=True)


def delete_schedule(name: str) -> Call[None]:
    return _call("DeleteSchedule", answers.nothing, name=name)


def occurrences(name: str, before: str | datetime | None, limit: int | None) -> Call[PageBy[JsonObject, str]]:
    """What became of a schedule's occurrences, newest first."""
    return _call("Occurrences", answers.occurrences, name=name, before=plain_time(before), limit=limit)


def run_schedule(name: str) -> Call[int]:
    """Not repeated: it may have been done, and each makes a job."""
    return _call("RunSchedule", answers.job_id, False, name=name)._replace(needs_code=True)


def pause_schedule(name: str) -> Call[None]:
    return _call("PauseSchedule", answers.nothing, name=name)


def resume_schedule(name: str) -> Call[None]:
    return _call("ResumeSchedule", answers.nothing, name=name)


def backfill(
    name: str,
    since: datetime | str,
    until: datetime | str,
    spread: float | timedelta | None,
    check_only: bool,
) -> Call[Backfilled]:
    """A job of each occurrence that has none. Not repeated: the answer would be without those that were made before."""
    return _call(
        "Backfill",
        answers.backfilled,
        check_only,
        name=name,
        since=plain_time(since),
        until=plain_time(until),
        spread=plain_time(spread),
        check_only=check_only or None,
    )._replace(needs_code=True)


def classes() -> Call[list[JsonObject]]:
    return _call("Classes", lambda reply: answers.shaped(reply, "classes", "[]Class"))._replace(
        needs_code=True
    )


def limits() -> Call[dict[str, str]]:
    """By the limit's name what enforces it on the daemon's machine, or what that takes."""
    call = _call("Classes", lambda reply: answers.shaped(reply, "limits", "[string]string"))
    return call._replace(needs_code=True)


def stats(usage: bool = False, counts: bool = False) -> Call[JsonObject]:
    return _call("Stats", answers.stats, usage=usage or None, counts=counts or None)


def running(host: str | None = None) -> Call[list[JsonObject]]:
    """The attempts that run, or those on the host of this name, measured as it is asked for."""
    return _call("Running", lambda reply: answers.shaped(reply, "attempts", "[]RunningAttempt"), host=host)


def keys(
    queue: str, search: str | None, after: str | None, limit: int | None, busiest: bool
) -> Call[PageBy[JsonObject, str]]:
    """How the keys of a queue stand, in their order."""
    return _call(
        "Keys", answers.keys, queue=queue, search=search, after=after, limit=limit, busiest=busiest or None
    )


def labels(prefix: str | None, after: str | None, limit: int | None) -> Call[PageBy[JsonObject, str]]:
    """The labels of jobs, in their order."""
    return _call("Labels", answers.labels, prefix=prefix, after=after, limit=limit)


def hosts() -> Call[list[JsonObject]]:
    """The hosts that work from the daemon's database."""
    return _call("Hosts", lambda reply: answers.shaped(reply, "hosts", "[]Host"))


def needs() -> Call[Needed]:
    """What waits for somebody."""
    return _call("Needs", answers.needs)


def alerts(is_open: bool, before: int | None, limit: int | None) -> Call[PageBy[JsonObject, int]]:
    """What was raised of what needs somebody, newest first."""
    return _call("Alerts", answers.alerts, open=is_open or None, before=before, limit=limit)


def acknowledge_alert(alert_id: int) -> Call[None]:
    """Once is as good as twice."""
    return _call("AcknowledgeAlert", answers.nothing, id=alert_id)


def mute_alerts(rule: str, seconds: float) -> Call[None]:
    """Repeated, it lasts a moment longer."""
    return _call("MuteAlerts", answers.nothing, rule=rule, seconds=seconds)


def test_alerts(rule: str | None) -> Call[list[int]]:
    """Not repeated: each is told."""
    return _call("TestAlerts", lambda reply: answers.shaped(reply, "ids", "[]int"), False, rule=rule)


def host_lost(name: str) -> Call[None]:
    """Not repeated: a host that is back by then would be lost again."""
    return _call("HostLost", answers.nothing, False, name=name)


def drain(host: str | None) -> Call[JsonObject]:
    """Repeated, it changes nothing."""
    return _call("Drain", answers.draining, host=host)


def host_accept() -> Call[bool]:
    """Not repeated: the second answer would not tell that the first has accepted something."""
    return _call("HostAccept", lambda reply: answers.field(reply, "accepted", bool), False)


def errors(
    since: Any,
    class_name: str | type | None,
    new: bool,
    sort: str | None,
    before: str | None,
    limit: int | None,
) -> Call[PageBy[JsonObject, str]]:
    """Errors in their order."""
    return _call(
        "Errors",
        answers.errors,
        since=plain_time(since),
        class_name=class_or_none(class_name),
        new=new or None,
        sort=sort,
        before=before,
        limit=limit,
    )


def error(error_id: int, traits: bool) -> Call[ErrorRead]:
    """An error with its classes and its latest traceback."""
    return _call("Error", answers.error, id=error_id, traits=traits or None)


def trend(of: str, span: int, since: Any) -> Call[list[JsonObject]]:
    """What ended, or how queues stood, by spans."""
    return _call("Trend", answers.trend, of=of, span=span, since=plain_time(since))


def class_trends() -> Call[list[JsonObject]]:
    """What ended of each class."""
    return _call("ClassTrends", answers.class_trends)


def class_stats(class_name: str | type, limit: int | None) -> Call[ClassStats]:
    """What ended of a class, and its newest attempts."""
    return _call("ClassStats", answers.class_stats, name=class_name_of(class_name), limit=limit)


def steps(job_id: int, after: int | None = None, limit: int | None = None) -> Call[StepsRead]:
    """What the job has done, waits for and was told."""
    return _call("Steps", answers.steps, id=job_id, after=after, limit=limit)


def stack(job_id: int, signal: bool, insist: bool, children: bool) -> Call[StackRead]:
    """Where the job is just now."""
    options = {"signal": None if signal else False, "insist": insist or None, "children": children or None}
    return _call("Stack", answers.stack, id=job_id, **options)


def values_of(job_id: int, after: int | None = None, limit: int | None = None) -> Call[ValuesRead]:
    """What the job has emitted behind a number, below 0 counted from the end."""
    return _call("Values", answers.values, id=job_id, after=after, limit=limit)


def why(job_id: int) -> Call[str]:
    """Why the job has not run or has not ended, or how it ended."""
    return _call("Why", lambda reply: answers.field(reply, "sentence", str), id=job_id)


def reload() -> Call[Reloaded]:
    return _call("Reload", answers.reloaded, False)


def ping() -> Call[JsonObject]:
    return Call(f"{SERVICE}.GetInfo", {}, lambda reply: reply)


def _call(
    method: str, parse: Callable[[JsonObject], T], may_repeat: bool = True, /, **parameters: Any
) -> Call[T]:
    return Call(f"{INTERFACE}.{method}", given(parameters), parse, may_repeat)


# What can be sent


def frame_of(request: Request) -> bytes:
    """The request as bytes. Raises TypeError for a value of a type that JSON has no form for, InvalidParametersError
    for one that it cannot hold.
    """
    try:
        return request.to_bytes()
    except (TypeError, ValueError, RecursionError):
        parameters = values.plain(
            request.parameters
        )  # here: what has JSON's own types alone pays nothing for it
    try:
        return request._replace(parameters=parameters).to_bytes()
    except (TypeError, ValueError, RecursionError) as error:
        path, reason = _try_unsendable(parameters) or ("", str(error))
        raise _unsendable(path, reason) from None


def check_frame(request: Request) -> None:
    """Raises the reason why a daemon hangs up on such a request instead of answering it, if there is one."""
    frame = frame_of(request)[:-1]
    if len(frame) > MAX_FRAME:
        raise TooLargeError(limit=MAX_FRAME, size=len(frame))
    try:
        codec.parse_request(frame)
    except ProtocolError as error:
        raise _unsendable("", str(error)) from None
    except codec.IntegerOutOfRangeError:
        return  # that is answered


def _unsendable(path: str, reason: str) -> InvalidParametersError:
    return InvalidParametersError(problems=[{"path": path.removeprefix("parameters."), "message": reason}])


def _try_unsendable(value: Any, path: str = "", depth: int = 0) -> tuple[str, str] | None:
    """Where, and why, a value cannot be sent; None if it can."""
    if depth > MAX_DEPTH:
        return path, values.TOO_DEEP
    inner = _items(value)
    if inner is None:
        return _try_unsendable_leaf(value, path)
    parts = ((f"{path}.{name}" if path else str(name), part) for name, part in inner)
    return next(filter(None, (_try_unsendable(part, place, depth + 1) for place, part in parts)), None)


def _items(value: Any) -> Iterable[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else None


def _try_unsendable_leaf(value: Any, path: str) -> tuple[str, str] | None:
    try:
        codec.to_json(value).encode()
    except (TypeError, ValueError) as error:
        return path, str(error)
    return None


# Names and keys


def class_name_of(cls: str | type) -> str:
    return cls if isinstance(cls, str) else f"{cls.__module__}.{cls.__qualname__}"


def socket_path(address: str | None, environ: Mapping[str, str], exists: Callable[[str], bool]) -> str:
    """The socket's path: the address given, $BGJOBD_SOCKET, the person's, else the system's."""
    given = address or environ.get("BGJOBD_SOCKET")
    if given:
        return given.removeprefix("unix:")
    runtime_dir = environ.get("XDG_RUNTIME_DIR")
    own = f"{runtime_dir}/bgjobd.sock" if runtime_dir else ""
    return own if own and exists(own) else _SYSTEM_SOCKET


def class_or_none(cls: str | type | None) -> str | None:
    return None if cls is None else class_name_of(cls)


def given(parameters: Mapping[str, Any]) -> JsonObject:
    return {name: value for name, value in parameters.items() if value is not None}
