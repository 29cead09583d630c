"""Who waits for whom among the jobs of a stand-in, and what its groups count; no job runs here.

What has become of a job or a group is told to those that come after it, as by a daemon: each edge keeps how it stands.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bgjob.codec import JsonObject, to_json
from bgjob.errors import (
    BehindFailedError,
    GroupNotFoundError,
)
from bgjob.results import MISSING, NoResultsError, Result, Room, result_of
from bgjob.testing import taking
from bgjob.testing.submissions import instant
from bgjob.testing.ties import NewGroup, Node, Ties
from bgjob.words import IfFailed, Status

_UNFINISHED: Final = "unfinished"
_HOW: Final = {"failed": "failed", "cancelled": "was cancelled"}


class Group:
    """A group; `counts` has what became of its members, each by its fate."""

    def __init__(self, group_id: int, since_id: int, new: NewGroup, parent: int | None) -> None:
        self.id = group_id
        self.since_id = since_id
        self.name = new.name
        self.parent = parent
        self.counts: Counter[str] = Counter()
        self.created_at = instant()
        self.sealed_at = None if new.is_open else self.created_at
        self.ended_at: str | None = None
        self.is_cancelled = False

    @property
    def fate(self) -> str:
        if self.sealed_at is None or self.counts[_UNFINISHED]:
            return _UNFINISHED
        return "failed" if self.counts["failed"] or self.counts["cancelled"] else "completed"

    @property
    def shown(self) -> JsonObject:
        """As GroupState has it."""
        state = "open" if self.sealed_at is None else "sealed" if self.fate == _UNFINISHED else self.fate
        told = ("id", "name", "sealed_at", "ended_at", "created_at")
        return {
            **{name: getattr(self, name) for name in told},
            **{name: self.counts[name] for name in (_UNFINISHED, "completed", "failed", "cancelled")},
            "total": self.counts.total(),
            "state": state,
            "group": self.parent,
        }


class Flows:
    """The groups, and the edges between jobs; whoever calls holds the lock."""

    def __init__(self, rows: dict[int, JsonObject]) -> None:
        self.rows = rows
        self.groups: dict[int, Group] = {}
        self.group_keys: dict[str, int] = {}
        self.edges: defaultdict[int, dict[Node, str]] = defaultdict(dict)
        self._later: defaultdict[Node, list[int]] = defaultdict(list)
        self._members: defaultdict[int, list[Node]] = defaultdict(list)
        self._fates: dict[Node, str] = {}

    def group(self, group_id: int) -> Group:
        """Raises GroupNotFoundError."""
        group = self.groups.get(group_id)
        if group is None:
            raise GroupNotFoundError(id=group_id)
        return group

    def enclosing(self, group_id: int | None) -> Iterator[Group]:
        """The group, the one that this is in, and so on."""
        while group_id is not None:
            group = self.group(group_id)
            yield group
            group_id = group.parent

    def members(self, group_id: int) -> list[Node]:
        return self._members[group_id]

    def later(self, node: Node) -> list[int]:
        """The jobs that come after it."""
        return self._later[node]

    def group_of(self, node: Node) -> int | None:
        """The group that it is a member of."""
        group_id: int | None = (
            self.rows[node.id]["group_id"] if node.of == "job" else self.groups[node.id].parent
        )
        return group_id

    # New ones

    def add(self, row: JsonObject, ties: Ties, if_failed: str | None) -> list[JsonObject]:
        """The ties of a job that was just stored, all by ids; the jobs that this frees."""
        node, predecessors = Node("job", row["id"]), ties.predecessors
        row["group_id"] = None if ties.group is None else ties.group.id
        row["if_failed"] = (if_failed or IfFailed.CANCEL.value) if predecessors else None
        takes = {name: {"of": one.of.asked, "pointer": one.pointer} for name, one in ties.takes.items()}
        row["takes"] = takes or None
        self._join(node)
        for predecessor in predecessors:
            self.edges[row["id"]][predecessor] = "open"
            self._later[predecessor].append(row["id"])
        self._count(row)
        for predecessor in predecessors:
            self._settle(row, predecessor, self._fates[predecessor])
        if any(group.is_cancelled for group in self.enclosing(row["group_id"])) and _is_open(row):
            cancel(row)
        return self.tell(node)

    def add_group(self, group: Group) -> None:
        self.groups[group.id] = group
        self._join(Node("group", group.id))

    def _join(self, node: Node) -> None:
        self._fates[node] = _UNFINISHED
        group_id = self.group_of(node)
        if group_id is not None:
            self._members[group_id].append(node)
            self.groups[group_id].counts[_UNFINISHED] += 1

    # What has become of them

    def tell(self, *nodes: Node) -> list[JsonObject]:
        """Have it known what has become of these; the jobs that wait for nothing any more since then."""
        freed: list[JsonObject] = []
        waiting = deque(nodes)
        while waiting:
            node = waiting.popleft()
            was, fate = self._fates[node], self._fate(node)
            if was == fate:
                continue
            self._fates[node] = fate
            group_id = self.group_of(node)
            if group_id is not None:
                self.groups[group_id].counts.update({was: -1, fate: 1})
                waiting.append(Node("group", group_id))
            for job_id in self._later[node]:
                row = self.rows[job_id]
                self._settle(row, node, fate)
                waiting.append(Node("job", job_id))
                freed += [row] if _is_free(row) else []
        return freed

    def _fate(self, node: Node) -> str:
        if node.of == "job":
            row = self.rows[node.id]
            return _UNFINISHED if _is_open(row) else str(row["status"])
        group = self.groups[node.id]
        group.ended_at = None if group.fate == _UNFINISHED else group.ended_at or instant()
        return group.fate

    def _settle(self, row: JsonObject, node: Node, fate: str) -> None:
        """Have an edge stand where what the job comes after wants it; what is met stays so."""
        edges = self.edges[row["id"]]
        stood, stands = edges[node], _standing(fate, row["if_failed"])
        if stood in ("met", stands):
            return
        edges[node] = stands
        if stands == "met" and taking.is_taken(row, node):
            taking.take(row, node, self._result(node))
        self._count(row)
        is_failed = "failed" in edges.values() and row["if_failed"] == IfFailed.CANCEL
        if is_failed and row["status"] == Status.PENDING:
            _cancel_for(row, node, fate)
        elif not is_failed and row["cancelled_after"] is not None:
            row.update(status=Status.PENDING, error=None, finished_at=None, cancelled_after=None)
            _look_whether_blocked(row)

    def _count(self, row: JsonObject) -> None:
        row["waits_for"] = sum(stands != "met" for stands in self.edges[row["id"]].values())
        _look_whether_blocked(row)

    def _result(self, node: Node) -> Result:
        """What there is to take of a job, or of a group: a daemon reads it as JSON, and so nobody else holds it."""
        if node.of == "job":
            return result_of(self._result_text(node))
        try:
            return Result(self._results(node.id, Room()))
        except NoResultsError as error:
            return Result(problem=str(error))

    def _results(self, group_id: int, room: Room) -> list[Any]:
        """Those of the jobs that are members, then for each group that is one its own. Raises NoResultsError."""
        values: list[Any] = []
        for node in sorted(self._members[group_id], key=lambda one: (one.of == "group", one.id)):
            text = self._result_text(node) if node.of == "job" else None
            room.take(text)
            found = result_of(text)
            if found.problem is not None:
                raise NoResultsError(found.problem)
            values.append(found.value if node.of == "job" else self._results(node.id, room))
        return values

    def _result_text(self, node: Node) -> str | None:
        """As JSON; None where the job did not complete."""
        row = self.rows[node.id]
        return to_json(row["result"]) if row["status"] == Status.COMPLETED else None

    # What people ask for

    def is_kept(self, row: JsonObject, retried: Sequence[int]) -> bool:
        """Whether a job that is to be retried waits for others, which are retried as well and free it. Raises
        BehindFailedError where they are not.
        """
        failed = self._failed_before(row)
        if not failed or row["if_failed"] != IfFailed.CANCEL:
            return False
        if all(node.of == "job" and node.id in retried for node in failed):
            return True
        raise BehindFailedError(id=row["id"], before=row["cancelled_after"] or _before(failed[0]))

    def put_back(self, row: JsonObject, anyway: bool) -> None:
        """Have a job wait that is to run again, for what failed no more where it is to run anyway: that gives null."""
        for node in self._failed_before(row) if anyway else ():
            self.edges[row["id"]][node] = "met"
            taking.take(row, node, MISSING)
        self._count(row)

    def try_open_before(self, row: JsonObject) -> str | None:
        """The first of what the job comes after that is not done."""
        waits = (node for node, stands in self.edges[row["id"]].items() if stands != "met")
        return next((node.named for node in waits), None)

    def _failed_before(self, row: JsonObject) -> list[Node]:
        return [node for node, stands in self.edges[row["id"]].items() if stands == "failed"]

    def seal(self, group_id: int) -> list[JsonObject]:
        """The jobs that this frees. Raises GroupNotFoundError."""
        group = self.group(group_id)
        group.sealed_at = group.sealed_at or instant()
        return self.tell(Node("group", group_id))

    def cancel_group(self, group_id: int) -> list[JsonObject]:
        """The jobs that this frees. Raises GroupNotFoundError."""
        group = self.group(group_id)
        group.is_cancelled = True
        for node in self._members[group_id]:
            if node.of == "group":
                self.cancel_group(node.id)
            elif _is_open(self.rows[node.id]):
                cancel(self.rows[node.id])
        freed = self.tell(*self._members[group_id])
        return freed + self.seal(group_id)

    def failed_members(self, group_id: int, behind: dict[str, list[str]]) -> list[int]:
        """Those that failed, of the groups in it too; `behind` gets by name what goes on with what, jobs and groups.

        Raises GroupNotFoundError.
        """
        self.group(group_id)
        failed: list[int] = []
        members = sorted(self._members[group_id], key=lambda one: (one.of == "job", one.id))
        for node in members:
            if node.of == "group":
                of_nested = self.failed_members(node.id, behind)
                for job_id in of_nested:
                    behind[str(job_id)].append(node.named)
                failed += of_nested
                continue
            row = self.rows[node.id]
            if row["status"] == Status.FAILED:
                failed.append(node.id)
            elif row["cancelled_after"] is not None:
                behind[row["cancelled_after"]].append(str(node.id))
        return failed


def cancel(row: JsonObject) -> None:
    """What a cancel does to a job that has not ended: one that runs is told of it."""
    now = instant()
    row["cancel_requested_at"] = row["cancel_requested_at"] or now
    if row["status"] == Status.PENDING:
        row.update(status=Status.CANCELLED, finished_at=now, updated_at=now, is_blocked=False)
        row["waiting_on"] = None


def _cancel_for(row: JsonObject, node: Node, fate: str) -> None:
    now = instant()
    error = f"cancelled: {node.named}, which it came after, {_HOW[fate]}"
    row.update(
        status=Status.CANCELLED, finished_at=now, updated_at=now, error=error, cancelled_after=_before(node)
    )
    _look_whether_blocked(row)


def _look_whether_blocked(row: JsonObject) -> None:
    row["is_blocked"] = row["status"] == Status.PENDING and row["waits_for"] > 0


def _before(node: Node) -> str:
    return str(node.id) if node.of == "job" else node.named


def _standing(fate: str, if_failed: str | None) -> str:
    if fate == _UNFINISHED:
        return "open"
    return "met" if fate == "completed" or if_failed == IfFailed.RUN else "failed"


def _is_open(row: JsonObject) -> bool:
    return row["status"] in (Status.PENDING, Status.RUNNING)


def _is_free(row: JsonObject) -> bool:
    return row["status"] == Status.PENDING and not row["waits_for"]
