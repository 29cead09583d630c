"""The steps of jobs: what attempts tell of them is stored once, whatever they tell, and carried to the next one."""

from __future__ import annotations

import json
from math import inf, nan
from typing import Any

import pytest

from bgjob.words import MOST_STEP_BYTES, MOST_STEPS, EntryType
from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.store.items.attempts import Note, StepNote
from bgjobd.store.reader import Reader
from bgjobd.store.recent import RecentJobs
from tests.store.samples import (
    COMPLETED,
    FAILED,
    LOST,
    NOW,
    Row,
    Store,
    asked,
    begun,
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
HOUR = 3600.0


def steps(store: Store, job_id: int) -> list[Row]:
    """The rows in the order in which they were finished, at the end those that are not."""
    order = "ORDER BY number IS NULL, number, name"
    return store.rows(f"SELECT * FROM job_steps WHERE job_id = ? {order}", job_id)


def results(store: Store, job_id: int) -> dict[str, Any]:
    found = [row for row in steps(store, job_id) if row["number"] is not None]
    return {row["name"]: json.loads(row["result"]) for row in found}


def counted(store: Store, job_id: int) -> tuple[int, int, int]:
    row = store.job(job_id)
    return row["steps"], row["step_bytes"], row["carries"]


def carry(store: Store) -> dict[str, Any]:
    """What the next attempt is given."""
    (claim,) = store.claim(ONE)
    assert claim.carry is not None
    carried: dict[str, Any] = json.loads(claim.carry)
    return carried


def test_a_step_is_stored_as_it_begins_and_as_it_is_done(store: Store) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, begun("charge", NOW + 1)))
    (row,) = steps(store, job_id)
    assert (row["kind"], row["name"], row["turn"], row["number"]) == ("step", "charge", 1, None)
    assert (row["attempt"], row["tries"], row["began_at"]) == (1, 1, text(NOW + 1))
    assert counted(store, job_id) == (0, 0, 1)
    store.commit(does(job_id, done("charge", '{"id":"ü"}', NOW + 2, is_awaited=True), first=1))
    (row,) = steps(store, job_id)
    assert (row["number"], row["result"], row["is_awaited"]) == (1, '{"id":"ü"}', 1)
    assert (row["began_at"], row["finished_at"], row["tries"]) == (text(NOW + 1), text(NOW + 2), 1)
    assert counted(store, job_id) == (1, len('{"id":"ü"}'.encode()), 1)


def test_steps_go_to_the_next_attempt_in_the_order_in_which_they_were_done(store: Store) -> None:
    job_id = store.run_one()
    told = [begun("b"), begun("a"), done("b", "1"), done("a", "[2]", is_awaited=True), begun("c")]
    store.commit(does(job_id, *told), ends(job_id, FAILED))
    store.now += HOUR
    finished = [["b", "1", False], ["a", "[2]", True]]
    assert carry(store) == {"steps": finished, "waits": [], "state": None, "emitted": 0}
    store.commit(does(job_id, begun("c"), done("c", "3"), number=2), ends(job_id, FAILED, 2))
    assert [(row["name"], row["attempt"], row["tries"]) for row in steps(store, job_id)] == [
        ("b", 1, 1),
        ("a", 1, 1),
        ("c", 2, 2),
    ]
    store.now += HOUR
    assert [name for name, *_ in carry(store)["steps"]] == ["b", "a", "c"]


def test_what_is_told_again_changes_nothing(store: Store) -> None:
    """By a daemon that reads a journal from its beginning, by the attempt itself, and by another one."""
    job_id = store.run_one()
    told = [begun("a"), done("a", "1")]
    store.commit(does(job_id, *told))
    before = steps(store, job_id), store.job(job_id)
    store.now += 1
    store.commit(does(job_id, *told), does(job_id, begun("a"), done("a", "2"), first=2))
    assert (steps(store, job_id), store.job(job_id)) == before
    store.commit(ends(job_id, FAILED))
    store.now += HOUR
    store.claim(ONE)
    store.commit(does(job_id, begun("a"), done("a", "3"), number=2))
    assert (steps(store, job_id), results(store, job_id)) == (before[0], {"a": 1})


