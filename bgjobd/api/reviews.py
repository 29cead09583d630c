"""The method of org.bgjobd.Jobs by which a person says what a job did of which nobody knows it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjobd.api import schemas
from bgjobd.api.peer import Caller
from bgjobd.api.replies import summary_of_stored
from bgjobd.api.submissions import checked_value
from bgjobd.api.who_asked import say_who
from bgjobd.core.facts import Settled, SettledAsCompleted, SettledAsFailed, StepSettled
from bgjobd.forkserver.journal_lines import MAX_RESULT
from bgjobd.store.items.wishes import JobSettled

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def settle(daemon: Daemon, given: schemas.Settle, caller: Caller) -> JsonObject:
    item = JobSettled(given.id, await _word(given, caller.uid))
    with await _hook_expected(daemon, item, caller):
        await daemon.record(item)
    say_who(daemon, f"settlement of job {given.id}", caller)
    return {}


async def _hook_expected(daemon: Daemon, item: JobSettled, caller: Caller) -> AbstractContextManager[None]:
    """What there is to be while it is stored. Raises JobNotFoundError.

    Of a job that is not for review nothing is touched: its attempt may be about to start.
    """
    if not isinstance(item.fact, SettledAsFailed):
        return nullcontext()
    async with caller.turn:
        job = await summary_of_stored(daemon, item.job_id)
    if job["review_since"] is None:
        return nullcontext()
    return daemon.supervisor.expecting_hook((item.job_id, job["attempt"]))


async def _word(given: schemas.Settle, uid: int) -> Settled:
    """Raises InvalidParameterError, TooLargeError."""
    if (given.completed is None) == (given.step is None):
        raise InvalidParameterError(parameter="completed")
    if given.completed is False:
        if given.result is not None:
            raise InvalidParameterError(parameter="result")
        return SettledAsFailed(uid, given.why or None)
    if given.why is not None:
        raise InvalidParameterError(parameter="why")
    result = await checked_value(given.result, MAX_RESULT, "result")
    return SettledAsCompleted(uid, result) if given.step is None else StepSettled(uid, given.step, result)
