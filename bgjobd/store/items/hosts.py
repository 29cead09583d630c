"""Items of several hosts at one database: one lives, is lost, drained or has left; who sees to what it held."""

from __future__ import annotations

from dataclasses import dataclass

from bgjobd.core.hosts import Profile
from bgjobd.core.job import AttemptKey
from bgjobd.store.items.attempts import JobFact


@dataclass(frozen=True, slots=True)
class Beat:
    """This host lives; `profile` where it has to say something else of itself. Answered by hosts.Beaten.

    `may_be_alone`: where nothing has moved since, no transaction need look at all that there is beside it.
    """

    profile: Profile | None = None
    may_be_alone: bool = False


@dataclass(frozen=True, slots=True)
class HostLost:
    """A host is lost, unless it has moved since it was seen in this term with so many beats, None: wherever it is.

    Answered by whether it is by this.
    """

    host: int
    term: int
    beats: int | None
    who: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptsLost:
    """How some attempts of a lost host end, as far as they have not ended yet. Answered by the jobs after that.

    Nothing is done where another host sees to the same ones at that moment.
    """

    host: int
    ends: tuple[JobFact, ...]


@dataclass(frozen=True, slots=True)
class HooksTakenOver:
    """Some hooks that a lost host has not begun to call, of these classes, are this host's from now on. Answered by the
    keys of their attempts; by none where another host sees to the same one at that moment.
    """

    host: int
    classes: tuple[str, ...]
    count: int


@dataclass(frozen=True, slots=True)
class HookBegun:
    """This host is about to call the hook that is owed after this attempt. Answered by whether it may."""

    key: AttemptKey


@dataclass(frozen=True, slots=True)
class HostDrained:
    """The host of this name is to start nothing new until its next daemon, for somebody, `by`, has asked for it.

    Answered by whether it is there.
    """

    name: str
    by: str


@dataclass(frozen=True, slots=True)
class HostLeft:
    """This host's daemon ends; what runs may go on. Answered by None."""
