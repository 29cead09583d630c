"""The daemon's clock: seconds that never step, and the kernel's word that the wall clock was set."""

from __future__ import annotations

import os
import select
import time

import pytest

from bgjob.words import EntryType
from bgjobd.daemon.clock_difference import ClockDifference
from bgjobd.host.clock import JUMP, Clock, Reading, SetClock


def test_the_watch_is_quiet_as_long_as_nobody_sets_the_clock() -> None:
    watch = SetClock()
    try:
        assert select.select([watch], [], [], 0) == ([], [], [])
        assert watch.take() is False
    finally:
        watch.close()


def test_the_watch_closes_its_descriptor() -> None:
    before = os.listdir("/proc/self/fd")
    SetClock().close()
    assert os.listdir("/proc/self/fd") == before


def test_a_set_wall_clock_is_a_jump_once_and_the_clock_follows_it() -> None:
    clock = Clock()
    clock._offset -= 3600  # as if the wall clock had been set forward meanwhile
    before = clock.now()
    assert abs((clock.take_jump() or 0) - 3600) < JUMP
    assert abs(clock.now() - before - 3600) < JUMP
    assert clock.take_jump() is None


@pytest.fixture
def standing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both clocks of this machine stand still, so that no time lies between two looks at them."""
    wall, monotonic = time.time(), time.monotonic()
    monkeypatch.setattr(time, "time", lambda: wall)
    monkeypatch.setattr(time, "monotonic", lambda: monotonic)


def of_another(seconds: float, took: float = 0.0) -> Reading:
    """A clock that is ahead of this machine's by so much."""
    asked = time.monotonic()
    return Reading.taken(time.time() + seconds + took / 2, asked, asked + took)


@pytest.mark.usefixtures("standing")
def test_a_clock_that_is_followed_is_shown_whatever_ours_is_set_to() -> None:
    clock = Clock()
    clock.follow(of_another(3600))
    assert abs(clock.now() - time.time() - 3600) < 0.1
    assert abs(clock.after(0.0) - clock.now()) < 0.1
    assert abs((clock.difference or 0) + 3600) < 0.1
    assert clock.take_jump() is None


@pytest.mark.usefixtures("standing")
def test_a_difference_that_the_way_there_may_have_made_moves_nothing() -> None:
    clock = Clock()
    clock.follow(of_another(3600))
    before = clock._offset
    clock.follow(of_another(3600.4, took=1.0))
    assert clock._offset == before
    clock.follow(of_another(3600.6, took=1.0))
    assert abs(clock._offset - before - 0.6) < 0.05


@pytest.mark.usefixtures("standing")
def test_a_leap_of_the_clock_that_is_followed_is_told_once() -> None:
    clock = Clock()
    assert clock.difference is None
    clock.follow(of_another(60))
    assert clock.take_leap() is None  # it is another clock, and did not leap
    clock.follow(of_another(3660))
    assert abs((clock.take_leap() or 0) - 3600) < 0.1
    assert clock.take_leap() is None
    clock.follow(of_another(3660.5))
    assert clock.take_leap() is None


def test_a_clock_that_is_not_the_databases_is_told_of_once_and_once_when_it_is_right() -> None:
    said: list[tuple[EntryType, str]] = []
    difference = ClockDifference(lambda type, message: said.append((type, message)))
    for seconds in (None, 4.0, -4.0):
        difference.note(seconds)
        assert (said, difference.seconds) == ([], None)
    for seconds in (-7.25, -8.0):
        difference.note(seconds)
        assert difference.seconds == seconds
    difference.note(0.5)
    assert [type for type, _ in said] == [EntryType.FAILURE, EntryType.INFO]
    assert "7.2 s behind the database's" in said[0][1]
