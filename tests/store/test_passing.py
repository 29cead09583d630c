"""Results that become parameters: of jobs, of groups in the order of their ids, and what is too much to pass on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from bgjob import results
from bgjob.codec import to_json
from bgjob.results import MOST_CHARACTERS, MOST_RESULTS
from bgjobd.core.edges import Mentioned, NewGroup, Of, Take, Ties
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import release
from bgjobd.store.items.submissions import Flow
from tests.store.samples import SUBMITTER, Store, asked, ends, starts

GROUP = Mentioned(Of.GROUP, 0)
MEMBER = Ties(group=GROUP)


def flow(*ties: Ties, groups: Sequence[NewGroup] = (NewGroup(),)) -> Flow:
    return Flow(tuple([asked(ties=one) for one in ties]), SUBMITTER, tuple(groups))


def complete(store: Store, *results: Any) -> None:
    """Have as many jobs run, in order, and return these."""
    store.claim(Lanes(5000))
    done = [(starts(id), ends(id, Ending.completed(to_json(result)))) for id, result in enumerate(results, 1)]
    store.commit(*[fact for facts in done for fact in facts])


def taken(store: Store, job_id: int) -> Any:
    return json.loads(store.job(job_id)["parameters"])


def problem(store: Store, job_id: int) -> str:
    (take,) = json.loads(store.job(job_id)["takes"]).values()
    assert taken(store, job_id) == {}
    return str(take["problem"])


def test_of_a_group_come_the_results_in_the_order_of_the_members_and_then_of_the_groups_in_it(
    store: Store,
) -> None:
    groups = [NewGroup(), NewGroup(parent=GROUP)]
    inner = Ties(group=Mentioned(Of.GROUP, 1))
    store.answer(flow(inner, MEMBER, inner, MEMBER, Ties(takes=(Take("all", GROUP),)), groups=groups))
    complete(store, 1, 2, 3, 4)
    assert taken(store, 5) == {"all": [2, 4, [1, 3]]}


def test_results_of_a_group_that_are_together_larger_than_one_may_be_are_not_passed_on(store: Store) -> None:
    """A pointer to a part of them would have all of them read: a thousand results of a megabyte each."""
    store.answer(flow(MEMBER, MEMBER, Ties(takes=(Take("first", GROUP, "/0/0"),))))
    complete(store, *[["x", "y" * (MOST_CHARACTERS // 2)]] * 2)
    assert (
        problem(store, 3) == "the members' results take more than 1,048,576 characters; pass paths, not files"
    )
    assert store.job(3)["waits_for"] == 0


def test_the_members_of_groups_in_a_group_are_members_to_who_passes_results_on(
    store: Store,
) -> None:
    """The outer one counts each as one, so that a few would have had a hundred thousand results read."""
    groups = [NewGroup(), NewGroup(parent=GROUP)]
    inner = [Ties(group=Mentioned(Of.GROUP, 1))] * MOST_RESULTS
    store.answer(flow(*inner, Ties(takes=(Take("all", GROUP),)), groups=groups))
    complete(store, *[1] * MOST_RESULTS)
    assert problem(store, MOST_RESULTS + 1) == "a group of more than 1,000 members passes no results on"


def test_what_many_take_is_read_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result of a megabyte that was read for each of a hundred kept the writer busy for a second."""
    first, many = Mentioned(Of.JOB, 0), release._IN_A_TURN
    store.answer(flow(Ties(), *[Ties(takes=(Take("large", first),))] * many, groups=()))
    read: list[str] = []

    def loads(text: str) -> Any:
        read.append(text)
        return json.JSONDecoder().decode(text)

    monkeypatch.setattr(json, "loads", loads)
    complete(store, "x" * 100_000)
    monkeypatch.undo()
    assert sum(len(text) > 100_000 for text in read) == 1
    assert {problem(store, job_id) for job_id in range(2, 2 + many)} == {
        "with it the parameters would take 100012 bytes, the limit is 65536; pass a path, not a file"
    }


def test_a_value_is_measured_once_for_all_who_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    result, measured = results.Result({"rows": "x" * 1000}), []
    monkeypatch.setattr(results, "_size", lambda value: measured.append(value) or len(to_json(value)))
    for _ in range(3):
        result.at("/rows")
    assert measured == ["x" * 1000]
