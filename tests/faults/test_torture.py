"""The torture in short, with a fixed seed: `./run torture --seconds 600` is the long form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.daemon import warm
from tests.faults.torture import followers
from tests.faults.torture.course import torture
from tests.faults.torture.killer import Deed, Done, Killer
from tests.faults.torture.mourning import Hook, findings
from tests.faults.torture.site_course import Course, torture_hosts
from tests.faults.torture.station import Station
from tests.faults.torture.submitters import Submitters


@pytest.mark.timeout(240)  # seconds, unless all is busy; then it has a settling to wait for
def test_a_daemon_whose_processes_are_killed_at_random_loses_nothing_and_runs_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Station, "_spawn", forked)
    assert torture(tmp_path, seconds=4.0, seed=5, is_enough=is_enough).findings == ()


def forked(station: Station) -> warm.Process:
    """A daemon that has its imports behind it: by half of the time's work they would be over."""
    environ = os.environ | {"BGJOBD_DAEMON__AT_STOP": next(station._at_stop)}
    with (station.directory / "console").open("ab") as console:
        streams = {"stdout": console.fileno(), "stderr": console.fileno()}
        return warm.Process(["serve", "--config", str(station.config)], environ, **streams)


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


def test_a_hook_that_was_owed_ran_once_its_host_had_said_so_or_the_host_was_struck_then() -> None:
    struck = [Done(Deed.KILL_DAEMON, 1000.0)]
    hooks = [
        Hook((1, 1), "web1", 500.0),
        Hook((2, 1), "web1", None),
        Hook((3, 1), "web1", 500.0),
        Hook((4, 2), "web1", 990.0),
    ]
    assert list(findings(hooks, {(1, 1), (5, 1)}, lambda host: struck)) == [
        "job 2, attempt 1: its failed hook, which web1 owes, was not called",
        "job 3, attempt 1: its failed hook, which web1 owes, was to be called, and did not run",
        "job 5, attempt 1: its failed hook ran, and nobody had said that it would",
    ]


def test_who_follows_is_to_be_told_of_what_is_stored_alone() -> None:
    told = {"web1": [(1, 7), (2, 7), (3, 7), (5, 8)], "web2": [(1, 7), (4, 7), (5, 8)]}
    assert list(followers.findings(told, {1, 3, 4, 5})) == [
        "log entry 4 of job 7: who follows at web1 was not told of it",
        "log entry 3 of job 7: who follows at web2 was not told of it",
    ]
