"""The client for asyncio: the names of `Client` and `Job` as coroutines and async iterators.

What is asked stands in `calls` and `submitting_calls`, what an answer means in `answers`, how it gets there and back in
`async_managing` and `async_connections`, what else is read of jobs in `async_reading`.
`client.py` is made of this file: `./run sync` after a change.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, TypeVar, Unpack, overload

from bgjob import answers, calls, errors, flow_requests, following, managing_calls, submitting_calls, typed
from bgjob.answers import JobRead, OutputPart, Page, StackRead, StepsRead, Value
from bgjob.async_connections import AsyncFollowing, Stream
from bgjob.async_reading import ReadingClient
from bgjob.codec import JsonObject
from bgjob.flow_requests import Stored
from bgjob.following import Conversation
from bgjob.keys import KeysLeft
from bgjob.layout import GroupStep, JobStep, Step
from bgjob.predecessors import Predecessor
from bgjob.retrying import WaitingForJob
from bgjob.typed import P, R

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from bgjob.calls import Changes
    from bgjob.submitting_calls import Options

__all__ = [
    "AsyncClient",
    "AsyncFollowing",
    "AsyncJob",
    "AsyncJobGroup",
    "AsyncSubmitted",
    "as_completed",
    "wait",
]

T = TypeVar("T")


def as_completed(
    jobs: Iterable[AsyncJob[R]], timeout: float | None = None
) -> AsyncGenerator[AsyncJob[R], None]:
    """The jobs in the order of their ends, whichever those are; they may be of several clients.

    Raises WaitTimeoutError once `timeout` seconds have passed since this call, and JobNotFoundError.
    """
    return _as_completed(list(jobs), timeout, None if timeout is None else time.monotonic() + timeout)


async def wait(
    jobs: Iterable[AsyncJob[R]], timeout: float | None = None
) -> tuple[list[AsyncJob[R]], list[AsyncJob[R]]]:
    """The jobs that have ended and those that have not, once all have or `timeout` seconds have passed."""
    given = list(jobs)
    deadline = None if timeout is None else time.monotonic() + timeout
    done = set()
    async with _following_ends(given) as ends:
        while await ends._wait_for_next(deadline):
            done.add(id(_with_news(*await anext(ends))))
    return [job for job in given if id(job) in done], [job for job in given if id(job) not in done]


class AsyncClient(ReadingClient):
    """Connections to a daemon, made when they are first needed; safe for tasks, new loops and after a fork.

    `address` is a path or `unix:PATH`; `timeout` is how many seconds a reply may take. Calls share one connection, one
    after the other, and a daemon that restarts meanwhile is tried again within that time. Each waiting and following
    takes a connection while it lasts, of which a daemon allows a user 64: for many jobs use `bgjob.aio.wait` and
    `as_completed`, which take one. They survive a daemon that goes away and comes back within 30 s, and raise
    DaemonUnavailableError after that. A call that is cancelled costs its connection, and may have been done all the
    same.
    """

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def run_background_job(
        self,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None = None,
        retry_count: int = 0,
        *,
        check_only: bool = False,
        **options: Unpack[Options],
    ) -> AsyncJob:
        """Submit a job; it is stored when this returns. A repeat after a lost reply gives the same job. With
        `check_only` nothing is stored: what is not approved, or not valid, is refused, else the job has the id 0.
        """
        job = submitting_calls.job_of(class_name, method_name, parameters, retry_count, options)
        call = submitting_calls.submit_anew(job, self.MAX_RETRIES, self.RETRY_DELAY, check_only)
        made = await self._call(call)
        submitted: AsyncJob = AsyncJob(self, made.id)
        submitted.is_new = made.is_new
        return submitted

    async def submit(
        self, method: Callable[Concatenate[Any, P], R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncJob[R]:
        """Submit a call of a method, whose arguments a type checker checks. Raises TypeError where it has no name that
        a daemon can import. For options there is `bgjob.call`.
        """
        return await self.run_background_job(*typed.of_method(method, args, kwargs))

    async def submit_function(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AsyncJob[R]:
        """Submit a call of a function of an approved module."""
        return await self.run_background_job(*typed.of_function(function, args, kwargs))

    async def submit_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[AsyncJob]:
        """Submit several jobs, all or none; each has the fields of Submit. Together they are one request: of small
        jobs some thousands. Raises TooLargeError for more than the daemon takes, 1 MiB if nothing else is set.
        """
        call = submitting_calls.submit_many(jobs, self.MAX_RETRIES, self.RETRY_DELAY)
        return [AsyncJob(self, job_id) for job_id in await self._call(call)]

    async def submit_flow(self, step: Step) -> AsyncSubmitted:
        """Submit a chain, a group or a draft with all that belongs to it: `submit` of those, by this client."""
        retries = flow_requests.Retries(self.MAX_RETRIES, self.RETRY_DELAY)
        asking = flow_requests.asking([step], step._keys_left, retries, time.monotonic)
        return AsyncSubmitted(self, await self._carried_out(asking))

    async def get(
        self,
        job_id: int | None = None,
        *,
        key: str | None = None,
        before: int | None = None,
        limit: int | None = None,
    ) -> AsyncJob:
        """The job with this id, or with this idempotency key, and all its attempts. Raises JobNotFoundError.

        With `limit`, up to 1000, or `before`, a page of them: the latest of smaller numbers than `before`, and of about
        1 MiB at most. There are earlier ones where the first has a number above 1.
        """
        read = await self._call(calls.get(job_id, before, limit, key))
        job = read.job if before or limit else await self._with_all_attempts(read)
        return AsyncJob(self, job["id"], job)

    async def cancel(self, *job_ids: int) -> None:
        """Cancel jobs. Raises JobNotFoundError, InvalidStateError; then none of them is cancelled."""
        if job_ids:
            await self._call(calls.cancel(job_ids))

    async def retry(self, *job_ids: int, anyway: bool = False, from_start: bool = False) -> None:
        """Run failed or cancelled jobs again, with all their retries. Raises JobNotFoundError, InvalidStateError, and
        BehindFailedError for one that comes after what ended badly, unless that is to count as done: `anyway`.

        With `from_start` what they did is forgotten, and they take anew the signals that they were sent.
        """
        if job_ids:
            await self._call(calls.retry(job_ids, anyway, from_start))

    async def again(
        self,
        job_id: int,
        parameters: JsonObject | None = None,
        *,
        from_step: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncJob:
        """Run what a job called that has ended again, as another job: with its options and its parameters, over which
        `parameters` go. With `from_step` the new one has the steps and waits that were finished before that.

        Raises JobNotFoundError, InvalidStateError, StepNotFoundError, DuplicateError, and the refusals of a submit.
        """
        call = calls.again(job_id, parameters, from_step, idempotency_key)
        return AsyncJob(self, await self._call(call))

    async def settle(
        self,
        job_id: int,
        *,
        completed: bool | None = None,
        step: str | None = None,
        result: Any = None,
        why: str | None = None,
    ) -> None:
        """Say what a job did of which nobody knows it. `completed=True`: it took effect, with this `result`;
        `completed=False`: it did not, and has failed, for this reason. `step`: the step of this name took effect, with
        this `result`, and the job goes on behind it. That it may be done again, says `retry`.

        Raises JobNotFoundError, NotForReviewError, TooLargeError, DuplicateError where another has its unique key, and
        InvalidParameterError for neither or both, and for a step that is finished.
        """
        await self._call(calls.settle(job_id, completed, step, result, why))

    async def change(self, *job_ids: int, **changes: Unpack[Changes]) -> None:
        """Change jobs that have not started, or wait for a retry: one's own, or as who may manage. What is not given
        stays; None takes `at`, `expires_at` or `timeout` away. Raises JobNotFoundError, PermissionDeniedError,
        InvalidStateError, InvalidParameterError, QueueFullError; then none of them is changed.
        """
        if job_ids:
            await self._call(calls.change(job_ids, changes))

    async def signal(self, job: int | str, name: str, payload: Any = None, key: str | None = None) -> bool:
        """Send a signal to a job, by its id or idempotency key, for its wait of this name; whether it is a new one: one
        whose `key` the job has got before is not. Raises JobNotFoundError, InvalidStateError where the job has ended,
        TooManySignalsError, TooLargeError for a payload of more than 64 KiB.
        """
        return await self._call(calls.signal(job, name, payload, key))

    async def group(self, group_id: int) -> AsyncJobGroup:
        """The group with this id. Raises GroupNotFoundError."""
        told = await self._call(calls.group(group_id))
        return AsyncJobGroup(self, group_id, told)

    async def run_schedule(self, name: str) -> AsyncJob:
        """Submit a job of a schedule now, paused or not. Raises ScheduleNotFoundError, and the refusals of a submit.

        After a lost reply it is not repeated: the job may be there.
        """
        return AsyncJob(self, await self._call(managing_calls.run_schedule(name)))

    async def wait(
        self, job_id: int | None = None, timeout: float | None = None, *, key: str | None = None
    ) -> JsonObject:
        """The job, as in `get`, once it has ended. Raises WaitTimeoutError after `timeout` seconds; it goes on."""
        read = await self._waited(WaitingForJob(job_id, timeout, time.monotonic(), key))
        return await self._with_all_attempts(read)

    def as_completed(
        self, jobs: Iterable[AsyncJob[R]], timeout: float | None = None
    ) -> AsyncGenerator[AsyncJob[R], None]:
        """The module's `as_completed`."""
        return as_completed(jobs, timeout)

    async def list(
        self,
        *,
        status: str | Sequence[str] | None = None,
        queue: str | None = None,
        class_name: str | type | None = None,
        method_name: str | None = None,
        search: str | None = None,
        schedule: str | None = None,
        group: AsyncJobGroup | int | None = None,
        key: str | None = None,
        again_of: int | None = None,
        host: str | None = None,
        error: int | None = None,
        bulk: int | None = None,
        label: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        longer_than: float | timedelta | None = None,
        outcome: str | None = None,
        sort: str | None = None,
        before: int | None = None,
        limit: int | None = None,
        count: int | None = None,
    ) -> Page[JsonObject]:
        """Summaries of jobs, newest first, 50, or up to 1000, a page. `before`: an id, or the last page's `next`.
        `key` is the one that they share, not that of idempotency; `again_of`: those that run a job's call again;
        `host`: those whose latest attempt is on the host of this name; `error`: those of which it has ended an attempt;
        `bulk`: those that this change has retried or cancelled with many last; `label`: those that have it.

        Where all of `status` are ends, the latest end is first, and `since` and `until` are of the end; else of the
        submit. `sort`: "id" or "ended", which without `status` are all that have ended. `longer_than`: whose latest
        attempt took so long, until now where it runs; `outcome`: how that ended.

        With `count`, up to 100,000, the page tells its `total`: at most that, whatever `before` is.
        """
        call = calls.list_jobs(
            status=status, queue=queue, class_name=class_name, method_name=method_name, search=search,
            schedule=schedule, group=group, key=key, again_of=again_of, host=host, error=error, bulk=bulk,
            label=label, since=since, until=until, longer_than=longer_than, outcome=outcome, sort=sort,
            before=before, limit=limit, count=count,
        )  # fmt: skip
        return await self._call(call)

    async def _with_all_attempts(self, read: JobRead) -> JsonObject:
        """The job as it was read, with those attempts that were too many for one answer."""
        while read.next is not None:
            read = read.with_earlier(await self._call(calls.get(read.job["id"], read.next)))
        return read.job


