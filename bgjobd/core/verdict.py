"""What an attempt came to, beside how its process ended: the reason why it was stopped, and its class's policy."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from enum import StrEnum
from typing import Final

from bgjob.words import Outcome
from bgjobd.core.job import Ending
from bgjobd.core.retry import is_retriable


class StopReason(StrEnum):
    """Why a running attempt is ended from outside; also the text of its stop file."""

    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    SHUTDOWN = "shutdown"


_BY_A_STOP: Final = frozenset({Outcome.FAILED, Outcome.EXITED, Outcome.SIGNALLED, Outcome.LOST})
"""The outcomes that an attempt which was told to stop may have for that reason alone."""


def verdict(
    ending: Ending,
    stop_reason: StopReason | None,
    timeout: float | None,
    retry_lost: bool = True,
    retry_on: Collection[Outcome] | None = None,
) -> Ending:
    """The ending under the name of what caused it, and whether the policy lets another attempt follow.

    An attempt that completed although it was told to stop did complete; one that asked for a snooze when its time
    was up gets it. `timeout` is in seconds.
    """
    match stop_reason:
        case StopReason.CANCELLED if ending.outcome in _BY_A_STOP or ending.outcome is Outcome.SNOOZED:
            ending = Ending.cancelled(ending)
        case StopReason.TIMED_OUT if ending.outcome in _BY_A_STOP:
            ending = Ending.timed_out(timeout or 0.0, ending)
        case StopReason.CANCELLED | StopReason.TIMED_OUT | StopReason.SHUTDOWN | None:
            pass  # it ended by itself, or by the signal that the shutdown sent
    may_retry = ending.may_retry and is_retriable(ending.outcome, retry_lost, retry_on)
    return replace(ending, may_retry=may_retry)
