"""What is expected of an attempt that runs: by others of its method, by its own progress, and when that is too long."""

from __future__ import annotations

import pytest

from bgjobd.core.digest import BYTES, SECONDS, Digest
from bgjobd.core.expectation import HowFar, Usual, is_slow, try_expected


def usual(*seconds: float, memory: tuple[int, ...] = ()) -> Usual:
    took, used = Digest(SECONDS), Digest(BYTES)
    for one in seconds:
        took.note(one)
    for size in memory:
        used.note(size)
    return Usual(len(seconds), took, used)


def left_after(elapsed: float, known: Usual, how_far: HowFar | None = None) -> float | None:
    expected = try_expected(known, elapsed, how_far)
    assert expected is not None
    return expected.left


MINUTES = usual(*[60.0] * 20)


@pytest.mark.parametrize("runs", range(5))
def test_of_fewer_than_five_that_completed_nothing_is_said(runs: int) -> None:
    assert try_expected(usual(*[1.0] * runs), 0.5) is None
    assert try_expected(None, 0.5) is None


def test_of_five_it_is_said_what_half_and_most_take() -> None:
    expected = try_expected(usual(1.0, 1.0, 1.0, 1.0, 100.0), 0.5)
    assert expected is not None
    assert expected.runs == 5
    assert expected.p50 == pytest.approx(1.0, rel=0.3)
    assert expected.p95 == pytest.approx(100.0, rel=0.3)


def test_memory_is_said_only_where_it_is_known() -> None:
    expected = try_expected(usual(*[1.0] * 9, memory=(2**28,) * 9), 0.5)
    assert expected is not None
    assert expected.memory_p95 == pytest.approx(2**28, rel=0.2)
    without = try_expected(MINUTES, 0.5)
    assert without is not None
    assert without.memory_p95 is None


def test_what_has_not_begun_has_nothing_left_and_is_not_slow() -> None:
    expected = try_expected(MINUTES)
    assert expected is not None
    assert (expected.left, expected.times) == (None, None)


def test_what_is_left_follows_those_that_took_longer_than_this() -> None:
    nothing_or_a_minute = usual(*[0.02] * 30, *[60.0] * 30)
    at_first, later = left_after(0.0, nothing_or_a_minute), left_after(1.0, nothing_or_a_minute)
    assert at_first is not None
    assert at_first < 0.1
    assert later == pytest.approx(58.0, rel=0.2)


def test_nothing_is_said_of_what_is_left_where_nobody_took_as_long() -> None:
    assert left_after(100.0, MINUTES) is None


def test_its_own_progress_goes_before_what_others_took() -> None:
    assert left_after(40.0, MINUTES, HowFar(0.5, 2, 30.0)) == pytest.approx(20.0)
    assert left_after(100.0, MINUTES, HowFar(0.25, 9, 80.0)) == pytest.approx(220.0)
    assert left_after(100.0, MINUTES, HowFar(1.0, 2, 80.0)) == 0.0


@pytest.mark.parametrize("how_far", [HowFar(0.049, 5, 10.0), HowFar(0.5, 1, 10.0), HowFar(0.0, 9, 10.0)])
def test_progress_that_says_little_says_nothing(how_far: HowFar) -> None:
    assert left_after(10.0, MINUTES, how_far) == left_after(10.0, MINUTES)


def test_three_times_as_long_as_most_and_ten_seconds_more_is_too_long() -> None:
    expected = try_expected(usual(*[40.0] * 50), 240.0)
    assert expected is not None
    assert expected.times == pytest.approx(6.0, rel=0.2)
    assert expected.left is None
    assert [is_slow(elapsed, 40.0) for elapsed in (40.0, 129.9, 130.1)] == [False, False, True]
    assert [is_slow(elapsed, 0.01) for elapsed in (10.0, 10.1)] == [False, True]
    assert not is_slow(130.1, 40.0, times=5.0)
