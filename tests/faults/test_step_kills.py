"""Jobs of steps whose processes are killed, or find no room: each finished step has run once, and no end is stored
before the steps of its attempt.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults import stepping
from tests.support import eventually, remove_tree

MODULES = {"stepping": Path(stepping.__file__).read_text()}
TARGET = "stepping.Stepping"
SETTINGS = f'"{TARGET}" = {{ max_retries = 3, retry_delay = 0.05, retry_lost = true }}'
MANY = 700
"""Their records are several portions of a journal."""

FULL_SPOOL = """
import errno, os
from bgjobd.supervisor.spool import Spool
write_carry = Spool.write_carry
def write_if_room(spool, key, text):
    if os.path.exists({full!r}):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    write_carry(spool, key, text)
Spool.write_carry = write_if_room
"""


@pytest.fixture(scope="module")
def running(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("stepping")
    changes = FULL_SPOOL.format(full=str(directory / "full"))
    with daemon(directory, SETTINGS, modules=MODULES, changes=changes) as running:
        yield running


def submit(running: RunningDaemon, place: Path, method: str, **parameters: Any) -> int:
    effects = str(place / "effects")
    with running.client() as client:
        return client.run_background_job(TARGET, method, {"effects": effects, **parameters}).id


def ended(running: RunningDaemon, job_id: int) -> dict[str, Any]:
    with running.client() as client:
        return dict(client.get(job_id).wait(30))


def effects_in(directory: Path) -> list[str]:
    return [line.split()[1] for line in (directory / "effects").read_text().splitlines()]


def carries(running: RunningDaemon) -> list[str]:
    return [name for name in os.listdir(running.spool) if "carry" in name]


def pid_in(file: Path) -> int:
    eventually(file.exists)
    return int(file.read_text())


@pytest.mark.parametrize(
    "way", ["child", "child and fork server", "all", "all but the child", "all by a boot"]
)
def test_steps_that_the_daemon_has_not_read_when_their_attempt_ends_are_stored_before_that(
    running: RunningDaemon, tmp_path: Path, way: str
) -> None:
    """The daemon is stopped while they run, so that it has read none of them."""
    job_id = submit(running, tmp_path, "begin_and_wait", count=MANY, directory=str(tmp_path))
    pid_in(tmp_path / "begun")
    process, server = running.process, running.fork_server()
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    child = pid_in(tmp_path / "done")
    if way != "child":
        os.kill(server, signal.SIGKILL)
    if way == "all but the child":
        (tmp_path / "end").touch()
    else:
        os.kill(child, signal.SIGKILL)
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
    assert job["status"] == "completed"
    assert len(job["result"]) == MANY
    assert effects_in(tmp_path) == [f"part-{n}" for n in range(MANY)]
    assert len(job["attempts"]) == (1 if way == "all but the child" else 2)
    numbers = running.query(f"SELECT number, attempt FROM job_steps WHERE job_id = {job_id} ORDER BY number")
    assert numbers == [(n, 1) for n in range(1, MANY + 1)]
    eventually(lambda: not carries(running))


def test_an_attempt_whose_earlier_steps_find_no_room_in_the_spool_starts_later_and_spends_no_retry(
    running: RunningDaemon, tmp_path: Path
) -> None:
    (running.directory / "full").touch()
    job_id = submit(running, tmp_path, "fail_once")
    eventually(
        lambda: (
            len(
                running.query(
                    f"SELECT 1 FROM job_attempts WHERE job_id = {job_id} AND outcome = 'not_started'"
                )
            )
            >= 2
        )
    )
    (running.directory / "full").unlink()
    job = ended(running, job_id)
    first, *between, last = [attempt["outcome"] for attempt in job["attempts"]]
    assert (job["status"], job["retry_count"], first, last) == ("completed", 1, "failed", "completed")
    assert set(between) == {"not_started"}
    why = [one["error_message"] for one in job["attempts"] if one["outcome"] == "not_started"]
    assert "what it carries over finds no room: No space left on device" in why[0]
    assert effects_in(tmp_path) == ["part-0"]
    eventually(lambda: not carries(running))


def test_what_was_carried_over_is_swept_at_a_start_and_nothing_of_a_job_that_runs(
    running: RunningDaemon, tmp_path: Path
) -> None:
    """An attempt that is under way keeps what it may not have read yet."""
    job_id = submit(running, tmp_path, "begin_and_wait", count=3, directory=str(tmp_path))
    pid_in(tmp_path / "begun")
    (running.spool / f"{job_id}.1.carry").write_text("{}")
    (running.spool / "4711.1.carry").write_text("{}")
    (running.spool / f"{job_id}.2.carry.new").write_text("{")
    running.stop(signal.SIGKILL)
    running.start()
    assert carries(running) == [f"{job_id}.1.carry"]
    (tmp_path / "go").touch()
    (tmp_path / "end").touch()
    assert ended(running, job_id)["status"] == "completed"
    eventually(lambda: not carries(running))


def test_with_a_lost_spool_what_was_stored_stays(running: RunningDaemon, tmp_path: Path) -> None:
    job_id = submit(running, tmp_path, "begin_and_wait", count=3, directory=str(tmp_path))
    (tmp_path / "go").touch()
    child = pid_in(tmp_path / "done")
    eventually(
        lambda: (
            running.query(f"SELECT count(*) FROM job_steps WHERE job_id = {job_id} AND number IS NOT NULL")
            == [(3,)]
        )
    )
    remove_tree(running.spool)
    os.kill(child, signal.SIGKILL)
    job = ended(running, job_id)
    assert (job["status"], effects_in(tmp_path)) == ("completed", [f"part-{n}" for n in range(3)])
