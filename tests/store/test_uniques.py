"""Unique keys: who holds one, until when, and what a second submit, a retry or a revival comes to meanwhile."""

from __future__ import annotations

import random
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from bgjob.errors import DuplicateError
from bgjob.words import IfHeld, Status, UniqueWhile
from bgjobd.core.edges import Mentioned, NewGroup, Node, Of, Ties
from bgjobd.core.facts import RetryRequested, Submitted
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.core.unique import Unique
from bgjobd.store import audit_of_keys
from bgjobd.store.committed import Stored, TrimmedKeys
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import Deletion, KeyTrimming
from bgjobd.store.items.submissions import Flow, Submission
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobRequests
from bgjobd.store.reader import Reader
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
)

OTHER = Submitter(uid=1002, gid=1002, pid=1)


def one(key: str = "k", parameters: Any = None, **given: Any) -> Submitted:
    names = ("holds_while", "held_for", "if_held", "at_latest")
    unique = Unique(key, **{name: given.pop(name) for name in names if name in given})
    return asked(unique=unique, parameters=parameters or {}, **given)


def submit(store: Store, fact: Submitted, by: Submitter = SUBMITTER) -> Stored | Exception:
    answer = store.answer(Submission((fact,), by))
    return answer if isinstance(answer, Exception) else answer[0]


def hold(store: Store, how: str, **given: Any) -> int:
    """A job with the key, at a place of its life."""
    stored = submit(store, one(**given))
    assert isinstance(stored, Stored)
    if how == "pending":
        return stored.id
    if how == "cancelled":
        store.commit(cancels(stored.id))
        return stored.id
    store.claim(Lanes(1))
    store.commit(starts(stored.id))
    if how in ("completed", "retrying"):
        store.commit(ends(stored.id, COMPLETED if how == "completed" else FAILED))
    return stored.id


@pytest.mark.parametrize(
    ("holds_while", "holds"),
    [
        (UniqueWhile.UNFINISHED, {"pending", "running", "retrying"}),
        (UniqueWhile.PENDING, {"pending"}),
    ],
)
@pytest.mark.parametrize("how", ["pending", "running", "retrying", "completed", "cancelled"])
@pytest.mark.parametrize("if_held", IfHeld)
def test_who_holds_the_key_decides_what_a_second_submit_comes_to(
    store: Store, holds_while: UniqueWhile, holds: set[str], how: str, if_held: IfHeld
) -> None:
    first = hold(store, how, holds_while=holds_while)
    second = submit(store, one(if_held=if_held, parameters={"n": 2}))
    if how not in holds:
        assert second == Stored(first + 1, created=True)
    elif if_held is IfHeld.REFUSE:
        assert isinstance(second, DuplicateError)
        assert second.parameters == {"id": first, "index": 0}
    else:
        is_replaced = if_held is IfHeld.REPLACE and how == "pending"
        assert second == Stored(first, created=False, replaced=is_replaced)
        assert (store.job(first)["parameters"] == '{"n":2}') == is_replaced


def test_keys_count_within_a_method_and_two_of_one_transaction_are_one_job(store: Store) -> None:
    jobs = (one(), one(), one("other"), one(method="else"))
    answer = store.answer(Submission(jobs, SUBMITTER))
    assert [stored.id for stored in answer] == [1, 1, 2, 3]
    assert [stored.created for stored in answer] == [True, False, True, True]


def test_a_key_is_held_for_a_time_whatever_becomes_of_the_job_and_that_is_never_replaced(
    store: Store,
) -> None:
    first = hold(store, "completed", held_for=3600.0)
    store.now = NOW + 3599
    assert submit(store, one(if_held=IfHeld.REPLACE)) == Stored(first, created=False)
    store.now = NOW + 3600
    assert submit(store, one()) == Stored(2, created=True)


def test_a_debounce_begins_anew_and_is_bounded(store: Store) -> None:
    first = one(scheduled_at=NOW + 10, if_held=IfHeld.REPLACE, at_latest=25.0)
    submit(store, first)
    for later, at in ((5, NOW + 15), (20, NOW + 25)):
        store.now = NOW + later
        again = one(
            scheduled_at=store.now + 10, if_held=IfHeld.REPLACE, at_latest=25.0, queue="mail", priority=3
        )
        assert submit(store, again) == Stored(1, created=False, replaced=True)
        assert store.job(1)["scheduled_at"] == f"2024-12-04T14:32:{int(at - NOW) - 7:02}.000000Z"
    assert (store.job(1)["queue"], store.job(1)["priority"]) == ("mail", 3)
    store.now = NOW + 25
    assert [claim.job.id for claim in store.commit(lanes=Lanes(1, {"mail": None})).claims] == [1]


