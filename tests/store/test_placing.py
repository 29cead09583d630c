"""Where new jobs have their place: what a request names, what it may not, and what keys have made before."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import pytest

from bgjob.errors import (
    GroupNotFoundError,
    GroupSealedError,
    InvalidParameterError,
    JobNotFoundError,
    PermissionDeniedError,
    RequestError,
)
from bgjob.words import IfFailed
from bgjobd.core.edges import Mentioned, NewGroup, Node, Of, Take, Ties
from bgjobd.store import release
from bgjobd.store.committed import StoredFlow
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.submissions import BulkRow, BulkSubmission, Flow
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import GroupCancelled
from tests.store.samples import SUBMITTER, Store, asked

OTHER: Final = Submitter(uid=1002, gid=1002, pid=99)
MANAGER: Final = OTHER._replace(may_manage=True)
READER: Final = OTHER._replace(may_read=True)


def job(place: int) -> Mentioned:
    return Mentioned(Of.JOB, place)


def group(place: int) -> Mentioned:
    return Mentioned(Of.GROUP, place)


def after(*nodes: Node | Mentioned, **more: Any) -> Ties:
    return Ties(nodes, **more)


def taking(of: Node | Mentioned, **more: Any) -> Ties:
    return Ties(takes=(Take("value", of),), **more)


def flow(
    *ties: Ties | None,
    groups: Sequence[NewGroup] = (),
    by: Submitter = SUBMITTER,
    keys: Sequence[str | None] = (),
    seals: tuple[int, ...] = (),
) -> Flow:
    every = [*keys, *[None] * (len(ties) - len(keys))]
    jobs = [asked(ties=one, idempotency_key=key) for one, key in zip(ties, every, strict=True)]
    return Flow(tuple(jobs), by, tuple(groups), seals)


def stored(store: Store, asked_for: Flow) -> StoredFlow:
    answer = store.answer(asked_for)
    assert isinstance(answer, StoredFlow), answer
    return answer


def refusal(store: Store, asked_for: Any) -> RequestError:
    """Why this is refused; nothing of it is stored."""
    before = [
        store.count(table) for table in ("background_jobs", "job_groups", "job_dependencies", "job_logs")
    ]
    answer = store.answer(asked_for)
    assert isinstance(answer, RequestError), answer
    assert before == [
        store.count(table) for table in ("background_jobs", "job_groups", "job_dependencies", "job_logs")
    ]
    return answer


def edges(store: Store, job_id: int) -> list[tuple[str, int]]:
    rows = store.rows("SELECT * FROM job_dependencies WHERE job_id = ?", job_id)
    return [(row["of"], row["after_id"]) for row in rows]


def path(error: RequestError) -> str:
    assert isinstance(error, InvalidParameterError), error
    return str(error.parameters["parameter"])


# What is named


def test_an_id_is_never_taken_for_the_place_of_a_job_in_its_request(store: Store) -> None:
    """They are of types of their own: job 1, and the job of place 1."""
    store.submit(asked())
    answer = stored(store, flow(None, None, after(Node(Of.JOB, 1), job(1))))
    assert edges(store, answer.jobs[2].id) == [("job", 1), ("job", 3)]


def test_two_names_of_one_job_are_one_edge(store: Store) -> None:
    """Else it would wait for two, of which one ends: for ever."""
    stored(store, flow(None, keys=["a"]))
    answer = stored(store, flow(None, after(Node(Of.JOB, 1), job(0)), keys=["a"]))
    assert (answer.jobs[0].id, edges(store, 2)) == (1, [("job", 1)])
    assert store.job(2)["waits_for"] == 1


def test_what_a_value_is_taken_of_is_come_after_whether_it_is_named_for_that_or_not(store: Store) -> None:
    stored(store, flow(None, None, after(job(0), takes=(Take("value", job(1)), Take("other", job(0))))))
    assert edges(store, 3) == [("job", 1), ("job", 2)]
    assert store.job(3)["takes"] == (
        '{"value":{"of":{"id":2},"pointer":""},"other":{"of":{"id":1},"pointer":""}}'
    )


@pytest.mark.parametrize(
    ("ties", "error"),
    [
        (after(Node(Of.JOB, 4711)), JobNotFoundError),
        (after(Node(Of.GROUP, 4711)), GroupNotFoundError),
        (Ties(group=4711), GroupNotFoundError),
        (taking(Node(Of.JOB, 4711)), JobNotFoundError),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused_by_its_id(store: Store, ties: Ties, error: type[RequestError]) -> None:
    answer = refusal(store, flow(None, ties, by=SUBMITTER._replace(may_read=True)))
    assert (type(answer), answer.parameters) == (error, {"id": 4711})


def test_a_group_is_not_sealed_that_is_not_there(store: Store) -> None:
    assert refusal(store, flow(None, seals=(5,))).parameters == {"id": 5}


# Order


def test_a_member_comes_after_nothing_that_is_newer_than_its_group_and_not_in_it(store: Store) -> None:
    outside = flow(Ties(group=group(0)), None, after(job(0), job(1), group=group(0)), groups=[NewGroup()])
    assert path(refusal(store, outside)) == "jobs.2.options.after.1"


def test_what_is_out_of_order_and_named_by_take_alone_is_told_by_that(store: Store) -> None:
    outside = flow(Ties(group=group(0)), None, taking(job(1), group=group(0)), groups=[NewGroup()])
    assert path(refusal(store, outside)) == "jobs.2.options.take.value.of"


def test_a_member_comes_after_no_group_that_encloses_it(store: Store) -> None:
    groups = [NewGroup(), NewGroup(parent=group(0))]
    for encloses in (0, 1):
        inside = flow(Ties(group=group(1)), after(group(encloses), group=group(1)), groups=groups)
        assert path(refusal(store, inside)) == "jobs.1.options.after.0"


def test_a_member_comes_after_what_was_there_before_its_group_and_after_other_members(store: Store) -> None:
    groups = [NewGroup(), NewGroup(parent=group(0))]
    answer = stored(
        store,
        flow(
            None,
            Ties(group=group(0)),
            Ties((job(0), job(1)), group=group(0)),
            Ties((job(0),), group=group(1)),
            groups=groups,
        ),
    )
    assert len(answer.jobs) == 4


def test_of_a_group_in_a_group_a_member_comes_after_nothing_that_is_only_in_the_outer_one_and_newer(
    store: Store,
) -> None:
    groups = [NewGroup(), NewGroup(parent=group(0))]
    newer = flow(Ties(group=group(1)), Ties(group=group(0)), Ties((job(1),), group=group(1)), groups=groups)
    assert path(refusal(store, newer)) == "jobs.2.options.after.0"


def test_at_most_eight_groups_enclose_a_job(store: Store) -> None:
    groups = [NewGroup(is_open=True), *(NewGroup(is_open=True, parent=group(n)) for n in range(8))]
    assert len(stored(store, flow(Ties(group=group(7)), groups=groups[:8])).groups) == 8
    assert path(refusal(store, flow(Ties(group=group(8)), groups=groups))) == "groups.8.group"
    assert path(refusal(store, flow(groups=[NewGroup(parent=8)]))) == "groups.0.group"


# Groups that are there


def test_a_sealed_group_takes_no_more_members_and_no_groups(store: Store) -> None:
    stored(store, flow(None, groups=[NewGroup()]))
    for more in (flow(Ties(group=1)), flow(None, groups=[NewGroup(parent=1)]), bulk(1)):
        answer = refusal(store, more)
        assert (type(answer), answer.parameters) == (GroupSealedError, {"id": 1})


def test_a_group_is_for_who_made_it_and_for_who_may_manage(store: Store) -> None:
    stored(store, flow(None, groups=[NewGroup(is_open=True)]))
    for asked_for in (
        flow(Ties(group=1), by=OTHER),
        flow(groups=[NewGroup(parent=1)], by=OTHER),
        flow(seals=(1,), by=OTHER),
        GroupCancelled(1, OTHER),
        bulk(1, by=OTHER),
        flow(Ties(group=1), by=Submitter(None, None, None)),
    ):
        assert isinstance(refusal(store, asked_for), PermissionDeniedError)
    stored(store, flow(Ties(group=1), by=MANAGER, seals=(1,)))
    assert store.answer(GroupCancelled(1, MANAGER)) is None


def test_anybodys_group_may_be_come_after(store: Store) -> None:
    stored(store, flow(None, groups=[NewGroup(is_open=True)]))
    assert edges(store, stored(store, flow(after(Node(Of.GROUP, 1)), by=OTHER)).jobs[0].id) == [("group", 1)]


# Repeats


def bulk(group_id: int, by: Submitter = SUBMITTER, keys: Sequence[str | None] = (None,)) -> BulkSubmission:
    rows = tuple([BulkRow("{}", idempotency_key=key) for key in keys])
    return BulkSubmission(asked(ties=Ties(group=group_id)), rows, by)


def test_a_request_that_is_repeated_whole_gives_the_same_ids_and_makes_nothing(store: Store) -> None:
    groups = [NewGroup(idempotency_key="g"), NewGroup(parent=group(0), idempotency_key="h")]
    whole = flow(
        *(Ties(group=group(1)), Ties((job(0),), group=group(0)), after(group(0), if_failed=IfFailed.RUN)),
        groups=groups,
        keys=["a", "b", "c"],
    )
    first = stored(store, whole)
    again = stored(store, whole)
    assert (again.groups, [one.id for one in again.jobs]) == (first.groups, [one.id for one in first.jobs])
    assert [one.created for one in again.jobs] == [False] * 3
    assert (store.count("background_jobs"), store.count("job_groups"), store.count("job_dependencies")) == (
        *(3, 2),
        2,
    )


def test_a_bulk_that_is_repeated_once_its_group_is_sealed_gives_the_same_ids(store: Store) -> None:
    """Its client seals the group with the last portion, and may not have heard of either."""
    stored(store, flow(groups=[NewGroup(is_open=True)]))
    ids = store.answer(bulk(1, keys=["a", "b"]))
    stored(store, flow(seals=(1,)))
    assert store.answer(bulk(1, keys=["a", "b"])) == ids == (1, 2)
    assert isinstance(refusal(store, bulk(1, keys=["b", "c"])), GroupSealedError)


def test_two_groups_of_a_request_with_one_key_are_one(store: Store) -> None:
    groups = [NewGroup(idempotency_key="g"), NewGroup(idempotency_key="g")]
    assert stored(store, flow(groups=groups)).groups == (1, 1)


# What may be read


def test_nothing_is_taken_of_what_another_request_has_made_but_by_who_may_read(store: Store) -> None:
    """A key leads to the job of anybody who has asked for the same, and to anybody's group."""
    stored(store, flow(Ties(group=group(0)), groups=[NewGroup(idempotency_key="g")], keys=["a"]))
    for ties, groups in (
        ((taking(Node(Of.JOB, 1)),), ()),
        ((taking(Node(Of.GROUP, 1)),), ()),
        ((Ties(group=group(0)), taking(job(0))), (NewGroup(idempotency_key="g"),)),
        ((taking(group(0)),), (NewGroup(idempotency_key="g"),)),
    ):
        keys = ["a"] if len(ties) == 2 else []
        for by in (OTHER, SUBMITTER):
            answer = refusal(store, flow(*ties, groups=groups, keys=keys, by=by))
            assert isinstance(answer, PermissionDeniedError)
            assert "the right to read" in str(answer)
        assert stored(store, flow(*ties, groups=groups, keys=keys, by=READER)).jobs[-1].created


