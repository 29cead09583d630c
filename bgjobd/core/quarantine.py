"""What is done about attempts that crash: when a job is given up for it, when its class is held, and tried; no I/O.

>>> sentence(Outcome.SIGNALLED, "signal 11", 3)
'quarantined: 3 attempts in a row were ended by signal 11'
>>> sentence(Outcome.NOT_STARTED, "signal 11", 3)
'quarantined: 3 starts in a row ended their fork server (signal 11)'
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from bgjob.amounts import many_of, relative_text
from bgjob.words import QUARANTINED, Outcome
from bgjobd.core.job import Ending
from bgjobd.core.sentences import as_word, clock
from bgjobd.core.trials import pause_before_trial

MOST_OF_CLASS: Final = 10
FEWEST_JOBS: Final = 3
"""So many crashes in a row, of so many jobs or more, hold a class."""

_MOST_NAMED: Final = 100
"""So many of its jobs, those that crashed last, are kept of a class."""


# Jobs


def sentence(outcome: Outcome, crash: str, crashes: int) -> str:
    """The error of a job that is given up after so many, two or more, of which this was the last."""
    what = "starts" if outcome is Outcome.NOT_STARTED else "attempts"
    were = "" if outcome in _ACTIVE else "were "
    return f"{QUARANTINED}: {crashes} {what} in a row {were}{_how(outcome, crash)}"


_ACTIVE: Final = frozenset({Outcome.NOT_STARTED, Outcome.OUT_OF_MEMORY})


def _how(outcome: Outcome, crash: str) -> str:
    match outcome:
        case Outcome.NOT_STARTED:
            return f"ended their fork server ({crash})"
        case Outcome.OUT_OF_MEMORY:
            return "ran out of memory"
        case Outcome.LOST:
            return "lost"
        case _:
            return f"ended by {crash}"


# Classes


class Reason(StrEnum):
    """Why a class is held."""

    CRASHES = "crashes"
    ASKED = "asked"


class Says(StrEnum):
    """What the end of an attempt says of its class."""

    CRASHES = "it crashes"
    LIVES = "it does not crash"
    NOTHING = "nothing"


def says(ending: Ending, crashes: int) -> Says:
    """What an end says of the class: nothing where it was none of its doing, or may have been another's.

    A fork server that ends by itself takes along all that was on the way there. Whoever has `crashes` before this one
    started alone.
    """
    if ending.outcome is Outcome.NOT_STARTED and not crashes:
        return Says.NOTHING
    return Says.CRASHES if ending.crash is not None else _SAYS[ending.outcome]


_SAYS: Final[Mapping[Outcome, Says]] = MappingProxyType(
    {
        Outcome.COMPLETED: Says.LIVES,
        Outcome.FAILED: Says.LIVES,
        Outcome.EXITED: Says.LIVES,
        Outcome.TIMED_OUT: Says.LIVES,
        Outcome.CPU_EXCEEDED: Says.LIVES,
        Outcome.OUTPUT_EXCEEDED: Says.LIVES,
        Outcome.SNOOZED: Says.LIVES,
        Outcome.SUSPENDED: Says.LIVES,
        Outcome.SIGNALLED: Says.NOTHING,  # by us, or of a class whose crashes do not count; so the next
        Outcome.OUT_OF_MEMORY: Says.NOTHING,
        Outcome.LOST: Says.NOTHING,
        Outcome.CANCELLED: Says.NOTHING,
        Outcome.NOT_STARTED: Says.NOTHING,
    }
)


@dataclass(frozen=True, slots=True)
class ClassEnd:
    """How an attempt of a class's ended, of which code; `crash` as its ending has it."""

    class_name: str
    job_id: int
    number: int
    outcome: Outcome
    says: Says
    crash: str = ""
    code_version: str | None = None


@dataclass(frozen=True, slots=True)
class ClassHold:
    """What is known of a class whose attempts crash, or that somebody has asked to be held, user `by_uid`.

    It is held `since`, None where crashes are only counted yet. `crashes` in a row, of `jobs`, with one
    `code_version`, are told by `message`. After so many `tries` the next may begin at `next_try_at`, None for never.
    """

    class_name: str
    reason: Reason
    code_version: str | None = None
    since: float | None = None
    message: str | None = None
    jobs: tuple[int, ...] = ()
    crashes: int = 0
    tries: int = 0
    next_try_at: float | None = None
    by_uid: int | None = None

    def holds(self, code_version: str | None) -> bool:
        """Whether attempts of this code are held; of none, as long as that is not known."""
        if self.since is None:
            return False
        return self.reason is Reason.ASKED or code_version is None or self.code_version == code_version

    def slots(self, now: float) -> int:
        """How many attempts of a held class may run: one, from its next trial on."""
        return 1 if self.next_try_at is not None and self.next_try_at <= now else 0


