"""The method of org.bgjobd.Jobs that tells the values that a job has emitted, and with `more` those that it emits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bgjob.codec import to_json
from bgjob.errors import JobNotFoundError
from bgjob.words import FINAL
from bgjobd.api import schemas
from bgjobd.api.dispatch import Encoded
from bgjobd.api.peer import Caller
from bgjobd.api.replies import summary_of_stored
from bgjobd.daemon.followers import Commit, Values
from bgjobd.store.committed import StoredValue
from bgjobd.store.reader import Reader
from bgjobd.store.values import PAGE_BYTES

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_PAGE: Final = 50
_AT_ONCE: Final = 200
"""How many a reply of those that follow has at most, if none is asked for."""


async def values(daemon: Daemon, given: schemas.Values, caller: Caller) -> Encoded:
    async with caller.turn:
        told = await daemon.readers.read(partial(_page, given=given, after=given.after or 0))
    if told is None:
        raise JobNotFoundError(id=given.id)
    return told.reply


async def follow(daemon: Daemon, given: schemas.Values, caller: Caller) -> AsyncIterator[Encoded]:
    """Those behind a number, at once though there be none, then others as they are committed; until the job has ended
    and all are told.
    """
    with daemon.followers.values(given.id, partial(_news, given.id)) as follower:
        is_over = (await summary_of_stored(daemon, given.id))["status"] in FINAL
        last, has_more = given.after or 0, True
        while has_more:
            page = partial(_page, given=given, after=last, is_stream=True, is_over=is_over)
            told = await daemon.readers.read(page)
            if told is None:  # deleted meanwhile
                raise JobNotFoundError(id=given.id)
            last, has_more = told.next, told.has_more
            yield told.reply
        while not is_over:
            news = await follower.next()
            is_over = news.is_over
            known = sum(value.number <= last for value in news)
            if is_over and known == len(news):
                yield _encoded([], last, 0, is_end=True, continues=True)
            for some in _portions(news[known:], given.limit or _AT_ONCE):
                texts, known = news.texts[known : known + len(some)], known + len(some)
                last = some[-1].number
                yield _encoded(texts, last, 0, is_over and known == len(news), continues=True)


class _Told:
    """A page, written out where it is read."""

    def __init__(self, reply: Encoded, next: int, has_more: bool) -> None:
        self.reply, self.next, self.has_more = reply, next, has_more


def _page(
    reader: Reader,
    given: schemas.Values,
    after: int,
    is_stream: bool = False,
    is_over: bool | None = None,
) -> _Told | None:
    """`is_over`: whether what is followed has ended, where somebody has looked before."""
    found = reader.values(given.id, after, given.limit or (_AT_ONCE if is_stream else _PAGE))
    if found is None:
        return None
    is_end = (found.has_ended if is_over is None else is_over) and not found.has_more
    texts = [value.to_json() for value in found.values]
    reply = _encoded(texts, found.next, found.left_out, is_end, continues=is_stream)
    return _Told(reply, found.next, found.has_more)


def _news(job_id: int, commit: Commit) -> Values | None:
    news = commit.values_of(job_id)
    return news if news or news.is_over else None


def _portions(values: Sequence[StoredValue], limit: int) -> Iterator[Sequence[StoredValue]]:
    """So many that a reply of them is no larger than a page."""
    part: list[StoredValue] = []
    size = 0
    for value in values:
        if len(part) == limit or size > PAGE_BYTES:
            yield part
            part, size = [], 0
        part.append(value)
        size += len(value.value)
    if part:
        yield part


def _encoded(
    values: Sequence[str], next: int, left_out: int, is_end: bool, continues: bool = False
) -> Encoded:
    rest = to_json({"next": next, "left_out": left_out, "is_end": is_end})
    return Encoded(f'{{"values":[{",".join(values)}],{rest[1:]}'.encode(), continues)
