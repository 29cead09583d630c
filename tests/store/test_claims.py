"""Granting slots from a real file: how many, which, and when to look again."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Status
from bgjobd.core.facts import ClockJumped, Submitted
from bgjobd.core.job import Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import slots
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.holds import QueuePaused, QueueResumed
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NO_SLOTS,
    NOW,
    Store,
    asked,
    cancels,
    ends,
    examples_on,
    retries,
    starts,
    statements_run_on,
    store_of_an_example,
    submission,
    text,
)

NARROW = "myapp.jobs.Narrow"
ONE_NARROW = Lanes(4, classes={NARROW: 1})


def claimed(store: Store, lanes: Lanes) -> list[int]:
    return [claim.job.id for claim in store.claim(lanes)]


def test_a_claim_is_the_job_as_it_stands_in_the_file(store: Store) -> None:
    store.submit(asked())
    store.now += 2
    (claim,) = store.claim(Lanes(1))
    assert (claim.job.id, claim.job.status, claim.job.attempt) == (1, Status.RUNNING, 1)
    row = store.job(1)
    assert (row["status"], row["started_at"], row["updated_at"]) == ("running", text(NOW + 2), text(NOW + 2))
    (attempt,) = store.attempts(1)
    assert {name for name, value in attempt.items() if value is not None} == {
        "job_id",
        "number",
        "token",
        "boot_id",
        "noted",
        "valued",
        "spends_retry",
        "waited",
    }
    assert attempt["waited"] == 2.0
    assert (attempt["job_id"], attempt["number"]) == (1, 1)


def test_a_job_may_be_claimed_in_the_transaction_that_stores_it(store: Store) -> None:
    committed = store.commit(submission(asked()), lanes=Lanes(1))
    assert [claim.job.id for claim in committed.claims] == [1]
    assert [line.message for line in committed.lines] == [
        "Background job initiated",
        "Background job dispatched on Linux platform",
    ]


def test_a_slot_is_given_again_in_the_transaction_of_the_end_that_freed_it(store: Store) -> None:
    store.submit(asked(), asked())
    assert claimed(store, Lanes(1)) == [1]
    committed = store.commit(ends(1, COMPLETED), lanes=Lanes(1))
    assert [claim.job.id for claim in committed.claims] == [2]


def test_no_more_are_claimed_than_slots_are_free(store: Store) -> None:
    store.submit(*(asked() for _ in range(10)))
    assert claimed(store, Lanes(3)) == [1, 2, 3]
    assert claimed(store, Lanes(3)) == []
    assert claimed(store, Lanes(5)) == [4, 5]
    assert claimed(store, Lanes(2)) == []
    assert store.claim(NO_SLOTS) == []


def test_the_older_of_equal_jobs_is_first(store: Store) -> None:
    store.submit(*(asked() for _ in range(5)))
    assert [claimed(store, Lanes(number)) for number in range(1, 6)] == [[1], [2], [3], [4], [5]]


def test_a_higher_priority_is_first_across_queues(store: Store) -> None:
    store.submit(asked(), asked(priority=5, queue="mail"), asked(priority=-1), asked(priority=1))
    lanes = {"default": None, "mail": None}
    assert [claimed(store, Lanes(number, lanes)) for number in range(1, 5)] == [[2], [4], [1], [3]]


def test_a_queue_gets_no_more_than_its_own_slots_and_leaves_the_rest_to_others(store: Store) -> None:
    store.submit(*(asked(queue="mail", priority=9) for _ in range(4)), asked(), asked())
    lanes = Lanes(3, {"default": None, "mail": 2})
    assert claimed(store, lanes) == [1, 2, 5]
    store.commit(ends(5, COMPLETED))
    assert claimed(store, lanes) == [6]


def test_a_paused_queue_gets_nothing_until_it_is_resumed(store: Store) -> None:
    store.submit(asked(), asked(queue="mail"))
    lanes = Lanes(5, {"default": None, "mail": None})
    committed = store.commit(QueuePaused("default"), QueuePaused("default"), lanes=lanes)
    assert committed.answers == (None, None)
    assert [claim.job.id for claim in committed.claims] == [2]
    assert claimed(store, lanes) == []
    committed = store.commit(QueueResumed("default"), QueueResumed("default"), lanes=lanes)
    assert [claim.job.id for claim in committed.claims] == [1]


def test_a_pause_outlives_the_ledger(store: Store) -> None:
    store.submit(asked())
    store.commit(QueuePaused("default"))
    store.close()
    store.open()
    assert claimed(store, Lanes(1)) == []


def test_a_pause_that_is_over_grants_slots_in_the_transaction_that_finds_it_so(store: Store) -> None:
    store.submit(asked(), asked(queue="mail"))
    lanes = Lanes(5, {"default": None, "mail": None})
    committed = store.commit(QueuePaused("default", NOW + 60), QueuePaused("mail", NOW + 90), lanes=lanes)
    assert (committed.claims, committed.next_due, committed.resumed) == ((), NOW + 60, ())
    store.close()
    store.open()  # nobody runs while it ends
    store.now = NOW + 75
    committed = store.commit(Look(), lanes=lanes)
    assert ([claim.job.id for claim in committed.claims], committed.resumed) == ([1], ("default",))
    assert committed.next_due == NOW + 90
    store.now = NOW + 90
    committed = store.commit(Look(), lanes=lanes)
    assert ([claim.job.id for claim in committed.claims], committed.resumed) == ([2], ("mail",))
    assert (committed.next_due, store.commit(Look(), lanes=lanes).resumed) == (None, ())


def test_a_pause_that_is_over_is_so_though_no_slot_is_free_and_the_clock_is_set_back(store: Store) -> None:
    store.submit(asked())
    assert store.commit(QueuePaused("default", NOW + 60)).next_due == NOW + 60
    store.now = NOW + 61
    committed = store.commit(Look(), lanes=NO_SLOTS)
    assert (committed.resumed, committed.next_due) == (("default",), None)
    store.now = NOW
    assert [claim.job.id for claim in store.commit(ClockJumped(-61.0), lanes=Lanes(1)).claims] == [1]


@pytest.mark.parametrize(
    ("second", "next_due"),
    [
        (QueuePaused("default", NOW + 90), NOW + 90),
        (QueuePaused("default"), None),
        (QueueResumed("default"), None),
    ],
    ids=["longer", "without end", "resumed"],
)
def test_a_second_pause_replaces_when_the_first_ends(
    store: Store, second: QueuePaused | QueueResumed, next_due: float | None
) -> None:
    store.commit(QueuePaused("default", NOW + 60))
    store.now += 1
    assert store.commit(second).next_due == next_due
    store.now = NOW + 60
    assert store.commit(Look()).resumed == ()


def test_while_a_queue_is_paused_its_end_is_wall_time_whatever_the_clock_does(store: Store) -> None:
    store.commit(QueuePaused("default", NOW + 60))
    store.now = NOW - 3600
    assert store.commit(ClockJumped(-3600.0)).next_due == NOW + 60
    store.now = NOW + 3600
    assert store.commit(ClockJumped(7200.0)).resumed == ("default",)


def test_a_job_of_a_queue_that_is_no_more_waits(store: Store) -> None:
    store.submit(asked(queue="gone"))
    assert claimed(store, Lanes(5)) == []
    assert claimed(store, Lanes(5, {"gone": None})) == [1]


def test_a_scheduled_job_is_claimed_when_it_is_due_and_no_earlier(store: Store) -> None:
    store.submit(asked(scheduled_at=NOW + 60), asked(scheduled_at=NOW + 30), asked())
    committed = store.commit(Look(), lanes=Lanes(5))
    assert [claim.job.id for claim in committed.claims] == [3]
    assert committed.next_due == NOW + 30

    store.now = NOW + 29.999999
    assert store.commit(Look(), lanes=Lanes(5)).claims == ()
    store.now = NOW + 30
    committed = store.commit(Look(), lanes=Lanes(5))
    assert [claim.job.id for claim in committed.claims] == [2]
    assert committed.next_due == NOW + 60
    store.now = NOW + 1000
    committed = store.commit(Look(), lanes=Lanes(5))
    assert [claim.job.id for claim in committed.claims] == [1]
    assert committed.next_due is None


def test_a_job_that_became_due_while_all_slots_were_taken_keeps_its_age(store: Store) -> None:
    store.submit(asked(scheduled_at=NOW + 10), asked())
    assert claimed(store, Lanes(1)) == [2]
    store.submit(asked())
    store.now += 20
    committed = store.commit(ends(2, COMPLETED), lanes=Lanes(1))
    assert [claim.job.id for claim in committed.claims] == [1]


def test_a_retry_is_claimed_after_its_delay_with_the_next_number(store: Store) -> None:
    job_id = store.run_one()
    committed = store.commit(ends(job_id, FAILED), lanes=Lanes(1))
    assert committed.claims == ()
    assert committed.next_due == NOW + 5
    store.now += 5
    (claim,) = store.claim(Lanes(1))
    assert (claim.job.id, claim.job.attempt, claim.job.retry_count) == (job_id, 2, 1)
    assert [row["number"] for row in store.attempts(job_id)] == [1, 2]


def test_a_cancelled_job_is_not_claimed_in_its_own_transaction(store: Store) -> None:
    store.submit(asked())
    assert store.commit(cancels(1), lanes=Lanes(1)).claims == ()


def test_a_job_asked_to_run_again_is_claimed_at_once(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, Ending.failed("ValueError", "no", may_retry=False)))
    (claim,) = store.commit(retries(job_id), lanes=Lanes(1)).claims
    assert (claim.job.id, claim.job.attempt, claim.job.retry_count) == (job_id, 2, 0)


def test_more_due_jobs_than_one_transaction_takes_are_looked_at_again_at_once(store: Store) -> None:
    many = slots.READY_AT_ONCE + 3
    store.submit(*(asked(scheduled_at=NOW + 1) for _ in range(many)))
    store.now += 10
    first = store.commit(Look(), lanes=Lanes(many))
    assert first.next_due is not None
    assert first.next_due <= store.now
    second = store.commit(Look(), lanes=Lanes(many))
    assert len(first.claims) + len(second.claims) == many
    assert second.next_due is None


def test_a_clock_jump_moves_retries_and_nothing_else(store: Store) -> None:
    retry = store.run_one()
    store.commit(ends(retry, FAILED))
    snoozed = store.run_one()
    store.commit(ends(snoozed, Ending.snoozed(100)))
    at_a_time, at_once = store.submit(asked(scheduled_at=NOW + 50), asked())
    running = store.run_one(queue="mail")
    cancelled = store.run_one(queue="video")
    store.commit(ends(cancelled, FAILED), cancels(cancelled))
    before = {job_id: store.job(job_id) for job_id in (at_a_time, at_once, running, cancelled)}

    store.now += 3600
    committed = store.commit(ClockJumped(3600.0))
    assert committed.answers == (None,)
    assert committed.lines == ()
    assert store.job(retry)["scheduled_at"] == text(NOW + 3605)
    assert store.job(snoozed)["scheduled_at"] == text(NOW + 3700)
    assert {job_id: store.job(job_id) for job_id in before} == before


def test_a_retry_keeps_its_delay_when_the_clock_is_set_back(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, FAILED))
    store.now += 2 - 86400
    committed = store.commit(ClockJumped(-86400.0), lanes=Lanes(1))
    assert committed.claims == ()
    assert committed.next_due == store.now + 3
    store.now += 3
    assert claimed(store, Lanes(1)) == [job_id]


def test_a_retry_that_is_due_stays_so_when_the_clock_is_set_back(store: Store) -> None:
    job_id = store.run_one()
    store.submit(asked(priority=1))
    store.commit(ends(job_id, FAILED))
    store.now += 10
    assert claimed(store, Lanes(1)) == [2]
    store.now -= 3600
    committed = store.commit(ClockJumped(-3600.0), ends(2, COMPLETED), lanes=Lanes(1))
    assert [claim.job.id for claim in committed.claims] == [job_id]


def test_an_attempt_that_started_still_holds_its_slot(store: Store) -> None:
    job_id = store.run_one()
    store.submit(asked())
    assert store.commit(starts(job_id), lanes=Lanes(1)).claims == ()


# The slots of a class


def test_a_class_gets_no_more_than_its_own_slots_and_leaves_the_rest_to_others(store: Store) -> None:
    store.submit(*(asked(class_name=NARROW, priority=9) for _ in range(4)), asked(), asked())
    assert claimed(store, ONE_NARROW) == [1, 5, 6]
    assert claimed(store, ONE_NARROW) == []
    committed = store.commit(ends(1, COMPLETED), lanes=ONE_NARROW)
    assert [claim.job.id for claim in committed.claims] == [2]


def test_a_class_has_its_slots_in_all_queues_together(store: Store) -> None:
    store.submit(asked(class_name=NARROW), asked(class_name=NARROW, queue="mail", priority=1))
    lanes = Lanes(4, {"default": None, "mail": None}, {NARROW: 1})
    assert claimed(store, lanes) == [2]
    store.commit(ends(2, COMPLETED))
    assert claimed(store, lanes) == [1]


def test_what_runs_of_a_class_counts_for_the_next_daemon_too(store: Store) -> None:
    store.submit(asked(class_name=NARROW), asked(class_name=NARROW))
    assert claimed(store, ONE_NARROW) == [1]
    store.close()
    store.open()
    assert claimed(store, ONE_NARROW) == []
    assert claimed(store, Lanes(4, classes={NARROW: 2})) == [2]


def test_a_class_with_fewer_slots_than_run_gets_none_until_enough_have_ended(store: Store) -> None:
    store.submit(*(asked(class_name=NARROW) for _ in range(4)))
    assert claimed(store, Lanes(3)) == [1, 2, 3]
    store.commit(ends(1, COMPLETED), ends(2, COMPLETED))
    assert claimed(store, ONE_NARROW) == []
    store.commit(ends(3, COMPLETED))
    assert claimed(store, ONE_NARROW) == [4]


def test_priority_and_age_decide_among_classes_with_room(store: Store) -> None:
    store.submit(asked(), asked(class_name=NARROW), asked(class_name=NARROW, priority=2), asked(priority=1))
    lanes = [Lanes(number, classes={NARROW: 2}) for number in range(1, 5)]
    assert [claimed(store, one) for one in lanes] == [[3], [4], [1], [2]]


def test_the_jobs_that_wait_of_a_full_class_cost_a_commit_no_more_steps_than_a_few(store: Store) -> None:
    def steps(waiting: int) -> int:
        store.submit(*(asked(class_name=NARROW, priority=1) for _ in range(waiting)))
        taken = 0

        def count() -> int:
            nonlocal taken
            taken += 1
            return 0

        store.submit(asked())
        store.database.connection().set_progress_handler(count, 1)
        (claim,) = store.claim(ONE_NARROW)
        store.database.connection().set_progress_handler(None, 1)
        assert claim.job.class_name != NARROW
        store.commit(ends(claim.job.id, COMPLETED))
        return taken

    store.submit(asked(class_name=NARROW))
    assert claimed(store, ONE_NARROW) == [1]
    few = steps(10)
    assert steps(3_000) <= few + 50


def test_where_no_class_has_slots_nobody_looks_for_classes(store: Store) -> None:
    store.submit(asked(), asked())
    with statements_run_on(store.database) as run:
        assert claimed(store, Lanes(1)) == [1]
    assert not [statement for statement in run if "jobs_of_class" in statement]


PLAIN = "myapp.jobs.ExampleJob"
QUEUES = ["default", "mail"]
asked_for = st.builds(
    lambda class_name, queue, priority: asked(class_name=class_name, queue=queue, priority=priority),
    st.sampled_from([PLAIN, NARROW, "a.Narrower"]),
    st.sampled_from(QUEUES),
    st.integers(-1, 1),
)
lanes_to_come = st.builds(
    Lanes,
    st.integers(0, 5),
    st.fixed_dictionaries({name: st.one_of(st.none(), st.integers(1, 3)) for name in QUEUES}),
    st.dictionaries(st.sampled_from([NARROW, "a.Narrower"]), st.integers(1, 3)),
)


def test_a_ledger_claims_what_the_rules_would_start_one_by_one(engine: str) -> None:
    @examples_on(engine)
    @given(st.lists(st.tuples(st.lists(asked_for, max_size=6), lanes_to_come, st.integers(0, 3)), max_size=5))
    def claims(turns: list[tuple[list[Submitted], Lanes, int]]) -> None:
        with store_of_an_example() as store:
            for submitted, lanes, ended in turns:
                if submitted:
                    store.submit(*submitted)
                running = store.rows("SELECT * FROM background_jobs WHERE status = 'running' ORDER BY id")
                store.commit(*[ends(row["id"], COMPLETED) for row in running[:ended]])
                expected = started_one_by_one(store, lanes)
                assert claimed(store, lanes) == expected

    claims()


def started_one_by_one(store: Store, lanes: Lanes) -> list[int]:
    """By the plain words of the rules: the first of all that has room everywhere, until none has."""
    running = store.rows("SELECT * FROM background_jobs WHERE status = 'running'")
    queues = Counter(row["queue"] for row in running)
    classes = Counter(row["class_name"] for row in running)
    started = []
    for row in store.rows(
        "SELECT * FROM background_jobs WHERE status = 'pending' ORDER BY priority DESC, id"
    ):
        of_queue, of_class = lanes.queues[row["queue"]], lanes.classes.get(row["class_name"])
        if (
            queues.total() < lanes.slots
            and (of_queue is None or queues[row["queue"]] < of_queue)
            and (of_class is None or classes[row["class_name"]] < of_class)
        ):
            queues[row["queue"]] += 1
            classes[row["class_name"]] += 1
            started.append(row["id"])
    return started
