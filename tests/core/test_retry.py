"""The arithmetic of retries: bounds, caps and huge counts."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bgjob.words import Backoff, Outcome
from bgjobd.core.job import RetryPolicy
from bgjobd.core.retry import delay_before_retry, delay_before_start, has_retries_left, is_retriable
from tests.core.samples import seeded

HUNDRED_YEARS = 100 * 365 * 86400.0

delays = st.floats(0, HUNDRED_YEARS)
jitters = st.floats(0, 1)
counts = st.one_of(st.integers(0, 70), st.integers(0, 2**63 - 1))


def exponential(retry_delay: float, max_retry_delay: float = 3600.0) -> RetryPolicy:
    return RetryPolicy(retry_delay=retry_delay, backoff=Backoff.EXPONENTIAL, max_retry_delay=max_retry_delay)


@seeded
@given(delays, delays, counts, jitters)
def test_a_constant_delay_is_the_same_whatever_the_count_and_the_jitter(
    delay: float, longest: float, count: int, jitter: float
) -> None:
    policy = RetryPolicy(retry_delay=delay, backoff=Backoff.CONSTANT, max_retry_delay=longest)
    assert delay_before_retry(policy, count, jitter) == delay


@seeded
@given(delays, delays, counts, jitters)
def test_an_exponential_delay_lies_between_nothing_and_the_cap(
    delay: float, longest: float, count: int, jitter: float
) -> None:
    assert 0 <= delay_before_retry(exponential(delay, longest), count, jitter) <= longest


@seeded
@given(delays, st.integers(0, 60), jitters)
def test_an_exponential_delay_is_at_most_the_doubled_one(delay: float, count: int, jitter: float) -> None:
    assert delay_before_retry(exponential(delay), count, jitter) <= delay * 2**count


@pytest.mark.parametrize(
    ("count", "delay"), [(0, 2.0), (1, 4.0), (2, 8.0), (4, 32.0), (5, 60.0), (6, 60.0), (2**63 - 1, 60.0)]
)
def test_the_full_exponential_delay_doubles_until_the_cap(count: int, delay: float) -> None:
    assert delay_before_retry(exponential(2.0, 60.0), count, jitter=1.0) == delay


@seeded
@given(delays, delays, counts)
def test_jitter_reaches_both_ends(delay: float, longest: float, count: int) -> None:
    policy = exponential(delay, longest)
    assert delay_before_retry(policy, count, jitter=0.0) == 0
    assert delay_before_retry(policy, count, jitter=0.5) == delay_before_retry(policy, count, jitter=1.0) / 2


@seeded
@given(delays, delays, counts, counts, jitters)
def test_an_exponential_delay_never_shrinks_with_the_count(
    delay: float, longest: float, one: int, other: int, jitter: float
) -> None:
    policy = exponential(delay, longest)
    fewer, more = sorted((one, other))
    assert delay_before_retry(policy, fewer, jitter) <= delay_before_retry(policy, more, jitter)


@seeded
@given(delays, counts)
def test_a_cap_below_the_first_delay_caps_it_too(delay: float, count: int) -> None:
    assume(delay > 1)
    assert delay_before_retry(exponential(delay, 1.0), count, jitter=1.0) == 1.0


@pytest.mark.parametrize(
    ("retry_count", "max_retries", "left"),
    [(0, 3, True), (2, 3, True), (3, 3, False), (4, 3, False), (0, 0, False), (99, 100, True)],
)
def test_a_retry_is_left_while_the_count_is_below_the_limit(
    retry_count: int, max_retries: int, left: bool
) -> None:
    assert has_retries_left(RetryPolicy(max_retries), retry_count) is left


# Whether at all, by the outcome

BAD = sorted(set(Outcome) - {Outcome.COMPLETED, Outcome.LOST, Outcome.NOT_STARTED, Outcome.SNOOZED})


@pytest.mark.parametrize("retry_lost", [True, False])
@pytest.mark.parametrize("outcome", BAD)
def test_every_bad_outcome_is_retriable_where_none_are_named(outcome: Outcome, retry_lost: bool) -> None:
    assert is_retriable(outcome, retry_lost, retry_on=None)


@pytest.mark.parametrize("outcome", BAD)
def test_only_the_outcomes_that_are_named_are_retriable(outcome: Outcome) -> None:
    assert is_retriable(outcome, True, {outcome})
    assert not is_retriable(outcome, True, set(Outcome) - {outcome})
    assert not is_retriable(outcome, True, [])


@pytest.mark.parametrize(
    ("retry_lost", "retry_on", "retriable"),
    [
        (True, None, True),
        (False, None, False),
        (True, [Outcome.LOST], True),
        (False, [Outcome.LOST], False),
        (True, [Outcome.FAILED], False),
        (False, [Outcome.FAILED], False),
    ],
)
def test_a_lost_attempt_is_retriable_only_where_both_settings_allow_it(
    retry_lost: bool, retry_on: list[Outcome] | None, retriable: bool
) -> None:
    assert is_retriable(Outcome.LOST, retry_lost, retry_on) is retriable


# Attempts that could not start

in_a_row = st.one_of(st.integers(1, 70), st.integers(1, 2**63 - 1))


@pytest.mark.parametrize(
    ("attempts", "delay"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (8, 60.0), (2**63 - 1, 60.0)]
)
def test_the_delay_before_a_start_doubles_from_a_second_to_a_minute(attempts: int, delay: float) -> None:
    assert delay_before_start(attempts, jitter=1.0) == delay


@seeded
@given(in_a_row, jitters)
def test_jitter_takes_at_most_half_of_the_delay_before_a_start(attempts: int, jitter: float) -> None:
    whole = delay_before_start(attempts, jitter=1.0)
    assert whole / 2 <= delay_before_start(attempts, jitter) <= whole
    assert delay_before_start(attempts, jitter=0.0) == whole / 2
