"""Reads groups, and what hangs together by edges, for callers: as objects with the keys of the socket's types."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bgjob.codec import JsonObject, to_json
from bgjob.words import INT_MAX
from bgjobd.core.edges import Group, Node, Of, Standing
from bgjobd.core.reach import chosen
from bgjobd.host.clock import to_text
from bgjobd.store import graph_reach
from bgjobd.store.dependencies import groups_by_id
from bgjobd.store.engines import Connection
from bgjobd.store.pages.summaries import summaries_of
from bgjobd.store.rows import GROUP_COLUMNS, group_from_row, text_of

_MOST_EDGES: Final = 20_000
"""That are told of a graph, as many as a request may make."""

_MOST_SEEN: Final = 3 * _MOST_EDGES
"""Neighbours that are looked at: each edge from both of its ends, and members."""

_COLUMNS: Final = ", ".join(GROUP_COLUMNS)
_STATES: Final = {
    "open": "sealed_at IS NULL",
    "sealed": "sealed_at IS NOT NULL AND ended_at IS NULL",
    "completed": "ended_at IS NOT NULL AND failed = 0 AND cancelled = 0",
    "failed": "ended_at IS NOT NULL AND (failed > 0 OR cancelled > 0)",
}
_COUNT_UNENDED: Final = "SELECT count(*) FROM job_groups INDEXED BY groups_unended WHERE ended_at IS NULL"
_SELECT_PREDECESSORS: Final = """
    SELECT "of", after_id FROM job_dependencies WHERE job_id = :id ORDER BY "of", after_id LIMIT :count
"""
_SELECT_SUCCESSORS: Final = """
    SELECT job_id FROM job_dependencies INDEXED BY edges_after
    WHERE "of" = :of AND after_id = :id ORDER BY job_id LIMIT :count
"""
_SELECT_MEMBERS: Final = """
    SELECT id FROM background_jobs INDEXED BY jobs_of_group
    WHERE group_id = :id AND group_id IS NOT NULL ORDER BY id LIMIT :count
"""
_SELECT_NESTED: Final = (
    "SELECT id FROM job_groups INDEXED BY groups_of_group WHERE group_id = :id ORDER BY id LIMIT :count"
)
_SELECT_GROUP_OF: Final = "SELECT group_id FROM background_jobs WHERE id = :id"
_SELECT_EDGES: Final = """
    SELECT d."of", d.after_id, d.job_id, d.standing
    FROM json_each(:ids) AS wanted CROSS JOIN job_dependencies AS d ON d.job_id = wanted.value
    ORDER BY d.job_id, d."of", d.after_id LIMIT :count
"""
_SELECT_RETRYABLE: Final = """
    SELECT id, cancelled_after FROM background_jobs INDEXED BY jobs_of_group
    WHERE group_id = :id AND group_id IS NOT NULL AND id > :after AND finished_at IS NOT NULL
        AND (status = 'failed' AND review_since IS NULL OR cancelled_after IS NOT NULL) ORDER BY id LIMIT :count
