"""Reading beside a large log: what pages, searches, totals and Stats take, and what submits still get meanwhile.

The store is asked in this process, as the daemon's own threads ask it, and so are the page's views, which ask the
daemon at its socket; whoever asks while jobs are submitted is a
process of its own, this file as a program, and asks at the socket.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from typing import Final

from measures import Latency, timed
from station import NOOP, Station, StationError

from bgjob import Client
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.reader import Reader
from bgjobd.web.exchange import Request
from bgjobd.web.settings import Settings
from bgjobd.web.views import Page

PAGE: Final = 50
VIEW: Final = 10
"""Rows of a list of the page's, unless a person chooses."""

COUNT: Final = 10_000
_FAR: Final = 1000
"""The page that somebody comes to who pages far."""

_ENTRIES_OF_A_JOB: Final = 4
_FAILED: Final = 50
"""One of so many entries tells of a failure."""

_ROUNDS: Final = 10
_PAUSE: Final = 0.1


@dataclass(frozen=True)
class Reading:
    """Milliseconds of each question, and of each view from request to answer, compressed; submits a second.

    Submits are made in turns alone and beside a page that is loaded all the time.
    """

    rows: int
    first_page: Latency
    far_page: Latency
    each_of_many: Latency
    filtered: Latency
    all_match: Latency
    none_matches: Latency
    total: Latency
    total_of_jobs: Latency
    total_of_search: Latency
    stats: Latency
    views: Mapping[str, Latency]
    turns: Sequence[tuple[float, float]]

    @property
    def far(self) -> int:
        """Which page `far_page` is."""
        return _far(self.rows)

    @property
    def submits_alone(self) -> float:
        return median(alone for alone, _ in self.turns)

    @property
    def submits_beside(self) -> float:
        return median(beside for _, beside in self.turns)

    @property
    def ratio(self) -> float:
        """Of a turn's two rates, which meet the machine in the same mood: the middle turn's."""
        return median(beside / alone for alone, beside in self.turns)


def fill(station: Station, rows: int) -> None:
    """Add so many log entries, four a job; the daemon is stopped meanwhile."""
    station.run_one()
    station.stop()
    station.add_finished(rows // _ENTRIES_OF_A_JOB)
    with closing(sqlite3.connect(station.state / "bgjobd.db")) as database:
        with database:
            database.execute(
                "UPDATE job_logs SET type = 'failure', message = 'ValueError: no recipient (attempt 1 of 4)' "
                f"WHERE id % {_FAILED} = 0"
            )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    station.start()
    station.run_one()


def reading(station: Station, rows: int, samples: int, submits: int) -> Reading:
    """Ask each question so often, then submit in turns with nobody beside, and with somebody who asks."""
    failures, all_match = LogFilter(type="failure"), LogFilter(search="A")
    none_matches, before = LogFilter(search="no such thing"), rows - (_far(rows) - 1) * PAGE

    def latency(ask: Callable[[], object], count: int = samples) -> Latency:
        return Latency.of(timed(count, ask))

    with closing(Reader(station.state)) as reader:
        return Reading(
            rows,
            first_page=latency(lambda: reader.logs(LogFilter())),
            far_page=latency(lambda: reader.logs(LogFilter(), before=before)),
            each_of_many=latency(_following(reader), _far(rows)),
            filtered=latency(lambda: reader.logs(failures)),
            all_match=latency(lambda: reader.logs(all_match)),
            none_matches=latency(lambda: reader.logs(none_matches)),
            total=latency(lambda: reader.logs(LogFilter(), count=COUNT)),
            total_of_jobs=latency(lambda: reader.list(JobFilter(), count=COUNT, now=time.time())),
            total_of_search=latency(lambda: reader.logs(all_match, count=COUNT)),
            stats=latency(station.client.stats),
            views={name: latency(ask) for name, ask in _views(station, rows).items()},
            turns=_turns(station, submits),
        )


def _views(station: Station, rows: int) -> dict[str, Callable[[], object]]:
    """What looks at each of the page's views; the page has its connections to the daemon, as all but the first have."""
    page = Page(Settings(f"unix:{station.socket}", "unix:/nowhere"))
    far = {"page": str(_far(rows)), "upto": str(rows - (_far(rows) - 1) * VIEW)}
    views: dict[str, tuple[str, dict[str, str]]] = {
        "log": ("/", {}),
        f"log, page {_far(rows):,}": ("/", far),
        "log, filtered": ("/", {"status": "failure"}),
        "log, search that all match": ("/", {"q": "A"}),
        "log, search that none matches": ("/", {"q": "no such thing"}),
        "jobs": ("/jobs", {}),
        "job": ("/jobs/1", {}),
        "system": ("/system", {}),
    }
    for first in ("log", "log, filtered"):
        _look(page, *views[first])
    return {name: partial(_look, page, *view) for name, view in views.items()}


def _look(page: Page, path: str, query: Mapping[str, str]) -> None:
    request = Request("GET", path, query, {"host": "localhost", "accept-encoding": "gzip"})
    answer = page.respond(request).fitted(request)
    if answer.status != 200:
        raise StationError(f"the page answers {answer.status} to {path}")


def _far(rows: int) -> int:
    return max(1, min(_FAR, rows // PAGE))


def _following(reader: Reader) -> Callable[[], object]:
    """Gives the next page each time."""
    key: int | None = None

    def follow() -> None:
        nonlocal key
        key = reader.logs(LogFilter(), before=key).next

    return follow


def _turns(station: Station, submits: int) -> list[tuple[float, float]]:
    """Submits a second to a paused queue, alone and beside somebody who asks."""
    station.client.pause()
    return [(_submits(station, submits), _submits_beside_reader(station, submits)) for _ in range(_ROUNDS)]


def _submits(station: Station, submits: int) -> float:
    """Submits a second, one after the other."""
    return submits / sum(timed(submits, lambda: station.client.run_background_job(NOOP, "run"))) * 1e3


def _submits_beside_reader(station: Station, submits: int) -> float:
    with _reader(station.socket):
        return _submits(station, submits)


@contextmanager
def _reader(socket: Path) -> Iterator[None]:
    """Somebody who looks at a page meanwhile, which is loaded ten times a second."""
    command = [sys.executable, __file__, str(socket)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def _read(socket: str) -> None:
    """What a page asks for, each fifth time for a search; the first line of stdout says that it has begun."""
    with Client(socket) as client:
        for turn in count():
            client.stats()
            client.logs(limit=PAGE, count=COUNT, search="no such thing" if turn % 5 == 4 else None)
            if turn == 0:
                print("reading", flush=True)
            time.sleep(_PAUSE)


if __name__ == "__main__":
    _read(sys.argv[1])
