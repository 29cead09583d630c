"""What ends cause, one case at a time; any graph in any order is tried in test_any_flow."""

from __future__ import annotations

from contextlib import closing

import pytest

from bgjob.errors import BehindFailedError
from bgjob.words import IfFailed
from bgjobd.core.edges import NewGroup, Take, Ties
from bgjobd.core.facts import RetryRequested
from bgjobd.core.planner import Lanes
from bgjobd.store import release
from bgjobd.store.audit import Audit
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.items.submissions import Flow
from bgjobd.store.items.wishes import GroupCancelled, JobRequests
from tests.store.flows import NEVER_AGAIN, after, flow, group, job
from tests.store.samples import (
    COMPLETED,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    statements_run_on,
)


def settle_all(store: Store) -> None:
    while store.count("consequences"):
        store.commit(Look())


def check(store: Store) -> None:
    """The books balance."""
    with closing(Audit(store.state_dir)) as audit:
        assert audit.oddities() == ()
        assert audit.odd_groups() == ()


def test_a_job_waits_for_the_members_of_a_group_of_its_own_request(store: Store) -> None:
    """What the group counts is summed up only once the whole request is stored: until then it seems to be empty."""
    store.answer(flow(Ties(group=group(0)), after(group(0)), groups=[NewGroup()]))
    assert [store.job(id)["waits_for"] for id in (1, 2)] == [0, 1]


def test_a_job_does_not_wait_for_a_group_that_stays_empty(store: Store) -> None:
    store.answer(flow(after(group(0)), groups=[NewGroup()]))
    assert store.job(1)["waits_for"] == 0


# What a retry comes to, beside others


def status_of(store: Store, *job_ids: int) -> list[str]:
    return [str(store.job(job_id)["status"]) for job_id in job_ids]


def failed_chain(store: Store, *policies: IfFailed) -> None:
    """A job that has failed, and after it one for each policy, each after the one before."""
    store.answer(flow(Ties(), *(after(job(place), if_failed=one) for place, one in enumerate(policies))))
    store.claim(Lanes(1))
    store.commit(starts(1))
    store.commit(ends(1, NEVER_AGAIN))


def anyway(*job_ids: int) -> JobRequests:
    return JobRequests(job_ids, RetryRequested(anyway=True))


def test_edges_are_forgiven_once_however_often_that_is_asked_in_one_transaction(store: Store) -> None:
    failed_chain(store, IfFailed.CANCEL)
    store.commit(anyway(2), cancels(2), anyway(2), cancels(2), retries(2))
    assert (store.job(2)["status"], store.job(2)["waits_for"]) == ("pending", 0)
    assert [claim.job.id for claim in store.commit(lanes=Lanes(1)).claims] == [2]


def test_jobs_of_a_chain_that_are_retried_together_go_on_in_whatever_order_they_are_named(
    store: Store,
) -> None:
    failed_chain(store, IfFailed.CANCEL, IfFailed.CANCEL)
    assert status_of(store, 2, 3) == ["cancelled", "cancelled"]
    answer = store.answer(retries(3, 2, 1))
    assert [job.id for job in answer] == [3, 2, 1]
    assert status_of(store, 1, 2, 3) == ["pending", "pending", "pending"]
    assert [store.job(id)["ready"] for id in (1, 2, 3)] == [1, 2, 2]


def test_a_retry_alone_names_what_is_to_be_retried_first(store: Store) -> None:
    failed_chain(store, IfFailed.CANCEL, IfFailed.CANCEL)
    refused = store.answer(retries(3))
    assert isinstance(refused, BehindFailedError)
    assert refused.parameters == {"id": 3, "before": "2"}


def test_who_is_retried_together_with_what_kept_it_runs_also_where_a_person_had_cancelled_it(
    store: Store,
) -> None:
    store.answer(flow(after(), after(job(0))))
    store.commit(cancels(2))
    store.commit(cancels(1))
    assert isinstance(store.answer(retries(2)), BehindFailedError)
    assert [one.status for one in store.answer(retries(1, 2))] == ["pending", "pending"]
    assert status_of(store, 1, 2) == ["pending", "pending"]
    check(store)


def test_a_retry_takes_the_value_of_what_has_completed_since(store: Store) -> None:
    take = Take("rows", job(0))
    store.answer(flow(Ties(), Ties(takes=(take,), if_failed=IfFailed.RUN)))
    for job_id, number, ending in ((1, 1, NEVER_AGAIN), (2, 1, NEVER_AGAIN)):
        store.claim(Lanes(1))
        store.commit(starts(job_id, number), ends(job_id, ending, number))
    assert store.job(2)["parameters"] == '{"rows":null}'
    store.commit(retries(1))
    store.claim(Lanes(1))
    assert store.job(2)["parameters"] == '{"rows":null}'
    store.commit(starts(1, 2), ends(1, COMPLETED, 2))
    assert (store.job(2)["parameters"], store.job(2)["status"]) == ('{"rows":{"sent":1}}', "failed")


