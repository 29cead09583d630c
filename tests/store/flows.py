"""Random graphs of jobs and groups, what may happen to them, and what is true of them, counted by another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from bgjob.words import IfFailed, Status
from bgjobd.core.edges import (
    Fate,
    Group,
    Mentioned,
    NewGroup,
    Node,
    Of,
    Placed,
    Standing,
    Take,
    Ties,
    fate_of,
    is_in_order,
    standing,
)
from bgjobd.core.facts import RetryRequested, SettledAsCompleted, SettledAsFailed
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.wishes import GroupCancelled, JobRequests, JobSettled
from tests.core.samples import UNKNOWN
from tests.store.samples import COMPLETED, NO_SLOTS, SUBMITTER, Store, asked, cancels, ends, starts

NEVER_AGAIN: Final = Ending.failed("ValueError", "no", may_retry=False)
READER: Final = SUBMITTER._replace(may_read=True)
DEEPEST: Final = 3


def job(number: int) -> Mentioned:
    return Mentioned(Of.JOB, number)


def group(number: int) -> Mentioned:
    return Mentioned(Of.GROUP, number)


def flow(*ties: Ties, groups: Sequence[NewGroup] = ()) -> Flow:
    return Flow(tuple([asked(ties=one) for one in ties]), SUBMITTER, tuple(groups))


def after(*nodes: Mentioned | Node, **more: Any) -> Ties:
    return Ties(nodes, **more)


# A request


@dataclass
class _Drawn:
    """The groups of a request as they come to be, with ids in the order in which it mentions them."""

    new: list[NewGroup]
    made: dict[int, Group] = field(default_factory=dict)

    def make(self, place: int, jobs: int) -> Group:
        if place not in self.made:
            parent = self.new[place].parent
            within = self.make(parent.place, jobs).id if isinstance(parent, Mentioned) else None
            self.made[place] = Group(len(self.made) + 1, jobs, parent=within)
        return self.made[place]

    def around(self, id: int | None) -> list[Group]:
        by_id = {one.id: one for one in self.made.values()}
        found = []
        while id is not None:
            found.append(by_id[id])
            id = found[-1].parent
        return found


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Some jobs and groups, nested and open ones, in the order that is asked for."""
    new: list[NewGroup] = []
    depths: list[int] = []
    for _ in range(draw(st.integers(0, 4))):
        parents = [None, *(place for place, depth in enumerate(depths) if depth < DEEPEST)]
        parent = draw(st.sampled_from(parents))
        new.append(NewGroup(is_open=draw(st.booleans()), parent=None if parent is None else group(parent)))
        depths.append(1 if parent is None else depths[parent] + 1)
    drawn, ties = _Drawn(new), list[Ties]()
    within: list[int | None] = []
    for number in range(draw(st.integers(2, 8))):
        place = draw(st.sampled_from([None, *range(len(new))]))
        own = None if place is None else drawn.make(place, number).id
        befores = [
            *(job(n) for n in range(number) if _may_be_after(Node(Of.JOB, n + 1), within[n], own, drawn)),
            *(
                group(p)
                for p, one in drawn.made.items()
                if _may_be_after(Node(Of.GROUP, one.id), one.parent, own, drawn)
            ),
        ]
        nodes = draw(st.lists(st.sampled_from(befores), max_size=3, unique=True)) if befores else []
        takes = (Take("v", nodes[0]),) if nodes and draw(st.booleans()) else ()
        if_failed = draw(st.sampled_from(IfFailed))
        ties.append(Ties(tuple(nodes), if_failed, takes, None if place is None else group(place)))
        within.append(own)
    return flow(*ties, groups=new)


def _may_be_after(node: Node, within: int | None, own: int | None, drawn: _Drawn) -> bool:
    placed = Placed(node, tuple([one.id for one in drawn.around(within)]))
    return is_in_order(placed, drawn.around(own))


# What happens

DEEDS: Final = (
    "complete",
    "fail",
    "cancel",
    "retry",
    "retry anyway",
    "add",
    "seal",
    "cancel group",
    "delete",
    "leave unknown",
    "settle as completed",
    "settle as failed",
)
STEPS: Final = st.lists(
    st.tuples(st.sampled_from([*DEEDS, "complete", "fail"]), st.integers(0, 23)), min_size=6, max_size=24
)
"""What happens, and to which of those that it can happen to."""

_COLUMNS: Final = (
    *("id", "status", "ready", "waits_for", "failed_before", "if_failed", "cancelled_after", "group_id"),
    *("cancel_requested_at", "parameters", "takes", "review_since", "attempt"),
)
_SELECT_JOBS: Final = f"""
    SELECT {", ".join(_COLUMNS[:-1])}, (SELECT max(number) FROM job_attempts WHERE job_id = background_jobs.id)
    FROM background_jobs ORDER BY id
"""
_SELECT_GROUPS: Final = """
    SELECT id, group_id, sealed_at IS NOT NULL, ended_at IS NOT NULL,
        total, unfinished, completed, failed, cancelled FROM job_groups ORDER BY id
"""


