"""The daemon's clock: seconds that never step, and the kernel's word that the wall clock was set."""

from __future__ import annotations

import os
import select

from bgjobd.host.clock import JUMP, Clock, SetClock


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
