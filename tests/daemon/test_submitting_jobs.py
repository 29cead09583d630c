"""Jobs that submit jobs: the daemon knows whose attempt asked by what the kernel says of who connected, and by nothing
that is said.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bgjob.client import Client, Job
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

SUBMIT = "import bgjob; print(bgjob.run_background_job('probes.Probe', 'echo').id)"
PARENTS = """
import os, subprocess, sys, time
import bgjob


class Parent:
    def by_itself(self):
        return [bgjob.run_background_job("probes.Probe", "echo").id]

    def in_bulk(self):
        with bgjob.Client() as client:
            jobs = client.submit_many({"class_name": "probes.Probe", "method_name": "echo"} for _ in range(2))
            return [job.id for job in jobs]

    def by_a_program(self, source, is_of_its_session):
        words = [sys.executable, "-c", source]
        return [int(subprocess.check_output(words, start_new_session=not is_of_its_session))]

    def later(self, begun, go):
        open(begun, "w").close()
        while not os.path.exists(go):
            time.sleep(0.02)
        return self.by_itself()
"""
PARENT = "parents.Parent"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    approved = f'"{PARENT}" = {{ max_retries = 0 }}'
    with daemon(tmp_path_factory.mktemp("parents"), approved, modules={"parents": PARENTS}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


@pytest.mark.parametrize(
    ("method", "parameters", "is_known"),
    [
        ("by_itself", {}, True),
        ("in_bulk", {}, True),
        ("by_a_program", {"source": SUBMIT, "is_of_its_session": True}, True),
        ("by_a_program", {"source": SUBMIT, "is_of_its_session": False}, False),
    ],
)
def test_a_job_tells_which_job_has_submitted_it(
    client: Client, method: str, parameters: dict[str, str | bool], is_known: bool
) -> None:
    parent = client.run_background_job(PARENT, method, parameters)
    for child in map(client.get, parent.result(20)):
        assert child.snapshot["submitted_by_job"] == (parent.id if is_known else None)
        told = f"Background job initiated, submitted by job {parent.id}"
        assert (child.logs().items[0]["message"] == told) is is_known


def test_a_job_that_nobodys_attempt_submits_tells_none(client: Client, running: RunningDaemon) -> None:
    """With the whole environment of an attempt that runs, which says nothing of who connects."""
    parent, go = _begin(client, running)
    pid = eventually(lambda: client.get(parent.id).snapshot["attempts"][0]["pid"])
    lines = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    environ = dict(os.fsdecode(line).split("=", 1) for line in lines)
    assert environ.keys() >= {"BGJOBD_SOCKET", "BGJOB_MARK"}
    child = int(subprocess.check_output([sys.executable, "-c", SUBMIT], env=environ, timeout=20))
    assert client.get(child).snapshot["submitted_by_job"] is None
    go.touch()
    assert parent.result(20)
    go.unlink()


def _begin(client: Client, running: RunningDaemon) -> tuple[Job, Path]:
    """A job that has begun, and the file that it waits for."""
    begun, go = running.directory / "begun", running.directory / "go"
    go.unlink(missing_ok=True)
    parent = client.run_background_job(PARENT, "later", {"begun": str(begun), "go": str(go)})
    eventually(begun.exists)
    begun.unlink()
    return parent, go


def test_an_attempt_of_an_earlier_daemon_is_known_as_well(running: RunningDaemon) -> None:
    with running.client() as client:
        parent, go = _begin(client, running)
    running.stop(signal.SIGKILL)
    running.start()
    go.touch()
    with running.client() as client:
        (child,) = client.wait(parent.id, 20)["result"]
        assert client.get(child).snapshot["submitted_by_job"] == parent.id
