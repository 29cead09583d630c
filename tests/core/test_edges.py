"""Edges and groups as values: each fate by each policy, what is counted, and the order that allows no cycle."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import IfFailed, Status
from bgjobd.core.edges import (
    Change,
    Fate,
    Group,
    Mentioned,
    Node,
    Of,
    Placed,
    Standing,
    Take,
    Ties,
    change_of,
    fails_more,
    fate_of,
    is_in_order,
    settled,
    standing,
    waits_more,
)
from tests.core.samples import NOW, seeded

OPEN, MET, FAILED = Standing.OPEN, Standing.MET, Standing.FAILED


# Standing

STANDS = {
    Fate.UNFINISHED: {IfFailed.CANCEL: OPEN, IfFailed.RUN: OPEN, IfFailed.WAIT: OPEN},
    Fate.COMPLETED: {IfFailed.CANCEL: MET, IfFailed.RUN: MET, IfFailed.WAIT: MET},
    Fate.FAILED: {IfFailed.CANCEL: FAILED, IfFailed.RUN: MET, IfFailed.WAIT: FAILED},
    Fate.CANCELLED: {IfFailed.CANCEL: FAILED, IfFailed.RUN: MET, IfFailed.WAIT: FAILED},
    Fate.DELETED: {IfFailed.CANCEL: FAILED, IfFailed.RUN: MET, IfFailed.WAIT: FAILED},
}


@pytest.mark.parametrize(("fate", "policy"), [*product(Fate, IfFailed)])
def test_an_edge_stands_as_its_predecessor_and_the_policy_say(fate: Fate, policy: IfFailed) -> None:
    assert standing(fate, policy) is STANDS[fate][policy]


@pytest.mark.parametrize(("stored", "fate", "policy"), [*product(Standing, Fate, IfFailed)])
def test_what_is_met_is_for_ever_and_all_else_is_as_the_predecessor_is_now(
    stored: Standing, fate: Fate, policy: IfFailed
) -> None:
    assert settled(stored, fate, policy) is (MET if stored is MET else STANDS[fate][policy])


def test_every_status_of_a_job_is_a_fate() -> None:
    assert {fate_of(status) for status in Status} == set(Fate) - {Fate.DELETED}


def test_what_nobody_knows_of_is_no_end() -> None:
    assert fate_of(Status.FAILED, is_for_review=True) is Fate.UNFINISHED


def test_to_the_next_job_of_its_schedule_it_is() -> None:
    assert fate_of(Status.FAILED, is_for_review=True, to_next_one=True) is Fate.FAILED


@pytest.mark.parametrize(("before", "after"), [*product(Standing, Standing)])
def test_a_job_waits_for_what_is_not_met_and_is_cancelled_for_what_failed(
    before: Standing, after: Standing
) -> None:
    waits = {OPEN: 1, MET: 0, FAILED: 1}
    fails = {OPEN: 0, MET: 0, FAILED: 1}
    assert waits_more(before, after) == waits[after] - waits[before]
    assert fails_more(before, after, IfFailed.CANCEL) == fails[after] - fails[before]
    assert fails_more(before, after, IfFailed.RUN) == fails_more(before, after, IfFailed.WAIT) == 0


# What a request names


def test_a_job_comes_once_after_each_and_after_what_it_takes_of_too() -> None:
    a, b, g = Node(Of.JOB, 1), Mentioned(Of.JOB, 1), Node(Of.GROUP, 1)
    ties = Ties((a, b, a), takes=(Take("x", g), Take("y", b)))
    assert ties.predecessors == (a, b, g)
    assert [ties.path_of(one) for one in (a, b, g)] == ["after.0", "after.1", "take.x.of"]


def test_a_node_is_named_as_the_socket_and_as_sentences_name_it() -> None:
    assert (str(Node(Of.JOB, 12)), Node(Of.JOB, 12).named) == ("12", "job 12")
    assert (str(Node(Of.GROUP, 5)), Node(Of.GROUP, 5).named) == ("group 5", "group 5")


# Groups

MADE = Group(5, since_id=10, created_at=NOW)
SEALED = replace(MADE, sealed_at=NOW)


@pytest.mark.parametrize(
    ("group", "fate", "state"),
    [
        (MADE, Fate.UNFINISHED, "open"),
        (replace(MADE, total=2, completed=2), Fate.UNFINISHED, "open"),
        (SEALED, Fate.COMPLETED, "completed"),
        (replace(SEALED, total=1, unfinished=1), Fate.UNFINISHED, "sealed"),
        (replace(SEALED, total=2, unfinished=1, failed=1), Fate.UNFINISHED, "sealed"),
        (replace(SEALED, total=2, completed=2), Fate.COMPLETED, "completed"),
        (replace(SEALED, total=2, completed=1, failed=1), Fate.FAILED, "failed"),
        (replace(SEALED, total=2, completed=1, cancelled=1), Fate.FAILED, "failed"),
    ],
)
def test_a_group_ends_once_it_is_sealed_and_no_member_is_unfinished(
    group: Group, fate: Fate, state: str
) -> None:
    assert (group.fate, group.state) == (fate, state)


def test_a_group_has_ended_for_others_only_once_that_is_written() -> None:
    assert SEALED.fate_told is Fate.UNFINISHED
    after = SEALED.counted(Change(), NOW + 1)
    assert (after.fate_told, after.ended_at) == (Fate.COMPLETED, NOW + 1)


def test_a_group_that_goes_on_ends_anew() -> None:
    done = replace(SEALED, total=1, failed=1, ended_at=NOW)
    again = done.counted(change_of(Fate.FAILED, Fate.UNFINISHED), NOW + 1)
    assert (again.ended_at, again.state) == (None, "sealed")
    ended = again.counted(change_of(Fate.UNFINISHED, Fate.COMPLETED), NOW + 2)
    assert (ended.ended_at, ended.state) == (NOW + 2, "completed")


def test_a_group_whose_members_change_from_bad_to_bad_has_ended_when_it_did() -> None:
    done = replace(SEALED, total=1, failed=1, ended_at=NOW)
    assert done.counted(change_of(Fate.FAILED, Fate.CANCELLED), NOW + 9).ended_at == NOW


FATES = st.sampled_from([Fate.UNFINISHED, Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED])


@seeded
@given(st.lists(st.lists(FATES, min_size=1), max_size=8), st.booleans())
def test_a_group_counts_what_there_is_whatever_became_of_its_members_before(
    members: list[list[Fate]], in_one_go: bool
) -> None:
    """Each member's changes one by one, or summed before they are counted, as one transaction does."""
    group, sum_of_all = SEALED, Change()
    for fates in members:
        for before, after in zip([None, *fates], fates, strict=False):
            change = change_of(before, after)
            if in_one_go:
                sum_of_all = sum_of_all.plus(change)
            else:
                group = group.counted(change, NOW)
    group = group.counted(sum_of_all, NOW)
    last = [fates[-1] for fates in members]
    assert group.total == len(last)
    counts = [group.unfinished, group.completed, group.failed, group.cancelled]
    kinds = [Fate.UNFINISHED, Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED]
    assert counts == [last.count(fate) for fate in kinds]
    assert (group.ended_at is None) == bool(group.unfinished)


