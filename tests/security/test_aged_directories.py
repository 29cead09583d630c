"""Directories that somebody removes, or puts others in the place of, while jobs are alive."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.running import daemon
from tests.support import eventually

WAITING = """
import os, time


class Waiting:
    def run(self, path):
        open(f"{path}.begun", "w").close()
        while not os.path.exists(path):
            time.sleep(0.01)
        with open("made", "w") as file:
            file.write("by the job")
        return os.stat(".").st_ino
"""


def cleaned(tmp_path: Path, place: Path) -> None:
    """What systemd does at some time of the day, as though everything were too old."""
    rules = tmp_path / "rules.conf"
    rules.write_text(f"e {place} - - - 0\n")
    subprocess.run(["systemd-tmpfiles", "--clean", str(rules)], check=True, timeout=50)


def waiting(client: Any, go: Path) -> Any:
    """A job that runs until `go` is there."""
    job = client.run_background_job("waits.Waiting", "run", {"path": str(go)})
    eventually(go.with_name(f"{go.name}.begun").exists)  # by then it is in its directory
    return job


@pytest.mark.needs("systemd-tmpfiles")
def test_what_systemd_removes_for_its_age_is_nothing_of_a_daemon_that_runs(tmp_path: Path) -> None:
    """CVE-2026-3888 (snapd): systemd-tmpfiles removed a directory in /tmp that had aged, and an attacker made it anew.
    A person without $XDG_RUNTIME_DIR has the runtime directory in /tmp.
    """
    place, go = tmp_path / "tmp", tmp_path / "go"
    place.mkdir()
    with (
        daemon(place, '"waits.Waiting" = {}', modules={"waits": WAITING}) as running,
        running.client() as client,
    ):
        job = waiting(client, go)
        inode = (place / "run" / "work" / f"{job.id}.1").stat().st_ino
        stored = {path.name for path in (place / "state").iterdir()}
        (place / "old").mkdir()
        for cleaned_place in (place, place / "run"):
            cleaned(tmp_path, cleaned_place)
        assert not (place / "old").exists()
        assert (place / "run" / "work" / f"{job.id}.1").stat().st_ino == inode
        assert stored
        assert stored <= {path.name for path in (place / "state").iterdir()}
        go.touch()
        assert job.result(20) == inode
        assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1


def test_directories_that_an_attacker_makes_in_the_place_of_ours_get_nothing(tmp_path: Path) -> None:
    """The same, where removing them is no question: the parent is everybody's to write."""
    go, place, aside = tmp_path / "go", tmp_path / "run", tmp_path / "aside"
    with (
        daemon(tmp_path, '"waits.Waiting" = {}', modules={"waits": WAITING}) as running,
        running.client() as client,
    ):
        job = waiting(client, go)
        inode = (place / "work" / f"{job.id}.1").stat().st_ino
        place.rename(aside)
        names = [
            name for number in range(job.id, job.id + 3) for name in (f"work/{number}.1", f"spool/{number}.1")
        ]
        for name in names:
            (place / name).mkdir(parents=True)
        target = tmp_path / "target"
        target.write_text("precious")
        for number in range(job.id, job.id + 3):
            (place / "spool" / f"{number}.1.journal").symlink_to(target)
            (place / "spool" / f"{number}.1.stop").symlink_to(target)
        before = sorted(place.rglob("*"))
        go.touch()
        assert job.result(20) == inode
        another = client.run_background_job("waits.Waiting", "run", {"path": str(go)})
        assert another.result(20) != (place / "work" / f"{another.id}.1").stat().st_ino
        assert sorted(place.rglob("*")) == before
        assert target.read_text() == "precious"
        shutil.rmtree(place)
        os.rename(aside, place)
