"""The items that a statement of their own carries out, on whatever rows it finds: pauses, clocks, what is deleted."""

from __future__ import annotations

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

SWEEPS: Final = (
    *(
        QueuePaused,
        QueueResumed,
        ClassHeld,
        ClassResumed,
        ClockJumped,
        DaemonStarted,
        CodeLoaded,
        ReloadFailed,
        TimeLeapt,
        Deletion,
        Trimming,
    ),
    *(SchedulesDefined, SchedulesSetBack, SchedulePaused, ScheduleResumed),
    *(
        ScheduleDeleted,
        OccurrenceTrimming,
        GroupTrimming,
        KeyTrimming,
        RateTrimming,
        ErrorTrimming,
        UsageTrimming,
    ),
    *(AlertTrimming, HostTrimming, RetentionTaken, RetentionDone),
)


def sweep(execute: Execute, item: Item, batch: Batch) -> Any:
    """The answer to one of SWEEPS, which is carried out."""
    now = to_text(batch.now)
    batch.has_unseen_changes |= isinstance(item, ClockJumped | DaemonStarted)
    match item:
        case QueuePaused() | QueueResumed():
            pauses.carry_out(execute, item, batch)
        case ClassHeld() | ClassResumed():
            return class_holds.carry_out(execute, item, batch)
        case ClockJumped(delta):
            execute(of_times.SHIFT_RETRIES, {"seconds": delta, "now": now})
            waits.shift(execute, batch, delta)
            rates.shift(execute, delta)
            class_holds.shift(execute, batch, delta)
            batch.holds = Holds(rates.holds(execute))
        case DaemonStarted(version, host):
            changes.note(execute, batch, ChangeKind.STARTED, {"version": version, "host": host})
            execute(of_times.SHIFT_RETRIES_FROM_THE_FUTURE, {"now": now})
            waits.bound(execute, batch)
            class_holds.bound(execute, batch)
            rates.bound(execute, batch)
        case CodeLoaded():
            changes.note_code(execute, item, batch)
        case ReloadFailed(reason, host, who):
            what = {"reason": reason, "host": host}
            changes.note(execute, batch, ChangeKind.RELOAD_FAILED, what, who)
        case TimeLeapt():
            execute(of_properties.SET_PROPERTY, {"name": of_properties.LEAPT_AT, "value": now})
        case Deletion():
            return _deleted(execute, item, batch)
        case Trimming():
            return deletions.trim(execute, item, batch.now)
        case OccurrenceTrimming():
            return deletions.trim_occurrences(execute, item)
        case GroupTrimming():
            return deletions.trim_groups(execute, item, batch)
        case KeyTrimming():
            return uniques.trim(execute, item, batch.now)
        case RateTrimming(after):
            return rates.trim(execute, after, batch.now)
        case ErrorTrimming():
            return errors.trim(execute, item)
        case UsageTrimming():
            return method_usage.trim(execute, item)
        case AlertTrimming():
            return alerts.trim(execute, item)
        case HostTrimming(before):
            return hosts.trim(execute, before, batch.host_id)
        case RetentionTaken():
            return hosts.take_retention(execute, batch.host)
        case RetentionDone():
            hosts.give_retention(execute, batch.host)
        case SchedulesDefined():
            return schedules.define(execute, item, batch)
        case SchedulesSetBack():
            return schedules.set_back(execute, item, batch.now)
        case SchedulePaused() | ScheduleResumed():
            schedules.pause(execute, item, batch)
        case ScheduleDeleted():
            return schedules.delete(execute, item, batch)
    return None


def _deleted(execute: Execute, item: Deletion, batch: Batch) -> Deleted:
    """The jobs that are gone, with the keys that they held."""
    deleted = deletions.delete(execute, item, batch)
    uniques.forget(execute, deleted.jobs, batch.now)
    return deleted
