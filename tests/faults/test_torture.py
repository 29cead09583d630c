"""The torture in short, with a fixed seed: `./run torture --seconds 600` is the long form."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.torture.course import torture
from tests.faults.torture.killer import ENDS_DAEMON


@pytest.mark.timeout(240)  # seconds, unless all is busy; then it has a settling to wait for
def test_a_daemon_whose_processes_are_killed_at_random_loses_nothing_and_runs_nothing_twice(
    tmp_path: Path,
) -> None:
    outcome = torture(tmp_path, seconds=8.0, seed=5)
    assert outcome.findings == ()
    assert sum(outcome.deeds[deed] for deed in ENDS_DAEMON) >= 3
    assert outcome.acknowledged > 20
