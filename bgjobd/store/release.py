"""What follows from the ends of a transaction: those that come after are freed or cancelled, groups count and end.

Within the transaction that is the ledger's, once all of its items are stored: what an end causes is on disk with it, or
noted among the consequences for the next ones. Where an edge stands is a rule of `core.edges`. As each edge keeps that,
any order is right, and a repeat changes nothing.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

from bgjob.codec import to_json
from bgjob.words import IfFailed
from bgjobd.core import state_machine
from bgjobd.core.edges import (
    MOVED,
    TAKING,
    Change,
    Fate,
    Group,
    Node,
    Of,
    Standing,
    change_of,
    fate_of,
    is_for_good,
    settled,
)
from bgjobd.core.facts import CancelRequested, PredecessorDeleted, PredecessorMoved
from bgjobd.core.job import Job
from bgjobd.core.state_machine import Happening
from bgjobd.core.taking import mentions
from bgjobd.store import applying, placing, uniques
from bgjobd.store.batch import CANCEL, CANCEL_NESTED, Batch, Overlay, Unsettled
from bgjobd.store.committed import OvertakenError
from bgjobd.store.dependencies import groups_by_id
from bgjobd.store.ends import End, Ends
from bgjobd.store.engines import Execute
from bgjobd.store.rows import counts_row, edge_row, job_from_row
from bgjobd.store.statements import of_jobs, of_ties
from bgjobd.store.tally import Countable
from bgjobd.store.written import Kind

AT_ONCE: Final = 100
"""Edges that one transaction settles, however deep they lie, and members that it cancels."""

_IN_A_TURN: Final = 25
"""How many of these for one that has ended, before others have their turn: one may have very many behind it."""

_NOTED_AT_ONCE: Final = 25

_SETTLING_FOR: Final = 0.004
"""Seconds that one transaction settles for, though that be less: whoever waits for the same commit waits as long."""

_SELECT_WITH_EDGES: Final = """
    SELECT value FROM json_each(:ids) WHERE EXISTS (
        SELECT 1 FROM job_dependencies INDEXED BY edges_after WHERE "of" = 'job' AND after_id = value)
"""
_SELECT_EDGES: Final = """
    SELECT job_id, standing FROM job_dependencies INDEXED BY edges_after
    WHERE "of" = :of AND after_id = :id AND job_id > :done_to ORDER BY job_id LIMIT :count
"""
_SELECT_NESTED_BEHIND: Final = """
    SELECT id FROM job_groups INDEXED BY groups_of_group
    WHERE group_id = :id AND group_id IS NOT NULL AND id > :done_to ORDER BY id LIMIT :count
"""
_COUNT_FAILED: Final = "SELECT count(*) FROM job_dependencies WHERE job_id = :id AND standing = 2"
_SELECT_OLDER: Final = """
    SELECT max(id) FROM background_jobs INDEXED BY jobs_of_schedule
    WHERE schedule = :schedule AND schedule IS NOT NULL AND finished_at IS NULL AND id < :id
"""
_SELECT_MEMBERS: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_of_group
    WHERE group_id = :id AND group_id IS NOT NULL AND id > :done_to AND finished_at IS NULL ORDER BY id LIMIT :count
"""
SELECT_CONSEQUENCES: Final = (
    'SELECT "of", id, done_to FROM consequences WHERE "of" = :of ORDER BY id LIMIT :count'
)
HAS_CONSEQUENCES: Final = "SELECT EXISTS (SELECT 1 FROM consequences WHERE \"of\" <> 'host')"
"""What a lost host ran is settled by items of its own."""

_NOTE: Final = """
    INSERT INTO consequences VALUES (:of, :id, :done_to)
    ON CONFLICT ("of", id) DO UPDATE SET done_to = min(consequences.done_to, :done_to)
"""
_FORGET: Final = 'DELETE FROM consequences WHERE "of" = :of AND id = :id'


def has_consequences(execute: Execute) -> bool:
    """Whether an earlier transaction has left something to do."""
    return bool(execute(HAS_CONSEQUENCES).fetchone()[0])


