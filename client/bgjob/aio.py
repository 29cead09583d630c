"""The client for asyncio: the names of `Client` and `Job` as coroutines and async iterators.

What is asked and what an answer means stands in `calls`; here is only how it gets there and back.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, TypeAlias, TypeVar, overload

from bgjob import calls
from bgjob.calls import (
    Breaks,
    BrokenError,
    Call,
    Conversation,
    Follower,
    NoAnswerError,
    OutputPart,
    Page,
)
from bgjob.client import OwnSocket, try_substitute
from bgjob.codec import JsonObject, Reply, Request
from bgjob.errors import DaemonUnavailableError, ProtocolError, ShuttingDownError, WaitTimeoutError

T = TypeVar("T")

_Objects: TypeAlias = list[JsonObject]  # in a class that has a method `list`, that word means the method

_FULL_BACKLOG_PAUSE: Final = 0.01


def as_completed(jobs: Iterable[AsyncJob], timeout: float | None = None) -> AsyncGenerator[AsyncJob, None]:
    """The jobs in the order of their ends, whichever those are; they may be of several clients.

    Raises WaitTimeoutError once `timeout` seconds have passed since this call, and JobNotFoundError.
    """
    return _as_completed(list(jobs), timeout, None if timeout is None else time.monotonic() + timeout)


async def wait(
    jobs: Iterable[AsyncJob], timeout: float | None = None
) -> tuple[list[AsyncJob], list[AsyncJob]]:
    """The jobs that have ended and those that have not, once all have or `timeout` seconds have passed."""
    given = list(jobs)
    done = set()
    with suppress(WaitTimeoutError):
        async with aclosing(as_completed(given, timeout)) as ends:
            async for job in ends:
                done.add(id(job))
    return [job for job in given if id(job) in done], [job for job in given if id(job) not in done]


class AsyncClient:
    """Connections to a daemon, made when they are first needed; safe for tasks, new loops and after a fork.

    `address` is a path or `unix:PATH`; `timeout` is how many seconds a reply may take. Calls share one connection,
    one after the other; each waiting and following has its own, survives a daemon that goes away and comes back
    within 30 s, and raises DaemonUnavailableError after that. A call that is cancelled costs its connection, and may
    have been done all the same.
    """

    MAX_RETRIES: ClassVar[int | None] = None
    RETRY_DELAY: ClassVar[float | None] = None

    def __init__(self, address: str | None = None, *, timeout: float = 5.0) -> None:
        self._path = calls.socket_path(address, os.environ, os.path.exists)
        self._timeout = timeout
        self._kept: _Kept | None = None
        self._was_reached = False

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection, after the call that is under way; the next call makes another."""
        kept = self._own_kept()
        async with kept.lock:
            kept.drop()

    async def run_background_job(
        self,
        class_name: str | type,
        method_name: str,
        parameters: JsonObject | None = None,
        retry_count: int = 0,
        **options: Any,
    ) -> AsyncJob:
        """Submit a job; it is stored when this returns. A repeat after a lost reply gives the same job."""
        job = {
            "class_name": class_name,
            "method_name": method_name,
            "parameters": parameters,
            "retry_count": retry_count,
            "options": options,
        }
        return AsyncJob(self, await self._call(calls.submit(job, self.MAX_RETRIES, self.RETRY_DELAY)))

    async def submit_many(self, jobs: Iterable[Mapping[str, Any]]) -> list[AsyncJob]:
        """Submit several jobs, all or none; each has the fields of Submit."""
        call = calls.submit_many(jobs, self.MAX_RETRIES, self.RETRY_DELAY)
        return [AsyncJob(self, job_id) for job_id in await self._call(call)]

    async def get(self, job_id: int) -> AsyncJob:
        """The job with this id. Raises JobNotFoundError."""
        snapshot = await self._call(calls.get(job_id))
        return AsyncJob(self, job_id, snapshot)

    async def output(self, job_id: int, number: int | None = None) -> bytes:
        """All that an attempt has written to stdout and stderr until now; the latest where no number is given."""
        read = await self._call(calls.output(job_id, number, 0))
        parts, place = [read.part.data], 0
        while not read.is_end and read.next > place:
            place = read.next
            read = await self._call(calls.output(job_id, read.part.number, place))
            parts.append(read.part.data)
        return b"".join(parts)

    def follow_output(self, job_id: int, number: int | None = None) -> AsyncFollowing[OutputPart]:
        """What a job writes as it does, attempt after attempt, until it has ended."""
        return AsyncFollowing(self, calls.FollowedOutput(job_id, number))

    async def logs(
        self,
        *,
        id: int | None = None,
        class_name: str | type | None = None,
        method_name: str | None = None,
        type: str | None = None,
        search: str | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> Page[JsonObject]:
        """Log entries, newest first; with `after`, oldest first those with a larger id. 50, or up to 1000, a page."""
        return await self._call(calls.logs(id, class_name, method_name, type, search, before, after, limit))

    def follow_logs(
        self,
        *,
        id: int | None = None,
        class_name: str | type | None = None,
        method_name: str | None = None,
        type: str | None = None,
        search: str | None = None,
        after: int | None = None,
        limit: int | None = None,
    ) -> AsyncFollowing[JsonObject]:
        """The last `limit` (10) entries, or all after `after`, and then new ones; ends with the job `id` only."""
        follower = calls.FollowedLogs(id, class_name, method_name, type, search, after, limit)
        return AsyncFollowing(self, follower)

    def watch(
        self, *job_ids: int, queue: str | None = None, class_name: str | type | None = None
    ) -> AsyncFollowing[JsonObject]:
        """Summaries of jobs: of each id how it stands, then each change, until all have ended.

        Without ids every change from its `async with`, or first item, on, without end; changes while no daemon runs
        are then not told.
        """
        return AsyncFollowing(self, calls.Watched(job_ids, queue, class_name))

    async def cancel(self, *job_ids: int) -> None:
        """Cancel jobs. Raises JobNotFoundError, InvalidStateError; then none of them is cancelled."""
        await self._call(calls.cancel(job_ids))

    async def retry(self, *job_ids: int) -> None:
        """Run failed or cancelled jobs again, with all their retries. Raises JobNotFoundError, InvalidStateError."""
        await self._call(calls.retry(job_ids))

    async def pause(self, queue: str = "default") -> None:
        """Start no more jobs of a queue."""
        await self._call(calls.pause(queue))

    async def resume(self, queue: str = "default") -> None:
        """Start jobs of a queue again."""
        await self._call(calls.resume(queue))

    async def classes(self) -> _Objects:
        """What may run: name, doc, methods, policy, unavailable of each approved class."""
        return await self._call(calls.classes())

    async def stats(self) -> JsonObject:
        """How the daemon stands: version, pid, slots, jobs by status, queues."""
        return await self._call(calls.stats())

    async def ping(self) -> JsonObject:
        """Who answers: vendor, product, version, url, interfaces."""
        return await self._call(calls.ping())

    async def reload(self) -> str:
        """Have the daemon read its configuration and import the code anew; the new code's version.

        Raises ReloadFailedError; then all stays as it was. It takes as long as the imports do.
        """
        return await self._call_apart(calls.reload(), None, Breaks())

    async def wait(self, job_id: int, timeout: float | None = None) -> JsonObject:
        """The job once it has ended. Raises WaitTimeoutError after `timeout` seconds; the job goes on."""
        deadline = None if timeout is None else time.monotonic() + timeout
        breaks = Breaks()
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                return calls.ended(await self._call_apart(calls.wait(job_id, left), left, breaks), timeout)
            except NoAnswerError:
                raise
            except (DaemonUnavailableError, ShuttingDownError) as error:
                pause = self._pause_after(breaks, error)
            await asyncio.sleep(
                pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))
            )
            if deadline is not None and time.monotonic() >= deadline:
                raise calls.late(f"no daemon tells how job {job_id} stands", "it goes", timeout)

    def as_completed(
        self, jobs: Iterable[AsyncJob], timeout: float | None = None
    ) -> AsyncGenerator[AsyncJob, None]:
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
        before: int | None = None,
        limit: int | None = None,
    ) -> Page[JsonObject]:
        """Summaries of jobs, newest first, 50, or up to 1000, a page. `before`: an id, or the last page's `next`."""
        return await self._call(
            calls.list_jobs(status, queue, class_name, method_name, search, before, limit)
        )

    # How it gets there

    async def _call(self, call: Call[T]) -> T:
        substitute = try_substitute()
        if substitute is not None:
            return call.parse(substitute.answer(call.request))
        kept = self._own_kept()
        async with kept.lock:
            reply = await self._ask(kept, call)
        return call.answer(reply)

    async def _ask(self, kept: _Kept, call: Call[Any]) -> Reply:
        """One exchange. Where the daemon closes the connection instead of answering, another is tried, once."""
        try:
            return await self._exchange(kept, call.request)
        except NoAnswerError:
            raise
        except BrokenError as error:
            if not calls.may_ask_again(call, error.was_sent):
                raise
        return await self._exchange(kept, call.request)

    async def _exchange(self, kept: _Kept, request: Request) -> Reply:
        if kept.connection is None:
            kept.connection = await self._connect()
        try:
            return await kept.connection.call(request, self._timeout)
        except BaseException:
            # Cancelled or failed: whatever comes over it later answers a question that nobody asks any more.
            kept.drop()
            raise

    async def _call_apart(self, call: Call[T], limit: float | None, breaks: Breaks) -> T:
        """An exchange on a connection of its own: others go on calling meanwhile."""
        substitute = try_substitute()
        if substitute is not None:
            return call.parse(substitute.answer(call.request))
        with await self._connect() as connection:
            breaks.connected(time.monotonic())
            return call.answer(
                await connection.call(call.request, None if limit is None else limit + self._timeout)
            )

    async def _connect(self) -> _Connection:
        connection = await _connected(self._path, self._timeout)
        self._was_reached = True
        return connection

    def _pause_after(self, breaks: Breaks, error: DaemonUnavailableError | ShuttingDownError) -> float:
        """Seconds until the next try. Raises the error where there was never a daemon, or none for too long."""
        pause = breaks.try_pause(time.monotonic()) if self._was_reached else None
        if pause is None:
            raise error if isinstance(error, DaemonUnavailableError) else calls.gone(self._path, error)
        return pause

    def _own_kept(self) -> _Kept:
        """What this process and loop keep; what is of another is left to it."""
        loop = asyncio.get_running_loop()
        kept = self._kept
        if kept is None or kept.owner != os.getpid() or kept.loop is not loop:
            kept = self._kept = _Kept(loop)
        return kept


