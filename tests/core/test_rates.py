"""Buckets of starts: no stretch of time has more than was promised, and who is not very late loses nothing."""

from __future__ import annotations

from itertools import combinations
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from bgjobd.core.rates import Rate

RATES = st.builds(
    Rate,
    count=st.integers(1, 200),
    period=st.sampled_from((1.0, 60.0, 3600.0)),
    burst=st.integers(1, 5),
)


def started(rate: Rate, waits: list[float], lateness: list[float]) -> list[float]:
    """When attempts start of which there are always enough: whoever looks has waited, or comes late to a token."""
    starts: list[float] = []
    now, full_at = 1_733_322_713.0, 0.0
    for wait, late in zip(waits, lateness, strict=True):
        now = max(now, rate.next_at(full_at)) + wait * rate.interval + late
        tokens = rate.tokens(full_at, now)
        full_at = rate.after(full_at, tokens, now)
        starts += [now] * tokens
    return starts


@given(
    rate=RATES,
    looks=st.lists(st.tuples(st.sampled_from((0.0, 0.0, 0.3, 7.0)), st.floats(0, 0.1)), max_size=40),
)
def test_no_stretch_has_more_starts_than_promised(rate: Rate, looks: list[tuple[float, float]]) -> None:
    starts = started(rate, [wait for wait, _ in looks], [late for _, late in looks])
    for (first, begin), (last, end) in combinations(enumerate(starts), 2):
        stretch = end - begin + 1e-5  # as instants are rounded
        count = last - first + 1
        assert count <= rate.burst + (stretch + rate.early) / rate.interval
        assert count <= rate.burst + floor(stretch / rate.interval) + 1


@given(rate=RATES, lateness=st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_who_looks_a_little_late_each_time_loses_no_start(rate: Rate, lateness: list[float]) -> None:
    starts = started(rate, [0.0] * len(lateness), [late * rate.early for late in lateness])
    assert len(starts) >= rate.burst + len(lateness) - 1
    assert starts[-1] - starts[0] <= (len(starts) - rate.burst) * rate.interval + 1e-3


@given(rate=RATES)
def test_a_whole_period_has_no_more_than_its_count_beside_the_burst(rate: Rate) -> None:
    starts = started(rate, [0.0] * 500, [0.0] * 500)
    within = [start for start in starts if start - starts[0] <= rate.period]
    assert len(within) <= rate.burst + rate.count
