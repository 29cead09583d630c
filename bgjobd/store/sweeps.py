"""The items that a statement of their own carries out, on whatever rows it finds: pauses, clocks, what is deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from bgjob.words import ChangeKind
from bgjobd.core.facts import ClockJumped
from bgjobd.host.clock import to_text
from bgjobd.store import (
    alerts,
    changes,
    class_holds,
    deletions,
    errors,
    hosts,
    method_usage,
    pauses,
    rates,
    schedules,
    uniques,
    waits,
)
from bgjobd.store.batch import Batch
from bgjobd.store.committed import Deleted
from bgjobd.store.engines import Execute
from bgjobd.store.holds import Holds
from bgjobd.store.items.alerts import AlertTrimming
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, ReloadFailed, TimeLeapt
from bgjobd.store.items.holds import ClassHeld, ClassResumed, QueuePaused, QueueResumed
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import (
    Deletion,
    ErrorTrimming,
    GroupTrimming,
    HostTrimming,
    KeyTrimming,
    OccurrenceTrimming,
    RateTrimming,
    RetentionDone,
    RetentionTaken,
    Trimming,
    UsageTrimming,
)
from bgjobd.store.items.schedules import (
    ScheduleDeleted,
    SchedulePaused,
    ScheduleResumed,
    SchedulesDefined,
    SchedulesSetBack,
)
from bgjobd.store.statements import of_properties, of_times


def carry_out(execute: Execute, item: Item, batch: Batch) -> Any:
    """The answer to one of SWEEPS, which is carried out."""
    return _CARRY_OUT[type(item)](execute, item, batch)


def _jump(execute: Execute, jump: ClockJumped, batch: Batch) -> None:
    batch.has_unseen_changes = True
    execute(of_times.SHIFT_RETRIES, {"seconds": jump.delta, "now": to_text(batch.now)})
    waits.shift(execute, batch, jump.delta)
    rates.shift(execute, jump.delta)
    class_holds.shift(execute, batch, jump.delta)
    batch.holds = Holds(rates.holds(execute))


def _start(execute: Execute, started: DaemonStarted, batch: Batch) -> None:
    batch.has_unseen_changes = True
    what = {"version": started.version, "host": started.host}
    changes.note(execute, batch, ChangeKind.STARTED, what)
    execute(of_times.SHIFT_RETRIES_FROM_THE_FUTURE, {"now": to_text(batch.now)})
    waits.bound(execute, batch)
    class_holds.bound(execute, batch)
    rates.bound(execute, batch)


def _note_failed_reload(execute: Execute, item: ReloadFailed, batch: Batch) -> None:
    what = {"reason": item.reason, "host": item.host}
    changes.note(execute, batch, ChangeKind.RELOAD_FAILED, what, item.who)


def _note_leap(execute: Execute, item: TimeLeapt, batch: Batch) -> None:
    execute(of_properties.SET_PROPERTY, {"name": of_properties.LEAPT_AT, "value": to_text(batch.now)})


def _delete(execute: Execute, item: Deletion, batch: Batch) -> Deleted:
    """The jobs that are gone, with the keys that they held."""
    deleted = deletions.delete(execute, item, batch)
    uniques.forget(execute, deleted.jobs, batch.now)
    return deleted


_CARRY_OUT: Final[Mapping[type, Callable[[Execute, Any, Batch], Any]]] = {
    QueuePaused: pauses.carry_out,
    QueueResumed: pauses.carry_out,
    ClassHeld: class_holds.carry_out,
    ClassResumed: class_holds.carry_out,
    ClockJumped: _jump,
    DaemonStarted: _start,
    CodeLoaded: changes.note_code,
    ReloadFailed: _note_failed_reload,
    TimeLeapt: _note_leap,
    Deletion: _delete,
    Trimming: lambda execute, item, batch: deletions.trim(execute, item, batch.now),
    OccurrenceTrimming: lambda execute, item, batch: deletions.trim_occurrences(execute, item),
    GroupTrimming: deletions.trim_groups,
    KeyTrimming: lambda execute, item, batch: uniques.trim(execute, item, batch.now),
    RateTrimming: lambda execute, item, batch: rates.trim(execute, item.after, batch.now),
    ErrorTrimming: lambda execute, item, batch: errors.trim(execute, item),
    UsageTrimming: lambda execute, item, batch: method_usage.trim(execute, item),
    AlertTrimming: lambda execute, item, batch: alerts.trim(execute, item),
    HostTrimming: lambda execute, item, batch: hosts.trim(execute, item.before, batch.host_id),
    RetentionTaken: lambda execute, item, batch: hosts.take_retention(execute, batch.host),
    RetentionDone: lambda execute, item, batch: hosts.give_retention(execute, batch.host),
    SchedulesDefined: schedules.define,
    SchedulesSetBack: lambda execute, item, batch: schedules.set_back(execute, item, batch.now),
    SchedulePaused: schedules.pause,
    ScheduleResumed: schedules.pause,
    ScheduleDeleted: schedules.delete,
}
SWEEPS: Final = tuple(_CARRY_OUT)