class AsyncJob:
    """A job at a daemon; `snapshot` is the last that was seen of it, keys as the columns."""

    def __init__(self, client: AsyncClient, job_id: int, snapshot: JsonObject | None = None) -> None:
        self._client = client
        self.id = job_id
        self.snapshot: JsonObject = snapshot if snapshot is not None else {"id": job_id}

    def __repr__(self) -> str:
        return f"<AsyncJob {self.id} {self.snapshot.get('status', 'as submitted')}>"

    async def refresh(self) -> JsonObject:
        """Ask how the job stands."""
        self.snapshot = (await self._client.get(self.id)).snapshot
        return self.snapshot

    async def wait(self, timeout: float | None = None) -> JsonObject:
        """Wait for the job's end, whichever it is. Raises WaitTimeoutError after `timeout` seconds."""
        self.snapshot = await self._client.wait(self.id, timeout)
        return self.snapshot

    async def result(self, timeout: float | None = None) -> Any:
        """What the method returned. Raises JobFailedError, JobCancelledError, WaitTimeoutError."""
        return calls.result_of(await self.wait(timeout))

    async def cancel(self) -> None:
        """Cancel the job. Raises InvalidStateError where it has ended."""
        await self._client.cancel(self.id)

    async def retry(self) -> None:
        """Run the job again, with all its retries. Raises InvalidStateError unless it failed or was cancelled."""
        await self._client.retry(self.id)

    @overload
    def logs(self, follow: Literal[False] = False) -> Awaitable[Page[JsonObject]]: ...
    @overload
    def logs(self, follow: Literal[True]) -> AsyncFollowing[JsonObject]: ...
    def logs(self, follow: bool = False) -> Awaitable[Page[JsonObject]] | AsyncFollowing[JsonObject]:
        """The job's log entries, oldest first, up to 1000; or, to follow, all and then new ones until it has ended."""
        if follow:
            return self._client.follow_logs(id=self.id, after=0)
        return self._client._call(calls.logs_of(self.id))

    @overload
    def output(self, follow: Literal[False] = False) -> Awaitable[bytes]: ...
    @overload
    def output(self, follow: Literal[True]) -> AsyncFollowing[OutputPart]: ...
    def output(self, follow: bool = False) -> Awaitable[bytes] | AsyncFollowing[OutputPart]:
        """What the latest attempt wrote; or, to follow, what it and those after it write until the job has ended."""
        return self._client.follow_output(self.id) if follow else self._client.output(self.id)

    def watch(self) -> AsyncFollowing[JsonObject]:
        """How the job stands, then each change, until it has ended."""
        return self._client.watch(self.id)


