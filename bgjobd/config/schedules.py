"""The keys of a schedule of `[schedules]`, and what it is made of: its calendar and its rules."""

import math
from collections.abc import Iterator
from datetime import UTC
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, StrictInt, field_validator, model_validator

from bgjob.words import INT_MAX, INT_MIN, Backoff
from bgjobd.config import values
from bgjobd.config.section import Section, known_queue, retries_within_cap
from bgjobd.core.calendar import Cron, Every
from bgjobd.core.schedules import Calendar, Missed, Overlap, Rules


class Schedule(Section):
    """A schedule of `[schedules]`, whose job is submitted again and again; None is not set."""

    job: values.JobPath
    """What is submitted: class and method."""
    parameters: values.JsonObject = Field(default_factory=dict)
    """Its parameters."""
    cron: values.CronExpression | None = None
    """When: five fields, or `"@daily"` and the like."""
    every: values.Interval | None = None
    """The same, by elapsed time."""
    starting: values.Instant | None = None
    """An instant that `every` counts from; else `1970-01-01T00:00:00Z`."""
    zone: values.Zone | None = None
    """Whose clocks `cron` is of; else `"UTC"`."""
    missed: Missed = Missed.RUN_ONCE
    """What runs of occurrences that nobody dealt with in time: `skip`, `run_once` or `run_all`."""
    overlap: Overlap = Overlap.SKIP
    """What becomes of one while a job of it has not ended: `skip`, `allow`, `wait` or `cancel`."""
    late: values.Interval = 60.0
    """From when on an occurrence is missed; at least 1 s, for each is dealt with a moment after its time."""
    missed_limit: Annotated[StrictInt, Field(ge=1, le=1000)] = 100
    """The most jobs that `run_all` makes at once."""
    jitter: values.Duration | None = None
    """Up to so much later it starts, at each occurrence another part of it."""

    queue: values.Text | None = None
    """Of the job, before what its class says, as all of the next."""
    priority: Annotated[StrictInt, Field(ge=INT_MIN, le=INT_MAX)] | None = None
    """Higher goes first."""
    timeout: values.Duration | None = None
    """Of an attempt."""
    max_retries: values.Whole | None = None
    """How often it is tried again."""
    retry_delay: values.Delay | None = None
    """Between two attempts."""
    backoff: Backoff | None = None
    """How that time grows."""
    unique_key: values.Key | None = None
    """An occurrence is skipped while another job of the method has this key."""
    expires_in: values.Duration | None = None
    """A job that has not started so long after its time is cancelled."""
    key: values.Key | None = None
    """What the job shares with others of its queue; else the parameter that its class names."""
    host: values.HostName | None = None
    """Of several hosts the one that alone starts it."""
    labels: values.Labels = ()
    """What its jobs are found by."""

    _is_known = field_validator("queue")(known_queue)
    _is_within_cap = field_validator("max_retries")(retries_within_cap)

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        wrong = next((told for is_wrong, told in self._disagreements() if is_wrong), None)
        if wrong is not None:
            raise ValueError(wrong)
        return self

    def _disagreements(self) -> Iterator[tuple[bool, str]]:
        has_cron, has_every = self.cron is not None, self.every is not None
        yield has_cron and has_every, "must not have both cron and every; two schedules may have the same job"
        yield not (has_cron or has_every), 'must have cron, such as "30 2 * * *", or every, such as "15m"'
        yield has_every and self.zone is not None, "must not have zone beside every, which is elapsed time"
        yield has_cron and self.starting is not None, "must not have starting beside cron, only beside every"
        yield (
            self.missed is Missed.RUN_ALL and self.overlap in (Overlap.SKIP, Overlap.CANCEL),
            f'must not have missed = "run_all" with overlap = "{self.overlap}", by which all but one would not run; '
            'overlap = "wait" has them run one after the other',
        )
        yield (
            self.jitter is not None and self.jitter >= (self.every or math.inf),
            "must have a jitter below every",
        )

    @property
    def calendar(self) -> Calendar:
        """When its occurrences are."""
        if self.cron is not None:
            return Cron(self.cron, UTC if self.clocks == "UTC" else ZoneInfo(str(self.clocks)))
        return Every(self.every or 0.0, self.starting or 0.0)

    @property
    def clocks(self) -> str | None:
        """The zone whose clocks `cron` is of; None with `every`, which is elapsed time."""
        return None if self.cron is None else self.zone or "UTC"

    @property
    def told(self) -> dict[str, Any]:
        """What it is, as socket and commands tell it."""
        return {
            "job": self.job,
            "cron": self.cron,
            "every": self.every,
            "zone": self.clocks,
            "description": self.calendar.description,
            "missed": self.missed,
            "overlap": self.overlap,
        }

    @property
    def rules(self) -> Rules:
        """What becomes of them."""
        return Rules(self.missed, self.overlap, self.late, self.missed_limit)
