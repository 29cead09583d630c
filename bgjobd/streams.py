"""The methods of org.bgjobd.Jobs that answer as often as they have news: Watch, Logs and Output with `more`."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import JobNotFoundError
from bgjob.words import FINAL, Status
from bgjobd import inputs
from bgjobd.clock import to_text
from bgjobd.core.job import Job
from bgjobd.ipc import Caller
from bgjobd.store.items import Committed, LogFilter, LogLine
from bgjobd.store.reader import Reader

if TYPE_CHECKING:
    from bgjobd.daemon import Daemon

_LAST_ENTRIES: Final = 10
_ENTRIES: Final = 200
_PART: Final = 64 * 1024


async def watch(daemon: Daemon, given: inputs.Watch, caller: Caller) -> AsyncIterator[JsonObject]:
    """Each job asked for as it stands, then jobs as they change; until all that were asked for have ended."""
    progress: dict[int, JsonObject | None] = {}
    with daemon.news.follow() as follower:
        open_ids: set[int] = set()
        for job_id in given.ids or ():
            summary = await summary_of_stored(daemon, job_id)
            progress[job_id] = summary["progress"]
            open_ids |= {job_id} if summary["status"] not in FINAL else set()
            yield {"job": summary}
        if given.ids is None:
            yield {"job": None}
        while given.ids is None or open_ids:
            committed = await follower.next()
            progress |= _progress_in(committed)
            for job in committed.changed:
                if not _is_wanted(given, open_ids, job):
                    continue
                yield {"job": _summary(job, progress.get(job.id), committed.at)}
                if job.status.is_final:
                    open_ids.discard(job.id)
                if job.status is not Status.RUNNING:
                    progress.pop(job.id, None)  # the next attempt has its own


def _is_wanted(given: inputs.Watch, open_ids: set[int], job: Job) -> bool:
    return (
        (given.ids is None or job.id in open_ids)
        and given.queue in (None, job.queue)
        and given.class_name in (None, job.call.class_name)
    )


async def logs(daemon: Daemon, given: inputs.Logs, caller: Caller) -> AsyncIterator[JsonObject]:
    """Entries that are there, oldest first, then new ones as they are committed; until the job asked for has ended."""
    wanted = LogFilter(given.id, given.class_name, given.method_name, given.type, given.search)
    with daemon.news.follow() as follower:
        is_over = given.id is not None and (await summary_of_stored(daemon, given.id))["status"] in FINAL
        last = given.after or 0
        async for entries in _stored(daemon, given, wanted):
            last = entries[-1]["id"]
            yield {"entries": entries, "next": last, "is_complete": True}
        while not is_over:
            committed = await follower.next()
            news = [_entry(line) for line in committed.lines if line.id > last and wanted.matches(line)]
            if news:
                last = news[-1]["id"]
                yield {"entries": news, "next": last, "is_complete": True}
            is_over = any(job.id == given.id and job.status.is_final for job in committed.changed)


async def _stored(daemon: Daemon, given: inputs.Logs, wanted: LogFilter) -> AsyncIterator[list[JsonObject]]:
    """What is to be sent before the news, oldest first: all after a key, or the last few."""
    if given.after is None:
        limit = _LAST_ENTRIES if given.limit is None else given.limit
        newest = await daemon.read(lambda reader: reader.logs(wanted, limit=limit)) if limit else None
        if newest is not None and newest.rows:
            yield list(reversed(newest.rows))
        return
    after: int | None = given.after
    while after is not None:
        page = await daemon.read(partial(Reader.logs, wanted=wanted, after=after, limit=_ENTRIES))
        if page.rows:
            yield page.rows
        after = page.next


async def output(daemon: Daemon, given: inputs.Output, caller: Caller) -> AsyncIterator[JsonObject]:
    """What the attempts of a job print, from `number` on, as it comes; until the job has ended."""
    offset = given.offset or 0
    with daemon.news.follow() as follower, daemon.outputs.follow(given.id) as has_grown:
        job = await summary_of_stored(daemon, given.id)
        number = given.number or max(1, job["attempt"])
        while True:
            # Asked first: what is printed after the answer comes with an event.
            has_grown.clear()
            is_over = job["attempt"] > number or (job["attempt"] == number and job["status"] != "running")
            data = await daemon.read_output((given.id, number), offset, given.limit or _PART)
            if data:
                yield part(number, offset, data, is_end=False)
                offset += len(data)
            elif is_over and job["attempt"] > number:
                number, offset = number + 1, 0
            elif job["status"] in FINAL:
                yield part(number, offset, b"", is_end=True)
                return
            else:
                await follower.next_or(has_grown, lambda committed: _changes(committed, given.id))
                job = await summary_of_stored(daemon, given.id)


def _changes(committed: Committed, job_id: int) -> bool:
    return any(job.id == job_id for job in committed.changed)


def part(number: int, offset: int, data: bytes, is_end: bool) -> JsonObject:
    """A part of an attempt's output, as Output tells it."""
    return {
        "number": number,
        "offset": offset,
        "data": base64.b64encode(data).decode("ascii"),
        "next": offset + len(data),
        "is_end": is_end,
    }


async def summary_of_stored(daemon: Daemon, job_id: int) -> JsonObject:
    """How the job stands in the file. Raises JobNotFoundError."""
    summary = await daemon.read(lambda reader: reader.summary(job_id))
    if summary is None:
        raise JobNotFoundError(id=job_id)
    return summary


def _summary(job: Job, progress: JsonObject | None, at: float) -> JsonObject:
    """A job as it was committed, in the form of Summary."""
    return {
        "id": job.id,
        "class_name": job.call.class_name,
        "method_name": job.call.method_name,
        "status": job.status,
        "queue": job.queue,
        "priority": job.priority,
        "retry_count": job.retry_count,
        "max_retries": job.policy.max_retries,
        "attempt": job.attempt,
        "scheduled_at": _text(job.scheduled_at),
        "started_at": _text(job.started_at),
        "finished_at": _text(job.finished_at),
        "created_at": to_text(job.created_at),
        "updated_at": to_text(at),
        "cancel_requested_at": _text(job.cancel_requested_at),
        "error": job.error,
        "progress": progress,
    }


def _text(at: float | None) -> str | None:
    return None if at is None else to_text(at)


def _entry(line: LogLine) -> JsonObject:
    return {
        "id": line.id,
        "job_id": line.job_id,
        "attempt": line.attempt,
        "type": line.type,
        "message": line.message,
        "context": None if line.context is None else json.loads(line.context),
        "created_at": to_text(line.at),
        "class_name": line.class_name,
        "method_name": line.method_name,
    }


def _progress_in(committed: Committed) -> dict[int, Any]:
    """The latest progress of each job that told some in this commit."""
    return {
        told.job_id: {"fraction": told.fraction, "message": told.message, "at": to_text(told.at)}
        for told in committed.progress
    }
