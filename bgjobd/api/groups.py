"""The methods of org.bgjobd.Jobs about groups, and about what hangs together: how they stand, what is asked of one."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import DuplicateError, GroupNotFoundError, InvalidStateError, JobNotFoundError
from bgjob.predecessors import reached
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import submitter
from bgjobd.api.who_asked import say_who
from bgjobd.core.edges import Node, Of
from bgjobd.core.facts import RetryRequested
from bgjobd.store.graphs import Graph
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.wishes import GroupCancelled, JobRequests
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50
_GRAPH: Final = 200
_READ_AT_ONCE: Final = 1000
_RETRIED_AT_ONCE: Final = 100
"""Jobs that one transaction retries: others have theirs in between."""


async def group(daemon: Daemon, given: schemas.GroupId, caller: Caller) -> JsonObject:
    return {"group": await _group(daemon, given.id, caller)}


async def _group(daemon: Daemon, group_id: int, caller: Caller) -> JsonObject:
    """Raises GroupNotFoundError."""
    async with caller.turn:
        found = await daemon.readers.read(lambda reader: reader.groups.one(group_id))
    if found is None:
        raise GroupNotFoundError(id=group_id)
    return found


async def groups(daemon: Daemon, given: schemas.Groups, caller: Caller) -> JsonObject:
    async with caller.turn:
        found, following = await daemon.readers.read(
            lambda reader: reader.groups.page(given.state, given.group, given.before, given.limit or _PAGE)
        )
    return {"groups": found, "next": following}


async def wait_group(daemon: Daemon, given: schemas.WaitGroup, caller: Caller) -> JsonObject:
    with daemon.group_waiters.waiting_for(given.id) as ended:
        found = await _group(daemon, given.id, caller)
        if found["ended_at"] is not None:
            return {"group": found}
        await ended(given.timeout)
    return {"group": await _group(daemon, given.id, caller)}


async def seal_group(grants: Grants, daemon: Daemon, given: schemas.GroupId, caller: Caller) -> JsonObject:
    await daemon.record(Flow((), submitter(caller, grants), seals=(given.id,)))
    say_who(daemon, f"seal of group {given.id}", caller)
    return {}


async def cancel_group(grants: Grants, daemon: Daemon, given: schemas.GroupId, caller: Caller) -> JsonObject:
    await daemon.record(GroupCancelled(given.id, submitter(caller, grants)))
    say_who(daemon, f"cancel of group {given.id}", caller)
    return {}


async def retry_group(daemon: Daemon, given: schemas.GroupId, caller: Caller) -> JsonObject:
    await _group(daemon, given.id, caller)
    behind: dict[str, list[str]] = defaultdict(list)
    failed = await _failed_members(daemon, given.id, caller, behind)
    again: list[str] = []
    for start in range(0, len(failed), _RETRIED_AT_ONCE):
        portion = failed[start : start + _RETRIED_AT_ONCE]
        done = await asyncio.gather(*[_retry(daemon, job_id) for job_id in portion])
        again += [str(job_id) for job_id, is_retried in zip(portion, done, strict=True) if is_retried]
    retried = sum([name.isdecimal() for name in reached(again, behind)])
    say_who(daemon, f"retry of group {given.id} ({retried} jobs)", caller)
    return {"retried": retried}


async def _failed_members(
    daemon: Daemon, group_id: int, caller: Caller, behind: dict[str, list[str]]
) -> list[int]:
    """Those that failed, of the groups in it too; `behind` gets by name what goes on with what, jobs and groups.

    What was cancelled for one of them is revived by its retry, and so what was cancelled for this.
    """
    failed: list[int] = []
    async with caller.turn:
        nested = await daemon.readers.read(lambda reader: reader.groups.nested(group_id))
    for id in nested:
        of_nested = await _failed_members(daemon, id, caller, behind)
        for job_id in of_nested:
            behind[str(job_id)].append(str(Node(Of.GROUP, id)))
        failed += of_nested
    after = 0
    while True:
        members = await _retryable(daemon, group_id, after, caller)
        for job_id, cancelled_after in members:
            if cancelled_after is None:
                failed.append(job_id)
            else:
                behind[cancelled_after].append(str(job_id))
        if len(members) < _READ_AT_ONCE:
            return failed
        after = members[-1][0]


async def _retryable(
    daemon: Daemon, group_id: int, after: int, caller: Caller
) -> Sequence[tuple[int, str | None]]:
    async with caller.turn:
        return await daemon.readers.read(
            lambda reader: reader.groups.retryable(group_id, after, _READ_AT_ONCE)
        )


async def _retry(daemon: Daemon, job_id: int) -> bool:
    """Whether it could be; somebody may have done so, or deleted it, a moment ago."""
    try:
        await daemon.record(JobRequests((job_id,), RetryRequested()))
    except (InvalidStateError, JobNotFoundError, DuplicateError):
        return False
    return True


async def graph(daemon: Daemon, given: schemas.Graph, caller: Caller) -> Encoded:
    """Its jobs are counted only where they are more than are told: that is a search, which waits for others."""

    def near(reader: Reader) -> Encoded | None:
        found = _graph(reader, given)
        if given.count is None:
            return _encoded(found)
        return _encoded(replace(found, total=len(found.jobs))) if found.is_whole else None

    def counted(reader: Reader) -> Encoded:
        return _encoded(_graph(reader, given, given.count))

    async with caller.turn:
        encoded: Encoded | None = await daemon.readers.read(near)
        return await daemon.readers.search(counted) if encoded is None else encoded


def _graph(reader: Reader, given: schemas.Graph, count: int | None = None) -> Graph:
    """Raises JobNotFoundError."""
    found = reader.groups.graph(given.id, given.limit or _GRAPH, count)
    if found is None:
        raise JobNotFoundError(id=given.id)
    return found


def _encoded(found: Graph) -> Encoded:
    return Encoded(to_json(found.as_json()).encode())
