"""Jobs for review with real processes: killed amid a payment, settled by a person, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from inotify_simple import INotify, flags

from bgjob import AsyncClient, Client
from bgjob.aio import AsyncJob
from bgjob.errors import (
    InvalidParameterError,
    JobFailedError,
    JobForReviewError,
    JobNotFoundError,
    NotForReviewError,
    RequestError,
    TooLargeError,
)
from bgjob.words import MOST_STEP_BYTES
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

PAYING = """
import os, signal, sys, time
from pathlib import Path
import bgjob


class Paying:
    def pay(self, ledger: str, context: bgjob.JobContext, fine: str = "") -> str:
        context.step("ask", note, ledger, "asked")
        paid = context.step("charge", charge, ledger, fine)
        return f"paid by {paid}"

    def end(self, how: str):
        if how == "exit":
            os._exit(3)
        if how == "leave":
            sys.exit(0)
        if how == "raise":
            raise ValueError("no money")
        os.kill(os.getpid(), signal.SIGKILL)

    def wait(self, begun: str):
        Path(begun).write_text(str(os.getpid()))
        time.sleep(600)

    def failed(self, error: bgjob.AttemptError):
        note(os.environ["HOOKS"], f"{error.outcome} {error.message}")


def charge(ledger, fine):
    note(ledger, "charged")
    if not fine or not os.path.exists(fine):
        os.kill(os.getpid(), signal.SIGKILL)
    return "card"


def note(ledger, line):
    with open(ledger, "a") as file:
        print(line, file=file)
"""
TARGET = "paying.Paying"
REVIEW = f'"{TARGET}" = {{ unknown = "review", retry_lost = false, max_retries = 0, crashes = false }}'
"""All that these tests run is killed, which would hold the class."""

DYING = """
import os, signal
from bgjobd.supervisor.supervisor import Supervisor
from bgjobd.daemon.loop import Daemon
from bgjobd.store.items.wishes import JobSettled
DIES = {directory!r}
def dies(when):
    if os.path.exists(os.path.join(DIES, when)):
        os.remove(os.path.join(DIES, when))
        os.kill(os.getpid(), signal.SIGKILL)
on_settled, record = Supervisor.on_settled, Daemon.record
def settled(supervisor, job):
    dies("behind")
    on_settled(supervisor, job)
async def recorded(daemon, item):
    if isinstance(item, JobSettled):
        dies("before")
    return await record(daemon, item)
