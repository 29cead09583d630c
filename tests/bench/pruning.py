"""What submits get while many finished jobs are deleted: `bgjobd prune` beside them, as a person runs it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from measures import Latency, timed
from station import NOOP, Station

_LONG_AGO: Final = "2020-01-01T00:00:00.000000Z"


@dataclass(frozen=True)
class Pruning:
    """Milliseconds of submits before, beside and after it; jobs deleted a second meanwhile, of so many."""

    jobs: int
    before: Latency
    beside: Latency
    after: Latency
    rate: float

    @property
    def alone(self) -> float:
        """The p99 with nothing beside."""
        return (self.before.p99 + self.after.p99) / 2

    @property
    def ratio(self) -> float:
        return self.beside.p99 / self.alone


def fill(station: Station, jobs: int) -> None:
    """Add so many jobs that ended long ago; the daemon is stopped meanwhile."""
    station.run_one()
    station.stop()
    with closing(sqlite3.connect(station.state / "bgjobd.db")) as database, database:
        database.execute("UPDATE background_jobs SET finished_at = ?", (_LONG_AGO,))
    station.add_finished(jobs)
    with closing(sqlite3.connect(station.state / "bgjobd.db")) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    station.start()
    station.run_one()


def pruning(station: Station, jobs: int, submits: int) -> Pruning:
    """Submit to a paused queue: alone, while jobs are deleted, and alone again."""
    station.client.pause()

    def latency() -> Latency:
        return Latency.of(timed(submits, lambda: station.client.run_background_job(NOOP, "run")))

    before = latency()
    with _prune(station):
        completed, began_at = _completed(station), time.monotonic()
        beside = latency()
        rate = (completed - _completed(station)) / (time.monotonic() - began_at)
    return Pruning(jobs, before, beside, latency(), rate)


def _completed(station: Station) -> int:
    completed: int = station.client.stats()["jobs"].get("completed", 0)
    return completed


@contextmanager
def _prune(station: Station) -> Iterator[None]:
    """Meanwhile the jobs are deleted; it has begun, and what is left at the end stays."""
    completed = _completed(station)
    command = [sys.executable, "-m", "bgjobd", "prune", "--config", str(station.config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while process.poll() is None and _completed(station) == completed:
                time.sleep(0.01)
            yield
        finally:
            process.kill()
