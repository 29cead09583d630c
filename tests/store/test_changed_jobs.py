"""Jobs that are changed while they wait: by whom, all or none, and where they stand afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from bgjob.errors import (
    InvalidParameterError,
    InvalidStateError,
    JobNotFoundError,
    PermissionDeniedError,
    QueueFullError,
)
from bgjob.words import IfHeld, Removable, Status
from bgjobd.core.edges import Mentioned, Of, Ties
from bgjobd.core.facts import Changed
from bgjobd.core.planner import Lanes
from bgjobd.core.unique import Unique
from bgjobd.store.audit import Audit
from bgjobd.store.committed import Committed
from bgjobd.store.items.item import Item
from bgjobd.store.items.submissions import Flow, Submission
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobsChanged
from tests.store.samples import (
    FAILED,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    text,
)

OTHER = Submitter(uid=1002, gid=1002, pid=1)
MANAGER = Submitter(uid=0, gid=0, pid=1, may_manage=True)
UNKNOWN = Submitter(None, None, None)


def changes(*job_ids: int, by: Submitter = SUBMITTER, **given: Any) -> JobsChanged:
    return JobsChanged(job_ids, Changed(by.uid, **given), by)


def retrying(store: Store) -> int:
    job_id = store.run_one(expires_at=NOW + 5)
    store.commit(starts(job_id), ends(job_id, FAILED))
    return job_id


def test_whatever_a_job_waits_for_it_can_be_changed_and_its_log_says_who_has_changed_what(
    store: Store,
) -> None:
    store.answer(Flow((asked(), asked(ties=Ties((Mentioned(Of.JOB, 0),)))), SUBMITTER))
    (scheduled,) = store.submit(asked(scheduled_at=NOW + 60))
    ids = (1, 2, scheduled)
    new = {"queue": "mail", "scheduled_at": NOW + 9, "timeout": 2.5, "expires_at": NOW + 99, "max_retries": 0}
    assert store.answer(changes(*ids, priority=5, **new)) == ids
    for job_id in ids:
        stored = store.job(job_id)
        assert (stored["priority"], stored["queue"], stored["timeout"]) == (5, "mail", 2.5)
        assert (stored["scheduled_at"], stored["expires_at"]) == (text(NOW + 9), text(NOW + 99))
        assert (stored["max_retries"], stored["retry_delay"]) == (0, 5.0)
        assert store.messages(job_id)[-1].startswith(
            "Background job changed by uid 1000: priority from 0 to 5, queue from default to mail, at from "
        )
    assert [store.job(job_id)["ready"] for job_id in ids] == [0, 2, 0]
    assert store.answer(changes(1, without=frozenset({Removable.AT}))) == (1,)
    assert (store.job(1)["ready"], store.job(1)["expires_at"]) == (1, text(NOW + 99))


def test_a_retry_that_waits_starts_when_it_is_told_to(store: Store) -> None:
    job_id = retrying(store)
    store.commit(changes(job_id, without=frozenset({Removable.AT})))
    assert [claim.job.attempt for claim in store.claim(Lanes(1))] == [2]


def test_a_retry_that_waits_keeps_its_count_and_the_books_stay_right(store: Store) -> None:
    job_id = retrying(store)
    assert store.answer(changes(job_id, max_retries=1)) == (job_id,)
    refused = store.answer(changes(job_id, max_retries=0))
    assert isinstance(refused, InvalidParameterError)
    assert refused.parameters == {"parameter": "max_retries"}
    store.now += 60
    store.claim(Lanes(1))
    store.commit(starts(job_id, 2), ends(job_id, FAILED, 2))
    assert store.job(job_id)["status"] == Status.FAILED
    assert Audit(store.state_dir).oddities() == ()


@pytest.mark.parametrize("status", ["running", "failed", "cancelled"])
def test_what_runs_or_has_ended_cannot_be_changed_nor_then_any_of_the_others(
    store: Store, status: str
) -> None:
    job_id = store.run_one(retry_count=3)
    if status == "failed":
        store.commit(starts(job_id), ends(job_id, FAILED))
    elif status == "cancelled":
        (job_id,) = store.submit(asked())
        store.commit(cancels(job_id))
    (waiting,) = store.submit(asked())
    refused = store.answer(changes(waiting, job_id, priority=5, queue="mail"))
    assert isinstance(refused, InvalidStateError)
    assert refused.parameters == {"id": job_id, "status": status}
    assert (store.job(waiting)["priority"], len(store.messages(waiting))) == (0, 1)
    assert isinstance(store.answer(changes(waiting, 4711, priority=5)), JobNotFoundError)
    assert store.job(waiting)["priority"] == 0


@pytest.mark.parametrize(
    ("owner", "by", "may"),
    [
        (SUBMITTER, SUBMITTER, True),
        (SUBMITTER, OTHER, False),
        (SUBMITTER, MANAGER, True),
        (UNKNOWN, OTHER, False),
        (UNKNOWN, UNKNOWN, False),
        (UNKNOWN, MANAGER, True),
    ],
)
def test_a_job_is_changed_by_its_submitter_and_by_who_may_manage(
    store: Store, owner: Submitter, by: Submitter, may: bool
) -> None:
    store.answer(Submission((asked(),), owner))
    answer = store.answer(changes(1, by=by, priority=5))
    if may:
        assert answer == (1,)
    else:
        assert isinstance(answer, PermissionDeniedError)
        assert str(answer) == f"refused: job 1 is not of uid {by.uid}; who may manage may change it"
    assert store.job(1)["priority"] == (5 if may else 0)


def test_a_job_that_stays_as_it_was_is_not_told_of_and_not_touched(store: Store) -> None:
    store.submit(asked(priority=5), asked())
    store.now += 3
    committed = store.commit(changes(1, 2, priority=5, queue="default", max_retries=3))
    assert committed.answers == ((2,),)
    assert ([job.id for job in committed.changed], [line.job_id for line in committed.lines]) == ([2], [2])
    assert store.job(1)["updated_at"] == text(NOW)


def test_a_higher_priority_goes_first_and_a_time_puts_off(store: Store) -> None:
    store.submit(asked(), asked(), asked())
    store.commit(changes(3, priority=1), changes(1, scheduled_at=NOW + 10))
    committed = store.commit(lanes=Lanes(3))
    assert [claim.job.id for claim in committed.claims] == [3, 2]
    assert committed.next_due == NOW + 10


def test_in_another_queue_a_job_counts_where_it_waits_and_is_refused_where_that_is_full(store: Store) -> None:
    lanes = Lanes(0, {"default": None, "mail": None}, max_pending={"mail": 2})
    store.submit(asked(), asked(), asked(queue="mail"))

    def counted(committed: Committed) -> tuple[int, int]:
        tally = committed.tally
        return tally.of_queue("default", Status.PENDING), tally.of_queue("mail", Status.PENDING)

    both = store.commit(changes(1, 2, queue="mail"), lanes=lanes)
    assert isinstance(both.answers[0], QueueFullError)
    assert counted(both) == (2, 1)
    one = store.commit(changes(1, queue="mail"), changes(2, queue="mail"), lanes=lanes)
    assert one.answers[0] == (1,)
    assert isinstance(one.answers[1], QueueFullError)
    assert counted(one) == (1, 2)
    assert store.commit(changes(1, 3, queue="mail", priority=1), lanes=lanes).answers == ((1, 3),)


def test_a_new_time_to_start_by_holds_at_once_and_can_be_taken_away(store: Store) -> None:
    store.submit(asked(), asked(expires_at=NOW + 5), asked(expires_at=NOW + 5))
    committed = store.commit(
        changes(1, expires_at=NOW + 10), changes(2, without=frozenset({Removable.EXPIRES_AT}))
    )
    assert committed.next_due == NOW + 5
    store.now = NOW + 5
    assert [job.id for job in store.commit().ended] == [3]
    store.now = NOW + 10
    assert [job.id for job in store.commit().ended] == [1]
    assert store.job(2)["status"] == Status.PENDING


UNIQUE = Unique("k", if_held=IfHeld.REPLACE)
REPLACES = Submission((asked(unique=UNIQUE, queue="later", priority=2, expires_at=NOW + 20),), MANAGER)
CHANGES = changes(1, queue="mail", priority=1, expires_at=NOW + 10)


@pytest.mark.parametrize(
    ("items", "terms"),
    [
        ((REPLACES, CHANGES), ("mail", 1, NOW + 10)),
        ((CHANGES, REPLACES), ("later", 2, NOW + 20)),
        ((CHANGES, cancels(1), retries(1)), ("mail", 1, None)),
        ((cancels(1), retries(1), CHANGES), ("mail", 1, NOW + 10)),
        ((cancels(1), retries(1), REPLACES), ("later", 2, NOW + 20)),
        ((CHANGES, changes(1, queue="default", priority=0)), ("default", 0, NOW + 10)),
    ],
)
def test_of_what_one_transaction_makes_of_a_jobs_terms_the_last_holds(
    store: Store, items: tuple[Item, ...], terms: tuple[str, int, float | None]
) -> None:
    store.submit(asked(unique=UNIQUE))
    store.commit(*items)
    stored = store.job(1)
    queue, priority, expires_at = terms
    assert (stored["queue"], stored["priority"], stored["expires_at"]) == (queue, priority, text(expires_at))
