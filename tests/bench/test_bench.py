"""The benchmark itself: that it runs and says what it found; no time is judged here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.timeout(240)  # it ends after a dozen seconds, unless all is busy

BENCH = Path(__file__).parent
TINY = [
    *("--jobs=8", "--forks=50", "--submits=5", "--calls=1"),
    *("--samples=1", "--idle=0.1", "--finished=20"),
    *("--live=3", "--queued=20", "--restarts=2"),
    *("--rows=400", "--frames=1", "--schedules=5"),
]


FORKED = f"""
import runpy, sys
sys.path.insert(0, {str(BENCH)!r})
import station
from tests.daemon import warm
station.Station._spawn = lambda one, arguments, environ, console: warm.Process(
    arguments, environ, stdout=console.fileno(), stderr=console.fileno()
)
runpy.run_path({str(BENCH)!r}, run_name="__main__")
"""
"""The benchmark, with daemons that have their imports behind them: half of its time is their starts. The long ones have
their own.
"""


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def test_a_tiny_run_writes_the_summary_and_leaves_nothing_behind(tmp_path: Path, engine: str) -> None:
    figures, printed = measured(tmp_path, "--engine", engine, program=("-c", FORKED))
    assert {"submit in bulk", "drain, 2 slots", "submit to the result, p50", "PSS of the spares"} < figures
    assert re.search(r"^submit in bulk .* 10 +0\.12 +\+[\d,]+ %$", printed, re.MULTILINE)
    drawn = ElementTree.parse(tmp_path / "bench.svg").getroot()
    assert "submit in bulk" in "".join(drawn.itertext())


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_tiny_run_of_everything_writes_every_figure_and_leaves_nothing_behind(tmp_path: Path) -> None:
    figures, _ = measured(tmp_path, "--all")
    assert {"drain", "submit p50", "SubmitMany", "submit to body p50", "drain, 2 slots"} < figures
    assert {"drain, 20 finished", "drain, slowed by", "wake-ups in 0.1 idle s"} < figures
    assert {"recovery with 3 live, 20 queued p50", "recovery with 3 live, 20 queued p99"} < figures
    assert {"first page of 400 rows p99", "page 8 of 400 rows p50", "submits beside readers"} < figures
    assert {
        "view log of 400 rows p99",
        "view log, page 8 of 400 rows p50",
        "view system of 400 rows p99",
    } < figures
    assert {"submit p99 beside a prune of 400 jobs", "prune meanwhile"} < figures
    assert {"ping p99", "ping p99 beside 1 MiB of lists", "PSS daemon beside all of that"} < figures
    assert "longest submit beside 5 schedules of each second" in figures


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_tiny_run_of_several_daemons_with_a_server_writes_its_figures_and_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    figures, _ = measured(tmp_path, "--hosts")
    assert {"PostgreSQL: submit, one by one, p50", "PostgreSQL: drain, 4 x 4 slots"} < figures


def measured(
    directory: Path, *options: str, program: tuple[str, ...] = (str(BENCH),)
) -> tuple[set[str], str]:
    """The names of the figures that a tiny run has written, and what it has printed, which has all of them."""
    before = directory / "before.json"
    before.write_text(json.dumps({"figures": {"submit in bulk": {"value": 10.0, "ratio": 0.123}}}))
    environ = os.environ | {"PYTHONPATH": str(BENCH.parents[1])}
    with tempfile.TemporaryDirectory(prefix="bgjobd-test-", dir="/var/tmp") as name:
        state = Path(name)
        state.chmod(0o755)  # a server of PostgreSQL, which is another user's, has its data there
        command = [sys.executable, *program, *options, *TINY, "--state-dir", name, "--json", "bench.json"]
        command += ["--against", str(before), "--svg", "bench.svg"]
        done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert list(state.iterdir()) == []
    figures = json.loads((directory / "bench.json").read_text())["figures"]
    assert all(name in done.stdout for name in figures)
    return set(figures), done.stdout
