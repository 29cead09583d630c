"""Jobs that come after others as the lines of a tree, still readable where they are hundreds; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgjob import text
from bgjob.errors import ProtocolError
from bgjob.words import STATUS_WORDS, Status

if TYPE_CHECKING:
    from bgjob.answers import Graph

_SHOWN: Final = 3
"""How many of those that are alike have lines of their own, where there are more of them than one in addition."""

_FIRST: Final = (Status.FAILED, Status.RUNNING, Status.CANCELLED, Status.PENDING, Status.COMPLETED)
"""Which of those that are alike are shown: what a person looks for."""


class Row(NamedTuple):
    """A line: where it stands in the tree, how, what it is, and what is to be said of it."""

    place: str
    standing: str
    what: str
    note: str


class Node(NamedTuple):
    """A job or a group; `of` is one of these words."""

    of: str
    id: int

    @property
    def name(self) -> str:
        return str(self.id) if self.of == "job" else f"{self.of} {self.id}"


def rows(graph: Graph, asked: int, now: float) -> list[Row]:
    """The lines, with a star at the job that was asked for. Raises ProtocolError where the graph has a circle.

    Each job and group has one line, below all that it comes after: indented, or with an arrow where the way goes on to
    it. Of what else comes after it there is a note. Of those that look alike some are shown, and the others counted.
    """
    return list(_drawn(_Tree(graph, asked, now)))


class _Place(NamedTuple):
    """What is still to be drawn: nodes in a row, or how many are left out; `rest` is before what comes below."""

    first: str
    rest: str
    node: Node
    left_out: Sequence[Node] = ()


def _drawn(tree: _Tree) -> Iterator[Row]:
    """By a stack of its own: a graph may be deeper than Python's."""
    waiting = list(reversed(_below(tree, _TOP, "")))
    while waiting:
        first, rest, node, left_out = waiting.pop()
        if left_out:
            yield _folded(tree, first, left_out)
            continue
        run = _run(tree, node)
        yield tree.row(first, node)
        if len(run) > _SHOWN + 1:
            yield _folded(tree, f"{rest}↓ ", run[1:-1], is_run=True)
            run = run[-2:]
        yield from (tree.row(f"{rest}↓ ", one) for one in run[1:])
        waiting += reversed(_below(tree, run[-1], rest))


def _run(tree: _Tree, node: Node) -> list[Node]:
    """The node and those that follow it one by one and look the same."""
    run = [node]
    while len(below := tree.below[run[-1]]) == 1 and tree.looks(below[0]) == tree.looks(node):
        run.append(below[0])
    return run


def _below(tree: _Tree, node: Node, rest: str) -> list[_Place]:
    """What is drawn below a node: of branches that are alike a few, and last where the way goes on."""
    below = tree.below[node]
    onward = tree.try_onward(below)
    shown = list(_chosen(tree, [one for one in below if one != onward]))
    branches = [
        _Place(f"{rest}├─ ", f"{rest}│  ", one, left_out)
        if place < len(shown)
        else _Place(f"{rest}└─ ", f"{rest}   ", one, left_out)
        for place, (one, left_out) in enumerate(shown, 1)
    ]
    if node == _TOP and branches:
        branches[0] = branches[0]._replace(first="┌─ ")  # there is nothing above
    if onward is None:
        return branches
    is_first = node == _TOP and not branches
    return [*branches, _Place(rest if is_first else f"{rest}↓ ", rest, onward)]


def _chosen(tree: _Tree, branches: Iterable[Node]) -> Iterator[tuple[Node, Sequence[Node]]]:
    """The branches that are shown, and, behind others of their kind, those that are left out."""
    alike: dict[int, list[Node]] = {}
    for one in branches:
        alike.setdefault(tree.shape[one], []).append(one)
    for kind in alike.values():
        first = sorted(kind, key=lambda one: tree.rank[one])[:_SHOWN]
        if len(kind) <= _SHOWN + 1:
            first = kind
        yield from ((one, ()) for one in kind if one in first)
        left_out = [one for one in kind if one not in first]
        if left_out:
            yield left_out[0], left_out


