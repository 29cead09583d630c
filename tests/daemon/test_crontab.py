"""What `bgjobd schedules --from-crontab` makes of a crontab's lines: schedules, or what else they would need."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from bgjobd.commands.crontab import drafted
from bgjobd.config import loading
from tests.daemon import warm


def schedules(text: str, zone: str = "UTC", has_users: bool = False) -> dict[str, Any]:
    whole = tomllib.loads("\n".join(drafted(text, zone, has_users)))
    found: dict[str, Any] = whole.get("schedules", {})
    return found


def notes(text: str, has_users: bool = False) -> str:
    return "\n".join(line for line in drafted(text, "UTC", has_users) if line.startswith("#   "))


def test_a_line_that_calls_bgjob_becomes_a_schedule() -> None:
    line = (
        "30 2 * * 1-5 /srv/bgjobd/bin/bgjob run myapp.jobs.DailyReport::build_all -p kind=daily -p n=2 "
        "--priority 3 --attempt-timeout 10m --max-retries 1 --retry-delay 1.5 --backoff exponential"
    )
    assert schedules(line) == {
        "daily-report-build-all": {
            "job": "myapp.jobs.DailyReport::build_all",
            "parameters": {"kind": "daily", "n": 2},
            "cron": "30 2 * * 1-5",
            "missed": "skip",
            "overlap": "allow",
            "priority": 3,
            "timeout": 600,
            "max_retries": 1,
            "retry_delay": 1.5,
            "backoff": "exponential",
        }
    }


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("cd /srv/myapp && bgjob run a.B::c -p x=1", {"x": 1}),
        ("BGJOBD_SOCKET=/run/s.sock python3 -m bgjob run a.B::c >/dev/null 2>&1", None),
        ('bgjob run a.B::c -p msg="a > b" >> /var/log/x.log', {"msg": "a > b"}),
        (
            'bgjob run a.B::c --parameters \'{"a": [true, {"b c": "\\"é\\u007f"}]}\'',
            {"a": [True, {"b c": '"é\x7f'}]},
        ),
        ("bgjob run a.B::c -p share=50\\%", {"share": "50%"}),
        ("/bin/sh -c 'cd /srv/myapp && bgjob run a.B::c -p share=50\\%' >/dev/null", {"share": "50%"}),
        ("cd /srv && ionice -c 3 bash -c 'bgjob run a.B::c'", None),
        ('bgjob run a.B::c --parameters \'{"\U0001f600": "a\x85b"}\'', {"\U0001f600": "a\x85b"}),
    ],
)
def test_what_a_shell_does_around_the_call_makes_no_difference(
    command: str, parameters: dict[str, Any] | None
) -> None:
    (found,) = schedules(f"@midnight {command}").values()
    assert (found["job"], found["cron"], found.get("parameters")) == ("a.B::c", "@daily", parameters)


def test_times_are_on_the_clocks_of_the_machine_or_of_the_zone_that_is_named() -> None:
    text = "0 1 * * * bgjob run a.B::c\nCRON_TZ='America/New_York'\n0 1 * * * bgjob run a.B::c\n"
    found = schedules(text, zone="Europe/Berlin")
    assert {name: one["zone"] for name, one in found.items()} == {
        "b-c": "Europe/Berlin",
        "b-c-2": "America/New_York",
    }
    (unknown,) = [line for line in drafted(text, None) if "nobody knows by name" in line]
    assert unknown.startswith("# ")


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("MAILTO=ops@example.com", "[app] on_failure"),
        ("PATH = /usr/bin", "no shell runs it"),
        ("FOO=bar", "[app] env"),
        ("0 4 * * * ./manage.py clearsessions", "calls no `bgjob run`; needs a class's method"),
        ("0 4 * * * bgjob reload", "calls no `bgjob run`, and only that makes jobs"),
        ("0 4 * * * bgjob --socket /s completion --words jobs run", "calls no `bgjob run`, and only that"),
        ('0 4 * * * bgjob run a.B::c -p "day=$(date +\\%F)"', "JobContext.occurrence"),
        ("0 4 * * * bgjob run a.B::c -p day=`date`", "JobContext.occurrence"),
        ("0 4 * * * sh -c 'bgjob run a.B::c' | mail me", "does more than call `bgjob run` (|)"),
        ("0 4 * * * sh -c 'date; true' bgjob-x", "calls no `bgjob run`; needs a class's method"),
        ("0 4 * * * bgjob run a.B::c | mail me", "does more than call `bgjob run` (|)"),
        (
            "0 4 * * * sleep $((RANDOM \\% 9)); bgjob run a.B::c",
            "(;); needs one method that does all of it; for a sleep",
        ),
        ("0 4 * * * bgjob run a.B::c --parameters @/srv/x.json", "reads its parameters from @/srv/x.json"),
        ("0 4 * * * bgjob run a.B::c --parameters -%{}", "feeds the command by %"),
        ("0 4 * * * bgjob run a.B::c -p x=null", "a parameter that is null"),
        ("0 4 * * * bgjob run a.B::c 'oops", "No closing quotation"),
        ("0 4 * * * bgjob run a.B", "'a.B' is not CLASS::METHOD"),
        ("0 25 * * * bgjob run a.B::c", 'cron: hour 25 of 0 to 23 in "0 25 * * *"; such as "0 2 * * *"'),
        ("@reboot bgjob run a.B::c", "is a unit of systemd's"),
        ("0 4 * *", "is no line of a crontab, which has times and a command"),
    ],
)
def test_of_each_other_line_it_is_said_what_it_would_need(line: str, note: str) -> None:
    assert schedules(line) == {}
    assert note in notes(line)


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("flock -n /run/lock/x bgjob run a.B::c", "left out: flock -n /run/lock/x: overlap says"),
        ("timeout 60 nice -n 10 bgjob run a.B::c", "left out: timeout 60: timeout, a key"),
        ("timeout 60 nice -n 10 bgjob run a.B::c", "left out: nice -n 10: nice, a key of the class"),
        ("su -c 'flock /run/l bgjob run a.B::c' www-data", "left out: su www-data: user, a key of the class"),
        ("su -c 'flock /run/l bgjob run a.B::c' www-data", "left out: flock /run/l: overlap says"),
        ("chronic bgjob run a.B::c", "left out: chronic: a job is called by no other command"),
        ("root bgjob run a.B::c", "; --with-users is for crontabs whose lines name a user"),
        ("bgjob run a.B::c -w --timeout 30 --json", "left out: --timeout: nobody waits for it"),
        ("bgjob run a.B::c -w --timeout 30 --json", "left out: --json: nobody reads"),
        (
            'bgjob run a.B::c --key "c-$(date +\\%F)"',
            "left out: --idempotency-key: an occurrence becomes one job",
        ),
        ("bgjob --socket /run/s.sock run a.B::c -w", "left out: --wait"),
    ],
)
def test_what_means_nothing_in_a_schedule_is_left_out_and_told(command: str, note: str) -> None:
    assert list(schedules(f"0 4 * * * {command}")) == ["b-c"]
    assert note in notes(f"0 4 * * * {command}")


@pytest.mark.parametrize(
    ("before", "overlap"),
    [
        ("", "allow"),
        ("nice -n 10 ", "allow"),
        ("flock -n /run/l ", "skip"),
        ("nice /usr/bin/flock -xw10 /run/l ", "skip"),
        ("flock /run/l ", "wait"),
    ],
)
def test_what_a_line_does_with_a_missed_time_or_a_slow_job_its_schedule_does(
    before: str, overlap: str
) -> None:
    (found,) = schedules(f"0 4 * * * {before}bgjob run a.B::c").values()
    assert (found["missed"], found["overlap"]) == ("skip", overlap)
    head = "\n".join(drafted("", "UTC"))
    assert "what is missed does not run, and a job runs beside one that has not ended" in head


def test_the_users_column_is_read_where_there_is_one() -> None:
    line = "0 4 * * * www-data bgjob run a.B::c"
    assert list(schedules(line, has_users=True)) == ["b-c"]
    assert "left out: as www-data: user, a key of the class" in notes(line, has_users=True)
    assert "--with-users" not in notes("0 4 * * * root chronic bgjob run a.B::c", has_users=True)


def test_a_draft_of_a_file_can_be_loaded_and_nothing_of_a_line_moves_the_terminal(tmp_path: Path) -> None:
    crontab = tmp_path / "crontab"
    crontab.write_text("# nightly\n0 2 * * * bgjob run a.B::c -p x='\x1b[2J'\n0 3 * * * echo \x1b[2J\n")
    done = warm.run(["schedules", "--from-crontab", str(crontab)])
    assert (done.returncode, "\x1b" in done.stdout) == (0, False)
    (tmp_path / "bgjobd.toml").write_text(done.stdout)
    config = loading.load(tmp_path / "bgjobd.toml", {}, is_root=False)
    assert config.schedules["b-c"].parameters == {"x": "\x1b[2J"}
    missing = warm.run(["schedules", "--from-crontab", str(tmp_path / "none")])
    assert (missing.returncode, "No such file" in missing.stderr) == (1, True)
