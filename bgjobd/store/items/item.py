"""Whatever goes to the writer, as one type."""

from __future__ import annotations

from bgjobd.core.facts import ClockJumped
from bgjobd.store.items.alerts import (
    AlertAcknowledged,
    AlertsLooked,
    AlertsMuted,
    AlertsTested,
    AlertTrimming,
)
from bgjobd.store.items.attempts import AttemptNotes, JobFact, Noted, OutputEnded, StateSaved
from bgjobd.store.items.daemons import CodeLoaded, DaemonStarted, Look, Ping, ReloadFailed, TimeLeapt
from bgjobd.store.items.holds import ClassHeld, ClassResumed, QueuePaused, QueueResumed
from bgjobd.store.items.hosts import (
    AttemptsLost,
    Beat,
    HookBegun,
    HooksTakenOver,
    HostDrained,
    HostLeft,
    HostLost,
)
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
    Backfill,
    OccurrenceAsked,
    OccurrencesDue,
    ScheduleDeleted,
    SchedulePaused,
    SchedulePut,
    ScheduleResumed,
    SchedulesDefined,
    SchedulesSetBack,
)
from bgjobd.store.items.submissions import AgainAsked, BulkSubmission, Flow, Received, Submission
from bgjobd.store.items.wishes import GroupCancelled, JobRequests, JobsChanged, JobSettled, ManyAsked, Signal

Item = (
    Submission
    | Received
    | Flow
    | BulkSubmission
    | GroupCancelled
    | JobFact
    | JobRequests
    | ManyAsked
    | AgainAsked
    | Signal
    | JobSettled
    | JobsChanged
    | Noted
    | AttemptNotes
    | StateSaved
    | OutputEnded
    | QueuePaused
    | QueueResumed
    | ClassHeld
    | ClassResumed
    | ClockJumped
    | DaemonStarted
    | CodeLoaded
    | ReloadFailed
    | TimeLeapt
    | Deletion
    | Trimming
    | OccurrenceTrimming
    | GroupTrimming
    | KeyTrimming
    | RateTrimming
    | ErrorTrimming
    | UsageTrimming
    | AlertTrimming
    | HostTrimming
    | RetentionTaken
    | RetentionDone
    | OccurrencesDue
    | OccurrenceAsked
    | Backfill
    | AlertsLooked
    | AlertsTested
    | AlertAcknowledged
    | AlertsMuted
    | SchedulesDefined
    | SchedulePut
    | ScheduleDeleted
    | SchedulesSetBack
    | SchedulePaused
    | ScheduleResumed
    | Look
    | Ping
    | Beat
    | HostLost
    | AttemptsLost
    | HooksTakenOver
    | HookBegun
    | HostDrained
    | HostLeft
)
