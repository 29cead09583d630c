"""The bounds of classes and queues against a real daemon: slots of a class, and how many jobs may be pending."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob import Client, Job
from bgjob.errors import QueueFullError
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

NARROW = """
import time
from pathlib import Path


class Narrow:
    def wait_for(self, path):
        while not Path(path).exists():
            time.sleep(0.01)
        return "waited"


class Counted(Narrow):
    pass
"""
COUNTED = '"narrow.Counted" = { slots = 1 }'
QUEUES = ("refusing", "many", "repeats", "growing", "asked")
SETTINGS = f"""
"narrow.Narrow" = {{ slots = 1 }}
{COUNTED}
[queues]
{"".join(f"{queue} = {{ max_pending = 2 }}" + chr(10) for queue in QUEUES)}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """The daemon of all tests, each of which has a class or a queue to itself."""
    directory = tmp_path_factory.mktemp("bounds")
    environ = {"BGJOBD_DAEMON__FIFO": str(directory / "fifo")}
    with daemon(directory, SETTINGS, environ=environ, modules={"narrow": NARROW}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def full(queue: str) -> str:
    return f"queue {queue} is full (2 pending jobs); try again later"


def waits(client: Client, path: Path, class_name: str = "narrow.Narrow") -> Job:
    return client.run_background_job(class_name, "wait_for", {"path": str(path)})


def statuses(*jobs: Job) -> list[str]:
    return [job.refresh()["status"] for job in jobs]


# Slots of a class


def test_a_full_class_holds_up_its_own_jobs_and_no_others(client: Client, tmp_path: Path) -> None:
    first, second = waits(client, tmp_path / "go"), waits(client, tmp_path / "go")
    assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
    assert statuses(first, second) == ["running", "pending"]
    (tmp_path / "go").touch()
    assert (first.result(20), second.result(20)) == ("waited", "waited")
    begun, ended = (second.snapshot["started_at"], first.snapshot["finished_at"])
    assert begun >= ended


def test_the_slots_of_a_class_count_over_restarts_and_fork_servers_and_change_by_a_reload(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    first = waits(client, tmp_path / "go", "narrow.Counted")
    eventually(lambda: statuses(first) == ["running"])
    running.stop()
    running.start()
    second, third = (waits(client, tmp_path / "go", "narrow.Counted") for _ in range(2))
    client.reload()
    assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
    assert statuses(second, third) == ["pending", "pending"]
    text = running.config.read_text()
    running.config.write_text(text.replace(COUNTED, COUNTED.replace("1", "2")))
    client.reload()
    eventually(lambda: statuses(second, third) == ["running", "pending"])
    (tmp_path / "go").touch()
    assert third.result(20) == "waited"


# Pending jobs of a queue


def fill(client: Client, queue: str) -> list[Job]:
    client.pause(queue)
    return [client.run_background_job("probes.Probe", "echo", {"value": n}, queue=queue) for n in (1, 2)]


def test_a_submit_to_a_full_queue_is_refused_and_other_queues_take_theirs(client: Client) -> None:
    fill(client, "refusing")
    with pytest.raises(QueueFullError) as refused:
        client.run_background_job("probes.Probe", "echo", queue="refusing")
    told_so = ({"queue": "refusing", "limit": 2}, full("refusing"))
    assert (refused.value.parameters, str(refused.value)) == told_so
    assert client.run_background_job("probes.Probe", "echo", {"value": 3}).result(20) == 3
    told = {queue["name"]: (queue["pending"], queue["max_pending"]) for queue in client.stats()["queues"]}
    assert set(told) == {"default", *QUEUES}
    assert (told["default"], told["refusing"]) == ((0, 100_000), (2, 2))


def test_of_many_jobs_none_is_stored_where_one_is_too_many(client: Client) -> None:
    job = {"class_name": "probes.Probe", "method_name": "echo", "options": {"queue": "many"}}
    client.pause("many")
    with pytest.raises(QueueFullError):
        client.submit_many([job] * 3)
    assert len(client.submit_many([job] * 2)) == 2
    assert len(client.list(queue="many")) == 2


def test_a_repeat_and_a_retry_by_a_person_are_taken_by_a_full_queue(client: Client) -> None:
    known = client.run_background_job("probes.Probe", "fail", queue="repeats", idempotency_key="k")
    known.wait(20)
    fill(client, "repeats")
    again = client.run_background_job("probes.Probe", "fail", queue="repeats", idempotency_key="k")
    assert again.id == known.id
    known.retry()
    assert known.refresh()["status"] == "pending"


def test_a_reload_changes_how_many_may_be_pending(running: RunningDaemon, client: Client) -> None:
    fill(client, "growing")
    text = running.config.read_text()
    running.config.write_text(text.replace("growing = { max_pending = 2", "growing = { max_pending = 3"))
    client.reload()
    client.run_background_job("probes.Probe", "echo", queue="growing")
    with pytest.raises(QueueFullError, match="3 pending jobs"):
        client.run_background_job("probes.Probe", "echo", queue="growing")


def test_the_command_ends_with_75_and_the_named_pipe_says_so_in_the_log(
    running: RunningDaemon, client: Client
) -> None:
    fill(client, "asked")
    done = submitted_by_command(running)
    assert (done.returncode, done.stdout) == (75, "")
    assert full("asked") in done.stderr
    with (running.directory / "fifo").open("w") as pipe:
        pipe.write('{"class_name":"probes.Probe","method_name":"echo","options":{"queue":"asked"}}\n')
    eventually(lambda: [line for line in running.lines() if line.endswith(f"refused: {full('asked')}")])


def submitted_by_command(running: RunningDaemon) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bgjob", "run", "probes.Probe::echo", "--queue", "asked"]
    return subprocess.run(
        [*command, "--socket", str(running.socket)], capture_output=True, text=True, timeout=30
    )