class Release:
    """Settles what comes after what has ended, or is to run again; `write` has the batch's rows written."""

    def __init__(self, execute: Execute, batch: Batch, write: Callable[[], None]) -> None:
        self._execute = execute
        self._batch = batch
        self._write = write
        self._left = AT_ONCE
        self._seen = 0
        self._waiting: deque[Unsettled] = deque()
        self._held: list[Unsettled] = []  # by another writer
        self._has_checked = not batch.locks.are_needed
        self._changes: dict[int, Change] = {}
        self._counted: dict[int, Group] = {}
        self._ends = Ends(execute, self._counted)

    def settle(self, has_more: bool) -> bool:
        """Do what the time allows; whether something is left. `has_more`: an earlier transaction has left some."""
        noted = self._take_noted() if has_more else []
        self._note_moves()
        self._waiting += self._batch.unsettled
        self._count_groups()
        self._waiting = deque(_by_turns(noted, self._waiting))
        end = time.monotonic() + _SETTLING_FOR if self._waiting else 0.0
        while self._waiting and self._left > 0 and (self._left == AT_ONCE or time.monotonic() < end):
            self._settle_one(self._waiting.popleft())
            self._note_moves()
            self._count_groups()
        left = sorted([*self._waiting, *self._held])
        for of, id, done_to in left:
            self._execute(_NOTE, {"of": of, "id": id, "done_to": done_to})
        return bool(left) or (has_more and has_consequences(self._execute))

    def _take_noted(self) -> list[Unsettled]:
        """Of each kind those that were noted first."""
        found = [
            Unsettled(*row)
            for of in (*Of, CANCEL, CANCEL_NESTED)
            for row in self._execute(SELECT_CONSEQUENCES, {"of": of, "count": _NOTED_AT_ONCE}).fetchall()
        ]
        for of, id, _ in found:
            self._execute(_FORGET, {"of": of, "id": id})
        return found

    # What has happened

    def _note_moves(self) -> None:
        """Take up the jobs that have ended, or are to run again, since the last time."""
        moves = self._batch.moves[self._seen :]
        self._seen = len(self._batch.moves)
        ids = []
        for before, after in moves:
            if after is None or isinstance(after, Countable):
                continue  # who is behind a key tells nobody
            was, fate = None if before is None else _fate(before), _fate(after)
            if after.is_for_review and after.schedule is not None:
                ids.append(after.id)
            if was is fate:
                continue
            if was is not None:
                ids.append(after.id)
            if after.group_id is not None:
                self._change(after.group_id, change_of(was, fate))
        if ids:
            found = self._execute(_SELECT_WITH_EDGES, {"ids": json.dumps(ids)}).fetchall()
            self._waiting += [Unsettled(Of.JOB, id) for (id,) in found]

    def _change(self, group_id: int, change: Change) -> None:
        self._changes[group_id] = self._changes.get(group_id, Change()).plus(change)

    # Groups

    def _count_groups(self) -> None:
        """Write what the members' changes come to, each group once; one that this ends or reopens is a change, too."""
        self._note_groups()
        self._check_groups()
        while self._changes:
            changes, self._changes = self._changes, {}
            self._write()
            self._batch.locks.groups(changes)
            groups = groups_by_id(self._execute, changes)
            for group_id in sorted(changes):
                self._count(groups[group_id], changes[group_id])
        self._write()

    def _check_groups(self) -> None:
        """Lock the groups that requests name, with those that are to be counted.

        Raises OvertakenError where another has sealed, cancelled or ended one since it was read: that one does not know
        of the members that were added, or of the edges behind it.
        """
        if self._has_checked:
            return
        self._has_checked = True
        named = self._batch.groups
        self._batch.locks.groups({*self._changes, *named})
        found = groups_by_id(self._execute, named)
        for group_id, group in named.items():
            if group_id not in found or _stands(found[group_id]) != _stands(group):
                raise OvertakenError(f"group {group_id}")

    def _note_groups(self) -> None:
        """Take up the groups that are new, that were sealed, and those that a bulk of jobs was put into."""
        batch = self._batch
        for group in batch.new_groups:
            self._change(group.id, Change())
            if group.parent is not None:
                self._change(group.parent, change_of(None, Fate.UNFINISHED))
        for group_id in batch.sealed:
            self._change(group_id, Change())
        for group_id, count in batch.grown.items():
            self._change(group_id, Change(total=count, unfinished=count))
        batch.new_groups.clear()
        batch.sealed.clear()
        batch.grown.clear()

    def _count(self, group: Group, change: Change) -> None:
        was, after = group.fate_told, group.counted(change, self._batch.now)
        self._counted[group.id] = after
        self._batch.write(Kind.COUNTED_GROUP, counts_row(after))
        fate = after.fate_told
        if fate is was:
            return
        if fate is not Fate.UNFINISHED:
            self._batch.ended_groups.append(after)
        if after.parent is not None:
            self._change(after.parent, change_of(was, fate))
        self._waiting.append(Unsettled(Of.GROUP, after.id))

    def _cancel_members(self, one: Unsettled) -> None:
        """Some of those that have not ended; once that are none any more, those of the groups in this one."""
        count = min(self._left, _IN_A_TURN)
        asked = {"id": one.id, "done_to": one.done_to, "count": count}
        ids = [id for (id,) in self._execute(_SELECT_MEMBERS, asked).fetchall()]
        self._left -= len(ids)
        free = self._free(one, ids)
        self._load(free)
        for id in free:
            overlay = Overlay(self._batch)
            if overlay.job(id).cancel_requested_at is None:
                applying.apply_fact(id, CancelRequested(), overlay)
            self._batch.take_in(overlay)
        is_all = len(ids) < count
        self._waiting.append(Unsettled(CANCEL_NESTED, one.id) if is_all else one._replace(done_to=ids[-1]))

    def _cancel_nested(self, one: Unsettled) -> None:
        """Some of the groups that are members of one which is cancelled."""
        count = min(self._left, _IN_A_TURN)
        asked = {"id": one.id, "done_to": one.done_to, "count": count}
        nested = [id for (id,) in self._execute(_SELECT_NESTED_BEHIND, asked).fetchall()]
        self._left -= len(nested)
        groups = groups_by_id(self._execute, nested)
        for id in nested:
            if groups[id].cancel_requested_at is None:
                overlay = Overlay(self._batch)
                overlay.seal(placing.sealed(groups[id], self._batch.now, is_cancelled=True))
                self._batch.take_in(overlay)
            # Also of one that was: members may have been retried since.
            self._waiting.append(Unsettled(CANCEL, id))
        if len(nested) == count:
            self._waiting.append(one._replace(done_to=nested[-1]))

    # What comes after

    def _settle_one(self, one: Unsettled) -> None:
        if one.of == CANCEL:
            self._cancel_members(one)
        elif one.of == CANCEL_NESTED:
            self._cancel_nested(one)
        else:
            self._settle_edges(Node(Of(one.of), one.id), one.done_to)

    def _settle_edges(self, node: Node, done_to: int) -> None:
        count = min(self._left, _IN_A_TURN)
        asked = {"of": node.of.value, "id": node.id, "done_to": done_to, "count": count}
        edges = self._execute(_SELECT_EDGES, asked).fetchall()
        self._left -= len(edges)
        if not edges:
            return
        free = self._free(Unsettled(node.of, node.id), [job_id for job_id, _ in edges])
        self._load(free)
        end = self._ends.of(node)
        for job_id, stored in self._of_these(free, edges, asked):
            overlay = Overlay(self._batch)
            self._settle_edge(end, job_id, Standing(stored), overlay)
            self._batch.take_in(overlay)
        self._write()
        if len(edges) == count:
            self._waiting.append(Unsettled(node.of, node.id, edges[-1][0]))

    def _free(self, one: Unsettled, ids: Sequence[int]) -> Sequence[int]:
        """Those of these jobs, behind one that has ended, that no other writer has; the others hear of it later."""
        free = self._batch.locks.free_jobs(ids)
        held = {*ids}.difference(free) if len(free) < len(ids) else ()
        if held:
            self._held.append(one._replace(done_to=min(held) - 1))
        return free

    def _of_these(
        self, free: Sequence[int], edges: Sequence[tuple[int, int]], asked: Mapping[str, Any]
    ) -> Sequence[tuple[int, int]]:
        """The edges of these jobs as they stand since nobody else can settle them."""
        if not self._batch.locks.are_needed:
            return edges
        ours = {*free}
        found = self._execute(_SELECT_EDGES, asked).fetchall()
        return [edge for edge in found if edge[0] in ours]

    def _settle_edge(self, end: End, job_id: int, stored: Standing, overlay: Overlay) -> None:
        job = overlay.job(job_id)
        end = end.seen_by(job)
        if_failed = job.if_failed or IfFailed.CANCEL
        after = settled(stored, end.fate, if_failed)
        if after is not stored:
            overlay.write(Kind.MOVED_EDGE, edge_row(job_id, end.node, after))
        has_ended = end.fate not in (Fate.UNFINISHED, Fate.DELETED)
        if has_ended and after is Standing.MET and job.status in TAKING and mentions(job.takes, end.node):
            job = applying.take_values(job, end.node, self._ends.result(end), overlay)
        if job.status not in MOVED:
            return
        if is_for_good(end.fate, after, if_failed):
            (failed,) = self._execute(_COUNT_FAILED, {"id": job_id}).fetchone()
            applying.apply_fact(job_id, PredecessorDeleted(end.node, max(1, failed)), overlay)
        elif after is not stored:
            self._move(job, PredecessorMoved(end.node, stored, after, end.fate), overlay)

    def _move(self, job: Job, moved: PredecessorMoved, overlay: Overlay) -> None:
        older = self._older(job) if moved.after is Standing.MET else None
        if older is not None:
            edge = edge_row(job.id, Node(Of.JOB, older), Standing.OPEN)
            overlay.write(Kind.NEW_EDGE, edge)
            overlay.write(Kind.MOVED_EDGE, edge)  # it may have come after that before
            return
        if state_machine.classify(job, moved) is Happening.REVIVED:
            moved = replace(moved, kept_by=self._kept_by(job, overlay))
        after = applying.apply_fact(job.id, moved, overlay)
        if not job.status.is_final or after.status.is_final:
            return
        uniques.take_again(after, overlay)
        if job.group_id is not None and self._is_unwanted(job.group_id):
            applying.apply_fact(job.id, CancelRequested(), overlay)

    def _kept_by(self, job: Job, overlay: Overlay) -> int | None:
        """Who holds the unique key of a cancelled job by now."""
        key = uniques.key_of(job)
        if key is None:
            return None
        if key not in self._batch.holdings:  # else it is known how that stands, which may not be written yet
            self._batch.locks.unique_keys([key])
            asked = {"keys": to_json([key])}
            found = uniques.holdings(self._execute, of_ties.SELECT_HOLDINGS, asked)
            self._batch.holdings |= {key: None, **found}
        holding = overlay.holding(key)
        if holding is not None and overlay.try_job(holding.job_id) is None:
            self._load([holding.job_id])
        holding = uniques.holder_of(key, overlay)
        return None if holding is None or holding.job_id == job.id else holding.job_id

    def _is_unwanted(self, group_id: int) -> bool:
        """Whether somebody has cancelled this group, or one that it is in."""
        groups = groups_by_id(self._execute, [group_id]).values()
        return any(group.cancel_requested_at is not None for group in groups)

    def _older(self, job: Job) -> int | None:
        """The job before it of its schedule that it waits for next: those in between may have been cancelled."""
        if job.schedule is None or job.waits_for != 1:
            return None
        asked = {"schedule": job.schedule, "id": job.id}
        locked: int | None = None
        while True:
            found: int | None = self._execute(_SELECT_OLDER, asked).fetchone()[0]
            if found is None or found == locked or not self._batch.locks.are_needed:
                return found
            self._batch.locks.jobs([found])
            locked = found

    # What is known of them

    def _load(self, ids: Sequence[int]) -> None:
        """Have these jobs at hand as they stand; what has changed of them is written by then."""
        found = self._execute(of_jobs.SELECT_JOBS, {"ids": json.dumps(ids)}).fetchall() if ids else []
        self._batch.jobs |= {row[0]: job_from_row(row) for row in found}


def _stands(group: Group) -> tuple[Any, ...]:
    """What a request goes by."""
    return group.sealed_at is None, group.cancel_requested_at is None, group.fate_told


def _fate(job: Job | Countable) -> Fate:
    return fate_of(job.status, job.is_for_review)


def _by_turns(*queues: Iterable[Unsettled]) -> Iterator[Unsettled]:
    """The first of each, then the second of each, and so on."""
    for several in zip_longest(*queues):
        yield from (one for one in several if one is not None)
