"""The method of org.bgjobd.Jobs that sends a signal to a job."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, TooLargeError
from bgjobd.api import schemas
from bgjobd.api.access import Grants
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import submitter
from bgjobd.store.items import Signal

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

MOST_BYTES: Final = 64 * 1024
"""Of what a signal brings, as JSON."""


async def signal(grants: Grants, daemon: Daemon, given: schemas.Signal, caller: Caller) -> JsonObject:
    if (given.id is None) == (given.key is None):
        raise InvalidParameterError(parameter="id")
    payload = to_json(given.payload)
    size = len(payload.encode())
    if size > MOST_BYTES:
        raise TooLargeError(limit=MOST_BYTES, size=size, parameter="payload")
    key = given.signal_key or secrets.token_hex(16)
    item = Signal(given.id, given.key, given.name, payload, key, submitter(caller, grants))
    job_id, is_new = await daemon.record(item)
    return {"id": job_id, "created": is_new}