def test_who_runs_anyway_takes_null_of_what_has_failed(store: Store) -> None:
    store.answer(flow(Ties(), Ties(takes=(Take("rows", job(0)),))))
    store.claim(Lanes(1))
    store.commit(starts(1), ends(1, NEVER_AGAIN))
    store.commit(anyway(2))
    assert (store.job(2)["parameters"], store.job(2)["status"]) == ('{"rows":null}', "pending")


def test_a_member_of_a_cancelled_group_is_not_run_by_a_retry_of_what_it_was_cancelled_for(
    store: Store,
) -> None:
    ties = (Ties(), after(job(0), group=group(0)))
    store.answer(flow(*ties, groups=[NewGroup()]))
    store.commit(cancels(1))
    assert status_of(store, 2) == ["cancelled"]
    store.commit(GroupCancelled(1, SUBMITTER))
    store.commit(retries(1))
    assert status_of(store, 1, 2) == ["pending", "cancelled"]
    check(store)


def test_a_group_that_is_cancelled_again_has_what_was_retried_in_those_within_it_cancelled(
    store: Store,
) -> None:
    store.answer(flow(Ties(group=group(1)), groups=[NewGroup(), NewGroup(parent=group(0))]))
    store.commit(GroupCancelled(1, SUBMITTER))
    store.commit(retries(1))
    assert status_of(store, 1) == ["pending"]
    store.commit(GroupCancelled(1, SUBMITTER))
    assert status_of(store, 1) == ["cancelled"]
    check(store)


def test_very_many_nested_groups_are_cancelled_some_at_a_time(store: Store) -> None:
    store.answer(flow(groups=[NewGroup(), *[NewGroup(is_open=True, parent=group(0)) for _ in range(300)]]))
    store.commit(GroupCancelled(1, SUBMITTER))
    asked_for = "SELECT count(*) FROM job_groups WHERE ended_at IS NULL"
    assert store.database.execute_sql(asked_for).fetchone()[0] > 150
    settle_all(store)
    assert store.database.execute_sql(asked_for).fetchone()[0] == 0


def test_what_was_noted_goes_on_beside_whatever_ends_anew(store: Store) -> None:
    store.answer(flow(Ties(), *[after(job(0)) for _ in range(300)]))
    store.commit(cancels(1))
    for _ in range(20):  # each with as much to settle as one transaction does
        store.answer(flow(Ties(), *[after(job(0)) for _ in range(100)]))
        (newest,) = store.database.execute_sql("SELECT max(id) FROM background_jobs").fetchone()
        store.commit(cancels(newest - 100))
    left = "SELECT count(*) FROM background_jobs WHERE id <= 301 AND status = 'pending'"
    assert store.database.execute_sql(left).fetchone()[0] == 0


def test_a_repeat_of_a_request_has_the_group_of_its_jobs_though_that_has_no_key(store: Store) -> None:
    members = [asked(ties=Ties(group=group(0)), idempotency_key=f"k{n}", digest=f"d{n}") for n in range(2)]
    request = Flow(tuple(members), SUBMITTER, (NewGroup(),))
    first, again = store.answer(request), store.answer(request)
    assert (first.groups, again.groups) == ((1,), (1,))
    assert [one.id for one in again.jobs] == [1, 2]


# What it costs


def test_a_transaction_settles_no_longer_than_others_may_wait_and_the_rest_follows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "_SETTLING_FOR", 0.0)
    store.answer(flow(after(), *[after(job(0))] * 60))
    blocked = "SELECT count(*) AS number FROM background_jobs WHERE ready = 2"
    store.commit(cancels(1))
    left = [store.rows(blocked)[0]["number"]]
    while store.commit(Look()).next_due is not None:
        left.append(store.rows(blocked)[0]["number"])
    assert left == [35, 10]
    assert store.rows(blocked) == [{"number": 0}]


def test_a_members_end_costs_the_same_in_a_group_of_three_and_of_many_and_only_the_last_one_frees_others(
    store: Store,
) -> None:
    costs = []
    for members in (3, 1000):
        request = flow(*[Ties(group=group(0))] * members, after(group(0)), groups=[NewGroup()])
        ids = [one.id for one in store.answer(request).jobs[:members]]
        store.claim(Lanes(members))
        store.commit(*[starts(id) for id in ids])
        store.commit(*[ends(id, COMPLETED) for id in ids[1:-2]])
        costs.append([_statements(store, ends(id, COMPLETED)) for id in (ids[0], ids[-2], ids[-1])])
        store.commit(cancels(ids[-1] + 1))
    few, many = costs
    assert few == many
    first, middle, last = many
    assert first == middle
    assert last > first


def _statements(store: Store, *items: Item) -> int:
    with statements_run_on(store.database) as run:
        store.commit(*items)
    return len(run)


def test_what_comes_after_nothing_costs_a_transaction_one_statement(store: Store) -> None:
    store.submit(asked(), asked())
    store.claim(Lanes(2))
    store.commit(starts(1), starts(2))
    with statements_run_on(store.database) as run:
        store.commit(ends(1, COMPLETED), ends(2, COMPLETED))
    assert len([one for one in run if "job_dependencies" in one or "job_groups" in one]) == 1
    with statements_run_on(store.database) as run:
        store.submit(asked())
    assert [one for one in run if "job_dependencies" in one or "job_groups" in one] == []
