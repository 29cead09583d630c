"""The database's files moved away, replaced or removed under the daemon: what nobody would find is not acknowledged."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import StorageUnavailableError
from bgjobd.store.database import FILE_NAME
from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.support import eventually

PROBE = "probes.Probe"


def _refusal(client: Client) -> StorageUnavailableError:
    with pytest.raises(StorageUnavailableError) as caught:
        client.run_background_job(PROBE, "echo", {"value": 1})
    return caught.value


def test_a_database_that_was_moved_takes_no_job_until_it_is_back_and_nothing_is_lost(tmp_path: Path) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path) as running, running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: client.get(job.id).snapshot["attempts"][0]["pid"])
        eventually(ledger.exists)
        running.database.rename(tmp_path / "aside.db")
        error = _refusal(client)
        assert f"{running.database} was moved or removed" in str(error)
        assert error.parameters["may_be_stored"] is False
        assert "put it back" in client.stats()["storage_trouble"]
        go.touch()
        eventually(lambda: ledger.read_text().count("\n") == 2)
        assert "put it back" in _refusal(client).parameters["reason"]
        assert not running.database.exists()
        assert client.get(job.id).snapshot["status"] == "running"  # its end waits to be stored
        (tmp_path / "aside.db").rename(running.database)
        assert job.wait(20)["status"] == "completed"
        _move_all_away_and_back(running, client)
        after = client.run_background_job(PROBE, "echo", {"value": 2})
        assert after.result(20) == 2
        assert client.stats()["storage_trouble"] is None
        assert running.query("SELECT count(*) FROM background_jobs") == [(2,)]
        books.check(running, acknowledged=[job.id, after.id])
    assert ledger.read_text().count("\n") == 2


def _move_all_away_and_back(running: RunningDaemon, client: Client) -> None:
    state, elsewhere = running.database.parent, running.directory / "elsewhere"
    state.rename(elsewhere)
    state.mkdir()
    assert "was moved or removed" in _refusal(client).parameters["reason"]
    assert list(state.iterdir()) == []
    state.rmdir()
    elsewhere.rename(state)
    eventually(lambda: client.stats()["storage_trouble"] is None)


def test_another_file_in_the_place_of_the_database_is_served_after_a_restart_and_not_before(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        stored = client.run_background_job(PROBE, "echo", {"value": 1}, delay=1e6)
        copy = tmp_path / "copy.db"
        with sqlite3.connect(running.database) as database:
            database.execute("VACUUM INTO ?", (str(copy),))
        database.close()
        later = [client.run_background_job(PROBE, "echo", {"value": "x" * 9000}, delay=1e6) for _ in range(9)]
        before = copy.read_bytes()
        copy.rename(running.database)
        assert "another file is in the place of" in _refusal(client).parameters["reason"]
        assert "another file" in _refusal(client).parameters["reason"]
        assert client.get(later[-1].id).snapshot["status"] == "pending"  # as it is stored in the daemon's own
        assert running.database.read_bytes() == before
        assert Path(f"{running.database}-wal").read_bytes() == b""  # the new one's it would be taken for
        assert running.stop() == 0
        running.start()
        with running.client() as other:
            assert [job["id"] for job in other.list()] == [stored.id]
            assert other.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
            assert running.query("PRAGMA integrity_check") == [("ok",)]


def test_what_was_acknowledged_outlives_the_log_beside_the_database_that_somebody_removed(
    tmp_path: Path,
) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        ids = [client.run_background_job(PROBE, "echo", {"value": n}, delay=1e6).id for n in range(5)]
        Path(f"{running.database}-wal").unlink()
        error = _refusal(client)
        assert f"{FILE_NAME}-wal was moved or removed" in error.parameters["reason"]
        assert error.parameters["may_be_stored"] is False
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as other:
            assert sorted(job["id"] for job in other.list()) == ids
            assert other.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1


def test_a_link_to_where_the_database_was_moved_loses_nothing_that_its_log_has(tmp_path: Path) -> None:
    moved = tmp_path / "moved.db"
    with daemon(tmp_path) as running, running.client() as client:
        stored = client.run_background_job(PROBE, "echo", {"value": 1}, delay=1e6)
        running.database.rename(moved)
        running.database.symlink_to(moved)
        assert "another file is in the place of" in _refusal(client).parameters["reason"]
        running.stop(signal.SIGKILL)
        running.start()
        with running.client() as other:
            assert [job["id"] for job in other.list()] == [stored.id]
