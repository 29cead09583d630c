"""What else is read of jobs than `get` and `list` have of them: once, or as it comes. What changes them stays out.

`sync_reading.py` is made of this file: `./run sync` after a change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from bgjob import calls, following
from bgjob.answers import OutputPart, Page, StackRead, StepsRead, Value, ValuesRead
from bgjob.async_connections import AsyncFollowing
from bgjob.async_managing import GroupingClient
from bgjob.codec import JsonObject

if TYPE_CHECKING:
    from datetime import datetime


class ReadingClient(GroupingClient):
    """What jobs write, log, emit and have done, where they are and why, and each change of them as it comes."""

    async def output(self, job_id: int, number: int | None = None, *, tail: int | None = None) -> bytes:
        """All that an attempt has written to stdout and stderr until now, or the last `tail` bytes; the latest where no
        number is given.

        Of a long output the middle is not kept: a line in its place tells how many bytes were left out.
        """
        return b"".join([part.marked for part in await self.output_parts(job_id, number, tail=tail)])

    async def output_parts(
        self, job_id: int, number: int | None = None, *, tail: int | None = None
    ) -> list[OutputPart]:
        """The same in parts, each with how many bytes were left out before it; at least one, which may be empty."""
        read = await self._call(calls.output(job_id, number, calls.tail_offset(tail)))
        parts, place, had = [read.part], 0, len(read.part.data)
        # Of one that writes without a pause the last bytes are those that were the last when they were asked for.
        while not read.is_end and read.next > place and (tail is None or had < tail):
            place = read.next
            read = await self._call(calls.output(job_id, read.part.number, place))
            had += len(read.part.data)
            if read.part.marked:
                parts.append(read.part)
        return parts

    def follow_output(
        self, job_id: int, number: int | None = None, *, tail: int | None = None
    ) -> AsyncFollowing[OutputPart]:
        """What a job writes as it does, attempt after attempt, until it has ended; of what the first of these attempts
        has written until now, with `tail`, the last so many bytes.
        """
        return self._following(following.FollowedOutput(job_id, number, tail))

    def follow_values(
        self, job_id: int, after: int = 0, on_gap: Callable[[int], None] = lambda left_out: None
    ) -> AsyncFollowing[Value]:
        """The values that a job has emitted behind the number `after`, the last few where it is below 0, each with its
        place; then those that it does, until it has ended. `on_gap` hears how many of them were not kept so long.
        """
        return self._following(following.FollowedValues(job_id, after, on_gap))

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
        count: int | None = None,
        said: bool = False,
        until: datetime | str | None = None,
    ) -> Page[JsonObject]:
        """Log entries, newest first; with `after`, oldest first those with a larger id. 50, or up to 1000, a page.

        With `count`, up to 100,000, the page tells its `total`: at most that, whatever `before` and `after` are. With
        `said` those that tell more than that a job was submitted, has begun, or how far it is; with `until` those up to
        where the log had got to then.
        """
        return await self._call(
            calls.logs(
                id=id, class_name=class_name, method_name=method_name, type=type, search=search, before=before,
                after=after, limit=limit, count=count, said=said, until=until,
            )
        )  # fmt: skip

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
        said: bool = False,
    ) -> AsyncFollowing[JsonObject]:
        """The last `limit` (10) entries, or all after `after`, and then new ones; ends with the job `id` only.

        With `said` as `logs()`.
        """
        return self._following(
            following.FollowedLogs(
                id=id, class_name=class_name, method_name=method_name, type=type, search=search, after=after,
                limit=limit, said=said,
            )
        )  # fmt: skip

    def watch(
        self,
        job_ids: int | Iterable[int] | None = None,
        *,
        queue: str | None = None,
        class_name: str | type | None = None,
        label: str | None = None,
    ) -> AsyncFollowing[JsonObject]:
        """Summaries of jobs: of each id how it stands, then each change, until all have ended.

        Without ids every change from its `async with`, or first item, on, without end; changes while no daemon runs
        are then not told.
        """
        return self._following(*following.watched(job_ids, queue, class_name, label))

    async def steps(self, job_id: int, *, after: int | None = None, limit: int | None = None) -> StepsRead:
        """The steps and waits of a job as they were finished, 50, or up to 1000, a page, at the end those that are not,
        its state, and the signals that it has got. `after`: a step's number, or the last page's `next`; then without
        these two.

        Raises JobNotFoundError.
        """
        return await self._call(calls.steps(job_id, after, limit))

    async def stack(
        self, job_id: int, *, signal: bool = True, insist: bool = False, children: bool = False
    ) -> StackRead:
        """Where a job that runs is just now: its threads, the tasks of its loop, and how the kernel sees its process.
        With `insist` also where asking may end a call of C's that waits; with `children` also of copies that it has
        forked; without `signal` it is not asked at all. Raises JobNotFoundError, InvalidStateError unless it runs.
        """
        return await self._call(calls.stack(job_id, signal, insist, children))

    async def values(self, job_id: int, *, after: int = 0, limit: int | None = None) -> ValuesRead:
        """The values that a job has emitted, in their order, 50, or up to 1000, a page. `after`: a value's number, or
        the last page's `next`; below 0 it counts from the end. Raises JobNotFoundError.
        """
        return await self._call(calls.values_of(job_id, after, limit))

    async def why(self, job_id: int) -> str:
        """Why a job has not run or has not ended, when it will run, or how it ended: a sentence for people.

        Raises JobNotFoundError.
        """
        return await self._call(calls.why(job_id))
