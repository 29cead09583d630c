"""The methods of org.bgjobd.Jobs about errors: what they are, whichever jobs meet them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgjob.codec import to_json
from bgjob.errors import ErrorGroupNotFoundError, InvalidParameterError
from bgjob.words import ErrorSort
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import stored_instant
from bgjobd.store.error_pages import ErrorFilter, new_since
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50


async def errors(daemon: Daemon, given: schemas.Errors, caller: Caller) -> Encoded:
    now, limit = daemon.clock.now(), given.limit or _PAGE
    first_since = new_since(now) if given.new else None
    since = stored_instant(given.since, "since")
    if given.sort is not None and given.sort not in tuple(ErrorSort):
        raise InvalidParameterError(parameter="sort")
    wanted = ErrorFilter(since, given.class_name, first_since, ErrorSort(given.sort or ErrorSort.LAST))

    def read(reader: Reader) -> Encoded:
        found, following = reader.errors(wanted, now, given.before, limit)
        return Encoded(to_json({"errors": found, "next": following}).encode())

    async with caller.turn:
        return await (daemon.readers.search(read) if wanted.is_search else daemon.readers.read(read))


async def error(daemon: Daemon, given: schemas.ErrorId, caller: Caller) -> Encoded:
    now = daemon.clock.now()
    async with caller.turn:
        read = await daemon.readers.read(lambda reader: reader.error(given.id, now, bool(given.traits)))
    if read is None:
        raise ErrorGroupNotFoundError(id=given.id)
    return Encoded(to_json(read._asdict()).encode())
