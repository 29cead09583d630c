"""When the database is found not to answer: by one timer, armed by what was handed over, and none where all rests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from bgjobd.daemon.silence import PATIENCE, Silence


class Clock:
    """A loop's clock that stands until it is moved, and the writer's work by it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.busy_since: float | None = None
        self.heard: list[float] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self._loop = asyncio.new_event_loop()

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        self.timers.append((self.now + delay, callback))
        return asyncio.TimerHandle(0.0, callback, (), self._loop)

    def close(self) -> None:
        self._loop.close()

    def go_on(self, seconds: float) -> None:
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            self.timers.remove(due[0])
            self.now = due[0][0]
            due[0][1]()
        self.now = end


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    yield clock
    clock.close()


@pytest.fixture
def silence(clock: Clock) -> Silence:
    return Silence(clock, lambda: clock.busy_since, clock.heard.append)


def test_a_commit_that_takes_too_long_is_told_when_it_has_been_too_long(
    clock: Clock, silence: Silence
) -> None:
    silence.listen()
    clock.go_on(PATIENCE - 1)
    silence.listen()  # another, of which the writer knows nothing yet
    clock.busy_since = clock.now
    clock.go_on(PATIENCE - 0.1)
    assert clock.heard == []
    clock.go_on(0.1)
    assert clock.heard == [PATIENCE]


def test_it_is_told_again_for_as_long_as_it_lasts(clock: Clock, silence: Silence) -> None:
    clock.busy_since = clock.now
    silence.listen()
    clock.go_on(2 * PATIENCE)
    silence.listen()
    assert clock.heard == [PATIENCE, 2 * PATIENCE]
    clock.busy_since = None
    clock.go_on(2 * PATIENCE)
    assert (clock.heard, clock.timers) == ([PATIENCE, 2 * PATIENCE], [])


def test_a_database_at_rest_is_looked_at_once_and_not_again(clock: Clock, silence: Silence) -> None:
    silence.listen()
    clock.go_on(PATIENCE)
    assert (clock.heard, clock.timers) == ([], [])


def test_what_came_since_the_timer_was_armed_is_waited_for_too(clock: Clock, silence: Silence) -> None:
    silence.listen()
    silence.listen()
    clock.go_on(PATIENCE)
    clock.busy_since = clock.now
    clock.go_on(PATIENCE)
    assert clock.heard == [PATIENCE]


def test_each_commit_has_time_of_its_own(clock: Clock, silence: Silence) -> None:
    for _ in range(10):
        silence.listen()
        clock.busy_since = clock.now
        clock.go_on(PATIENCE - 1)
    clock.busy_since = None
    clock.go_on(3 * PATIENCE)
    assert (clock.heard, clock.timers) == ([], [])
