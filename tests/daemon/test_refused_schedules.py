"""Schedules whose jobs may not run: what a start, a reload and the log make of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import ReloadFailedError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

CODE = "class Report:\n    def build(self, kind='daily'):\n        return kind\n"
EAGER = "from bgjobd.core import trials; trials._FIRST_PAUSE = 0.5"
SETTINGS = """\
"reports.Report" = {}
[schedules]
good = { job = "reports.Report::build", every = "1s", overlap = "allow" }
stale = { job = "broken.Job::run", every = "1s" }
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One for all of these, that has had a refused schedule from its start on."""
    directory = tmp_path_factory.mktemp("refused")
    with daemon(directory, SETTINGS, modules={"reports": CODE}, changes=EAGER) as running:
        # What is refused from a reload on is told apart from what was so before, once that is known.
        eventually(lambda: running.query("SELECT 1 FROM background_jobs WHERE schedule = 'good'"))
        yield running


def told(running: RunningDaemon, text: str) -> list[str]:
    return [line for line in running.lines() if text in line]


def skipped(running: RunningDaemon, name: str) -> list[tuple[str, int]]:
    found = running.query(
        f"SELECT reason, count FROM schedule_occurrences WHERE name = '{name}' AND verdict = 'skipped' ORDER BY at"
    )
    return [(str(reason), int(count)) for reason, count in found]


def test_one_that_was_refused_from_the_start_on_is_told_once_and_stops_no_reload(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        client.reload()
        stats = client.stats()
        assert list(stats["refused_schedules"] or ()) == ["stale"]
        assert stats["schedules"] >= 1
    eventually(
        lambda: [(reason, count > 2) for reason, count in skipped(running, "stale")] == [("refused", True)]
    )
    stale = "schedule stale: "
    for text in ("its occurrences are skipped, for the job is refused", " skipped: "):
        eventually(lambda text=text: [line for line in told(running, stale) if text in line])
        assert len([line for line in told(running, stale) if text in line]) == 1


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ("job = 'reports.Report::gone'", "reports.Report has no approved method gone"),
        ("job = 'elsewhere.Job::run'", "elsewhere.Job is not an approved class"),
        ("job = 'reports.Report::build', parameters = { kin = 1 }", "the parameters do not fit"),
    ],
)
def test_a_reload_that_brings_one_is_refused(running: RunningDaemon, keys: str, reason: str) -> None:
    text = running.config.read_text()
    try:
        running.config.write_text(f"{text}new = {{ {keys}, every = '1h' }}\n")
        with (
            running.client() as client,
            pytest.raises(ReloadFailedError, match=f"the job of schedule new is refused: {reason}"),
        ):
            client.reload()
    finally:
        running.config.write_text(text)
    assert running.query("SELECT name FROM schedules WHERE name = 'new'") == []


def test_a_reload_by_which_one_would_be_refused_leaves_the_old_code_in_charge(running: RunningDaemon) -> None:
    write(running, CODE.replace("build", "make"))
    with running.client() as client:
        with pytest.raises(ReloadFailedError, match="the job of schedule good is refused"):
            client.reload()
        assert client.run_background_job("reports.Report", "build").result(20) == "daily"
    write(running, CODE)


def test_one_whose_class_vanishes_is_told_once_a_reason_and_goes_on_when_it_is_back(
    running: RunningDaemon,
) -> None:
    def failures() -> int:
        return len(told(running, "schedule good: its occurrences are skipped, for the job is refused"))

    write(running, "raise RuntimeError('not today')")
    os.kill(running.fork_server(), signal.SIGKILL)
    eventually(
        lambda: [(reason, count > 1) for reason, count in skipped(running, "good")] == [("refused", True)]
    )
    eventually(failures)
    assert failures() == 1
    write(running, "raise RuntimeError('nor tomorrow')")
    eventually(lambda: "nor tomorrow" in told(running, "schedule good: its")[-1])  # a trial finds it
    assert failures() == 2
    write(running, CODE)
    with running.client() as client:
        client.reload()
    count = len(running.query("SELECT 1 FROM background_jobs WHERE schedule = 'good'"))
    eventually(lambda: len(running.query("SELECT 1 FROM background_jobs WHERE schedule = 'good'")) > count)
    assert failures() == 2


def write(running: RunningDaemon, source: str) -> None:
    """Replace the module at once, for a trial would import half of it; no cache of bytecode takes its time for the
    old one's.
    """
    made = Path(running.directory) / "made"
    made.write_text(source)
    os.utime(made, (1, len(source)))
    made.replace(Path(running.directory) / "reports.py")
