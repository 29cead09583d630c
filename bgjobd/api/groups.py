"""The methods of org.bgjobd.Jobs about groups, and about what hangs together: how they stand, what is asked of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject
from bgjob.errors import GroupNotFoundError, InvalidStateError, JobNotFoundError
from bgjob.words import Status
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import submitter
from bgjobd.api.who_asked import say_who
from bgjobd.core.facts import RetryRequested
from bgjobd.store.items import Flow, GroupCancelled, JobRequests

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50
_GRAPH: Final = 200
_RETRIED_AT_ONCE: Final = 100
"""Jobs that one transaction retries: others have theirs in between."""


async def group(daemon: Daemon, given: schemas.GroupId, caller: Caller) -> JsonObject:
    return {"group": await _group(daemon, given.id, caller)}


async def _group(daemon: Daemon, group_id: int, caller: Caller) -> JsonObject:
    """Raises GroupNotFoundError."""
    async with caller.turn:
        found = await daemon.readers.read(lambda reader: reader.group(group_id))
    if found is None:
        raise GroupNotFoundError(id=group_id)
    return found


async def groups(daemon: Daemon, given: schemas.Groups, caller: Caller) -> JsonObject:
    async with caller.turn:
        found, following = await daemon.readers.read(
            lambda reader: reader.groups(given.state, given.before, given.limit or _PAGE)
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
    retried = await _retry_members(daemon, given.id, caller)
    say_who(daemon, f"retry of group {given.id} ({retried} jobs)", caller)
    return {"retried": retried}


async def _retry_members(daemon: Daemon, group_id: int, caller: Caller) -> int:
    """Those that failed, portion by portion; those that were cancelled for one of them are revived by that."""
    after = retried = 0
    while True:
        members = await _retryable(daemon, group_id, after, caller)
        for job_id, status in members:
            retried += 1
            if status == Status.FAILED and not await _retry(daemon, job_id):
                retried -= 1
        if len(members) < _RETRIED_AT_ONCE:
            break
        after = members[-1][0]
    for nested in await daemon.readers.read(lambda reader: reader.nested_groups(group_id)):
        retried += await _retry_members(daemon, nested, caller)
    return retried


async def _retryable(daemon: Daemon, group_id: int, after: int, caller: Caller) -> Sequence[tuple[int, str]]:
    async with caller.turn:
        return await daemon.readers.read(
            lambda reader: reader.retryable_members(group_id, after, _RETRIED_AT_ONCE)
        )


async def _retry(daemon: Daemon, job_id: int) -> bool:
    """Whether it could be; somebody may have done so, or deleted it, a moment ago."""
    try:
        await daemon.record(JobRequests((job_id,), RetryRequested()))
    except (InvalidStateError, JobNotFoundError):
        return False
    return True


async def graph(daemon: Daemon, given: schemas.Graph, caller: Caller) -> JsonObject:
    async with caller.turn:
        found = await daemon.readers.read(lambda reader: reader.graph(given.id, given.limit or _GRAPH))
    if found is None:
        raise JobNotFoundError(id=given.id)
    return {"jobs": found.jobs, "groups": found.groups, "edges": found.edges, "is_whole": found.is_whole}
