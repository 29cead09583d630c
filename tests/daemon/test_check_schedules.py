"""What is told of schedules before a daemon has them: by `bgjobd check`, and by `bgjobd schedules`."""

from __future__ import annotations

import json
import os
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from bgjobd.commands import check as checking
from bgjobd.commands import check_schedules
from bgjobd.commands.check import Checked
from bgjobd.config import loading, sections
from tests.daemon import warm
from tests.daemon.running import RunningDaemon

REPORT = """
[schedules.report]
job = "probes.Probe::echo"
cron = "30 2 * * 1-5"
zone = "Europe/Berlin"
"""


def config_of(directory: Path, text: str) -> sections.Config:
    file = directory / "bgjobd.toml"
    file.write_text(text)
    return loading.load(file, {}, is_root=False)


def remarks(directory: Path, text: str) -> list[str]:
    return [one.told for one in check_schedules.findings(config_of(directory, text), 0.0)]


def test_check_tells_of_each_schedule_what_it_means_and_when_it_occurs_or_why_it_is_refused(
    tmp_path: Path,
) -> None:
    missing = '[schedules.gone]\njob = "probes.Probe::gone"\nevery = "15m"\n'
    running = RunningDaemon(tmp_path, f"{REPORT}{missing}")
    found = checking.check(loading.load(running.config, {}, is_root=os.geteuid() == 0))
    lines = str(found).splitlines()
    at = lines.index(
        "schedule     report: probes.Probe::echo at 02:30 on Monday through Friday (Europe/Berlin)"
    )
    assert all(" 02:30 CE" in line for line in lines[at + 1 : at + 4])
    at = lines.index(
        "refused      schedule gone: probes.Probe has no approved method gone; "
        "`bgjob classes probes.Probe` lists them"
    )
    assert "a reload that brings it fails" in lines[at + 1]
    assert lines[-1].startswith("fit for a start: ")
    assert "1 refused" in lines[-1]
    told = {one["name"]: one for one in json.loads(found.as_json())["schedules"]}
    assert told["gone"]["refused"] is not None
    assert (told["report"]["refused"], len(told["report"]["next"])) == (None, 3)


def test_a_refused_schedule_keeps_the_whole_from_being_well(tmp_path: Path) -> None:
    config = config_of(tmp_path, REPORT)
    planned = checking.schedules.plan(config, 0.0, 1, {"report": "no such class"})
    checked = Checked(None, None, {}, {}, (), False, False, (), planned)
    assert (checked.is_fit, checked.is_whole, checked.conclusion) == (
        True,
        False,
        "fit for a start: 1 refused",
    )


def test_many_occurrences_a_day_are_remarked_on(tmp_path: Path) -> None:
    (told,) = remarks(tmp_path, '[schedules.poll]\njob = "a.B::c"\nevery = "1s"\n')
    assert told.startswith("schedule poll: 86,400 occurrences a day, each a row")
    assert remarks(tmp_path, '[schedules.poll]\njob = "a.B::c"\nevery = "10s"\n') == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (
            'cron = "*/45 * * * *"',
            "minute */45 begins anew with each hour: after 45 comes 0; "
            'where 45m are to lie between, take every = "45m"',
        ),
        (
            'cron = "*/90 * * * *"',
            'minute */90 is 0 alone, once in each hour; where 90m are to lie between, take every = "90m"',
        ),
        (
            'cron = "0 */5 * * *"',
            'hour */5 begins anew with each day: after 20 comes 0; where 5h are to lie between, take every = "5h"',
        ),
        ('cron = "0 0 1 */5 *"', "month */5 begins anew with each year: after 11 comes 1"),
        (
            'cron = "0 0 13 * FRI"',
            "day of the month 13 and day of the week FRI are days that fit either of them; "
            "for those that fit both, write one, and have the job ask for the other",
        ),
        (
            'cron = "* * * * *", jitter = "2h"',
            "its jobs wait by chance up to 7200 s, and 60 s lie between occurrences: "
            "one may find the job before it still waiting; take a jitter below that",
        ),
    ],
)
def test_what_cron_takes_otherwise_than_it_reads_is_remarked_on(
    tmp_path: Path, written: str, told: str
) -> None:
    assert remarks(tmp_path, f'schedules.x = {{ job = "a.B::c", {written} }}') == [f"schedule x: {told}"]