def test_a_late_word_of_an_earlier_attempt_is_kept_and_the_first_result_stays(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, LOST))
    store.now += HOUR
    store.claim(ONE)
    store.commit(does(job_id, begun("a"), done("a", "1")))
    store.commit(does(job_id, begun("a"), done("a", "2"), number=2))
    assert results(store, job_id) == {"a": 1}


def test_steps_and_messages_come_mixed_and_each_goes_where_it_belongs(store: Store) -> None:
    job_id = store.run_one()
    hello = Note(NOW, EntryType.INFO, "hello")
    store.commit(does(job_id, begun("a"), hello, Note(NOW, EntryType.INFO, "half", 0.5), done("a")))
    assert store.messages(job_id)[-2:] == ["hello", "Background job is at 50%: half"]
    assert results(store, job_id) == {"a": None}
    assert store.attempts(job_id)[0]["noted"] == 4


@pytest.mark.parametrize(
    "forged",
    [
        done("n" * 256),
        done(""),
        begun("n" * 256),
        done("a", "{"),
        done("a", ""),
        done("a", "NaN"),
        done("a", "1\0"),
        done("a", '"' + "x" * 70_000),
        done("a", "[" * 5000 + "]" * 5000),
        done("a", "1" * (MOST_STEP_BYTES + 1)),
        done("a", '"' + "ü" * (MOST_STEP_BYTES // 2) + '"'),
    ],
    ids=lambda note: f"{note.name[:3]} {(note.result or 'begun')[:8]!r}",
)
def test_a_forged_step_is_not_stored_and_costs_its_neighbours_nothing(store: Store, forged: StepNote) -> None:
    job_id = store.run_one()
    committed = store.commit(does(job_id, done("before", "1"), forged, done("after", "2")))
    assert committed.answers == (None,)
    assert results(store, job_id) == {"before": 1, "after": 2}
    assert len(steps(store, job_id)) == 2


@pytest.mark.parametrize("at", [nan, inf, -inf, 1e300])
def test_a_forged_time_is_held_within_what_can_be_stored(store: Store, at: float) -> None:
    job_id = store.run_one()
    assert store.commit(does(job_id, begun("a", at), done("a", "1", at))).answers == (None,)
    assert results(store, job_id) == {"a": 1}


def test_a_name_of_255_characters_is_one(store: Store) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, done("ü" * 255, "1")))
    assert results(store, job_id) == {"ü" * 255: 1}


def test_a_job_has_a_thousand_steps_however_many_were_begun(store: Store) -> None:
    job_id = store.run_one()
    names = [f"step {number}" for number in range(MOST_STEPS)]
    store.commit(does(job_id, *[begun(f"never done {number}") for number in range(MOST_STEPS + 9)]))
    store.commit(does(job_id, *map(done, [*names, "one more"]), first=MOST_STEPS + 9))
    assert list(results(store, job_id)) == names
    assert counted(store, job_id)[0] == MOST_STEPS
    assert len(steps(store, job_id)) == 2 * MOST_STEPS


