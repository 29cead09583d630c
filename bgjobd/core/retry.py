"""When a job is tried again: arithmetic on a policy; jitter is an argument.

>>> delay_before_retry(RetryPolicy(retry_delay=5.0), retry_count=7, jitter=0.3)
5.0
>>> slow = RetryPolicy(retry_delay=2.0, backoff=Backoff.EXPONENTIAL, max_retry_delay=60.0)
>>> [delay_before_retry(slow, retry_count=n, jitter=1.0) for n in (0, 1, 2, 10, 10_000)]
[2.0, 4.0, 8.0, 60.0, 60.0]
"""

from __future__ import annotations

from typing import Final

from bgjob.words import Backoff
from bgjobd.core.job import RetryPolicy

NOT_STARTED_DELAY: Final = 1.0
"""Seconds until a job is tried again whose attempt could not start; no retry is spent."""

_MAX_DOUBLINGS: Final = 62


def has_retries_left(policy: RetryPolicy, retry_count: int) -> bool:
    """Whether a failed attempt is followed by another, as in the original: while the count is below the limit."""
    return retry_count < policy.max_retries


def delay_before_retry(policy: RetryPolicy, retry_count: int, jitter: float) -> float:
    """Seconds until the next attempt, after `retry_count` retries; `jitter` is in [0, 1].

    Exponential is "full jitter": anything from nothing to the doubled delay (M. Brooker, "Exponential Backoff
    And Jitter", AWS Architecture Blog, 2015).
    """
    if policy.backoff is Backoff.CONSTANT:
        return policy.retry_delay
    doubled: float = policy.retry_delay * 2 ** min(retry_count, _MAX_DOUBLINGS)
    return jitter * min(policy.max_retry_delay, doubled)
