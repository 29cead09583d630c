"""The items each of which looks by itself for what it is decided by, once all before it is written.

What they come to is for the modules that are called here, what is written for the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bgjob.words import Status
from bgjobd.core.job import AttemptKey, Job
from bgjobd.store import (
    alerts,
    backfills,
    bulks,
    decisions,
    dependencies,
    hooks,
    hosts,
    ids,
    labels,
    loading,
    many,
    schedules,
)
from bgjobd.store.batch import Batch
from bgjobd.store.engines import Execute
from bgjobd.store.items.alerts import AlertAcknowledged, AlertsLooked, AlertsMuted, AlertsTested
from bgjobd.store.items.hosts import (
    AttemptsLost,
    Beat,
    HookBegun,
    HooksTakenOver,
    HostDrained,
    HostLeft,
    HostLost,
)
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import Backfill, OccurrenceAsked, OccurrencesDue, SchedulePut
from bgjobd.store.items.submissions import BulkSubmission, Flow
from bgjobd.store.items.wishes import ManyAsked
from bgjobd.store.statements import of_jobs


def carry_out(execute: Execute, executemany: Execute, item: Item, batch: Batch) -> Any:
    """The answer to one of APART, whose rows are still to be written. Raises the refusals."""
    if isinstance(item, _ALERTS):
        return alerts.carry_out(execute, executemany, item, batch)
    return _CARRY_OUT[type(item)](execute, item, batch)


def _lose(execute: Execute, item: AttemptsLost, batch: Batch) -> tuple[Job, ...]:
    """The jobs whose attempts are over by this; which are for this host to see to, so that it calls their hooks."""
    left = hosts.take_owed(execute, item.host)
    if left is None:
        return ()
    ends = [end for end in item.ends if (end.job_id, end.fact.number) in left]
    loading.load(execute, ends, batch)
    jobs = [job for end in ends if isinstance(job := decisions.settle(end, batch), Job)]
    if len(ends) == len(left):
        _settle_unless_hooks_are_owed(execute, item.host)
    batch.settled += [job for job in jobs if job.status is Status.FAILED and job.is_over]
    return tuple(jobs)


def _take_hooks(execute: Execute, item: HooksTakenOver, batch: Batch) -> tuple[AttemptKey, ...]:
    left = hosts.take_owed(execute, item.host)
    if left is None:
        return ()
    taken = hooks.take_over(execute, item.host, item.classes, item.count, batch.host_id)
    if not left:
        _settle_unless_hooks_are_owed(execute, item.host)
    return taken


def _settle_unless_hooks_are_owed(execute: Execute, host: int) -> None:
    if not hooks.are_owed(execute, host):
        hosts.settle_owed(execute, host)


def _submit_in_bulk(execute: Execute, bulk: BulkSubmission, batch: Batch) -> tuple[int, ...]:
    """Raises the refusals, with nothing written of it."""
    batch.keyed = loading.keyed_by(execute, bulks.keys_of(bulk))
    ids.take(execute, batch, len(bulk.rows))
    stored, new = bulks.decide(bulk, batch)
    if new and bulk.common.ties is not None:
        flow = Flow((bulk.common,), bulk.submitter)
        dependencies.load(execute, [flow], (), batch)
        bulk = bulks.placed(bulk, flow, batch)
    for one, jobs in bulks.inserts(bulk, new, batch):
        execute(of_jobs.INSERT_BULK, jobs)
        labels.label_bulk(execute, one)
        batch.join(one)
    batch.last_id += len(new)
    return stored


_CARRY_OUT: Final[Mapping[type, Callable[[Execute, Any, Batch], Any]]] = {
    BulkSubmission: _submit_in_bulk,
    OccurrencesDue: schedules.deal,
    OccurrenceAsked: schedules.ask,
    Backfill: backfills.backfill,
    SchedulePut: schedules.put,
    Beat: hosts.carry_out,
    HostLost: hosts.carry_out,
    HostDrained: hosts.carry_out,
    HostLeft: hosts.carry_out,
    AttemptsLost: _lose,
    HooksTakenOver: _take_hooks,
    HookBegun: lambda execute, item, batch: hooks.begin(execute, item.key, batch),
    ManyAsked: many.carry_out,
}
_ALERTS: Final = (AlertsLooked, AlertsTested, AlertAcknowledged, AlertsMuted)
APART: Final = (*_CARRY_OUT, *_ALERTS)
