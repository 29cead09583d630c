"""Deletes jobs, groups, log entries and rows of occurrences, a little at a time: within a transaction of the ledger's.

Which of them are old is decided elsewhere; what may not go stays, whoever asks.
"""

from __future__ import annotations

import time
from typing import Final, NamedTuple

from bgjob.words import Status
from bgjobd.core.edges import Of
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import labels, steps, values
from bgjobd.store.batch import Batch, Unsettled
from bgjobd.store.committed import Deleted, LostUpdateError, Trimmed, TrimmedGroups, TrimmedOccurrences
from bgjobd.store.engines import Execute
from bgjobd.store.items.retention import Deletion, GroupTrimming, OccurrenceTrimming, Trimming
from bgjobd.store.sql_functions import held
from bgjobd.store.statements import of_deletions, of_entries
from bgjobd.store.tally import Countable

_DELETING_FOR: Final = 0.001
"""Seconds that one item may delete for, in a file: whatever waits for the same commit waits as long."""

_DELETED_AT_ONCE: Final = 200
_ENTRIES_AT_ONCE: Final = 500
"""How many jobs, and log entries, values or rows of occurrences, one item deletes at most."""

_SCHEDULES_AT_ONCE: Final = 100
_GROUPS_AT_ONCE: Final = 200
"""How many schedules, and groups, one item looks at."""


def delete(execute: Execute, deletion: Deletion, batch: Batch) -> Deleted:
    """Job after job until the time is up; of one with very many entries or values some go, and it is among those left.

    A group that has ended goes with the last of its members.
    """
    end = time.monotonic() + _DELETING_FOR * batch.distance
    spared, groups = _spared(batch), _Groups(execute)
    jobs: list[int] = []
    attempts: list[tuple[int, int]] = []
    entries = 0
    left: tuple[int, ...] = ()
    spared |= _held(deletion, batch)
    for place, job_id in enumerate(deletion.job_ids):
        if len(jobs) == _DELETED_AT_ONCE or (place and time.monotonic() > end):
            left = deletion.job_ids[place:]
            break
        found = None if job_id in spared else _deletable(execute, job_id, deletion.last_entry)
        if found is None or groups.need(found.group_id):
            continue
        gone = _delete_entries(execute, job_id)
        entries += gone
        if gone == _ENTRIES_AT_ONCE or (found.carries and _delete_values(execute, job_id)):
            left = deletion.job_ids[place:]
            break
        attempts += _delete_job(execute, job_id, found, batch)
        groups.lose_member(found.group_id)
        jobs.append(job_id)
    groups.delete(batch)
    return Deleted(tuple(jobs), tuple(attempts), entries, left)


def _held(deletion: Deletion, batch: Batch) -> set[int]:
    """Those that another writer has locked, who may be about to run them again."""
    if not batch.locks.are_needed:
        return set()
    return {*deletion.job_ids}.difference(batch.locks.free_jobs(deletion.job_ids))


class _Deletable(NamedTuple):
    """What there is to know of a job that may go: how it stands, and among which others."""

    stood: Countable
    has_edges: bool
    group_id: int | None
    carries: bool
    labels: str | None
    is_before_others: bool


def _spared(batch: Batch) -> set[int]:
    """Jobs with entries that this transaction is still to store, and those whose ends it is still to settle."""
    return batch.with_entries() | {one.id for one in batch.unsettled if one.of == Of.JOB}


def _deletable(execute: Execute, job_id: int, last_entry: int) -> _Deletable | None:
    found = execute(of_deletions.SELECT_DELETABLE, {"id": job_id, "last_entry": last_entry}).fetchone()
    if found is None:
        return None
    status, queue, finished_at, if_failed, group_id, carries, labelled, is_before_others = found
    stood = Countable(Status(status), queue, from_text(finished_at))
    has_edges = if_failed is not None
    return _Deletable(stood, has_edges, group_id, bool(carries), labelled, bool(is_before_others))


def _delete_entries(execute: Execute, job_id: int) -> int:
    given = {"job_id": job_id, "count": _ENTRIES_AT_ONCE}
    return int(execute(of_deletions.DELETE_ENTRIES, given).rowcount)


def _delete_values(execute: Execute, job_id: int) -> bool:
    """Whether there may be more of them; the rest goes with the job."""
    given = {"job_id": job_id, "count": _ENTRIES_AT_ONCE}
    return int(execute(values.DELETE_OLDEST, given).rowcount) == _ENTRIES_AT_ONCE


def _delete_job(execute: Execute, job_id: int, found: _Deletable, batch: Batch) -> list[tuple[int, int]]:
    """The keys of its attempts. Those that wait for another try of it hear that there will be none."""
    expected = found.stood.status
    numbers = execute(of_deletions.SELECT_NUMBERS, {"job_id": job_id}).fetchall()
    execute(of_deletions.DELETE_ATTEMPTS, {"job_id": job_id})
    if found.has_edges:
        execute(of_deletions.DELETE_EDGES, {"job_id": job_id})
    if found.carries:
        for delete in steps.DELETE_CARRIED:
            execute(delete, {"job_id": job_id})
    if found.labels is not None:
        execute(labels.DELETE, {"job_id": job_id, "labels": found.labels})
    if batch.host is None:
        execute(of_deletions.DELETE_OUTPUTS, {"job_id": job_id})
    if execute(of_deletions.DELETE_JOB, {"id": job_id, "expected": expected}).rowcount != 1:
        raise LostUpdateError((job_id, expected))
    if found.is_before_others and expected is not Status.COMPLETED:
        batch.unsettled.append(Unsettled(Of.JOB, job_id))
    batch.move(found.stood, None)
    return [(job_id, number) for (number,) in numbers]


