"""Where new jobs of a stand-in have their place among others: groups of the request, and what each comes after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgjob.errors import GroupSealedError, InvalidParameterError, JobNotFoundError
from bgjob.testing.flows import Flows, Group
from bgjob.testing.ties import NewGroup, Node, Ties
from bgjob.words import MAX_GROUP_DEPTH


class Placing:
    """Finds the place of each job of a request; nobody else knows of its groups before all of it is stored."""

    def __init__(self, flows: Flows, new: Sequence[NewGroup], last_id: int) -> None:
        self._flows = flows
        self._new = new
        self._made: dict[int, int] = {}
        self._groups: dict[int, Group] = {}
        self._jobs: dict[int, int] = {}
        self._in_group: dict[int, int | None] = {}
        self._last_id = last_id

    def place(self, index: int, job_id: int, ties: Ties) -> Ties:
        """The same by ids. Raises the refusals: of what is not there, not in order, or sealed."""
        nodes = list(map(self._node, ties.predecessors))  # whose groups are older than the job's own
        group = None if ties.group is None else Node("group", self._open_group(ties.group))
        enclosing = list(self._enclosing(None if group is None else group.id))
        for asked, node in zip(ties.predecessors, nodes, strict=True):
            if not self._is_in_order(node, enclosing):
                raise InvalidParameterError(parameter=f"jobs.{index}.options.{ties.path_of(asked)}")
        takes = {name: take._replace(of=self._node(take.of)) for name, take in ties.takes.items()}
        self.know(index, job_id, None if group is None else group.id)
        self._last_id = job_id
        return Ties(tuple(map(self._node, ties.after)), takes, group)

    def know(self, index: int, job_id: int, group_id: int | None) -> None:
        """The job of this place, which may have been stored before."""
        self._jobs[index] = job_id
        self._in_group[job_id] = group_id

    def groups(self, seal: Sequence[int]) -> list[int]:
        """The ids of the request's groups, those too that no job is in. Raises GroupNotFoundError for those to seal."""
        for group_id in seal:
            self._flows.group(group_id)
        return [self._id_of(place) for place in range(len(self._new))]

    def commit(self) -> None:
        """Have the groups known."""
        for place, group_id in self._made.items():
            if group_id in self._groups:
                self._flows.add_group(self._groups[group_id])
            key = self._new[place].key
            if key is not None:
                self._flows.group_keys[key] = group_id

    def _node(self, one: Node) -> Node:
        if not one.is_new:
            return one
        return Node(one.of, self._jobs[one.id] if one.of == "job" else self._id_of(one.id))

    def _is_in_order(self, node: Node, enclosing: Sequence[Group]) -> bool:
        """Whether all that encloses the job has this in it as well, or is newer. Raises what is not there."""
        if node.of == "group":
            inside = {group.id for group in self._enclosing(self._group(node.id).parent)}
            return all(node.id < group.id or group.id in inside for group in enclosing)
        if node.id not in self._in_group and node.id not in self._flows.rows:
            raise JobNotFoundError(id=node.id)
        is_new = node.id in self._in_group
        own = self._in_group[node.id] if is_new else self._flows.rows[node.id]["group_id"]
        inside = {group.id for group in self._enclosing(own)}
        return all(node.id <= group.since_id or group.id in inside for group in enclosing)

    def _enclosing(self, group_id: int | None) -> Iterator[Group]:
        while group_id is not None:
            group = self._group(group_id)
            yield group
            group_id = group.parent

    def _group(self, group_id: int) -> Group:
        return self._groups.get(group_id) or self._flows.group(group_id)

    def _open_group(self, asked: Node) -> int:
        """Raises GroupNotFoundError, GroupSealedError."""
        group_id = self._id_of(asked.id) if asked.is_new else asked.id
        if group_id not in self._groups and self._flows.group(group_id).sealed_at is not None:
            raise GroupSealedError(id=group_id)
        return group_id

    def _id_of(self, place: int) -> int:
        """Of a group of the request, which begins where that first mentions it."""
        if place not in self._made:
            new = self._new[place]
            known = None if new.key is None else self._flows.group_keys.get(new.key)
            self._made[place] = self._make(new, place) if known is None else known
        return self._made[place]

    def _make(self, new: NewGroup, place: int) -> int:
        parent = None if new.parent is None else self._open_group(new.parent)
        if len(list(self._enclosing(parent))) >= MAX_GROUP_DEPTH:
            raise InvalidParameterError(parameter=f"groups.{place}.group")
        group = Group(len(self._flows.groups) + len(self._groups) + 1, self._last_id, new, parent)
        self._groups[group.id] = group
        return group.id
