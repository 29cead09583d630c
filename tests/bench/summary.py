"""What the project is measured by, on one screen: each figure beside what this machine does at best, in the same run.

What is limited by the machine is measured in turns with its limit, so that both meet it in the same mood.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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
    """PSS in MiB after a few jobs; the spares are told apart, for they take the place of attempts.

    `attempt` is what one of a no-op has for itself alone.
    """

    daemon: float
    fork_server: float
    page: float
    spares: float
    attempt: float

    @property
    def sum(self) -> float:
        return self.daemon + self.fork_server + self.page


@dataclass(frozen=True)
class Large:
    """Of an application of 100 MiB: milliseconds from a submit to the body, jobs a second of a drain with 2 slots."""

    to_body: float
    drain: float


@dataclass(frozen=True)
class Summary:
    """Milliseconds of latencies, jobs a second of rates, milliseconds of CPU of commands.

    `drains` are by slots. `slowest` are those of a submit and of a body that a hundredth exceeds. `dated` is how much
    longer a job takes to its end if a parameter is a date. `start` is from exec to the first answer, `loop` what a
    million turns of a loop in Python take.
    """

    submit: Beside
    bulk: Beside
    drains: dict[int, Beside]
    to_body: Beside
    to_result: Beside
    slowest: tuple[float, float]
    dated: float
    large: Large
    memory: Memory
    commands: dict[str, float]
    start: float
    loop: float


def measure(
    state_base: Path | None, jobs: int, samples: int, database: Callable[[], str] = lambda: ""
) -> Summary:
    """Measure it all: `jobs` of a drain and of a bulk, `samples` of a latency; each daemon has its file, or a
    `database` of its own on a server.
    """
    running = partial(stations.running, state_base)
    loop = limits.loop()
    with running(database=database()) as one:
        _warm_up(one)
        to_body, to_result, slowest_body = _latencies(one, samples)
        one.client.pause()
        submits: list[Latency] = []
        submit = _in_turns(
            lambda: _noted(submits, _submit(one, samples)).p50,
            lambda: median(limits.committed_echo_latency(one.state, samples)),
        )
        bulk = _in_turns(
            lambda: measures.submit_many(one, -(-jobs // 1000)), lambda: limits.row_rate(one.state, jobs)
        )
        commands = _commands(one, min(samples, 5))
    with (
        running(web=True, spares=0, database=database()) as with_page,
        running(database=database()) as with_spares,
    ):
        for one in (with_page, with_spares):
            _warm_up(one)
        memory = _memory(with_page, with_spares)
        start = median(_restart(with_page) for _ in range(_ROUNDS))
    with running(approved=(stations.NOOP, stations.DATED), database=database()) as with_dates:
        _warm_up(with_dates)
        dated = _dated(with_dates, samples)
    with running(2, approved=(stations.NOOP, stations.LARGE), database=database()) as with_much:
        _warm_up(with_much)
        large = Large(
            median(measures.one_job(with_much)[0] for _ in range(samples)),
            measures.drain_rate(with_much, jobs),
        )
    drains = {slots: _drain(state_base, slots, jobs, database()) for slots in (2, 4)}
    slowest = median(found.p99 for found in submits), slowest_body
    return Summary(
        submit, bulk, drains, to_body, to_result, slowest, dated, large, memory, commands, start, loop
    )


def figures(found: Summary, has_targets: bool = True) -> list[Figure]:
    """The lines of the screen; the limits, and what is to be reached, are of a file on this machine."""
    lines = _figures(found)
    return lines if has_targets else [replace(line, target="", is_met=None) for line in lines]


def _figures(found: Summary) -> list[Figure]:
    return [
        _beside("submit, one by one, p50", found.submit, "ms", "<= 1.8", found.submit.ratio <= 1.8),
        Figure("submit, one by one, p99", found.slowest[0], "ms"),
        _beside("submit in bulk", found.bulk, "jobs/s"),
        *(
            _beside(f"drain, {slots} slots", drain, "jobs/s", ">= 0.95", drain.ratio >= 0.95)
            for slots, drain in found.drains.items()
        ),
        _beside(
            "submit to the body's first line, p50", found.to_body, "ms", "<= 1.3", found.to_body.ratio <= 1.3
        ),
        Figure("submit to the body's first line, p99", found.slowest[1], "ms"),
        _beside("submit to the result, p50", found.to_result, "ms", "<= 1.5", found.to_result.ratio <= 1.5),
        Figure("PSS with the page", found.memory.sum, "MiB", target="<= 45", is_met=found.memory.sum <= 45),
        Figure("PSS of the daemon", found.memory.daemon, "MiB"),
        Figure("PSS of the fork server", found.memory.fork_server, "MiB"),
        Figure("PSS of the page", found.memory.page, "MiB"),
        Figure("PSS of the spares", found.memory.spares, "MiB"),
        Figure("memory of an attempt of its own", found.memory.attempt, "MiB"),
        Figure("a parameter that is a date", found.dated, "ms", target="+ 0", is_met=found.dated < 1),
        Figure("drain, 2 slots, an application of 100 MiB", found.large.drain, "jobs/s"),
        Figure("submit to the first line there, p50", found.large.to_body, "ms"),
        Figure("start to the first answer", found.start, "ms"),
        *(Figure(f"CPU of {name}", spent, "ms") for name, spent in found.commands.items()),
        Figure("a loop of a million turns in Python", found.loop, "ms"),
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


def _submit(one: Station, samples: int) -> Latency:
    return Latency.of(measures.timed(samples, lambda: one.client.run_background_job(stations.NOOP, "run")))


def _noted(into: list[Latency], found: Latency) -> Latency:
    into.append(found)
    return found


def _latencies(one: Station, samples: int) -> tuple[Beside, Beside, float]:
    """From just before a submit to the body, and to the result, of the same jobs, each beside its limit; and the p99 of
    the first.
    """
    bodies, results, all_bodies = [], [], []
    for _ in range(_ROUNDS):
        found = [measures.one_job(one) for _ in range(-(-samples // _ROUNDS))]
        at_best = limits.job_latency(one.state, -(-samples // _ROUNDS))
        bodies.append((median(body for body, _ in found), median(body for body, _ in at_best)))
        results.append((median(result for _, result in found), median(result for _, result in at_best)))
        all_bodies += [body for body, _ in found]
    return _middle(bodies), _middle(results), Latency.of(all_bodies).p99


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


def _drain(state_base: Path | None, slots: int, jobs: int, database: str) -> Beside:
    with stations.running(state_base, slots, database=database) as one:
        _warm_up(one)
        return _in_turns(
            lambda: measures.drain_rate(one, jobs),
            lambda: limits.drain_rate(one.state, jobs // 4 or 1, slots),
        )


def _memory(one: Station, with_spares: Station) -> Memory:
    """What the spares add is told by a fork server that has them beside one that has none: they share pages."""
    one.look_at_page()
    with one.held(1):
        (attempt,) = map(processes.uss, one.forked(1))
    one.client.resume()
    spares = with_spares.forked(limits.SLOTS)
    daemon, fork_server, page = map(processes.pss, (one.pid, one.fork_server, one.page))
    beside = sum(map(processes.pss, (with_spares.fork_server, *spares)))
    return Memory(daemon, fork_server, page, spares=beside - fork_server, attempt=attempt)


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
