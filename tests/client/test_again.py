"""Jobs that run again as others, or from the start: clients and commands, with a daemon that all tests share."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

import bgjob
from bgjob import AsyncClient, AsyncJob, Client, Job
from bgjob.errors import (
    DuplicateError,
    IdempotencyConflictError,
    InvalidParameterError,
    InvalidParametersError,
    InvalidStateError,
    JobNotFoundError,
    NotApprovedError,
    PermissionDeniedError,
    StepNotFoundError,
)
from tests.client.test_commands import Commands
from tests.daemon.running import RunningDaemon, daemon
from tests.daemon.test_access import NOBODY, as_root, somebody_else
from tests.support import eventually

MODULE = """
from pathlib import Path

import bgjob


class Order:
    def ship(self, order: int, context: bgjob.JobContext, secret: str = "", broken: bool = False) -> list[str]:
        token = context.step("charge", context.token, "charge")
        packed = context.wait_for("packed")
        context.step("label", str, packed)
        if broken:
            raise ValueError(f"order {order}")
        context.step("mail", self._note, order)
        return [token, context.token("charge"), secret]

    def _note(self, order: int) -> None:
        pass


class Secret(Order):
    pass


class Other(Order):
    pass
"""
SOON, LATER = "2034-12-04T14:31:53Z", "2035-12-04T14:31:53Z"
SETTINGS = f"""
"shop.Order" = {{ max_retries = 0, unique = ["order"], key = "order" }}
"shop.Secret" = {{ max_retries = 0, sensitive = ["secret"] }}
"shop.Other" = {{}}
[access]
submit = ["{NOBODY}"]
manage = []
read = ["{NOBODY}"]
[schedules]
nightly = {{ job = "shop.Secret::ship", every = "1h", parameters = {{ order = 1 }} }}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(
        tmp_path_factory.mktemp("again"), SETTINGS, modules={"shop": MODULE}, has_pydantic=True
    ) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


def ended(client: Client, order: int, class_name: str = "shop.Order", **given: Any) -> Job[Any]:
    """A job that has shipped, or failed before it mailed."""
    options = {"priority": 3, "timeout": 60.0}
    job = client.run_background_job(class_name, "ship", {"order": order, **given}, **options)
    job.signal("packed", {"parcels": 2})
    job.wait(20)
    return job


def names(job: Job[Any]) -> list[str]:
    return [step["name"] for step in job.steps().steps if step["number"] is not None]


def test_what_has_ended_runs_again_with_its_options_and_secrets(client: Client) -> None:
    job = ended(client, 1, "shop.Secret", secret="s3cret")
    other = job.again()
    other.signal("packed", 1)
    token, own, secret = other.result(20)
    assert (token == own, secret) == (True, "s3cret")
    told, before = other.refresh(), job.refresh()
    assert told["parameters"] == {"order": 1, "secret": "***"}
    same = ("queue", "priority", "timeout", "max_retries", "retry_delay", "unique_key", "key")
    assert [told[name] for name in same] == [before[name] for name in same]
    assert (told["again_of"], before["again_of"]) == (job.id, None)
    assert [one["id"] for one in client.list(again_of=job.id)] == [other.id]
    assert token != job.result()[0], "each job has tokens of its own"


def test_it_goes_on_from_a_step_with_other_parameters_and_the_keys_of_those(client: Client) -> None:
    job = ended(client, 2, broken=True)
    assert names(job) == ["charge", "packed", "label"]
    other = client.again(job.id, {"order": 3, "broken": False}, from_step="label")
    token, own, _ = other.result(20)
    assert token == job.steps().steps[0]["result"] != own
    assert names(other) == ["charge", "packed", "label", "mail"]
    assert [step["attempt"] for step in other.steps().steps] == [0, 0, 1, 1]
    told, before = other.refresh(), job.refresh()
    assert told["parameters"] == {"order": 3, "broken": False}
    assert (told["key"], before["key"]) == ("3", "2")
    assert told["unique_key"] != before["unique_key"]