@pytest.mark.parametrize(
    ("by", "is_replaced"),
    [(OTHER, False), (Submitter(1002, 1, 1, may_manage=True), True), (Submitter(None, None, None), False)],
)
def test_another_users_job_is_replaced_by_who_may_manage_alone(
    store: Store, by: Submitter, is_replaced: bool
) -> None:
    submit(store, one())
    assert submit(store, one(if_held=IfHeld.REPLACE), by) == Stored(1, created=False, replaced=is_replaced)


def test_a_retry_by_a_person_takes_the_key_again_unless_another_has_it(store: Store) -> None:
    first = hold(store, "cancelled")
    second = submit(store, one())
    refused = store.answer(retries(first))
    assert isinstance(refused, DuplicateError)
    assert refused.parameters == {"id": 2}
    assert store.job(first)["status"] == Status.CANCELLED
    store.commit(cancels(2))
    store.commit(retries(first))
    assert submit(store, one()) == Stored(first, created=False)
    assert second == Stored(2, created=True)


def test_a_retry_by_a_person_holds_the_key_until_an_attempt_starts_though_its_time_is_over(
    store: Store,
) -> None:
    first = hold(store, "running", holds_while=UniqueWhile.PENDING, held_for=4.0)
    store.commit(ends(first, replace(FAILED, may_retry=False)))
    store.commit(retries(first))
    store.now = NOW + 5
    assert submit(store, one()) == Stored(first, created=False)
    store.claim(Lanes(1))
    store.commit(starts(first, 2))
    assert submit(store, one()) == Stored(2, created=True)


def test_a_retry_by_a_person_at_a_time_holds_the_key_until_then(store: Store) -> None:
    first = hold(store, "running", holds_while=UniqueWhile.PENDING, held_for=4.0)
    store.commit(ends(first, replace(FAILED, may_retry=False)))
    store.commit(JobRequests((first,), RetryRequested(at=NOW + 60)))  # as of many that are spread
    store.now = NOW + 5
    assert submit(store, one()) == Stored(first, created=False)


def test_who_comes_back_by_himself_has_not_his_key_again_though_no_retry_is_spent(store: Store) -> None:
    first = hold(store, "running", holds_while=UniqueWhile.PENDING, held_for=4.0)
    store.commit(ends(first, Ending.lost("interrupted", spends_retry=False)))
    store.now = NOW + 5
    assert submit(store, one()) == Stored(2, created=True)


def test_a_snoozed_job_that_was_cancelled_and_is_retried_by_a_person_holds_its_key(store: Store) -> None:
    first = hold(store, "running", holds_while=UniqueWhile.PENDING)
    store.commit(ends(first, Ending.snoozed(60.0)))
    store.commit(cancels(first))
    store.commit(retries(first))
    assert submit(store, one()) == Stored(first, created=False)


def test_what_a_workflow_would_revive_stays_cancelled_where_another_has_its_key(store: Store) -> None:
    first = Mentioned(Of.JOB, 0)
    store.answer(Flow((asked(), one("a", ties=Ties((first,))), one("b", ties=Ties((first,)))), SUBMITTER))
    store.commit(cancels(1))
    assert [store.job(id)["status"] for id in (2, 3)] == ["cancelled", "cancelled"]
    submit(store, one("a"))
    committed = store.commit(retries(1))
    assert [store.job(id)["status"] for id in (2, 3)] == ["cancelled", "pending"]
    assert [line.message for line in committed.lines if line.job_id == 2] == [
        "Background job stays cancelled: job 4 has its unique key"
    ]
    assert submit(store, one("b")) == Stored(3, created=False)


def test_a_refused_request_leaves_no_key(store: Store) -> None:
    submit(store, one("held"))
    jobs = (one("new"), one("held", if_held=IfHeld.REFUSE))
    assert isinstance(store.answer(Submission(jobs, SUBMITTER)), DuplicateError)
    assert submit(store, one("new")) == Stored(2, created=True)
    assert keys(store) == [("held", 1), ("new", 2)]


def keys(store: Store) -> list[tuple[str, int]]:
    """Who is stored to hold which key."""
    return store.database.execute_sql("SELECT key, job_id FROM unique_keys ORDER BY key").fetchall()


def test_a_key_that_is_released_and_taken_again_in_one_transaction_is_held(store: Store) -> None:
    first = hold(store, "pending")
    store.commit(cancels(first), retries(first))
    assert keys(store) == [("k", first)]
    store.commit(cancels(first), retries(first), cancels(first))
    assert keys(store) == []


