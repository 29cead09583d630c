"""The methods of org.bgjobd.Jobs that answer as often as they have news: Watch, Logs and Output with `more`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import InvalidParameterError, JobNotFoundError
from bgjob.words import FINAL
from bgjobd.api import schemas
from bgjobd.api.elsewhere import read_output, try_kept
from bgjobd.api.peer import Caller
from bgjobd.api.replies import entry_of, log_reply, part, summary_of_stored
from bgjobd.core.job import Job
from bgjobd.daemon.followers import Changes, Commit, Lines
from bgjobd.store.committed import LogLine
from bgjobd.store.filters import LogFilter
from bgjobd.store.pages.page import Page, in_pages
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon.loop import Daemon

_LAST_ENTRIES: Final = 10
_ENTRIES: Final = 200
_LINES: Final = 25
_SUMMARIES: Final = 500
_PART: Final = 64 * 1024


async def watch(daemon: Daemon, given: schemas.Watch, caller: Caller) -> AsyncIterator[JsonObject]:
    """Each job asked for as it stands, then jobs as they change; until all that were asked for have ended."""
    if given.ids is not None:
        async for summary in _watch_these(daemon, given, dict.fromkeys(given.ids)):
            yield {"job": summary}
        return
    with daemon.followers.changes(lambda commit: _changes(commit, lambda job: _fits(given, job))) as follower:
        yield {"job": None}
        while True:
            for summary in await follower.next():
                yield {"job": summary}


async def _watch_these(
    daemon: Daemon, given: schemas.Watch, seen: dict[int, int | None]
) -> AsyncIterator[JsonObject]:
    """The jobs of these ids. `seen` has those that have not ended, each with the mark of what was told of it last."""
    ids = list(seen)
    with daemon.followers.changes(lambda commit: _changes_of(commit, seen)) as follower:
        async for summary in _summaries(daemon, ids):
            _note(seen, summary)
            yield summary
        while seen:
            for summary in await follower.next():
                if seen.get(summary["id"]) in (None, _mark(summary)):
                    continue
                _note(seen, summary)
                if _shows(given, summary):
                    yield summary


def _shows(given: schemas.Watch, summary: JsonObject) -> bool:
    """As _fits(), of a summary."""
    return (
        given.queue in (None, summary["queue"])
        and given.class_name in (None, summary["class_name"])
        and (given.label is None or given.label in summary["labels"])
    )


def _note(seen: dict[int, int | None], summary: JsonObject) -> None:
    if summary["status"] in FINAL:
        del seen[summary["id"]]
    else:
        seen[summary["id"]] = _mark(summary)


def _mark(summary: JsonObject) -> int:
    """What tells a summary from another; a number, for thousands are kept."""
    return hash(to_json(summary))


def _changes_of(commit: Commit, ids: Mapping[int, object]) -> Changes | None:
    return None if commit.jobs.isdisjoint(ids) else _changes(commit, lambda job: job.id in ids)


def _changes(commit: Commit, is_wanted: Callable[[Job], bool]) -> Changes | None:
    return Changes(commit.summaries(is_wanted)) or None


def _fits(given: schemas.Watch, job: Job) -> bool:
    return (
        given.queue in (None, job.queue)
        and given.class_name in (None, job.call.class_name)
        and (given.label is None or given.label in job.labels)
    )


async def logs(daemon: Daemon, given: schemas.Logs, caller: Caller) -> AsyncIterator[JsonObject]:
    """A first reply without entries, whose `next` is where to go on should it break off; then those that are there,
    oldest first, and new ones as they are committed; until the job asked for has ended.
    """
    if given.before is not None:
        raise InvalidParameterError(parameter="before")
    if given.after is not None and given.limit == 0:
        raise InvalidParameterError(parameter="limit")
    for name in ("count", "until"):
        if getattr(given, name) is not None:
            raise InvalidParameterError(parameter=name)
    wanted = LogFilter(
        given.id, given.class_name, given.method_name, given.type, given.search, bool(given.said)
    )
    with daemon.followers.lines(lambda commit: _lines(commit, wanted)) as follower:
        is_over = given.id is not None and (await summary_of_stored(daemon, given.id))["status"] in FINAL
        last = await daemon.readers.read(Reader.last_log_id) if given.after is None else given.after
        yield log_reply(daemon, [], last)
        async for page in _stored(daemon, given, wanted, last):
            key = page.next if page.next is not None else page.rows[-1]["id"]
            last = max(last, key)
            yield log_reply(daemon, page.rows, key)
        while not is_over:
            lines = await follower.next()
            is_over = lines.is_over
            for some in _portions([line for line in lines if line.id > last]):
                for entries in in_pages([entry_of(line) for line in some]):
                    yield log_reply(daemon, entries, entries[-1]["id"])


def _portions(lines: Sequence[LogLine]) -> Iterator[Sequence[LogLine]]:
    """So few that making entries of them keeps nobody: a commit may have thousands, and many may follow."""
    return (lines[start : start + _LINES] for start in range(0, len(lines), _LINES))


async def _stored(daemon: Daemon, given: schemas.Logs, wanted: LogFilter, last: int) -> AsyncIterator[Page]:
    """What is to be sent before the news, oldest first: all behind a key, or the last few up to `last` and what
    came meanwhile. A page without entries tells how far a search has come.
    """
    after: int | None = given.after
    size = _ENTRIES
    if after is None:
        count = _LAST_ENTRIES if given.limit is None else given.limit
        after = await _before_the_last(daemon, wanted, last, count)
    elif given.limit is not None:
        size = min(size, given.limit)
    while after is not None:
        page = await daemon.readers.read_page(
            wanted, partial(Reader.logs, wanted=wanted, after=after, limit=size)
        )
        if page.rows or page.next is not None:
            yield page
        after = page.next


async def _before_the_last(daemon: Daemon, wanted: LogFilter, last: int, limit: int) -> int:
    """The key behind which the last entries up to `last` come; a search goes on until it has them or has seen all."""
    first, before = last, last + 1
    while limit > 0:
        page = await daemon.readers.read_page(
            wanted, partial(Reader.logs, wanted=wanted, before=before, limit=limit)
        )
        if page.rows:
            first = page.rows[-1]["id"] - 1
        if page.next is None:
            break
        limit, before = limit - len(page.rows), page.next
    return first


def _lines(commit: Commit, wanted: LogFilter) -> Lines | None:
    if wanted.id is not None and wanted.id not in commit.jobs:
        return None
    lines = Lines([line for line in commit.lines if wanted.matches(line)])
    lines.is_over = any(job.id == wanted.id and job.status.is_final for job in commit.changed)
    return lines if lines or lines.is_over else None


async def output(daemon: Daemon, given: schemas.Output, caller: Caller) -> AsyncIterator[JsonObject]:
    """What the attempts of a job print, from `number` on, as it comes; until the job has ended."""
    offset = given.offset or 0
    has_news = asyncio.Event()
    with daemon.followers.mark(given.id, has_news), daemon.outputs.follow(given.id, has_news):
        job = await summary_of_stored(daemon, given.id)
        number = given.number or max(1, job["attempt"])
        while True:
            is_over = job["attempt"] > number or (job["attempt"] == number and job["status"] != "running")
            kept = await try_kept(daemon, given.id, number)
            read = await read_output(daemon, given.id, number, offset, given.limit or _PART, kept)
            offset = read.next
            if not read.is_nothing:
                yield part(number, read, is_end=False)
            elif offset and kept is None and await daemon.outputs.is_shorter((given.id, number), offset):
                offset = 0  # somebody has emptied the file
            elif is_over and job["attempt"] > number:
                number, offset = number + 1, 0
            elif job["status"] in FINAL:
                yield part(number, read, is_end=True)
                return
            else:
                await has_news.wait()
                has_news.clear()  # before both are read again: what comes after the answers sets it
                job = await summary_of_stored(daemon, given.id)


async def _summaries(daemon: Daemon, ids: Sequence[int]) -> AsyncIterator[JsonObject]:
    """How the jobs stand in the file, in this order. Raises JobNotFoundError at the first that is missing."""
    for start in range(0, len(ids), _SUMMARIES):
        named = ids[start : start + _SUMMARIES]
        found = await daemon.readers.read(partial(Reader.summaries, job_ids=named))
        for job_id in named:
            if job_id not in found:
                raise JobNotFoundError(id=job_id)
            yield found[job_id]