def test_the_results_of_a_job_take_a_mebibyte_and_what_finds_no_room_leaves_it_to_others(
    store: Store,
) -> None:
    job_id = store.run_one()
    half = "1" * (MOST_STEP_BYTES // 2)
    store.commit(does(job_id, done("a", half), done("b", half + "1"), done("c", half), done("d", "")))
    assert [row["name"] for row in steps(store, job_id)] == ["a", "c"]
    assert counted(store, job_id)[:2] == (2, MOST_STEP_BYTES)


def test_a_step_may_be_named_as_a_signal_is(store: Store) -> None:
    job_id = store.run_one()
    store.commit(waits(job_id), signal(job_id, payload=7), lanes=ONE)
    store.commit(does(job_id, begun("packed"), done("packed", "1"), number=2))
    assert [(row["kind"], row["result"]) for row in steps(store, job_id)] == [("signal", "7"), ("step", "1")]
    assert counted(store, job_id)[0] == 2


# Retries


def test_retries_are_counted_anew_where_an_attempt_got_on(store: Store) -> None:
    job_id = store.run_one(retry_count=1)
    for number, told in enumerate(["a", None, "b", None], 1):
        notes = [does(job_id, begun(told), done(told), number=number)] if told else []
        committed = store.commit(*notes, ends(job_id, FAILED, number))
        assert [attempt.is_retried for attempt in committed.attempts] == [True]
        assert store.job(job_id)["retry_count"] == (2 if told else 3)
        store.now += HOUR
        store.claim(ONE)
    store.commit(ends(job_id, FAILED, 5))
    assert (store.job(job_id)["status"], store.job(job_id)["error"]) == ("failed", "ValueError: no recipient")


def test_a_step_that_began_or_that_an_earlier_attempt_finished_is_no_progress(store: Store) -> None:
    job_id = store.run_one()
    store.commit(does(job_id, done("a")), ends(job_id, FAILED))
    store.now += HOUR
    store.claim(ONE)
    store.commit(does(job_id, done("a"), begun("b"), number=2), ends(job_id, FAILED, 2))
    assert store.job(job_id)["retry_count"] == 2


def test_without_retries_there_is_one_attempt_though_it_got_on(store: Store) -> None:
    job_id = store.run_one(policy=RetryPolicy(max_retries=0))
    store.commit(does(job_id, done("a")), ends(job_id, FAILED))
    assert store.job(job_id)["status"] == "failed"


def test_a_person_who_retries_a_job_gives_it_all_its_retries_from_there(store: Store) -> None:
    job_id = store.run_one(retry_count=3)
    store.commit(ends(job_id, FAILED), retries(job_id))
    assert store.job(job_id)["retry_count_at_submit"] == 0
    store.claim(ONE)
    store.commit(does(job_id, done("a"), number=2), ends(job_id, FAILED, 2))
    assert store.job(job_id)["retry_count"] == 1


# Beside the steps


def test_the_latest_jobs_in_memory_know_their_steps(store: Store) -> None:
    recent = RecentJobs()
    recent.take(store.commit(submission(asked()), lanes=ONE))
    recent.take(store.commit(does(1, begun("a"), done("a", "12"))))
    known = recent.job(1)
    assert known is not None
    assert (known.columns["steps"], known.columns["waiting_on"]) == (1, None)
    recent.take(store.commit(waits(1, "sleep", delay=60.0)))
    known = recent.job(1)
    assert known is not None
    assert known.columns["waiting_on"] == "sleep 1"


def test_jobs_without_steps_run_no_statement_about_them(store: Store) -> None:
    with statements_run_on(store.database) as run:
        job_id = store.run_one()
        store.commit(ends(job_id, FAILED))
        store.now += HOUR
        store.claim(ONE)
        store.commit(ends(job_id, COMPLETED, 2))
    about = [sql for sql in run if "job_steps" in sql or "job_signals" in sql or "jobs_waiting" in sql]
    assert about == []


def test_jobs_are_counted_that_are_amid_their_steps(store: Store) -> None:
    ids = store.submit(*(asked() for _ in range(8)))
    store.claim(Lanes(7))
    runs, waits_on, tried_again, failed, new, none, naps, _ = ids
    store.commit(*(does(id, begun("a"), done("a")) for id in (runs, waits_on, tried_again, failed)))
    store.commit(does(new, begun("a")), waits(waits_on), waits(naps, "sleep", delay=60.0))
    for end in (ends(tried_again, FAILED), ends(none, FAILED)):
        store.commit(end)
    store.commit(ends(failed, Ending.failed("ValueError", "no", may_retry=False)))
    reader = Reader(store.state_dir)
    assert reader.amid_steps() == len([runs, waits_on, tried_again, naps])
    reader.close()
