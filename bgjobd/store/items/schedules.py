"""Items of schedules: what is configured or made, what is due of it, what was skipped and is wanted after all."""

from __future__ import annotations

from dataclasses import dataclass

from bgjobd.core.facts import Submitted
from bgjobd.core.schedules import Calendar, Due, Reason, Rules, Span
from bgjobd.store.items.submitter import Submitter


@dataclass(frozen=True, slots=True)
class ScheduleDue:
    """What is due of a schedule behind its `cursor`, at wall time `now`, and the job that each occurrence asks for.

    `job` is None where it is refused; `jitter` in seconds; `uid` is who has put it, None where the daemon submits. The
    `definition` is as this host has it, None where no other may have another one.
    """

    name: str
    cursor: float
    due: Due
    rules: Rules
    job: Submitted | None
    jitter: float
    now: float
    uid: int | None = None
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class OccurrencesDue:
    """Deal with what is due of some schedules. Answered by a tuple of Dealt, in order."""

    schedules: tuple[ScheduleDue, ...]
    submitter: Submitter


@dataclass(frozen=True, slots=True)
class OccurrenceAsked:
    """Somebody asks for a job of a schedule, now. Answered by its id. `definition` is as in ScheduleDue."""

    name: str
    job: Submitted
    submitter: Submitter
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row of occurrences that were skipped in a row, as it is stored."""

    span: Span
    reason: Reason
    job_id: int | None


@dataclass(frozen=True, slots=True)
class Backfill:
    """Occurrences of a schedule that have no job are to become some, each from an instant on, None: at once.

    In place of the `rows` that they were skipped in comes what is `left` of those. Answered by a tuple of the jobs'
    ids; by None, with nothing done, where one of the rows is not as it was, or an occurrence has got one.
    """

    name: str
    wanted: tuple[tuple[float, float | None], ...]
    rows: tuple[SkippedRow, ...]
    left: tuple[SkippedRow, ...]
    job: Submitted
    submitter: Submitter
    definition: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDefined:
    """What is configured of a schedule, as JSON text. `changed`: of one whose times have changed, what was due by the
    old ones; where they have changed, or it is new, nothing is due from before `since`, which is now where it is None.
    """

    name: str
    definition: str
    is_new: bool = False
    changed: tuple[Span, ...] = ()
    since: float | None = None


@dataclass(frozen=True, slots=True)
class SchedulesDefined:
    """These schedules are configured, and none else. Answered by a tuple of StoredSchedule, in order."""

    schedules: tuple[ScheduleDefined, ...]


@dataclass(frozen=True, slots=True)
class SchedulePut:
    """Somebody makes a schedule, or changes one that was made so. Answered by it as a StoredSchedule.

    Refused where there would be more than `most` of them.
    """

    schedule: ScheduleDefined
    uid: int
    made_by: str
    most: int
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleDeleted:
    """A schedule that was made by a SchedulePut is wanted no more. Answered by whether there was one."""

    name: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class SchedulesSetBack:
    """The clock was set back behind what some schedules were dealt with. Answered by a tuple of SetBack, in order."""

    schedules: tuple[tuple[str, Calendar], ...]


@dataclass(frozen=True, slots=True)
class SchedulePaused:
    """Have no occurrence of a schedule become a job until it is resumed. Answered by None."""

    name: str
    who: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleResumed:
    """Have its occurrences become jobs again. Answered by None."""

    name: str
    who: str | None = None
