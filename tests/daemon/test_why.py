"""`bgjob why` against a real daemon: what really keeps a job, and the whole sentence that says so."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from bgjob import AsyncClient, Client, Job
from bgjob.errors import InvalidStateError, JobNotFoundError
from bgjobd.core.on_file import MOST_AHEAD
from tests.client.test_commands import Commands
from tests.daemon.running import RunningDaemon, daemon
from tests.faults.injecting import held_by_another_program
from tests.support import eventually

PROBE = "probes.Probe"
JOBS = """
import signal
import time
from pathlib import Path


class Narrow:
    def wait_for(self, path):
        while not Path(path).exists():
            time.sleep(0.01)

    def ignore(self, ready, path):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        Path(ready).touch()
        self.wait_for(path)
"""
NARROW = '"narrow.Narrow" = { slots = 1, stop_grace = 600, max_retries = 0 }'
SETTINGS = f"""
{NARROW}
[queues]
mail = {{ slots = 1 }}
keyed = {{ slots_per_key = 1 }}
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningDaemon]:
    with daemon(tmp_path, SETTINGS, modules={"narrow": JOBS}) as running:
        yield running
        (tmp_path / "go").touch()


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.fixture(scope="module")
def shared(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("why"), SETTINGS, modules={"narrow": JOBS}) as running:
        yield running


@pytest.fixture
def asking(shared: RunningDaemon, tmp_path: Path) -> Iterator[Client]:
    """A client of a daemon that serves others as well: nothing is left to run, and no queue paused."""
    with shared.client() as client:
        yield client
        (tmp_path / "go").touch()
        for (left,) in shared.query("SELECT id FROM background_jobs WHERE finished_at IS NULL"):
            with suppress(InvalidStateError):  # it has ended meanwhile
                client.cancel(left)
            client.wait(left, 20)
        client.resume("mail")


def why(job: Job) -> str:
    """The sentence without its subject, with a star for how far away an instant is, and no date near midnight; nor
    with the host for which it holds, where there may be several.
    """
    sentence = job.why().removesuffix(f", as host {socket.gethostname()} sees it")
    subject = f"job {job.id} "
    assert sentence.startswith(subject)
    undated = re.sub(r"\d{4}-\d\d-\d\d (?=[\d:]{8} UTC)", "", sentence.removeprefix(subject))
    return re.sub(r"(?<=UTC, )(just now|\d+ (s|min) ago)", "*", undated)


def comes(job: Job, sentence: str) -> bool:
    """Whether this is the sentence by now, or soon."""
    return eventually(lambda: why(job) == sentence or None) is True


def clock(text: str) -> str:
    """A stored instant as the sentence has it."""
    return f"{text[11:19]} UTC"


def holds(client: Client, tmp_path: Path, **options: Any) -> Job:
    """A job that runs until the file `go` is there."""
    parameters = {"path": f"{tmp_path}/go", "ledger": f"{tmp_path}/ledger"}
    job = client.run_background_job(PROBE, "wait_for", parameters, **options)
    return has_begun(job)


def waits(client: Client, **options: Any) -> Job:
    return client.run_background_job(PROBE, "echo", {"value": 1}, **options)


def has_begun(job: Job) -> Job:
    eventually(lambda: (attempts := job.refresh()["attempts"]) and attempts[-1]["pid"])
    return job


# Waiting


def test_a_job_that_waits_for_its_time(asking: Client) -> None:
    job = waits(asking, delay=9000)
    at = clock(job.refresh()["scheduled_at"])
    assert why(job) == f"waits for its time: it is not to start before {at}, in 2 h"


def test_a_job_that_waits_for_a_retry(asking: Client) -> None:
    job = asking.run_background_job(PROBE, "fail", max_retries=2, retry_delay=9000)
    eventually(lambda: job.refresh()["retry_count"])
    at = clock(job.snapshot["scheduled_at"])
    expected = f"is to be tried again at {at}, in 2 h, as retry 1 of 2: ValueError: no recipient (attempt 1)"
    assert why(job) == expected


def test_a_job_whose_queue_is_paused(asking: Client, shared: RunningDaemon) -> None:
    asking.pause("mail")
    job = waits(asking, queue="mail")
    ((paused_at,),) = shared.query("SELECT paused_at FROM queues")
    expected = f"waits: queue mail is paused since {clock(paused_at)}, *; `bgjob resume mail` lets it go on"
    assert why(job) == expected


def test_a_job_of_a_class_whose_slots_are_taken(asking: Client, tmp_path: Path) -> None:
    first, second, third = (
        asking.run_background_job("narrow.Narrow", "wait_for", {"path": f"{tmp_path}/go"}) for _ in range(3)
    )
    has_begun(first)
    full = f"waits for a slot: its class has 1 slot, taken by job {first.id}, and "
    assert why(second) == f"{full}it is the next of queue default"
    assert why(third) == f"{full}1 job is before it in queue default"


