"""The torture in short, with a fixed seed: `./run torture --seconds 600` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.torture.course import torture
from tests.faults.torture.killer import Killer
from tests.faults.torture.site_course import Course, torture_hosts
from tests.faults.torture.submitters import Submitters


@pytest.mark.timeout(240)  # seconds, unless all is busy; then it has a settling to wait for
def test_a_daemon_whose_processes_are_killed_at_random_loses_nothing_and_runs_nothing_twice(
    tmp_path: Path,
) -> None:
    assert torture(tmp_path, seconds=4.0, seed=5, is_enough=is_enough).findings == ()


def is_enough(killer: Killer, submitters: Submitters) -> bool:
    """On a busy machine that takes longer."""
    return killer.ends >= 3 and len(submitters.acknowledged) > 20


@pytest.mark.long
@pytest.mark.timeout(400)
def test_of_three_hosts_at_a_server_that_is_killed_too_none_loses_a_job_or_runs_one_twice(
    tmp_path: Path,
) -> None:
    outcome = torture_hosts(
        tmp_path, seconds=5.0, seed=5, count=3, pause=1.5, lost_after=10.0, is_enough=is_enough_of_hosts
    )
    assert outcome.findings == ()


def is_enough_of_hosts(course: Course) -> bool:
    return course.kills >= 2 and bool(course.outages.done) and len(course.submitters.acknowledged) > 20
