"""The method of org.bgjobd.Jobs that changes what waits: its terms are checked, and who may is left to the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.words import Removable
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import submitter, try_instant
from bgjobd.api.who_asked import first_jobs, say_who
from bgjobd.core.facts import Changed
from bgjobd.core.planner import BESIDE
from bgjobd.store.items.wishes import JobsChanged

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def change(grants: Grants, daemon: Daemon, given: schemas.Change, caller: Caller) -> JsonObject:
    ids = list(dict.fromkeys(given.ids))
    is_own = given.queue in daemon.lanes.queues and given.queue != BESIDE
    if not is_own and not await daemon.peers.has_queue(given.queue):
        raise InvalidParameterError(parameter="queue")
    fact = _fact_of(daemon, given, caller)
    changed: tuple[int, ...] = await daemon.record(JobsChanged(tuple(ids), fact, submitter(caller, grants)))
    if changed:
        say_who(daemon, f"change of {first_jobs(changed)}", caller)
    return {"ids": ids}


def _fact_of(daemon: Daemon, given: schemas.Change, caller: Caller) -> Changed:
    """Raises InvalidParameterError."""
    if given.max_retries is not None and given.max_retries > daemon.config.retry.cap:
        raise InvalidParameterError(parameter="max_retries")
    for place, name in enumerate(given.without or ()):
        if getattr(given, name) is not None:
            raise InvalidParameterError(parameter=f"without.{place}")
    return Changed(
        by=caller.uid,
        priority=given.priority,
        queue=given.queue,
        scheduled_at=_instant(given.at, "at"),
        expires_at=_instant(given.expires_at, "expires_at"),
        timeout=given.timeout,
        max_retries=given.max_retries,
        without=frozenset(Removable(name) for name in given.without or ()),
    )


def _instant(text: str | None, parameter: str) -> float | None:
    if text is None:
        return None
    at = try_instant(text)
    if at is None:
        raise InvalidParameterError(parameter=parameter)
    return at