def _folded(tree: _Tree, first: str, nodes: Sequence[Node], is_run: bool = False) -> Row:
    """One line for many that are alike, each with what comes below it."""
    census = Counter(tree.standing[one] for one in nodes)
    if not is_run:
        census = sum((tree.census[one] for one in nodes), Counter())
    jobs = f"{census.total()} jobs: " if census.total() != len(nodes) else ""
    counts = ", ".join(f"{census[word]} {word}" for word in _WORDS if census[word])
    standing, counts = (*census, "") if len(census) == 1 and not jobs else ("", f"{jobs}{counts}")
    named, *others = {tree.named(one) for one in nodes}
    note = _joined(counts, "before others" if others else named)
    count = f"{len(nodes)} more" if tree.is_whole else f"at least {len(nodes)} more"
    return Row(f"{first}… {count}", standing, tree.what(nodes[0]), note)


_WORDS: Final = (*STATUS_WORDS, "open", "sealed")


def _joined(*notes: str) -> str:
    return "; ".join(filter(None, notes))


# What is known of the nodes

_TOP: Final = Node("", 0)
"""What all come after, as it were."""


class _Tree:
    """The graph as a tree: below each node stand those all ways to which lead through it, by its immediate dominator
    (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm, 2001), which one pass finds where there is no circle.
    """

    def __init__(self, graph: Graph, asked: int, now: float) -> None:
        self._now = now
        self.is_whole = graph.is_whole
        self._asked = Node("job", asked)
        self._told: dict[Node, Mapping[str, Any]] = {
            **{Node("job", one["id"]): one for one in graph.jobs},
            **{Node("group", one["id"]): one for one in graph.groups},
        }
        self._classes: dict[str, set[str]] = {}
        for name in {one["class_name"] for one in graph.jobs}:
            self._classes.setdefault(name.rpartition(".")[2], set()).add(name)
        ways = {way for way in _ways(graph) if self._told.keys() >= set(way)}
        self._failed = _failed_before(graph)
        before: dict[Node, list[Node]] = {node: [] for node in self._told}
        for one, other in sorted(ways):
            before[other].append(one)
        self._round = _in_order(before)
        order = list(self._round)
        self._before = _needed(before, order)
        self._after: dict[Node, list[Node]] = {node: [] for node in self._told}
        for node in sorted(order):
            for one in self._before[node]:
                self._after[one].append(node)
        self.standing = {node: self._standing(node) for node in self._told}
        self._set_parents(order)
        self._sum_up(order)

    def _set_parents(self, order: Sequence[Node]) -> None:
        self._parent: dict[Node, Node] = {}
        self._depth = {_TOP: 0}
        self.below: dict[Node, list[Node]] = {_TOP: [], **{node: [] for node in order}}
        for node in order:
            above, *others = self._before[node] or [_TOP]
            for other in others:
                above = self._common(above, other)
            self._parent[node] = above
            self._depth[node] = self._depth[above] + 1
            self.below[above].append(node)

    def _common(self, one: Node, other: Node) -> Node:
        """The lowest node that both stand below."""
        while one != other:
            if self._depth[one] >= self._depth[other]:
                one = self._parent[one]
            else:
                other = self._parent[other]
        return one

    def _sum_up(self, order: Sequence[Node]) -> None:
        """From the ends: what is below each node, how that looks, and where it leads."""
        self.census: dict[Node, Counter[str]] = {}
        self.rank: dict[Node, int] = {}
        self.shape: dict[Node, int] = {}
        self._leads_to: dict[Node, set[Node]] = {}
        shapes: dict[object, int] = {}
        for node in reversed(order):
            below = self.below[node]
            self.census[node] = Counter([self.standing[node]])
            for one in below:
                self.census[node].update(self.census[one])
            self.rank[node] = min([self._own_rank(node), *(self.rank[one] for one in below)])
            leads_to = set(self._after[node]).union(*(self._leads_to[one] for one in below))
            self._leads_to[node] = leads_to.difference(below)
            elsewhere = frozenset((one.of, self.what(one)) for one in self._elsewhere(node))
            inside = tuple(self.shape[one] for one in below)
            look = self.what(node), elsewhere, inside, self._round[node]  # so that the order stays
            self.shape[node] = shapes.setdefault(look, len(shapes))

    def _own_rank(self, node: Node) -> int:
        status = self._told[node].get("status")
        if node == self._asked:
            return -1
        return _FIRST.index(Status(status)) if status is not None else len(_FIRST)

    def try_onward(self, below: Sequence[Node]) -> Node | None:
        """Of the nodes below another the one where the way goes on: to which all others lead, or below which more jobs
        are than below the others, unless these come after it.
        """
        if not below:
            return None
        *others, last = below
        if all(last in self._leads_to[other] for other in others):
            return last
        sizes = {one: self.census[one].total() for one in below}
        largest = max(below, key=lambda one: sizes[one])
        goes_on = 2 * sizes[largest] > sum(sizes.values()) and sizes[largest] > 1
        return largest if goes_on and self._leads_to[largest].isdisjoint(below) else None

    # What is told of one

    def row(self, place: str, node: Node) -> Row:
        star = "*" if node == self._asked else ""
        note = _joined(self._note(node), self.named(node))
        return Row(f"{place}{node.name}{star}", self.standing[node], self.what(node), note)

    def looks(self, node: Node) -> tuple[str, str, bool]:
        return self.standing[node], self.what(node), node == self._asked

    def what(self, node: Node) -> str:
        told = self._told[node]
        if node.of == "group":
            return told["name"] or ""
        short = told["class_name"].rpartition(".")[2]
        is_clear = len(self._classes[short]) == 1
        return f"{short if is_clear else told['class_name']}::{told['method_name']}"

    def named(self, node: Node) -> str:
        """What it is a member of, and what comes after it, too, but not below it."""
        own = Node("group", self._told[node]["group_id" if node.of == "job" else "group"] or 0)
        elsewhere = self._elsewhere(node)
        member = f"member of {own.name}" if own in elsewhere else ""
        elsewhere = [one for one in elsewhere if one != own]
        if not elsewhere:
            return member
        more = f" and {len(elsewhere) - _SHOWN} more" if len(elsewhere) > _SHOWN + 1 else ""
        shown = elsewhere[:_SHOWN] if more else elsewhere
        return _joined(member, f"before {', '.join(one.name for one in shown)}{more}")

    def _elsewhere(self, node: Node) -> list[Node]:
        return [one for one in self._after[node] if self._parent[one] != node]

    def _standing(self, node: Node) -> str:
        told = self._told[node]
        return text.standing(told, self._now) if node.of == "job" else str(told["state"])

    def _note(self, node: Node) -> str:
        told = self._told[node]
        if node.of == "group":
            return text.members(told)
        if how_far := text.how_far(told):
            return how_far
        if told["status"] == Status.PENDING and node.id in self._failed:
            return f"waits for a retry of {', '.join(one.name for one in self._failed[node.id])}"
        return "" if told["status"] == Status.COMPLETED else told["error"] or ""


