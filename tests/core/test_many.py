"""The rules of a wish about many jobs."""

from __future__ import annotations

import pytest

from bgjob.words import STATUS_WORDS, Status
from bgjobd.core.many import USUAL, WORDS, Wish, are_others, start_of, statuses_of


@pytest.mark.parametrize("wish", Wish)
def test_what_it_is_asked_of_where_nobody_says_can_be_asked(wish: Wish) -> None:
    assert WORDS[wish].issuperset(USUAL[wish])
    assert WORDS[wish].issubset(STATUS_WORDS)


def test_no_job_can_be_asked_both() -> None:
    assert WORDS[Wish.RETRY].isdisjoint(WORDS[Wish.CANCEL])
    assert statuses_of(WORDS[Wish.CANCEL]) == {Status.PENDING, Status.RUNNING}
    assert statuses_of(WORDS[Wish.RETRY]) == {Status.FAILED, Status.CANCELLED}


@pytest.mark.parametrize(
    ("count", "expected", "are"),
    [
        (0, 0, False),
        (1, 0, True),
        (17, 17, False),
        (18, 17, False),
        (19, 17, True),
        (3, 900, False),
        (11, 10, False),
    ],
)
def test_a_tenth_more_than_expected_are_not_what_was_looked_at(count: int, expected: int, are: bool) -> None:
    assert are_others(count, expected) is are


def test_starts_are_spread_evenly_from_now_on() -> None:
    assert [start_of(place, 4, 1000.0, 60.0) for place in range(4)] == [None, 1015.0, 1030.0, 1045.0]
    assert start_of(3, 4, 1000.0, 0.0) is None


@pytest.mark.parametrize("place", [4, 5, 10**9])
def test_no_start_is_later_than_the_spread_though_there_are_more_than_were_counted(place: int) -> None:
    assert start_of(place, 4, 1000.0, 60.0) == 1060.0
