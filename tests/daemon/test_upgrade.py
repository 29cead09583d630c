"""An upgrade, or the way back, while attempts run: the other version's daemon adopts them, and nothing runs twice."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import bgjobd
from bgjobd.forkserver import journal_lines, wire
from tests.daemon.running import RunningDaemon, daemon, is_alive
from tests.support import eventually

PROBE = "probes.Probe"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a daemon whose journals and messages are one version on, which is compiled once."""
    package = tmp_path_factory.mktemp("next") / "bgjobd"
    shutil.copytree(Path(bgjobd.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for name, version in (("journal_lines", journal_lines.VERSION), ("wire", wire.VERSION)):
        source = package / "forkserver" / f"{name}.py"
        before = source.read_text()
        after = before.replace(f"\nVERSION = {version}\n", f"\nVERSION = {version + 1}\n")
        assert before != after
        source.write_text(after)
    return {"PYTHONPATH": str(package.parent), "PYTHONSAFEPATH": "1"}


def _wait(running: RunningDaemon, go: Path, ledger: Path) -> int:
    with running.client() as client:
        job = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
        eventually(lambda: ledger.exists() and ledger.read_text())
    return job.id


@pytest.mark.parametrize(
    ("is_upgrade", "ends_meanwhile"),
    [(True, True), (True, False), (False, True), pytest.param(False, False, marks=pytest.mark.long)],
)
def test_the_daemon_of_another_version_adopts_what_runs(
    tmp_path: Path, newer: dict[str, str], is_upgrade: bool, ends_meanwhile: bool
) -> None:
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with daemon(tmp_path, environ={} if is_upgrade else newer) as running:
        job = _wait(running, go, ledger)
        orphan = running.fork_server()
        running.stop(signal.SIGKILL)
        if ends_meanwhile:
            go.touch()
            eventually(lambda: not is_alive(orphan))
        running.start_with(newer if is_upgrade else {})
        with running.client() as client:
            go.touch()
            snapshot = client.get(job).wait(20)
            assert client.run_background_job(PROBE, "echo", {"value": 1}).result(20) == 1
    assert (snapshot["status"], snapshot["result"]) == ("completed", "waited")
    assert [one["exit_code"] for one in snapshot["attempts"]] == [0]
    assert [line.split()[0] for line in ledger.read_text().splitlines()] == ["start", "end"]


def test_a_fork_server_started_from_files_that_were_upgraded_meanwhile_says_to_restart_the_daemon(
    tmp_path: Path, newer: dict[str, str]
) -> None:
    own = shutil.copytree(newer["PYTHONPATH"], tmp_path / "next")
    with daemon(tmp_path, environ=newer | {"PYTHONPATH": str(own)}) as running, running.client() as client:
        client.classes()
        wires = own / "bgjobd" / "forkserver" / "wire.py"
        wires.write_text(wires.read_text().replace(f"VERSION = {wire.VERSION + 1}", "VERSION = 99"))
        os.kill(running.fork_server(), signal.SIGKILL)
        eventually(lambda: any("restart the daemon" in line for line in running.lines()))
