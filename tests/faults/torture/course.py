"""The course of a torture: submit and kill for a while, let all settle, then read the books; and what came of it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Final

from bgjobd.host.clock import from_text
from tests.faults import books
from tests.faults.torture import looks, recount
from tests.faults.torture.contained import Contained
from tests.faults.torture.killer import ENDS_DAEMON, ENDS_SERVER, Deed, Done, Killer, Plan
from tests.faults.torture.pruner import Pruner
from tests.faults.torture.station import Station
from tests.faults.torture.submitters import Submitters
from tests.faults.torture.watching import NO_AIM, Progress, watch
from tests.support import eventually

SUBMITTERS: Final = 6
_SETTLING: Final = 120.0
_LOOK: Final = 0.25
_SLACK: Final = 5.0
"""Seconds before its start that an attempt's fork server and daemon may have died, and after its end."""


@dataclass(frozen=True)
class Outcome:
    """What came of a torture; `starts` in seconds, `settled_after` too, None where it did not settle."""

    seed: int
    seconds: float
    deeds: Counter[Deed]
    prunes: Counter[int]
    acknowledged: int
    deleted: int
    jobs: Counter[str]
    attempts: Counter[str]
    starts: tuple[float, ...]
    settled_after: float | None
    troubles: Counter[str]
    findings: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"seed {self.seed}, {self.seconds:.0f} s"
        for deed in Deed:
            yield f"  {self.deeds[deed]:5}  {deed}"
        codes = ", ".join(f"{count} with {code}" for code, count in sorted(self.prunes.items()))
        yield f"prunes: {self.prunes.total()}, which ended {codes or 'not at all'}; {self.deleted:,} jobs are gone"
        yield f"acknowledged: {self.acknowledged:,} jobs; of all that are stored {_told(self.jobs)}"
        yield f"attempts: {self.attempts.total():,}; {_told(self.attempts)}"
        yield f"from a start to the first answer: {_spread(self.starts)}"
        after = "not within the limit" if self.settled_after is None else f"after {self.settled_after:.1f} s"
        yield f"settled: {after}"
        yield f"submitters met: {_told(self.troubles) or 'no trouble'}"
        yield f"findings: {len(self.findings) or 'none'}"
        yield from (f"  {finding}" for finding in self.findings)


def torture(
    directory: Path,
    seconds: float,
    seed: int,
    is_contained: bool = False,
    is_enough: Callable[[Killer, Submitters], bool] = lambda killer, submitters: True,
    aim: Progress = NO_AIM,
    keeps_all: bool = False,
    pause: float | None = None,
) -> Outcome:
    """Torture a daemon in this directory, in a container or not, for so many seconds, or until it has come to this aim,
    and until it is enough. With `keeps_all` nothing is pruned, and the tallies are counted again. Between two
    deeds are so many seconds, on average.

    Whatever of it is left running in the end is ended.
    """
    station = Contained(directory) if is_contained else Station(directory)
    killer = Killer(station, seed, Plan.of(station, pause))
    submitters = Submitters([station], seed, SUBMITTERS, keeps_all)
    pruner = Pruner([] if keeps_all else [station], seed)
    outcome: Outcome | None = None
    station.start()
    try:
        began = time.monotonic()
        submitters.start()
        killer.start()
        pruner.start()
        try:
            watch(seconds, lambda: Progress(len(submitters.acknowledged), killer.ends), aim)
            eventually(lambda: is_enough(killer, submitters), within=_SETTLING)
        finally:
            killer.stop()
            pruner.stop()
            submitters.stop()
        lasted = time.monotonic() - began
        outcome = _settle(station, killer, pruner, submitters, seed, lasted, is_contained, keeps_all)
        return outcome
    finally:
        station.stop()
        station.end_all()
        if outcome is not None and outcome.findings:
            station.keep_disks()
        station.close()


def _settle(
    station: Station,
    killer: Killer,
    pruner: Pruner,
    submitters: Submitters,
    seed: int,
    lasted: float,
    is_contained: bool,
    keeps_all: bool,
) -> Outcome:
    settings, ids = station.settings, set(submitters.acknowledged.values())
    began, clock = time.monotonic(), threading.Event()
    settled: float | None = None
    station.wait_for(partial(looks.have_paused, station))
    while settled is None and time.monotonic() - began < _SETTLING:
        ids |= looks.of_schedules(station)
        if station.is_answering() and books.is_settled(settings, ids):
            settled = time.monotonic() - began
        clock.wait(_LOOK)
    looks.tidy(station)
    archived = pruner.archived()
    findings = [
        *(() if settled is not None else (f"it has not settled within {_SETTLING:g} s",)),
        *submitters.refusals,
        *pruner.findings,
        *books.complaints(settings, ids, station.ledger, station.pid, archived=archived),
        *looks.astray(station, submitters.acknowledged),
        *_lost_without_cause(station, killer.done),
        *looks.no_longer_allowed(station),
        *looks.ended_by_no_doing_of_theirs(station, archived),
        *looks.given_up_unbegun(station, archived),
        *(() if is_contained else looks.steps_again(station)),
        *station.findings(archived),
        *recount.of_jobs(station),
        *looks.left_open(station),
    ]
    code = station.stop()
    if code != 0:
        findings.append(f"the daemon ended with {code} when it was told to, not with 0")
    findings += [
        line
        for line in books.complaints(settings, ids, None, None, archived=archived)
        if line not in findings
    ]
    findings += recount.of_spans(station) if keeps_all else ()
    return Outcome(
        seed=seed,
        seconds=lasted,
        deeds=killer.counts,
        prunes=pruner.ends,
        acknowledged=len(submitters.acknowledged),
        deleted=len({job["id"] for job in archived} - looks.ids_of(station)),
        jobs=looks.counts(station, "SELECT status, count(*) FROM background_jobs GROUP BY status"),
        attempts=looks.counts(
            station, "SELECT coalesce(outcome, 'open'), count(*) FROM job_attempts GROUP BY outcome"
        ),
        starts=tuple(station.starts),
        settled_after=settled,
        troubles=submitters.troubles,
        findings=tuple(findings),
    )


def _lost_without_cause(station: Station, done: Sequence[Done]) -> Iterator[str]:
    """Attempts that are lost, though daemon and fork server did not both die meanwhile: somebody should have seen.

    A container that is stopped while another daemon is about to start in it ends with all that is there.
    """
    ends_server = ENDS_SERVER | ({Deed.STOP_DAEMON} if station.is_contained else set())
    lost = "SELECT job_id, number, started_at, finished_at, error_message FROM job_attempts WHERE outcome = 'lost'"
    for job_id, number, started_at, finished_at, why in looks.rows_of(station, lost):
        begin = from_text(started_at or finished_at) - _SLACK
        end = from_text(finished_at) + _SLACK
        met = {one.deed for one in done if begin <= one.at <= end}
        if not (met & ENDS_DAEMON and met & ends_server):
            yield f"job {job_id}, attempt {number}: it is lost ({why}), and daemon and fork server did not both die"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in sorted(counts.items()))


def _spread(starts: Sequence[float]) -> str:
    if len(starts) < 2:
        return f"{len(starts)} starts"
    parts = quantiles(starts, n=100, method="inclusive")
    return (
        f"p50 {parts[49] * 1000:.0f} ms, p99 {parts[98] * 1000:.0f} ms, "
        f"worst {max(starts) * 1000:.0f} ms of {len(starts)}"
    )
