"""What each fault test ends with: what was acknowledged is stored and has ended, the books balance, nothing is left.

The checker of `bgjobd check --books`, and beside it what only a test can know: the jobs' own ledger, what the daemon
had open at rest, and that nothing was to run any more.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgjob.codec import JsonObject
from bgjob.words import FINAL
from bgjobd.commands import check_books
from bgjobd.commands.books import Books
from bgjobd.config import loading
from bgjobd.config.sections import Config
from bgjobd.store.engines.places import place_of
from bgjobd.supervisor.fork_server_marks import try_mark
from tests.daemon.running import RunningDaemon, children_of, spares_of
from tests.engines import rows
from tests.faults import ledgered
from tests.support import eventually

Key = tuple[int, int]
"""A job's id and an attempt's number."""

LEDGERED: Final = "ledgered.Ledgered"
MODULES: Final = {"ledgered": Path(ledgered.__file__).read_text()}
SETTINGS: Final = f'"{LEDGERED}" = {{}}\n'
"""What a RunningDaemon takes as `modules` and `settings` to have the class of jobs that keep a ledger."""

_MARK: Final = "BOOKS_MARK"


def marked(directory: Path) -> str:
    """What a RunningDaemon takes as `app`, so that whatever its attempts leave behind can be told from others'."""
    return f'env = {{ {_MARK} = "{directory}" }}'


def check(
    station: RunningDaemon,
    acknowledged: Collection[int],
    ledger: Path | None = None,
    at_rest: Counter[str] | None = None,
    within: float = 60.0,
) -> None:
    """Wait until all that was acknowledged has ended, then assert that nothing is wrong and nothing is left.

    `ledger` is the file that jobs of LEDGERED wrote, `at_rest` what `descriptors` told before it all began.
    """
    settings = settings_of(station.config)
    eventually(lambda: is_settled(settings, acknowledged), within)
    pid = station.process.pid if station.process is not None else None
    if pid is not None and at_rest is not None:
        with suppress(AssertionError):  # told below, with what is open
            eventually(lambda: not descriptors(pid) - at_rest, 5.0)
    found: list[str] = []

    def is_clean() -> bool:
        """What is about to end, such as a fork server's describing child, is no finding."""
        found[:] = complaints(settings, acknowledged, ledger, pid, at_rest)
        return not found

    with suppress(AssertionError):  # told below, with what was found
        eventually(is_clean, 5.0)
    if found:
        raise AssertionError("; ".join(found))


def settings_of(file: Path) -> Config:
    return loading.load(file, {}, is_root=False)


def is_settled(settings: Config, acknowledged: Collection[int]) -> bool:
    """Whether every acknowledged job that is stored has ended, and no other runs or lies in the spool."""
    statuses = _statuses(settings)
    is_idle = all(statuses.get(job, "lost") in {*FINAL, "lost"} for job in acknowledged)
    return is_idle and "running" not in statuses.values() and not list(_unneeded(settings))


def complaints(
    settings: Config,
    acknowledged: Collection[int],
    ledger: Path | None,
    pid: int | None,
    at_rest: Counter[str] | None = None,
    archived: Sequence[JsonObject] = (),
    left_alone: Collection[Key] = (),
) -> list[str]:
    """All that is wrong once everything has ended; `pid` is the daemon's, if one runs.

    `archived` are jobs that may have been deleted, as an archive of `bgjobd prune` has them. `left_alone` are attempts
    of lost hosts that nobody could end: those after them may have started while they went on.
    """
    found = check_books.audit(settings)
    return [
        *(str(finding) for finding in found.findings),
        *_unkept(settings, acknowledged, {job["id"] for job in archived if job["status"] in FINAL}),
        *(_miskept(settings, ledger, archived, left_alone) if ledger is not None else ()),
        *_left_behind(settings, found, pid),
        *(_left_open(pid, at_rest) if pid is not None and at_rest is not None else ()),
    ]


# What was acknowledged


def _unkept(settings: Config, acknowledged: Collection[int], pruned: Collection[int]) -> Iterator[str]:
    statuses = _statuses(settings)
    for job in sorted(acknowledged):
        if job not in statuses and job in pruned:
            continue
        if job not in statuses:
            yield f"job {job}: it was acknowledged, and is not stored"
        elif statuses[job] not in FINAL:
            yield f"job {job}: it was acknowledged, and is still {statuses[job]}"


# The jobs' own ledger


class Line(NamedTuple):
    """A line of the ledger; `what` is start, end, overlap, or hook: a `failed` hook has begun."""

    job: int
    attempt: int
    what: str
    pid: int


class Row(NamedTuple):
    """What the books say of an attempt of a job that keeps a ledger."""

    outcome: str | None
    pid: int | None


def lines_of(ledger: Path) -> list[Line]:
    """The ledger, in the order in which it was written."""
    if not ledger.exists():
        return []
    rows = [line.split() for line in ledger.read_text().splitlines()]
    return [Line(int(job), int(attempt), what, int(pid)) for job, attempt, what, pid, _ in rows]


