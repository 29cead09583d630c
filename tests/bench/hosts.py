"""Several daemons with one PostgreSQL on this machine, beside one with its file: submits, drains by how many."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import measures
import server as servers
import station as stations
from limits import SLOTS
from measures import Latency
from report import Figure
from server import Server
from station import Station

DAEMONS: Final = (1, 2, 4)
_ROUNDS: Final = 3


@dataclass(frozen=True)
class Drains:
    """Jobs a second of so many daemons of SLOTS slots each, beside one that has its file; `waits` is how large a part
    of the time of their transactions each thing took that they waited for.
    """

    rate: float
    of_file: float
    waits: dict[str, float]


@dataclass(frozen=True)
class Hosts:
    """Milliseconds of a submit and jobs a second of a bulk, with the server and with the file; drains by daemons."""

    submit: tuple[float, float]
    bulk: tuple[float, float]
    drains: dict[int, Drains]


def measure(state_base: Path | None, jobs: int, samples: int) -> Hosts:
    """`jobs` of a drain and of a bulk, `samples` of a latency; all in turns with a daemon that has its file."""
    with servers.running(state_base) as server, stations.running(state_base) as of_file:
        measures.drain_rate(of_file, jobs // 10 or 1)
        drains = {count: _drains(server, of_file, state_base, count, jobs) for count in DAEMONS}
        with stations.running(state_base, database=server.database()) as one:
            measures.drain_rate(one, jobs // 10 or 1)
            pair = one, of_file
            for station in pair:
                station.client.pause()
            submits = [tuple(_submit(station, samples) for station in pair) for _ in range(_ROUNDS)]
            bulks = [tuple(_bulk(station, jobs) for station in pair) for _ in range(_ROUNDS)]
    return Hosts(_middle(submits), _middle(bulks), drains)


def _drains(server: Server, of_file: Station, state_base: Path | None, count: int, jobs: int) -> Drains:
    address = server.database()
    with ExitStack() as stack:
        several = [stack.enter_context(stations.running(state_base, database=address)) for _ in range(count)]
        measures.drain_rate(several[0], jobs // 10 or 1, count)
        seen: Counter[str] = Counter()
        rates = []
        for _ in range(_ROUNDS):
            with servers.watched(address) as waits:
                rate = measures.drain_rate(several[0], jobs, count)
            seen.update(waits)
            rates.append((rate, measures.drain_rate(of_file, jobs)))
    total = seen.total() or 1
    return Drains(*_middle(rates), {name: number / total for name, number in seen.most_common()})


def _submit(station: Station, samples: int) -> float:
    return Latency.of(
        measures.timed(samples, lambda: station.client.run_background_job(stations.NOOP, "run"))
    ).p50


def _bulk(station: Station, jobs: int) -> float:
    return measures.submit_many(station, -(-jobs // 1000))


def _middle(pairs: list[tuple[float, ...]]) -> tuple[float, float]:
    ours, of_file = zip(*pairs, strict=True)
    return median(ours), median(of_file)


def figures(found: Hosts) -> list[Figure]:
    """The lines of the table; the limit is what a daemon with its file does in the same run."""
    return [
        _beside("PostgreSQL: submit, one by one, p50", *found.submit, "ms"),
        _beside("PostgreSQL: submit in bulk", *found.bulk, "jobs/s"),
        *(
            _beside(f"PostgreSQL: drain, {_daemons(count)}", drains.rate, drains.of_file, "jobs/s")
            for count, drains in found.drains.items()
        ),
        *(
            Figure(f"PostgreSQL: {_daemons(count)}, transactions at {name}", 100 * part, "%")
            for count, drains in found.drains.items()
            for name, part in [*drains.waits.items()][:4]
        ),
    ]


def _daemons(count: int) -> str:
    return f"{count} x {SLOTS} slots"


def _beside(name: str, value: float, of_file: float, unit: str) -> Figure:
    return Figure(name, value, unit, of_file, value / of_file)