def test_a_job_of_a_queue_whose_slots_are_taken(asking: Client, tmp_path: Path) -> None:
    first = holds(asking, tmp_path, queue="mail")
    second = waits(asking, queue="mail", priority=1)
    last = waits(asking, queue="mail")
    full = f"waits for a slot: queue mail has 1 slot, taken by job {first.id}, and "
    assert why(second) == f"{full}it is the next of queue mail"
    assert why(last) == f"{full}1 job is before it in queue mail"
    urgent = waits(asking, queue="mail", priority=2)
    assert why(urgent) == f"{full}it is the next of queue mail"
    assert why(last) == f"{full}2 jobs are before it in queue mail"


def test_a_job_behind_its_key(asking: Client, tmp_path: Path) -> None:
    first = holds(asking, tmp_path, queue="keyed", key="customer:7")
    second, third = (waits(asking, queue="keyed", key="customer:7", expires_in=9000) for _ in range(2))
    at = clock(third.refresh()["expires_at"])
    taken = f"waits for its key: customer:7 has 1 place in queue keyed, taken by job {first.id}, and "
    assert (
        why(third) == f"{taken}1 job is before it; it expires at {at}, in 2 h, if it has not started by then"
    )
    first.cancel()
    assert second.result(20) == third.result(20) == 1


def test_a_job_for_which_no_slot_is_free_and_the_many_before_it(client: Client, tmp_path: Path) -> None:
    for _ in range(4):
        holds(client, tmp_path)
    job = waits(client)
    full = "waits for a slot: the daemon has 4 slots, taken by jobs 1, 2, 3 and 4, and "
    assert why(job) == f"{full}it is the next of queue default"
    # Due, and made ready by nobody as long as no slot is free.
    retried = waits(client, priority=1, delay=0.01)
    assert comes(job, f"{full}1 job is before it in queue default")
    retried.cancel()
    many = {"class_name": PROBE, "method_name": "echo", "options": {"priority": 1}}
    client.submit_many([many] * (MOST_AHEAD + 5))
    assert why(job) == f"{full}1,000 jobs or more are before it in queue default"


def test_a_job_whose_class_is_approved_no_more_fails_as_it_was_told(
    client: Client, running: RunningDaemon, tmp_path: Path
) -> None:
    client.pause()
    job = client.run_background_job("narrow.Narrow", "wait_for", {"path": f"{tmp_path}/go"})
    running.config.write_text(running.config.read_text().replace(NARROW, ""))
    client.reload()
    sentence = why(job)
    assert sentence.startswith("waits: queue default is paused since ")
    assert sentence.endswith(
        "; its attempt fails as soon as it starts, and is not retried: narrow.Narrow is not an approved class; "
        "list it under [approved] in the daemon's configuration"
    )
    client.resume()
    ended = job.wait(20)
    assert (ended["status"], len(ended["attempts"])) == ("failed", 1)
    assert why(job) == (
        f"failed at {clock(ended['finished_at'])}, *: MethodNotApproved: narrow.Narrow::wait_for is no longer "
        "allowed (attempt 1; it has no retries)"
    )


def test_a_job_in_a_queue_that_a_reload_has_dropped(client: Client, running: RunningDaemon) -> None:
    job = client.run_background_job(PROBE, "fail", queue="mail", max_retries=0)
    job.wait(20)
    running.config.write_text(running.config.read_text().replace("mail = { slots = 1 }", ""))
    client.reload()
    job.retry()
    assert why(job) == "waits: queue mail gets no slots, for it is not configured; `bgjob reload` takes it up"
    client.reload()
    assert job.wait(20)["attempts"][1]["outcome"] == "failed"


def test_a_job_while_there_is_no_fork_server(running: RunningDaemon) -> None:
    with running.client() as client:
        client.pause()
        job = waits(client)
    running.stop()
    running.config.write_text(running.config.read_text().replace("[app]", '[app]\npython = "/bin/false"'))
    running.start()
    with running.client() as client:
        failed = "the fork server ended before it imported anything; stderr has more"
        expected = f"waits for a fork server: it is tried again, as the last try failed: {failed}"
        assert comes(client.get(job.id), expected)


