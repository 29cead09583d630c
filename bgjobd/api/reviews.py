"""The method of org.bgjobd.Jobs by which a person says what a job did of which nobody knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, NotForReviewError, TooLargeError
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.replies import summary_of_stored
from bgjobd.api.who_asked import say_who
from bgjobd.core.facts import Settled, SettledAsCompleted, SettledAsFailed, StepSettled
from bgjobd.forkserver.journal import MAX_RESULT
from bgjobd.store.items import JobSettled

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def settle(daemon: Daemon, given: schemas.Settle, caller: Caller) -> JsonObject:
    item = JobSettled(given.id, _word(given, caller.uid))
    if isinstance(item.fact, SettledAsFailed):
        async with caller.turn:
            job = await summary_of_stored(daemon, given.id)
        if job["review_since"] is None:  # no fence in the way of an attempt that begins
            raise NotForReviewError(id=given.id, status=job["status"])
        with daemon.supervisor.expecting_hook((given.id, job["attempt"])):
            await daemon.record(item)
    else:
        await daemon.record(item)
    say_who(daemon, f"settlement of job {given.id}", caller)
    return {}


def _word(given: schemas.Settle, uid: int) -> Settled:
    """Raises InvalidParameterError, TooLargeError."""
    if (given.completed is None) == (given.step is None):
        raise InvalidParameterError(parameter="completed")
    if given.completed is False:
        if given.result is not None:
            raise InvalidParameterError(parameter="result")
        return SettledAsFailed(uid, given.why or None)
    if given.why is not None:
        raise InvalidParameterError(parameter="why")
    result = to_json(given.result)
    size = len(result.encode())
    if size > MAX_RESULT:
        raise TooLargeError(limit=MAX_RESULT, size=size, parameter="result")
    return SettledAsCompleted(uid, result) if given.step is None else StepSettled(uid, given.step, result)
