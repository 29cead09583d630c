"""Schedules of a real daemon, as they are shown to callers and as these ask for them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bgjob.client import Client
from bgjob.errors import (
    InvalidParameterError,
    InvalidParametersError,
    MethodNotApprovedError,
    QueueFullError,
    RequestError,
    ScheduleNotFoundError,
)
from bgjobd.api.schedules import count_of_each
from bgjobd.host.clock import to_text
from tests.client.test_commands import Commands
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SCHEDULES = """
[queues.default]
[queues.narrow]
max_pending = 1
[approved."secretive.Job"]
sensitive = ["listed"]
[schedules.nightly]
job = "probes.Probe::echo"
parameters = {{ value = "daily" }}
cron = "30 2 * * 1-5"
zone = "Europe/Berlin"
overlap = "wait"
[schedules.hourly]
job = "probes.Probe::echo"
every = "1h"
missed = "skip"
jitter = "5m"
queue = "narrow"
[schedules.secret]
job = "secretive.Job::run"
parameters = {{ plain = 1, listed = "the canary sings" }}
cron = "@yearly"
[schedules.unknown]
job = "probes.Probe::none"
parameters = {{ value = "another canary" }}
cron = "@daily"
[schedules.unfit]
job = "probes.Probe::echo"
parameters = {{ other = 1 }}
cron = "@daily"
[schedules.chain]
job = "probes.Probe::wait_for"
parameters = {{ path = "{directory}/go", ledger = "{directory}/ledger" }}
every = "1s"
overlap = "wait"
"""
SECRETIVE = """
class Job:
    def run(self, plain, listed):
        pass