def _miskept(
    settings: Config, ledger: Path, archived: Sequence[JsonObject], left_alone: Collection[Key]
) -> list[str]:
    found = rows_of(
        settings,
        "SELECT a.job_id, a.number, a.outcome, a.pid, j.parameters FROM job_attempts AS a "
        "JOIN background_jobs AS j ON j.id = a.job_id",
    )
    of_ledger = [row[:4] for row in found if json.loads(row[4]).get("ledger") == str(ledger)]
    attempts = [attempt for job in archived for attempt in job["attempts"]]
    known = {(one["job_id"], one["number"]): Row(one["outcome"], one["pid"]) for one in attempts}
    known |= {(job, number): Row(outcome, pid) for job, number, outcome, pid in of_ledger}  # as it is now
    return compare(lines_of(ledger), known, left_alone)


def compare(lines: list[Line], rows: dict[Key, Row], left_alone: Collection[Key] = ()) -> list[str]:
    """Where the ledger and the books tell different stories, or two processes of a job ran at once."""
    starts = Counter((line.job, line.attempt) for line in lines if line.what == "start")
    hooks = Counter((line.job, line.attempt) for line in lines if line.what == "hook")
    ends = {(line.job, line.attempt) for line in lines if line.what == "end"}
    return [
        *(
            f"job {job}, attempt {n}: it started {count} times"
            for (job, n), count in starts.items()
            if count > 1
        ),
        *(
            f"job {job}, attempt {n}: it started, unknown to the books"
            for job, n in starts.keys() - rows.keys()
        ),
        *_impostors(lines, rows),
        *(
            f"job {job}, attempt {n}: it completed, and its ledger has no start and end"
            for (job, n), row in rows.items()
            if row.outcome == "completed" and not ((job, n) in starts and (job, n) in ends)
        ),
        *(
            f"job {job}, attempt {n}: its failed hook began {count} times"
            for (job, n), count in hooks.items()
            if count > 1
        ),
        *_overlaps(lines, left_alone),
    ]


def _impostors(lines: list[Line], rows: dict[Key, Row]) -> Iterator[str]:
    for line in lines:
        row = rows.get((line.job, line.attempt))
        if line.what != "start" or row is None:
            continue
        if row.outcome == "not_started":
            yield f"job {line.job}, attempt {line.attempt}: it counts as not started, and process {line.pid} ran it"
        elif row.pid is not None and row.pid != line.pid:
            yield f"job {line.job}, attempt {line.attempt}: process {line.pid} ran it, the books say {row.pid}"


def _overlaps(lines: list[Line], left_alone: Collection[Key]) -> Iterator[str]:
    begun: dict[int, int] = {}
    attempts = {(line.job, line.pid): line.attempt for line in lines if line.what == "start"}
    for line in lines:
        earlier = attempts.get((line.job, line.pid))
        if line.what == "start":
            begun[line.job] = line.attempt
        elif (line.job, earlier) in left_alone:
            continue
        elif line.what == "overlap":
            yield f"job {line.job}: attempt {line.attempt} started while process {line.pid} of an earlier one lived"
        elif line.what == "end" and begun.get(line.job, line.attempt) != line.attempt:
            yield f"job {line.job}: attempt {line.attempt} ended after attempt {begun[line.job]} had started"


# What is left


def _left_behind(settings: Config, found: Books, pid: int | None) -> Iterator[str]:
    if found.counts.running:
        yield f"{found.counts.running} jobs count as running"
    for name in _unneeded(settings):
        yield f"{name} lies in the spool, and everything has ended"
    if pid is None and found.unsettled:
        yield found.summary
    servers = set(children_of(pid))
    spares = set().union(*map(spares_of, servers))
    known = servers | (spares if len(spares) <= settings.daemon.spares * len(servers) else set())
    for process, command in marked_processes(settings.daemon.state_dir.parent):
        if process not in known:
            yield f"process {process} is left: {command}"


def _unneeded(settings: Config) -> Iterator[str]:
    """What is in the spool beside its marker, the fork servers that may exist, and the fences against their starts."""
    spool = settings.daemon.runtime_dir / "spool"
    for name in sorted(os.listdir(spool) if spool.is_dir() else ()):
        if name == "database-id" or try_mark(name) is not None:
            continue
        with suppress(FileNotFoundError):
            if b'"type":"fenced"' not in (spool / name).read_bytes():
                yield name


def marked_processes(directory: Path) -> list[tuple[int, str]]:
    """The processes whose environment says that they, or what they were forked from, began in this directory."""
    mark = f"{_MARK}={directory}\0".encode()
    found: list[tuple[int, str]] = []
    for name in [name for name in os.listdir("/proc") if name.isdecimal()]:
        with suppress(OSError):
            if mark in Path(f"/proc/{name}/environ").read_bytes():
                command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                found.append((int(name), command))
    return found


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind: sockets are all alike, and so is what has a number in its name."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[re.sub(r"\d+", "N", os.readlink(f"/proc/{pid}/fd/{name}"))] += 1
    return found


def _left_open(pid: int, at_rest: Counter[str]) -> Iterator[str]:
    for target, count in (descriptors(pid) - at_rest).items():
        yield f"the daemon has {count} more of {target} open than at rest"


def rows_of(settings: Config, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a statement of SQLite's finds in the database, whichever that is."""
    return rows(place_of(settings.daemon), sql, values)


def _statuses(settings: Config) -> dict[int, str]:
    return dict(rows_of(settings, "SELECT id, status FROM background_jobs"))
