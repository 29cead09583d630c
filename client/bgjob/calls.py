"""What a client asks of single jobs and groups: one function a method; no I/O here.

Both clients are thin over this: they carry a Call to the daemon. What a submit asks is in `submitting_calls`, all else
in `managing_calls`; what an answer means stands in `answers`, what is asked of streams in `following`, and when it is
asked again in `retrying`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypedDict, TypeVar

from bgjob import answers, predecessors
from bgjob.answers import Graph, JobRead, Key, OutputRead, Page, StackRead, StepsRead, ValuesRead
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import BgjobError
from bgjob.keys import new_keys
from bgjob.predecessors import Predecessor
from bgjob.request_values import class_or_none, given, plain_time
from bgjob.words import INTERFACE, Removable

if TYPE_CHECKING:
    from datetime import datetime, timedelta


T = TypeVar("T")
E = TypeVar("E", bound=BgjobError)

_PART: Final = 256 * 1024
ALL_OF_A_JOB: Final = 1000


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


def get(
    job_id: int | None, before: int | None = None, limit: int | None = None, key: str | None = None
) -> Call[JobRead]:
    """The job, by its id or its idempotency key, with its latest attempts, as many as one answer holds."""
    return call_to("Get", answers.job_read, id=job_id, key=key, before=before, limit=limit)


def wait(job_id: int | None, timeout: float | None, key: str | None = None) -> Call[JobRead]:
    """The job, by its id or its idempotency key, once it has ended, or as it stands after `timeout` seconds."""
    return call_to("Wait", answers.job_read, id=job_id, key=key, timeout=timeout)


def list_jobs(
    *,
    status: str | Sequence[str] | None = None,
    queue: str | None = None,
    class_name: str | type | None = None,
    method_name: str | None = None,
    search: str | None = None,
    before: int | None = None,
    limit: int | None = None,
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
    return call_to(
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
    *,
    id: int | None = None,
    class_name: str | type | None = None,
    method_name: str | None = None,
    type: str | None = None,
    search: str | None = None,
    before: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    count: int | None = None,
    said: bool = False,
    until: Any = None,
) -> Call[Page[JsonObject]]:
    """Log entries: newest first, or, with `after`, oldest first."""
    return call_to(
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
    return call_to("Logs", answers.entries, id=job_id, after=0, limit=ALL_OF_A_JOB)


def output(job_id: int, number: int | None, offset: int) -> Call[OutputRead]:
    """What an attempt wrote, from `offset` on, as much as one answer holds; below 0 it counts from the end."""
    return call_to("Output", answers.output, id=job_id, number=number, offset=offset, limit=_PART)


def tail_offset(tail: int | None) -> int:
    """Where the last `tail` bytes of an output begin; None is all. Raises ValueError."""
    if tail is None:
        return 0
    if tail < 1:
        raise ValueError(f"a tail has at least 1 byte, not {tail}")
    return -tail


def cancel(ids: Sequence[int]) -> Call[None]:
    """Not repeated: the lost answer may have been that it is done, and then a second is refused."""
    return call_to("Cancel", answers.nothing, False, ids=list(ids))


def retry(ids: Sequence[int], anyway: bool = False, from_start: bool = False) -> Call[None]:
    """Not repeated, as a cancel."""
    how = {"anyway": anyway or None, "from_start": from_start or None}
    return call_to("Retry", answers.nothing, False, ids=list(ids), **how)


def again(
    job_id: int, parameters: JsonObject | None, from_step: str | None, idempotency_key: str | None
) -> Call[int]:
    """Run what a job called again, as another; its id. Its key makes a repeat after a lost answer give the same job."""
    key = new_keys(1)[0] if idempotency_key is None else idempotency_key
    asked = {"parameters": parameters, "from_step": from_step, "idempotency_key": key}
    return call_to("Again", answers.job_id, id=job_id, **asked)._replace(needs_code=True)


def settle(job_id: int, completed: bool | None, step: str | None, result: Any, why: str | None) -> Call[None]:
    """Not repeated, as a retry."""
    said = {"completed": completed, "step": step, "result": result, "why": why}
    return call_to("Settle", answers.nothing, False, id=job_id, **said)


def change(ids: Sequence[int], changes: Mapping[str, object]) -> Call[None]:
    """Not repeated: the job may have changed, and started since. Raises TypeError for what no job has."""
    unknown = [name for name in changes if name not in Changes.__annotations__]
    if unknown:
        raise TypeError(
            f"{unknown[0]!r} of a job cannot be changed; {', '.join(Changes.__annotations__)} can"
        )
    without = [name for name, value in changes.items() if value is None and name in tuple(Removable)]
    plain = {name: plain_time(value) for name, value in changes.items()}
    return call_to("Change", answers.nothing, False, ids=list(ids), without=without or None, **plain)


def signal(job: int | str, name: str, payload: Any, key: str | None) -> Call[bool]:
    """Whether it is a new one; `job` is an id or an idempotency key. Its own key makes a repeat harmless."""
    which: JsonObject = {"id": job} if isinstance(job, int) else {"key": job}
    told = {"name": name, "payload": payload, "signal_key": os.urandom(16).hex() if key is None else key}
    return call_to("Signal", answers.created, **which, **told)


def group(group_id: int) -> Call[JsonObject]:
    return call_to("Group", answers.group, id=group_id)


def groups(
    state: str | None, group: int | None, before: int | None, limit: int | None
) -> Call[Page[JsonObject]]:
    """How groups stand, newest first."""
    return call_to("Groups", answers.groups, state=state, group=group, before=before, limit=limit)


def wait_group(group_id: int, timeout: float | None) -> Call[JsonObject]:
    """The group once it has ended, or as it stands after `timeout` seconds."""
    return call_to("WaitGroup", answers.group, id=group_id, timeout=timeout)


def seal_group(group_id: int) -> Call[None]:
    return call_to("SealGroup", answers.nothing, id=group_id)


def cancel_group(group_id: int) -> Call[None]:
    """Not repeated, as the cancel of a job."""
    return call_to("CancelGroup", answers.nothing, False, id=group_id)


def retry_group(group_id: int) -> Call[int]:
    """Not repeated, as the retry of a job; how many members run again."""
    return call_to("RetryGroup", lambda reply: answers.shaped(reply, "retried", "count"), False, id=group_id)


def graph(job_id: int, limit: int | None, count: int | None = None) -> Call[Graph]:
    """What comes before and after a job, and so on, the nearest first; with `count` how many jobs that are, and those
    that failed before the nearest.
    """
    return call_to("Graph", answers.graph, id=job_id, limit=limit, count=count)


def steps(job_id: int, after: int | None = None, limit: int | None = None) -> Call[StepsRead]:
    """What the job has done, waits for and was told."""
    return call_to("Steps", answers.steps, id=job_id, after=after, limit=limit)


def stack(job_id: int, signal: bool, insist: bool, children: bool) -> Call[StackRead]:
    """Where the job is just now."""
    options = {"signal": None if signal else False, "insist": insist or None, "children": children or None}
    return call_to("Stack", answers.stack, id=job_id, **options)


def values_of(job_id: int, after: int | None = None, limit: int | None = None) -> Call[ValuesRead]:
    """What the job has emitted behind a number, below 0 counted from the end."""
    return call_to("Values", answers.values, id=job_id, after=after, limit=limit)


def why(job_id: int) -> Call[str]:
    """Why the job has not run or has not ended, or how it ended."""
    return call_to("Why", lambda reply: answers.field(reply, "sentence", str), id=job_id)


def call_to(
    method: str, parse: Callable[[JsonObject], T], may_repeat: bool = True, /, **parameters: Any
) -> Call[T]:
    """A call to a method of ours; parameters that are None are not sent."""
    return Call(f"{INTERFACE}.{method}", given(parameters), parse, may_repeat)
