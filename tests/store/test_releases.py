"""What ends cause: any graph, in any order of ends, retries and cancels, and in any portions, comes to the same."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.errors import BehindFailedError
from bgjob.words import IfFailed, Status
from bgjobd.core.edges import (
    Fate,
    Mentioned,
    NewGroup,
    Of,
    Standing,
    Take,
    Ties,
    fate_of,
    settled,
)
from bgjobd.core.facts import RetryRequested
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import release
from bgjobd.store.items import Flow, GroupCancelled, JobRequests, Look
from tests.core.samples import seeded
from tests.store.samples import COMPLETED, SUBMITTER, Store, asked, cancels, ends, retries, starts

NEVER_AGAIN = Ending.failed("ValueError", "no", may_retry=False)


def job(number: int) -> Mentioned:
    return Mentioned(Of.JOB, number)


def group(number: int) -> Mentioned:
    return Mentioned(Of.GROUP, number)


def flow(*ties: Ties, groups: Sequence[NewGroup] = ()) -> Flow:
    return Flow(tuple([asked(ties=one) for one in ties]), SUBMITTER, tuple(groups))


def after(*nodes: Mentioned, **more: Any) -> Ties:
    return Ties(nodes, **more)


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """A graph of some jobs and groups: a group that others come after has no members behind the first of those."""
    count = draw(st.integers(2, 8))
    groups = draw(st.integers(0, 2))
    closed: set[int] = set()
    ties = []
    for _ in range(count):
        open_groups = [one for one in range(groups) if one not in closed]
        own = draw(st.sampled_from([None, *open_groups]))
        members = {one.group.place for one in ties if isinstance(one.group, Mentioned)}
        within = [job(n) for n, one in enumerate(ties) if own is None or one.group == group(own)]
        befores = within + ([group(one) for one in sorted(members)] if own is None else [])
        nodes = draw(st.lists(st.sampled_from(befores), max_size=3, unique=True)) if befores else []
        closed |= {one.place for one in nodes if one.of is Of.GROUP}
        if_failed = draw(st.sampled_from(IfFailed))
        ties.append(Ties(tuple(nodes), if_failed, group=None if own is None else group(own)))
    return flow(*ties, groups=[NewGroup() for _ in range(groups)])


STEPS = st.lists(
    st.tuples(st.sampled_from(["completed", "failed", "cancelled", "retried"]), st.integers(0, 7)),
    max_size=16,
)
"""What happens, and to which of the jobs that it can happen to."""


def jobs_of(store: Store) -> dict[int, dict[str, Any]]:
    names = (
        *("id", "status", "ready", "waits_for", "failed_before", "if_failed", "cancelled_after", "group_id"),
        "cancel_requested_at",
    )
    found = store.database.execute_sql(
        f"SELECT {', '.join(names)} FROM background_jobs ORDER BY id"
    ).fetchall()
    return {row[0]: dict(zip(names, row, strict=True)) for row in found}


CAN = {
    "completed": {"running"},
    "failed": {"running"},
    "cancelled": {"pending"},
    "retried": {"failed", "cancelled"},
}


def do(store: Store, step: str, place: int) -> None:
    store.claim(Lanes(8))
    can = [id for id, one in jobs_of(store).items() if one["status"] in CAN[step]]
    if not can:
        return
    job_id = can[place % len(can)]
    match step:
        case "cancelled":
            store.commit(cancels(job_id))
        case "retried":
            store.commit(retries(job_id))
        case _:
            asked_for = "SELECT max(number) FROM job_attempts WHERE job_id = ?"
            (number,) = store.database.execute_sql(asked_for, (job_id,)).fetchone()
            store.commit(starts(job_id, number))
            store.commit(ends(job_id, COMPLETED if step == "completed" else NEVER_AGAIN, number))


def settle_all(store: Store) -> None:
    while store.database.execute_sql("SELECT EXISTS (SELECT 1 FROM consequences)").fetchone()[0]:
        store.commit(Look())


def check(store: Store) -> None:
    """Every edge stands as its predecessor does, and all that is counted is what there is."""
    jobs = jobs_of(store)
    groups = {
        id: (total, unfinished, completed, failed, cancelled, ended)
        for id, total, unfinished, completed, failed, cancelled, ended in store.database.execute_sql(
            "SELECT id, total, unfinished, completed, failed, cancelled, ended_at IS NOT NULL FROM job_groups"
        )
    }
    for group_id, (total, unfinished, *ended, is_over) in groups.items():
        fates = [fate_of(Status(one["status"])) for one in jobs.values() if one["group_id"] == group_id]
        assert total == len(fates)
        assert unfinished == fates.count(Fate.UNFINISHED)
        assert ended == [fates.count(fate) for fate in (Fate.COMPLETED, Fate.FAILED, Fate.CANCELLED)]
        assert is_over == (unfinished == 0)
    waits, fails = dict.fromkeys(jobs, 0), dict.fromkeys(jobs, 0)
    for job_id, of, after_id, stored in store.database.execute_sql("SELECT * FROM job_dependencies"):
        policy = IfFailed(jobs[job_id]["if_failed"])
        if of == Of.JOB:
            fate = fate_of(Status(jobs[after_id]["status"]))
        else:
            *_, failed, cancelled, is_over = groups[after_id]
            bad = Fate.FAILED if failed or cancelled else Fate.COMPLETED
            fate = bad if is_over else Fate.UNFINISHED
        assert settled(Standing(stored), fate, policy) == stored
        waits[job_id] += stored != Standing.MET
        fails[job_id] += stored == Standing.FAILED and policy is IfFailed.CANCEL
    for id, one in jobs.items():
        assert (one["waits_for"], one["failed_before"]) == (waits[id], fails[id])
        assert one["status"] != "pending" or not fails[id]
        assert (one["ready"] == 2) == (one["status"] == "pending" and waits[id] > 0)
        assert one["status"] not in ("running", "completed", "failed") or not waits[id]
        assert (one["status"] == "cancelled") == bool(one["cancelled_after"] or one["cancel_requested_at"])
        assert not (one["cancelled_after"] and not fails[id])


def test_a_job_waits_for_the_members_of_a_group_of_its_own_request(tmp_path: Path) -> None:
    """What the group counts is summed up only once the whole request is stored: until then it seems to be empty."""
    store = Store(tmp_path)
    store.answer(flow(Ties(group=group(0)), after(group(0)), groups=[NewGroup()]))
    assert [one["waits_for"] for one in jobs_of(store).values()] == [0, 1]
    store.close()


def test_a_job_does_not_wait_for_a_group_that_stays_empty(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.answer(flow(after(group(0)), groups=[NewGroup()]))
    assert [one["waits_for"] for one in jobs_of(store).values()] == [0]
    store.close()


@seeded
@given(flows(), STEPS, st.integers(1, 3))
def test_all_stands_as_what_it_comes_after_whatever_the_order_and_the_portions(
    asked_for: Flow, steps: list[tuple[str, int]], at_once: int
) -> None:
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        store = Store(Path(place))
        patch.setattr(release, "AT_ONCE", at_once)
        store.answer(asked_for)
        for step, place_of_job in steps:
            do(store, step, place_of_job)
        settle_all(store)
        check(store)
        store.close()


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