class AsyncJob(Predecessor, Generic[R]):
    """A job at a daemon; R is what its method returns, as JSON makes it."""

    is_new = True
    """False of what a submit answered where a job had its key already."""

    _word = "id"

    def __init__(self, client: AsyncClient, job_id: int, snapshot: JsonObject | None = None) -> None:
        self._client = client
        self.id = job_id
        self._seen: JsonObject = snapshot if snapshot is not None else {"id": job_id}
        self._has_seen_all = snapshot is not None or not job_id  # of what was only checked there is no more

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id} {self._seen.get('status', 'as submitted')}>"

    @property
    def snapshot(self) -> JsonObject:
        """How the job was when it was last seen, keys as the columns; until `refresh` or `wait` its id alone, with
        what `as_completed` or the module's `wait` told.
        """
        return self._seen

    async def refresh(self) -> JsonObject:
        """Ask how the job stands."""
        job = await self._client.get(self.id)
        return self._saw(job._seen)

    async def wait(self, timeout: float | None = None) -> JsonObject:
        """Wait for the job's end, whichever it is. Raises WaitTimeoutError after `timeout` seconds."""
        return self._saw(await self._client.wait(self.id, timeout))

    def _saw(self, job: JsonObject) -> JsonObject:
        self._seen, self._has_seen_all = job, True
        return job

    @overload
    async def result(self: AsyncJob[Coroutine[Any, Any, T]], timeout: float | None = None) -> T: ...
    @overload
    async def result(self, timeout: float | None = None) -> R: ...
    async def result(self, timeout: float | None = None) -> Any:
        """What the method returned. Raises JobFailedError, JobForReviewError, which is one, where nobody knows what the
        job did, JobCancelledError, WaitTimeoutError.
        """
        return answers.result_of(await self.wait(timeout))

    async def why(self) -> str:
        """Why the job has not run or has not ended, when it will run, or how it ended: a sentence for people."""
        return await self._client.why(self.id)

    async def cancel(self) -> None:
        """Cancel the job. Raises InvalidStateError where it has ended."""
        await self._client.cancel(self.id)

    async def retry(self, *, anyway: bool = False, from_start: bool = False) -> None:
        """Run the job again, with all its retries. Raises InvalidStateError unless it failed or was cancelled, and
        BehindFailedError where it comes after what ended badly, unless that is to count as done: `anyway`.

        With `from_start` what it did is forgotten, and it takes anew the signals that it was sent.
        """
        await self._client.retry(self.id, anyway=anyway, from_start=from_start)

    async def again(
        self,
        parameters: JsonObject | None = None,
        *,
        from_step: str | None = None,
        idempotency_key: str | None = None,
    ) -> AsyncJob[R]:
        """Run what the job, which has ended, called again, as another job: with its options and its parameters, over
        which `parameters` go. With `from_step` the new one has the steps and waits that were finished before that.

        Raises InvalidStateError, StepNotFoundError, DuplicateError, and the refusals of a submit.
        """
        return await self._client.again(
            self.id, parameters, from_step=from_step, idempotency_key=idempotency_key
        )

    async def settle(
        self,
        *,
        completed: bool | None = None,
        step: str | None = None,
        result: Any = None,
        why: str | None = None,
    ) -> None:
        """Say what the job did, where nobody knows it: that it took effect or not, or that this step of it did. Raises
        NotForReviewError, and what `settle` of the client does.
        """
        await self._client.settle(self.id, completed=completed, step=step, result=result, why=why)

    async def change(self, **changes: Unpack[Changes]) -> None:
        """Change the job, which waits; what is not given stays. None takes `at`, `expires_at` or `timeout` away. Raises
        InvalidStateError where it runs or has ended, PermissionDeniedError, InvalidParameterError, QueueFullError.
        """
        await self._client.change(self.id, **changes)

    async def signal(self, name: str, payload: Any = None, key: str | None = None) -> bool:
        """Send the job a signal, for its wait of this name; whether it is a new one: one whose `key` it has got before
        is not. Raises InvalidStateError where it has ended, TooManySignalsError, TooLargeError.
        """
        return await self._client.signal(self.id, name, payload, key)

    async def steps(self) -> StepsRead:
        """All its steps and waits as they were finished, at the end those that are not, its state, and its signals."""
        read = await self._client.steps(self.id, limit=calls.ALL_OF_A_JOB)
        while read.next is not None:
            read = read.with_more(
                await self._client.steps(self.id, after=read.next, limit=calls.ALL_OF_A_JOB)
            )
        return read

    async def stack(self, *, signal: bool = True, insist: bool = False, children: bool = False) -> StackRead:
        """Where it is just now: its threads, the tasks of its loop, and how the kernel sees its process. With `insist`
        also where asking may end a call of C's that waits; with `children` also of copies that it has forked; without
        `signal` it is not asked at all. Raises InvalidStateError where it does not run.
        """
        return await self._client.stack(self.id, signal=signal, insist=insist, children=children)

    @overload
    def stream(self, after: int = 0, places: Literal[False] = False) -> AsyncFollowing[Any]: ...
    @overload
    def stream(self, after: int = 0, *, places: Literal[True]) -> AsyncFollowing[Value]: ...
    @overload
    def stream(self, after: int, places: Literal[True]) -> AsyncFollowing[Value]: ...
    def stream(self, after: int = 0, places: bool = False) -> AsyncFollowing[Any] | AsyncFollowing[Value]:
        """The values that the job has emitted, then those that it does, until it has ended; how, says `result`. Those
        behind the number `after`, or the last few where it is below 0. With `places` each with its number, attempt,
        step and time. What comes twice, since an attempt has repeated it, is told twice.
        """
        if places:
            return self._client.follow_values(self.id, after)
        return self._client._following(following.FollowedBareValues(self.id, after))

    @overload
    def logs(self, follow: Literal[False] = False) -> Awaitable[Page[JsonObject]]: ...
    @overload
    def logs(self, follow: Literal[True]) -> AsyncFollowing[JsonObject]: ...
    def logs(self, follow: bool = False) -> Awaitable[Page[JsonObject]] | AsyncFollowing[JsonObject]:
        """The job's log entries, oldest first, a page; or, to follow, all and then new ones until it has ended."""
        if follow:
            return self._client.follow_logs(id=self.id, after=0)
        return self._client._call(calls.logs_of(self.id))

    @overload
    def output(self, follow: Literal[False] = False, *, tail: int | None = None) -> Awaitable[bytes]: ...
    @overload
    def output(self, follow: Literal[True], *, tail: int | None = None) -> AsyncFollowing[OutputPart]: ...
    def output(
        self, follow: bool = False, *, tail: int | None = None
    ) -> Awaitable[bytes] | AsyncFollowing[OutputPart]:
        """What the latest attempt wrote; or, to follow, what it and those after it write until the job has ended. Of
        what the latest has written until now, with `tail`, the last so many bytes.
        """
        if follow:
            return self._client.follow_output(self.id, tail=tail)
        return self._client.output(self.id, tail=tail)

    def watch(self) -> AsyncFollowing[JsonObject]:
        """How the job stands, then each change, until it has ended."""
        return self._client.watch(self.id)


