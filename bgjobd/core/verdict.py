"""What the end of an attempt is put down to, a limit or a stop, in which words, and whether its job runs again for it.

Which end it is, `attempt_life` decides, that it is lost as well.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bgjob.amounts import size_text
from bgjob.words import Outcome, Throttle
from bgjobd.core.facts import AttemptEnded
from bgjobd.core.job import MOST_CRASHES, Ending, Usage
from bgjobd.core.retry import is_retriable


class StopReason(StrEnum):
    """Why a running attempt is ended from outside; also the text of its stop file."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SHUTDOWN = "shutdown"
    FENCED = "fenced"
    """Its host was cut off from the database: others are about to repeat it."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The limits that end whoever exceeds them: bytes, seconds of CPU time, bytes; None is no limit."""

    memory: int | None = None
    cpu: float | None = None
    file_size: int | None = None


NO_CAPS: Final = Caps()

OF_A_COPY: Final = "of a copy"
"""What a restored database has for the life of the attempts that it believes to run: they may have ended since."""


@dataclass(frozen=True, slots=True)
class Life:
    """What no process outlives, by the name that attempts have stored: the machine's boot, or the run of a container.

    `id` is a container's own where there is one, else the same as `boot_id`. Attempts of containers have that one
    from versions that knew nothing else.
    """

    id: str
    boot_id: str

    def try_ending(self, began_in: str) -> Ending | None:
        """How an attempt ended whose life had this name, if nothing tells more; None where its process may go on."""
        if began_in in (self.id, self.boot_id):
            return None
        if began_in == OF_A_COPY:
            return Ending.lost(
                "the copy of the database that was restored does not know its end", may_retry=False
            )
        if self.id == self.boot_id:
            return Ending.lost("the machine was restarted while it ran")
        return Ending.lost("the container was restarted while it ran", spends_retry=False)


def without_spool(is_gone: bool, pid: int | None) -> Ending:
    """How an attempt of this life ended whose journal is gone with the spool: it is repeated only if its process is.

    A person who would repeat it is told whose end to see to first.
    """
    if is_gone:
        return Ending.lost("its process is gone, and its journal with the spool", spends_retry=False)
    error = "its journal is gone with the spool, and its process may be alive"
    return Ending.lost(error if pid is None else f"{error}: pid {pid}", may_retry=False)


NOT_BEGUN: Final = Ending.not_started("its fork server or the daemon ended before it began", delay=0.0)

JOURNAL_GONE: Final = Ending.lost("its journal is gone", may_retry=False)
"""Of an attempt that began once, and of which nothing tells more: its process may be alive, so it is never repeated."""

SPOOL_GONE: Final = Ending.unrecorded("the spool was removed while it ran")

UNSEEN: Final = Ending.vanished("its process is gone and nobody saw how it ended")


def without_room(size: int) -> Ending:
    """How an attempt ended whose method has returned, and whose result of so many bytes could not be recorded."""
    return Ending.unrecorded(f"its result of {size_text(size)} found no room in the spool until it was ended")


def unbegun(crash: str | None, is_killed: bool) -> Ending:
    """How an attempt ended that had not begun when the fork server was gone that had been asked for it.

    `crash` is how that ended by itself, `is_killed` that the daemon has killed it, as it did not answer.
    """
    if crash is not None:
        return Ending.crashed_at_start(crash)
    if is_killed:  # not at once: it may have been this start that it hung in
        return Ending.not_started("its fork server did not answer, and was killed")
    return NOT_BEGUN


_BY_A_STOP: Final = frozenset({Outcome.FAILED, Outcome.EXITED, Outcome.SIGNALLED, Outcome.LOST})
"""The outcomes that an attempt which was told to stop may have for that reason alone."""

_UNKNOWN: Final = frozenset(
    {
        *(Outcome.LOST, Outcome.SIGNALLED, Outcome.EXITED, Outcome.TIMED_OUT),
        *(Outcome.OUT_OF_MEMORY, Outcome.CPU_EXCEEDED, Outcome.OUTPUT_EXCEEDED),
    }
)
"""The outcomes of an attempt whose method may have done all, half or nothing, where it has not raised either."""

_PUT_OFF: Final = frozenset({Outcome.SNOOZED, Outcome.SUSPENDED})
"""The outcomes of an attempt that its job goes on after, unless it is cancelled."""

_BUS, _KILL, _OF_CPU, _OF_FILE_SIZE = 7, 9, 24, 25
"""SIGBUS, SIGKILL, SIGXCPU and SIGXFSZ, as on every Linux but MIPS."""

_SURELY, _NEARLY = 0.25, 0.75
"""What part of its limit an attempt has spent at least when the kernel signals it, and when it kills it a second later:
that counts ticks, which may err by a good deal for one that began a second ago on a busy machine; usage is exact.
"""