class AsyncFollowing(AsyncIterator[T]):
    """What a stream tells, as it comes. It begins with its `async with`, or else with the first item.

    `aclose` it, leave its `async with` or drop it: then its connection is closed. Where waiting for an item is
    cancelled, it is over.
    """

    def __init__(self, client: AsyncClient, follower: Follower[T]) -> None:
        self._batches = _batches(client, Conversation(follower))
        self._items: deque[T] = deque()
        self._has_begun = False

    async def __aenter__(self) -> AsyncFollowing[T]:
        if not self._has_begun:
            await self._take_batch()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def __anext__(self) -> T:
        while not self._items:
            if not await self._take_batch():
                raise StopAsyncIteration
        return self._items.popleft()

    async def aclose(self) -> None:
        """Close the connection."""
        self._items.clear()
        await self._batches.aclose()

    async def _take_batch(self) -> bool:
        """Whether there was another; the first, which may have no items, says that it has begun."""
        batch = await anext(self._batches, None)
        self._has_begun = True
        self._items += batch or ()
        return batch is not None


class _Kept:
    """The connection that the calls of a process and loop share; whoever uses it holds the lock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = os.getpid()
        self.loop = loop
        self.lock = asyncio.Lock()
        self.connection: _Connection | None = None

    def drop(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class _Connection(OwnSocket):
    """A connection that the loop waits for; use it from one task at a time."""

    async def call(self, request: Request, limit: float | None) -> Reply:
        """One exchange; the answer may take `limit` seconds."""
        await self.send(request)
        replies: list[Reply] = []
        try:
            async with asyncio.timeout(limit):
                while not replies:
                    replies = await self.read()
        except TimeoutError:
            raise NoAnswerError(self.path, limit) from None
        if len(replies) > 1:
            raise ProtocolError("the daemon answered more than it was asked")
        return replies[0]

    async def send(self, request: Request) -> None:
        frame = request.to_bytes()
        try:
            async with asyncio.timeout(self.timeout):
                await asyncio.get_running_loop().sock_sendall(self.socket, frame)
        except TimeoutError:
            raise NoAnswerError(self.path, self.timeout) from None
        except OSError as error:
            raise BrokenError(self.path, error, was_sent=False) from error

    async def read(self) -> list[Reply]:
        """The replies that the next bytes complete; waits for those."""
        try:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        except OSError as error:
            raise BrokenError(self.path, error, was_sent=True) from error
        return self.replies_in(data)


async def _connected(path: str, timeout: float) -> _Connection:
    connection = _Connection(path, timeout)
    connection.socket.setblocking(False)
    deadline = time.monotonic() + timeout
    try:
        while not _try_connect(connection.socket, path):
            if time.monotonic() >= deadline:
                raise NoAnswerError(path, timeout)
            await asyncio.sleep(_FULL_BACKLOG_PAUSE)
    except BaseException:
        connection.close()
        raise
    return connection


def _try_connect(connection: socket.socket, path: str) -> bool:
    """Whether it is connected; False where the daemon's backlog is full, which no loop can wait for."""
    try:
        connection.connect(path)
    except BlockingIOError:
        return False
    except OSError as error:
        raise calls.unreachable(path, error) from None
    return True


