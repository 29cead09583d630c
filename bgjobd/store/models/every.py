"""All tables, in the order in which they are made, and copied."""

from __future__ import annotations

from typing import Final

from peewee import Model

from bgjobd.store.models.hosts import Host, Property
from bgjobd.store.models.jobs import BackgroundJob, JobAttempt, JobLabel, JobLog, JobOutput
from bgjobd.store.models.needs import Alert, AlertMute, Change, ErrorGroup
from bgjobd.store.models.queues import ClassHold, Queue, QueueTurn, Rate
from bgjobd.store.models.schedules import Schedule, ScheduleOccurrence
from bgjobd.store.models.steps import JobSignal, JobState, JobStep, JobValue
from bgjobd.store.models.tallies import ClassTally, ErrorTally, MethodUsage, QueueTally
from bgjobd.store.models.ties import Consequence, JobDependency, JobGroup, UniqueKey

MODELS: Final[tuple[type[Model], ...]] = (
    BackgroundJob,
    JobAttempt,
    JobLog,
    Queue,
    Schedule,
    ScheduleOccurrence,
    JobDependency,
    JobGroup,
    Consequence,
    UniqueKey,
    JobStep,
    JobSignal,
    JobState,
    JobValue,
    Rate,
    QueueTurn,
    Host,
    JobOutput,
    ErrorGroup,
    ClassHold,
    MethodUsage,
    Alert,
    AlertMute,
    ClassTally,
    QueueTally,
    ErrorTally,
    Change,
    JobLabel,
    Property,
)
