"""Deletes jobs, log entries and rows of occurrences, a little at a time: within a transaction that is the ledger's.

Which of them are old is decided elsewhere; what may not go stays, whoever asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from bgjob.words import Status
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import statements
from bgjobd.store.items import (
    Deleted,
    Deletion,
    LostUpdateError,
    OccurrenceTrimming,
    Trimmed,
    TrimmedOccurrences,
    Trimming,
)
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import Execute
from bgjobd.store.tally import Countable

_DELETING_FOR: Final = 0.001
"""Seconds that one item may delete for: whatever waits for the same commit waits as long."""

_DELETED_AT_ONCE: Final = 200
_ENTRIES_AT_ONCE: Final = 500
"""How many jobs, and log entries or rows of occurrences, one item deletes at most."""

_SCHEDULES_AT_ONCE: Final = 100
"""How many schedules one item looks at."""


def delete(
    execute: Execute, deletion: Deletion, spared: Collection[int], on_gone: Callable[[Countable], None]
) -> Deleted:
    """Job after job until the time is up; of one with very many entries some go, and it is among those left.

    `spared` are jobs with entries that this transaction is still to store. Each job that goes is told to `on_gone`.
    """
    end = time.monotonic() + _DELETING_FOR
    jobs: list[int] = []
    attempts: list[tuple[int, int]] = []
    entries = 0
    for place, job_id in enumerate(deletion.job_ids):
        if len(jobs) == _DELETED_AT_ONCE or (place and time.monotonic() > end):
            return Deleted(tuple(jobs), tuple(attempts), entries, deletion.job_ids[place:])
        given = {"id": job_id, "last_entry": deletion.last_entry}
        found = None if job_id in spared else execute(statements.SELECT_DELETABLE, given).fetchone()
        if found is None:
            continue
        gone = _delete_entries(execute, job_id)
        entries += gone
        if gone == _ENTRIES_AT_ONCE:
            return Deleted(tuple(jobs), tuple(attempts), entries, deletion.job_ids[place:])
        stood = Countable(Status(found[0]), found[1], from_text(found[2]))
        attempts += _delete_job(execute, job_id, stood.status)
        on_gone(stood)
        jobs.append(job_id)
    return Deleted(tuple(jobs), tuple(attempts), entries)


def _delete_entries(execute: Execute, job_id: int) -> int:
    given = {"job_id": job_id, "count": _ENTRIES_AT_ONCE}
    return int(execute(statements.DELETE_ENTRIES, given).rowcount)


def _delete_job(execute: Execute, job_id: int, expected: Status) -> list[tuple[int, int]]:
    """The keys of its attempts."""
    numbers = execute(statements.SELECT_NUMBERS, {"job_id": job_id}).fetchall()
    execute(statements.DELETE_ATTEMPTS, {"job_id": job_id})
    if execute(statements.DELETE_JOB, {"id": job_id, "expected": expected}).rowcount != 1:
        raise LostUpdateError((job_id, expected))
    return [(job_id, number) for (number,) in numbers]


def trim(execute: Execute, trimming: Trimming, now: float) -> Trimmed:
    """Entries of a time to come, when the clock was wrong, stay; those behind them are looked at all the same."""
    looked_at = {"after": trimming.after, "count": _ENTRIES_AT_ONCE}
    found = execute(statements.SELECT_ENTRIES_AFTER, looked_at).fetchall()
    before, by_now = to_text(held(trimming.before)), to_text(now)
    if not any(at < before or at > by_now for _, at in found):
        return Trimmed(0, None)
    (newest,) = execute(statements.SELECT_LAST_LOG_ID).fetchone()
    last = min(found[-1][0], newest - 1)  # the next entry's id is counted from the newest
    given = {"after": trimming.after, "last": last, "before": before}
    gone = int(execute(statements.DELETE_OLD_ENTRIES, given).rowcount)
    return Trimmed(gone, last if len(found) == _ENTRIES_AT_ONCE else None)


# Occurrences of schedules

KEPT_FROM: Final = """
    CASE WHEN s.removed_at IS NULL THEN min(s.cursor, coalesce((
        SELECT max(at) FROM schedule_occurrences WHERE name = s.name AND at <= s.cursor AND verdict <> 'asked'
    ), s.cursor)) ELSE '~' END
"""
"""From when on a schedule's rows stay, however old: the newest, which grows by what is skipped next, and those that are
not before the cursor, which would become jobs again. Of one that was removed none has to stay.
"""

_SELECT_SCHEDULES: Final = f"""
    SELECT s.name, min(:before, {KEPT_FROM}) FROM schedules AS s WHERE s.name > :after ORDER BY s.name LIMIT :count
"""
_SELECT_OLD: Final = """
    SELECT at, until FROM schedule_occurrences
    WHERE name = :name AND at < :before AND until < :before ORDER BY at LIMIT :count
"""
_DELETE_OLD: Final = "DELETE FROM schedule_occurrences WHERE name = :name AND at <= :at AND until < :before"
_KNOWN_SINCE: Final = "UPDATE schedules SET since = max(since, :until) WHERE name = :name"
_DELETE_REMOVED: Final = """
    DELETE FROM schedules WHERE name > :after AND name <= :last AND removed_at < :before
    AND NOT EXISTS (SELECT 1 FROM schedule_occurrences AS o WHERE o.name = schedules.name)
"""


def trim_occurrences(execute: Execute, trimming: OccurrenceTrimming) -> TrimmedOccurrences:
    """Schedule after schedule until the time is up; one that was removed goes with the last of its rows."""
    end = time.monotonic() + _DELETING_FOR
    given = {"before": to_text(held(trimming.before)), "after": trimming.after, "count": _SCHEDULES_AT_ONCE}
    found = execute(_SELECT_SCHEDULES, given).fetchall()
    last, gone, is_all = trimming.after, 0, len(found) < _SCHEDULES_AT_ONCE
    for name, before in found:
        old = _trim_schedule(execute, name, before)
        gone += old
        if old < _ENTRIES_AT_ONCE:
            last = name
        if old == _ENTRIES_AT_ONCE or time.monotonic() > end:
            is_all = is_all and last == found[-1][0]
            break
    execute(_DELETE_REMOVED, given | {"last": last})
    return TrimmedOccurrences(gone, None if is_all else last)


def _trim_schedule(execute: Execute, name: str, before: str) -> int:
    """How many rows are gone; what is known of the schedule begins behind them."""
    given = {"name": name, "before": before, "count": _ENTRIES_AT_ONCE}
    old = execute(_SELECT_OLD, given).fetchall()
    if old:
        at, until = old[-1]
        execute(_DELETE_OLD, {"name": name, "before": before, "at": at})
        execute(_KNOWN_SINCE, {"name": name, "until": until})
    return len(old)
