"""The sweep, `./run sweep`: kills daemon, fork server and child at each of their calls, and looks what came of it."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from tests.faults.knife import why_impossible
from tests.faults.sweeping import ROLES, Ground, Point, Role, Strike, Way, ground, parts_of

_UNAVAILABLE: Final = 69
_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweep the roles that were asked for; answers the exit code: 1 where anything was found, or nothing struck."""
    given = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    obstacle = why_impossible()
    if obstacle is not None:
        print(f"sweep: {obstacle}", file=sys.stderr)
        return _UNAVAILABLE
    is_well = True
    try:
        for way in [Way(given.way)] if given.way else list(Way):
            for role in ROLES[way]:
                if given.role in (None, role):
                    points = _points(way, role)[given.start - 1 :: given.step]
                    tally = _sweep(way, role, points, given.workers)
                    print(f"{way}, {tally}")
                    is_well = is_well and tally.is_well
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0 if is_well else 1


class Tally:
    """What a role's sweep has found so far; shown while it goes on, on one line where there is a terminal."""

    def __init__(self, role: Role, total: int) -> None:
        self._role = role
        self._total = total
        self._began_at = time.monotonic()
        self._lock = threading.Lock()
        self._struck = 0
        self._missed = 0
        self.findings: list[Strike] = []

    @property
    def is_well(self) -> bool:
        """Whether some points were reached, and nothing was found at any."""
        return self._missed < self._struck and not self.findings

    def add(self, strike: Strike) -> None:
        with self._lock:
            self._struck += 1
            self._missed += not strike.was_reached
            if strike.problem:
                self.findings.append(strike)
                self._show(f"{strike}\n")
            self._show(str(self))

    def _show(self, text: str) -> None:
        if sys.stderr.isatty():
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        elif text.endswith("\n") or self._struck % 50 == 0:
            print(text.rstrip(), file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began_at
        return (
            f"{self._role}: {self._struck} of {self._total} points in {seconds:.0f} s, "
            f"{self._missed} not reached, {len(self.findings)} with findings"
        )


def _points(way: Way, role: Role) -> list[Point]:
    with _temporary_ground(way, role) as there:
        return [point for part in parts_of(way, role) for point in there.points(role, part)]


def _sweep(way: Way, role: Role, points: Sequence[Point], workers: int) -> Tally:
    """Strike at each of the points, on a ground for each worker."""
    tally = Tally(role, len(points))
    left: SimpleQueue[Point] = SimpleQueue()
    for point in points:
        left.put(point)
    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_work, way, role, left, tally) for _ in range(workers)]
        try:
            for future in futures:
                future.result()
        finally:
            list(_taken(left))  # so that the other workers end, if one has failed or somebody pressed Ctrl-C
            tally.end()
    return tally


def _work(way: Way, role: Role, left: SimpleQueue[Point], tally: Tally) -> None:
    """Strike until no point is left; after a finding on a new ground, for the old one may be spoilt."""
    while not left.empty():
        with _temporary_ground(way, role) as there:
            for point in _taken(left):
                strike = there.strike(point)
                tally.add(strike)
                if strike.problem:
                    break


def _taken(left: SimpleQueue[Point]) -> Iterator[Point]:
    with suppress(Empty):
        while True:
            yield left.get_nowait()


@contextmanager
def _temporary_ground(way: Way, role: Role) -> Iterator[Ground]:
    with (
        tempfile.TemporaryDirectory(prefix="bgjobd-sweep-") as directory,
        ground(Path(directory), role, way) as made,
    ):
        yield made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sweep", description="Kill each process at each of its system calls."
    )
    parser.add_argument("--role", choices=[str(role) for role in Role], help="only this one's calls")
    parser.add_argument(
        "--way", choices=[str(way) for way in Way], help="only what the jobs meet on this one"
    )
    parser.add_argument("--from", type=int, default=1, metavar="N", dest="start", help="the first point (1)")
    parser.add_argument("--step", type=int, default=1, metavar="K", help="only every K-th point (1)")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="daemons at a time (2)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
