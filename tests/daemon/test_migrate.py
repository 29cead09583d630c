"""`bgjobd migrate`: a daemon's database goes to PostgreSQL and back, and jobs that run meanwhile are done once."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.daemon import warm
from tests.daemon.running import RunningDaemon, daemon
from tests.postgresql import USER, PostgreSQL
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture
def address(postgresql: PostgreSQL) -> str:
    """Of a new database, without tables."""
    return f"postgresql://{USER}@/{postgresql.database()}?host={quote(str(postgresql.directory), safe='')}"


def migrate(
    running: RunningDaemon, to: str, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return warm.run(["migrate", "--config", str(running.config), "--to", to], environ or {})


def test_a_job_that_runs_across_the_move_and_back_completes_once(tmp_path: Path, address: str) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    on_server = {"BGJOBD_DAEMON__DATABASE": address}
    with daemon(tmp_path) as running:
        with running.client() as client:
            done = client.run_background_job(PROBE, "echo", {"value": 5})
            assert done.result(20) == 5
            job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(ledger.exists)
        running.stop(signal.SIGTERM)
        moved = migrate(running, address)
        assert (moved.returncode, moved.stderr) == (0, "")
        assert "1 attempt without an end: the daemon that starts takes over what runs" in moved.stdout
        assert moved.stdout.splitlines()[-3:] == [
            "    [daemon]",
            f'    state_dir = "{tmp_path}/state"',
            f'    database = "{address}"',
        ]
        running.start_with(on_server)
        with running.client() as client:
            assert client.get(done.id).result(20) == 5
            assert client.get(job.id).snapshot["status"] == "running"
        running.stop(signal.SIGTERM)
        (tmp_path / "state" / "bgjobd.db").rename(tmp_path / "before.db")
        moved = migrate(running, str(tmp_path / "state"), on_server)
        assert (moved.returncode, moved.stderr) == (0, "")
        assert moved.stdout.splitlines()[-1] == "    # and no `database`"
        running.start_with({})
        with running.client() as client:
            go.touch()
            assert client.get(job.id).result(20) == "waited"
            assert client.run_background_job(PROBE, "echo", {"value": 1}).id > job.id
            assert len(client.get(job.id).snapshot["attempts"]) == 1
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]


def test_what_a_server_had_of_an_output_is_told_where_its_file_is_not(tmp_path: Path) -> None:
    with daemon(tmp_path) as running, running.client() as client:
        kept, own = (client.run_background_job(PROBE, "say", {"text": "here"}) for _ in range(2))
        for job in (kept, own):
            job.wait(20)
        (tmp_path / "state" / "output" / f"{kept.id}.1.out").unlink()
        assert kept.output() == b""
        with running.changing() as connection:
            for job in (kept, own):
                connection.execute(f"INSERT INTO job_outputs VALUES ({job.id}, 1, x'746865', x'7265', 0)")
        assert kept.output() == b"there"
        assert own.output() == b"here\nto stderr\n"


def test_it_is_refused_with_a_reason_and_an_exit_code(tmp_path: Path, address: str) -> None:
    with daemon(tmp_path) as running:
        refused = migrate(running, address)
        assert (refused.returncode, "already serves" in refused.stderr) == (75, True)
        running.stop(signal.SIGTERM)
        for to, code, told in (
            ("elsewhere", 2, "the database is a file already"),
            ("postgresql://a:secret@db/x", 2, "must have no password"),
            (f"postgresql:///shop?host={quote(str(tmp_path), safe='')}", 69, "cannot be used"),
        ):
            refused = migrate(running, to)
            assert (refused.returncode, told in refused.stderr) == (code, True), refused.stderr
            assert "secret" not in refused.stderr
        running.start()
        with running.client() as client:
            client.run_background_job(PROBE, "echo").wait(20)
        running.stop(signal.SIGTERM)
        assert migrate(running, address).returncode == 0
        with daemon(_beside(tmp_path), environ={"BGJOBD_DAEMON__DATABASE": address}) as other:
            with other.client() as client:
                client.run_background_job(PROBE, "echo").wait(20)
            other.stop(signal.SIGTERM)
        refused = migrate(running, address)
        assert (refused.returncode, "something of its own" in refused.stderr) == (2, True)


def _beside(tmp_path: Path) -> Path:
    (tmp_path / "other").mkdir()
    return tmp_path / "other"


def test_without_a_database_there_is_nothing_to_move(tmp_path: Path, address: str) -> None:
    moved = migrate(RunningDaemon(tmp_path), address)
    assert (moved.returncode, "there is no such file" in moved.stderr) == (1, True)
