"""A part of the sweep for every run of the tests: `./run sweep` walks through every point, this through a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.knife import why_impossible
from tests.faults.sweeping import Ground, Point, Role, Way, ground, parts_of

OBSTACLE = why_impossible()

_TRIES = 4
"""Points from a chosen one on, until one is reached: how often a loop waits is not the same at each run."""


@pytest.mark.timeout(300)  # of some dozen walks, each of which has 60 s
@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize(
    ("way", "role", "start", "step"),
    [
        (Way.PLAIN, Role.DAEMON, 11, 197),
        (Way.PLAIN, Role.START, 20, 227),
        (Way.PLAIN, Role.FORK_SERVER, 5, 83),
        (Way.PLAIN, Role.CHILD, 3, 59),
        (Way.PLAIN, Role.SPARE, 2, 61),
        (Way.STEPS, Role.CHILD, 40, 197),
        (Way.STEPS, Role.START, 340, 397),
        pytest.param(Way.ALERTS, Role.DAEMON, 17, 43, marks=pytest.mark.long),
    ],
)
def test_a_process_is_killed_in_the_middle_of_anything_and_the_books_balance(
    tmp_path: Path, way: Way, role: Role, start: int, step: int
) -> None:
    with ground(tmp_path, role, way) as there:
        points = [point for part in parts_of(way, role) for point in there.points(role, part, walks=1)]
        chosen = range(start - 1, len(points), step)
        reached = sum(any(reaches(there, point) for point in points[at : at + _TRIES]) for at in chosen)
    assert reached > len(chosen) / 2, "strace has killed next to nobody"


def reaches(there: Ground, point: Point) -> bool:
    """Whether somebody was killed there. Fails where anything is wrong then."""
    strike = there.strike(point)
    assert not strike.problem, f"{strike}; `./run sweep --role {point.role}` walks through all"
    return strike.was_reached