# Order


@pytest.mark.parametrize(
    ("predecessor", "allowed"),
    [
        (Placed(Node(Of.JOB, 10)), True),
        (Placed(Node(Of.JOB, 11)), False),
        (Placed(Node(Of.JOB, 11), within=(5,)), True),
        (Placed(Node(Of.JOB, 11), within=(6,)), False),
        (Placed(Node(Of.JOB, 11), within=(6, 5)), True),
        (Placed(Node(Of.GROUP, 4)), True),
        (Placed(Node(Of.GROUP, 5)), False),
        (Placed(Node(Of.GROUP, 6)), False),
        (Placed(Node(Of.GROUP, 6), within=(5,)), True),
    ],
)
def test_a_member_comes_after_what_is_older_than_its_group_or_in_it(
    predecessor: Placed, allowed: bool
) -> None:
    assert is_in_order(predecessor, [MADE]) is allowed
    assert is_in_order(predecessor, [])


def test_what_holds_of_a_group_holds_of_each_that_encloses_it() -> None:
    inner, outer = replace(MADE, id=6, since_id=20, parent=5), MADE
    assert is_in_order(Placed(Node(Of.JOB, 15), within=(5,)), [inner, outer])
    assert not is_in_order(Placed(Node(Of.JOB, 15)), [inner, outer])
    assert not is_in_order(Placed(Node(Of.JOB, 25), within=(5,)), [inner, outer])