def test_time_ties_and_schedule_stay_with_the_other_job(client: Client) -> None:
    before = bgjob.job("shop.Other", "ship", {"order": 1})
    after = bgjob.job("shop.Other", "ship", {"order": 1}, after=[before], at=SOON, expires_at=LATER)
    job = client.submit_flow(bgjob.group(before, after))[after]
    job.cancel()
    scheduled = client.run_schedule("nightly")
    occurrence = scheduled.refresh()["occurrence"]
    scheduled.cancel()
    scheduled.wait(20)
    for other in (job.again(), scheduled.again()):
        told = other.refresh()
        names = ("schedule", "group_id", "if_failed", "expires_at", "scheduled_at")
        assert {told[name] for name in names} == {None}
        assert told["waits_for"] == 0
        other.cancel()
    assert occurrence is not None
    assert told["occurrence"] == occurrence


def test_asyncio_asks_for_the_same(client: Client, running: RunningDaemon) -> None:
    job = ended(client, 4, broken=True)

    async def go_on() -> tuple[int, int]:
        async with AsyncClient(str(running.socket)) as asking:
            handle: AsyncJob[Any] = await asking.get(job.id)
            other = await handle.again({"broken": False}, from_step="label")
            await other.wait(20)
            await handle.retry(from_start=True)
            await handle.wait(20)
            return other.id, (await asking.again(job.id, idempotency_key="async")).id

    first, second = asyncio.run(go_on())
    assert names(client.get(first)) == ["charge", "packed", "label", "mail"]
    assert client.get(key="async").id == second
    client.cancel(second)


def test_a_retry_from_the_start_does_all_again_with_another_token_and_the_signals_it_got(
    client: Client,
) -> None:
    job = ended(client, 5, broken=True)
    (before, packed, *_) = job.steps().steps
    job.retry(from_start=True)
    job.wait(20)
    (after, anew, *_) = job.steps().steps
    assert (before["name"], before["token"] == before["result"]) == ("charge", True)
    assert (after["token"] == after["result"], after["token"] == before["token"]) == (True, False)
    assert packed["result"] == anew["result"] == {"parcels": 2}
    assert [one["taken_by"] for one in job.steps().signals] == ["packed 1"]
    job.retry()
    job.wait(20)
    assert job.steps().steps[0] == after, "a retry alone keeps what was done"


def test_what_cannot_run_again_is_refused_as_a_submit_is(client: Client) -> None:
    job = ended(client, 6, broken=True)
    pending = client.run_background_job("shop.Order", "ship", {"order": 7}, delay=3600.0)
    with pytest.raises(InvalidStateError):
        pending.again()
    with pytest.raises(DuplicateError) as held:
        job.again({"order": 7})
    assert held.value.parameters == {"id": pending.id}
    with pytest.raises(InvalidParametersError, match="order"):
        job.again({"order": "x"})
    with pytest.raises(StepNotFoundError, match="has finished no step mail"):
        job.again(from_step="mail")
    with pytest.raises(InvalidParameterError):
        job.again(from_step="")
    with pytest.raises(JobNotFoundError):
        client.again(10**9)
    assert client.list(again_of=job.id).items == []
    pending.cancel()


def test_what_was_a_secret_is_one_still_though_the_configuration_says_so_no_more(
    client: Client, running: RunningDaemon
) -> None:
    job = ended(client, 7, "shop.Secret", secret="s3cret")
    settings = running.config.read_text()
    running.config.write_text(settings.replace(', sensitive = ["secret"]', ""))
    client.reload()
    try:
        with pytest.raises(InvalidParametersError, match="secret: does not fit") as misfit:
            job.again({"secret": ["very s3cret"]})
        assert "s3cret" not in str(misfit.value)
        other = job.again()
        assert other.refresh()["parameters"]["secret"] == "***"
        other.cancel()
    finally:
        running.config.write_text(settings)
        client.reload()