"""


@dataclass(frozen=True, slots=True)
class Graph:
    """Jobs and groups that hang together, and the edges between them; `is_whole`: there are no others. `total` is how
    many jobs there are, None where that is not known.
    """

    jobs: list[JsonObject]
    groups: list[JsonObject]
    edges: list[JsonObject]
    is_whole: bool
    total: int | None = None

    def as_json(self) -> JsonObject:
        told = {"jobs": self.jobs, "groups": self.groups, "edges": self.edges}
        return told | {"is_whole": self.is_whole, "total": self.total}


def shown(group: Group) -> JsonObject:
    """The group as a GroupState."""
    return {
        "id": group.id,
        "name": group.name,
        "total": group.total,
        "unfinished": group.unfinished,
        "completed": group.completed,
        "failed": group.failed,
        "cancelled": group.cancelled,
        "state": group.state,
        "sealed_at": text_of(group.sealed_at),
        "ended_at": text_of(group.ended_at),
        "created_at": to_text(group.created_at),
        "group": group.parent,
    }


def group(connection: Connection, group_id: int) -> JsonObject | None:
    """This group; None where there is none."""
    found = groups_by_id(connection.execute, [group_id]).get(group_id)
    return None if found is None else shown(found)


def groups(
    connection: Connection, state: str | None, within: int | None, before: int | None, limit: int
) -> tuple[list[JsonObject], int | None]:
    """The groups in this state, and in this group, newest first, and the id to go on before."""
    start = INT_MAX if before is None else before
    asked = {"within": within, "before": start, "count": limit + 1}
    rows = connection.execute(_select_groups(state, within is not None), asked).fetchall()
    found = [shown(group_from_row(row)) for row in rows[:limit]]
    return found, found[-1]["id"] if len(rows) > limit else None


def _select_groups(state: str | None, is_within: bool) -> str:
    stands = "true" if state is None else _STATES[state]
    if is_within:
        index, stands = "INDEXED BY groups_of_group", f"group_id = :within AND {stands}"
    elif state in ("open", "sealed"):
        index, stands = "INDEXED BY groups_unended", f"ended_at IS NULL AND {stands}"
    else:
        index = "NOT INDEXED"
    return (
        f"SELECT {_COLUMNS} FROM job_groups {index} WHERE id < :before AND {stands} "
        "ORDER BY id DESC LIMIT :count"
    )


def count_unended(connection: Connection) -> int:
    return int(connection.execute(_COUNT_UNENDED).fetchone()[0])


def retryable(connection: Connection, group_id: int, after: int, count: int) -> list[tuple[int, str | None]]:
    """Members behind `after` that have failed, with None, or were cancelled for what did, with its name."""
    asked = {"id": group_id, "after": after, "count": count}
    found: list[tuple[int, str | None]] = connection.execute(_SELECT_RETRYABLE, asked).fetchall()
    return found


def nested(connection: Connection, group_id: int) -> list[int]:
    """The groups that are members of this one."""
    asked = {"id": group_id, "count": INT_MAX}
    return [id for (id,) in connection.execute(_SELECT_NESTED, asked)]


def graph(connection: Connection, job_id: int, limit: int, count: int | None = None) -> Graph | None:
    """The jobs nearest to this one, at most `limit`, by breadth; None where there is no such job.

    Where there are more, those beside any get half of the room that is left: behind thousands the callback is seen.
    With `count` so many are looked at then: the graph has its total, at most that, and first those that failed, and
    what they block.
    """
    walk = _walked(connection, job_id, limit, is_shared=False)
    total: int | None = len(walk.jobs)
    ids, groups = list(walk.jobs), list(walk.groups)
    if not walk.is_whole:
        walk = _walked(connection, job_id, limit, is_shared=True)
        ids, groups, total = list(walk.jobs), list(walk.groups), None
    if count is not None and not walk.is_whole:
        far = graph_reach.reach(connection, job_id, count)
        ids = chosen(far, job_id, walk.jobs, limit)
        groups, total = list(dict.fromkeys([*far.groups_of(Of.JOB, ids), *groups]))[:limit], far.total
    summaries = summaries_of(connection, sorted(ids))
    if job_id not in summaries:
        return None
    found = groups_by_id(connection.execute, groups)
    edges = _edges(connection, summaries)
    return Graph(
        [summaries[id] for id in sorted(summaries)],
        [shown(found[id]) for id in sorted(found)],
        [one for one in edges[:_MOST_EDGES] if one["after"] in (summaries if one["of"] == Of.JOB else found)],
        walk.is_whole and len(edges) <= _MOST_EDGES,
        None if count is None else total,
    )


def _walked(connection: Connection, job_id: int, limit: int, is_shared: bool) -> _Walk:
    walk = _Walk(connection, limit, is_shared)
    walk.meet(Node(Of.JOB, job_id), limit)
    while walk.waiting and walk.may_go_on:
        walk.go_on_from(walk.waiting.popleft())
    return walk


def _edges(connection: Connection, job_ids: Collection[int]) -> list[JsonObject]:
    """What these jobs come after; one more than are told, where there are more."""
    asked = {"ids": to_json(sorted(job_ids)), "count": _MOST_EDGES + 1}
    return [
        {"of": of, "after": after, "job_id": to, "standing": Standing(standing).name.lower()}
        for of, after, to, standing in connection.execute(_SELECT_EDGES, asked)
    ]


@dataclass(slots=True)
class _Walk:
    """Goes from node to node, and meets so many jobs at most, and as many groups."""

    connection: Connection
    limit: int
    is_shared: bool
    jobs: dict[int, None] = field(default_factory=dict)
    groups: dict[int, None] = field(default_factory=dict)
    waiting: deque[Node] = field(default_factory=deque)
    seen: int = 0
    is_whole: bool = True

    @property
    def may_go_on(self) -> bool:
        """Whether there may be more to meet, and to look for it takes no more than a moment."""
        return self.seen <= _MOST_SEEN and (self.is_whole or self.is_shared)

    def meet(self, node: Node, most: int) -> None:
        """Know it from now on, unless so many are known already."""
        self.seen += 1
        known = self.jobs if node.of is Of.JOB else self.groups
        if self.seen <= _MOST_SEEN and node.id in known:
            return
        if self.seen > _MOST_SEEN or len(known) >= most:
            self.is_whole = False
            return
        known[node.id] = None
        self.waiting.append(node)

    def go_on_from(self, node: Node) -> None:
        room = self.limit - len(self.jobs)
        most = self.limit - room // 2 if self.is_shared else self.limit
        for other in self._beside(node):
            self.meet(other, most if other.of is Of.JOB else self.limit)

    def _beside(self, node: Node) -> Iterator[Node]:
        asked = {"of": node.of.value, "id": node.id, "count": self.limit + 1}
        if node.of is Of.JOB:
            for of, after in self.connection.execute(_SELECT_PREDECESSORS, asked):
                yield Node(Of(of), after)
            yield from self._groups_of(self.connection.execute(_SELECT_GROUP_OF, asked))
        else:
            found = groups_by_id(self.connection.execute, [node.id]).get(node.id)
            yield from self._groups_of([(None if found is None else found.parent,)])
        yield from (Node(Of.JOB, id) for (id,) in self.connection.execute(_SELECT_SUCCESSORS, asked))
        if node.of is Of.GROUP:
            yield from (Node(Of.GROUP, id) for (id,) in self.connection.execute(_SELECT_NESTED, asked))
            yield from (Node(Of.JOB, id) for (id,) in self.connection.execute(_SELECT_MEMBERS, asked))

    def _groups_of(self, rows: Iterable[tuple[int | None]]) -> Iterator[Node]:
        yield from (Node(Of.GROUP, id) for (id,) in rows if id is not None)
