"""What is looked at once all has settled: what the books of a station say, beside what its submitters and jobs did."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import reduce
from operator import and_
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import BgjobError
from tests.faults import books
from tests.faults.torture.station import SCHEDULES, Station


def have_paused(station: Station) -> bool:
    """Whether the schedules make no jobs any more."""
    try:
        with station.client() as client:
            for name in SCHEDULES:
                client.pause_schedule(name)
    except BgjobError:
        return False
    return True


def of_schedules(station: Station) -> set[int]:
    return {
        job_id for (job_id,) in rows_of(station, "SELECT id FROM background_jobs WHERE schedule IS NOT NULL")
    }


def tidy(station: Station) -> None:
    """Have the outputs removed whose jobs are gone: who deleted them may have been killed before it came to that."""
    with station.client() as client:
        client.reload()
    station.wait_for(lambda: not _outputs_of_nobody(station))
    station.wait_for(station.is_at_rest)


def _outputs_of_nobody(station: Station) -> list[str]:
    names = os.listdir(station.directory / "state" / "output")
    stored = ids_of(station)
    return [name for name in names if int(name.partition(".")[0]) not in stored]


def steps_again(station: Station, but: Collection[int] = ()) -> Iterator[str]:
    """Steps that have run after one behind them had: that was begun once they were on record. Only the last may again.

    A container that ends takes its spool with it, and what was not stored yet; so does a host that is given up, and
    what it ran is in `but`.
    """
    latest: dict[int, str] = {}
    for line in books.lines_of(station.ledger.with_name("ledger.steps")):
        if line.job not in but and line.what < latest.get(line.job, ""):
            yield f"job {line.job}: {line.what} has run after {latest[line.job]}"
        latest[line.job] = max(line.what, latest.get(line.job, ""))


_LOOKS = 20
"""So often in a row it is looked at what a daemon has open."""


def left_open(station: Station) -> Iterator[str]:
    """What a daemon that has seen something has open, and one that was just started has not."""
    veteran = station.pid
    if veteran is None:
        yield "no daemon runs in the end"
        return
    seen: list[Counter[str]] = []

    def has_been_seen_often() -> bool:
        seen.append(books.descriptors(veteran))
        return len(seen) == _LOOKS

    station.wait_for(has_been_seen_often)
    # What is on its way out, such as a trial's link or a caller who has left, is no leak.
    before = reduce(and_, seen)
    station.signal(signal.SIGTERM)
    station.wait_for(lambda: station.pid not in (None, veteran) and station.has_fork_server())
    if station.pid is not None:
        for target, count in (before - books.descriptors(station.pid)).items():
            yield f"the daemon had {count} more of {target} open than one that was just started"


def astray(station: Station, acknowledged: dict[str, int]) -> Iterator[str]:
    """Keys that stand for another job than was answered."""
    stored: dict[str, int] = dict(rows_of(station, "SELECT idempotency_key, id FROM background_jobs"))
    for key, job_id in acknowledged.items():
        if stored.get(key, job_id) != job_id:
            yield f"job {job_id}: it was acknowledged for key {key}, which is job {stored[key]}"


def no_longer_allowed(station: Station) -> Iterator[str]:
    """Attempts that ended as if their class were approved no more: it always was, whatever its import came to."""
    gone = "SELECT job_id, number, error_message FROM job_attempts WHERE error_type = 'MethodNotApproved'"
    for job_id, number, why in rows_of(station, gone):
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


def ended_by_no_doing_of_theirs(station: Station, archived: Sequence[JsonObject]) -> Iterator[str]:
    """Attempts that are said to have ended in a way in which their method does not end, nobody having killed them."""
    columns = (
        "j.id, j.method_name, a.number, a.outcome, a.signal, a.error_message, a.exit_code, a.spends_retry"
    )
    joined = "job_attempts AS a JOIN background_jobs AS j ON j.id = a.job_id WHERE a.outcome IS NOT NULL"
    names = ("number", "outcome", "signal", "error_message", "exit_code", "spends_retry")
    rows = [
        (row[0], row[1], dict(zip(names, row[2:], strict=True)))
        for row in rows_of(station, f"SELECT {columns} FROM {joined}")
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


def given_up_unbegun(station: Station, archived: Sequence[JsonObject]) -> Iterator[str]:
    """Jobs that are failed for good over starts, whose kind harms no fork server."""
    failed = "SELECT id, method_name, error FROM background_jobs WHERE status = 'failed'"
    rows = rows_of(station, failed)
    rows += [(job["id"], job["method_name"], job["error"]) for job in archived if job["status"] == "failed"]
    for job_id, method, error in rows:
        if method not in _MAY_BE_GIVEN_UP and str(error).startswith("quarantined"):
            yield f"job {job_id}: {method} is {error}, and is innocent"


def ids_of(station: Station) -> set[int]:
    return {job_id for (job_id,) in rows_of(station, "SELECT id FROM background_jobs")}


def entries(station: Station) -> set[int]:
    """The ids of all log entries that are stored."""
    return {entry for (entry,) in rows_of(station, "SELECT id FROM job_logs")}


def open_jobs(station: Station) -> int:
    """How many jobs have not ended."""
    sql = "SELECT count(*) FROM background_jobs WHERE status IN ('pending', 'running')"
    return int(rows_of(station, sql)[0][0])


def counts(station: Station, sql: str) -> Counter[str]:
    return Counter(dict(rows_of(station, sql)))


def rows_of(station: Station, sql: str) -> list[tuple[Any, ...]]:
    return books.rows_of(station.settings, sql)


def newest_entry(station: Station) -> int:
    """The id of the newest log entry; 0 where there is none."""
    return int(rows_of(station, "SELECT coalesce(max(id), 0) FROM job_logs")[0][0])
