"""Decides about jobs that differ in their rows alone: once what holds for all, row by row what keys say; no SQL."""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from bgjob.codec import to_json
from bgjob.errors import GroupSealedError, QueueFullError
from bgjobd.core import state_machine
from bgjobd.core.edges import Ties
from bgjobd.core.facts import Submitted
from bgjobd.core.log_entries import entries
from bgjobd.core.masking import masked_text
from bgjobd.core.traces import Belonging
from bgjobd.store.batch import Batch, Overlay
from bgjobd.store.committed import LogLine, StoredBulk
from bgjobd.store.items.submissions import BulkRow, BulkSubmission, Flow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.placing import Placing
from bgjobd.store.rows import checked, log_row, row_of_new_tied
from bgjobd.store.snapshots import rest_of
from bgjobd.store.submitting import known_id
from bgjobd.store.written import Row

_AT_ONCE: Final = 1000
"""Jobs that one statement writes: as text they are put together in a moment, in which nobody else has a turn."""


class Decided(NamedTuple):
    """The ids of a bulk's jobs, in the order of its rows; the rows whose jobs are new, in the order of their ids."""

    ids: tuple[int, ...]
    new: tuple[BulkRow, ...]


def keys_of(bulk: BulkSubmission) -> list[str]:
    """The idempotency keys of its rows."""
    return [row.idempotency_key for row in bulk.rows if row.idempotency_key is not None]


def placed(bulk: BulkSubmission, flow: Flow, batch: Batch) -> BulkSubmission:
    """The same with the group that all its jobs are members of. Raises the refusals, and for one that is cancelled."""
    overlay = Overlay(batch)
    place, _ = Placing(flow, (), overlay).place(0, bulk.common.ties or Ties())
    for group in overlay.enclosing(place.group_id):
        if group.cancel_requested_at is not None:
            raise GroupSealedError(id=group.id)
    return replace(bulk, common=bulk.common._replace(place=place))


def decide(bulk: BulkSubmission, batch: Batch) -> Decided:
    """Raises the refusals: of a key that has another request, in the file or in this bulk; of a queue that is full."""
    keys = keys_of(bulk)
    has_repeats = bool(batch.keyed) or len(set(keys)) < len(keys)
    decided = _with_repeats(bulk, batch) if has_repeats else _numbered(bulk.rows, batch.last_id)
    queue, count = bulk.common.queue, len(decided.new)
    limit = batch.max_pending.get(queue)
    if count and limit is not None and batch.waiting_in(queue) + count > limit:
        raise QueueFullError(queue=queue, limit=limit)
    return decided


def _numbered(rows: tuple[BulkRow, ...], last_id: int) -> Decided:
    return Decided(tuple(range(last_id + 1, last_id + 1 + len(rows))), rows)


def _with_repeats(bulk: BulkSubmission, batch: Batch) -> Decided:
    """The same where some rows have a key that a job, or a row before, has."""
    last_id, ids, new = batch.last_id, list[int](), list[BulkRow]()
    own: dict[str, Submitted] = {}
    for index, row in enumerate(bulk.rows):
        key, fact = row.idempotency_key, _fact(bulk, row, last_id + 1)
        earlier = None if key is None else own.get(key) or batch.keyed.get(key)
        known = known_id(fact, earlier, bulk.submitter.uid, f"keys.{index}")
        if known is None:
            last_id += 1
            new.append(row)
            if key is not None:
                own[key] = fact
        ids.append(last_id if known is None else known)
    return Decided(tuple(ids), tuple(new))


def _fact(bulk: BulkSubmission, row: BulkRow, id: int) -> Submitted:
    """That this row's job was submitted, with this id."""
    call = replace(bulk.common.call, parameters=row.parameters, sensitive=row.sensitive)
    key, by_job = row.idempotency_key, bulk.submitter.job
    return bulk.common._replace(id=id, call=call, idempotency_key=key, digest=row.digest, by_job=by_job)


_LATER: Final = 0
"""The id of an entry, which it gets last of all."""


class BulkInsert(NamedTuple):
    """Jobs that are written at once, and what of_jobs.INSERT_BULK writes."""

    bulk: StoredBulk
    jobs: Row


def inserts(bulk: BulkSubmission, new: tuple[BulkRow, ...], batch: Batch) -> list[BulkInsert]:
    """The new jobs, a thousand at once. Raises ValueError and OverflowError where the file cannot hold one of them."""
    written = []
    for start in range(0, len(new), _AT_ONCE):
        rows = new[start : start + _AT_ONCE]
        one = _stored(_fact(bulk, rows[0], batch.last_id + 1 + start), rows, batch.now)
        written.append(BulkInsert(one, _values_of_jobs(one, bulk.submitter, batch.now)))
    return written


def _stored(fact: Submitted, rows: tuple[BulkRow, ...], now: float) -> StoredBulk:
    """The first of them goes through the table for all, whose rows mean nothing to it."""
    first = state_machine.advance(None, fact, now)
    (entry,) = entries(None, fact, first)
    target = first.call.class_name, first.call.method_name
    trace = None if first.traceparent is None else Belonging(first.traceparent, 0.0)
    line = LogLine(_LATER, now, entry.type, entry.message, first.id, None, *target, trace=trace)
    return StoredBulk(first, line, rest_of(first), rows, sum([len(row.parameters) for row in rows]))


def _values_of_jobs(one: StoredBulk, submitter: Submitter, now: float) -> Row:
    rows = [
        (row.parameters, row.idempotency_key, row.digest, to_json(row.sensitive) if row.sensitive else None)
        for row in one.rows
    ]
    common = row_of_new_tied(one.first, None, now, submitter)
    return checked({**common, "rows": to_json(rows)})


def entries_of(one: StoredBulk) -> Row:
    """What of_entries.INSERT_BULK_ENTRIES writes of them."""
    shown = [masked_text(row.parameters, row.sensitive) for row in one.rows]
    line = one.first_line
    return {**log_row(line[1:]), "id": line.id, "rest": one.rest, "shown": to_json(shown)}
