"""Deleting jobs that others come after, and groups: nobody waits for what is gone, and nothing is left behind."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from bgjob.errors import GroupNotFoundError
from bgjob.words import IfFailed
from bgjobd.core.edges import NewGroup, Node, Of, Take, Ties
from bgjobd.core.planner import Lanes
from bgjobd.store import deletions, release
from bgjobd.store.audit import Audit
from bgjobd.store.committed import TrimmedGroups
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import Deletion, GroupTrimming
from bgjobd.store.items.submissions import Flow
from bgjobd.store.reader import Reader
from tests.store.flows import NEVER_AGAIN, READER, after, flow, group, job
from tests.store.samples import COMPLETED, NOW, Store, asked, ends, starts, statements_run_on

FAR = 10**9


def end(store: Store, *ids: int, ending: Any = COMPLETED) -> None:
    """Have those end that may start."""
    store.claim(Lanes(1000))
    store.commit(*[starts(id) for id in ids], *[ends(id, ending) for id in ids])


def delete(store: Store, *ids: int) -> tuple[int, ...]:
    """What of these is gone; another job has the newest entry."""
    store.submit(asked())
    gone: tuple[int, ...] = store.answer(Deletion(ids, FAR)).jobs
    return gone


def assert_balance(store: Store) -> None:
    with closing(Audit(store.state_dir)) as audit:
        assert audit.oddities() == ()
        assert audit.odd_groups() == ()


def test_edges_go_with_the_job_that_they_lead_to(store: Store) -> None:
    store.answer(flow(after(), after(job(0)), after(job(1))))
    end(store, 1)
    end(store, 2)
    assert delete(store, 2) == (2,)
    assert store.rows("SELECT job_id, after_id FROM job_dependencies") == [{"job_id": 3, "after_id": 2}]
    assert_balance(store)


def test_who_waits_for_another_try_of_what_is_deleted_is_cancelled(store: Store) -> None:
    store.answer(flow(after(), after(job(0), if_failed=IfFailed.WAIT), after(job(1))))
    end(store, 1, ending=NEVER_AGAIN)
    assert store.job(2)["ready"] == 2
    delete(store, 1)
    assert store.job(2)["error"] == "cancelled: job 1, which it came after, failed, and is deleted"
    assert store.job(3)["error"] == "cancelled: job 2, which it came after, was cancelled"
    assert_balance(store)


def test_so_are_more_than_one_transaction_can_tell(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "AT_ONCE", 2)
    store.answer(flow(after(), *[after(job(0), if_failed=IfFailed.WAIT) for _ in range(5)]))
    end(store, 1, ending=NEVER_AGAIN)
    while store.count("consequences"):
        store.commit(Look())
    delete(store, 1)
    for _ in range(3):
        store.commit(Look())
    assert {
        row["status"] for row in store.rows("SELECT status FROM background_jobs WHERE if_failed IS NOT NULL")
    } == {"cancelled"}
    assert_balance(store)


def test_what_others_have_not_heard_of_yet_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "AT_ONCE", 1)
    store.answer(flow(after(), after(job(0)), after(job(0)), after(job(0))))
    end(store, 1)
    assert delete(store, 1) == ()
    while store.count("consequences"):
        store.commit(Look())
    assert delete(store, 1) == (1,)
    assert [store.job(id)["waits_for"] for id in (2, 3, 4)] == [0, 0, 0]


def test_a_job_from_whose_result_somebody_takes_in_the_same_transaction_stays(store: Store) -> None:
    store.answer(flow(after()))
    end(store, 1)
    store.submit(asked())
    of = Node(Of.JOB, 1)
    late = Flow((asked(ties=Ties((of,), takes=(Take("v", of),))),), READER)
    _, deleted = store.commit(late, Deletion((1,), FAR)).answers
    assert deleted.jobs == ()
    assert store.job(3)["parameters"] == '{"v":{"sent":1}}'


def test_a_group_goes_with_the_last_of_its_members_and_takes_the_one_around_it_along(store: Store) -> None:
    inner = NewGroup(parent=group(0))
    store.answer(flow(Ties(group=group(1)), Ties(group=group(1)), groups=[NewGroup(), inner]))
    end(store, 1, 2)
    delete(store, 1)
    assert store.count("job_groups") == 2
    assert_balance(store)
    delete(store, 2)
    assert store.count("job_groups") == 0


def test_who_waits_for_another_try_of_a_group_that_is_deleted_is_cancelled(store: Store) -> None:
    late = after(group(0), if_failed=IfFailed.WAIT)
    store.answer(flow(Ties(group=group(0)), late, groups=[NewGroup()]))
    end(store, 1, ending=NEVER_AGAIN)
    assert store.job(2)["ready"] == 2
    delete(store, 1)
    assert store.job(2)["error"] == "cancelled: group 1, which it came after, failed, and is deleted"
    assert_balance(store)


def test_a_group_that_was_deleted_a_moment_before_is_not_there_for_a_request_of_the_same_transaction(
    store: Store,
) -> None:
    store.answer(flow(Ties(group=group(0)), groups=[NewGroup()]))
    end(store, 1, ending=NEVER_AGAIN)
    store.submit(asked())
    late = flow(after(Node(Of.GROUP, 1), if_failed=IfFailed.RUN))
    later = flow(after(Node(Of.GROUP, 1), if_failed=IfFailed.WAIT))
    _, deleted, refused = store.commit(late, Deletion((1,), FAR), later).answers
    assert deleted.jobs == (1,)
    assert isinstance(refused, GroupNotFoundError)
    assert_balance(store)


def test_members_of_a_group_that_others_wait_for_stay_with_their_results(store: Store) -> None:
    late = Ties((), takes=(Take("v", group(0)),))
    store.answer(flow(*[Ties(group=group(1))] * 2, late, groups=[NewGroup(), NewGroup(parent=group(0))]))
    end(store, 1)
    assert delete(store, 1) == ()
    end(store, 2)
    assert store.job(3)["parameters"] == '{"v":[[{"sent":1},{"sent":1}]]}'
    assert delete(store, 1, 2) == (1, 2)


def test_of_a_group_whose_members_are_gone_in_part_no_results_are_passed_on(store: Store) -> None:
    store.answer(flow(*[Ties(group=group(0))] * 2, groups=[NewGroup()]))
    end(store, 1, 2)
    delete(store, 1)
    of = Node(Of.GROUP, 1)
    store.answer(Flow((asked(ties=Ties((of,), takes=(Take("v", of),))),), READER))
    assert "some are deleted" in store.rows("SELECT takes FROM background_jobs ORDER BY id DESC")[0]["takes"]


def test_a_group_without_members_goes_by_its_age(store: Store) -> None:
    store.answer(flow(Ties(group=group(1)), groups=[NewGroup(), NewGroup(), NewGroup(is_open=True)]))
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.oldest_group() == NOW
    assert store.answer(GroupTrimming(NOW)) == TrimmedGroups(0, None)
    assert store.answer(GroupTrimming(NOW + 1)) == TrimmedGroups(1, None)
    assert store.count("job_groups") == 2
    assert_balance(store)


def test_groups_are_looked_at_in_portions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "_GROUPS_AT_ONCE", 2)
    store.answer(flow(groups=[NewGroup()] * 3))
    assert store.answer(GroupTrimming(NOW + 1)) == TrimmedGroups(2, 2)
    assert store.answer(GroupTrimming(NOW + 1, 2)) == TrimmedGroups(1, None)


def test_a_plain_job_pays_no_statement_for_it(store: Store) -> None:
    store.submit(asked())
    end(store, 1)
    store.submit(asked())
    with statements_run_on(store.database) as run:
        store.answer(Deletion((1,), FAR))
    of_ties = [one for one in run if "job_groups" in one or ("job_dependencies" in one and "DELETE" in one)]
    assert of_ties == []
