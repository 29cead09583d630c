"""What has become of the jobs and groups that others come after, and what these are given of it.

It reads; what that means for who comes after is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bgjob.results import MOST_RESULTS, NoResultsError, Result, Room, result_of
from bgjob.words import Status
from bgjobd.core.edges import Fate, Group, Node, Of, fate_of
from bgjobd.core.job import Job
from bgjobd.store.dependencies import groups_by_id
from bgjobd.store.engines import Execute

_SELECT_END: Final = """
    SELECT status, review_since IS NOT NULL, result, schedule FROM background_jobs WHERE id = :id
"""
_SELECT_RESULTS: Final = """
    SELECT result FROM background_jobs INDEXED BY jobs_of_group
    WHERE group_id = :id AND group_id IS NOT NULL ORDER BY id
"""
_SELECT_NESTED: Final = (
    "SELECT id FROM job_groups INDEXED BY groups_of_group WHERE group_id = :id ORDER BY id"
)
_SELECT_TOTAL: Final = "SELECT total FROM job_groups WHERE id = :id"


@dataclass(slots=True)
class End:
    """What has become of a node; of a job with its result, as JSON text, if it has one. `taken` once that is read.

    `goes_on` is the schedule of one that is for review.
    """

    node: Node
    fate: Fate
    result: str | None = None
    taken: Result | None = None
    goes_on: str | None = None

    def seen_by(self, job: Job) -> End:
        """The same as it stands to this job, which comes after it."""
        if self.goes_on is None:
            return self
        fate = fate_of(Status.FAILED, is_for_review=True, to_next_one=self.goes_on == job.schedule)
        return replace(self, fate=fate)


class Ends:
    """Reads them in the transaction that is open, which knows how the groups stand that it has `counted`."""

    def __init__(self, execute: Execute, counted: Mapping[int, Group]) -> None:
        self._execute = execute
        self._counted = counted

    def of(self, node: Node) -> End:
        if node.of is Of.GROUP:
            group = self._counted.get(node.id) or groups_by_id(self._execute, [node.id]).get(node.id)
            return End(node, Fate.DELETED if group is None else group.fate_told)
        row = self._execute(_SELECT_END, {"id": node.id}).fetchone()
        if row is None:
            return End(node, Fate.DELETED)
        status, is_for_review, result, schedule = row
        fate = fate_of(Status(status), bool(is_for_review))
        return End(node, fate, result, goes_on=schedule if is_for_review else None)

    def result(self, end: End) -> Result:
        """What is to be had of it: a job's result, or those of a group's members in the order of their ids."""
        if end.taken is None:
            end.taken = result_of(end.result) if end.node.of is Of.JOB else self._results(end.node.id)
        return end.taken

    def _results(self, group_id: int) -> Result:
        try:
            return Result(self._values(group_id, Room()))
        except NoResultsError as error:
            return Result(problem=str(error))

    def _values(self, group_id: int, room: Room) -> list[Any]:
        """Those of the jobs that are members, then for each group that is one its own. Raises NoResultsError."""
        values: list[Any] = []
        for (text,) in self._execute(_SELECT_RESULTS, {"id": group_id}):
            room.take(text)
            found = result_of(text)
            if found.problem is not None:
                raise NoResultsError(found.problem)
            values.append(found.value)
        for (id,) in self._execute(_SELECT_NESTED, {"id": group_id}).fetchmany(MOST_RESULTS + 1):
            room.take(None)
            values.append(self._values(id, room))
        (total,) = self._execute(_SELECT_TOTAL, {"id": group_id}).fetchone() or (0,)
        if len(values) < total:
            raise NoResultsError("of the group's members some are deleted, and their results with them")
        return values
