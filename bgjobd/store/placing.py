"""Where new jobs have their place among others: the groups that a request makes, what each job comes after; no SQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from bgjob.codec import to_json
from bgjob.errors import (
    GroupSealedError,
    InvalidParameterError,
    JobNotFoundError,
    PermissionDeniedError,
)
from bgjob.words import IfFailed
from bgjobd.core.edges import (
    MOST_ENCLOSING,
    Fate,
    Group,
    Mentioned,
    NewGroup,
    Node,
    Of,
    Place,
    Placed,
    Standing,
    Ties,
    fate_of,
    is_in_order,
    standing,
)
from bgjobd.core.taking import as_text
from bgjobd.store.batch import Overlay
from bgjobd.store.committed import Stored
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.rows import row_of_new_group
from bgjobd.store.written import Kind


class Edge(NamedTuple):
    """What a new job comes after, how that stands, and why; `is_taken_of`: a value is to be taken of it."""

    node: Node
    standing: Standing
    fate: Fate
    is_taken_of: bool


class Placing:
    """Finds the place of each job of a request, in order; `stored` are those of its jobs that have theirs."""

    def __init__(self, flow: Flow, stored: Sequence[Stored], overlay: Overlay) -> None:
        self._stored = stored
        self._new = flow.groups
        self._by = flow.submitter
        self._overlay = overlay
        self._made: dict[int, int] = {}
        self._own: set[int] = set()

    def place(self, index: int, ties: Ties) -> tuple[Place, list[Edge]]:
        """Raises the refusals: of what is not there, not in order, sealed, or somebody else's."""
        for one in ties.predecessors:
            self._node(one)  # a group among them begins before the job's own
        group_id = self._group_of(ties, index)
        enclosing = self._overlay.enclosing(group_id)
        edges = self._edges(ties, enclosing, f"jobs.{index}.options")
        waits_for = sum(edge.standing is not Standing.MET for edge in edges)
        return Place(waits_for, ties.if_failed if edges else None, group_id, self._takes(ties)), edges

    def adopt(self, ties: Ties, job_id: int) -> None:
        """Take the group of a job that an earlier request has made for the one that it is to be in: a repeat makes no
        other one, though the group may have no key of its own.
        """
        if isinstance(ties.group, Mentioned) and ties.group.place not in self._made:
            _, group_id = self._stands(Node(Of.JOB, job_id))
            if group_id is not None:
                self._made[ties.group.place] = group_id

    def groups(self) -> tuple[int, ...]:
        """The ids of all groups of the request, also of those that no job is in."""
        return tuple([self._group_id(place) for place in range(len(self._new))])

    # Edges

    def _edges(self, ties: Ties, enclosing: Sequence[Group], path: str) -> list[Edge]:
        """One for each predecessor, also where two names lead to it: an id, and a ref whose key a job has."""
        taken_of = self._taken_of(ties)
        edges: dict[Node, Edge] = {}
        for one in ties.predecessors:
            node = self._node(one)
            if node in edges:
                continue
            fate, own_group = self._stands(node)
            if enclosing and not is_in_order(Placed(node, self._within(own_group)), enclosing):
                raise InvalidParameterError(parameter=f"{path}.{ties.path_of(one)}")
            edges[node] = _edge(node, fate, ties.if_failed, node in taken_of)
        return list(edges.values())

    def _taken_of(self, ties: Ties) -> set[Node]:
        for take in ties.takes:
            self._check_readable(take.of)
        return {self._node(take.of) for take in ties.takes}

    def _check_readable(self, of: Node | Mentioned) -> None:
        """Raises PermissionDeniedError: else who may but submit could read results, by having a job take them.

        What a key has led to was made by another request, and perhaps by another user.
        """
        if isinstance(of, Node):
            is_own = False
        elif of.of is Of.JOB:
            is_own = self._stored[of.place].created
        else:
            is_own = self._group_id(of.place) in self._own
        if not is_own and not self._by.may_read:
            raise PermissionDeniedError(
                reason="a result is to be taken of what this request has not made: that takes the right to read"
            )

    def _node(self, one: Node | Mentioned) -> Node:
        if isinstance(one, Node):
            return one
        id = self._stored[one.place].id if one.of is Of.JOB else self._group_id(one.place)
        return Node(one.of, id)

    def _stands(self, node: Node) -> tuple[Fate, int | None]:
        """What has become of it, and the group that it is in. Raises JobNotFoundError, GroupNotFoundError."""
        if node.of is Of.GROUP:
            group = self._overlay.group(node.id)
            return group.fate_told, group.parent
        job = self._overlay.try_job(node.id)
        if job is not None:
            return fate_of(job.status, job.is_for_review), job.group_id
        stood = self._overlay.batch.stands.get(node.id)
        if stood is None:
            raise JobNotFoundError(id=node.id)
        return stood

    def _within(self, group_id: int | None) -> tuple[int, ...]:
        return tuple([group.id for group in self._overlay.enclosing(group_id)])

    def _takes(self, ties: Ties) -> str | None:
        if not ties.takes:
            return None
        return to_json(
            {take.name: {"of": as_text(self._node(take.of)), "pointer": take.pointer} for take in ties.takes}
        )

    # Groups

    def _group_of(self, ties: Ties, index: int) -> int | None:
        if ties.group is None:
            return None
        if isinstance(ties.group, Mentioned):
            group_id = self._group_id(ties.group.place)
        else:
            group_id = ties.group
        self._check_open(group_id)
        return group_id

    def _check_open(self, group_id: int) -> None:
        """Raises where this request may put no member into the group."""
        if group_id in self._own:
            return
        group = self._overlay.group(group_id)
        check_owner(group, self._by)
        if group.sealed_at is not None:
            raise GroupSealedError(id=group_id)

    def _group_id(self, place: int) -> int:
        """The group of this place, which begins where the request first mentions it."""
        if place not in self._made:
            self._made[place] = self._known(self._new[place]) or self._make(self._new[place], place)
        return self._made[place]

    def _known(self, new: NewGroup) -> int | None:
        key = new.idempotency_key
        return None if key is None else self._overlay.try_group_of_key(key)

    def _make(self, new: NewGroup, place: int) -> int:
        overlay, now = self._overlay, self._overlay.batch.now
        parent = self._group_id(new.parent.place) if isinstance(new.parent, Mentioned) else new.parent
        if parent is not None:
            self._check_open(parent)
            if len(overlay.enclosing(parent)) >= MOST_ENCLOSING:
                raise InvalidParameterError(parameter=f"groups.{place}.group")
        overlay.last_group_id += 1
        group = Group(
            overlay.last_group_id,
            overlay.last_id,
            new.name,
            parent,
            sealed_at=None if new.is_open else now,
            created_at=now,
            submitted_uid=self._by.uid,
        )
        overlay.groups[group.id] = group
        overlay.new_groups.append(group)
        if new.idempotency_key is not None:
            overlay.group_keys[new.idempotency_key] = group.id
        overlay.write(Kind.NEW_GROUP, row_of_new_group(group, new.idempotency_key))
        self._own.add(group.id)
        return group.id


def _edge(node: Node, fate: Fate, if_failed: IfFailed, is_taken_of: bool) -> Edge:
    # What a value is taken of is settled with all that has ended, where that is done.
    stands = Standing.OPEN if is_taken_of else standing(fate, if_failed)
    return Edge(node, stands, fate, is_taken_of and fate is not Fate.UNFINISHED)


def check_owner(group: Group, by: Submitter) -> None:
    """Raises PermissionDeniedError where somebody else's group is not for this caller to change."""
    if not by.may_manage and group.submitted_uid != by.uid:
        raise PermissionDeniedError(
            reason=f"group {group.id} is of uid {group.submitted_uid}; who may manage may change it"
        )


def sealed(group: Group, now: float, is_cancelled: bool = False) -> Group:
    """The group once it takes no more members."""
    return replace(
        group,
        sealed_at=now if group.sealed_at is None else group.sealed_at,
        cancel_requested_at=now if is_cancelled else group.cancel_requested_at,
    )