class AsyncJobGroup(Predecessor):
    """A group of jobs at a daemon."""

    _word = "group"

    def __init__(self, client: AsyncClient, group_id: int, snapshot: JsonObject | None = None) -> None:
        self._client = client
        self.id = group_id
        self._seen = snapshot
        self._keys_left: dict[tuple[Step, ...], KeysLeft] = {}

    def __repr__(self) -> str:
        return f"<AsyncJobGroup {self.id} {'as submitted' if self._seen is None else self._seen['state']}>"

    @property
    def snapshot(self) -> JsonObject:
        """How the group was when last seen; until `refresh` or `wait` of one just submitted, its id alone."""
        return {"id": self.id} if self._seen is None else self._seen

    async def refresh(self) -> JsonObject:
        """Ask how the group stands: `state` ("open", "sealed", "completed", "failed"), and its members, counted."""
        return self._saw(await self._client._call(calls.group(self.id)))

    async def wait(self, timeout: float | None = None) -> JsonObject:
        """Wait for the group's end, whichever it is; how it stands. Raises WaitTimeoutError after `timeout` seconds: so
        it does for one that nobody seals.
        """
        return self._saw(await self._client.wait_group(self.id, timeout))

    def _saw(self, group: JsonObject) -> JsonObject:
        self._seen = group
        return group

    async def add(self, *steps: Step) -> AsyncSubmitted:
        """Submit steps side by side, whose jobs become members of it. Raises GroupSealedError, and what `submit` of a
        flow does; a repeat after an error goes on where that was.
        """
        retries = flow_requests.Retries(self._client.MAX_RETRIES, self._client.RETRY_DELAY)
        keys = self._keys_left.setdefault(steps, KeysLeft())
        asking = flow_requests.asking(steps, keys, retries, time.monotonic, self.id)
        submitted = AsyncSubmitted(self._client, await self._client._carried_out(asking))
        if not keys:
            self._keys_left.pop(steps, None)
        return submitted

    async def jobs(self, *, before: int | None = None, limit: int | None = None) -> Page[JsonObject]:
        """Summaries of its members, newest first, a page, as of the client's `list`."""
        return await self._client.list(group=self.id, before=before, limit=limit)

    async def seal(self) -> None:
        """Take no more members, so that it ends with the last of them."""
        await self._client.seal_group(self.id)

    async def cancel(self) -> None:
        """Seal it, and cancel its members that have not ended."""
        await self._client.cancel_group(self.id)

    async def retry(self) -> int:
        """Run those members again that failed, so that those go on that were cancelled for it; how many."""
        return await self._client.retry_group(self.id)