Supervisor.on_settled, Daemon.record = settled, recorded
"""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("reviews")
    app = f'env = {{ HOOKS = "{directory}/hooks" }}'
    changes = DYING.format(directory=str(directory))
    with daemon(directory, REVIEW, app, modules={"paying": PAYING}, changes=changes) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    (running.directory / "hooks").unlink(missing_ok=True)
    with running.client() as client:
        yield client


def ended(client: Client, how: str = "kill") -> int:
    job = client.run_background_job(TARGET, "end", {"how": how})
    job.wait(30)
    return job.id


def hooks(running: RunningDaemon) -> list[str]:
    file = running.directory / "hooks"
    return file.read_text().splitlines() if file.exists() else []


def test_a_word_about_a_job_that_is_just_being_started_costs_it_nothing(
    running: RunningDaemon, client: Client
) -> None:
    ended(client, "raise")
    server = running.fork_server()
    os.kill(server, signal.SIGSTOP)
    job = client.run_background_job(TARGET, "end", {"how": "raise"})
    eventually(lambda: job.refresh()["status"] == "running")
    with pytest.raises(NotForReviewError):
        job.settle(completed=False)
    os.kill(server, signal.SIGKILL)
    job.wait(30)
    outcomes = [one["outcome"] for one in client.get(job.id).snapshot["attempts"]]
    assert outcomes == ["not_started", "failed"]


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("kill", "signalled: the process was ended by signal 9"),
        ("exit", "exited: the process ended with code 3"),
        ("leave", "exited: the process ended with code 0 before the method returned"),
    ],
)
def test_who_waits_hears_that_nobody_knows_what_it_did(client: Client, how: str, error: str) -> None:
    job = client.run_background_job(TARGET, "end", {"how": how})
    with pytest.raises(JobForReviewError) as caught:
        job.result(30)
    assert str(caught.value) == f"job {job.id} failed, for review: {error}, and what it did nobody knows"
    assert client.why(job.id).endswith(f"{error}, and what it did nobody knows; bgjob settle {job.id}")
    assert job.id in [one["id"] for one in client.list(status="review")]
    assert job.id in [one["id"] for one in client.list(status="failed")]


def test_what_the_method_raised_is_a_word_of_its_own(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job(TARGET, "end", {"how": "raise"})
    with pytest.raises(JobFailedError) as caught:
        job.result(30)
    assert not isinstance(caught.value, JobForReviewError)
    eventually(lambda: hooks(running) == ["failed no money"])


def test_a_step_that_took_effect_is_not_done_again(client: Client, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    job = client.run_background_job(TARGET, "pay", {"ledger": str(ledger)})
    job.wait(30)
    job.settle(step="charge", result="hand")
    assert job.result(30) == "paid by hand"
    assert ledger.read_text().split() == ["asked", "charged"]
    charge = job.steps().steps[1]
    assert (charge["name"], charge["by_uid"], charge["result"]) == ("charge", os.geteuid(), "hand")


def test_what_may_be_done_again_is_retried(client: Client, tmp_path: Path) -> None:
    ledger, fine = tmp_path / "ledger", tmp_path / "fine"
    job = client.run_background_job(TARGET, "pay", {"ledger": str(ledger), "fine": str(fine)})
    job.wait(30)
    fine.touch()
    job.retry()
    assert job.result(30) == "paid by card"
    assert ledger.read_text().split() == ["asked", "charged", "charged"]


def test_what_took_effect_has_completed_and_what_waits_for_it_goes_on(client: Client) -> None:
    job_id = ended(client)
    behind = client.run_background_job("probes.Probe", "echo", {"value": 1}, after=[job_id])
    assert behind.refresh()["is_blocked"]
    client.settle(job_id, completed=True, result={"id": 7})
    assert client.get(job_id).result(30) == {"id": 7}
    assert behind.result(30) == 1


def test_the_hook_is_called_once_it_is_settled_as_failed_and_not_before(
    client: Client, running: RunningDaemon
) -> None:
    first, second, third = (ended(client) for _ in range(3))
    client.settle(first, completed=False, why="the bank knows nothing of it")
    eventually(lambda: len(hooks(running)) == 1)
    client.settle(second, completed=True)
    client.settle(third, completed=False)
    eventually(lambda: len(hooks(running)) == 2)
    assert hooks(running) == [
        "signalled the bank knows nothing of it",
        "signalled signalled: the process was ended by signal 9",
    ]
    assert client.get(first).snapshot["error"] == "the bank knows nothing of it"
    eventually(lambda: running.spooled() == [])


def test_the_log_has_who_settled_it(client: Client, running: RunningDaemon) -> None:
    job_id, uid = ended(client), os.geteuid()
    client.settle(job_id, completed=True)
    messages = [entry["message"] for entry in client.logs(id=job_id)]
    assert messages[:2] == [
        f"Background job settled as completed by uid {uid}",
        f"Background job is for review: what it did nobody knows; `bgjob settle {job_id}`",
    ]
    eventually(
        lambda: any(f"settlement of job {job_id} requested by uid {uid}" in line for line in running.lines())
    )


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "completed"),
    "both": ({"completed": True, "step": "charge"}, "completed"),
    "a result of what failed": ({"completed": False, "result": 1}, "result"),
    "a reason of what took effect": ({"completed": True, "why": "it is so"}, "why"),
    "a long reason": ({"completed": False, "why": "x" * 10_001}, "why"),
    "no name": ({"step": ""}, "step"),
    "a long name": ({"step": "x" * 256}, "step"),
}


@pytest.mark.parametrize(("said", "parameter"), REFUSED.values(), ids=REFUSED.keys())
def test_what_says_nothing_is_refused(client: Client, said: dict[str, Any], parameter: str) -> None:
    job_id = ended(client)
    with pytest.raises(InvalidParameterError) as caught:
        client.settle(job_id, **said)
    assert caught.value.parameters == {"parameter": parameter}
    assert client.get(job_id).snapshot["review_since"] is not None


def test_only_a_job_for_review_can_be_settled(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job("probes.Probe", "echo", {"value": 1})
    job.wait(30)
    for said in ({"completed": False}, {"completed": True}, {"step": "charge"}):
        with pytest.raises(NotForReviewError) as caught:
            job.settle(**said)  # type: ignore[arg-type]  # of each what it takes
        assert caught.value.parameters == {"id": job.id, "status": "completed"}
        with pytest.raises(JobNotFoundError):
            client.settle(10**9, **said)  # type: ignore[arg-type]
    assert running.spooled() == []


def test_the_journal_of_what_is_not_for_review_is_nobodys_to_put_there(
    client: Client, running: RunningDaemon
) -> None:
    job = client.run_background_job("probes.Probe", "echo", {"value": 1})
    job.wait(30)
    eventually(lambda: running.spooled() == [])
    with INotify() as watch:
        watch.add_watch(running.spool, flags.CREATE)
        with pytest.raises(NotForReviewError):
            job.settle(completed=False)
        assert watch.read(timeout=0) == []


def test_a_result_has_the_size_of_any(client: Client) -> None:
    job_id = ended(client)
    client.settle(job_id, step="charge", result="x" * (MOST_STEP_BYTES - 1000))
    assert client.wait(job_id, 30)["attempts"][1]["outcome"] == "signalled"
    with pytest.raises(TooLargeError, match="result: 1049580 bytes, the limit is 1048576"):
        client.settle(job_id, step="more", result="x" * 2000)


def test_it_goes_the_same_way_for_asyncio(running: RunningDaemon, client: Client) -> None:
    first, second = ended(client), ended(client)

    async def settle() -> None:
        async with AsyncClient(str(running.socket), timeout=20.0) as aio:
            with pytest.raises(JobForReviewError):
                await AsyncJob(aio, first).result(20)
            await aio.settle(first, completed=True, result=5)
            assert await AsyncJob(aio, first).result(20) == 5
            await AsyncJob(aio, second).settle(completed=False, why="never")
            with pytest.raises(JobFailedError, match=f"job {second} failed: never"):
                await AsyncJob(aio, second).result(20)

    asyncio.run(settle())
    eventually(lambda: hooks(running) == ["signalled never"])


# Whatever is killed


def die(running: RunningDaemon, client: Client, job_id: int, when: str) -> None:
    """Have the daemon be killed there, as it settles the job as failed; then another starts."""
    eventually(lambda: running.spooled() == [])  # the attempt's own journal would tell as much
    (running.directory / when).touch()
    with suppress(RequestError, OSError):  # the answer goes out first
        client.settle(job_id, completed=False, why="no")
    assert running.process is not None
    running.process.wait(20)
    running.start()


def test_a_daemon_that_dies_once_it_is_stored_has_the_next_call_the_hook_once(
    running: RunningDaemon, client: Client
) -> None:
    job_id = ended(client)
    die(running, client, job_id, "behind")
    eventually(lambda: hooks(running) == ["signalled no"])
    with running.client() as again:
        assert again.get(job_id).snapshot["settled_uid"] == os.geteuid()
    eventually(lambda: running.spooled() == [])
    assert hooks(running) == ["signalled no"]


def test_a_daemon_that_dies_before_leaves_all_as_it_was(running: RunningDaemon, client: Client) -> None:
    job_id = ended(client)
    die(running, client, job_id, "before")
    with running.client() as again:
        assert again.get(job_id).snapshot["review_since"] is not None
        again.classes()  # there is a fork server that could call hooks
        assert hooks(running) == []
        again.settle(job_id, completed=False, why="no")
    eventually(lambda: hooks(running) == ["signalled no"])
    eventually(lambda: running.spooled() == [])


def test_an_attempt_that_is_lost_is_for_review_and_calls_no_hook(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(TARGET, "wait", {"begun": str(tmp_path / "begun")})
    eventually(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text())
    pid, server, process = int((tmp_path / "begun").read_text()), running.fork_server(), running.process
    assert process is not None
    for one in (process.pid, server, pid):
        os.kill(one, signal.SIGKILL)
    process.wait(20)
    eventually(lambda: not is_alive(pid))
    running.start()
    with running.client() as again:
        told = again.wait(job.id, 20)
        assert (told["status"], told["attempts"][0]["outcome"]) == ("failed", "lost")
        assert told["review_since"] is not None
        again.classes()
    assert hooks(running) == []


# Which classes


def test_a_reload_takes_up_what_a_class_wants(tmp_path: Path) -> None:
    settings = f'"{TARGET}" = {{ retry_lost = false, max_retries = 0 }}'
    app = f'env = {{ HOOKS = "{tmp_path}/hooks" }}'
    with (
        daemon(tmp_path, settings, app, modules={"paying": PAYING}) as running,
        running.client() as client,
    ):
        first = ended(client)
        running.config.write_text(running.config.read_text().replace(settings, REVIEW))
        client.reload()
        second = ended(client)
        found = [client.get(job_id).snapshot["review_since"] is not None for job_id in (first, second)]
        policies = {one["name"]: one["policy"] for one in client.classes()}
    assert found == [False, True]
    assert (policies[TARGET]["unknown"], policies["probes.Probe"]["unknown"]) == ("review", "failed")
