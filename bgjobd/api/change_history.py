"""The method of org.bgjobd.Jobs that tells what was changed, and by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgjob.codec import to_json
from bgjob.words import INT_MAX
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50


async def changes(daemon: Daemon, given: schemas.Changes, caller: Caller) -> Encoded:
    before, limit = given.before or INT_MAX, given.limit or _PAGE

    def read(reader: Reader) -> Encoded:
        found = reader.changes(before, limit + 1)
        following = found[limit - 1]["id"] if len(found) > limit else None
        return Encoded(to_json({"changes": found[:limit], "next": following}).encode())

    async with caller.turn:
        return await daemon.readers.read(read)
