"""Occurrences in the file: each has one row, each that became a job has that, whatever is repeated and whenever."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from itertools import takewhile
from typing import Any

import pytest

from bgjob.errors import DuplicateError, PermissionDeniedError, ScheduleNotFoundError
from bgjob.words import Status
from bgjobd.core.calendar import Every
from bgjobd.core.planner import Lanes
from bgjobd.core.schedules import Due, Missed, Overlap, Rules, Span, due, left_of
from bgjobd.core.unique import Unique
from bgjobd.host.clock import from_text, to_text
from bgjobd.store import backfills
from bgjobd.store.committed import Dealt, StoredSchedule
from bgjobd.store.items.schedules import (
    Backfill,
    OccurrenceAsked,
    OccurrencesDue,
    ScheduleDefined,
    ScheduleDeleted,
    ScheduleDue,
    SchedulePaused,
    SchedulePut,
    ScheduleResumed,
    SchedulesDefined,
    SchedulesSetBack,
    SkippedRow,
)
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, STOPPED, Store, asked, cancels, ends, retries, starts

NIGHTLY = "nightly"
MINUTE = Every(60.0)
DAEMON = Submitter(0, 0, 17)
ALL = Rules(Missed.RUN_ALL, Overlap.ALLOW)
FIRST = NOW - NOW % 60 + 60
"""The first occurrence after NOW."""

NO_JOB: Any = object()


@pytest.fixture
def nightly(store: Store) -> Store:
    define(store, NIGHTLY, is_new=True)
    return store


def define(store: Store, *names: str, **given: Any) -> tuple[StoredSchedule, ...]:
    found: tuple[StoredSchedule, ...] = store.answer(
        SchedulesDefined(tuple(ScheduleDefined(name, "{}", **given) for name in names))
    )
    return found


def stored(store: Store, name: str = NIGHTLY) -> StoredSchedule:
    found: tuple[StoredSchedule, ...] = store.answer(SchedulesDefined((ScheduleDefined(name, "{}"),)))
    return found[0]


def what_is_due(store: Store, rules: Rules = ALL, job: Any = NO_JOB, **given: Any) -> OccurrencesDue:
    now = stored(store)
    *_, found = due(MINUTE.after(now.cursor), now.known, rules, store.now)
    assert found is not None
    fact = asked() if job is NO_JOB else job
    one = ScheduleDue(NIGHTLY, now.cursor, found, rules, fact, given.pop("jitter", 0.0), store.now)
    return OccurrencesDue((one,), DAEMON)


def deal(store: Store, rules: Rules = ALL, job: Any = NO_JOB, **given: Any) -> Dealt:
    (dealt,) = store.answer(what_is_due(store, rules, job, **given))
    assert isinstance(dealt, Dealt)
    return dealt


def rows(store: Store) -> list[tuple[float, float, int, str, str | None, int | None]]:
    """at and until as minutes from FIRST."""
    found = store.database.execute_sql(
        "SELECT at, until, count, verdict, reason, job_id FROM schedule_occurrences ORDER BY at"
    ).fetchall()
    return [(minutes(at), minutes(until), *others) for at, until, *others in found]


def minutes(at: str) -> float:
    return (from_text(at) - FIRST) / 60


def waits(store: Store) -> dict[int, int]:
    """What the jobs that have not ended wait for."""
    return dict(
        store.database.execute_sql(
            "SELECT id, ready FROM background_jobs WHERE finished_at IS NULL"
        ).fetchall()
    )


def start_all(store: Store) -> None:
    claims = store.commit(lanes=Lanes(10)).claims
    for claim in claims:
        store.commit(starts(claim.job.id, claim.job.attempt))


def test_an_occurrence_becomes_a_job_with_its_row_and_its_cursor(nightly: Store) -> None:
    nightly.now = FIRST
    assert deal(nightly).cursor == FIRST
    assert rows(nightly) == [(0, 0, 1, "submitted", None, 1)]
    job = nightly.job(1)
    assert (job["schedule"], job["occurrence"]) == (NIGHTLY, to_text(FIRST))
    assert (job["submitted_uid"], job["submitted_pid"], job["scheduled_at"]) == (0, 17, None)


def test_what_is_handed_over_again_was_dealt_with(nightly: Store) -> None:
    nightly.now = FIRST + 60
    item = what_is_due(nightly)
    assert len(nightly.answer(item)[0].verdicts) == 2
    assert nightly.answer(item) == (Dealt(FIRST + 60),)
    nightly.now += 60
    item = what_is_due(nightly)
    assert nightly.commit(item, item).answers[1] == (Dealt(FIRST + 120),)
    assert [row[-1] for row in rows(nightly)] == [1, 2, 3]


def test_those_skipped_in_a_row_for_one_reason_are_one_row(nightly: Store) -> None:
    nightly.commit(SchedulePaused(NIGHTLY))
    for minute in range(3):
        nightly.now = FIRST + 60 * minute
        assert deal(nightly).is_more == (minute > 0)
    assert rows(nightly) == [(0, 2, 3, "skipped", "paused", None)]
    nightly.commit(ScheduleResumed(NIGHTLY))
    nightly.now += 60
    deal(nightly, job=None)
    nightly.now += 60
    deal(nightly)
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now += 60
    assert not deal(nightly).is_more
    assert rows(nightly)[1:] == [
        (3, 3, 1, "skipped", "refused", None),
        (4, 4, 1, "submitted", None, 1),
        (5, 5, 1, "skipped", "paused", None),
    ]


def test_two_months_of_minutes_are_one_row_and_one_job(nightly: Store) -> None:
    nightly.now = FIRST + 60 * 86_400 + 30
    deal(nightly, Rules(late=10.0))
    assert [row[2:] for row in rows(nightly)] == [
        (60 * 1440, "skipped", "missed", None),
        (1, "submitted", None, 1),
    ]


def test_a_job_that_overlaps_is_named(nightly: Store) -> None:
    nightly.now = FIRST
    deal(nightly, Rules())
    start_all(nightly)
    nightly.now += 60
    deal(nightly, Rules())
    nightly.commit(ends(1, COMPLETED))
    nightly.now += 60
    deal(nightly, Rules())
    assert rows(nightly)[1:] == [(1, 1, 1, "skipped", "overlap", 1), (2, 2, 1, "submitted", None, 2)]


def test_jobs_wait_in_a_row_each_for_the_one_before(nightly: Store) -> None:
    nightly.now = FIRST + 600
    deal(nightly, Rules(Missed.RUN_ALL, Overlap.WAIT, late=0.0, missed_limit=3))
    assert rows(nightly)[0][2:] == (7, "skipped", "missed", None)
    assert waits(nightly) == {1: 1, 2: 2, 3: 2}
    start_all(nightly)
    assert nightly.commit(lanes=Lanes(10)).claims == ()
    nightly.commit(ends(1, COMPLETED))
    assert waits(nightly) == {2: 1, 3: 2}
    nightly.commit(cancels(2))
    assert waits(nightly) == {3: 1}


def test_one_whose_predecessor_is_cancelled_waits_for_the_one_before_that(nightly: Store) -> None:
    nightly.now = FIRST + 600
    deal(nightly, Rules(Missed.RUN_ALL, Overlap.WAIT, late=0.0, missed_limit=4))
    start_all(nightly)
    nightly.commit(cancels(2))
    nightly.commit(cancels(3))
    assert waits(nightly) == {1: 1, 4: 2}
    nightly.commit(retries(2))
    nightly.commit(ends(1, COMPLETED))
    assert waits(nightly) == {2: 1, 4: 2}


def test_behind_very_many_jobs_one_waits_at_most(nightly: Store) -> None:
    rules = Rules(overlap=Overlap.WAIT)
    nightly.now = FIRST
    nightly.answer(backfill(nightly, FIRST - 1100 * 60, FIRST - 60))
    for _ in range(3):
        deal(nightly, rules)
        nightly.now += 60
    assert [row[2:] for row in rows(nightly)[1100:]] == [
        (1, "submitted", None, 1101),
        (2, "skipped", "overlap", 1),
    ]


def test_one_that_waits_can_be_cancelled_and_retried(nightly: Store) -> None:
    nightly.now = FIRST
    rules = Rules(overlap=Overlap.WAIT)
    deal(nightly, rules)
    start_all(nightly)
    nightly.now += 60
    deal(nightly, rules)
    nightly.commit(cancels(2))
    assert nightly.job(2)["status"] == Status.CANCELLED
    nightly.commit(retries(2))
    assert waits(nightly) == {1: 1, 2: 2}


def test_a_newer_one_cancels_what_runs_and_what_waits(nightly: Store) -> None:
    rules = Rules(overlap=Overlap.CANCEL)
    nightly.now = FIRST
    deal(nightly, rules)
    start_all(nightly)
    for _ in range(2):
        nightly.now += 60
        stops = nightly.commit(what_is_due(nightly, rules)).stops
    assert [job.id for job in stops] == []
    assert nightly.job(1)["cancel_requested_at"] == to_text(FIRST + 60)
    assert nightly.job(2)["status"] == Status.CANCELLED
    assert waits(nightly) == {1: 1, 3: 2}


def test_a_full_queue_is_a_reason(nightly: Store) -> None:
    lanes = replace(Lanes(0), max_pending={"default": 1})
    nightly.now = FIRST + 60
    nightly.commit(what_is_due(nightly), lanes=lanes)
    assert rows(nightly) == [(0, 0, 1, "submitted", None, 1), (1, 1, 1, "skipped", "queue full", None)]


KEYED = asked(unique=Unique("k"), expires_in=30.0)


def test_an_occurrence_whose_unique_key_is_held_is_skipped_until_that_is_released(nightly: Store) -> None:
    nightly.submit(asked(unique=Unique("k")))
    nightly.now = FIRST
    deal(nightly, job=KEYED)
    assert rows(nightly) == [(0, 0, 1, "skipped", "held", 1)]
    assert isinstance(nightly.answer(OccurrenceAsked(NIGHTLY, KEYED, DAEMON)), DuplicateError)
    nightly.commit(cancels(1))
    nightly.now += 120
    deal(nightly, job=KEYED)
    assert rows(nightly)[1:] == [(1, 1, 1, "submitted", None, 2), (2, 2, 1, "skipped", "held", 2)]
    assert nightly.job(2)["expires_at"] == to_text(nightly.now + 30)


def test_of_jobs_with_a_unique_key_one_occurrence_at_a_time_is_backfilled(nightly: Store) -> None:
    nightly.now = FIRST + 120
    deal(nightly, job=None)
    several = replace(backfill(nightly, FIRST, FIRST + 60), job=KEYED)
    assert isinstance(nightly.answer(several), PermissionDeniedError)
    assert nightly.answer(replace(backfill(nightly, FIRST, FIRST), job=KEYED)) == (1,)
    again = replace(backfill(nightly, FIRST + 60, FIRST + 60), job=KEYED)
    assert isinstance(nightly.answer(again), DuplicateError)
    assert nightly.count("background_jobs") == 1


def test_the_place_of_one_that_is_cancelled_is_no_place_in_another_queue(nightly: Store) -> None:
    rules = Rules(overlap=Overlap.CANCEL)
    nightly.now = FIRST
    deal(nightly, rules)
    nightly.submit(asked(queue="narrow"))
    nightly.now += 60
    lanes = replace(Lanes(0), max_pending={"narrow": 1})
    nightly.commit(what_is_due(nightly, rules, asked(queue="narrow")), lanes=lanes)
    assert rows(nightly)[1] == (1, 1, 1, "skipped", "queue full", None)
    assert nightly.job(1)["status"] == Status.PENDING


def test_a_schedule_that_cannot_be_dealt_with_keeps_up_no_other(store: Store) -> None:
    names = ("a", "b", "c")
    cursors = {one.name: one.cursor for one in define(store, *names, is_new=True)}
    store.now = FIRST
    found = Due(None, (FIRST,), FIRST)
    jobs = {"a": asked(), "b": asked(priority=1 << 70), "c": asked()}
    due_now = [ScheduleDue(name, cursors[name], found, ALL, jobs[name], 0.0, FIRST) for name in names]
    a, b, c = store.answer(OccurrencesDue(tuple(due_now), DAEMON))
    assert [one.cursor for one in (a, c)] == [FIRST, FIRST]
    assert (b.cursor, b.verdicts, type(b.refusal)) == (cursors["b"], (), OverflowError)
    told = store.rows("SELECT name, job_id FROM schedule_occurrences ORDER BY name")
    assert [tuple(row.values()) for row in told] == [("a", 1), ("c", 2)]
    assert store.count("background_jobs") == 2


def test_jitter_puts_off_the_job_and_not_its_occurrence(nightly: Store) -> None:
    nightly.now = FIRST
    deal(nightly, jitter=30.0)
    job = nightly.job(1)
    assert 0 < from_text(job["scheduled_at"]) - FIRST < 30
    assert job["occurrence"] == to_text(FIRST)


def test_what_somebody_asks_for_is_a_row_of_its_own(nightly: Store) -> None:
    nightly.now = FIRST
    deal(nightly)
    assert nightly.answer(OccurrenceAsked(NIGHTLY, asked(), DAEMON)) == 2
    assert nightly.answer(OccurrenceAsked(NIGHTLY, asked(), DAEMON)) == 3
    assert [row[2:] for row in rows(nightly)] == [
        (1, "submitted", None, 1),
        (1, "asked", None, 2),
        (1, "asked", None, 3),
    ]
    asked_at = [nightly.job(job_id)["occurrence"] for job_id in (2, 3)]
    assert asked_at == [to_text(FIRST + 1e-6), to_text(FIRST + 2e-6)]
    nightly.now += 60
    deal(nightly)
    assert stored(nightly).cursor == FIRST + 60


def test_nobody_asks_for_a_job_of_a_definition_that_does_not_hold(nightly: Store) -> None:
    nightly.now = FIRST
    refused = nightly.answer(OccurrenceAsked(NIGHTLY, asked(), DAEMON, "of another host"))
    assert isinstance(refused, PermissionDeniedError)
    assert "another definition of schedule nightly, which holds; ask there" in str(refused)
    assert rows(nightly) == []
    assert nightly.answer(OccurrenceAsked(NIGHTLY, asked(), DAEMON, "{}")) == 1


def test_what_is_asked_for_at_an_occurrence_that_was_not_dealt_with_yet_keeps_its_row(nightly: Store) -> None:
    nightly.now = FIRST
    nightly.answer(OccurrenceAsked(NIGHTLY, asked(), DAEMON))
    deal(nightly)
    assert [row[3:] for row in rows(nightly)] == [("submitted", None, 2), ("asked", None, 1)]


def test_a_new_schedule_begins_now_and_a_removed_one_begins_anew(store: Store) -> None:
    (first,) = define(store, NIGHTLY, is_new=True)
    assert (first.since, first.cursor) == (NOW, NOW)
    store.now += 60
    assert define(store, NIGHTLY) == (first,)
    assert define(store, "other", is_new=True)[0].name == "other"
    store.commit(SchedulePaused("other"))
    define(store, NIGHTLY, is_new=True)
    store.now += 60
    again = define(store, NIGHTLY, "other", is_new=True)[1]
    assert (again.since, again.cursor, again.paused_at) == (store.now, store.now, None)


def test_what_was_due_by_other_times_is_told(nightly: Store) -> None:
    nightly.now = FIRST + 130
    (after,) = define(
        nightly, NIGHTLY, is_new=True, changed=(Span(FIRST, FIRST + 120, 3),), since=FIRST + 125
    )
    assert (after.since, after.cursor) == (FIRST + 125, FIRST + 125)
    assert rows(nightly) == [(0, 2, 3, "skipped", "changed", None)]


def test_what_was_skipped_ahead_of_a_beginning_is_forgotten(nightly: Store) -> None:
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now = FIRST + 600
    deal(nightly)
    nightly.now = FIRST - 30
    define(nightly, NIGHTLY, is_new=True)
    assert rows(nightly) == []


def test_a_row_of_other_times_does_not_grow(nightly: Store) -> None:
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now = FIRST + 60
    deal(nightly)
    define(nightly, NIGHTLY, is_new=True, since=FIRST + 90)
    nightly.now = FIRST + 180
    assert not deal(nightly).is_more
    assert rows(nightly) == [(0, 1, 2, "skipped", "paused", None), (2, 3, 2, "skipped", "paused", None)]


def test_a_clock_that_is_set_back_over_a_change_of_times_takes_the_beginning_with_it(nightly: Store) -> None:
    nightly.now = FIRST + 150
    define(nightly, NIGHTLY, is_new=True, changed=(Span(FIRST, FIRST + 120, 5),), since=FIRST + 150)
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now = FIRST + 600
    deal(nightly)
    nightly.now = FIRST + 30
    (back,) = nightly.answer(SchedulesSetBack(((NIGHTLY, MINUTE),)))
    assert (stored(nightly).since, back.cursor, back.taken_back) == (nightly.now, nightly.now, 8)
    assert rows(nightly) == [(0, 2, 5, "skipped", "changed", None)]
    nightly.now = FIRST + 660
    deal(nightly)
    assert rows(nightly)[1:] == [(1, 11, 11, "skipped", "paused", None)]


def test_jobs_of_older_times_that_are_ahead_stay_before_the_beginning(nightly: Store) -> None:
    nightly.now = FIRST + 60
    deal(nightly)
    nightly.now += 30
    define(nightly, NIGHTLY, is_new=True)
    nightly.now = FIRST + 30
    nightly.answer(SchedulesSetBack(((NIGHTLY, Every(420.0)),)))
    assert (stored(nightly).since, stored(nightly).cursor) == (FIRST + 60, FIRST + 30)


def test_times_that_change_after_the_clock_was_set_back_begin_behind_the_jobs_of_the_older_ones(
    nightly: Store,
) -> None:
    nightly.now = FIRST + 60
    deal(nightly)
    nightly.now = FIRST - 30
    nightly.answer(SchedulesSetBack(((NIGHTLY, MINUTE),)))
    (anew,) = define(nightly, NIGHTLY, is_new=True)
    assert (anew.since, anew.cursor, anew.known) == (FIRST + 60, nightly.now, {FIRST, FIRST + 60})


def test_a_clock_that_was_in_the_future_costs_nothing(nightly: Store) -> None:
    nightly.now = FIRST + 60
    deal(nightly)
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now = FIRST + 600
    deal(nightly)
    nightly.commit(ScheduleResumed(NIGHTLY))
    nightly.now = FIRST + 660
    deal(nightly)
    nightly.now = FIRST + 180
    (back,) = nightly.answer(SchedulesSetBack(((NIGHTLY, MINUTE),)))
    assert (back.cursor, back.known, back.taken_back) == (nightly.now, {FIRST + 660}, 7)
    assert rows(nightly)[2:] == [(2, 3, 2, "skipped", "paused", None), (11, 11, 1, "submitted", None, 3)]
    for _ in range(3):
        nightly.now += 300
        deal(nightly)
        if stored(nightly).cursor < nightly.now:  # it ends with what was a job already
            deal(nightly)
    assert len({row[-1] for row in rows(nightly) if row[3] == "submitted"}) == 17
    assert spans(rows(nightly)) == list(range(19))


def spans(found: Iterable[tuple[float, float, int, Any, Any, Any]]) -> list[float]:
    covered: list[float] = []
    for at, until, count, *_ in found:
        each = [at + minute for minute in range(int(until - at) + 1)]
        assert len(each) == count
        covered += each
    return covered


def test_of_a_thousand_schedules_each_has_its_job(store: Store) -> None:
    names = [f"s{number}" for number in range(1000)]
    define(store, *names, is_new=True)
    store.now = FIRST
    every = tuple(
        ScheduleDue(name, NOW, Due(None, (FIRST,), FIRST), Rules(), asked(), 0.0, FIRST) for name in names
    )
    dealt = store.answer(OccurrencesDue(every, DAEMON))
    assert [one.verdicts[0].id for one in dealt] == list(range(1, 1001))


def backfill(store: Store, first: float, last: float) -> Backfill:
    """Of the minutes from `first` to `last`, each that has no job; they start a second apart."""
    jobs, skipped = backfills.read(store.database.connection().execute, NIGHTLY, first, last)
    wanted = [at for at in takewhile(lambda at: at <= last, MINUTE.after(first - 1)) if at not in jobs]
    left: list[SkippedRow] = []
    for row in skipped:
        left += [replace(row, span=span) for span in left_of(MINUTE, row.span, wanted) if span is not None]
    each = tuple((at, store.now + place) for place, at in enumerate(wanted))
    return Backfill(NIGHTLY, each, tuple(skipped), tuple(left), asked(), DAEMON)


def skip_ten_minutes(store: Store) -> None:
    """The first minute has a job, the next ten are one row."""
    store.now = FIRST
    deal(store)
    store.commit(SchedulePaused(NIGHTLY))
    store.now = FIRST + 600
    deal(store)


def test_a_backfill_makes_each_occurrence_without_a_job_one_and_splits_its_row(nightly: Store) -> None:
    skip_ten_minutes(nightly)
    item = backfill(nightly, FIRST, FIRST + 180)
    assert nightly.answer(item) == (2, 3, 4)
    assert rows(nightly) == [
        (0, 0, 1, "submitted", None, 1),
        (1, 1, 1, "backfilled", None, 2),
        (2, 2, 1, "backfilled", None, 3),
        (3, 3, 1, "backfilled", None, 4),
        (4, 10, 7, "skipped", "paused", None),
    ]
    job = nightly.job(3)
    assert job["occurrence"] == to_text(FIRST + 120)
    assert job["scheduled_at"] == to_text(nightly.now + 1)
    assert nightly.answer(item) is None
    assert backfill(nightly, FIRST, FIRST + 180).wanted == ()


def test_a_backfill_within_a_row_leaves_two(nightly: Store) -> None:
    skip_ten_minutes(nightly)
    assert nightly.answer(backfill(nightly, FIRST + 240, FIRST + 240)) == (2,)
    assert rows(nightly)[1:] == [
        (1, 3, 3, "skipped", "paused", None),
        (4, 4, 1, "backfilled", None, 2),
        (5, 10, 6, "skipped", "paused", None),
    ]
    nightly.now += 60
    assert deal(nightly).is_more
    assert rows(nightly)[-1] == (5, 11, 7, "skipped", "paused", None)


def test_a_row_that_has_grown_meanwhile_is_not_split(nightly: Store) -> None:
    skip_ten_minutes(nightly)
    item = backfill(nightly, FIRST + 240, FIRST + 240)
    nightly.now += 60
    deal(nightly)
    assert nightly.answer(item) is None
    assert rows(nightly)[1:] == [(1, 11, 11, "skipped", "paused", None)]


def test_a_backfill_before_the_schedule_was_there_makes_rows_of_its_own(nightly: Store) -> None:
    assert nightly.answer(backfill(nightly, FIRST - 120, FIRST - 60)) == (1, 2)
    assert [row[3:] for row in rows(nightly)] == [("backfilled", None, 1), ("backfilled", None, 2)]
    nightly.now = FIRST
    assert not deal(nightly).is_more


def test_the_last_success_of_a_schedule_is_that_of_its_newest_job_that_completed(nightly: Store) -> None:
    nightly.now = FIRST + 120
    deal(nightly)
    start_all(nightly)
    nightly.commit(ends(1, COMPLETED, at=NOW + 2), ends(2, COMPLETED, at=NOW + 1), ends(3, STOPPED))
    with closing(Reader(nightly.state_dir)) as reader:
        assert reader.schedules.last_successes([NIGHTLY, "other"]) == {NIGHTLY: NOW + 1, "other": None}


def put(store: Store, name: str) -> StoredSchedule:
    found: StoredSchedule = store.answer(
        SchedulePut(ScheduleDefined(name, "{}", is_new=True), 7, "alice", 10)
    )
    return found


def test_of_a_schedule_that_was_put_and_deleted_stays_what_has_a_past(store: Store) -> None:
    define(store, NIGHTLY, is_new=True)
    for name in ("customer/1", "customer/2"):
        put(store, name)
    store.answer(OccurrenceAsked("customer/1", asked(), DAEMON))
    names = ("customer/1", "customer/2", NIGHTLY, "customer/3", "customer/1")
    assert [store.answer(ScheduleDeleted(name)) for name in names] == [True, True, False, False, False]
    found = store.rows("SELECT name, removed_at IS NULL AS is_there FROM schedules ORDER BY name")
    assert [(row["name"], row["is_there"]) for row in found] == [("customer/1", 0), (NIGHTLY, 1)]
    gone = store.answer(OccurrenceAsked("customer/1", asked(), DAEMON))
    assert isinstance(gone, ScheduleNotFoundError)
    item = Backfill("customer/2", ((FIRST, None),), (), (), asked(), DAEMON)
    assert isinstance(store.answer(item), ScheduleNotFoundError)
    store.now += 1
    assert put(store, "customer/1").since == store.now
