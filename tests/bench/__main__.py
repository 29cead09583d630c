"""The benchmark, `./run bench`: measures a real daemon beside what this machine can do at best, and asserts nothing.

It is the summary, which fits on a screen; with `--all` also everything else, for which two daemons are measured in
turn, one with an empty file and one with many finished jobs in it, so that both meet the machine in the same mood. With
`--hosts` it is several daemons with one PostgreSQL alone.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import graph
import hosts
import measures
import pouring
import pruning
import report
import rows
import scheduling
import server as servers
import station
import summary
from measures import Confinement, Pass, Recovery
from pouring import Pouring
from pruning import Pruning
from report import Findings
from rows import Reading
from scheduling import Scheduling
from station import Station, StationError

from bgjob.errors import BgjobError

T = TypeVar("T")
_ROUNDS = 5


@dataclass(frozen=True)
class Sizes:
    """How much is measured: jobs of a drain, bare forks beside it, samples, calls, seconds, finished jobs.

    `live` attempts and `queued` jobs meet a daemon that is killed and started again, `restarts` times; `rows` log
    entries are read, and as many finished jobs deleted, none where it is 0; `frames` of the kinds of frames are poured;
    so many `schedules` are due in each second.
    """

    jobs: int
    forks: int
    submits: int
    calls: int
    samples: int
    idle: float
    finished: int
    live: int
    queued: int
    restarts: int
    rows: int
    frames: int
    schedules: int


_WHOLE = Sizes(
    jobs=3000, forks=4000, submits=1000, calls=20, samples=200, idle=20.0, finished=100_000,
    live=100, queued=100_000, restarts=100, rows=100_000,
    frames=len(pouring.FRAMES), schedules=1000,
)  # fmt: skip
_QUICK = Sizes(
    jobs=500, forks=1000, submits=200, calls=3, samples=30, idle=3.0, finished=5000,
    live=20, queued=5000, restarts=5, rows=0,
    frames=len(pouring.FRAMES), schedules=100,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; answers the exit code: 0 however slow it was."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sizes = _sizes(given)
    before = None if given.against is None else json.loads(given.against.read_text())["figures"]
    about = _about(sizes, given.engine)
    print(f"the load average is {about['load']:.1f} before anything is measured", file=sys.stderr)
    lines, measured = [], {}
    try:
        if given.hosts:
            return _measure_hosts(sizes, given)
        if given.all:
            found = _measure(sizes, given.state_dir)
            lines, measured = report.figures(found), asdict(found)
            print(report.to_table(lines, before))
        summed_up = _summed_up(sizes, given)
    except KeyboardInterrupt:
        return 130
    except (StationError, BgjobError, OSError, subprocess.CalledProcessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    screen = summary.figures(summed_up, has_targets=given.engine == "sqlite")
    print(report.to_table(screen, before))
    measured["summary"] = asdict(summed_up)
    given.json.write_text(json.dumps(report.to_json([*lines, *screen], measured, about), indent=2) + "\n")
    if given.svg is not None:
        given.svg.write_text(graph.to_svg(screen, about))
    return 0


def _summed_up(sizes: Sizes, given: argparse.Namespace) -> summary.Summary:
    """The summary, of daemons with their files, or with databases of a server."""
    measure = partial(summary.measure, given.state_dir, sizes.jobs, sizes.samples)
    if given.engine == "sqlite":
        return _step("the summary", measure)
    with servers.running(given.state_dir) as server:
        return _step("the summary, on PostgreSQL", lambda: measure(server.database))


def _measure_hosts(sizes: Sizes, given: argparse.Namespace) -> int:
    found = _step(
        "daemons with one PostgreSQL", lambda: hosts.measure(given.state_dir, sizes.jobs, sizes.samples)
    )
    lines = hosts.figures(found)
    print(report.to_table(lines, None))
    measured = {"hosts": asdict(found)}
    given.json.write_text(
        json.dumps(report.to_json(lines, measured, _about(sizes, "postgresql")), indent=2) + "\n"
    )
    return 0


def _measure(sizes: Sizes, state_base: Path | None) -> Findings:
    with station.running(state_base) as empty:
        _step("warm-up", lambda: _warm_up(empty))
        idle = _step(f"idle for {sizes.idle:g} s", lambda: measures.idle(empty, sizes.idle))
        at_rest = measures.memory(empty)
        with station.running(state_base) as full:
            _step(f"{sizes.finished:,} finished jobs", lambda: _fill(full, sizes.finished))
            passes = _measure_both(empty, full, sizes)
        after_load = measures.memory(empty)
    confinement = _measure_confinement(sizes, state_base)
    recovery = _measure_recovery(sizes, state_base)
    reading = _measure_reading(sizes, state_base) if sizes.rows else None
    pruned = _measure_pruning(sizes, state_base) if sizes.rows else None
    poured = _measure_pouring(sizes, state_base)
    beside = _measure_scheduling(sizes, state_base)
    return Findings(
        *passes,
        sizes.finished,
        idle,
        at_rest,
        after_load,
        confinement,
        recovery,
        reading,
        pruned,
        poured,
        beside,
    )


def _measure_scheduling(sizes: Sizes, state_base: Path | None) -> Scheduling:
    with station.running(state_base) as one:
        _warm_up(one)
        return _step(
            f"submits beside {sizes.schedules:,} schedules of each second",
            lambda: scheduling.scheduling(one, sizes.schedules, sizes.submits),
        )


def _measure_pouring(sizes: Sizes, state_base: Path | None) -> Pouring:
    with station.running(state_base) as one:
        _warm_up(one)
        return _step(
            "pings beside one who pours", lambda: pouring.pouring(one, sizes.samples * 2, sizes.frames)
        )


def _measure_pruning(sizes: Sizes, state_base: Path | None) -> Pruning:
    with station.running(state_base) as one:
        _step(f"{sizes.rows:,} jobs of long ago", lambda: pruning.fill(one, sizes.rows))
        return _step("submits beside a prune", lambda: pruning.pruning(one, sizes.rows, sizes.submits))


def _measure_reading(sizes: Sizes, state_base: Path | None) -> Reading:
    with station.running(state_base) as one:
        _step(f"{sizes.rows:,} log entries", lambda: rows.fill(one, sizes.rows))
        return _step(
            "reading, and submits beside it in turns",
            lambda: rows.reading(one, sizes.rows, sizes.samples, sizes.submits // _ROUNDS or 1),
        )


def _measure_confinement(sizes: Sizes, state_base: Path | None) -> Confinement:
    with (
        station.running(state_base) as confined,
        station.running(state_base, program=station.UNCONFINED) as unconfined,
    ):
        for one in (confined, unconfined):
            _warm_up(one)
        return _step(
            "drains without confinement, in turns",
            lambda: measures.confinement(confined, unconfined, sizes.jobs // _ROUNDS or 1, _ROUNDS),
        )


def _measure_recovery(sizes: Sizes, state_base: Path | None) -> Recovery:
    with station.running(state_base, sizes.live) as busy, station.running(state_base) as empty:
        name = f"{sizes.restarts} restarts with {sizes.live:,} live, {sizes.queued:,} queued"
        return _step(name, lambda: measures.recovery(busy, empty, sizes.live, sizes.queued, sizes.restarts))


def _measure_both(empty: Station, full: Station, sizes: Sizes) -> tuple[Pass, Pass]:
    """Each measurement with the one daemon and right after with the other."""

    def both(name: str, measure: Callable[[Station], T]) -> tuple[T, T]:
        return (
            _step(name, lambda: measure(empty)),
            _step(f"{name}, {sizes.finished:,} finished", lambda: measure(full)),
        )

    to_body = _step("submit to body, in turns", lambda: measures.to_body((empty, full), sizes.samples))
    drain = both(f"drain of {sizes.jobs}", lambda one: measures.drain(one, sizes.jobs, sizes.forks))
    stats = both("Stats", measures.stats)
    submit = both("submit", lambda one: measures.submit(one, sizes.submits))
    submit_many = both("SubmitMany", lambda one: measures.submit_many(one, sizes.calls))
    first, second = (Pass(*values) for values in zip(to_body, drain, stats, submit, submit_many, strict=True))
    return first, second


def _warm_up(one: Station) -> None:
    for _ in range(20):
        one.run_one()


def _fill(one: Station, finished: int) -> None:
    one.run_one()
    one.stop()
    one.add_finished(finished)
    one.start()
    _warm_up(one)


def _step(name: str, act: Callable[[], T]) -> T:
    print(f"{name} ...", end=" ", file=sys.stderr, flush=True)
    before = time.monotonic()
    answer = act()
    print(f"{time.monotonic() - before:.1f} s", file=sys.stderr)
    return answer


def _about(sizes: Sizes, engine: str) -> dict[str, object]:
    """Where and when; the load is that of others, so this is asked first."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cores": len(os.sched_getaffinity(0)),
        "engine": engine,
        "load": os.getloadavg()[0],
        "sizes": asdict(sizes),
    }


