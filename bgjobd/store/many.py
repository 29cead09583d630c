"""The same wish about many jobs, a portion a transaction: each is decided by itself, and what it is refused of is left.

A row of `changes` tells of all portions, written with the first and carried on with each.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from bgjob.codec import to_json
from bgjob.errors import RequestError
from bgjob.words import ChangeKind
from bgjobd.core.many import Wish, is_meant
from bgjobd.store import changes, decisions, loading
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Execute
from bgjobd.store.items.wishes import JobRequests, ManyAsked

MARK: Final = "UPDATE background_jobs SET bulk = :bulk WHERE id IN (SELECT value FROM json_each(:ids))"

_KINDS: Final = {Wish.RETRY: ChangeKind.RETRIED_MANY, Wish.CANCEL: ChangeKind.CANCELLED_MANY}


class Portion(NamedTuple):
    """What has become of a portion: of so many jobs it was `done`, and the row of changes, None where there is none."""

    done: int
    left_out: int
    change: int | None


def carry_out(execute: Execute, item: ManyAsked, batch: Batch) -> Portion:
    """Ask it of each that still is as it was looked up."""
    loading.load(execute, item.requests, batch)
    done = [id for request in item.requests for id in request.job_ids if _is_done(request, id, item, batch)]
    left_out = len(item.requests) - len(done)
    change = _told(execute, item, len(done), left_out, batch)
    if done and change is not None:
        execute(MARK, {"bulk": change, "ids": to_json(done)})
        for id in done:
            batch.place(id, bulk=change)
    return Portion(len(done), left_out, change)


def _is_done(request: JobRequests, job_id: int, item: ManyAsked, batch: Batch) -> bool:
    job = batch.jobs.get(job_id)
    if job is None or not is_meant(job, item.wish, item.statuses, item.as_of, item.at_most_once):
        return False
    answer: Any = decisions.settle(request, batch)
    if isinstance(answer, Exception) and not isinstance(answer, RequestError):
        raise answer
    return not isinstance(answer, Exception)


def _told(execute: Execute, item: ManyAsked, done: int, left_out: int, batch: Batch) -> int | None:
    """The row that tells of it; of what nothing has come of yet there is none."""
    what = {
        **item.what,
        "done": item.done + done,
        "left_out": item.left_out + left_out,
        "is_over": item.is_last,
    }
    if item.change is not None:
        changes.carry_on(execute, item.change, what)
        return item.change
    if not done:
        return None
    return changes.note(execute, batch, _KINDS[item.wish], what, item.who)