def after_end(hold: ClassHold | None, end: ClassEnd, now: float) -> ClassHold | None:
    """What is known of the class after the end of one of its attempts; None where there is nothing to tell.

    Codes count apart: what is held for one is neither let go nor told anew by the ends of another.
    """
    if hold is not None and hold.reason is Reason.ASKED:
        return hold
    is_same = hold is not None and hold.code_version == end.code_version
    match end.says:
        case Says.NOTHING:
            return hold
        case Says.LIVES:
            return None if is_same else hold
        case Says.CRASHES if hold is not None and hold.since is not None and not is_same:
            return hold
        case Says.CRASHES:
            return _after_crash(hold if is_same else None, end, now)


def _after_crash(hold: ClassHold | None, end: ClassEnd, now: float) -> ClassHold:
    before = hold or ClassHold(end.class_name, Reason.CRASHES, end.code_version)
    jobs = (*(id for id in before.jobs if id != end.job_id), end.job_id)[-_MOST_NAMED:]
    counted = replace(before, jobs=jobs, crashes=before.crashes + 1)
    after = replace(counted, message=_message(counted, _words(before, end)))
    if after.since is not None:
        return replace(after, next_try_at=now + pause_before_trial(after.tries))
    if after.crashes < MOST_OF_CLASS or len(jobs) < FEWEST_JOBS:
        return after
    return replace(after, since=now, next_try_at=now + pause_before_trial(0))


def _words(before: ClassHold, end: ClassEnd) -> str:
    """How they ended, where all ended alike."""
    this = f"{'were ' if end.outcome is Outcome.LOST else ''}{_how(end.outcome, end.crash)}"
    is_alike = before.message is None or f"{_IN_A_ROW} {this}{_WITH_CODE}" in before.message
    return this if is_alike else "crashed"


def _message(hold: ClassHold, words: str) -> str:
    attempts, jobs = many_of(hold.crashes, "attempt"), many_of(len(hold.jobs), "job")
    return f"{attempts} of {jobs}{_IN_A_ROW} {words}{_WITH_CODE} {hold.code_version or 'that is not known'}"


_IN_A_ROW: Final = " in a row"
_WITH_CODE: Final = " with code"


def after_trial(hold: ClassHold, now: float) -> ClassHold:
    """The same once an attempt is granted a slot to see whether it crashes."""
    tries = hold.tries + 1
    return replace(hold, tries=tries, next_try_at=now + pause_before_trial(tries))


def asked(class_name: str, uid: int | None, now: float) -> ClassHold:
    """A class that this user wants held, until somebody resumes it."""
    return ClassHold(class_name, Reason.ASKED, since=now, by_uid=uid)


# In words


def told_of(hold: ClassHold, now: float) -> str:
    """Since when, why, and what comes next: `held since 14:02:10 UTC: 10 attempts of …; next trial in 40 s`."""
    since = f"held since {clock(hold.since or now, now)}"
    resume = f"`bgjob class resume {as_word(hold.class_name)}` lets it go on"
    if hold.reason is Reason.ASKED:
        return f"{since}, {why(hold)}; {resume}"
    return f"{since}: {why(hold)}; {_next_trial(hold, now)}"


def why(hold: ClassHold) -> str:
    """For what reason alone."""
    if hold.reason is Reason.ASKED:
        return f"as {'somebody' if hold.by_uid is None else f'uid {hold.by_uid}'} has asked"
    return hold.message or "its attempts crash"


def _next_trial(hold: ClassHold, now: float) -> str:
    if hold.next_try_at is None:
        return "it is not tried again"
    if hold.next_try_at <= now:
        return "its next job is a trial"
    left = hold.next_try_at - now
    return f"next trial {relative_text(left) if left >= 1 else 'in a moment'}"


def began(hold: ClassHold, now: float) -> str:
    """The line of the daemon that tells of a class that is held from now on."""
    return f"class {hold.class_name} is {told_of(hold, now)}"


def ended(class_name: str, why: str) -> str:
    """The line of the daemon that tells of one that is held no more."""
    return f"class {class_name} is held no more: {why}"