def _sizes(given: argparse.Namespace) -> Sizes:
    """The whole or the quick form, with what was given in its place."""
    base = asdict(_QUICK if given.quick else _WHOLE)
    return Sizes(**{name: base[name] if (own := getattr(given, name)) is None else own for name in base})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description="Measure a real daemon beside its limits.")
    parser.add_argument("--all", action="store_true", help="not the summary alone")
    parser.add_argument("--hosts", action="store_true", help="daemons with one PostgreSQL, and nothing else")
    parser.add_argument(
        "--engine", choices=("sqlite", "postgresql"), default="sqlite", help="what the summary's daemons have"
    )
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="the --json of another run, to show beside this one"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="where to draw the summary")
    parser.add_argument("--quick", action="store_true", help="a short form, for a first look")
    parser.add_argument("--jobs", type=int, metavar="N", help="jobs of a drain")
    parser.add_argument("--forks", type=int, metavar="N", help="bare forks, before and after a drain")
    parser.add_argument("--submits", type=int, metavar="N", help="sequential submits")
    parser.add_argument("--calls", type=int, metavar="N", help="calls of SubmitMany, 1000 jobs each")
    parser.add_argument("--samples", type=int, metavar="N", help="jobs timed from submit to body")
    parser.add_argument("--idle", type=float, metavar="SECONDS", help="how long to watch an idle daemon")
    parser.add_argument("--finished", type=int, metavar="N", help="finished jobs of the second daemon")
    parser.add_argument("--live", type=int, metavar="N", help="attempts that run when the daemon is killed")
    parser.add_argument("--queued", type=int, metavar="N", help="jobs queued behind them")
    parser.add_argument("--restarts", type=int, metavar="N", help="how often it is killed")
    parser.add_argument(
        "--rows", type=int, metavar="N", help="log entries to read, jobs to delete; 1000000 for the targets"
    )
    parser.add_argument("--frames", type=int, metavar="N", help="kinds of frames that are poured")
    parser.add_argument("--schedules", type=int, metavar="N", help="schedules that are due in each second")
    parser.add_argument(
        "--state-dir", type=Path, metavar="DIR", help="where the databases go meanwhile (/var/tmp)"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", default=Path("bench.json"), help="results (bench.json)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
