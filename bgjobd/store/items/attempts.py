"""Items of what attempts came to, and of what they told while they ran."""

from __future__ import annotations

from dataclasses import dataclass, field

from bgjob.words import EntryType
from bgjobd.core.facts import AttemptEnded, AttemptStarted


@dataclass(frozen=True, slots=True)
class JobFact:
    """What an attempt of a job came to. Answered by the job after it."""

    job_id: int
    fact: AttemptStarted | AttemptEnded


@dataclass(frozen=True, slots=True)
class Noted:
    """Something worth an entry in a job's log that changes nothing about the job. Answered by None."""

    job_id: int
    attempt: int | None
    type: EntryType
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """What an attempt told while it ran, in its own words; `progress` is the fraction where it told one."""

    at: float
    type: EntryType
    message: str
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class StepNote:
    """A step of the job's has begun in an attempt, or is done: then `result` is its JSON text."""

    at: float
    name: str
    result: str | None = None
    is_awaited: bool = False


@dataclass(frozen=True, slots=True)
class UnusedSteps:
    """Finished steps of the job's that did not come again in an attempt which completed."""

    at: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueNote:
    """A value, JSON text, for whoever follows the job: from within a step, else from this place among those outside."""

    at: float
    place: int
    step: str | None
    value: str


Told = Note | StepNote | UnusedSteps | ValueNote
"""What an attempt tells of itself."""


@dataclass(frozen=True, slots=True)
class AttemptNotes:
    """The notes `first`, `first + 1`, … of an attempt's journal, counted from 0. Answered by None.

    Those that are recorded already are passed over, so the same may come again, whole or in part.
    """

    job_id: int
    number: int
    first: int
    notes: tuple[Told, ...]


@dataclass(frozen=True, slots=True)
class StateSaved:
    """An attempt has saved its job's state, as JSON text, for the `saved`-th time. Answered by None.

    One that was stored already, or came before it, is passed over.
    """

    job_id: int
    number: int
    saved: int
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutputEnded:
    """Head and tail of what an attempt has printed, whose end comes next, for other hosts; between them so many bytes
    are `left_out`. Answered by None.
    """

    job_id: int
    number: int
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)
    left_out: int