def test_a_key_gives_the_same_job_again(client: Client) -> None:
    job = ended(client, 8)
    other = job.again({"order": 9}, idempotency_key="again-8")
    assert job.again({"order": 9}, idempotency_key="again-8").id == other.id
    with pytest.raises(IdempotencyConflictError):
        job.again({"order": 10}, idempotency_key="again-8")
    other.cancel()
    assert job.again({"order": 9}, idempotency_key="again-8").id == other.id


@as_root
def test_it_runs_again_for_its_submitter_and_who_may_manage(
    client: Client, running: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.socket.chmod(0o666)
    running.directory.chmod(0o711)
    monkeypatch.chdir(running.directory)  # the way to it is closed to others
    job = ended(client, 11)
    with somebody_else(), Client(running.socket.name, timeout=20.0) as other:
        for asked in ({}, {"order": "no order"}):
            with pytest.raises(PermissionDeniedError, match="another user's"):
                other.again(job.id, asked)
        own = ended(other, 12)
        assert own.again().refresh()["submitted_uid"] == NOBODY
        with pytest.raises(PermissionDeniedError, match=r"\[access\] manage"):
            own.retry(from_start=True)
    assert [one["id"] for one in client.list(again_of=job.id)] == []
    (again,) = client.list(again_of=own.id)
    client.cancel(again["id"])
    client.wait(again["id"], 20)
    assert client.again(own.id).refresh()["submitted_uid"] == 0


def test_a_class_that_is_approved_no_more_does_not_run_again(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job("shop.Other", "ship", {"order": 1})
    job.cancel()
    settings = running.config.read_text()
    running.config.write_text(settings.replace('"shop.Other" = {}\n', ""))
    client.reload()
    try:
        with pytest.raises(NotApprovedError):
            job.again()
    finally:
        running.config.write_text(settings)
        client.reload()


# Commands


def test_commands_run_jobs_again_and_from_the_start(client: Client, commands: Commands) -> None:
    job = ended(client, 20, broken=True)
    done = commands.run("again", str(job.id), "-p", "broken=false", "--from-step", "label", "-w")
    assert done.returncode == 0, done.stderr
    (other,) = [one["id"] for one in client.list(again_of=job.id)]
    assert done.stderr == f"bgjob: job {other} submitted; waiting for its end\n"
    third = commands.json("again", str(job.id), "--key", "again-20")["id"]
    assert commands.run("again", str(job.id), "--idempotency-key", "again-20").stdout == f"{third}\n"
    assert re.search(rf"^again as +{third}, {other}$", commands.run("show", str(job.id)).stdout, re.M)
    assert re.search(rf"^again of +job {job.id}$", commands.run("show", str(other)).stdout, re.M)
    listed = commands.json("list", "--again-of", str(job.id))["jobs"]
    assert [one["id"] for one in listed] == [third, other]
    client.cancel(third)
    done = commands.run("retry", str(job.id), "--from-start")
    told = f"bgjob: job {job.id} is to run again from the start; `bgjob wait {job.id}` waits for the end\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert eventually(lambda: client.get(job.id).snapshot["status"] == "failed")
    done = commands.run("again", str(job.id), "--from-step", "mail")
    hint = f"`bgjob show {job.id} --steps` has those it has"
    assert (done.returncode, done.stderr) == (4, f"bgjob: job {job.id} has finished no step mail; {hint}\n")
    done = commands.run("again", str(job.id), "--timeout", "5")
    assert (done.returncode, "needs -w or -f" in done.stderr) == (2, True)


def test_the_log_tells_who_has_a_job_run_again(client: Client, running: RunningDaemon) -> None:
    job = ended(client, 21)
    other = job.again(from_step="label")
    other.wait(20)
    told = [entry["message"] for entry in client.logs(id=job.id, after=0)]
    assert told[-1].startswith(f"Background job runs again as {other.id}, by uid ")
    told = [entry["message"] for entry in client.logs(id=other.id, after=0)]
    assert told[1] == f"Background job is again of {job.id}, from step label; 2 steps are done"
    (number,) = running.query(f"SELECT carries FROM background_jobs WHERE id = {other.id}")[0]
    assert number == 1