# Groups

_IS_NEEDED: Final = """
    WITH RECURSIVE up(id) AS (
        SELECT :id UNION SELECT g.group_id FROM up CROSS JOIN job_groups AS g ON g.id = up.id
        WHERE g.group_id IS NOT NULL
    )
    SELECT EXISTS (
        SELECT 1 FROM up CROSS JOIN job_groups AS g ON g.id = up.id WHERE g.ended_at IS NULL AND EXISTS (
            SELECT 1 FROM job_dependencies INDEXED BY edges_after WHERE "of" = 'group' AND after_id = g.id))
"""
MAY_GO: Final = """
    ended_at IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM background_jobs INDEXED BY jobs_of_group
            WHERE group_id = g.id AND group_id IS NOT NULL)
        AND NOT EXISTS (SELECT 1 FROM job_groups INDEXED BY groups_of_group
            WHERE group_id = g.id AND group_id IS NOT NULL)
"""
"""That a group `g` has ended, and has no members any more."""

_DELETE_GROUP: Final = f"""
    DELETE FROM job_groups AS g WHERE id = :id AND {MAY_GO}
        AND NOT EXISTS (SELECT 1 FROM consequences WHERE "of" IN ('group', 'cancel') AND id = g.id)
    RETURNING group_id, failed + cancelled > 0 AND EXISTS (
        SELECT 1 FROM job_dependencies INDEXED BY edges_after WHERE "of" = 'group' AND after_id = :id)
"""
_SELECT_GROUPS: Final = f"""
    SELECT id, ended_at < :before AND {MAY_GO} FROM job_groups AS g WHERE id > :after ORDER BY id LIMIT :count
"""


class _Groups:
    """The groups that jobs are deleted from."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._needed: dict[int, bool] = {}
        self._lost_members: set[int] = set()

    def need(self, group_id: int | None) -> bool:
        """Whether this one, or one around it, has not ended, and somebody comes after it, for results perhaps."""
        if group_id is None:
            return False
        if group_id not in self._needed:
            self._needed[group_id] = bool(self._execute(_IS_NEEDED, {"id": group_id}).fetchone()[0])
        return self._needed[group_id]

    def lose_member(self, group_id: int | None) -> None:
        if group_id is not None:
            self._lost_members.add(group_id)

    def delete(self, batch: Batch) -> None:
        """Those that have no members any more."""
        for group_id in self._lost_members:
            _delete_group(self._execute, group_id, batch)


def _delete_group(execute: Execute, group_id: int | None, batch: Batch) -> int:
    """Delete this group where it may go, then the one that it was in; how many were deleted."""
    gone = 0
    spared = {*batch.sealed, *(one.id for one in batch.unsettled if one.of != Of.JOB)}
    while group_id is not None and group_id not in spared:
        is_free = batch.locks.is_group_free(group_id)
        found = execute(_DELETE_GROUP, {"id": group_id}).fetchone() if is_free else None
        if found is None:
            break
        gone += 1
        batch.groups.pop(group_id, None)
        parent, has_failed_others = found
        if has_failed_others:
            batch.unsettled.append(Unsettled(Of.GROUP, group_id))
        group_id = parent
    return gone


def trim_groups(execute: Execute, trimming: GroupTrimming, batch: Batch) -> TrimmedGroups:
    """Of those that are looked at the ones that ended long ago and have no members: most go with the last of these."""
    given = {"before": to_text(held(trimming.before)), "after": trimming.after, "count": _GROUPS_AT_ONCE}
    found = execute(_SELECT_GROUPS, given).fetchall()
    gone = sum(_delete_group(execute, group_id, batch) for group_id, may_go in found if may_go)
    return TrimmedGroups(gone, found[-1][0] if len(found) == _GROUPS_AT_ONCE else None)


# Log entries


def trim(execute: Execute, trimming: Trimming, now: float) -> Trimmed:
    """Entries of a time to come, when the clock was wrong, stay; those behind them are looked at all the same."""
    looked_at = {"after": trimming.after, "count": _ENTRIES_AT_ONCE}
    found = execute(of_deletions.SELECT_ENTRIES_AFTER, looked_at).fetchall()
    before, by_now = to_text(held(trimming.before)), to_text(now)
    if not any(at < before or at > by_now for _, at in found):
        return Trimmed(0, None)
    (newest,) = execute(of_entries.SELECT_LAST_LOG_ID).fetchone()
    last = min(found[-1][0], newest - 1)  # the next entry's id is counted from the newest
    given = {"after": trimming.after, "last": last, "before": before}
    gone = int(execute(of_deletions.DELETE_OLD_ENTRIES, given).rowcount)
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