@dataclass
class World:
    """What was submitted: groups with who encloses them, jobs with their groups, and what waits for what."""

    groups: dict[int, Group] = field(default_factory=dict)
    jobs: dict[int, int | None] = field(default_factory=dict)
    waits: dict[Node, set[Node]] = field(default_factory=dict)

    def enclosing(self, group_id: int | None) -> list[Group]:
        found = []
        while group_id is not None:
            found.append(self.groups[group_id])
            group_id = found[-1].parent
        return found

    def add_group(self, parent: int | None) -> None:
        id = len(self.groups) + 1
        self.groups[id] = Group(id, since_id=len(self.jobs), parent=parent)
        self.waits[Node(Of.GROUP, id)] = set()
        if parent is not None:
            self.waits[Node(Of.GROUP, parent)].add(Node(Of.GROUP, id))

    def add_job(self, group: int | None, after: list[Node], keeps_order: bool) -> None:
        node, enclosing = Node(Of.JOB, len(self.jobs) + 1), self.enclosing(group)
        wanted = {one for one in after if not keeps_order or is_in_order(self.placed(one), enclosing)}
        self.jobs[node.id] = group
        self.waits[node] = wanted
        if group is not None:
            self.waits[Node(Of.GROUP, group)].add(node)

    def placed(self, node: Node) -> Placed:
        own = self.jobs[node.id] if node.of is Of.JOB else self.groups[node.id].parent
        return Placed(node, tuple([group.id for group in self.enclosing(own)]))

    def has_cycle(self) -> bool:
        try:
            TopologicalSorter(self.waits).prepare()
        except CycleError:
            return True
        return False


@st.composite
def worlds(draw: st.DrawFn, keeps_order: bool) -> World:
    """Groups, and jobs in any of them, after anything that there is: whatever can be asked for, in any order."""
    world = World()
    for _ in range(draw(st.integers(1, 14))):
        group = draw(st.sampled_from([None, *world.groups]))
        if draw(st.booleans()):
            world.add_group(group)
        else:
            after = draw(st.lists(st.sampled_from([*world.waits]), max_size=4)) if world.waits else []
            world.add_job(group, after, keeps_order)
    return world


@seeded
@given(worlds(keeps_order=True))
def test_no_cycle_can_be_written_down_by_what_keeps_the_order(world: World) -> None:
    """Of its oldest node, a group, a cycle would have to leave the group to something that is not older."""
    assert not world.has_cycle()


def test_without_the_order_there_are_cycles() -> None:
    """A member that comes after its group, and two groups whose members come after each other's group."""
    for groups, jobs in (
        ([None], [(1, Node(Of.GROUP, 1))]),
        ([None, None], [(1, Node(Of.GROUP, 2)), (2, Node(Of.GROUP, 1))]),
        ([None], [(None, Node(Of.GROUP, 1)), (1, Node(Of.JOB, 1))]),
        ([None, 1], [(2, Node(Of.GROUP, 1))]),
    ):
        for keeps_order in (True, False):
            world = World()
            for parent in groups:
                world.add_group(parent)
            for group, after in jobs:
                world.add_job(group, [after], keeps_order)
            assert world.has_cycle() is not keeps_order
