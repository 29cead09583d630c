"""Retention in a real daemon, `bgjobd prune` with and without one, and `bgjobd backup`."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from bgjob import Client
from bgjob.errors import JobNotFoundError
from bgjobd.commands.backup import backup
from bgjobd.config.loading import load
from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.faults.injecting import IN_THE_WAY, full_disk, needs_root, small_disk
from tests.support import archived, directory_for_all, eventually, remove_tree

PROBE: Final = "probes.Probe"
LONG_AGO: Final = "2020-01-01T00:00:00.000000Z"

SOON: Final = "from bgjobd.daemon import retention; retention._FIRST_LOOK = 0.2"
"""So that the daemon looks soon after its start."""

UNRESTING: Final = "from bgjobd.daemon import retention; retention._REST = 0"
"""So that it does not rest from portions that a busy machine has made long."""

HOOK: Final = """
import time
from pathlib import Path


class Hooked:
    MAX_RETRIES = 0

    def run(self):
        raise ValueError("no")

    def failed(self, error):
        print("hook", flush=True)
        while not Path(__file__).with_name("go").exists():
            time.sleep(0.01)
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningDaemon]:
    with daemon(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    """One that runs for all tests that only look, or copy, and leave no old jobs."""
    with daemon(tmp_path_factory.mktemp("shared")) as running:
        yield running


def bgjobd(running: RunningDaemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm.run([arguments[0], "--config", str(running.config), *arguments[1:]])


def pruned(running: RunningDaemon, *arguments: str) -> dict[str, Any]:
    done = bgjobd(running, "prune", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def balance(running: RunningDaemon) -> None:
    done = bgjobd(running, "check", "--books")
    assert done.returncode == 0, done.stdout


def run(client: Client, method: str, jobs: int = 1, **parameters: Any) -> list[int]:
    """Jobs that have ended."""
    call = {
        "class_name": PROBE,
        "method_name": method,
        "parameters": parameters,
        "options": {"max_retries": 0},
    }
    jobs_of = client.submit_many([call] * jobs)
    for job in jobs_of:
        job.wait(20)
    return [job.id for job in jobs_of]


def make_old(running: RunningDaemon, *ids: int, at: str = LONG_AGO) -> None:
    """Have these jobs submitted, ended, and logged, long ago; nobody else writes meanwhile."""
    chosen = ", ".join(map(str, ids))
    with running.changing() as connection:
        connection.execute(f"UPDATE background_jobs SET created_at = '{at}' WHERE id IN ({chosen})")
        connection.execute(
            f"UPDATE background_jobs SET finished_at = '{at}' WHERE id IN ({chosen}) AND finished_at IS NOT NULL"
        )
        connection.execute(f"UPDATE job_logs SET created_at = '{at}' WHERE job_id IN ({chosen})")


def make_old_occurrences(running: RunningDaemon) -> None:
    """Two of a schedule that was removed."""
    with running.changing() as connection:
        connection.execute(
            "INSERT INTO schedules (name, definition, since, cursor, removed_at) VALUES ('a', '{}', ?, ?, ?)",
            [LONG_AGO] * 3,
        )
        connection.executemany(
            "INSERT INTO schedule_occurrences VALUES ('a', ?, ?, 1, 'skipped', 'missed', NULL, '')",
            [[LONG_AGO] * 2, ["2020-01-02T00:00:00.000000Z"] * 2],
        )


def make_old_group(running: RunningDaemon) -> None:
    """One that has ended without members."""
    counts = "total, unfinished, completed, failed, cancelled"
    with running.changing() as connection:
        connection.execute(
            f"INSERT INTO job_groups (since_id, {counts}, sealed_at, ended_at, created_at) "
            "VALUES (0, 0, 0, 0, 0, 0, ?, ?, ?)",
            [LONG_AGO] * 3,
        )


def ids(running: RunningDaemon) -> list[int]:
    return [id for (id,) in running.query("SELECT id FROM background_jobs ORDER BY id")]


def outputs(running: RunningDaemon) -> set[str]:
    return set(os.listdir(running.directory / "state" / "output"))


def start_soon(running: RunningDaemon) -> None:
    """Start a daemon whose retention looks at once."""
    running.changes = SOON
    running.start()


# The daemon


def test_a_reload_has_the_daemon_delete_what_is_old_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    with (
        daemon(tmp_path, '[retention]\ncompleted = "1h"\nfailed = false', changes=UNRESTING) as running,
        running.client() as client,
    ):
        done = run(client, "say", 3, text="hello")
        failed = run(client, "fail")
        waiting = client.run_background_job(PROBE, "echo", delay=3000.0).id
        young = run(client, "say", text="young")
        make_old(running, *done, *failed, waiting)
        make_old_occurrences(running)
        make_old_group(running)
        client.reload()
        eventually(lambda: ids(running) == [*failed, waiting, *young])
        eventually(lambda: client.stats()["jobs"] == {"completed": 1, "failed": 1, "pending": 1})
        with pytest.raises(JobNotFoundError):
            client.get(done[0])
        eventually(lambda: outputs(running) == {f"{young[0]}.1.out"})
        logged = f"SELECT count(*) FROM job_logs WHERE job_id IN ({failed[0]}, {waiting})"
        eventually(lambda: running.query(logged) == [(0,)])
        (line,) = eventually(lambda: [line for line in running.lines() if "deleted after their time" in line])
        assert ": 3 jobs, " in line
        assert "entries, 2 rows of schedules' occurrences" in line
        assert running.query("SELECT name FROM schedules") == []
        assert running.query("SELECT id FROM job_groups") == []
        balance(running)


def test_a_daemon_looks_a_while_after_its_start_and_removes_files_of_jobs_that_are_gone(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        old, young = run(client, "say", 3, text="x"), run(client, "say", text="x")
    running.stop()
    make_old(running, *old)
    with running.changing() as connection:  # as if killed between the commit and the files
        for table, column in (("background_jobs", "id"), ("job_attempts", "job_id"), ("job_logs", "job_id")):
            connection.execute(f"DELETE FROM {table} WHERE {column} = {old[0]}")
    assert f"{old[0]}.1.out" in outputs(running)
    start_soon(running)
    eventually(lambda: ids(running) == young)
    eventually(lambda: outputs(running) == {f"{young[0]}.1.out"})
    balance(running)


def test_after_a_leap_of_the_clock_nothing_is_deleted_for_an_hour(running: RunningDaemon) -> None:
    with running.client() as client:
        old = run(client, "echo", 2)
    running.stop()
    make_old(running, *old)  # so that the newest entry is of long ago, as after a clock that was set ahead
    start_soon(running)
    (line,) = eventually(lambda: [line for line in running.lines() if "leapt ahead" in line])
    assert "nothing is deleted for an hour" in line
    with running.client() as client:
        client.reload()
        run(client, "echo")
    assert set(old) <= set(ids(running))
    running.stop()
    start_soon(running)  # whose newest entry is of the time that is doubted
    with running.client() as client:
        client.reload()  # it looks then
        run(client, "echo")
        client.reload()
        running.stop()
    assert set(old) <= set(ids(running))


def test_attempts_that_were_lost_with_the_boot_do_not_hide_that_the_clock_has_leapt(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        old = run(client, "echo", 2)
    running.stop()
    multiply(running, old[0], 1000)  # so many that some ends are stored while others are still gone through
    make_old(running, *ids(running))
    with running.changing() as connection:
        connection.execute(
            "UPDATE background_jobs SET status = 'running', finished_at = NULL WHERE id > 1000"
        )
        connection.execute("UPDATE job_attempts SET outcome = NULL, boot_id = 'another' WHERE job_id > 1000")
    start_soon(running)
    eventually(lambda: [line for line in running.lines() if "leapt ahead" in line])
    assert set(old) <= set(ids(running))


def test_a_job_whose_hook_runs_stays_until_it_has_ended(tmp_path: Path) -> None:
    settings = '"hooked.Hooked" = {}\n[retention]\nfailed = "1h"'
    with daemon(tmp_path, settings, modules={"hooked": HOOK}) as running, running.client() as client:
        flag = tmp_path / "go"
        job = client.run_background_job("hooked.Hooked", "run")
        job.wait(20)
        hook = running.spool / f"{job.id}.1.hook"
        eventually(hook.exists)
        eventually(lambda: f"{job.id}.1.out" in outputs(running))
        run(client, "echo")
        make_old(running, job.id)
        assert pruned(running)["jobs"] == {"cancelled": 0, "completed": 0, "failed": 0}
        flag.touch()
        eventually(lambda: not hook.exists())
        eventually(lambda: pruned(running)["jobs"]["failed"] == 1)
        assert f"{job.id}.1.out" not in outputs(running)
        balance(running)


# The command


@pytest.mark.parametrize("is_running", [True, False], ids=["with a daemon", "without one"])
def test_prune_deletes_by_the_ages_that_are_given(running: RunningDaemon, is_running: bool) -> None:
    with running.client() as client:
        done, failed = run(client, "say", 3, text="x"), run(client, "fail", 2)
        young = run(client, "say", text="x")
    make_old(running, done[0], failed[0], at="2026-01-01T00:00:00.000000Z")
    if not is_running:
        running.stop()
    would = pruned(running, "--dry-run", "--failed", "false", "--logs", "false")
    assert would["jobs"]["completed"] == 1
    assert ids(running) == [*done, *failed, *young]
    did = pruned(running, "--failed", "false", "--logs", "false")
    assert did == would | {"is_dry_run": False}
    assert ids(running) == [*done[1:], *failed, *young]
    assert f"{done[0]}.1.out" not in outputs(running)
    assert f"{done[1]}.1.out" in outputs(running)
    assert pruned(running, "--completed", "0s", "--failed", "0s")["jobs"]["failed"] == 2
    assert ids(running) == young  # which has the newest entry
    balance(running)


@pytest.mark.parametrize("is_running", [True, False], ids=["with a daemon", "without one"])
def test_prune_deletes_old_entries_of_jobs_that_stay(running: RunningDaemon, is_running: bool) -> None:
    with running.client() as client:
        done, young = run(client, "echo", 2), run(client, "echo")
    make_old(running, *done)
    if not is_running:
        running.stop()
    entries = running.query(f"SELECT count(*) FROM job_logs WHERE job_id <> {young[0]}")[0][0]
    did = pruned(running, "--completed", "false", "--failed", "false")
    assert (sum(did["jobs"].values()), did["entries"]) == (0, entries)
    assert running.query("SELECT DISTINCT job_id FROM job_logs") == [(young[0],)]
    assert ids(running) == [*done, *young]
    balance(running)


def test_running_and_pending_jobs_stay_whatever_is_given(running: RunningDaemon) -> None:
    with running.client() as client:
        slow = client.run_background_job(PROBE, "sleep", {"seconds": 600})
        later = client.run_background_job(PROBE, "echo", delay=3000.0)
        run(client, "echo")
        eventually(lambda: slow.refresh()["status"] == "running")
        make_old(running, slow.id, later.id)
        pruned(running, "--completed", "0", "--failed", "0", "--logs", "0")
        assert {slow.id, later.id} <= set(ids(running))
        slow.cancel()
        later.cancel()
        slow.wait(20)


@pytest.mark.parametrize("is_running", [True, False], ids=["with a daemon", "without one"])
def test_an_archive_has_each_deleted_job_with_attempts_and_log(
    running: RunningDaemon, is_running: bool, tmp_path: Path
) -> None:
    with running.client() as client:
        done = run(client, "echo", 5, value={"a": [1, "é"]})
        run(client, "echo")
        shown = {id: client.get(id).snapshot for id in done}
        logs = {id: [entry["message"] for entry in client.logs(id=id, after=0)] for id in done}
    make_old(running, *done, at="2026-01-01T00:00:00.000000Z")
    if not is_running:
        running.stop()
    path = tmp_path / "jobs.jsonl.gz"
    assert pruned(running, "--archive", str(path))["jobs"]["completed"] == 5
    assert path.stat().st_mode & 0o777 == 0o600
    with gzip.open(path, "rt", encoding="utf-8") as file:
        jobs = [json.loads(line) for line in file]
    assert [job["id"] for job in jobs] == done
    for job in jobs:
        assert [entry["message"] for entry in job["logs"]] == logs[job["id"]]
        told = [dict(one) for one in shown[job["id"]]["attempts"]]
        # Whose span it is by the job's own is not kept.
        assert [one.pop("traceparent") for one in told] == [None]
        assert job["attempts"] == told
        assert job["parameters"] == {"value": {"a": [1, "é"]}}
    again = bgjobd(running, "prune", "--archive", str(path))
    assert (again.returncode, again.stdout) == (2, "")
    assert f"{path} is there already" in again.stderr
    assert len(archived(path)) == 5


def test_an_archive_has_nothing_that_became_a_secret_after_it_was_submitted(
    running: RunningDaemon, tmp_path: Path
) -> None:
    with running.client() as client:
        done = run(client, "echo_later", value="hunter2")
        run(client, "echo")
    make_old(running, *done)
    running.stop()
    text = running.config.read_text()
    told = text.replace('"probes.Probe" = {}', '"probes.Probe" = { sensitive = ["value"] }')
    assert told != text
    running.config.write_text(told)
    path = tmp_path / "jobs.jsonl.gz"
    assert pruned(running, "--archive", str(path))["jobs"]["completed"] == 1
    (job,) = archived(path)
    assert job["result"] == "hunter2"  # which nobody has called a secret
    assert "hunter2" not in json.dumps({**job, "result": None})
    assert job["parameters"] == {"value": "***"}


def test_no_archive_is_left_where_nothing_was_deleted(shared: RunningDaemon, tmp_path: Path) -> None:
    assert pruned(shared, "--archive", str(tmp_path / "a.gz"))["jobs"]["completed"] == 0
    assert not (tmp_path / "a.gz").exists()


@needs_root
def test_an_archive_that_the_disk_has_no_room_for_is_not_left_and_nothing_is_deleted(
    running: RunningDaemon, tmp_path: Path
) -> None:
    with running.client() as client:
        done, _ = run(client, "echo"), run(client, "echo")
    make_old(running, *done)
    disk = tmp_path / "disk"
    with small_disk(disk, "64k"), full_disk(disk):
        refused = bgjobd(running, "prune", "--archive", str(disk / "a.gz"))
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "No space left on device" in refused.stderr
        assert os.listdir(disk) == [str(IN_THE_WAY)]
    assert set(done) <= set(ids(running))


# From portions that a busy machine has made long the daemon rests four times as long.
@pytest.mark.timeout(240)
@pytest.mark.parametrize("is_running", [True, False], ids=["with a daemon", "without one"])
def test_a_prune_that_is_killed_has_deleted_nothing_that_is_not_in_its_archive(
    running: RunningDaemon, is_running: bool, tmp_path: Path
) -> None:
    with running.client() as client:
        first = run(client, "echo")[0]
        run(client, "echo")
    running.stop()
    multiply(running, first, 1200)
    if is_running:
        running.start()
    before = set(ids(running))
    found: set[int] = set()
    codes: set[int] = set()
    for kill in range(3):
        path = tmp_path / f"{kill}.gz"
        process = warm.Process(["prune", "--config", str(running.config), "--archive", str(path)])
        many = len(ids(running))  # of which the daemon may still delete what the one before has asked for
        eventually(
            lambda path=path, p=process: (path.exists() and path.stat().st_size > 0) or p.poll() is not None
        )
        eventually(lambda many=many, p=process: len(ids(running)) < many or p.poll() is not None)
        process.kill()
        codes.add(process.wait())
        found |= {job["id"] for job in archived(path)}
        assert before - set(ids(running)) <= found
    assert before - set(ids(running))
    assert -signal.SIGKILL in codes
    if not is_running:
        running.start()
    path = tmp_path / "last.gz"
    done = warm.run(["prune", "--config", str(running.config), "--archive", str(path)], timeout=180)
    assert done.returncode == 0, done.stderr
    found |= {job["id"] for job in archived(path)} if path.exists() else set()
    left = set(ids(running))
    assert left == {first + 1, max(before)}  # the young one, and the one with the newest entry
    assert before - left == found - left
    balance(running)


def multiply(running: RunningDaemon, job_id: int, count: int) -> None:
    """Many jobs like this one, of long ago, with their attempts and entries."""
    columns = running.tables()
    with running.changing() as connection:
        for table, key in (("background_jobs", "id"), ("job_attempts", "job_id"), ("job_logs", "job_id")):
            anew = {key: f"{key} + 1000 + n.i", "idempotency_key": "NULL", "finished_at": f"'{LONG_AGO}'"}
            if table == "job_logs":
                anew["id"] = "(SELECT max(id) FROM job_logs) + row_number() OVER (ORDER BY n.i, id)"
            names = [name for name in columns[table] if table != "job_attempts" or name != "id"]
            chosen = ", ".join(anew.get(name, name) for name in names)
            connection.execute(
                f"WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM n, {table} WHERE {key} = {job_id}"
            )
        connection.execute(f"UPDATE background_jobs SET finished_at = '{LONG_AGO}' WHERE id = {job_id}")
        if not isinstance(running.place, Path):  # SQLite's counter moves by itself
            connection.execute(f"SELECT setval('job_ids', {job_id + 1000 + count})")


def test_an_interrupted_prune_says_what_it_has_deleted_and_leaves_a_whole_state(
    running: RunningDaemon,
) -> None:
    with running.client() as client:
        first = run(client, "echo")[0]
    running.stop()
    multiply(running, first, 5000)
    running.start()
    told = running.directory / "told"
    with told.open("w") as out:
        process = warm.Process(["prune", "--config", str(running.config), "--json"], stdout=out.fileno())
    many = len(ids(running))
    eventually(lambda: len(ids(running)) < many)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert 0 <= json.loads(told.read_text())["jobs"]["completed"] < many
    balance(running)


AS_NOBODY: Final = """
import os, sys
from bgjob import Client
from bgjob.errors import PermissionDeniedError

os.setgid(65534)
os.setuid(65534)
client = Client(sys.argv[1])
client.stats()
for ask in (lambda: client.prune([1], 10**9), lambda: client.prune_logs("2030-01-01T00:00:00Z")):
    try:
        ask()
    except PermissionDeniedError as error:
        print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run as another user")
def test_who_may_do_everything_else_may_not_prune() -> None:
    with directory_for_all() as directory, daemon(directory) as running:
        with running.client() as client:
            run(client, "echo", 2)
        running.socket.chmod(0o666)
        command = [sys.executable, "-c", AS_NOBODY, str(running.socket)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.stdout.count("root and the daemon's own user may") == 2, done
        assert len(ids(running)) == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--completed", "soon"), "must be a time"),
        (("--logs", "-1"), "must be a time"),
        (("--archive", "x", "--logs", "1d"), "--archive goes without --logs"),
    ],
)
def test_prune_says_what_is_wrong_with_its_arguments(
    tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = bgjobd(RunningDaemon(tmp_path), "prune", *arguments)
    assert done.returncode == 2
    assert told in done.stderr


def test_where_there_is_no_database_prune_and_backup_say_so_and_make_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = RunningDaemon(tmp_path)
    for command in ("prune", "backup"):
        done = bgjobd(
            running, command, *(["--dry-run"] if command == "prune" else [str(tmp_path / "copy.db")])
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "there is no such file; is --config the daemon's own?" in done.stderr
    assert not (tmp_path / "state").exists()
    for is_made in (False, True):  # what an installation makes, and no daemon has used yet
        if is_made:
            (tmp_path / "state").mkdir()
        settings = load(running.config, {}, is_root=False)
        assert backup(argparse.Namespace(file=None, force=False), settings) == 1
        assert "there is no such file; is --config the daemon's own?" in capsys.readouterr().err
        assert not (tmp_path / "state" / "backups").exists()
    assert not (tmp_path / "copy.db").exists()


def test_prune_says_so_where_a_daemon_holds_the_lock_and_does_not_answer(running: RunningDaemon) -> None:
    with running.client() as client:
        run(client, "echo", 2)
    running.socket.unlink()
    done = bgjobd(running, "prune", "--completed", "0")
    assert (done.returncode, done.stdout) == (69, "")
    assert "a daemon holds" in done.stderr


# Backups


def copied(path: Path, question: str) -> Any:
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(question).fetchone()[0]
    finally:
        connection.close()


def test_a_backup_is_whole_though_the_daemon_writes_meanwhile(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        client.pause()
        client.submit_many([{"class_name": PROBE, "method_name": "echo"}] * 2000)
        target = tmp_path / "copy.db"
        with (tmp_path / "told").open("w") as out:
            process = warm.Process(
                ["backup", str(target), "--config", str(running.config)], stdout=out.fileno()
            )
        submitted = 2000
        while process.poll() is None:
            client.run_background_job(PROBE, "echo")
            submitted += 1
        assert (process.returncode, str(target) in (tmp_path / "told").read_text()) == (0, True)
    assert submitted > 2000
    assert copied(target, "PRAGMA integrity_check") == "ok"
    jobs = copied(target, "SELECT count(*) FROM background_jobs")
    assert 2000 <= jobs <= submitted
    assert copied(target, "SELECT max(id) FROM background_jobs") == jobs
    assert copied(target, "SELECT count(DISTINCT job_id) FROM job_logs") == jobs
    assert target.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == ["copy.db"]


def test_a_backup_without_a_name_goes_to_the_others_and_needs_no_daemon(running: RunningDaemon) -> None:
    with running.client() as client:
        run(client, "echo")
    running.stop()
    assert bgjobd(running, "backup").returncode == 0
    (path,) = (running.directory / "state" / "backups").iterdir()
    assert copied(path, "SELECT status FROM background_jobs") == "completed"


def test_a_backup_takes_the_place_of_no_file_unless_told_to(shared: RunningDaemon, tmp_path: Path) -> None:
    target = tmp_path / "copy.db"
    target.write_text("precious")
    refused = bgjobd(shared, "backup", str(target))
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    assert target.read_text() == "precious"
    assert bgjobd(shared, "backup", str(target), "--force").returncode == 0
    assert copied(target, "PRAGMA integrity_check") == "ok"


def test_a_backup_into_a_directory_that_is_not_there_names_it(shared: RunningDaemon, tmp_path: Path) -> None:
    nowhere = bgjobd(shared, "backup", str(tmp_path / "nosuch" / "b.db"))
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        f"bgjobd: there is no copy: there is no directory {tmp_path / 'nosuch'}; make it\n",
    )


def test_a_damaged_database_gives_no_backup(running: RunningDaemon, tmp_path: Path) -> None:
    with running.client() as client:
        client.pause()
        client.submit_many([{"class_name": PROBE, "method_name": "echo"}] * 500)
    running.stop()
    with sqlite3.connect(running.database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with running.database.open("r+b") as file:
        file.seek(40 * 4096)
        file.write(b"\xff" * 4096 * 4)
    done = bgjobd(running, "backup", str(tmp_path / "copy.db"))
    assert done.returncode == 1
    assert "there is no copy" in done.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("copy")]


@pytest.mark.needs("strace")
def test_a_backup_goes_to_a_file_system_without_hard_links_and_takes_no_others_place_there(
    shared: RunningDaemon, tmp_path: Path
) -> None:
    target = tmp_path / "copy.db"
    without_links = ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull]
    without_links += ["-e", "trace=link,linkat", "-e", "inject=link,linkat:error=EPERM"]
    command = [sys.executable, "-m", "bgjobd", "backup", str(target), "--config", str(shared.config)]
    done = subprocess.run([*without_links, *command], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    assert copied(target, "PRAGMA integrity_check") == "ok"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("copy")] == ["copy.db"]


@needs_root
def test_a_backup_that_its_disk_has_no_room_for_leaves_nothing_and_names_that_disk(
    shared: RunningDaemon, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, "64k"):
        done = bgjobd(shared, "backup", str(disk / "copy.db"))
        assert (done.returncode, os.listdir(disk)) == (1, [])
        assert f"No space left on device: '{disk}'" in done.stderr


@pytest.mark.parametrize("is_later_boot", [False, True], ids=["in the same boot", "in a later one"])
def test_a_restored_backup_starts_nothing_that_may_have_run_since(
    tmp_path: Path, is_later_boot: bool
) -> None:
    with daemon(tmp_path, "[queues.mail]\nslots = 1") as running:
        restore_what_has_run_since(running, tmp_path, is_later_boot)


def restore_what_has_run_since(running: RunningDaemon, tmp_path: Path, is_later_boot: bool) -> None:
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    with running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: job.refresh()["status"] == "running")
        client.pause("mail")
        waiting = client.run_background_job(PROBE, "echo", {"value": "once"}, queue="mail")
        assert bgjobd(running, "backup", str(tmp_path / "copy.db")).returncode == 0
        client.resume("mail")
        go.touch()
        assert job.result(20) == "waited"
        assert waiting.result(20) == "once"
    running.stop()
    for name in ("bgjobd.db", "bgjobd.db-wal", "bgjobd.db-shm"):
        (running.database.parent / name).unlink(missing_ok=True)
    running.database.write_bytes((tmp_path / "copy.db").read_bytes())
    if is_later_boot:
        remove_tree(running.spool)
        with sqlite3.connect(running.database) as connection:
            connection.execute("UPDATE job_attempts SET boot_id = 'another'")
        connection.close()
    running.start()
    with running.client() as client:
        restored = client.get(job.id)
        restored.wait(20)
        assert restored.snapshot["status"] == "failed"
        assert [attempt["outcome"] for attempt in restored.snapshot["attempts"]] == ["lost"]
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert client.get(waiting.id).snapshot["status"] == "pending"
        assert {queue["name"]: queue["paused"] for queue in client.stats()["queues"]} == {
            "default": False,
            "mail": True,
        }
    eventually(lambda: [line for line in running.lines() if "is a backup that was restored" in line])
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]
    assert copied(running.database, "SELECT count(*) FROM properties WHERE name = 'copied_at'") == 0
    balance(running)


def test_a_backup_that_is_put_beside_the_log_of_a_daemon_that_was_killed_is_not_taken_for_its_database(
    tmp_path: Path,
) -> None:
    backup, log = tmp_path / "backup.db", tmp_path / "state" / "bgjobd.db-wal"
    with daemon(tmp_path) as running:
        assert bgjobd(running, "backup", str(backup)).returncode == 0
        with running.client() as client:
            run(client, "echo", 2)
        running.stop(signal.SIGKILL)
        kept = log.read_bytes()
        running.database.write_bytes(backup.read_bytes())
        for command in (["backup"], ["prune", "--completed", "0"], ["check"]):
            done = bgjobd(running, *command)
            assert done.returncode == 1
            assert "move bgjobd.db-wal away first" in done.stderr + done.stdout
        assert running.spawn().wait(20) == 65
        assert "move bgjobd.db-wal away first" in running.console()
        assert log.read_bytes() == kept
        log.rename(tmp_path / "aside")
        running.start()
        eventually(lambda: [line for line in running.lines() if "is a backup that was restored" in line])


def test_after_a_restore_no_id_is_given_again_and_whoever_follows_the_log_misses_nothing(
    tmp_path: Path,
) -> None:
    backup = tmp_path / "backup.db"
    with daemon(tmp_path) as running:
        with running.client() as client:
            (kept,) = run(client, "say", text="kept")
            assert bgjobd(running, "backup", str(backup)).returncode == 0
            (lost,) = run(client, "say", text="of the lost one")
            seen = client.logs(limit=1).items[0]["id"]
            again = running.database.parent / "output" / f"{kept}.2.out"
            again.write_text("of a second attempt since")
        running.stop()
        for name in ("bgjobd.db-wal", "bgjobd.db-shm"):
            running.database.with_name(name).unlink(missing_ok=True)
        running.database.write_bytes(backup.read_bytes())
        running.start()
        with running.client() as client:
            with pytest.raises(JobNotFoundError):
                client.get(lost)
            assert run(client, "say", text="its own") == [2_000_001]
            messages = [entry["message"] for entry in client.logs(after=seen)]
            assert "Background job initiated" in messages
            assert client.output(kept) == b"kept\nto stderr\n"
        assert not again.exists()
        eventually(lambda: [line for line in running.lines() if "ids at least a million ahead" in line])
        balance(running)
