"""A database that cannot be written for a while, or at all: nothing acknowledged is lost, and it goes on by itself."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import StorageUnavailableError
from bgjobd.store import database as databases
from bgjobd.store.database import FILE_NAME, DamagedDatabaseError, prepare
from bgjobd.store.engines import sqlite
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.faults import books
from tests.faults.injecting import (
    calls_made,
    ext4,
    failing_calls,
    fill,
    full_disk,
    held_by_another_program,
    long_reader,
    needs_root,
    pid_of,
    small_disk,
)
from tests.store.samples import Store, asked
from tests.support import eventually

PROBE = "probes.Probe"

Trouble = Callable[[RunningDaemon], AbstractContextManager[None]]

TROUBLES: dict[str, tuple[Trouble, str]] = {
    "a full disk": (
        lambda running: full_disk(running.database.parent),
        "disk is full|No space left",  # as SQLite says it, and as the kernel does when it is tried again
    ),
    "a write without room": (
        lambda running: failing_calls(pid_of(running), "pwrite64", "ENOSPC"),
        "disk is full",
    ),
    "an I/O error of a write": (
        lambda running: failing_calls(pid_of(running), "pwrite64", "EIO"),
        "disk I/O error",
    ),
    "an I/O error of a sync": (
        lambda running: failing_calls(pid_of(running), "fdatasync", "EIO"),
        "disk I/O error",
    ),
    "a read-only disk": (
        lambda running: failing_calls(pid_of(running), "pwrite64", "EROFS"),
        "disk I/O error",
    ),
    "a lock": (lambda running: held_by_another_program(running.database), "database is locked"),
}
UNTRACED = ("a full disk", "a lock")
"""Those that take no strace."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("storage")
    with small_disk(directory / "state", "4m"), daemon(directory) as running:
        yield running
        books.check(running, acknowledged=())


def _said(running: RunningDaemon, part: str) -> list[str]:
    return [line for line in running.lines() if part in line]


def _is_refused(client: Client) -> bool:
    try:
        client.run_background_job(PROBE, "echo", delay=1e6)
    except StorageUnavailableError:
        return True
    return False


@needs_root
@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        pytest.param(*of, id=name, marks=() if name in UNTRACED else pytest.mark.needs("strace"))
        for name, of in TROUBLES.items()
    ],
)
def test_trouble_refuses_submits_keeps_ends_and_passes(
    running: RunningDaemon, tmp_path: Path, trouble: Trouble, reason: str
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    begun, over = len(_said(running, "cannot be written")), len(_said(running, "can be written again"))
    with running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        eventually(ledger.exists)
        with trouble(running):
            eventually(lambda: _is_refused(client))
            stored = client.stats()["jobs"]
            go.touch()
            eventually(lambda: ledger.read_text().count("\n") == 2)
            for _ in range(20):
                assert _is_refused(client)
            assert client.stats()["jobs"] == stored
            assert re.search(reason, client.stats()["storage_trouble"])
            assert client.get(job.id).snapshot["status"] == "running"
            assert client.list()
        end = job.wait(20)
        assert (end["status"], end["result"]) == ("completed", "waited")
        assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
        assert client.stats()["storage_trouble"] is None
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]
    eventually(lambda: len(_said(running, "can be written again")) == over + 1)
    assert eventually(lambda: len(_said(running, "cannot be written")) == begun + 1)
    assert re.search(reason, _said(running, "cannot be written")[-1])
    assert running.query("PRAGMA integrity_check") == [("ok",)]


