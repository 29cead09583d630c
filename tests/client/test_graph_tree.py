"""Graphs as trees: what stands where, what is folded, and that neither size nor lies stop it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

import pytest

from bgjob.answers import Graph
from bgjob.commands import graph_tree
from bgjob.errors import ProtocolError
from tests.client.scripted import group, summary


def job(job_id: int, method: str, status: str = "completed", **others: Any) -> dict[str, Any]:
    return summary(job_id, status, class_name="a.B", method_name=method, **others)


def blocked(job_id: int, method: str, **others: Any) -> dict[str, Any]:
    return job(job_id, method, "pending", is_blocked=True, **others)


def edge(after: int, job_id: int, of: str = "job", standing: str = "open") -> dict[str, Any]:
    return {"of": of, "after": after, "job_id": job_id, "standing": standing}


def drawn(
    jobs: list[dict[str, Any]],
    edges: Iterable[dict[str, Any]],
    groups: Iterable[dict[str, Any]] = (),
    asked: int = 0,
) -> list[str]:
    rows = graph_tree.rows(Graph(jobs, list(groups), list(edges), True), asked, 0.0)
    return [" | ".join(row).replace("B::", "").rstrip(" |") for row in rows]


def test_a_chain_is_one_column_whatever_its_length() -> None:
    steps = [job(1, "fetch"), job(2, "build", "running"), blocked(3, "send")]
    assert drawn(steps, [edge(1, 2), edge(2, 3)], asked=2) == [
        "1 | completed | fetch",
        "↓ 2* | running | build",
        "↓ 3 | blocked | send",
    ]


def test_what_comes_after_several_stands_below_them_once_and_they_name_it() -> None:
    jobs = [job(1, "a"), job(2, "b"), job(3, "c", "running"), blocked(4, "d")]
    assert drawn(jobs, [edge(1, 2), edge(1, 3), edge(2, 4), edge(3, 4)]) == [
        "1 | completed | a",
        "├─ 2 | completed | b | before 4",
        "└─ 3 | running | c | before 4",
        "↓ 4 | blocked | d",
    ]


def test_of_a_group_of_many_those_are_shown_that_people_look_for_and_others_counted() -> None:
    """500 jobs in 7 lines."""
    bad = {77: {"status": "failed", "error": "ValueError: no page"}, 90: {"status": "running"}}
    pages = [job(n, "page", group_id=5) | bad.get(n, {}) for n in range(2, 500)]
    jobs = [job(1, "extract"), *pages, blocked(500, "bind"), blocked(501, "send")]
    edges = [*(edge(1, n) for n in range(2, 500)), edge(5, 500, "group"), edge(500, 501)]
    told = group(5, name="pages", total=498, completed=496, failed=1, unfinished=1)
    assert drawn(jobs, edges, [told]) == [
        "1 | completed | extract",
        "├─ 2 | completed | page | member of group 5",
        "├─ 77 | failed | page | ValueError: no page; member of group 5",
        "├─ 90 | running | page | member of group 5",
        "└─ … 495 more | completed | page | member of group 5",
        "↓ group 5 | sealed | pages | 496 of 498 completed, 1 failed",
        "↓ 500 | blocked | bind",
        "↓ 501 | blocked | send",
    ]


def test_chains_side_by_side_that_look_alike_are_counted_with_all_their_jobs() -> None:
    ways = [(3 * n, 3 * n + 1, 3 * n + 2) for n in range(1, 101)]
    jobs = [job(1, "list")]
    for way in ways:
        jobs += [job(n, method) for n, method in zip(way, ("fetch", "resize", "store"), strict=True)]
    jobs[300]["status"] = "running"
    edges = [one for a, b, c in ways for one in (edge(1, a), edge(a, b), edge(b, c))]
    assert drawn(jobs, edges, asked=151) == [
        "1 | completed | list",
        "├─ 3 | completed | fetch",
        "│  ↓ 4 | completed | resize",
        "│  ↓ 5 | completed | store",
        "├─ 150 | completed | fetch",
        "│  ↓ 151* | completed | resize",
        "│  ↓ 152 | completed | store",
        "├─ 300 | completed | fetch",
        "│  ↓ 301 | completed | resize",
        "│  ↓ 302 | running | store",
        "└─ … 97 more |  | fetch | 291 jobs: 291 completed",
    ]


def test_pairs_are_counted_too_though_each_is_before_another() -> None:
    """Each load comes after its fetch and after one job in common, so that none stands below another."""
    jobs = [
        job(1, "configure"),
        *(job(n, "fetch") for n in range(2, 102)),
        *(blocked(n, "load") for n in range(102, 202)),
    ]
    edges = [edge(before, n) for n in range(102, 202) for before in (1, n - 100)]
    lines = drawn(jobs, edges)
    assert lines[0] == "┌─ 1 | completed | configure | before 102, 103, 104 and 97 more"
    assert lines[1] == "├─ 2 | completed | fetch | before 102"
    assert lines[4] == "├─ … 97 more | completed | fetch | before others"
    assert lines[8:] == ["└─ … 97 more | blocked | load"]


def test_of_a_long_chain_of_the_same_the_ends_and_the_job_that_was_asked_for_are_shown() -> None:
    jobs = [job(n, "step") if n < 100 else blocked(n, "step") for n in range(1, 501)]
    assert drawn(jobs, [edge(n, n + 1) for n in range(1, 500)], asked=250) == [
        "1 | completed | step",
        "↓ … 97 more | completed | step",
        "↓ 99 | completed | step",
        "↓ 100 | blocked | step",
        "↓ … 148 more | blocked | step",
        "↓ 249 | blocked | step",
        "↓ 250* | blocked | step",
        "↓ 251 | blocked | step",
        "↓ … 248 more | blocked | step",
        "↓ 500 | blocked | step",
    ]


def test_steps_with_one_beside_each_do_not_wander_to_the_right() -> None:
    jobs = [blocked(n, f"step{n}") for n in range(1, 31)] + [blocked(100 + n, "undo") for n in range(1, 31)]
    edges = [*(edge(n, n + 1) for n in range(1, 30)), *(edge(n, 100 + n) for n in range(1, 31))]
    lines = drawn(jobs, edges)
    assert lines[:4] == [
        "1 | blocked | step1",
        "└─ 101 | blocked | undo",
        "↓ 2 | blocked | step2",
        "└─ 102 | blocked | undo",
    ]
    assert len(lines) == 60
    assert {line[: line.index("|")].strip() for line in lines[-2:]} == {"↓ 30", "↓ 130"}


def test_jobs_that_come_after_nothing_stand_side_by_side_before_their_group() -> None:
    jobs = [job(1, "a", group_id=5), job(2, "b", group_id=5), blocked(3, "c")]
    outer = group(6, "open", total=1)
    assert drawn(jobs, [edge(5, 3, "group")], [group(5, total=2, completed=2, group=6), outer]) == [
        "┌─ 1 | completed | a | member of group 5",
        "└─ 2 | completed | b | member of group 5",
        "↓ group 5 | sealed |  | 2 of 2 completed",
        "├─ 3 | blocked | c",
        "└─ group 6 | open |  | 0 of 1 completed",
    ]


def test_what_a_job_waits_for_that_failed_and_how_far_a_running_one_is_are_noted() -> None:
    half = {"fraction": 0.5, "message": "half", "at": ""}
    jobs = [job(1, "a", "failed", error="E: no"), blocked(2, "b"), job(3, "c", "running", progress=half)]
    assert drawn(jobs, [edge(1, 2, standing="failed"), edge(1, 3, standing="met")]) == [
        "1 | failed | a | E: no",
        "├─ 2 | blocked | b | waits for a retry of 1",
        "└─ 3 | running | c | 50% half",
    ]


def test_what_comes_after_something_at_second_hand_stands_there_alone() -> None:
    """A step that takes a result of the first, after the group of the second, comes after all of them."""
    jobs = [job(1, "extract"), job(2, "page", group_id=5), job(3, "page", group_id=5), job(4, "bind")]
    edges = [edge(1, 2), edge(1, 3), edge(5, 4, "group"), edge(1, 4), edge(2, 4)]
    assert drawn(jobs, edges, [group(5, "completed")]) == [
        "1 | completed | extract",
        "├─ 2 | completed | page | member of group 5",
        "└─ 3 | completed | page | member of group 5",
        "↓ group 5 | completed |  | 3 of 3 completed",
        "↓ 4 | completed | bind",
    ]


def test_classes_are_named_with_their_modules_where_two_have_one_name() -> None:
    jobs = [job(1, "a"), job(2, "a") | {"class_name": "c.B"}, job(3, "b") | {"class_name": "c.D"}]
    rows = graph_tree.rows(Graph(jobs, [], [edge(1, 2), edge(2, 3)], True), 0, 0.0)
    assert [row.what for row in rows] == ["a.B::a", "c.B::a", "D::b"]


def test_of_a_part_of_a_graph_more_may_look_alike_than_are_counted() -> None:
    jobs = [job(1, "a"), *(job(n, "b") for n in range(2, 12))]
    rows = graph_tree.rows(Graph(jobs, [], [edge(1, n) for n in range(2, 12)], False), 1, 0.0)
    assert rows[-1].place == "└─ … at least 7 more"


def test_edges_to_what_is_left_out_are_left_out() -> None:
    assert drawn([job(2, "b", group_id=9)], [edge(1, 2), edge(2, 3)], [group(7, group=8)]) == [
        "┌─ 2 | completed | b",
        "└─ group 7 | sealed |  | 0 of 3 completed",
    ]


def test_jobs_that_wait_for_each_other_are_no_answer_of_a_daemon() -> None:
    with pytest.raises(ProtocolError, match="wait for each other"):
        drawn([job(1, "a"), job(2, "b")], [edge(1, 2), edge(2, 1)])


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_graph_is_each_job_is_shown_or_counted_once_behind_what_it_comes_after(
    seed: int,
) -> None:
    chance = random.Random(seed)
    for _ in range(100):
        _check(chance.randint(1, 40), chance)


def _check(count: int, chance: random.Random) -> None:
    jobs = [job(n, chance.choice("abc")) for n in range(1, count + 1)]
    edges = [
        edge(older, n)
        for n in range(2, count + 1)
        for older in {chance.randrange(1, n) for _ in range(chance.choice((0, 1, 1, 2, 3)))}
    ]
    rows = graph_tree.rows(Graph(jobs, [], edges, True), count, 0.0)
    shown, counted, at = [], 0, {}
    for place, row in enumerate(rows):
        folded = re.search(r"… (\d+) more", row.place)
        inside = re.match(r"(\d+) jobs: ", row.note)
        if folded is not None:
            counted += int((inside or folded)[1])
        else:
            shown.append(int(re.search(r"(\d+)\*?$", row.place)[1]))  # type: ignore[index]
            at[shown[-1]] = place
    assert len(shown) == len(set(shown))
    assert len(shown) + counted == count
    assert count in shown
    assert all(
        at[one["after"]] < at[one["job_id"]] for one in edges if {one["after"], one["job_id"]} <= at.keys()
    )


def test_a_graph_may_be_deeper_than_pythons_stack() -> None:
    """Each step has two after it, of which one goes on: the tree is as deep as it may be."""
    count = 1001
    edges = [edge(n, n + step) for n in range(1, count, 2) for step in (1, 2)]
    edges += [edge(n, count) for n in range(2, count, 2)]
    lines = drawn([job(n, f"step{n}") for n in range(1, count + 1)], edges)
    assert len(lines) == count