"""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("schedules")
    with daemon(
        directory, SCHEDULES.format(directory=directory), modules={"secretive": SECRETIVE}
    ) as running:
        with running.client() as client:
            eventually(lambda: client.stats()["code_version"])  # before it nobody knows what is a secret
        yield running
        (directory / "go").touch()


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def schedule(client: Client, name: str, **given: Any) -> dict[str, Any]:
    return {one["name"]: one for one in client.schedules(**given)}[name]


def test_the_schedules_are_told_by_name_with_what_was_configured(client: Client) -> None:
    names = ["chain", "hourly", "nightly", "secret", "unfit", "unknown"]
    assert [one["name"] for one in client.schedules()] == names
    [nightly] = client.schedules(name="nightly")
    assert nightly | {"next": [], "last": None} == {  # another test makes up for days of it
        "name": "nightly",
        "job": "probes.Probe::echo",
        "parameters": {"value": "daily"},
        "cron": "30 2 * * 1-5",
        "every": None,
        "zone": "Europe/Berlin",
        "description": "At 02:30 on Monday through Friday",
        "missed": "run_once",
        "overlap": "wait",
        "jitter": None,
        "paused_at": None,
        "next": [],
        "last": None,
        "refused": None,
        "uid": None,
        "made_by": None,
    }
    assert schedule(client, "unknown")["last"] is None
    hourly = schedule(client, "hourly")
    assert (hourly["cron"], hourly["every"], hourly["zone"]) == (None, 3600, None)
    assert (hourly["description"], hourly["missed"], hourly["jitter"]) == ("Every hour", "skip", 300)


def test_the_next_occurrences_are_told_in_utc_and_by_the_clocks_of_the_zone(client: Client) -> None:
    assert len(schedule(client, "nightly")["next"]) == 3
    assert schedule(client, "nightly", next=0)["next"] == []
    told = schedule(client, "nightly", next=100)["next"]
    at = [datetime.fromisoformat(one["at"]) for one in told]
    assert len(at) == 100
    assert at == sorted(at)
    assert datetime.now(UTC) < at[0] < datetime.now(UTC) + timedelta(days=4)
    local = [one.astimezone(ZoneInfo("Europe/Berlin")) for one in at]
    assert [f"{one:%a %Y-%m-%d %H:%M %Z}" for one in local] == [one["local"] for one in told]
    assert {f"{one:%H:%M}" for one in local} == {"02:30"}
    with pytest.raises(InvalidParameterError, match="next"):
        client.schedules(next=101)


@pytest.mark.parametrize(
    ("asked", "schedules", "told"),
    [(None, 0, 3), (None, 9999, 3), (0, 5, 0), (100, 100, 100), (100, 200, 50), (5, 1000, 5), (100, 9999, 3)],
)
def test_of_many_schedules_fewer_occurrences_are_told(asked: int | None, schedules: int, told: int) -> None:
    assert count_of_each(asked, schedules) == told


def test_what_an_occurrence_may_not_be_is_told(client: Client) -> None:
    def refusals() -> dict[str, str]:
        return {one["name"]: one["refused"] for one in client.schedules() if one["refused"] is not None}

    eventually(lambda: len(refusals()) > 1)  # they are looked at one after the other
    told = refusals()
    assert sorted(told) == ["unfit", "unknown"]
    assert "has no approved method none" in told["unknown"]
    assert "other" in told["unfit"]


def test_secrets_of_a_schedule_are_shown_to_nobody(client: Client, running: RunningDaemon) -> None:
    told = {one["name"]: one["parameters"] for one in client.schedules()}
    assert told["secret"] == {"plain": 1, "listed": "***"}
    assert told["unknown"] == {"value": "***"}
    job = client.run_schedule("secret")
    job.wait(20)
    shown = [client.schedules(), client.occurrences("secret").items, client.list(schedule="secret").items]
    shown += [client.get(job.id).snapshot, client.logs(id=job.id).items, running.lines()]
    assert "canary" not in str(shown)


def test_a_schedule_is_run_by_hand_paused_or_not(client: Client, running: RunningDaemon) -> None:
    client.pause_schedule("nightly")
    assert schedule(client, "nightly")["paused_at"] is not None
    job = client.run_schedule("nightly")
    assert job.result(20) == "daily"
    told = client.get(job.id).snapshot
    assert (told["schedule"], told["submitted_uid"]) == ("nightly", os.getuid())
    (asked,) = client.occurrences("nightly", limit=1)
    assert asked == schedule(client, "nightly")["last"]
    assert asked | {"dealt_at": ""} == {
        "at": told["occurrence"],
        "until": told["occurrence"],
        "count": 1,
        "verdict": "asked",
        "reason": None,
        "job_id": job.id,
        "dealt_at": "",
        "status": "completed",
    }
    client.resume_schedule("nightly")
    assert schedule(client, "nightly")["paused_at"] is None
    who = f"requested by uid {os.getuid()} (pid {os.getpid()})"
    for what in ("pause of", "resume of", f"run of schedule nightly (job {job.id})"):
        eventually(lambda what=what: [line for line in running.lines() if what in line and who in line])


def test_occurrences_come_in_pages_the_newest_first(client: Client) -> None:
    ids = [client.run_schedule("secret").id for _ in range(5)]
    found, before = [], None
    while True:
        page = client.occurrences("secret", before=before, limit=2)
        assert len(page) <= 2
        found += page.items
        before = page.next
        if before is None:
            break
    assert [one["job_id"] for one in found][:5] == ids[::-1]
    with pytest.raises(InvalidParameterError, match="before"):
        client.occurrences("secret", before="yesterday")


@pytest.mark.parametrize(
    ("name", "refusal"), [("unknown", MethodNotApprovedError), ("unfit", InvalidParametersError)]
)
def test_what_may_not_be_submitted_is_refused_as_a_submit_is(
    client: Client, name: str, refusal: type[RequestError]
) -> None:
    with pytest.raises(refusal):
        client.run_schedule(name)
    assert list(client.occurrences(name)) == []


def test_what_finds_its_queue_full_is_refused(client: Client) -> None:
    client.pause("narrow")
    job = client.run_schedule("hourly")
    with pytest.raises(QueueFullError):
        client.run_schedule("hourly")
    assert [one["job_id"] for one in client.occurrences("hourly")] == [job.id]
    job.cancel()
    assert [one["status"] for one in client.occurrences("hourly")] == ["cancelled"]
    client.resume("narrow")


def test_a_job_that_waits_for_another_of_its_schedule_says_so_until_that_has_ended(
    client: Client, running: RunningDaemon
) -> None:
    blocked = eventually(lambda: client.list(status="blocked", schedule="chain").items)
    runs = eventually(lambda: client.list(status="running", schedule="chain").items)
    assert [(one["is_blocked"], one["schedule"]) for one in blocked + runs] == [
        (True, "chain"),
        (False, "chain"),
    ]
    first, second = client.get(runs[0]["id"]), client.get(blocked[0]["id"])
    assert second.snapshot["is_blocked"]
    sentence = (
        f"job {second.id} waits for job {first.id} of schedule chain, which runs; schedule chain submitted"
    )
    assert second.why().startswith(sentence)

    def latest() -> dict[str, Any]:
        return client.occurrences("chain", limit=1).items[0]

    eventually(lambda: latest()["count"] > 1)  # in one row
    assert (latest()["reason"], latest()["job_id"], latest()["status"]) == ("overlap", first.id, None)
    assert len(client.list(status="pending", schedule="chain").items) == 1
    client.pause_schedule("chain")
    (running.directory / "go").touch()
    assert [job.result(20) for job in (first, second)] == ["waited", "waited"]
    assert not client.get(second.id).snapshot["is_blocked"]
    by_id = {one["job_id"]: one for one in client.occurrences("chain") if one["verdict"] == "submitted"}
    assert [by_id[job.id]["status"] for job in (first, second)] == ["completed", "completed"]


def test_the_command_asks_for_the_same(client: Client, running: RunningDaemon) -> None:
    commands = Commands(running.socket)
    assert commands.json("schedules", "nightly")["schedules"] == [schedule(client, "nightly")]
    assert "At 02:30 on Monday through Friday" in commands.run("schedules").stdout
    job_id = int(commands.run("schedule", "run", "secret").stdout)
    assert commands.json("list", "--schedule", "secret")["jobs"][0]["id"] == job_id
    assert commands.json("occurrences", "secret", "--limit", "1")["occurrences"][0]["job_id"] == job_id
    assert "secret, for" in commands.run("show", str(job_id)).stdout
    assert commands.json("schedule", "pause", "secret") == {"schedule": "secret"}
    assert schedule(client, "secret")["paused_at"] is not None
    assert commands.json("schedule", "resume", "secret") == {"schedule": "secret"}
    assert schedule(client, "secret")["paused_at"] is None
    refused = commands.run("schedule", "run", "unknown")
    assert (refused.returncode, refused.stdout) == (77, "")


def test_an_unknown_schedule_is_named(client: Client) -> None:
    asked = [client.run_schedule, client.pause_schedule, client.resume_schedule, client.occurrences]
    for ask in [*asked, lambda name: client.schedules(name=name)]:
        with pytest.raises(ScheduleNotFoundError, match=r"^there is no schedule weekly$"):
            ask("weekly")


def test_of_a_schedule_that_is_gone_the_past_is_told_and_a_pause_outlives_the_daemon(tmp_path: Path) -> None:
    once = '[schedules.once]\njob = "probes.Probe::echo"\ncron = "@yearly"\n'
    with daemon(tmp_path, once) as running, running.client() as client:
        job = client.run_schedule("once")
        configured = running.config.read_text()
        running.config.write_text(configured.replace("schedules.once", "schedules.anew"))
        client.reload()
        client.pause_schedule("anew")  # at once
        assert [(one["name"], one["paused_at"] is None) for one in client.schedules()] == [("anew", False)]
        assert [one["job_id"] for one in client.occurrences("once")] == [job.id]
        with pytest.raises(ScheduleNotFoundError):
            client.run_schedule("once")
        paused = schedule(client, "anew")
        running.stop()
        running.start()
        assert schedule(client, "anew")["paused_at"] == paused["paused_at"]


def test_a_backfill_makes_jobs_of_hours_that_had_none(client: Client) -> None:
    eventually(lambda: client.stats()["code_version"])
    since, until = "2020-01-01T00:00:00Z", datetime(2020, 1, 1, 9, 30, tzinfo=UTC)
    asked = {"name": "nightly", "since": since, "until": until + timedelta(days=7)}
    assert client.backfill(**asked, check_only=True) == (6, [])
    made = client.backfill(**asked, spread=timedelta(days=1000))
    assert made.occurrences == len(made.ids) == 6
    first = client.get(made.ids[0]).snapshot
    assert (first["schedule"], first["occurrence"]) == ("nightly", "2020-01-01T01:30:00.000000Z")
    assert client.get(made.ids[5]).snapshot["scheduled_at"] > to_text(time.time() + 86_400)
    assert client.backfill(**asked) == (0, [])
    told = client.occurrences("nightly", before="2021-01-01T00:00:00Z").items
    assert {one["verdict"] for one in told} == {"backfilled"}
    client.cancel(*made.ids[1:])


def test_the_command_prints_the_id_of_each_job_of_a_backfill(running: RunningDaemon, client: Client) -> None:
    commands = Commands(running.socket)
    asked = (
        "schedule",
        "backfill",
        "nightly",
        "--from",
        "2019-01-01",
        "--to",
        "2019-01-04",
        "--spread",
        "300d",
    )
    printed = commands.run(*asked, "--yes").stdout.splitlines()
    assert len(printed) == 3
    client.cancel(*map(int, printed[1:]))


def test_a_backfill_ends_with_what_is_to_come(client: Client) -> None:
    now = datetime.now(UTC)
    assert client.backfill("hourly", now, now + timedelta(days=300), check_only=True) == (0, [])
    with pytest.raises(InvalidParametersError, match="until: more than 10,000 occurrences"):
        client.backfill("hourly", "2020-01-01T00:00:00Z", now, check_only=True)
    with pytest.raises(MethodNotApprovedError):
        client.backfill("unknown", now, now)
