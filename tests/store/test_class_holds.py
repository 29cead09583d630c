"""Classes whose attempts crash, in a real database: counted, held, tried and let go, and what that costs the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bgjob.words import EntryType, Outcome
from bgjobd.core.facts import ClockJumped
from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.store import class_holds
from bgjobd.store.items.attempts import JobFact
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.items.holds import ClassHeld, ClassResumed
from bgjobd.store.items.item import Item
from tests.engines import changing
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NO_SLOTS,
    NOW,
    Store,
    asked,
    ends,
    retries,
    starts,
    statements_run_on,
    text,
)

FRAGILE, PLAIN = "myapp.jobs.Fragile", "myapp.jobs.ExampleJob"
KILLED = Ending.signalled(11)
WIDE = Lanes(100, code_version="new")
OF_OTHER_CODE = replace(WIDE, code_version="other")
STUBBORN = RetryPolicy(max_retries=100, retry_delay=1e6)
TOLD = "10 attempts of 10 jobs in a row ended by signal 11 with code new"
HOLD = f"class {FRAGILE} is held since 14:31:53 UTC: {TOLD}; next trial in 10 s"


def begun(job_id: int, number: int = 1, code: str = "new") -> JobFact:
    fact = starts(job_id, number).fact
    return JobFact(job_id, replace(fact, code_version=code))  # type: ignore[type-var]


def submit(store: Store, count: int, class_name: str = FRAGILE) -> list[int]:
    return store.submit(*(asked(class_name=class_name, policy=STUBBORN) for _ in range(count)))


def crash(store: Store, count: int, ending: Ending = KILLED, code: str = "new") -> list[int]:
    """So many new jobs that end so, each in a transaction of its own."""
    jobs = submit(store, count)
    store.claim(WIDE)
    store.commit(*(begun(job, code=code) for job in jobs))
    for job in jobs:
        store.commit(ends(job, ending), lanes=replace(NO_SLOTS, code_version="new"))
    return jobs


def claimed(store: Store, lanes: Lanes = WIDE) -> list[int]:
    return [claim.job.id for claim in store.claim(lanes)]


def said(store: Store, *items: Item, lanes: Lanes = WIDE) -> Sequence[tuple[EntryType, str]]:
    return store.commit(*items, lanes=lanes).said


def holds(store: Store) -> list[tuple[object, ...]]:
    rows = store.rows("SELECT class_name, reason, crashes, tries, since FROM class_holds ORDER BY class_name")
    return [tuple(row.values()) for row in rows]


def test_ten_crashes_in_a_row_hold_the_class_and_no_other(store: Store) -> None:
    crash(store, 9)
    assert holds(store) == [(FRAGILE, "crashes", 9, 0, None)]
    (last,) = submit(store, 1)
    assert claimed(store) == [last]
    store.commit(begun(last))
    waiting, other = submit(store, 2), submit(store, 1, PLAIN)
    committed = store.commit(ends(last, KILLED), lanes=WIDE)
    assert [claim.job.id for claim in committed.claims] == other
    assert committed.said == ((EntryType.FAILURE, HOLD),)
    assert committed.next_due == NOW + 10
    assert holds(store) == [(FRAGILE, "crashes", 10, 0, text(NOW))]
    assert {store.job(job)["status"] for job in waiting} == {"pending"}
    assert said(store, Look()) == ()


def test_the_crashes_of_one_transaction_count_as_those_of_many_do(store: Store) -> None:
    jobs = submit(store, 12)
    store.claim(WIDE)
    store.commit(*map(begun, jobs))
    committed = store.commit(*(ends(job, KILLED) for job in jobs), lanes=WIDE)
    assert len(committed.said) == 1
    assert holds(store) == [(FRAGILE, "crashes", 12, 0, text(NOW))]


def test_of_a_held_class_one_attempt_runs_at_most_and_it_alone_says_how_it_goes_on(store: Store) -> None:
    crash(store, 10)
    waiting = submit(store, 5)
    store.now += 9
    assert claimed(store) == []
    store.now += 1
    assert claimed(store) == waiting[:1]
    for _ in range(3):
        store.now += 400
        assert claimed(store) == []
    store.commit(begun(waiting[0]))
    committed = store.commit(ends(waiting[0], KILLED), lanes=WIDE)
    assert (committed.claims, committed.said, committed.next_due) == ((), (), store.now + 20)
    store.now += 20
    assert claimed(store) == waiting[1:2]
    store.commit(begun(waiting[1]))
    committed = store.commit(ends(waiting[1], COMPLETED), lanes=WIDE)
    assert [claim.job.id for claim in committed.claims][-3:] == waiting[2:]
    told = f"class {FRAGILE} is held no more: an attempt of it has not crashed"
    assert committed.said == ((EntryType.INFO, told),)
    assert holds(store) == []


def test_a_trial_is_due_when_a_job_is_there_for_it_and_wakes_nobody_else(store: Store) -> None:
    crash(store, 10)
    store.commit(Look(), lanes=WIDE)
    retrying = NOW + 1e6
    assert store.commit(Look(), lanes=WIDE).next_due == retrying
    store.now += 60
    assert store.commit(Look(), lanes=WIDE).next_due == retrying
    (job,) = submit(store, 1)
    assert claimed(store) == [job]


def test_a_trial_that_was_told_to_stop_says_nothing_and_the_next_one_follows(store: Store) -> None:
    crash(store, 10)
    first, second = submit(store, 2)
    store.now += 10
    assert claimed(store) == [first]
    store.commit(begun(first))
    stopped = replace(Ending.cancelled(KILLED), may_retry=False)
    assert store.commit(ends(first, stopped), lanes=WIDE).next_due == store.now + 20
    store.now += 20
    assert claimed(store) == [second]


def test_a_class_stays_held_through_a_restart(store: Store) -> None:
    crash(store, 10)
    waiting = submit(store, 2)
    store.close()
    store.open()
    committed = store.commit(DaemonStarted(), lanes=WIDE)
    assert (committed.claims, committed.next_due) == ((), NOW + 10)
    store.now += 10
    assert claimed(store) == waiting[:1]
    store.close()
    store.open()
    store.now += 1000
    assert claimed(store) == []


def test_what_was_counted_before_a_restart_counts(store: Store) -> None:
    crash(store, 5)
    store.close()
    store.open()
    crash(store, 5)
    assert holds(store) == [(FRAGILE, "crashes", 10, 0, text(NOW))]


@pytest.mark.parametrize("ending", [COMPLETED, FAILED, Ending.exited(3), Ending.snoozed(60.0)], ids=str)
def test_an_attempt_that_does_not_crash_begins_the_count_anew(store: Store, ending: Ending) -> None:
    crash(store, 9)
    crash(store, 1, ending)
    assert holds(store) == []
    crash(store, 9)
    assert holds(store) == [(FRAGILE, "crashes", 9, 0, None)]


def test_crashes_of_two_codes_count_apart(store: Store) -> None:
    for _ in range(6):
        crash(store, 2, code="new")
        crash(store, 2, code="old")
    assert all(since is None for *_, since in holds(store))


def test_other_code_lets_a_class_go(store: Store) -> None:
    crash(store, 10)
    waiting = submit(store, 3)
    committed = store.commit(Look(), lanes=OF_OTHER_CODE)
    assert [claim.job.id for claim in committed.claims] == waiting
    assert committed.said == ((EntryType.INFO, f"class {FRAGILE} is held no more: its code is another one"),)
    assert holds(store) == []


def test_starts_that_end_their_fork_server_hold_a_class_once_they_went_alone(store: Store) -> None:
    crashed = Ending.crashed_at_start("signal 11")
    jobs = submit(store, 20)
    store.claim(WIDE)
    store.commit(*(ends(job, crashed) for job in jobs), lanes=replace(NO_SLOTS, code_version="new"))
    assert holds(store) == []
    store.now += 5
    assert claimed(store) == jobs
    store.commit(*(ends(job, crashed, number=2) for job in jobs[:10]), lanes=WIDE)
    assert [row[2] for row in holds(store)] == [10]


def test_a_job_is_given_up_and_its_class_goes_on(store: Store) -> None:
    (job,) = submit(store, 1)
    for number in (1, 2, 3):
        assert claimed(store) == [job]
        store.commit(begun(job, number), ends(job, KILLED, number=number))
        store.now += 1e6
    row = store.job(job)
    assert (row["status"], row["crashes"], row["retry_count"]) == ("failed", 3, 2)
    assert row["error"] == "quarantined: 3 attempts in a row were ended by signal 11"
    assert store.messages(job)[-1] == f"{row['error']}; `bgjob retry {job}` has it start again"
    store.commit(retries(job))
    assert store.job(job)["crashes"] == 0


def test_a_class_is_held_until_it_is_resumed_where_somebody_has_asked(store: Store) -> None:
    waiting = submit(store, 2)
    committed = store.commit(ClassHeld(FRAGILE, 1000), lanes=WIDE)
    resume = f"`bgjob class resume {FRAGILE}` lets it go on"
    told = f"class {FRAGILE} is held since 14:31:53 UTC, as uid 1000 has asked; {resume}"
    assert (committed.answers, committed.claims) == ((False,), ())
    assert committed.said == ((EntryType.INFO, told),)
    assert store.commit(ClassHeld(FRAGILE, 1001), lanes=WIDE).said == ()
    store.now += 1e6
    assert claimed(store, OF_OTHER_CODE) == []
    committed = store.commit(ClassResumed(FRAGILE), lanes=WIDE)
    assert (committed.answers, [claim.job.id for claim in committed.claims]) == ((True,), waiting)
    assert committed.said == ((EntryType.INFO, f"class {FRAGILE} is held no more: somebody has resumed it"),)
    assert store.commit(ClassResumed(FRAGILE), lanes=WIDE).answers == (False,)


def test_what_runs_when_a_class_is_held_goes_on_and_its_end_lets_nothing_go(store: Store) -> None:
    job, after = store.run_one(class_name=FRAGILE), submit(store, 1)
    store.commit(ClassHeld(FRAGILE))
    store.commit(begun(job))
    assert store.commit(ends(job, COMPLETED), lanes=WIDE).claims == ()
    assert store.job(after[0])["status"] == "pending"


def test_a_person_may_resume_what_crashes_hold_and_it_is_counted_anew(store: Store) -> None:
    crash(store, 10)
    waiting = submit(store, 2)
    assert [claim.job.id for claim in store.commit(ClassResumed(FRAGILE), lanes=WIDE).claims] == waiting
    assert holds(store) == []


def test_a_class_with_slots_of_its_own_keeps_them_once_it_is_let_go(store: Store) -> None:
    narrow = replace(WIDE, classes={FRAGILE: 2})
    submit(store, 5)
    store.commit(ClassHeld(FRAGILE), lanes=narrow)
    assert len(store.commit(ClassResumed(FRAGILE), lanes=narrow).claims) == 2


def test_a_clock_that_was_set_holds_no_class_for_longer(store: Store) -> None:
    crash(store, 10)
    (job,) = submit(store, 1)
    store.now += 3600
    store.commit(ClockJumped(3600.0))
    assert store.commit(Look(), lanes=WIDE).next_due == store.now + 10
    store.now -= 86_400
    committed = store.commit(DaemonStarted(), lanes=WIDE)
    assert committed.next_due == store.now + 300
    store.now += 300
    assert claimed(store) == [job]


def test_names_of_any_kind_are_held_and_let_go(store: Store) -> None:
    names = ["a'; DROP TABLE class_holds; --", "%s :name ?", '{"x": [1]}', "Ünïcödé.Klaße", "x" * 10_000]
    store.submit(*(asked(class_name=name) for name in names))
    store.commit(*(ClassHeld(name) for name in names), lanes=WIDE)
    assert claimed(store) == []
    assert {name for name, *_ in holds(store)} == set(names)
    assert len(store.commit(*(ClassResumed(name) for name in names), lanes=WIDE).claims) == len(names)


def test_a_class_of_which_no_attempt_crashes_costs_no_statement(store: Store) -> None:
    def statements_of(ending: Ending) -> list[str]:
        job = store.run_one(class_name=PLAIN)
        store.commit(begun(job))
        with statements_run_on(store.database) as run:
            store.commit(ends(job, ending), lanes=WIDE)
        return [one for one in run if "class_holds" in one]

    assert statements_of(COMPLETED) == statements_of(FAILED) == []
    crash(store, 1)
    assert statements_of(COMPLETED) == []
    assert statements_of(KILLED) != []


def test_a_transaction_that_comes_to_nothing_holds_nothing(store: Store) -> None:
    crash(store, 9)
    (job,) = submit(store, 1)
    store.claim(WIDE)
    store.commit(begun(job))

    def refuse() -> None:
        raise OSError("no room")

    commit_writing, store.database.commit_writing = store.database.commit_writing, refuse
    with pytest.raises(OSError, match="no room"):
        store.commit(ends(job, KILLED), lanes=WIDE)
    store.database.commit_writing = commit_writing
    assert [row[2] for row in holds(store)] == [9]
    assert len(said(store, ends(job, KILLED))) == 1


def test_the_row_says_what_its_columns_are_to_say(store: Store) -> None:
    jobs = crash(store, 10)
    (row,) = store.rows("SELECT * FROM class_holds")
    assert row == {
        "class_name": FRAGILE,
        "reason": "crashes",
        "code_version": "new",
        "since": text(NOW),
        "message": TOLD,
        "jobs": str(jobs),
        "crashes": 10,
        "tries": 0,
        "next_try_at": text(NOW + 10),
        "by_uid": None,
    }
    assert store.attempts(jobs[0])[0]["outcome"] == Outcome.SIGNALLED


def test_a_crash_that_another_host_counts_at_that_moment_does_not_let_go_what_was_asked_for(
    store: Store,
) -> None:
    store.commit(ClassHeld(FRAGILE, 1000))
    (row,) = store.rows("SELECT * FROM class_holds")
    counted = row | {"reason": "crashes", "since": None, "crashes": 1, "by_uid": None}
    with changing(store.state_dir) as connection:
        connection.execute(class_holds.WRITE, counted)
    assert holds(store) == [(FRAGILE, "asked", 0, 0, text(NOW))]
