"""A file system that is frozen, with the database and the log's file on it: it is told, and nobody who reads waits."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bgjob import Client
from bgjob.errors import StorageUnavailableError
from tests.daemon.running import daemon
from tests.faults import books
from tests.faults.injecting import ext4, frozen, needs_root
from tests.support import eventually

PROBE = "probes.Probe"

IMPATIENT = "from bgjobd.daemon import silence; silence.PATIENCE = 0.5"

READS: dict[str, Callable[[Client], object]] = {
    "list": lambda client: client.list(),
    "search": lambda client: client.list(search="nothing of this name"),
    "logs": lambda client: client.logs(),
    "get": lambda client: client.get(1),
    "output": lambda client: client.output(1),
    "why": lambda client: client.why(2),
    "running": lambda client: client.running(),
    "stats": lambda client: client.stats(),
    "ping": lambda client: client.ping(),
}


@needs_root
def test_a_frozen_file_system_is_told_stops_no_reader_and_loses_nothing(tmp_path: Path) -> None:
    state = tmp_path / "state"
    go, ledger = tmp_path / "go", tmp_path / "ledger"
    with ext4(tmp_path / "image", state):
        (state / "log").mkdir(mode=0o700)
        (tmp_path / "log").symlink_to(state / "log")
        with daemon(tmp_path, changes=IMPATIENT) as running, running.client() as client:
            first = client.run_background_job(PROBE, "wait_for", {"path": str(go), "ledger": str(ledger)})
            eventually(lambda: client.get(first.id).snapshot["attempts"][0]["pid"] and ledger.exists())
            due = client.run_background_job(PROBE, "echo", {"value": 1}, delay=2.0)
            with ThreadPoolExecutor(1) as submitting, frozen(state):  # nobody has read since the last commit
                late = submitting.submit(client.run_background_job, PROBE, "echo", {"value": 2})
                with Client(str(running.socket), timeout=5.0) as reading:
                    for read in READS.values():
                        read(reading)
                    eventually(lambda: reading.stats()["storage_trouble"])
                    for read in READS.values():
                        read(reading)
                    told = reading.stats()["storage_trouble"]
                    assert "has not answered for" in told
                    assert "frozen" in told
                    eventually(lambda: "has not answered for" in reading.why(due.id))  # once it is due
                    with pytest.raises(StorageUnavailableError) as refused:
                        reading.run_background_job(PROBE, "echo")
                    assert not refused.value.may_be_stored
                    eventually(lambda: "has not answered for" in running.console())
                    go.touch()
                    eventually(lambda: ledger.read_text().count("\n") == 2)
            waited = late.result(20)
            assert (
                first.wait(20)["status"] == due.wait(20)["status"] == waited.wait(20)["status"] == "completed"
            )
            assert client.stats()["storage_trouble"] is None
            eventually(lambda: any("can be written again" in line for line in running.lines()))
            books.check(running, acknowledged=[first.id, due.id, waited.id])
