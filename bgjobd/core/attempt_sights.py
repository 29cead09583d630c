"""What can be seen of an attempt, in the past tense; every sight goes through attempt_life.advance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import Ending
from bgjobd.core.verdict import StopReason


@dataclass(frozen=True, slots=True)
class StartAsked:
    """A fork server was asked for it."""


@dataclass(frozen=True, slots=True)
class StartRefused:
    """The daemon did not ask for it, or the fork server could not start it; `delay` is None for the policy's."""

    why: str
    delay: float | None = None

    @classmethod
    def unavailable(cls, class_name: str, missing: str) -> StartRefused:
        """Its slot was granted while another fork server was in charge, which had the class; `missing` is why not."""
        return cls(f"{class_name} is unavailable: {missing}")


DAEMON_ENDS: Final = StartRefused("the daemon ends", delay=0.0)
NO_FORK_SERVER: Final = StartRefused("there is no fork server", delay=0.0)


@dataclass(frozen=True, slots=True)
class CallUnfit:
    """What its job has taken of results is nothing that its method takes; nobody was asked for it."""

    why: str


@dataclass(frozen=True, slots=True)
class JournalAppeared:
    """A file of its journal's name was made."""


@dataclass(frozen=True, slots=True)
class StartRead:
    """Its start was read from its journal, or turned out to be unreadable for good."""


@dataclass(frozen=True, slots=True)
class ResultWaited:
    """Its method has returned, and its result finds no room."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """It is to end: for a cancel, for its time is up, or for the daemon ends, which may leave it less time."""

    reason: StopReason


@dataclass(frozen=True, slots=True)
class StopRecalled:
    """An earlier daemon told it to stop, or its fork server, and left word of that; before the signal, perhaps."""

    reason: StopReason


@dataclass(frozen=True, slots=True)
class CancelRecalled:
    """Its job's cancel was asked for, and perhaps nobody has told it."""


@dataclass(frozen=True, slots=True)
class StackRead:
    """It was looked at where it is, before it is stopped; `where` is that as text."""

    where: str


@dataclass(frozen=True, slots=True)
class GraceEnded:
    """It was sent SIGTERM, and the grace is over."""


@dataclass(frozen=True, slots=True)
class KillOutlasted:
    """It was sent SIGKILL long ago, and its process is there."""


@dataclass(frozen=True, slots=True)
class ServerEnded:
    """Its fork server is gone: `crash` is how it ended by itself, `is_killed` that the daemon has killed it."""

    crash: str | None
    is_killed: bool


@dataclass(frozen=True, slots=True)
class SpoolRenewed:
    """The spool was removed with the journals in it, and made again."""


@dataclass(frozen=True, slots=True)
class JournalRead:
    """What is in its journal's place once that decides whether it starts: its own journal, a fence, or neither.

    `is_process_gone`: its process is surely gone, as far as it was known at all; `pid` is what it was known by.
    """

    is_own: bool
    is_fenced: bool
    is_process_gone: bool = False
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class LifeEnded:
    """Its machine or container was restarted since, so its process is gone; `ending` is what that comes to.

    `left` is how it ended by the outcome that it has recorded, `is_fenced` that it was decided that it does not start.
    """

    ending: Ending
    left: Ending | None = None
    is_fenced: bool = False


@dataclass(frozen=True, slots=True)
class EndSeen:
    """Its exit was seen, by its fork server or here. `otherwise`: how it ended should its long result be none."""

    ended: AttemptEnded
    otherwise: AttemptEnded | None = None


@dataclass(frozen=True, slots=True)
class EndSeenWithoutSpool:
    """Its process has ended, and the spool was removed with its journal."""


@dataclass(frozen=True, slots=True)
class ProcessVanished:
    """Its process is gone, and nobody saw its exit; `left` is how it ended by what it has recorded, `otherwise` without
    its outcome; None where it has recorded nothing of the kind.
    """

    left: Ending | None
    otherwise: Ending | None


@dataclass(frozen=True, slots=True)
class ResultJudged:
    """Its long result is not what it was taken for; `ending` is what that comes to, None where it was none at all."""

    ending: Ending | None


@dataclass(frozen=True, slots=True)
class EndRefused:
    """The writer could not make sense of its end."""

    why: str


Sight = (
    StartAsked
    | StartRefused
    | CallUnfit
    | JournalAppeared
    | StartRead
    | ResultWaited
    | StopRequested
    | StopRecalled
    | CancelRecalled
    | StackRead
    | GraceEnded
    | KillOutlasted
    | ServerEnded
    | SpoolRenewed
    | JournalRead
    | LifeEnded
    | EndSeen
    | EndSeenWithoutSpool
    | ProcessVanished
    | ResultJudged
    | EndRefused
)
