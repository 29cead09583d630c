"""What goes to the writer about alerts: plain values, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bgjob.codec import JsonObject
from bgjobd.core.alerts import Alert, Raised, Settings
from bgjobd.core.facts import Submitted


@dataclass(frozen=True, slots=True)
class Teller:
    """How a target is told: by this job, whose `parameters` get the notice as well; None where it is refused."""

    parameters: JsonObject
    job: Submitted | None = None


@dataclass(frozen=True, slots=True)
class AlertsLooked:
    """What rules have found; `rules` are all that there are, each with the targets that hear of it, and `tellers` how
    these are told; the journal has none. `others` are hosts that live beside this one. `awaiting` are the rules that
    wait for a success, each by its `of_load`; `partly` seen kinds are as the `partly_seen` of core tells them.

    Answered by AlertsTold.
    """

    found: tuple[Raised, ...]
    rules: Mapping[str, tuple[str, ...]]
    tellers: Mapping[str, Teller]
    settings: Settings
    host: str
    uid: int
    others: frozenset[str] = frozenset()
    awaiting: frozenset[str] = frozenset()
    partly: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertsTested:
    """A marked notice for each of these targets that has a teller. Answered by the ids of the jobs."""

    alert: Alert
    tellers: Mapping[str, Teller]
    host: str
    uid: int


@dataclass(frozen=True, slots=True)
class AlertAcknowledged:
    """Somebody has taken it up. Answered by whether there is such an alert, and it is open."""

    id: int
    uid: int | None


@dataclass(frozen=True, slots=True)
class AlertsMuted:
    """A rule tells nothing until then, or tells again. Answered by None."""

    rule: str
    until: float
    uid: int | None


@dataclass(frozen=True, slots=True)
class AlertTrimming:
    """Forget some of the alerts that were over before that time. Answered by how many that were, and whether there are
    more.
    """

    before: float


AlertItem = AlertsLooked | AlertsTested | AlertAcknowledged | AlertsMuted


@dataclass(frozen=True, slots=True)
class AlertsTold:
    """What was told just now, and of which targets no job could be made; whether the hour is full with it, and when to
    look again.
    """

    told: tuple[Alert, ...] = ()
    untold: tuple[str, ...] = ()
    is_full: bool = False
    next_at: float | None = None