def test_a_job_while_the_daemon_drains(running: RunningDaemon, tmp_path: Path) -> None:
    running.stop()
    running.config.write_text(running.config.read_text().replace('"leave"', '"drain"'))
    running.start()
    with running.client() as client:
        holds(client, tmp_path)
        assert running.process is not None
        running.process.send_signal(signal.SIGTERM)
        eventually(lambda: any("draining: waits for 1" in line for line in running.lines()))
        job = waits(client)
        assert why(job) == "waits: the daemon drains and starts nothing new; the next daemon starts it"
        (tmp_path / "go").touch()
        assert running.process.wait(20) == 0
        running.process = None
    running.start()
    with running.client() as client:
        assert client.wait(job.id, 20)["result"] == 1


def test_jobs_while_the_database_cannot_be_written(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    client.pause("mail")
    waiting, runs = waits(client, queue="mail"), holds(client, tmp_path)
    with held_by_another_program(running.database):
        (tmp_path / "go").touch()
        stored = "has run: attempt 1 has ended (completed), and that waits to be stored"
        assert comes(runs, f"{stored}: the database cannot be written: database is locked")
        expected = "waits: nothing starts while the database cannot be written: database is locked"
        assert why(waiting) == expected
    ended = runs.wait(20)
    assert why(runs) == f"completed at {clock(ended['finished_at'])}, *, by attempt 1"


# Running


def test_an_attempt_that_runs_with_and_without_a_timeout(asking: Client, tmp_path: Path) -> None:
    free, bounded = holds(asking, tmp_path), holds(asking, tmp_path, timeout=9000)
    for job, until in ((free, "it has no timeout"), (bounded, "its timeout of 9000 s is over in 2 h")):
        (attempt,) = job.snapshot["attempts"]
        began = f"attempt 1 began at {clock(attempt['started_at'])}, *, pid {attempt['pid']}"
        assert why(job) == f"runs: {began}; {until}"


def test_an_attempt_is_told_the_same_by_the_next_daemon(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        job = holds(client, tmp_path, timeout=9000)
        before = why(job)
    running.stop()
    running.start()
    with running.client() as client:
        assert comes(client.get(job.id), before)


def test_an_attempt_that_is_cancelled_and_does_not_heed_it(
    client: Client, running: RunningDaemon, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    parameters = {"ready": str(ready), "path": f"{tmp_path}/go"}
    job = client.run_background_job("narrow.Narrow", "ignore", parameters)
    eventually(ready.exists)
    has_begun(job)
    job.cancel()
    asked_at, pid = clock(job.refresh()["cancel_requested_at"]), job.snapshot["attempts"][0]["pid"]
    told = f"is being cancelled: a cancel was requested at {asked_at}, *; its process (pid {pid}) was sent TERM, and "
    sentence = why(job)
    assert re.fullmatch(re.escape(told) + r"KILL follows in (10|9) min", sentence), sentence


# Ended


def test_jobs_that_have_ended(asking: Client, tmp_path: Path) -> None:
    fails = asking.run_background_job(PROBE, "fail", max_retries=1, retry_delay=0.01)
    asking.pause("mail")
    never, stopped = waits(asking, queue="mail"), holds(asking, tmp_path)
    never.cancel()
    stopped.cancel()
    at = {job.id: clock(job.wait(20)["finished_at"]) for job in (fails, never, stopped)}
    failed = "ValueError: no recipient (attempt 2; its only retry is spent)"
    assert why(fails) == f"failed at {at[fails.id]}, *: {failed}"
    assert why(never) == f"was cancelled at {at[never.id]}, *, before its first attempt"
    assert why(stopped) == f"was cancelled at {at[stopped.id]}, *, and attempt 1 was stopped"


# How it is asked


def test_the_clients_and_the_command_say_the_same(asking: Client, shared: RunningDaemon) -> None:
    job = waits(asking)
    job.wait(20)

    async def asked() -> tuple[str, str]:
        async with AsyncClient(str(shared.socket), timeout=20.0) as other:
            return await other.why(job.id), await (await other.get(job.id)).why()

    commands = Commands(shared.socket)
    ways: dict[str, Callable[[], str]] = {
        "client": lambda: asking.why(job.id),
        "command": lambda: commands.run("why", str(job.id)).stdout.removesuffix("\n"),
        "JSON": lambda: commands.json("why", str(job.id))["sentence"],
    }
    first, second = asyncio.run(asked())
    said = {name: without_distance(way()) for name, way in ways.items()}
    assert set(said.values()) == {without_distance(first), without_distance(second)}
    assert commands.json("why", str(job.id))["id"] == job.id


def without_distance(sentence: str) -> str:
    return re.sub(r"UTC, [^,]*,", "UTC,", sentence)


def test_a_job_that_is_none_is_an_error_of_its_own(asking: Client, shared: RunningDaemon) -> None:
    with pytest.raises(JobNotFoundError):
        asking.why(4711)
    done = Commands(shared.socket).run("why", "4711")
    assert (done.returncode, done.stdout) == (4, "")