class AsyncSubmitted:
    """What a flow became: `submitted[draft]` is the job of a draft. `jobs` are in the order of the request, each behind
    all that it comes after; so are `groups`.
    """

    def __init__(self, client: AsyncClient, stored: Stored) -> None:
        self._jobs = {step: AsyncJob(client, job_id) for step, job_id in stored.jobs.items()}
        self._groups = {step: AsyncJobGroup(client, group_id) for step, group_id in stored.groups.items()}

    def __repr__(self) -> str:
        return f"<AsyncSubmitted {self.jobs} {self.groups}>"

    @overload
    def __getitem__(self, step: GroupStep) -> AsyncJobGroup: ...
    @overload
    def __getitem__(self, step: JobStep[R]) -> AsyncJob[R]: ...
    def __getitem__(self, step: Step) -> AsyncJob[Any] | AsyncJobGroup:
        """The job of a draft, the group of what `group` made."""
        return self._groups[step] if step in self._groups else self._jobs[step]

    @property
    def jobs(self) -> Sequence[AsyncJob]:
        return list(self._jobs.values())

    @property
    def groups(self) -> Sequence[AsyncJobGroup]:
        return list(self._groups.values())

    @property
    def last(self) -> AsyncJob:
        """The last of the jobs."""
        return self.jobs[-1]


async def _as_completed(
    jobs: Sequence[AsyncJob[R]], timeout: float | None, deadline: float | None
) -> AsyncGenerator[AsyncJob[R], None]:
    async with _following_ends(jobs) as ends:
        for told in range(len(jobs)):
            if not await ends._wait_for_next(deadline):
                open_jobs = f"{len(jobs) - told} of {len(jobs)} jobs have not ended"
                raise errors.late(open_jobs, "they go", timeout)
            yield _with_news(*await anext(ends))


def _following_ends(jobs: Iterable[AsyncJob[R]]) -> AsyncFollowing[tuple[AsyncJob[R], JsonObject]]:
    clients = {job._client._path: job._client for job in jobs}
    streams = following.endings_by_path((job._client._path, job.id, job) for job in jobs)
    return AsyncFollowing([Stream(clients[path], Conversation(endings)) for path, endings in streams])


def _with_news(job: AsyncJob[R], summary: JsonObject) -> AsyncJob[R]:
    job._seen, job._has_seen_all = {**job._seen, **summary}, False
    return job
