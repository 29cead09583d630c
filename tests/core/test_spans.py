"""Spans of time: a moment is in one of each length, and an hour is the sum of its spans."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Outcome
from bgjobd.core.digest import COUNTS, SECONDS
from bgjobd.core.expectation import OTHER
from bgjobd.core.spans import (
    ALL,
    DAY,
    FIVE_MINUTES,
    HOUR,
    KEPT,
    MOST_CLASSES,
    SPANS,
    OfClass,
    OfError,
    OfQueue,
    begin,
    bounded,
    kept_since,
    packed,
    quantiles,
    sum_of,
    total,
)

MOMENTS = st.floats(-62_135_596_800.0, 253_402_300_799.0)
"""All that can be stored."""

COUNTED = st.lists(st.integers(0, 1_000_000), min_size=COUNTS, max_size=COUNTS)
ENDS = st.tuples(
    MOMENTS,
    st.sampled_from(Outcome),
    st.floats(0, 1e9),
    st.booleans(),
    st.none() | st.floats(0, 1e9),
    st.integers(0, 1000),
)


def noted(*ends: tuple[float, Outcome, float, bool, float | None, int]) -> OfClass:
    whole = OfClass()
    for _, outcome, seconds, has_failed, waited, used in ends:
        whole.note(
            outcome,
            seconds,
            has_failed=has_failed,
            is_retried=not has_failed,
            waited=waited,
            cpu=float(used),
            memory=used,
        )
    return whole


@given(MOMENTS, st.sampled_from(SPANS))
def test_a_moment_is_in_one_span_of_each_length(at: float, span: int) -> None:
    assert begin(at, span) <= at < begin(at, span) + span
    assert begin(at, span) % span == 0


@given(MOMENTS)
def test_all_of_a_span_is_in_one_hour_and_all_of_an_hour_in_one_day(at: float) -> None:
    assert begin(begin(at, FIVE_MINUTES), HOUR) == begin(at, HOUR)
    assert begin(begin(at, HOUR), DAY) == begin(at, DAY)


@given(st.lists(ENDS, max_size=30))
def test_each_attempt_is_in_exactly_one_span_and_an_hour_is_the_sum_of_its_spans(
    ends: list[tuple[float, Outcome, float, bool, float | None, int]],
) -> None:
    for span in SPANS:
        spans = {begin(end[0], span) for end in ends}
        parts = {at: noted(*(end for end in ends if begin(end[0], span) == at)) for at in spans}
        assert total(parts.values()) == noted(*ends)


@given(COUNTED, COUNTED)
def test_counts_are_added_as_they_are_stored(first: list[int], second: list[int]) -> None:
    sums = [one + other for one, other in zip(first, second, strict=True)]
    assert sum_of([packed(first), packed(second)]) == sums


def test_what_is_no_counts_is_nothing() -> None:
    assert sum_of([b"", b"x" * 300, packed([1] * COUNTS)]) == [1] * COUNTS
    assert sum_of([]) == [0] * COUNTS


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=100))
def test_a_quantile_is_no_more_than_a_bound_away_from_that_of_the_values(values: list[float]) -> None:
    whole = OfClass()
    for value in values:
        whole.note(Outcome.COMPLETED, value, has_failed=False, is_retried=False, waited=None, cpu=0, memory=0)
    middle = sorted(values)[(len(values) - 1) // 2]
    (found,) = quantiles(whole.seconds, 0.5)
    assert found is not None
    assert middle / SECONDS.ratio <= found * 1.000001 <= middle * SECONDS.ratio * 1.00001
    assert quantiles(whole.waited, 0.5, 0.95) == [None, None]


@pytest.mark.parametrize("outcome", [Outcome.SNOOZED, Outcome.SUSPENDED, Outcome.CANCELLED])
def test_what_did_not_end_by_itself_is_neither_good_nor_bad(outcome: Outcome) -> None:
    one = noted((0, outcome, 5.0, False, 2.0, 7))
    assert (one.ended, one.retried, one.bad, sum(one.seconds)) == (0, 0, Counter(), 0)
    assert (sum(one.waited), one.cpu, one.memory) == (1, 7.0, 7)


@pytest.mark.parametrize("outcome", [Outcome.NOT_STARTED, Outcome.LOST])
def test_what_nobody_saw_running_is_bad_and_took_no_time(outcome: Outcome) -> None:
    one = noted((0, outcome, 5.0, True, 2.0, 0))
    assert (one.bad, one.failed, sum(one.seconds)) == (Counter({outcome.value: 1}), 1, 0)


@given(
    st.dictionaries(st.integers(0, 250).map(str) | st.just(OTHER), st.integers(1, 9), max_size=200),
    st.sets(st.integers(0, 250).map(str) | st.sampled_from([ALL, OTHER]), max_size=MOST_CLASSES),
)
def test_no_more_classes_than_there_may_be_are_told_apart_and_none_is_lost(
    ended: dict[str, int], there: set[str]
) -> None:
    classes = {name: OfClass(completed=count) for name, count in ended.items()}
    kept = bounded(classes, there)
    assert total(kept.values()) == total(classes.values())
    apart = {*kept, *there} - {ALL, OTHER}
    assert len(apart) <= max(MOST_CLASSES, len(there - {ALL, OTHER}))
    assert {name for name in classes if name in there} <= {*kept}
    beyond = [ended[name] for name in ended if name not in kept]
    assert all(count <= ended[name] for count in beyond for name in {*kept} - there - {OTHER})


def test_of_queues_the_most_and_of_errors_the_sum_is_kept() -> None:
    queue, error = OfQueue(5, 1, 0.5), OfError(3, 1)
    queue.add(OfQueue(2, 4, 9.0))
    error.add(OfError(1, 1))
    assert (queue, error) == (OfQueue(5, 4, 9.0), OfError(4, 2))


@given(MOMENTS, st.sampled_from(SPANS))
def test_what_is_kept_goes_back_as_far_as_it_says(now: float, span: int) -> None:
    first = kept_since(now, span)
    assert first <= now - KEPT[span] < first + span
