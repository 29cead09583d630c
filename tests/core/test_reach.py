"""What is told first of a graph that is too large: what failed, what that blocks, and what is near."""

from __future__ import annotations

from bgjobd.core.edges import Node, Of
from bgjobd.core.reach import Reach, chosen


def reach(pending: range, failed: range = range(0), cancelled: range = range(0)) -> Reach:
    statuses = dict.fromkeys(pending, "pending") | dict.fromkeys(failed, "failed")
    return Reach(1000, dict(sorted((statuses | dict.fromkeys(cancelled, "cancelled")).items())))


def job(id: int) -> Node:
    return Node(Of.JOB, id)


def group(id: int) -> Node:
    return Node(Of.GROUP, id)


def test_a_job_that_failed_blocks_those_behind_it_and_behind_them() -> None:
    found = reach(range(3, 6), failed=range(2, 3), cancelled=range(6, 7))
    found.held_up = {job(2): [3, 6], job(3): [4], job(9): [5]}
    assert (found.failed(), list(found.blocked())) == ([2], [3, 6, 4])


def test_a_member_that_failed_blocks_what_waits_for_its_group_or_one_around_that() -> None:
    found = reach(range(3, 5), failed=range(1, 3))
    found.within = {job(1): 7, job(2): 7, group(7): 8}
    found.held_up = {group(7): [3], group(8): [4]}
    assert list(found.blocked()) == [3, 4]


def test_what_is_blocked_was_met_and_is_told_once_though_the_way_leads_round() -> None:
    found = reach(range(2, 4), failed=range(1, 2))
    found.held_up = {job(1): [2, 3, 99], job(2): [3], job(99): [2]}
    assert list(found.blocked()) == [2, 3]


def test_how_many_there_are_is_not_known_of_a_look_that_was_cut_unless_that_was_for_their_number() -> None:
    found = reach(range(3))
    assert found.total == 3
    found.is_cut = True
    assert found.total is None
    found.most = 3
    assert found.total == 3


def test_what_failed_and_what_that_blocks_have_a_quarter_of_the_room_each_and_the_nearest_the_rest() -> None:
    found = reach(range(1, 200), failed=range(50, 100))
    found.held_up = {job(50): [*range(150, 200)]}
    shown = chosen(found, 1, range(1, 50), limit=21)
    assert shown == [1, *range(50, 55), *range(150, 155), *range(2, 12)]


def test_what_one_leaves_of_its_quarter_the_other_has() -> None:
    found = reach(range(1, 50), failed=range(50, 100))
    assert chosen(found, 1, range(1, 50), limit=21) == [1, *range(50, 60), *range(2, 12)]
    found = reach(range(1, 200), failed=range(50, 51))
    found.held_up = {job(50): [*range(150, 200)]}
    assert chosen(found, 1, range(1, 50), limit=21) == [1, 50, *range(150, 159), *range(2, 12)]


def test_room_that_nobody_near_needs_is_for_what_failed_then_what_is_blocked_then_any() -> None:
    found = reach(range(1, 9), failed=range(9, 10))
    found.held_up = {job(9): [8]}
    assert chosen(found, 1, (1, 2), limit=5) == [1, 9, 8, 2, 3]
    assert chosen(found, 1, (), limit=1) == [1]