@needs_root
@pytest.mark.needs("strace")
def test_nothing_starts_in_trouble_and_what_came_due_meanwhile_starts_after_it(
    running: RunningDaemon, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    with running.client() as client:
        due = client.run_background_job(PROBE, "note", {"ledger": str(ledger)}, delay=3.0)
        with failing_calls(pid_of(running), "pwrite64", "EIO"):
            # Found when the job came due, or by the refusal.
            eventually(lambda: client.stats()["storage_trouble"])
            assert client.get(due.id).snapshot["status"] == "pending"
            assert not ledger.exists()
        assert due.wait(20)["status"] == "completed"
    assert len(ledger.read_text().splitlines()) == 1


@needs_root
@pytest.mark.needs("strace")
def test_trouble_is_not_over_before_something_was_written_though_nobody_has_anything_to_store(
    running: RunningDaemon, tmp_path: Path
) -> None:
    syncs = tmp_path / "syncs"
    with running.client() as client:
        eventually(lambda: "loaded" in [one["kind"] for one in client.changes()])
        over = len(_said(running, "can be written again"))
        with failing_calls(pid_of(running), "fdatasync", "EIO", syncs):
            assert _is_refused(client)
            eventually(lambda: calls_made(syncs, "fdatasync") >= 4)
            assert "disk I/O error" in client.stats()["storage_trouble"]
            assert eventually(lambda: len(_said(running, "can be written again")) == over)
        eventually(lambda: client.stats()["storage_trouble"] is None)


@needs_root
def test_room_is_proved_by_bytes_that_the_disk_takes(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m"):
        sqlite._prove_room(tmp_path / "disk")
        with full_disk(tmp_path / "disk"), pytest.raises(OSError, match="No space left"):
            sqlite._prove_room(tmp_path / "disk")
        assert list((tmp_path / "disk").iterdir()) == []


@needs_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.needs("strace")
def test_a_daemon_that_ends_in_trouble_leaves_the_ends_to_the_next(tmp_path: Path, number: int) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running:
        with running.client() as client:
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
            eventually(ledger.exists)
            server = running.fork_server()
            with failing_calls(pid_of(running), "fdatasync", "EIO"):
                eventually(lambda: _is_refused(client))
                go.touch()
                eventually(lambda: ledger.read_text().count("\n") == 2)
                code = running.stop(number)
        assert code == (0 if number == signal.SIGTERM else -number)
        eventually(lambda: not is_alive(server))
        running.start()
        with running.client() as client:
            end = client.get(job.id).wait(20)
        assert (end["status"], len(end["attempts"])) == ("completed", 1)
        assert ledger.read_text().count("\n") == 2


@needs_root
@pytest.mark.needs("strace")
def test_a_refused_submit_that_a_kill_brings_back_was_told_to_be_uncertain_and_a_repeat_is_one_job(
    tmp_path: Path,
) -> None:
    """The sync fails, the pages of the commit are in the log all the same: whoever opens it next finds them there."""
    one_try = "from bgjobd.store import writer; writer._FIRST_PAUSE = 60.0"  # the next would write over them
    with daemon(tmp_path, changes=one_try) as running:
        with running.client() as client:
            client.pause()
            # Nothing else is to be stored.
            eventually(lambda: "loaded" in [one["kind"] for one in client.changes()])
            with failing_calls(pid_of(running), "fdatasync", "EIO"):
                with pytest.raises(StorageUnavailableError) as caught:
                    client.run_background_job(PROBE, "echo", {"value": 1})
                with pytest.raises(StorageUnavailableError) as later:
                    client.run_background_job(PROBE, "echo", {"value": 2})
                running.stop(signal.SIGKILL)
        running.start()
        with running.client() as client:
            assert [job["id"] for job in client.list()] == [1]  # refused, and there
            assert (caught.value.may_be_stored, later.value.may_be_stored) == (True, False)
            (key,) = caught.value.idempotency_keys
            assert client.run_background_job(PROBE, "echo", {"value": 1}, idempotency_key=key).id == 1
            assert len(client.list()) == 1


@needs_root
def test_a_disk_that_turned_read_only_is_told_and_goes_on_after_a_repair_and_a_restart(
    tmp_path: Path,
) -> None:
    """The kernel lets no such file system be written again before it was unmounted."""
    image = tmp_path / "image"
    with ext4(image, tmp_path / "state") as device, daemon(tmp_path) as running, running.client() as client:
        stored = client.run_background_job(PROBE, "echo", {"value": 1}, delay=1e6)
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1")
        eventually(lambda: _is_refused(client))
        assert _is_refused(client)
        assert "cannot be written" in client.stats()["storage_trouble"]
        assert client.get(stored.id).snapshot["status"] == "pending"
        assert running.stop() == 0
    # Fork servers have directories of it open, and so has one that tries what could not be imported.
    eventually(lambda: not Path(f"/sys/block/{device}/loop/backing_file").exists())
    with ext4(image, tmp_path / "state"), daemon(tmp_path) as running:
        with running.client() as client:
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            assert client.get(stored.id).snapshot["status"] == "pending"
        assert running.stop() == 0


def test_a_program_that_reads_on_and_on_is_told_of_and_costs_no_disk_once_it_ends(tmp_path: Path) -> None:
    large = {"class_name": PROBE, "method_name": "echo", "parameters": {"value": "x" * 60_000}}
    wal = tmp_path / "state" / f"{FILE_NAME}-wal"
    with daemon(tmp_path) as running, running.client() as client:
        client.pause()
        with long_reader(running.database):
            while client.stats()["storage_trouble"] is None:
                client.submit_many([large] * 15)
                assert wal.stat().st_size < 64 * 1024 * 1024, "nobody told of it"
            client.submit_many([large] * 15)
        assert "fuser -v" in client.stats()["storage_trouble"]
        for _ in range(2):  # the first empties the log, the next begins it anew
            client.submit_many([large] * 15)
        assert client.stats()["storage_trouble"] is None
        assert wal.stat().st_size <= databases._KEPT_WAL
        eventually(lambda: len(_said(running, "write-ahead log has")) == 2)
        assert "grown to" in _said(running, "write-ahead log has")[0]


# A file that is damaged


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of some dozen pages, all of it in the main file."""
    directory = tmp_path_factory.mktemp("filled")
    store = Store(directory)
    store.submit(*[asked(parameters={"text": "x" * 9000}) for _ in range(10)])
    store.close()
    return directory / FILE_NAME


def _page_count(path: Path) -> int:
    return path.stat().st_size // 4096


def test_a_damaged_page_is_found_at_the_start_wherever_it_is_and_nothing_is_changed(
    filled: Path, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    for page in range(_page_count(filled)):
        damaged = bytearray(filled.read_bytes())
        damaged[page * 4096 : page * 4096 + 8] = b"\xff" * 8
        path.write_bytes(damaged)
        with pytest.raises(DamagedDatabaseError):
            prepare(tmp_path)
        assert path.read_bytes() == damaged
        for beside in tmp_path.glob(f"{FILE_NAME}-*"):
            beside.unlink()


def test_a_large_file_holds_up_no_start(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(filled, tmp_path / FILE_NAME)
    monkeypatch.setattr(databases, "_CHECKED_FOR", -1.0)
    monkeypatch.setattr(databases, "_STEPS_BETWEEN", 1)
    prepare(tmp_path)


def test_a_damaged_database_is_kept_and_refused_with_the_repair_and_a_code_of_its_own(
    filled: Path, tmp_path: Path
) -> None:
    running = RunningDaemon(tmp_path)
    running.database.parent.mkdir()
    damaged = bytearray(filled.read_bytes())
    damaged[5 * 4096 : 6 * 4096] = bytes(4096)
    running.database.write_bytes(damaged)
    assert running.spawn().wait(20) == 65
    assert running.database.read_bytes() == damaged
    for told in (str(running.database), ".recover", "backups"):
        assert told in running.console()
    assert "Traceback" not in running.console()


@pytest.fixture(scope="module")
def in_the_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a database whose daemon was killed: eight commits of a job each stand in its log alone."""
    directory = tmp_path_factory.mktemp("log")
    store = Store(directory)
    store.database.execute_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    for _ in range(8):
        store.submit(asked())
    shutil.copytree(directory, directory / "killed", ignore=shutil.ignore_patterns("killed"))
    store.close()
    return directory / "killed"


_FRAME = 24 + 4096


def _jobs_after(state_dir: Path) -> int:
    """How many jobs a start finds; every one of them whole."""
    prepare(state_dir)
    with sqlite3.connect(state_dir / FILE_NAME) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (jobs,) = database.execute("SELECT count(*) FROM background_jobs").fetchone()
        logged = database.execute("SELECT count(DISTINCT job_id) FROM job_logs").fetchone()
    database.close()
    assert logged == (jobs,)
    return int(jobs)


def _copied(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target / f"{FILE_NAME}-wal"


def test_a_torn_log_is_rolled_back_to_a_commit(in_the_log: Path, tmp_path: Path) -> None:
    found = []
    whole = (in_the_log / f"{FILE_NAME}-wal").read_bytes()
    for size in sorted(
        {*range(32, len(whole), _FRAME), *range(32 + _FRAME // 2, len(whole), _FRAME), len(whole)}
    ):
        _copied(in_the_log, tmp_path / "state").write_bytes(whole[:size])
        found.append(_jobs_after(tmp_path / "state"))
    assert found == sorted(found)
    assert set(found) == set(range(9))


def test_a_damaged_frame_of_the_log_costs_what_came_after_it_and_no_more(
    in_the_log: Path, tmp_path: Path
) -> None:
    found = []
    whole = (in_the_log / f"{FILE_NAME}-wal").read_bytes()
    for place in range(32 + 100, len(whole), _FRAME):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        _copied(in_the_log, tmp_path / "state").write_bytes(damaged)
        found.append(_jobs_after(tmp_path / "state"))
    assert found == sorted(found)
    assert set(found) == set(range(8))


@pytest.mark.parametrize("beside", ["shm", "wal"])
@pytest.mark.parametrize("is_there", [True, False], ids=["of zeros", "gone"])
def test_a_database_whose_files_beside_it_are_spoilt_is_whole(
    in_the_log: Path, tmp_path: Path, beside: str, is_there: bool
) -> None:
    _copied(in_the_log, tmp_path / "state")
    spoilt = tmp_path / "state" / f"{FILE_NAME}-{beside}"
    size = spoilt.stat().st_size
    spoilt.unlink()
    if is_there:
        spoilt.write_bytes(bytes(size))
    assert _jobs_after(tmp_path / "state") == (8 if beside == "shm" else 0)


# A migration that fails


@needs_root
def test_a_migration_without_room_leaves_the_file_as_it_was_and_says_what_to_do(tmp_path: Path) -> None:
    running = RunningDaemon(tmp_path)
    with small_disk(tmp_path / "state", "1m"):
        old = sqlite3.connect(running.database)
        old.executescript((Path(__file__).parents[1] / "store" / "version_1.sql").read_text())
        old.execute("PRAGMA journal_mode = wal")
        old.close()
        before = running.query("SELECT * FROM background_jobs")
        fill(tmp_path / "state" / "filler", leave=64 * 1024)
        assert running.spawn().wait(20) == 65
        told = running.console()
        assert "could not be brought from schema version 1" in told
        assert "it is as it was" in told
        assert "room" in told
        assert running.query("SELECT * FROM background_jobs") == before
        assert running.query("PRAGMA user_version") == [(1,)]
        assert list((tmp_path / "state" / "backups").glob("*")) == []
        (tmp_path / "state" / "filler").unlink()
        running.start()
        try:
            assert running.query("SELECT count(*) FROM background_jobs") == [(len(before),)]
            assert len(list((tmp_path / "state" / "backups").glob("*.db"))) == 1
        finally:
            running.stop(signal.SIGKILL)


# Power loss


@needs_root
def test_what_was_acknowledged_is_there_after_the_power_failed(tmp_path: Path) -> None:
    """What the disk had at that moment is copied from below the file system, with nothing flushed for the copy."""
    image, later = tmp_path / "image", tmp_path / "later"
    with ext4(image, tmp_path / "state"), daemon(tmp_path) as running, running.client() as client:
        client.pause()
        acknowledged = [client.run_background_job(PROBE, "echo", {"value": n}).id for n in range(20)]
        running.process.send_signal(signal.SIGSTOP)  # type: ignore[union-attr]
        shutil.copyfile(image, tmp_path / "copy")
        running.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
    with ext4(tmp_path / "copy", later):
        prepare(later)
        database = sqlite3.connect(later / FILE_NAME)
        found = [job_id for (job_id,) in database.execute("SELECT id FROM background_jobs ORDER BY id")]
        database.close()
    assert found == acknowledged
