"""Jobs that wait for time or a signal: each wait is settled where the next slot is granted, once and for good."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bgjob.errors import (
    InvalidStateError,
    JobNotFoundError,
    PermissionDeniedError,
    QueueFullError,
    TooLargeError,
    TooManySignalsError,
)
from bgjob.words import (
    MOST_SIGNAL_BYTES,
    MOST_SIGNALS,
    MOST_STEP_BYTES,
    MOST_STEPS,
    Outcome,
    Removable,
    UniqueWhile,
)
from bgjobd.core.facts import Changed, ClockJumped
from bgjobd.core.gate import KeyRules, Share
from bgjobd.core.job import RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.core.rates import Rate
from bgjobd.core.unique import Unique
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.retention import Deletion
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.items.wishes import JobsChanged, Signal
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NOW,
    STOPPED,
    SUBMITTER,
    Row,
    Store,
    asked,
    begun,
    cancels,
    does,
    done,
    ends,
    retries,
    signal,
    statements_run_on,
    submission,
    text,
    waits,
)

ONE = Lanes(1)
DAY = 86_400.0


TIME_CAME = "Background job goes on: its time came"
DISPATCHED = "Background job dispatched on Linux platform"


def outcomes(store: Store, job_id: int) -> list[tuple[Any, ...]]:
    """The waits in the order in which they were settled, at the end an open one: kind, name, turn, and what came."""
    rows = store.rows(
        "SELECT * FROM job_steps WHERE kind <> 'step' AND job_id = ? ORDER BY number IS NULL, number", job_id
    )
    return [(row["kind"], row["name"], row["turn"], _outcome(row)) for row in rows]


def _outcome(row: Row) -> Any:
    if row["number"] is None:
        return "open"
    if row["timed_out"]:
        return "late"
    return None if row["result"] is None else json.loads(row["result"])


def stands(store: Store, job_id: int) -> tuple[Any, ...]:
    row = store.job(job_id)
    return row["status"], row["ready"], row["waiting_on"], row["scheduled_at"]


def taken(store: Store, job_id: int) -> list[str | None]:
    rows = store.rows("SELECT taken_by FROM job_signals WHERE job_id = ? ORDER BY number", job_id)
    return [row["taken_by"] for row in rows]


def starts_now(store: Store) -> list[int]:
    return [claim.job.id for claim in store.claim(ONE)]


# Sleeps


def test_a_sleep_is_over_at_its_time_and_no_slot_is_taken_meanwhile(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(waits(job_id, "sleep", delay=60.0), lanes=ONE)
    assert committed.next_due == NOW + 60
    assert stands(store, job_id) == ("pending", 4, "sleep 1", text(NOW + 60))
    assert outcomes(store, job_id) == [("sleep", "", 1, "open")]
    assert store.messages(job_id)[-1] == "Background job sleeps until 2024-12-04 14:32:53 UTC"
    store.now += 59.5
    assert starts_now(store) == []
    store.now += 0.5
    (claim,) = store.claim(ONE)
    assert claim.waited == 0.0
    assert store.messages(job_id)[-2:] == [TIME_CAME, DISPATCHED]
    assert json.loads(claim.carry or "") == {
        "steps": [],
        "waits": [["sleep", "", 1, None, False]],
        "state": None,
        "emitted": 0,
    }
    assert stands(store, job_id) == ("running", 1, None, text(NOW + 60))
    assert (store.job(job_id)["steps"], store.job(job_id)["retry_count"]) == (1, 0)


def test_a_sleep_of_no_time_goes_on_in_the_same_transaction(store: Store) -> None:
    job_id = store.run_one()
    (claim,) = store.commit(waits(job_id, "sleep", delay=0.0), lanes=ONE).claims
    assert claim.job.attempt == 2
    assert outcomes(store, job_id) == [("sleep", "", 1, None)]


def test_one_that_sleeps_until_an_instant_that_has_passed_goes_on_at_once(store: Store) -> None:
    job_id = store.run_one()
    assert store.commit(waits(job_id, "until", until=NOW - DAY), lanes=ONE).claims


@pytest.mark.parametrize("kind", ["sleep", "until"])
def test_a_forged_sleep_without_a_time_goes_on_at_once(store: Store, kind: str) -> None:
    job_id = store.run_one()
    assert store.commit(waits(job_id, kind), lanes=ONE).claims
    assert outcomes(store, job_id) == [(kind, "", 1, None)]


def test_waits_spend_no_retry_and_forgive_none(store: Store) -> None:
    job_id = store.run_one(retry_count=2)
    store.commit(waits(job_id, "sleep", delay=0.0), lanes=ONE)
    store.commit(ends(job_id, FAILED, 2))
    assert store.job(job_id)["retry_count"] == 3
    store.now += DAY
    store.claim(ONE)
    store.commit(waits(job_id, "sleep", turn=2, delay=0.0, number=3), lanes=ONE)
    store.commit(ends(job_id, FAILED, 4))
    assert store.job(job_id)["status"] == "failed"


def test_who_has_no_retries_goes_on_after_a_wait_all_the_same(store: Store) -> None:
    job_id = store.run_one(policy=RetryPolicy(max_retries=0))
    assert store.commit(waits(job_id, "sleep", delay=0.0), lanes=ONE).claims


# Signals and their time


def test_a_signal_before_the_wait_is_taken_by_it(store: Store) -> None:
    job_id = store.run_one()
    store.commit(signal(job_id, payload={"parcels": 2}))
    (claim,) = store.commit(waits(job_id, delay=DAY), lanes=ONE).claims
    assert claim.job.attempt == 2
    told = [one for one in store.messages(job_id) if "got signal" in one]
    assert told == ["Background job got signal packed from uid 1000"]
    assert outcomes(store, job_id) == [("signal", "packed", 1, {"parcels": 2})]
    assert taken(store, job_id) == ["packed 1"]


def test_a_signal_at_the_wait_is_taken_by_it_whichever_comes_first(store: Store) -> None:
    for order in (1, -1):
        job_id = store.run_one()
        assert store.commit(*[waits(job_id), signal(job_id, payload=7)][::order], lanes=ONE).claims
        assert outcomes(store, job_id) == [("signal", "packed", 1, 7)]
        store.commit(ends(job_id, COMPLETED, 2))


def test_a_signal_after_the_wait_ends_it_and_one_of_another_name_does_not(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(waits(job_id), lanes=ONE)
    assert (committed.next_due, committed.claims) == (None, ())
    assert stands(store, job_id) == ("pending", 4, "signal packed", None)
    assert store.messages(job_id)[-1] == "Background job waits for signal packed"
    assert store.commit(signal(job_id, "sent"), lanes=ONE).claims == ()
    (claim,) = store.commit(signal(job_id, payload=[1]), lanes=ONE).claims
    assert json.loads(claim.carry or "")["waits"] == [["signal", "packed", 1, "[1]", False]]
    assert "Background job got signal packed from uid 1000" in store.messages(job_id)
    assert taken(store, job_id) == [None, "packed 1"]


def test_a_wait_whose_time_is_up_is_late_and_the_signal_is_for_the_next(store: Store) -> None:
    job_id = store.run_one()
    assert store.commit(waits(job_id, delay=60.0), lanes=ONE).next_due == NOW + 60
    assert (
        store.messages(job_id)[-1] == "Background job waits for signal packed until 2024-12-04 14:32:53 UTC"
    )
    store.now += 60
    assert starts_now(store) == [job_id]
    assert store.messages(job_id)[-2:] == [TIME_CAME, DISPATCHED]
    store.commit(signal(job_id, payload=1))
    store.commit(waits(job_id, turn=2, delay=60.0, number=2), lanes=ONE)
    assert outcomes(store, job_id) == [("signal", "packed", 1, "late"), ("signal", "packed", 2, 1)]
    assert taken(store, job_id) == ["packed 2"]


def test_a_signal_after_the_time_and_before_the_slot_is_taken(store: Store) -> None:
    other = store.run_one()
    store.commit(waits(other, delay=60.0))
    job_id = store.run_one()
    store.now += 61
    assert store.claim(ONE) == []  # the other has the slot
    store.commit(signal(other, payload=1), lanes=ONE)
    assert store.commit(ends(job_id, COMPLETED), lanes=ONE).claims
    assert outcomes(store, other) == [("signal", "packed", 1, 1)]
    assert TIME_CAME not in store.messages(other)


def test_a_signal_after_it_was_made_ready_by_its_time_is_taken_too(store: Store) -> None:
    first, second = store.run_one(), store.run_one()
    store.commit(waits(first, delay=60.0), waits(second, delay=60.0))
    store.now += 61
    assert starts_now(store) == [first]
    assert stands(store, second)[:3] == ("pending", 1, "signal packed")
    store.commit(signal(second, payload=1), ends(first, COMPLETED, 2), lanes=ONE)
    assert outcomes(store, second) == [("signal", "packed", 1, 1)]


def test_signals_queue_by_name_and_each_wait_takes_the_oldest(store: Store) -> None:
    job_id = store.run_one()
    store.commit(*[signal(job_id, name, n) for n, name in enumerate(["a", "b", "a", "b"])])
    for number, (name, turn) in enumerate([("b", 1), ("a", 1), ("b", 2), ("a", 2)], 1):
        store.commit(waits(job_id, name=name, turn=turn, number=number), lanes=ONE)
    assert [outcome for *_, outcome in outcomes(store, job_id)] == [1, 0, 3, 2]
    assert taken(store, job_id) == ["a 1", "b 1", "a 2", "b 2"]


def test_an_attempt_that_does_not_start_leaves_its_outcome_to_the_next(store: Store) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id), signal(job_id, payload=1), lanes=ONE)
    store.commit(ends(job_id, LOST, 2), signal(job_id, payload=2))
    store.now += DAY
    (claim,) = store.claim(ONE)
    assert json.loads(claim.carry or "")["waits"] == [["signal", "packed", 1, "1", False]]
    assert taken(store, job_id) == ["packed 1", None]


def test_one_that_waits_again_for_what_is_settled_has_failed_and_waits_for_nothing(store: Store) -> None:
    """Its journal is its own work."""
    job_id = store.run_one()
    store.commit(waits(job_id), signal(job_id), lanes=ONE)
    store.commit(waits(job_id, number=2), lanes=ONE)
    assert stands(store, job_id)[:3] == ("failed", 1, None)
    assert (
        store.job(job_id)["error"]
        == "StepError: it waits for what is settled, or once too often, or has no room"
    )
    assert len(outcomes(store, job_id)) == 1


def test_waits_are_among_the_thousand_steps(store: Store) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, *[done(f"step {number}") for number in range(MOST_STEPS - 1)]))
    assert store.commit(waits(job_id, "sleep", delay=0.0), lanes=ONE).claims
    store.commit(does(job_id, begun("one more"), done("one more"), number=2))
    assert store.job(job_id)["steps"] == MOST_STEPS
    store.commit(waits(job_id, "sleep", turn=2, delay=0.0, number=2))
    assert store.job(job_id)["status"] == "failed"


# Signals: who, how many, how large


def test_a_signal_comes_once_by_its_key(store: Store) -> None:
    job_id = store.run_one()
    assert store.answer(signal(job_id, payload=1, key="hook-7")) == (job_id, True)
    assert store.answer(signal(job_id, payload=2, key="hook-7")) == (job_id, False)
    both = store.commit(signal(job_id, key="hook-8"), signal(job_id, key="hook-8"))
    assert both.answers == ((job_id, True), (job_id, False))
    assert [row["payload"] for row in store.rows("SELECT payload FROM job_signals")] == ["1", "null"]
    store.commit(waits(job_id), lanes=ONE)
    assert store.answer(signal(job_id, key="hook-7")) == (job_id, False)
    store.commit(ends(job_id, COMPLETED, 2))
    assert store.answer(signal(job_id, key="hook-7")) == (job_id, False)


def test_a_hundred_signals_wait_and_no_more_but_a_known_one_is_answered(store: Store) -> None:
    job_id = store.run_one()
    answers = store.commit(*[signal(job_id, key=f"k{n}") for n in range(MOST_SIGNALS + 1)]).answers
    refused = answers[-1]
    assert isinstance(refused, TooManySignalsError)
    assert refused.parameters == {"id": job_id, "limit": MOST_SIGNALS}
    assert store.answer(signal(job_id, key="k7")) == (job_id, False)
    store.commit(waits(job_id), lanes=ONE)
    assert store.answer(signal(job_id)) == (job_id, True)


def test_untaken_signals_take_a_mebibyte_in_bytes(store: Store) -> None:
    job_id = store.run_one()
    half = "ü" * (MOST_SIGNAL_BYTES // 4 - 1)  # with its quotes exactly a half
    assert store.commit(signal(job_id, payload=half), signal(job_id, payload=half)).answers[1] == (
        job_id,
        True,
    )
    assert isinstance(store.answer(signal(job_id, payload=1)), TooLargeError)
    store.commit(waits(job_id), lanes=ONE)
    assert store.answer(signal(job_id, payload=1)) == (job_id, True)


def test_who_may_send_signals(store: Store) -> None:
    job_id = store.run_one()
    mine = signal(job_id)
    other = replace(mine, submitter=Submitter(uid=2000, gid=2000, pid=1))
    assert isinstance(store.answer(other), PermissionDeniedError)
    assert isinstance(
        store.answer(replace(mine, submitter=Submitter(None, None, None))), PermissionDeniedError
    )
    assert store.answer(replace(other, submitter=other.submitter._replace(may_manage=True))) == (job_id, True)
    assert store.rows("SELECT uid FROM job_signals") == [{"uid": 2000}]


def test_a_signal_finds_its_job_by_its_idempotency_key_in_the_very_transaction_that_stores_it(
    store: Store,
) -> None:
    by_key = Signal(None, "order-7", "packed", "1", "k", SUBMITTER)
    committed = store.commit(submission(asked(idempotency_key="order-7")), by_key)
    assert committed.answers[1] == (1, True)
    assert store.answer(by_key) == (1, False)
    missing = store.answer(replace(by_key, key="order-8"))
    assert isinstance(missing, JobNotFoundError)
    assert missing.parameters == {"id": 0, "key": "order-8"}
    assert isinstance(store.answer(signal(99)), JobNotFoundError)


@pytest.mark.parametrize("ending", [COMPLETED, replace(FAILED, may_retry=False)])
def test_a_job_that_has_ended_hears_of_no_signal(store: Store, ending: Any) -> None:
    job_id = store.run_one()
    store.commit(signal(job_id), ends(job_id, ending))
    refused = store.answer(signal(job_id))
    assert isinstance(refused, InvalidStateError)
    assert taken(store, job_id) == [None]


def test_a_job_that_has_not_begun_keeps_its_signals(store: Store) -> None:
    (job_id,) = store.submit(asked(scheduled_at=NOW + 60, retry_count=2))
    store.commit(signal(job_id, payload=1))
    assert stands(store, job_id) == ("pending", 0, None, text(NOW + 60))
    assert store.job(job_id)["retry_count_at_submit"] == 2
    store.now += 60
    (claim,) = store.claim(ONE)
    assert claim.carry is None


# Cancel, delete, replace


def test_a_cancel_ends_one_that_waits_at_once_and_its_wait_goes(store: Store) -> None:
    slept, waited = store.run_one(), store.run_one()
    store.commit(waits(slept, "sleep", delay=60.0), waits(waited, delay=60.0))
    committed = store.commit(cancels(slept, waited))
    assert [job.id for job in committed.ended] == [slept, waited]
    for job_id in (slept, waited):
        assert stands(store, job_id)[0] == "cancelled"
        assert store.job(job_id)["waiting_on"] is None
        assert outcomes(store, job_id) == []
    store.commit(retries(waited), lanes=ONE)
    assert stands(store, waited)[0] == "running"
    assert starts_now(store) == []


def test_an_attempt_that_ends_to_wait_once_a_cancel_was_asked_for_waits_for_nothing(store: Store) -> None:
    job_id = store.run_one()
    store.commit(cancels(job_id), waits(job_id, delay=60.0))
    assert stands(store, job_id)[0] == "cancelled"
    assert (outcomes(store, job_id), store.job(job_id)["waiting_on"]) == ([], None)
    assert store.attempts(job_id)[0]["outcome"] == Outcome.SUSPENDED


def test_what_a_job_has_goes_with_it(store: Store) -> None:
    job_id, told, plain = store.run_one(), store.run_one(), store.run_one()
    store.commit(does(job_id, done("a")), waits(job_id), signal(job_id), signal(told), lanes=Lanes(9))
    store.commit(ends(job_id, COMPLETED, 2), ends(told, COMPLETED), ends(plain, COMPLETED))
    store.submit(asked())
    assert (store.count("job_steps"), store.count("job_signals")) == (2, 2)
    with statements_run_on(store.database) as run:
        store.commit(Deletion((plain,), 10**9))
    assert not any("job_steps" in sql or "job_signals" in sql for sql in run)
    store.commit(Deletion((job_id,), 10**9))
    store.commit(Deletion((told,), 10**9))
    assert (store.count("job_steps"), store.count("job_signals")) == (0, 0)


def test_the_retries_that_a_replacing_request_brings_are_those_at_the_submit(store: Store) -> None:
    unique = Unique("k", if_held="replace")  # type: ignore[arg-type]
    store.submit(asked(unique=unique, retry_count=2, scheduled_at=NOW + 60))
    store.submit(asked(unique=unique, retry_count=1))
    assert store.job(1)["retry_count_at_submit"] == 1
    store.claim(ONE)
    store.commit(does(1, done("a")), ends(1, FAILED))
    assert store.job(1)["retry_count"] == 2


# Clocks


def test_sleeps_and_timeouts_move_with_a_clock_that_is_set_and_an_instant_does_not(store: Store) -> None:
    ids = [store.run_one() for _ in range(4)]
    store.commit(
        waits(ids[0], "sleep", delay=60.0),
        waits(ids[1], delay=60.0),
        waits(ids[2], "until", until=NOW + 60),
        waits(ids[3]),
    )
    store.now += DAY
    store.commit(ClockJumped(DAY), lanes=ONE.closed())
    at = [stands(store, id)[3] for id in ids]
    assert at == [text(NOW + DAY + 60), text(NOW + DAY + 60), text(NOW + 60), None]
    assert [row["until"] for row in store.rows("SELECT until FROM job_steps ORDER BY job_id")] == at
    assert starts_now(store) == [ids[2]]


def test_a_clock_that_was_set_back_while_nobody_ran_makes_no_wait_longer(store: Store) -> None:
    ids = [store.run_one() for _ in range(3)]
    store.now += DAY
    store.commit(
        waits(ids[0], "sleep", delay=60.0), waits(ids[1], delay=60.0), waits(ids[2], "until", until=NOW + 60)
    )
    store.now -= DAY
    store.close()
    store.open()
    store.commit(DaemonStarted())
    at = [stands(store, id)[3] for id in ids]
    assert at == [text(NOW + 60)] * 3
    assert [row["until"] for row in store.rows("SELECT until FROM job_steps ORDER BY job_id")] == at
    store.commit(DaemonStarted())
    assert [stands(store, id)[3] for id in ids] == at


# Places, turns, rates, room


@pytest.mark.parametrize("kind", ["sleep", "signal"])
def test_who_waits_has_no_place_of_its_key_and_comes_in_as_a_retry_does(store: Store, kind: str) -> None:
    lanes = Lanes(9, keys={"default": KeyRules(slots=1)})
    store.commit(submission(asked(key="a"), asked(key="a")), lanes=lanes)
    (claim,) = store.commit(waits(1, kind, delay=60.0), lanes=lanes).claims
    assert claim.job.id == 2
    store.now += 60
    assert store.claim(lanes) == []
    assert stands(store, 1)[1] == 3
    assert store.commit(Look(), lanes=lanes).tally.behind_of("default") == 1
    assert [claim.job.id for claim in store.commit(ends(2, COMPLETED), lanes=lanes).claims] == [1]


def test_a_signal_has_it_come_in_behind_its_key_too(store: Store) -> None:
    lanes = Lanes(9, keys={"default": KeyRules(slots=1)})
    store.commit(submission(asked(key="a"), asked(key="a")), lanes=lanes)
    store.commit(waits(1), lanes=lanes)
    store.commit(signal(1), lanes=lanes)
    assert stands(store, 1)[1] == 3
    assert [claim.job.id for claim in store.commit(ends(2, COMPLETED), lanes=lanes).claims] == [1]


@pytest.mark.parametrize("key", ["a", None])
@pytest.mark.parametrize("wakes", ["signal", "time"])
def test_where_keys_take_turns_who_wakes_has_its_turn(store: Store, wakes: str, key: str | None) -> None:
    lanes = Lanes(1, keys={"default": KeyRules(share=Share.KEY)})
    store.commit(submission(asked(key=key), asked(key="b")), lanes=lanes)
    store.commit(waits(1, delay=60.0), lanes=lanes)
    if wakes == "signal":
        store.commit(signal(1), lanes=lanes)
    else:
        store.now += 60
    assert [claim.job.id for claim in store.commit(ends(2, COMPLETED), lanes=lanes).claims] == [1]


def test_each_start_after_a_wait_counts_for_the_rate_of_its_key(store: Store) -> None:
    lanes = Lanes(9, keys={"default": KeyRules(rate=Rate(1, 10.0))})
    store.commit(submission(asked(key="a")), lanes=lanes)
    assert store.commit(waits(1, "sleep", delay=1.0), lanes=lanes).claims == ()
    store.now += 5
    assert store.claim(lanes) == []
    store.now += 5
    assert store.claim(lanes)


def test_who_waits_keeps_its_unique_key_and_gives_one_away_that_ends_with_the_first_attempt(
    store: Store,
) -> None:
    unfinished, pending = Unique("a"), Unique("b", UniqueWhile.PENDING)
    store.submit(asked(unique=unfinished), asked(unique=pending))
    store.claim(Lanes(2))
    store.commit(waits(1, "sleep", delay=DAY), waits(2))
    assert store.submit(asked(unique=unfinished), asked(unique=pending)) == [1, 3]


def test_who_waits_takes_no_room_in_its_queue_and_is_not_refused_when_due(store: Store) -> None:
    lanes = Lanes(1, max_pending={"default": 1}).closed()
    slept, waited = store.run_one(), store.run_one()
    store.commit(waits(slept, "sleep", delay=60.0), waits(waited, delay=60.0))
    (first,) = store.commit(submission(asked()), lanes=lanes).answers
    (second,) = store.commit(submission(asked()), lanes=lanes).answers
    assert first[0].created
    assert isinstance(second, QueueFullError)
    tally = store.commit(Look()).tally
    assert (tally.waiting, tally.waiting_of("default"), tally.of_queue("default", "pending")) == (2, 2, 3)  # type: ignore[arg-type]
    store.now += 60
    assert store.claim(Lanes(9))
    assert store.commit(Look()).tally.jobs == {"running": 3}


def test_one_that_waits_is_moved_to_a_queue_with_all_that_is_counted_of_it(store: Store) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id, "sleep", delay=60.0))
    committed = store.commit(JobsChanged((job_id,), Changed(1000, queue="mail"), SUBMITTER))
    assert committed.answers == ((job_id,),)
    assert (committed.tally.waiting_of("default"), committed.tally.waiting_of("mail")) == (0, 1)
    store.now += 60
    assert [claim.job.id for claim in store.claim(Lanes(1, {"mail": None}))] == [job_id]


@pytest.mark.parametrize(("kind", "delay"), [("sleep", 60.0), ("signal", 60.0), ("signal", None)])
@pytest.mark.parametrize("at", [NOW + 5, None])
def test_it_is_told_to_wait_until_the_time_that_it_was_given_since(
    store: Store, kind: str, delay: float | None, at: float | None
) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, begun("a")), waits(job_id, kind, delay=delay))
    without = frozenset({Removable.AT}) if at is None else frozenset[Removable]()
    store.answer(JobsChanged((job_id,), Changed(1000, scheduled_at=at, without=without), SUBMITTER))
    told = store.rows("SELECT until FROM job_steps WHERE job_id = ? ORDER BY kind", job_id)
    assert {row["until"] for row in told} == {text(at), None}
    store.now += 1
    store.answer(JobsChanged((job_id,), Changed(1000, priority=3), SUBMITTER))
    assert told == store.rows("SELECT until FROM job_steps WHERE job_id = ? ORDER BY kind", job_id)


def test_one_that_has_begun_does_not_expire_while_it_waits(store: Store) -> None:
    job_id = store.run_one(expires_at=NOW + 10)
    store.commit(waits(job_id, delay=60.0))
    store.now += 60
    assert starts_now(store) == [job_id]


def test_a_stop_of_the_daemon_amid_a_wait_changes_nothing(store: Store) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id, delay=60.0))
    store.close()
    store.open()
    store.commit(DaemonStarted())
    assert store.commit(signal(job_id), lanes=ONE).claims


def test_what_signals_bring_has_bounds_for_each_attempt_is_given_all_of_it(store: Store) -> None:
    job_id = store.run_one()
    payload = "x" * (MOST_SIGNAL_BYTES // 2)
    attempts = 0
    while store.job(job_id)["status"] == "running" and attempts < 5:
        attempts += 1
        store.commit(signal(job_id, payload=payload), waits(job_id, turn=attempts, number=attempts))
        store.claim(ONE)
    row = store.job(job_id)
    assert (row["status"], row["error"].split(":")[0]) == ("failed", "StepError")
    assert MOST_STEP_BYTES < row["step_bytes"] <= MOST_STEP_BYTES + len(payload) + 2


def test_signals_that_come_together_are_counted_once(store: Store) -> None:
    (job_id,) = store.submit(asked(idempotency_key="order 7"))
    store.commit(*[signal(job_id) for _ in range(MOST_SIGNALS - 3)])
    by_key = replace(signal(job_id), job_id=None, key="order 7")
    answers = store.commit(signal(job_id), by_key, signal(job_id), signal(job_id)).answers
    assert answers[:3] == ((job_id, True),) * 3
    assert isinstance(answers[3], TooManySignalsError)


@pytest.mark.parametrize(("kind", "time"), [("sleep", {"delay": 60.0}), ("until", {"until": NOW + 60})])
def test_a_sleep_whose_time_is_taken_away_is_over(store: Store, kind: str, time: dict[str, float]) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id, kind, **time))
    asked_for = Changed(SUBMITTER.uid, without=frozenset({Removable.AT}))
    (claim,) = store.commit(JobsChanged((job_id,), asked_for, SUBMITTER), lanes=ONE).claims
    assert (claim.job.id, outcomes(store, job_id)) == (job_id, [(kind, "", 1, None)])


def test_a_signal_is_waited_for_as_long_as_it_takes_where_the_timeout_is_taken_away(store: Store) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id, delay=60.0))
    asked_for = Changed(SUBMITTER.uid, without=frozenset({Removable.AT}))
    assert store.commit(JobsChanged((job_id,), asked_for, SUBMITTER), lanes=ONE).claims == ()
    assert stands(store, job_id) == ("pending", 4, "signal packed", None)
    assert store.commit(signal(job_id), lanes=ONE).claims


def test_an_attempt_that_is_stopped_leaves_no_wait(store: Store) -> None:
    job_id = store.run_one()
    store.commit(cancels(job_id), ends(job_id, STOPPED))
    assert (store.job(job_id)["status"], store.count("job_steps")) == ("cancelled", 0)
