"""The method of org.bgjobd.Jobs that sends a signal to a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import JsonObject
from bgjob.errors import InvalidParameterError
from bgjob.words import MOST_PAYLOAD_BYTES
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import checked_value, submitter
from bgjobd.store.items.wishes import Signal

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def signal(grants: Grants, daemon: Daemon, given: schemas.Signal, caller: Caller) -> JsonObject:
    if (given.id is None) == (given.key is None):
        raise InvalidParameterError(parameter="id")
    payload = await checked_value(given.payload, MOST_PAYLOAD_BYTES, "payload")
    by = submitter(caller, grants)
    item = Signal(given.id, given.key, given.name, payload, given.signal_key, by)
    job_id, is_new = await daemon.record(item)
    return {"id": job_id, "created": is_new}
