"""When a job is tried again: arithmetic on a policy; jitter is an argument.

>>> delay_before_retry(RetryPolicy(retry_delay=5.0), retry_count=7, jitter=0.3)
5.0
>>> slow = RetryPolicy(retry_delay=2.0, backoff=Backoff.EXPONENTIAL, max_retry_delay=60.0)
>>> [delay_before_retry(slow, retry_count=n, jitter=1.0) for n in (0, 1, 2, 10, 10_000)]
[2.0, 4.0, 8.0, 60.0, 60.0]
>>> [delay_before_start(n, jitter=1.0) for n in (1, 2, 3, 6, 7, 10_000)]
[1.0, 2.0, 4.0, 32.0, 60.0, 60.0]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from bgjob.words import Backoff, Outcome
from bgjobd.core.job import Ending, Job, RetryPolicy

_FIRST_START_DELAY: Final = 1.0
_LONGEST_START_DELAY: Final = 60.0
_MAX_DOUBLINGS: Final = 62

STARTS_AWAITED: Final = 7
"""So many starts of a hook in a row, over about a minute, are waited for and told; those behind them, each minute one,
are not.
"""


def has_retries_left(policy: RetryPolicy, retry_count: int) -> bool:
    """Whether a failed attempt is followed by another: while the count is below the limit."""
    return retry_count < policy.max_retries


def crashes_after(job: Job, ending: Ending) -> int:
    """The job's `crashes` after this end: one that never began, for another reason, tells nothing about it."""
    if ending.crash is not None:
        return job.crashes + 1
    return job.crashes if ending.outcome is Outcome.NOT_STARTED else 0


def is_quarantined(job: Job, ending: Ending) -> bool:
    """Whether the job has crashed too often in a row, by this end, to be tried again."""
    return ending.crash is not None and crashes_after(job, ending) >= ending.most_crashes


def is_retriable(outcome: Outcome, retry_lost: bool, retry_on: Collection[Outcome] | None) -> bool:
    """Whether an attempt that ended badly in this way may be followed by another; None stands for every way.

    `lost` needs `retry_lost` as well: nobody knows how much of such an attempt was done.
    """
    if outcome is Outcome.LOST and not retry_lost:
        return False
    return retry_on is None or outcome in retry_on


def delay_before_retry(policy: RetryPolicy, retry_count: int, jitter: float) -> float:
    """Seconds until the next attempt, after `retry_count` retries; `jitter` is in [0, 1].

    Exponential is "full jitter": anything from nothing to the doubled delay (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).
    """
    if policy.backoff is Backoff.CONSTANT:
        return policy.retry_delay
    doubled: float = policy.retry_delay * 2 ** min(retry_count, _MAX_DOUBLINGS)
    return jitter * min(policy.max_retry_delay, doubled)


def delay_before_start(attempts: int, jitter: float) -> float:
    """Seconds until a job is tried again after `attempts` (1 or more) in a row that could not start.

    `jitter` is in [0, 1] and takes away up to half: what kept one from starting keeps many, and they come apart.
    """
    doubled: float = _FIRST_START_DELAY * 2 ** min(attempts - 1, _MAX_DOUBLINGS)
    return min(_LONGEST_START_DELAY, doubled) * (0.5 + jitter / 2)
