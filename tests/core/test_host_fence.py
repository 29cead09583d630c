"""Until when a host may run what others repeat, and how long a stop may take then."""

from __future__ import annotations

import pytest

from bgjobd.core.host_fence import longest_grace, until


def test_a_host_ends_what_others_repeat_when_half_of_their_patience_is_over() -> None:
    assert until(1000.0, 600.0) == 1300.0


@pytest.mark.parametrize(("lost_after", "grace"), [(600.0, 290.0), (100.0, 40.0), (60.0, 24.0), (6.0, 2.4)])
def test_a_stop_may_take_the_other_half_but_for_a_tenth_of_all_or_ten_seconds(
    lost_after: float, grace: float
) -> None:
    assert longest_grace(lost_after) == pytest.approx(grace)


@pytest.mark.parametrize("lost_after", [1.0, 6.0, 60.0, 600.0, 86_400.0])
def test_who_is_killed_after_the_longest_grace_is_dead_before_others_repeat_it(lost_after: float) -> None:
    killed_at = until(0.0, lost_after) + longest_grace(lost_after)
    assert 0.0 < killed_at < lost_after
