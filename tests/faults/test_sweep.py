"""A part of the sweep for every run of the tests: `./run sweep` walks through every point, this through a few."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.knife import why_impossible
from tests.faults.sweeping import PARTS, Role, ground

OBSTACLE = why_impossible()


@pytest.mark.skipif(OBSTACLE is not None, reason=str(OBSTACLE))
@pytest.mark.parametrize(
    ("role", "start", "step"),
    [
        (Role.DAEMON, 11, 97),
        (Role.START, 20, 113),
        (Role.FORK_SERVER, 5, 41),
        (Role.CHILD, 3, 29),
        (Role.SPARE, 2, 31),
    ],
)
def test_a_process_is_killed_in_the_middle_of_anything_and_the_books_balance(
    tmp_path: Path, role: Role, start: int, step: int
) -> None:
    with ground(tmp_path, role) as there:
        points = [point for part in PARTS[role] for point in there.points(role, part)]
        reached = 0
        chosen = points[start - 1 :: step]
        for point in chosen:
            strike = there.strike(point)
            assert not strike.problem, f"{strike}; `./run sweep --role {role}` walks through all"
            reached += strike.was_reached
    assert reached > len(chosen) / 2, "strace has killed next to nobody"