def _ways(graph: Graph) -> Iterator[tuple[Node, Node]]:
    """What comes before what: a member before its group, too."""
    for edge in graph.edges:
        yield Node(edge["of"], edge["after"]), Node("job", edge["job_id"])
    for job in graph.jobs:
        if job["group_id"] is not None:
            yield Node("job", job["id"]), Node("group", job["group_id"])
    for group in graph.groups:
        if group["group"] is not None:
            yield Node("group", group["id"]), Node("group", group["group"])


def _needed(before: Mapping[Node, Sequence[Node]], order: Sequence[Node]) -> dict[Node, list[Node]]:
    """The same without what another of them comes after anyway, at first or third hand."""
    bits = {node: 1 << place for place, node in enumerate(order)}
    earlier: dict[Node, int] = {}
    needed = {}
    for node in order:
        implied = 0
        for one in before[node]:
            implied |= earlier[one]
        needed[node] = [one for one in before[node] if not implied & bits[one]]
        earlier[node] = implied
        for one in needed[node]:
            earlier[node] |= bits[one]
    return needed


def _failed_before(graph: Graph) -> dict[int, list[Node]]:
    """What ended badly, by the jobs that come after it."""
    failed: dict[int, list[Node]] = {}
    for edge in graph.edges:
        if edge["standing"] == "failed":
            failed.setdefault(edge["job_id"], []).append(Node(edge["of"], edge["after"]))
    return failed


def _in_order(before: Mapping[Node, Sequence[Node]]) -> dict[Node, int]:
    """Each behind all that it comes after, else by its id, and the same number for those of one round. Raises
    ProtocolError.
    """
    sorter = TopologicalSorter(before)
    try:
        sorter.prepare()
    except CycleError:
        raise ProtocolError("the daemon's answer has jobs that wait for each other") from None
    rounds: dict[Node, int] = {}
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda node: (node.of == "group", node.id))
        sorter.done(*ready)
        rounds |= dict.fromkeys(ready, len(rounds))
    return rounds
