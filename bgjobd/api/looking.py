"""The method of org.bgjobd.Jobs that tells where a job is that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import to_json
from bgjob.errors import InvalidParameterError, InvalidStateError
from bgjob.words import Status
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.elsewhere import check_here
from bgjobd.api.peer import Caller
from bgjobd.api.replies import summary_of_stored
from bgjobd.host.clock import to_text
from bgjobd.supervisor.looks import Asked, GoneError, Look

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def stack(daemon: Daemon, given: schemas.Stack, caller: Caller) -> Encoded:
    asked = Asked(given.signal is not False, bool(given.insist), bool(given.children))
    if asked.insist and not asked.signal:
        raise InvalidParameterError(parameter="insist")
    number = await _attempt_of(daemon, given.id, caller)
    try:
        look = await daemon.supervisor.attempts.look((given.id, number), asked, caller.uid)
    except GoneError:
        number = await _attempt_of(daemon, given.id, caller)  # raises where that was its end
        look = Look.of_nobody(daemon.clock.now())
    return await daemon.readers.ask(_encoded, number, look)


def _encoded(number: int, look: Look) -> Encoded:
    """Written out off the loop, for there may be many tasks."""
    told = {
        "number": number,
        "at": to_text(look.at),
        "answered": look.answered,
        "process": look.process,
        "threads": look.threads,
        "tasks": look.tasks,
        "note": look.note,
    }
    return Encoded(to_json(told).encode())


async def _attempt_of(daemon: Daemon, job_id: int, caller: Caller) -> int:
    """The attempt that runs. Raises JobNotFoundError, InvalidStateError, ElsewhereError."""
    async with caller.turn:
        job = await summary_of_stored(daemon, job_id)
    if job["status"] != Status.RUNNING:
        raise InvalidStateError(id=job_id, status=job["status"])
    await check_here(daemon, job_id, job["attempt"])
    return int(job["attempt"])
