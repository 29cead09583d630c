"""Jobs that save their state, whose processes are killed: no save that had returned is lost, whoever dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgjob import Job
from bgjobd.forkserver import state_file
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults import stating
from tests.support import eventually, remove_tree

MODULES = {"stating": Path(stating.__file__).read_text()}
TARGET = "stating.Stating"
SETTINGS = f'"{TARGET}" = {{ max_retries = 3, retry_delay = 0.05, retry_lost = true }}'


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("stating"), SETTINGS, modules=MODULES) as running:
        yield running


def submit(running: RunningDaemon, method: str, **parameters: Any) -> int:
    with running.client() as client:
        return client.run_background_job(TARGET, method, parameters).id


def ended(running: RunningDaemon, job_id: int) -> dict[str, Any]:
    with running.client() as client:
        return dict(client.get(job_id).wait(30))


def stored(running: RunningDaemon, job_id: int) -> list[tuple[Any, ...]]:
    return running.query(f"SELECT value, attempt, saved FROM job_states WHERE job_id = {job_id}")


def files(running: RunningDaemon) -> list[str]:
    return [name for name in os.listdir(running.spool) if name.endswith(".state")]


@pytest.mark.parametrize(
    "way", ["child", "child and fork server", "all", "all but the child", "all by a boot"]
)
def test_what_was_saved_is_there_whoever_is_killed(running: RunningDaemon, tmp_path: Path, way: str) -> None:
    """The daemon is stopped while it is saved, so that it has seen none of it."""
    process, server = running.process, running.fork_server()
    assert process is not None
    ledger = tmp_path / "ledger"
    pages = 500
    job_id = submit(running, "crawl", ledger=str(ledger), pages=pages, size=20_000)
    eventually(
        lambda: running.query(f"SELECT 1 FROM job_attempts WHERE job_id = {job_id} AND pid IS NOT NULL")
    )
    os.kill(process.pid, signal.SIGSTOP)
    child = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    if way != "child":
        os.kill(server, signal.SIGKILL)
    (tmp_path / "go").touch() if way == "all but the child" else os.kill(child, signal.SIGKILL)
    eventually(lambda: not is_alive(child))
    if way.startswith("all"):
        running.stop(signal.SIGKILL)
        if way == "all by a boot":  # after which the spool is there still, as on a disk
            with running.changing() as database:
                database.execute("UPDATE job_attempts SET boot_id = 'another' WHERE outcome IS NULL")
        running.start()
    else:
        os.kill(process.pid, signal.SIGCONT)
    job = ended(running, job_id)
    assert (job["status"], job["result"]) == ("completed", 1 if way == "all but the child" else 2)
    assert [int(line) for line in ledger.read_text().splitlines()] == list(range(pages))
    eventually(lambda: not files(running))


def test_while_an_attempt_runs_what_it_saves_is_stored_and_what_it_did_not_save_is_not(
    running: RunningDaemon, tmp_path: Path
) -> None:
    """Each of these is the first change after a rest, the last but one of several at once, and one that follows."""
    job_id = submit(running, "save_and_wait", directory=str(tmp_path))

    def save(text: str) -> None:
        (tmp_path / "save.new").write_text(text)
        (tmp_path / "save.new").rename(tmp_path / "save")
        eventually((tmp_path / "saved").exists)
        (tmp_path / "saved").unlink()

    for texts in (["a"], ["b", "c"], ["d", "e", "f"]):
        for text in texts:
            save(text)
        eventually(
            lambda text=texts[-1]: [f'{{"text":"{text}"}}'] == [one[0] for one in stored(running, job_id)]
        )  # type: ignore[misc]
    running.stop(signal.SIGKILL)
    save("g")
    running.start()
    eventually(lambda: [one[0] for one in stored(running, job_id)] == ['{"text":"g"}'])
    (tmp_path / "end").touch()
    assert ended(running, job_id)["result"] == {"text": "g"}
    eventually(lambda: not files(running))


def test_with_a_lost_spool_what_was_stored_stays(running: RunningDaemon, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    job_id = submit(running, "crawl", ledger=str(ledger), pages=3)
    child = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    eventually(lambda: [saved for _, _, saved in stored(running, job_id)] == [2])
    remove_tree(running.spool)
    os.kill(child, signal.SIGKILL)
    assert ended(running, job_id)["result"] == 2
    assert ledger.read_text().split() == ["0", "1", "2"]


def test_a_state_that_was_left_is_swept_at_a_start_and_none_of_an_attempt_that_runs(
    running: RunningDaemon, tmp_path: Path
) -> None:
    job_id = submit(running, "save_and_wait", directory=str(tmp_path))
    eventually(lambda: f"{job_id}.1.state" in files(running))
    (running.spool / "4711.1.state").touch()
    running.stop(signal.SIGKILL)
    running.start()
    assert files(running) == [f"{job_id}.1.state"]
    (tmp_path / "end").touch()
    assert ended(running, job_id)["status"] == "completed"
    eventually(lambda: not files(running))


def test_a_spool_that_another_database_had_has_no_state_for_a_job_of_the_same_number(tmp_path: Path) -> None:
    """Its attempt was open when the machine went down."""
    with daemon(tmp_path, SETTINGS, modules=MODULES) as running:
        job_id = submit(running, "save_and_wait", directory=str(tmp_path))
        path = running.spool / f"{job_id}.1.state"
        eventually(path.exists)
        asked = f"SELECT pid FROM job_attempts WHERE job_id = {job_id} AND pid IS NOT NULL"
        ((pid,),) = eventually(lambda: running.query(asked))
        running.stop(signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        path.write_bytes(state_file._record(1, b'{"of":"another"}'))
        (running.spool / "database-id").write_text("another")
        running.start()
        (tmp_path / "end").touch()
        assert ended(running, job_id)["result"] == {}
        eventually(lambda: files(running) == [])


@pytest.mark.parametrize("plant", ["fifo", "link", "huge", "forged", "torn", "directory"])
def test_what_a_job_puts_in_the_place_of_its_state_costs_nobody_anything(
    running: RunningDaemon, tmp_path: Path, plant: str
) -> None:
    job_id = submit(running, "save_and_wait", directory=str(tmp_path))
    path = running.spool / f"{job_id}.1.state"
    eventually(path.exists)
    path.unlink()
    match plant:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("/dev/zero")
        case "huge":
            path.touch()
            os.truncate(path, 2**40)
        case "forged":
            path.write_bytes(state_file._record(2**52, b'{"a":' * 60_000 + b"}"))
        case "torn":
            path.write_bytes(b"\1" * 136 * 1024)
        case "directory":
            path.mkdir()
            (path / "file").touch()
    (tmp_path / "end").touch()
    assert ended(running, job_id)["status"] == "completed"
    assert stored(running, job_id) == []
    eventually(lambda: not files(running))
    with running.client() as client:
        assert client.run_background_job(TARGET, "fail", {"more": "next"}).result(30) == {"of": "next"}


def test_of_attempts_that_save_without_a_break_it_is_stored_now_and_then_and_all_at_the_end(
    running: RunningDaemon, tmp_path: Path
) -> None:
    jobs: list[Job[Any]] = []
    with running.client() as client:
        for _ in range(2):
            jobs.append(
                client.run_background_job(TARGET, "save_at_once", {"directory": str(tmp_path), "times": 100})
            )
        for job in jobs:
            eventually(lambda job=job: stored(running, job.id) and stored(running, job.id)[0][2] > 1000)  # type: ignore[misc]
        first = {job.id: stored(running, job.id)[0][2] for job in jobs}
        for job in jobs:
            eventually(lambda job=job: stored(running, job.id)[0][2] > first[job.id])  # type: ignore[misc]
        (tmp_path / "end").touch()
        for job in jobs:
            count = job.result(30)
            assert stored(running, job.id) == [(f'{{"count":{count}}}', 1, count)]