async def _batches(client: AsyncClient, conversation: Conversation[T]) -> AsyncGenerator[list[T], None]:
    """What comes, as it comes together; a first batch without items says that it has begun."""
    connection: _Connection | None = None
    try:
        substitute = try_substitute()
        if substitute is not None:
            yield conversation.take_all(substitute.stream(conversation.request))
        while not conversation.is_over:
            items: list[T] = []
            try:
                if connection is None or not connection.is_own:
                    connection = await client._connect()
                    conversation.connected(time.monotonic())
                    await connection.send(conversation.request)
                else:
                    for reply in await connection.read():
                        items += conversation.take(reply)
            except (DaemonUnavailableError, ShuttingDownError) as error:
                if connection is not None:
                    connection.close()
                    connection = None
                await asyncio.sleep(client._pause_after(conversation.breaks, error))
            if items or not conversation.is_unanswered:
                yield items
    finally:
        if connection is not None:
            connection.close()


async def _as_completed(
    jobs: Sequence[AsyncJob], timeout: float | None, deadline: float | None
) -> AsyncGenerator[AsyncJob, None]:
    clients = {job._client._path: job._client for job in jobs}
    streams = [
        (clients[path], Conversation(endings))
        for path, endings in calls.endings_by_path((job._client._path, job.id, job) for job in jobs)
    ]
    sources = [_batches(client, conversation) for client, conversation in streams]
    nexts = {asyncio.ensure_future(_next_batch(source)): source for source in sources}
    told = 0
    try:
        while nexts:
            # What a daemon that is there tells at once is waited for.
            now = time.monotonic()
            graces = [conversation.grace(now, client._timeout) for client, conversation in streams]
            limit = None if deadline is None else max(deadline, *graces)
            left = None if limit is None else max(0.0, limit - now)
            ready, _ = await asyncio.wait(nexts, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if not ready:
                break
            for task in ready:
                source = nexts.pop(task)
                batch = task.result()
                if batch is None:
                    continue
                nexts[asyncio.ensure_future(_next_batch(source))] = source
                for job, summary in batch:
                    told += 1
                    job.snapshot = {**job.snapshot, **summary}
                    yield job
        if told < len(jobs):
            open_jobs = f"{len(jobs) - told} of {len(jobs)} jobs have not ended"
            raise calls.late(open_jobs, "they go", timeout)
    finally:
        for task in nexts:
            task.cancel()
        await asyncio.gather(*nexts, return_exceptions=True)
        for source in sources:
            await source.aclose()


async def _next_batch(source: AsyncGenerator[T, None]) -> T | None:
    return await anext(source, None)
