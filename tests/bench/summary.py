"""What the project is measured by, on one screen: each figure beside what this machine does at best, in the same run.

What is limited by the machine is measured in turns with its limit, so that both meet it in the same mood.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import limits
import measures
import processes
import station as stations
from measures import Latency
from report import Figure
from station import Station

_ROUNDS: Final = 3
_COMMANDS: Final = {
    "bgjobd --version": ["--version"],
    "bgjobd --help": ["--help"],
    "bgjobd status": ["status"],
}


@dataclass(frozen=True)
class Beside:
    """A figure's middle value, and that of its limit, measured in turns."""

    value: float
    limit: float

    @property
    def ratio(self) -> float:
        return self.value / self.limit


@dataclass(frozen=True)
class Memory:
    """PSS in MiB after a few jobs; the spares are told apart, for they take the place of attempts."""

    daemon: float
    fork_server: float
    page: float
    spares: float

    @property
    def sum(self) -> float:
        return self.daemon + self.fork_server + self.page


@dataclass(frozen=True)
class Summary:
    """Milliseconds of latencies, jobs a second of rates, milliseconds of CPU of commands.

    `drains` are by slots. `dated` is how much longer a job takes to its end if a parameter is a date. `start` is from
    exec to the first answer.
    """

    submit: Beside
    bulk: Beside
    drains: dict[int, Beside]
    to_body: Beside
    to_result: Beside
    dated: float
    memory: Memory
    commands: dict[str, float]
    start: float


def measure(state_base: Path | None, jobs: int, samples: int) -> Summary:
    """Measure it all: `jobs` of a drain and of a bulk, `samples` of a latency."""
    with stations.running(state_base) as one:
        _warm_up(one)
        to_body, to_result = _latencies(one, samples)
        one.client.pause()
        submit = _in_turns(
            lambda: _p50(samples, lambda: one.client.run_background_job(stations.NOOP, "run")),
            lambda: median(limits.committed_echo_latency(one.state, samples)),
        )
        bulk = _in_turns(
            lambda: measures.submit_many(one, -(-jobs // 1000)), lambda: limits.row_rate(one.state, jobs)
        )
        commands = _commands(one, min(samples, 5))
    with (
        stations.running(state_base, web=True, spares=0) as with_page,
        stations.running(state_base) as with_spares,
    ):
        for one in (with_page, with_spares):
            _warm_up(one)
        memory = _memory(with_page, with_spares)
        start = median(_restart(with_page) for _ in range(_ROUNDS))
    with stations.running(state_base, dates=True) as with_dates:
        _warm_up(with_dates)
        dated = _dated(with_dates, samples)
    drains = {slots: _drain(state_base, slots, jobs) for slots in (2, 4)}
    return Summary(submit, bulk, drains, to_body, to_result, dated, memory, commands, start)


def figures(found: Summary) -> list[Figure]:
    """The lines of the screen."""
    return [
        _beside("submit, one by one, p50", found.submit, "ms", "<= 1.8", found.submit.ratio <= 1.8),
        _beside("submit in bulk", found.bulk, "jobs/s"),
        *(
            _beside(f"drain, {slots} slots", drain, "jobs/s", ">= 0.95", drain.ratio >= 0.95)
            for slots, drain in found.drains.items()
        ),
        _beside(
            "submit to the body's first line, p50", found.to_body, "ms", "<= 1.3", found.to_body.ratio <= 1.3
        ),
        _beside("submit to the result, p50", found.to_result, "ms", "<= 1.5", found.to_result.ratio <= 1.5),
        Figure("PSS with the page", found.memory.sum, "MiB", target="<= 45", is_met=found.memory.sum <= 45),
        Figure("PSS of the daemon", found.memory.daemon, "MiB"),
        Figure("PSS of the fork server", found.memory.fork_server, "MiB"),
        Figure("PSS of the page", found.memory.page, "MiB"),
        Figure("PSS of the spares", found.memory.spares, "MiB"),
        Figure("a parameter that is a date", found.dated, "ms", target="+ 0", is_met=found.dated < 1),
        Figure("start to the first answer", found.start, "ms"),
        *(Figure(f"CPU of {name}", spent, "ms") for name, spent in found.commands.items()),
    ]


def _beside(name: str, found: Beside, unit: str, target: str = "", is_met: bool | None = None) -> Figure:
    return Figure(name, found.value, unit, found.limit, found.ratio, target, is_met)


def _warm_up(one: Station) -> None:
    for _ in range(20):
        one.run_one()


def _in_turns(act: Callable[[], float], limit: Callable[[], float]) -> Beside:
    pairs = [(act(), limit()) for _ in range(_ROUNDS)]
    values, at_best = zip(*pairs, strict=True)
    return Beside(median(values), median(at_best))


def _p50(count: int, act: Callable[[], object]) -> float:
    return Latency.of(measures.timed(count, act)).p50


def _latencies(one: Station, samples: int) -> tuple[Beside, Beside]:
    """From just before a submit to the body, and to the result, of the same jobs; each beside its limit."""
    bodies, results = [], []
    for _ in range(_ROUNDS):
        found = [measures.one_job(one) for _ in range(-(-samples // _ROUNDS))]
        at_best = limits.job_latency(one.state, -(-samples // _ROUNDS))
        bodies.append((median(body for body, _ in found), median(body for body, _ in at_best)))
        results.append((median(result for _, result in found), median(result for _, result in at_best)))
    return _middle(bodies), _middle(results)


def _middle(pairs: list[tuple[float, float]]) -> Beside:
    values, at_best = zip(*pairs, strict=True)
    return Beside(median(values), median(at_best))


def _dated(one: Station, samples: int) -> float:
    def run(method: str) -> None:
        one.client.run_background_job(stations.DATED, method, {"on": "2024-12-04"}).result(timeout=30)

    found = _in_turns(
        lambda: _p50(-(-samples // _ROUNDS), lambda: run("run")),
        lambda: _p50(-(-samples // _ROUNDS), lambda: run("plain")),
    )
    return found.value - found.limit


def _drain(state_base: Path | None, slots: int, jobs: int) -> Beside:
    with stations.running(state_base, slots) as one:
        _warm_up(one)
        return _in_turns(
            lambda: measures.drain_rate(one, jobs),
            lambda: limits.drain_rate(one.state, jobs // 4 or 1, slots),
        )


def _memory(one: Station, with_spares: Station) -> Memory:
    """What the spares add is told by a fork server that has them beside one that has none: they share pages."""
    one.look_at_page()
    spares = with_spares.spares(limits.SLOTS)
    daemon, fork_server, page = map(processes.pss, (one.pid, one.fork_server, one.page))
    beside = sum(map(processes.pss, (with_spares.fork_server, *spares)))
    return Memory(daemon, fork_server, page, spares=beside - fork_server)


def _restart(one: Station) -> float:
    one.stop()
    return one.start() * 1e3


def _commands(one: Station, times: int) -> dict[str, float]:
    """Milliseconds of CPU, children included."""
    return {name: median(_cpu_of(one, args) for _ in range(times)) for name, args in _COMMANDS.items()}


def _cpu_of(one: Station, arguments: list[str]) -> float:
    more = ["--config", str(one.config)] if arguments == ["status"] else []
    before = os.times()
    subprocess.run([sys.executable, "-m", "bgjobd", *arguments, *more], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return spent * 1e3