@pytest.mark.parametrize(
    "written",
    [
        'cron = "*/15 */6 * */3 *"',
        'cron = "0 0 13 * *"',
        'cron = "0 0 */31 * 1"',
        'cron = "10-50/15 * * * *"',
        'cron = "@daily", jitter = "2h"',
    ],
)
def test_what_reads_as_it_is_taken_is_not(tmp_path: Path, written: str) -> None:
    assert remarks(tmp_path, f'schedules.x = {{ job = "a.B::c", {written} }}') == []


@pytest.mark.parametrize(
    ("one", "other", "is_remarked"),
    [
        ('cron = "0,30 * * * *"', 'cron = "*/30 * * * *"', True),
        ('cron = "*/30 * * * *"', 'every = "30m"', True),
        ('every = "30m"', 'every = "30m", parameters = { region = "eu" }', False),
        ('cron = "0 2 * * *"', 'cron = "0 2 * * *", zone = "Europe/Berlin"', False),
        ('cron = "0 2 * * *"', 'cron = "0 2 * * 1-5"', False),
    ],
)
def test_two_of_the_same_job_at_the_same_times_are_remarked_on(
    tmp_path: Path, one: str, other: str, is_remarked: bool
) -> None:
    text = f'[schedules]\na = {{ job = "a.B::c", {one} }}\nb = {{ job = "a.B::c", {other} }}\n'
    assert bool(remarks(tmp_path, text)) == is_remarked


def schedules(directory: Path, *words: str) -> tuple[int, str, str]:
    done = warm.run(["schedules", "--config", str(directory / "bgjobd.toml"), *words])
    return done.returncode, done.stdout, done.stderr


def test_the_next_occurrences_are_told_without_a_daemon(tmp_path: Path) -> None:
    config_of(
        tmp_path, f'{REPORT.replace("1-5", "0")}[schedules.often]\njob = "no.such::method"\nevery = "15m"\n'
    )
    code, told, _ = schedules(tmp_path, "report", "--next", "2", "--after", "2027-03-27T12:00:00Z")
    assert code == 0
    assert told.splitlines() == [
        "report: probes.Probe::echo at 02:30 on Sunday (Europe/Berlin)",
        "    Sun 2027-03-28 03:00 CEST: the clock leaves out 02:30 on this day: at the end of the gap",
        "    Sun 2027-04-04 02:30 CEST",
    ]
    _, text, _ = schedules(tmp_path, "--json")
    often, report = json.loads(text)["schedules"]
    assert (often["description"], often["zone"], report["zone"]) == (
        "Every 15 minutes",
        None,
        "Europe/Berlin",
    )
    times = [datetime.fromisoformat(coming["at"]) for coming in often["next"]]
    assert [(late - early).seconds for early, late in pairwise(times)] == [900, 900]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bgjobd.toml"]


def test_what_is_wrong_with_a_configuration_or_a_name_is_told(tmp_path: Path) -> None:
    config_of(tmp_path, REPORT)
    code, _, told = schedules(tmp_path, "repport")
    assert (code, told) == (4, "bgjobd: there is no schedule repport in [schedules], only report\n")
    (tmp_path / "bgjobd.toml").write_text(REPORT.replace("30 2", "30 25"))
    code, _, told = schedules(tmp_path)
    assert code == 2
    assert 'hour 25 of 0 to 23 in "30 25 * * 1-5"; such as "30 2 * * 1-5"' in told
    assert schedules(tmp_path, "--next", "0")[0] == 2
    (tmp_path / "bgjobd.toml").write_text("")
    assert schedules(tmp_path)[:2] == (0, "there are no schedules; describe some under [schedules]\n")