def test_of_what_a_request_makes_itself_anybody_may_take(store: Store) -> None:
    stored(store, flow(Ties(group=group(0)), taking(job(0)), taking(group(0)), groups=[NewGroup()], by=OTHER))
    assert edges(store, 3) == [("group", 1)]


# Cancelling


def test_many_groups_in_a_group_are_cancelled_some_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand of them in one transaction would keep everybody else's waiting."""
    monkeypatch.setattr(release, "AT_ONCE", 3)
    inner = [NewGroup(is_open=True, parent=group(0)) for _ in range(10)]
    members = [Ties(group=group(place)) for place in range(11)]
    stored(store, flow(*members, groups=[NewGroup(is_open=True), *inner]))
    store.commit(GroupCancelled(1, SUBMITTER))
    left = [store.rows("SELECT count(*) AS n FROM job_groups WHERE cancel_requested_at IS NULL")[0]["n"]]
    while store.count("consequences"):
        store.commit(Look())
        left.append(
            store.rows("SELECT count(*) AS n FROM job_groups WHERE cancel_requested_at IS NULL")[0]["n"]
        )
    assert left[-1] == 0
    assert all(before - after <= 3 for before, after in pairwise(left))
    assert {row["status"] for row in store.rows("SELECT status FROM background_jobs")} == {"cancelled"}
    assert {row["ended_at"] is None for row in store.rows("SELECT ended_at FROM job_groups")} == {False}