def test_of_two_that_one_end_revives_the_first_has_their_key(store: Store) -> None:
    store.answer(Flow((asked(), one(ties=Ties((Mentioned(Of.JOB, 0),)))), SUBMITTER))
    store.commit(cancels(1))
    store.answer(Flow((one(ties=Ties((Node(Of.JOB, 1),))),), SUBMITTER))
    store.commit(retries(1))
    assert [store.job(id)["status"] for id in (2, 3)] == ["pending", "cancelled"]
    assert keys(store) == [("k", 2)]


def test_an_attempt_of_which_nothing_but_the_end_is_seen_has_begun_as_well(store: Store) -> None:
    first = hold(store, "pending", holds_while=UniqueWhile.PENDING)
    store.claim(Lanes(1))
    store.commit(ends(first, Ending.not_started("no room"), number=1))
    assert keys(store) == [("k", first)]
    store.now = NOW + 60
    store.claim(Lanes(1))
    store.commit(ends(first, LOST, number=2))
    assert keys(store) == []


def test_the_request_that_made_a_job_is_known_by_its_idempotency_key_though_another_has_replaced_it(
    store: Store,
) -> None:
    first = one(idempotency_key="first", digest="1", parameters={"n": 1})
    again = one(if_held=IfHeld.REPLACE, digest="2", parameters={"n": 2})
    answer = store.answer(Submission((first, again), SUBMITTER))
    assert [(stored.id, stored.replaced) for stored in answer] == [(1, False), (1, True)]
    assert submit(store, first) == Stored(1, created=False)
    assert store.job(1)["parameters"] == '{"n":2}'
    together = Submission((again,), SUBMITTER), Submission((first,), SUBMITTER)
    assert [answer[0].id for answer in store.commit(*together).answers] == [1, 1]


def test_a_job_that_is_deleted_takes_its_key_along_unless_that_is_held_for_longer(store: Store) -> None:
    for key, held_for in (("none", None), ("short", 10.0), ("long", 3600.0)):
        store.commit(cancels(hold(store, "pending", key=key, held_for=held_for)))
    store.submit(asked())  # which has the newest entry
    store.now = NOW + 10
    assert keys(store) == [("long", 3), ("short", 2)]
    store.answer(Deletion((1, 2, 3), 10**9))
    assert keys(store) == [("long", 3)]
    assert submit(store, one("long")) == Stored(3, created=False)
    assert submit(store, one("short")) == Stored(5, created=True)


def test_keys_whose_time_has_passed_go_but_for_those_of_jobs_that_have_not_ended(store: Store) -> None:
    store.commit(cancels(hold(store, "pending", key="ended", held_for=10.0)))
    hold(store, "pending", key="waits", held_for=10.0)
    store.commit(cancels(hold(store, "pending", key="later", held_for=20.0)))
    with closing(Reader(store.state_dir)) as reader:
        assert reader.old.oldest_key() == NOW + 10
        store.now = NOW + 10
        assert store.answer(KeyTrimming()) == TrimmedKeys(1, None)
        assert keys(store) == [("later", 3), ("waits", 2)]
        assert reader.old.oldest_key() == NOW + 20
    store.commit(cancels(2))
    assert keys(store) == [("later", 3)]


def test_very_many_keys_go_a_part_at_a_time(store: Store) -> None:
    made = [one(f"{number:03}", held_for=10.0) for number in range(600)]
    store.answer(Submission(tuple(made), SUBMITTER))
    store.commit(cancels(*range(1, 551)))
    store.now = NOW + 10
    first = store.answer(KeyTrimming())
    assert (first.rows, first.next[3]) == (500, "499")
    assert store.answer(KeyTrimming(first.next)) == TrimmedKeys(50, None)
    assert len(keys(store)) == 50