@dataclass
class Member:
    """A job or a group as a member; `fate` is what has become of it, counted by this file."""

    within: int | None
    fate: Fate


class World:
    """A store in which things happen, and what is known of all that has been there, deleted or not."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: dict[int, dict[str, Any]] = {}
        self.groups: dict[int, dict[str, Any]] = {}
        self.fates: dict[Node, Fate] = {}
        self.within: dict[Node, int | None] = {}
        self.been: dict[Node, set[Fate]] = {}
        self.forgiven: set[tuple[int, Node]] = set()
        self.sealed: set[int] = set()
        self.cancelled: set[int] = set()

    def commit(self, *items: Any, lanes: Lanes = NO_SLOTS) -> Any:
        answers = self.store.commit(*items, lanes=lanes).answers
        self._look()
        self.check_counts()
        return answers[0]

    def do(self, deed: str, place: int) -> None:
        """Have it happen to one of those that it can happen to, if there is any."""
        self.commit(Look(), lanes=Lanes(8))
        can = list(self._who_can(deed))
        if deed == "add":
            self.add(can[place % len(can)], place)
        elif deed == "delete":
            self.delete(*can[place % 3 :])
        elif can:
            _DEEDS[deed](self, can[place % len(can)])

    def _who_can(self, deed: str) -> Iterator[int]:
        if deed in ("seal", "cancel group"):
            return iter(self.groups)
        if deed == "add":
            return iter([0, *(id for id in self.groups if id not in self.sealed)])
        return (id for id, one in self.jobs.items() if _stands(one) in _CAN[deed])

    def end(self, id: int, ending: Ending) -> None:
        number = self.jobs[id]["attempt"]
        self.commit(starts(id, number), ends(id, ending, number))

    def cancel(self, id: int) -> None:
        self.commit(cancels(id))

    def retry(self, id: int, anyway: bool = False) -> None:
        if anyway:
            failed = [node for node, stored in self.edges_of(id) if stored is Standing.FAILED]
            self.forgiven |= {(id, node) for node in failed}
        self.cancelled.clear()  # who is retried runs though its group was cancelled
        self.commit(JobRequests((id,), RetryRequested(anyway)))

    def add(self, group_id: int, place: int) -> None:
        """A member of this group, or of none one that comes after others that are there."""
        nodes: list[Node] = []
        if not group_id:
            there = [*(Node(Of.JOB, id) for id in self.jobs), *(Node(Of.GROUP, id) for id in self.groups)]
            nodes = [*there[place :: len(DEEDS)], *there[:1]]
        takes = tuple([Take("v", node) for node in nodes[: place % 2]])
        ties = Ties(tuple(nodes), list(IfFailed)[place % 3], takes, group_id or None)
        assert not isinstance(self.commit(Flow((asked(ties=ties),), READER)), Exception)

    def delete(self, *ids: int) -> None:
        """Whoever has the newest entry would stay."""
        self.store.database.execute_sql(
            "INSERT INTO job_logs (id, job_id, type, message, created_at) "
            "SELECT coalesce(max(id), 0) + 1, 0, '', '', '' FROM job_logs"
        )
        self.commit(Deletion(ids, 10**9))

    def seal(self, id: int) -> None:
        self.commit(Flow((), SUBMITTER, seals=(id,)))

    def cancel_group(self, id: int) -> None:
        self.cancelled.add(id)
        self.commit(GroupCancelled(id, SUBMITTER))

    def settle_all(self) -> None:
        for _ in range(1000):
            if not self.store.database.execute_sql("SELECT EXISTS (SELECT 1 FROM consequences)").fetchone()[
                0
            ]:
                return
            self.commit(Look())
        raise AssertionError("what follows does not come to an end")

    # What is true

    def _look(self) -> None:
        """Take in how all stands now; of what is deleted the last that was seen of it stays."""
        execute = self.store.database.execute_sql
        rows = execute(_SELECT_JOBS).fetchall()
        self.jobs = {row[0]: dict(zip(_COLUMNS, row, strict=True)) for row in rows}
        for id, one in self.jobs.items():
            node = Node(Of.JOB, id)
            fate = Fate.UNFINISHED if _stands(one) == "review" else fate_of(Status(one["status"]))
            self.fates[node], self.within[node] = fate, one["group_id"]
        self.groups = {}
        for id, parent, is_sealed, *counts in execute(_SELECT_GROUPS).fetchall():
            self.within[Node(Of.GROUP, id)] = parent
            self.sealed |= {id} if is_sealed else set()
            self.groups[id] = {"has_ended": bool(counts[0]), "counts": counts[1:]}
        for id in sorted({node.id for node in self.within if node.of is Of.GROUP}, reverse=True):
            self.fates[Node(Of.GROUP, id)] = self._fate_of_group(id)  # a group's members are newer than it
        for node, fate in self.fates.items():
            self.been.setdefault(node, set()).add(fate)

    def members(self, group_id: int) -> list[Fate]:
        return [self.fates[node] for node, within in self.within.items() if within == group_id]

    def _fate_of_group(self, id: int) -> Fate:
        fates = self.members(id)
        if id not in self.sealed or Fate.UNFINISHED in fates:
            return Fate.UNFINISHED
        return Fate.COMPLETED if set(fates) <= {Fate.COMPLETED} else Fate.FAILED

    def edges_of(self, id: int) -> list[tuple[Node, Standing]]:
        return [(node, stored) for job_id, node, stored in self.edges() if job_id == id]

    def edges(self) -> list[tuple[int, Node, Standing]]:
        found = self.store.database.execute_sql("SELECT * FROM job_dependencies").fetchall()
        return [(id, Node(Of(of), after_id), Standing(stored)) for id, of, after_id, stored in found]

    def check_counts(self) -> None:
        """After each transaction, whatever is still to be settled."""
        for id, one in self.groups.items():
            fates = self.members(id)
            kinds = (Fate.UNFINISHED, Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED)
            assert one["counts"] == [len(fates), *(fates.count(kind) for kind in kinds)]
            assert one["has_ended"] == (self.fates[Node(Of.GROUP, id)] is not Fate.UNFINISHED)
        waits, fails = dict.fromkeys(self.jobs, 0), dict.fromkeys(self.jobs, 0)
        for job_id, node, stored in self.edges():
            policy = IfFailed(self.jobs[job_id]["if_failed"])
            waits[job_id] += stored is not Standing.MET
            fails[job_id] += stored is Standing.FAILED and policy is IfFailed.CANCEL
            if stored is Standing.MET and (job_id, node) not in self.forgiven:
                assert any(standing(fate, policy) is Standing.MET for fate in self.been[node])
        for id, one in self.jobs.items():
            assert (one["waits_for"], one["failed_before"]) == (waits[id], fails[id])
            assert one["status"] != "pending" or not fails[id]
            assert (one["ready"] == 2) == (one["status"] == "pending" and waits[id] > 0)
            assert one["status"] in ("pending", "cancelled") or not waits[id]
            is_wanted = one["cancelled_after"] or one["cancel_requested_at"]
            assert one["status"] != "cancelled" or is_wanted
            assert not one["cancelled_after"] or (one["status"] == "cancelled" and fails[id])

    def check_settled(self) -> None:
        """Once nothing is left to be settled: each edge stands as what it leads from, and values are taken."""
        for job_id, node, stored in self.edges():
            one = self.jobs[job_id]
            policy = IfFailed(one["if_failed"])
            is_there = node.id in (self.jobs if node.of is Of.JOB else self.groups)
            if not is_there:
                assert stored is not Standing.OPEN
                is_waiting = one["status"] == "pending" and policy is IfFailed.WAIT
                assert not (is_waiting and stored is Standing.FAILED)
            elif stored is not Standing.MET:
                assert stored is standing(self.fates[node], policy)
            if one["takes"] is not None and (job_id, node) not in self.forgiven:
                self._check_taken(one, node, stored)

        for id, one in self.jobs.items():
            assert one["status"] != "pending" or not self.cancelled & set(self._around(Node(Of.JOB, id)))

    def _around(self, node: Node) -> Iterator[int]:
        group_id = self.within[node]
        while group_id is not None:
            yield group_id
            group_id = self.within[Node(Of.GROUP, group_id)]

    def _check_taken(self, one: dict[str, Any], node: Node, stored: Standing) -> None:
        of = f'{{"id":{node.id}}}' if node.of is Of.JOB else f'{{"group":{node.id}}}'
        if of in one["takes"]:
            is_taken = '"v":' in one["parameters"] or "problem" in one["takes"]
            assert is_taken == (stored is Standing.MET)


_CAN: Final = {
    "complete": {"running"},
    "fail": {"running"},
    "cancel": {"pending", "running"},
    "retry": {"failed", "cancelled", "review"},
    "retry anyway": {"failed", "cancelled", "review"},
    "delete": {"completed", "failed", "cancelled", "review"},
    "leave unknown": {"running"},
    "settle as completed": {"review"},
    "settle as failed": {"review"},
}
_DEEDS: Final[dict[str, Callable[[World, int], None]]] = {
    "complete": lambda world, id: world.end(id, COMPLETED),
    "fail": lambda world, id: world.end(id, NEVER_AGAIN),
    "cancel": lambda world, id: world.cancel(id),
    "retry": World.retry,
    "retry anyway": lambda world, id: world.retry(id, anyway=True),
    "seal": World.seal,
    "cancel group": World.cancel_group,
    "leave unknown": lambda world, id: world.end(id, UNKNOWN),
    "settle as completed": lambda world, id: world.commit(JobSettled(id, SettledAsCompleted(1000, "5"))),
    "settle as failed": lambda world, id: world.commit(JobSettled(id, SettledAsFailed(1000))),
}


def _stands(one: dict[str, Any]) -> str:
    return str(one["status"] if one["review_since"] is None else "review")
