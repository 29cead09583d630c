"""`bgjob settle`, and what the other commands tell of a job for review."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest

from bgjob import Client
from tests.client.test_commands import Commands
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

MODULE = """
import os, signal
import bgjob


class Pay:
    def charge(self, order: int, context: bgjob.JobContext) -> str:
        print("to the bank")
        return context.step("it's paid", kill, order)

    def plain(self) -> None:
        kill(0)


def kill(order: int) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "never"
"""
SETTINGS = """
"pay.Pay" = { unknown = "review", retry_lost = false, max_retries = 0, crashes = false }  # else they hold the class
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("settle"), SETTINGS, modules={"pay": MODULE}) as running:
        yield running


@pytest.fixture(scope="module")
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def commands(running: RunningDaemon) -> Commands:
    return Commands(running.socket)


def for_review(client: Client, method: str = "plain", **given: int) -> int:
    job = client.run_background_job("pay.Pay", method, given)
    job.wait(30)
    return job.id


@pytest.mark.parametrize(
    ("said", "told", "status", "result", "error"),
    [
        (["--completed"], "it has completed", "completed", None, None),
        (["--completed", '{"id": 7}'], "it has completed", "completed", {"id": 7}, None),
        (["--completed", "-"], "it has completed", "completed", [1], None),
        (["--failed"], "it has failed", "failed", None, "signalled: the process was ended by signal 9"),
        (["--failed", "--why", "no money"], "it has failed", "failed", None, "no money"),
    ],
)
def test_a_person_says_what_a_job_did(
    client: Client,
    commands: Commands,
    said: list[str],
    told: str,
    status: str,
    result: object,
    error: str | None,
) -> None:
    job_id = for_review(client)
    done = commands.run("settle", str(job_id), *said, given="[1]")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"bgjob: job {job_id} is settled: {told}\n"
    job = client.get(job_id).snapshot
    assert (job["status"], job["result"], job["error"]) == (status, result, error)
    assert commands.run("show", str(job_id)).stdout.count(f" by uid {os.geteuid()}\n") == 1


def test_a_step_is_said_to_have_taken_effect(client: Client, commands: Commands) -> None:
    job_id = for_review(client, "charge", order=7)
    assert commands.json("settle", str(job_id), "--step", "it's paid", '"card"') == {"id": job_id}
    assert client.wait(job_id, 30)["result"] == "card"
    told = commands.run("show", str(job_id), "--steps").stdout
    assert f"settled by uid {os.geteuid()}" in told
    other = for_review(client, "charge", order=8)
    assert commands.run("settle", str(other), "--step", "it's paid").returncode == 0
    assert client.wait(other, 30)["result"] is None


def test_a_misspelt_step_is_not_settled_while_another_began_and_would_run_again(
    client: Client, commands: Commands
) -> None:
    job_id = for_review(client, "charge", order=9)
    refused = commands.run("settle", str(job_id), "--step", "its paid", '"card"')
    assert (refused.returncode, refused.stderr) == (
        77,
        f"bgjob: nothing is settled: step it's paid of job {job_id} began and has no record, and would run "
        "again; is it meant, and not its paid? --anyway says that it is not\n",
    )
    assert client.get(job_id).snapshot["settled_at"] is None
    assert commands.run("settle", str(job_id), "--step", "its paid", "--anyway").returncode == 0
    assert "settled by uid" in commands.run("show", str(job_id), "--steps").stdout


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        ([], 2, "one of the arguments --completed --failed --step is required"),
        (["--completed", "--failed"], 2, "not allowed with argument"),
        (["--step", "a", "1", "2"], 2, "a name is wanted, and at most one result"),
        (["--step", "a", "{"], 2, "no JSON in the argument"),
        (["--completed", "--why", "so it is"], 77, "a text is wanted of up to 10,000 characters"),
        (["--step", ""], 77, "a step is wanted that is not finished, by its name"),
    ],
)
def test_what_says_nothing_is_refused(
    client: Client, commands: Commands, said: list[str], code: int, told: str
) -> None:
    done = commands.run("settle", str(for_review(client)), *said)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr


def test_what_is_not_for_review_is_refused(client: Client, commands: Commands) -> None:
    job = client.run_background_job("probes.Probe", "echo", {"value": 1})
    job.wait(30)
    done = commands.run("settle", str(job.id), "--failed")
    assert (done.returncode, done.stderr) == (
        77,
        f"bgjob: job {job.id} is completed, and not for review: there is nothing to settle; "
        f"`bgjob show {job.id}` has more\n",
    )
    assert commands.run("settle", "99999", "--failed").returncode == 4


def test_a_job_for_review_does_not_run_again_before_it_is_settled(client: Client, commands: Commands) -> None:
    job_id = for_review(client)
    done = commands.run("again", str(job_id))
    assert (done.returncode, done.stderr) == (
        77,
        f"bgjob: job {job_id} is failed, for review; only jobs that have ended can run again; "
        "of one for review `bgjob settle` says first what it did\n",
    )


def test_who_waits_ends_with_1_and_is_told_what_comes_next(client: Client, commands: Commands) -> None:
    done = commands.run("run", "pay.Pay::plain", "-w")
    (job_id,) = [one["id"] for one in client.list(limit=1)]
    told = (
        f"job {job_id} failed, for review: signalled: the process was ended by signal 9, and what it did nobody knows; "
        f"`bgjob show {job_id}` has what is known, `bgjob settle {job_id}` says what it did\n"
    )
    assert (done.returncode, done.stderr.endswith(told)) == (1, True), done.stderr
    done = commands.run("wait", str(job_id))
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        f"{job_id} failed\n",
        f"bgjob: {told}",
    )


def test_a_job_for_review_is_called_so_and_shows_what_one_needs(client: Client, commands: Commands) -> None:
    job_id = for_review(client, "charge", order=7)
    (step,) = client.steps(job_id).steps
    shown = commands.run("show", str(job_id)).stdout
    assert "status      failed, for review\n" in shown
    for line in (
        f"  step it's paid began in attempt 1, and has no record; its token is {step['token']}\n",
        f"  bgjob output {job_id}  ",
        f"  bgjob settle {job_id} --completed JSON  ",
        f"  bgjob settle {job_id} --failed --why TEXT  ",
        f"""  bgjob settle {job_id} --step 'it'"'"'s paid' JSON  """,
        f"  bgjob retry {job_id}  ",
    ):
        assert line in shown
    assert "--step" not in commands.run("show", str(for_review(client))).stdout
    assert json.loads(commands.run("show", str(job_id), "--json").stdout)["review_since"] is not None
    for listed in (commands.run("list", "--status", "review"), commands.run("list", "--status", "failed")):
        assert f"{job_id}  failed, for review  " in listed.stdout
    count = client.stats()["review"]
    assert f" failed ({count} for review), " in commands.run("stats").stdout
    assert "unknown ends for review" in commands.run("classes", "pay.Pay").stdout
    assert eventually(lambda: commands.run("why", str(job_id)).stdout).endswith(f"bgjob settle {job_id}\n")
