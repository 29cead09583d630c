"""Jobs that have to start by a time: who has got no slot by then is cancelled, in whatever way it waits."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from peewee import DatabaseError

from bgjob.words import IfFailed, Status
from bgjobd.core.edges import Mentioned, Of, Ties
from bgjobd.core.planner import Lanes
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.holds import QueuePaused
from bgjobd.store.items.submissions import Flow
from bgjobd.store.ledger import Ledger
from tests.store.samples import (
    BOOT,
    FAILED,
    NO_SLOTS,
    NOW,
    SUBMITTER,
    Store,
    asked,
    cancels,
    ends,
    overhear,
    retries,
    starts,
    submission,
)


def status(store: Store, job_id: int) -> str:
    return str(store.job(job_id)["status"])


def test_a_job_that_got_no_slot_in_time_is_cancelled_and_one_that_did_runs(store: Store) -> None:
    first, late, scheduled = store.submit(
        asked(expires_at=NOW + 10),
        asked(expires_at=NOW + 10),
        asked(expires_at=NOW + 20, scheduled_at=NOW + 15),
    )
    committed = store.commit(lanes=Lanes(1))
    assert [claim.job.id for claim in committed.claims] == [first]
    assert committed.next_due == NOW + 10
    store.now = NOW + 10
    committed = store.commit(lanes=Lanes(1))
    assert [job.id for job in committed.ended] == [late]
    assert store.job(late)["error"] == "expired: not started by 2024-12-04T14:32:03.000000Z"
    assert (status(store, first), status(store, scheduled)) == ("running", "pending")
    assert committed.next_due == NOW + 20
    store.now = NOW + 25
    assert [job.id for job in store.commit(lanes=Lanes(1)).ended] == [scheduled]
    assert store.commit(lanes=Lanes(1)).next_due is None


def test_once_it_had_a_slot_it_counts_no_more(store: Store) -> None:
    job_id = store.run_one(expires_at=NOW + 10)
    store.commit(starts(job_id), ends(job_id, FAILED))
    store.now = NOW + 20
    assert store.commit(lanes=Lanes(1)).ended == ()
    assert status(store, job_id) in (Status.PENDING, Status.RUNNING)


def test_a_paused_queue_stops_no_clock_and_a_retry_takes_the_time_away(store: Store) -> None:
    (job_id,) = store.submit(asked(expires_at=NOW + 10))
    store.commit(QueuePaused("default"))
    store.now = NOW + 10
    assert [job.id for job in store.commit(lanes=Lanes(1)).ended] == [job_id]
    store.commit(retries(job_id))
    store.now = NOW + 100
    assert store.commit(lanes=Lanes(1)).ended == ()
    assert (status(store, job_id), store.job(job_id)["expires_at"]) == ("pending", None)


def test_what_comes_after_it_sees_a_cancel_and_a_blocked_one_expires_too(store: Store) -> None:
    first = Mentioned(Of.JOB, 0)
    jobs = [
        asked(expires_at=NOW + 10),
        asked(ties=Ties((first,))),
        asked(ties=Ties((first,), IfFailed.RUN)),
        asked(ties=Ties((Mentioned(Of.JOB, 2),)), expires_at=NOW + 5),
    ]
    store.answer(Flow(tuple(jobs), SUBMITTER))
    store.now = NOW + 5
    assert [job.id for job in store.commit().ended] == [4]
    store.now = NOW + 10
    store.commit(lanes=Lanes(1))
    assert [status(store, job_id) for job_id in (1, 2, 3)] == ["cancelled", "cancelled", "running"]


def test_of_very_many_that_expire_some_end_at_once_and_the_next_transaction_is_due(store: Store) -> None:
    store.submit(*[asked(expires_at=NOW + 10) for _ in range(250)])
    store.now = NOW + 10
    ended = [store.commit(lanes=Lanes(0)) for _ in range(3)]
    assert [len(one.ended) for one in ended] == [100, 100, 50]
    assert [one.next_due for one in ended] == [NOW + 10, NOW + 10, None]


def test_of_more_than_end_at_once_none_starts_after_its_time(store: Store) -> None:
    store.submit(*[asked(expires_at=NOW + 10) for _ in range(150)])
    store.now = NOW + 10
    committed = store.commit(lanes=Lanes(200))
    assert (len(committed.ended), committed.claims, committed.next_due) == (100, (), NOW + 10)
    assert len(store.commit(lanes=Lanes(200)).ended) == 50


def test_what_a_workflow_has_revived_expires_as_well(store: Store) -> None:
    store.answer(Flow((asked(), asked(ties=Ties((Mentioned(Of.JOB, 0),)), expires_at=NOW + 10)), SUBMITTER))
    store.commit(cancels(1))
    store.now = NOW + 5
    assert store.commit(submission(asked(expires_at=NOW + 6))).next_due == NOW + 6
    store.now = NOW + 7
    assert store.commit(lanes=Lanes(0)).next_due is None
    assert store.commit(retries(1)).next_due == NOW + 10
    store.now = NOW + 10
    assert [job.id for job in store.commit(lanes=Lanes(0)).ended] == [2]


def test_a_first_transaction_that_fails_leaves_known_what_expires(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.submit(asked(expires_at=NOW + 10))
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    trouble = [full]

    def before(sql: str) -> None:
        if sql == "COMMIT" and trouble:
            raise trouble.pop()

    overhear(store.database, before)
    anew = Ledger(store.database, BOOT, lambda: 1.0)
    with pytest.raises(DatabaseError):
        anew.commit([cancels(1)], NO_SLOTS, NOW)
    committed = anew.commit([Look()], NO_SLOTS, NOW)
    assert committed.next_due == NOW + 10
    assert [job.id for job in anew.commit([Look()], NO_SLOTS, NOW + 10).ended] == [1]
    store.close()
