"""How far a graph goes from a job, looked at level by level; what is told of that is `core.reach`'s."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from typing import Any, Final

from bgjob.codec import to_json
from bgjobd.core.edges import Node, Of, Standing
from bgjobd.core.reach import Reach
from bgjobd.store.engines import Connection

BUDGET: Final = 0.1
"""Seconds that a look may take, for which only searches wait."""

_OF_IDS: Final = "FROM json_each(:ids) AS wanted CROSS JOIN"
SELECT_JOBS: Final = (
    f"SELECT j.id, j.status, j.group_id {_OF_IDS} background_jobs AS j ON j.id = wanted.value"
)
SELECT_BEFORE: Final = f"""
    SELECT d."of", d.after_id {_OF_IDS} job_dependencies AS d ON d.job_id = wanted.value LIMIT :count
"""
SELECT_LATER: Final = f"""
    SELECT d.after_id, d.job_id, d.standing {_OF_IDS} job_dependencies AS d INDEXED BY edges_after
    ON d."of" = :of AND d.after_id = wanted.value LIMIT :count
"""
SELECT_AROUND: Final = f"SELECT g.id, g.group_id {_OF_IDS} job_groups AS g ON g.id = wanted.value"
SELECT_NESTED: Final = f"""
    SELECT g.id {_OF_IDS} job_groups AS g INDEXED BY groups_of_group ON g.group_id = wanted.value LIMIT :count
"""
SELECT_MEMBERS: Final = f"""
    SELECT j.id {_OF_IDS} background_jobs AS j INDEXED BY jobs_of_group
    ON j.group_id = wanted.value AND j.group_id IS NOT NULL LIMIT :count
"""


def reach(connection: Connection, job_id: int, most: int, budget: float = BUDGET) -> Reach:
    """As far as `most` jobs and as many groups, and as `budget` seconds go."""
    look = _Look(connection, Reach(most), time.monotonic() + budget)
    look.meet([job_id], [])
    while look.has_more and not look.found.is_full:
        look.go_on()
    return look.found


class _Look:
    """Asks for a whole level at a time: a graph that is broad takes a few questions. After the deadline (monotonic) it
    asks none, and finds nothing more.
    """

    def __init__(self, connection: Connection, found: Reach, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._met: dict[Of, set[int]] = {Of.JOB: set(), Of.GROUP: set()}
        self._level: dict[Of, list[int]] = {}
        self.found = found

    @property
    def has_more(self) -> bool:
        return any(self._level.values())

    def meet(self, jobs: Collection[int], groups: Collection[int]) -> None:
        """The next level: those of these that are new, and that there is room for."""
        self._level = {Of.JOB: self._first(Of.JOB, jobs), Of.GROUP: self._first(Of.GROUP, groups)}
        for id, status, group_id in self._ask(SELECT_JOBS, self._level[Of.JOB]):
            self.found.statuses[id] = status
            self.found.put_within(Node(Of.JOB, id), group_id)
        for id, group_id in self._ask(SELECT_AROUND, self._level[Of.GROUP]):
            self.found.put_within(Node(Of.GROUP, id), group_id)

    def go_on(self) -> None:
        """Meet what is beside those of this level."""
        jobs, groups = self._level[Of.JOB], self._level[Of.GROUP]
        before = self._ask(SELECT_BEFORE, jobs)
        beside = {after for of, after in before if of == Of.JOB}
        around = {after for of, after in before if of == Of.GROUP}
        around.update(self.found.groups_of(Of.JOB, jobs), self.found.groups_of(Of.GROUP, groups))
        beside.update(self._later(Of.JOB, jobs), self._later(Of.GROUP, groups))
        around.update(id for (id,) in self._ask(SELECT_NESTED, groups))
        beside.update(id for (id,) in self._ask(SELECT_MEMBERS, groups))
        self.meet(beside, around)

    def _first(self, of: Of, ids: Collection[int]) -> list[int]:
        met = self._met[of]
        new = sorted({*ids} - met)
        room = self.found.most - len(met)
        self.found.is_cut |= len(new) > room
        met.update(new[:room])
        return new[:room]

    def _later(self, of: Of, ids: Collection[int]) -> Iterator[int]:
        for after, job_id, standing in self._ask(SELECT_LATER, ids, of=of.value):
            if standing != Standing.MET:
                self.found.held_up.setdefault(Node(of, after), []).append(job_id)
            yield job_id

    def _ask(self, statement: str, ids: Collection[int], **given: Any) -> list[tuple[Any, ...]]:
        """The rows that these have; as soon as there are more than jobs of a graph, there may be others."""
        if not ids:
            return []
        if time.monotonic() > self._deadline:
            self.found.is_cut = True
            return []
        most = self.found.most
        asked = {"ids": to_json(list(ids)), "count": most + 1, **given}
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, asked).fetchall()
        self.found.is_cut |= len(rows) > most
        return rows