def by_limit(fact: AttemptEnded, caps: Caps, stop_reason: StopReason | None) -> Ending:
    """The ending under the name of the limit that its process was killed for; as it is where there was none.

    RLIMIT_CPU ends with SIGXCPU, and kills whoever ignores that a second later (getrlimit(2)); it is about each
    process by itself. Anybody may send these signals, so the time must have been spent, as far as that is known.
    """
    ending, used = fact.ending, fact.usage or Usage()
    if ending.outcome is not Outcome.SIGNALLED:
        return ending
    if fact.oom_kills and ending.signal in (_KILL, _BUS):
        most = "" if caps.memory is None else f" of {size_text(caps.memory)}"
        return Ending.exceeded(Outcome.OUT_OF_MEMORY, f"{size_text(used.max_rss)}{most}", ending)
    if caps.cpu is not None:
        spent = fact.own_cpu
        limit = math.ceil(caps.cpu)
        has_met_it = ending.signal == _OF_CPU and (spent is None or spent >= _SURELY * limit)
        has_ignored_it = (
            ending.signal == _KILL and spent is not None and spent >= max(limit, _NEARLY * (limit + 1))
        )
        if has_met_it or (has_ignored_it and stop_reason is None):
            most = f"{caps.cpu:.12g} s of CPU time"
            message = f"more than {most}" if spent is None else f"{spent:.1f} s of {most}"
            return Ending.exceeded(Outcome.CPU_EXCEEDED, message, ending)
    if caps.file_size is not None and ending.signal == _OF_FILE_SIZE and used.output_bytes >= caps.file_size:
        message = f"{size_text(used.output_bytes)} of {size_text(caps.file_size)}"
        return Ending.exceeded(Outcome.OUTPUT_EXCEEDED, message, ending)
    return ending


def verdict(
    ending: Ending,
    stop_reason: StopReason | None,
    timeout: float | None,
    retry_lost: bool = True,
    retry_on: Collection[Outcome] | None = None,
    reviews: bool = False,
    where: str | None = None,
    crashes: int | None = MOST_CRASHES,
) -> Ending:
    """The ending under the name of what caused it, whether the policy lets another attempt follow, and whether a person
    is to say what it did where none does: a class may want that, which `reviews`.

    An attempt that completed although it was told to stop did complete; one that asked for a snooze when its time
    was up gets it, and so does one whose end is none of its doing, as when its result found no room until its time was
    up. `timeout` is in seconds, `where` it was when that was over. After so many `crashes` in a row its job is given
    up, None: they count for nothing, but for those that end a fork server, and with it other jobs' starts.
    """
    ending = _counted(ending, crashes)
    match stop_reason:
        case StopReason.CANCELLED if ending.outcome in _BY_A_STOP or ending.outcome in _PUT_OFF:
            ending = Ending.cancelled(ending)
        case StopReason.TIMED_OUT if ending.outcome in _BY_A_STOP and ending.spends_retry:
            ending = Ending.timed_out(timeout or 0.0, ending, where)
        case StopReason.FENCED if ending.outcome in _BY_A_STOP and ending.spends_retry:
            ending = Ending.cut_off(ending)
        case StopReason.SHUTDOWN if ending.outcome in _BY_A_STOP:
            # The daemon's doing, not the job's: as with one that is lost, its class says whether it may run again.
            may_retry = ending.may_retry and retry_lost
            for_review = reviews and _is_unknown(ending)
            stopped = replace(ending, may_retry=may_retry, spends_retry=False, for_review=for_review)
            return replace(stopped, crash=None)
        case StopReason() | None:
            pass  # it ended by itself
    may_retry = ending.may_retry and is_retriable(ending.outcome, retry_lost, retry_on)
    for_review = reviews and _is_unknown(ending)
    if (may_retry, for_review) == (ending.may_retry, ending.for_review):
        return ending
    return replace(ending, may_retry=may_retry, for_review=for_review)


def _counted(ending: Ending, crashes: int | None) -> Ending:
    """The ending with how many like it are too many."""
    if ending.crash is None or crashes == ending.most_crashes:
        return ending
    if crashes is not None:
        return replace(ending, most_crashes=crashes)
    return ending if ending.outcome is Outcome.NOT_STARTED else replace(ending, crash=None)


def _is_unknown(ending: Ending) -> bool:
    return ending.outcome in _UNKNOWN and ending.error_type is None


def settle_throttle(ending: Ending, may_throttle: bool, has_key: bool) -> Ending:
    """The ending with whom it may keep from starting: of a class that may hold no others nobody but its own job.

    Who asks for its key and has none has failed: another attempt would ask for the same.
    """
    if ending.throttles is Throttle.KEY and not has_key:
        failed = Ending.failed(
            "Throttled",
            'of = "key", and the job has no key',
            may_retry=False,
            error_class="bgjob.jobs.Throttled",
        )
        return replace(failed, exit_code=ending.exit_code, signal=ending.signal)
    if ending.throttles is None or may_throttle:
        return ending
    return replace(ending, throttles=Throttle.JOB)
