"""The methods of org.bgjobd.Jobs about what ended, by spans of time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bgjob.codec import to_json
from bgjob.errors import InvalidParameterError
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.api.submissions import try_instant
from bgjobd.core.spans import SPANS
from bgjobd.store.trends import try_asked

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon


async def trend(daemon: Daemon, given: schemas.Trend, caller: Caller) -> Encoded:
    if given.span not in SPANS:
        raise InvalidParameterError(parameter="span")
    since = None if given.since is None else try_instant(given.since)
    if since is None and given.since is not None:
        raise InvalidParameterError(parameter="since")
    asked = try_asked(given.of, given.span, since, daemon.clock.now())
    if asked is None:
        raise InvalidParameterError(parameter="of")
    async with caller.turn:
        points = await daemon.readers.read(lambda reader: reader.trends.of_spans(daemon.counted, asked))
        return Encoded(to_json({"points": points}).encode())


async def class_trends(daemon: Daemon, given: schemas.Nothing, caller: Caller) -> Encoded:
    now = daemon.clock.now()
    async with caller.turn:
        found = await daemon.readers.read(lambda reader: reader.trends.of_each(daemon.counted, now))
        return Encoded(to_json({"classes": found}).encode())


async def class_stats(daemon: Daemon, given: schemas.ClassStats, caller: Caller) -> Encoded:
    now, limit = daemon.clock.now(), schemas.MAX_MARKS if given.limit is None else given.limit
    async with caller.turn:
        found = await daemon.readers.read(
            lambda reader: reader.trends.of_one(daemon.counted, given.name, limit, now)
        )
        return Encoded(to_json(found).encode())
