"""Digests: quantiles as near as their bounds are to those of all values, what came late counts, 128 bytes hold them."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.digest import BYTES, COUNTS, SECONDS, Digest, Scale

SPANS = st.floats(0.001, 2_500_000.0)
SHARES = st.floats(0.01, 1.0)


def digest_of(values: list[float], scale: Scale = SECONDS) -> Digest:
    made = Digest(scale)
    for value in values:
        made.note(value)
    return made


def exact(values: list[float], share: float) -> tuple[float, float]:
    """Between which two of them the quantile is, whichever way it is counted."""
    ordered, rank = sorted(values), share * len(values)
    return ordered[max(0, math.ceil(rank - 1e-6) - 1)], ordered[min(len(values) - 1, math.floor(rank + 1e-6))]


def at_most_a_bound_away(found: float, least: float, most: float, ratio: float) -> bool:
    return least / ratio <= found * 1.000001 and found <= most * ratio * 1.000001


@given(values=st.lists(SPANS, min_size=1, max_size=127), share=SHARES)
def test_a_quantile_is_no_more_than_a_bound_away_from_that_of_the_values(
    values: list[float], share: float
) -> None:
    found = digest_of(values).quantile(share)
    assert found is not None
    assert at_most_a_bound_away(found, *exact(values, share), SECONDS.ratio)


@given(values=st.lists(st.floats(2.0**20, 2.0**35), min_size=1, max_size=127), share=SHARES)
def test_bytes_are_told_finer_than_seconds(values: list[float], share: float) -> None:
    found = digest_of(values, BYTES).quantile(share)
    assert found is not None
    assert at_most_a_bound_away(found, *exact(values, share), BYTES.ratio)


@given(values=st.lists(SPANS, min_size=1, max_size=127), elapsed=SPANS)
def test_what_is_above_a_value_has_its_own_median(values: list[float], elapsed: float) -> None:
    found = digest_of(values).median_above(elapsed)
    above = [value for value in values if value > elapsed]
    if found is None:
        assert all(value <= elapsed * SECONDS.ratio for value in values)
        return
    assert found >= elapsed / 1.000001
    if above:  # those that share its bound may be on either side of it
        around = [value for value in values if value > elapsed / SECONDS.ratio]
        assert min(around) / SECONDS.ratio <= found <= max(around) * SECONDS.ratio


@given(values=st.lists(SPANS, max_size=1000))
def test_it_never_holds_128_values_and_is_stored_in_as_many_bytes(values: list[float]) -> None:
    made = digest_of(values)
    stored = made.to_bytes()
    assert len(stored) == 2 * COUNTS
    again = Digest.of(stored, SECONDS)
    assert (again.quantile(0.5), again.quantile(0.95)) == (made.quantile(0.5), made.quantile(0.95))
    assert sum(int.from_bytes(stored[place : place + 2], "little") for place in range(0, 128, 2)) < 128 * 256


def test_after_83_runs_of_another_length_it_tells_that_length() -> None:
    made = digest_of([10.0] * 1000 + [100.0] * 83)
    assert made.quantile(0.5) == pytest.approx(100.0, rel=0.25)


def test_one_value_that_stands_alone_is_forgotten() -> None:
    made = digest_of([1_000_000.0] + [1.0] * 1000)
    assert made.median_above(10.0) is None


@pytest.mark.parametrize("seed", range(8))
def test_of_120_runs_the_median_errs_by_a_few_per_cent(seed: int) -> None:
    draw = random.Random(seed)
    values = [draw.lognormvariate(3.0, 0.8) for _ in range(120)]
    made, ordered = digest_of(values), sorted(values)
    assert made.quantile(0.5) == pytest.approx(ordered[59], rel=0.12)
    assert made.quantile(0.95) == pytest.approx(ordered[113], rel=0.35)


@given(
    first=st.lists(SPANS, max_size=300),
    second=st.lists(SPANS, max_size=300),
    share=st.sampled_from((0.5, 0.95)),
)
def test_two_that_are_put_together_tell_about_what_one_of_all_does(
    first: list[float], second: list[float], share: float
) -> None:
    together, whole = digest_of(first), digest_of(first + second)
    together.take(digest_of(second))
    assert together.is_empty == whole.is_empty
    if len(first) + len(second) < 128 and not whole.is_empty:
        assert together.to_bytes() == whole.to_bytes()
    assert Digest.of(together.to_bytes(), SECONDS).quantile(share) == together.quantile(share)


def test_what_comes_later_counts_more_where_two_are_put_together() -> None:
    together = digest_of([10.0] * 127)
    together.take(digest_of([100.0] * 1000))
    assert together.quantile(0.05) == pytest.approx(100.0, rel=0.5)


@pytest.mark.parametrize("value", [0.0, 1e-9, 0.001])
def test_what_takes_no_time_is_counted_at_the_first_bound(value: float) -> None:
    found = digest_of([value] * 9).quantile(1.0)
    assert found == pytest.approx(0.001)


@pytest.mark.parametrize("value", [3.1e6, 1e12, math.inf])
def test_what_is_beyond_all_bounds_is_counted_at_the_last(value: float) -> None:
    assert digest_of([value] * 9).quantile(1.0) == pytest.approx(SECONDS.bounds[-1])


@pytest.mark.parametrize("stored", [b"", b"x", b"\xff" * 128, b"\0" * 129])
def test_what_no_digest_has_made_is_none(stored: bytes) -> None:
    made = Digest.of(stored, SECONDS)
    assert (made.is_empty, made.quantile(0.5), made.median_above(0.0)) == (True, None, None)