@pytest.mark.parametrize("seed", range(5))
def test_whatever_happens_in_whatever_order_each_key_has_one_holder_and_the_books_say_so(
    store: Store, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        store.now += chance.choice((0.0, 0.0, 7.0))
        store.commit(*[deed(store, chance) for _ in range(chance.randint(1, 4))], lanes=Lanes(2))
        odd = list(audit_of_keys.odd_keys(lambda sql: store.database.execute_sql(sql).fetchall(), 100))
        assert odd == []
        twice = store.database.execute_sql(
            "SELECT unique_key FROM background_jobs WHERE finished_at IS NULL AND unique_while = 'unfinished' "
            "GROUP BY unique_key HAVING count(*) > 1"
        ).fetchall()
        assert twice == []


def deed(store: Store, chance: random.Random) -> Item:
    """Something that may be asked for, or happen to an attempt that runs."""
    running = store.database.execute_sql(
        "SELECT j.id, max(a.number) FROM background_jobs AS j JOIN job_attempts AS a "
        "ON a.job_id = j.id WHERE j.status = 'running' GROUP BY j.id"
    ).fetchall()
    (count,) = store.database.execute_sql("SELECT count(*) FROM background_jobs").fetchone()
    job_id = chance.randint(1, count + 1)
    match chance.randint(0, 5):
        case 0 | 1 if running:
            job_id, number = chance.choice(running)
            ending = chance.choice((COMPLETED, FAILED, LOST, Ending.not_started("no room")))
            return chance.choice((starts(job_id, number), ends(job_id, ending, number)))
        case 2:
            return cancels(job_id)
        case 3:
            return retries(job_id)
        case _:
            given = {
                "holds_while": chance.choice(list(UniqueWhile)),
                "held_for": chance.choice((None, None, 10.0)),
                "if_held": chance.choice(list(IfHeld)),
            }
            after = Ties((Node(Of.JOB, job_id),)) if job_id <= count and chance.random() < 0.3 else None
            fact = one(chance.choice("ab"), ties=after, **given)
            return Submission((fact,), SUBMITTER) if after is None else Flow((fact,), SUBMITTER)


# What else may come in the same transaction, or in its stead


def behind(*keys: str) -> Flow:
    """A job, and after it one with each of these keys."""
    return Flow((asked(), *[one(key, ties=Ties((Mentioned(Of.JOB, 0),))) for key in keys]), SUBMITTER)


def test_a_job_that_is_retried_together_with_what_kept_it_takes_its_key_again(store: Store) -> None:
    store.answer(behind("k"))
    store.commit(cancels(2))
    store.commit(cancels(1))
    store.commit(retries(1, 2))
    assert store.job(2)["status"] == Status.PENDING
    assert submit(store, one()) == Stored(2, created=False)


def test_a_retry_together_with_what_kept_it_is_refused_where_another_has_the_key(store: Store) -> None:
    store.answer(behind("k"))
    store.commit(cancels(1))
    submit(store, one())
    refused = store.answer(retries(1, 2))
    assert isinstance(refused, DuplicateError)
    assert [store.job(id)["status"] for id in (1, 2)] == ["cancelled", "cancelled"]


def test_what_was_kept_once_stays_so_when_the_key_is_free_again(store: Store) -> None:
    store.answer(behind("k"))
    store.commit(cancels(1))
    submit(store, one())
    store.commit(retries(1))
    assert (store.job(2)["error"], store.job(2)["cancelled_after"]) == (
        "cancelled: job 3 has its unique key",
        None,
    )
    store.commit(cancels(3))
    store.claim(Lanes(1))
    store.commit(starts(1), ends(1, COMPLETED))
    assert store.job(2)["status"] == Status.CANCELLED


def test_a_flow_with_a_held_key_has_the_holder_in_its_stead_also_where_that_is_in_a_group(
    store: Store,
) -> None:
    group = Mentioned(Of.GROUP, 0)
    jobs = (one(ties=Ties(group=group)), asked(ties=Ties((Mentioned(Of.JOB, 0),))))
    flow = Flow(jobs, SUBMITTER, (NewGroup(),))
    first, again = store.answer(flow), store.answer(flow)
    assert [one.id for one in first.jobs] == [1, 2]
    assert [one.id for one in again.jobs] == [1, 3]


def test_a_replaced_job_that_is_cancelled_and_retried_at_once_does_not_expire(store: Store) -> None:
    submit(store, one())
    again = one(if_held=IfHeld.REPLACE, expires_at=NOW + 10)
    store.commit(Submission((again,), SUBMITTER), cancels(1), retries(1))
    assert store.job(1)["expires_at"] is None


def test_a_key_whose_holder_expires_now_is_free(store: Store) -> None:
    submit(store, one(expires_at=NOW + 10))
    store.now = NOW + 10
    assert submit(store, one()) == Stored(2, created=True)
    assert store.job(1)["status"] == Status.CANCELLED


def test_an_attempt_that_did_not_start_leaves_the_key_held(store: Store) -> None:
    submit(store, one(holds_while=UniqueWhile.PENDING, held_for=5.0))
    store.claim(Lanes(1))
    store.commit(ends(1, Ending.not_started("no memory")))
    store.now = NOW + 6
    assert submit(store, one()) == Stored(1, created=False)


def test_a_replacement_neither_shortens_the_time_nor_changes_whose_the_key_is(store: Store) -> None:
    submit(store, one(held_for=3600.0))
    managing = Submitter(OTHER.uid, 1, 1, may_manage=True)
    replacing = one(if_held=IfHeld.REPLACE, held_for=5.0)
    store.commit(Submission((replacing,), managing), Submission((replacing,), SUBMITTER))
    store.commit(cancels(1))
    store.now = NOW + 3599
    assert submit(store, one()) == Stored(1, created=False)
