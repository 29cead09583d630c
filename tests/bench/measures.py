"""The measurements: each drives a station and gives a frozen value; none judges what it found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Final

import limits
import processes
from limits import SLOTS
from processes import Cpu
from station import NOOP, Station, StationError

_BATCH: Final = 1000
_SETTLING: Final = 2.0
_DRAIN: Final = 600.0


@dataclass(frozen=True)
class Latency:
    """Milliseconds of the middle sample, and of the one that a hundredth exceeds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Latency:
        return cls(median(samples), sorted(samples)[len(samples) * 99 // 100])


@dataclass(frozen=True)
class Drain:
    """Jobs a second; forks a second of a bare process, before and after; CPU spent meanwhile, in seconds."""

    jobs: int
    rate: float
    raw_before: float
    raw_after: float
    daemon: Cpu
    fork_server: Cpu

    @property
    def raw(self) -> float:
        return mean((self.raw_before, self.raw_after))

    @property
    def ratio(self) -> float:
        return self.rate / self.raw


@dataclass(frozen=True)
class Confinement:
    """Jobs a second with the limits, directories and domains that every attempt gets by default, and without them."""

    rate: float
    unconfined: float

    @property
    def cost(self) -> float:
        """The part of the rate that it takes."""
        return 1 - self.rate / self.unconfined


@dataclass(frozen=True)
class Submit:
    """A durable submit, and what a commit costs by itself and behind a socket."""

    latency: Latency
    commit: Latency
    committed_echo: Latency

    @property
    def ratio(self) -> float:
        return self.latency.p50 / self.committed_echo.p50


@dataclass(frozen=True)
class ToBody:
    """From just before a submit to the job's first line, and the same of a bare fork."""

    latency: Latency
    raw: Latency

    @property
    def ratio(self) -> float:
        return self.latency.p50 / self.raw.p50


@dataclass(frozen=True)
class Idle:
    """Wake-ups and CPU seconds of daemon and fork server while there was nothing to do."""

    seconds: float
    daemon_wakeups: int
    fork_server_wakeups: int
    daemon_cpu: float
    fork_server_cpu: float


@dataclass(frozen=True)
class Memory:
    """PSS in MiB."""

    daemon: float
    fork_server: float

    @property
    def sum(self) -> float:
        return self.daemon + self.fork_server


@dataclass(frozen=True)
class Recovery:
    """From the start of a daemon that was killed to its first answer: with attempts and a queue, and with neither."""

    live: int
    queued: int
    latency: Latency
    empty: Latency

    @property
    def ratio(self) -> float:
        return self.latency.p50 / self.empty.p50


@dataclass(frozen=True)
class Pass:
    """What is measured with and without finished jobs in the file; `stats` is a call's milliseconds."""

    to_body: ToBody
    drain: Drain
    stats: float
    submit: Submit
    submit_many: float


def drain(station: Station, jobs: int, forks: int) -> Drain:
    """Queue no-ops while the queue is paused, let them go, and wait for the last."""
    raw_before = limits.fork_rate(forks)
    pids = station.pid, station.fork_server
    ids = _queue_up(station, jobs)
    cpu_before = [processes.cpu(pid) for pid in pids]
    rate = _let_go(station, ids)
    daemon, fork_server = (
        processes.cpu(pid).since(earlier) for pid, earlier in zip(pids, cpu_before, strict=True)
    )
    return Drain(jobs, rate, raw_before, limits.fork_rate(forks), daemon, fork_server)


def confinement(confined: Station, unconfined: Station, jobs: int, rounds: int) -> Confinement:
    """Drain the same with both, in turns."""
    rates = [
        tuple(_let_go(one, _queue_up(one, jobs)) for one in (confined, unconfined)) for _ in range(rounds)
    ]
    return Confinement(*(median(each) for each in zip(*rates, strict=True)))


def drain_rate(station: Station, jobs: int, daemons: int = 1) -> float:
    """Jobs a second of a drain, by so many daemons, of which the station is one."""
    return _let_go(station, _queue_up(station, jobs), daemons)


def _let_go(station: Station, ids: list[int], daemons: int = 1) -> float:
    """Have these jobs run, which wait in a paused queue; jobs a second."""
    completed = station.client.stats()["jobs"].get("completed", 0)
    before = time.monotonic()
    station.client.resume()
    # Without polling: the last ones end within the last SLOTS starts of each daemon, in any order.
    for job_id in reversed(ids[-2 * SLOTS * daemons :]):
        station.client.wait(job_id, timeout=_DRAIN)
    seconds = time.monotonic() - before
    while daemons > 1 and station.client.stats()["jobs"].get("completed", 0) < completed + len(ids):
        time.sleep(0.01)  # of others' ends it hears a moment later
        if time.monotonic() > before + _DRAIN:
            break
    counts = station.client.stats()["jobs"]
    if counts.get("completed", 0) != completed + len(ids):
        raise StationError(f"{len(ids)} more should be completed than {completed}, but there are {counts}")
    return len(ids) / seconds


def _queue_up(station: Station, jobs: int) -> list[int]:
    station.client.pause()
    ids: list[int] = []
    while len(ids) < jobs:
        ids += _submit_batch(station, min(_BATCH, jobs - len(ids)))
    return ids


def _submit_batch(station: Station, jobs: int) -> list[int]:
    return [job.id for job in station.client.submit_many([{"class_name": NOOP, "method_name": "run"}] * jobs)]


def submit(station: Station, samples: int) -> Submit:
    """One durable submit after the other, while the queue is paused."""
    echo = limits.committed_echo_latency(station.state, samples)
    commit = limits.commit_latency(station.state, samples)
    station.client.pause()
    latencies = timed(samples, lambda: station.client.run_background_job(NOOP, "run"))
    return Submit(Latency.of(latencies), Latency.of(commit), Latency.of(echo))


def submit_many(station: Station, calls: int) -> float:
    """Jobs a second in calls of a thousand, while the queue is paused."""
    station.client.pause()
    milliseconds = sum(timed(calls, lambda: _submit_batch(station, _BATCH)))
    return calls * _BATCH / milliseconds * 1e3


def to_body(stations: Sequence[Station], samples: int) -> list[ToBody]:
    """One job after the other, each given to a daemon that has nothing else to do; the stations take turns."""
    raw = Latency.of(limits.fork_latency(samples))
    found: list[list[float]] = [[] for _ in stations]
    for _ in range(samples):
        for station, latencies in zip(stations, found, strict=True):
            latencies.append(one_job(station)[0])
    return [ToBody(Latency.of(latencies), raw) for latencies in found]


def one_job(station: Station) -> tuple[float, float]:
    """Milliseconds from just before a submit to the body's first line, and to its result here."""
    time.sleep(0.01)
    before = time.monotonic_ns()
    job = station.client.run_background_job(NOOP, "stamp")
    stamp: int = job.result(timeout=30)
    return (stamp - before) / 1e6, (time.monotonic_ns() - before) / 1e6


def recovery(busy: Station, empty: Station, live: int, queued: int, restarts: int) -> Recovery:
    """Kill both daemons and start them again, in turns, the one with live attempts and jobs queued behind them."""
    with busy.held(live):
        for first in range(0, queued, _BATCH):
            _submit_batch(busy, min(_BATCH, queued - first))
        samples = [(_recover(busy), _recover(empty)) for _ in range(restarts)]
        counts = busy.client.stats()["jobs"]
        if (counts.get("running"), counts.get("pending", 0)) != (live, queued):
            raise StationError(f"{live} should run and {queued} be pending after the restarts: {counts}")
    with_load, without = zip(*samples, strict=True)
    return Recovery(live, queued, Latency.of(with_load), Latency.of(without))


def _recover(station: Station) -> float:
    station.kill()
    return station.start() * 1e3


def stats(station: Station) -> float:
    """What a call of Stats takes: the middle one's milliseconds."""
    return median(timed(11, station.client.stats))


def idle(station: Station, seconds: float) -> Idle:
    """Leave the daemon alone, and see what it does."""
    time.sleep(_SETTLING)
    pids = station.pid, station.fork_server
    before = [(processes.wakeups(pid), processes.cpu(pid).own) for pid in pids]
    time.sleep(seconds)
    after = [(processes.wakeups(pid), processes.cpu(pid).own) for pid in pids]
    (daemon_wakeups, daemon_cpu), (server_wakeups, server_cpu) = (
        (late[0] - early[0], late[1] - early[1]) for early, late in zip(before, after, strict=True)
    )
    return Idle(seconds, daemon_wakeups, server_wakeups, daemon_cpu, server_cpu)


def memory(station: Station) -> Memory:
    return Memory(processes.pss(station.pid), processes.pss(station.fork_server))


def timed(count: int, act: Callable[[], object]) -> list[float]:
    """Milliseconds of each call."""
    samples = []
    for _ in range(count):
        before = time.perf_counter()
        act()
        samples.append((time.perf_counter() - before) * 1e3)
    return samples
