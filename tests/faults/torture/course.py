"""The course of a torture: submit and kill for a while, let all settle, then read the books; and what came of it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import BgjobError
from bgjobd.host.clock import from_text
from bgjobd.store.engines.places import place_of
from tests.engines import rows
from tests.faults import books
from tests.faults.torture.contained import Contained
from tests.faults.torture.killer import ENDS_DAEMON, ENDS_SERVER, Deed, Done, Killer
from tests.faults.torture.pruner import Pruner
from tests.faults.torture.station import SCHEDULES, Station
from tests.faults.torture.submitters import Submitters
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
) -> Outcome:
    """Torture a daemon in this directory, in a container or not, for so many seconds, and until it is enough.

    Whatever of it is left running in the end is ended.
    """
    station = Contained(directory) if is_contained else Station(directory)
    killer, submitters = Killer(station, seed), Submitters(station, seed, SUBMITTERS)
    pruner = Pruner(station, seed)
    station.start()
    try:
        began = time.monotonic()
        submitters.start()
        killer.start()
        pruner.start()
        try:
            _watch(station, killer, submitters, began, seconds)
            eventually(lambda: is_enough(killer, submitters), within=_SETTLING)
        finally:
            killer.stop()
            pruner.stop()
            submitters.stop()
        lasted = time.monotonic() - began
        return _settle(station, killer, pruner, submitters, seed, lasted, is_contained)
    finally:
        station.stop()
        station.end_all()
        station.close()


def _watch(station: Station, killer: Killer, submitters: Submitters, began: float, seconds: float) -> None:
    """Wait for the end; on a terminal with a line of how it goes."""
    clock = threading.Event()
    while (elapsed := time.monotonic() - began) < seconds:
        if sys.stderr.isatty():
            counts = killer.counts
            line = f"{elapsed:4.0f} s  {len(submitters.acknowledged):6} acknowledged  {len(station.starts):4} starts"
            kills = "  ".join(f"{counts[deed]} {deed.name.lower()}" for deed in Deed)
            print(f"\r\033[K{line}  {kills}"[:160], end="", file=sys.stderr, flush=True)
        clock.wait(min(_LOOK, seconds - elapsed))
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def _settle(
    station: Station,
    killer: Killer,
    pruner: Pruner,
    submitters: Submitters,
    seed: int,
    lasted: float,
    is_contained: bool,
) -> Outcome:
    settings, ids = station.settings, set(submitters.acknowledged.values())
    began, clock = time.monotonic(), threading.Event()
    settled: float | None = None
    station.wait_for(partial(_have_paused, station))
    while settled is None and time.monotonic() - began < _SETTLING:
        ids |= _of_schedules(station)
        if station.is_answering() and books.is_settled(settings, ids):
            settled = time.monotonic() - began
        clock.wait(_LOOK)
    _tidy(station)
    archived = pruner.archived()
    findings = [
        *(() if settled is not None else (f"it has not settled within {_SETTLING:g} s",)),
        *submitters.refusals,
        *pruner.findings,
        *books.complaints(settings, ids, station.ledger, station.pid, archived=archived),
        *_astray(station, submitters.acknowledged),
        *_lost_without_cause(station, killer.done),
        *_no_longer_allowed(station),
        *_ended_by_no_doing_of_theirs(station, archived),
        *_given_up_unbegun(station, archived),
        *(() if is_contained else _steps_again(station)),
        *station.findings(archived),
        *_left_open(station),
    ]
    code = station.stop()
    if code != 0:
        findings.append(f"the daemon ended with {code} when it was told to, not with 0")
    findings += [
        line
        for line in books.complaints(settings, ids, None, None, archived=archived)
        if line not in findings
    ]
    return Outcome(
        seed=seed,
        seconds=lasted,
        deeds=killer.counts,
        prunes=pruner.ends,
        acknowledged=len(submitters.acknowledged),
        deleted=len({job["id"] for job in archived} - _ids(station)),
        jobs=_counts(station, "SELECT status, count(*) FROM background_jobs GROUP BY status"),
        attempts=_counts(
            station, "SELECT coalesce(outcome, 'open'), count(*) FROM job_attempts GROUP BY outcome"
        ),
        starts=tuple(station.starts),
        settled_after=settled,
        troubles=submitters.troubles,
        findings=tuple(findings),
    )


def _have_paused(station: Station) -> bool:
    """Whether the schedules make no jobs any more."""
    try:
        with station.client() as client:
            for name in SCHEDULES:
                client.pause_schedule(name)
    except BgjobError:
        return False
    return True


def _of_schedules(station: Station) -> set[int]:
    return {
        job_id for (job_id,) in _rows(station, "SELECT id FROM background_jobs WHERE schedule IS NOT NULL")
    }


def _tidy(station: Station) -> None:
    """Have the outputs removed whose jobs are gone: who deleted them may have been killed before it came to that."""
    with station.client() as client:
        client.reload()
    station.wait_for(lambda: not _outputs_of_nobody(station))
    station.wait_for(station.is_at_rest)


def _outputs_of_nobody(station: Station) -> list[str]:
    names = os.listdir(station.directory / "state" / "output")
    stored = _ids(station)
    return [name for name in names if int(name.partition(".")[0]) not in stored]


def _steps_again(station: Station) -> Iterator[str]:
    """Steps that have run after one behind them had: that was begun once they were on record. Only the last may again.

    A container that ends takes its spool with it, and what was not stored yet.
    """
    latest: dict[int, str] = {}
    for line in books.lines_of(station.directory / "ledger.steps"):
        if line.what < latest.get(line.job, ""):
            yield f"job {line.job}: {line.what} has run after {latest[line.job]}"
        latest[line.job] = max(line.what, latest.get(line.job, ""))


def _left_open(station: Station) -> Iterator[str]:
    """What a daemon that has seen something has open, and one that was just started has not."""
    veteran = station.pid
    if veteran is None:
        yield "no daemon runs in the end"
        return
    before = books.descriptors(veteran)
    station.signal(signal.SIGTERM)
    station.wait_for(lambda: station.pid not in (None, veteran) and station.has_fork_server())
    if station.pid is not None:
        for target, count in (before - books.descriptors(station.pid)).items():
            yield f"the daemon had {count} more of {target} open than one that was just started"


def _astray(station: Station, acknowledged: dict[str, int]) -> Iterator[str]:
    """Keys that stand for another job than was answered."""
    stored: dict[str, int] = dict(_rows(station, "SELECT idempotency_key, id FROM background_jobs"))
    for key, job_id in acknowledged.items():
        if stored.get(key, job_id) != job_id:
            yield f"job {job_id}: it was acknowledged for key {key}, which is job {stored[key]}"


def _lost_without_cause(station: Station, done: Sequence[Done]) -> Iterator[str]:
    """Attempts that are lost, though daemon and fork server did not both die meanwhile: somebody should have seen."""
    lost = "SELECT job_id, number, started_at, finished_at, error_message FROM job_attempts WHERE outcome = 'lost'"
    for job_id, number, started_at, finished_at, why in _rows(station, lost):
        begin = from_text(started_at or finished_at) - _SLACK
        end = from_text(finished_at) + _SLACK
        met = {one.deed for one in done if begin <= one.at <= end}
        if not (met & ENDS_DAEMON and met & ENDS_SERVER):
            yield f"job {job_id}, attempt {number}: it is lost ({why}), and daemon and fork server did not both die"


def _no_longer_allowed(station: Station) -> Iterator[str]:
    """Attempts that ended as if their class were approved no more: it always was, whatever its import came to."""
    gone = "SELECT job_id, number, error_message FROM job_attempts WHERE error_type = 'MethodNotApproved'"
    for job_id, number, why in _rows(station, gone):
        yield f"job {job_id}, attempt {number}: {why}, and it always was approved"


_OWN_ENDS: Final[dict[str, frozenset[str]]] = {
    "fail": frozenset({"failed"}),
    "fail_once": frozenset({"failed"}),
    "ask": frozenset({"failed", "snoozed"}),
    "ship": frozenset({"suspended"}),
    "die": frozenset({"signalled"}),
    "exit": frozenset({"exited"}),
    "return_much": frozenset({"failed"}),
}
"""The outcomes that an attempt of a method may have by itself, beside `completed`."""

_MAY_BE_GIVEN_UP: Final = frozenset({"poison"})
"""The methods of which a job may fail although its latest attempt has not begun."""

_OTHERS_ENDS: Final = frozenset({"completed", "not_started", "lost", "timed_out", "cancelled"})
"""Those that any may have, by the doing of others."""


def _ended_by_no_doing_of_theirs(station: Station, archived: Sequence[JsonObject]) -> Iterator[str]:
    """Attempts that are said to have ended in a way in which their method does not end, nobody having killed them."""
    columns = (
        "j.id, j.method_name, a.number, a.outcome, a.signal, a.error_message, a.exit_code, a.spends_retry"
    )
    joined = "job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id WHERE a.outcome IS NOT NULL"
    names = ("number", "outcome", "signal", "error_message", "exit_code", "spends_retry")
    rows = [
        (row[0], row[1], dict(zip(names, row[2:], strict=True)))
        for row in _rows(station, f"SELECT {columns} FROM {joined}")
    ]
    rows += [(job["id"], job["method_name"], attempt) for job in archived for attempt in job["attempts"]]
    for job_id, method, attempt in rows:
        outcome = attempt["outcome"]
        if outcome is None or outcome in _OTHERS_ENDS | _OWN_ENDS.get(method, frozenset()):
            continue
        if outcome == "signalled" and (attempt["signal"] == signal.SIGKILL or not attempt["spends_retry"]):
            continue  # the killer's, or a stop's
        told = attempt["error_message"] or attempt["exit_code"] or attempt["signal"]
        yield f"job {job_id}, attempt {attempt['number']}: {method} is said to have {outcome} ({told})"


def _given_up_unbegun(station: Station, archived: Sequence[JsonObject]) -> Iterator[str]:
    """Jobs that are failed for good over starts, whose kind harms no fork server."""
    failed = "SELECT id, method_name, error FROM background_jobs WHERE status = 'failed'"
    rows = _rows(station, failed)
    rows += [(job["id"], job["method_name"], job["error"]) for job in archived if job["status"] == "failed"]
    for job_id, method, error in rows:
        if method not in _MAY_BE_GIVEN_UP and str(error).startswith("quarantined"):
            yield f"job {job_id}: {method} is {error}, and is innocent"


def _ids(station: Station) -> set[int]:
    return {job_id for (job_id,) in _rows(station, "SELECT id FROM background_jobs")}


def _counts(station: Station, sql: str) -> Counter[str]:
    return Counter(dict(_rows(station, sql)))


def _rows(station: Station, sql: str) -> list[tuple[Any, ...]]:
    return rows(place_of(station.settings.daemon), sql)


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
