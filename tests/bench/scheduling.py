"""What submits get while many schedules are due in each second: what becomes of all of them is decided beside."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

from measures import Latency, timed
from station import NOOP, Station

_EACH_SECOND: Final = {"job": f"{NOOP}::run", "every": "1s", "overlap": "allow"}
_PAUSE: Final = 0.005
"""Seconds between two submits: one after the other they would take what they are to be measured beside."""


@dataclass(frozen=True)
class Scheduling:
    """Milliseconds of submits with and without so many schedules beside, and of the one that took longest of these."""

    schedules: int
    alone: Latency
    beside: Latency
    longest: float

    @property
    def ratio(self) -> float:
        return self.beside.p99 / self.alone.p99


def scheduling(station: Station, schedules: int, submits: int) -> Scheduling:
    """Submit to a paused queue, with pauses: alone, and while schedules make a job a second."""
    station.client.pause()
    alone = _samples(station, submits)
    for number in range(schedules):
        station.client.put_schedule(f"bench/{number}", _EACH_SECOND)
    beside = _samples(station, submits)
    return Scheduling(schedules, Latency.of(alone), Latency.of(beside), max(beside))


def _samples(station: Station, submits: int) -> list[float]:
    found = []
    for _ in range(submits):
        found += timed(1, lambda: station.client.run_background_job(NOOP, "run"))
        time.sleep(_PAUSE)
    return found
