"""Deleting what is old of schedules' occurrences: which rows go, which stay, and that the rest is dealt with."""

from __future__ import annotations

from contextlib import closing

import pytest

from bgjobd.store import deletions
from bgjobd.store.committed import TrimmedOccurrences
from bgjobd.store.items.retention import OccurrenceTrimming
from bgjobd.store.items.schedules import SchedulePaused, SchedulesDefined, SchedulesSetBack
from bgjobd.store.reader import Reader
from tests.store.samples import NOW, Store
from tests.store.test_schedules import FIRST, MINUTE, NIGHTLY, deal, define, rows, stored

DAY = 86_400.0


@pytest.fixture
def nightly(store: Store) -> Store:
    """Five occurrences, each a row."""
    define(store, NIGHTLY, is_new=True)
    store.now = FIRST + 240
    deal(store)
    return store


def trim(store: Store, before: float, after: str = "") -> TrimmedOccurrences:
    trimmed: TrimmedOccurrences = store.answer(OccurrenceTrimming(before, after))
    return trimmed


def oldest(store: Store) -> float | None:
    with closing(Reader(store.state_dir)) as reader:
        return reader.old.oldest_occurrence()


def test_rows_from_before_a_time_go_and_the_schedule_is_known_from_there_on(nightly: Store) -> None:
    assert oldest(nightly) == FIRST
    assert trim(nightly, FIRST + 120) == TrimmedOccurrences(2, None)
    assert [row[0] for row in rows(nightly)] == [2, 3, 4]
    assert (stored(nightly).since, oldest(nightly)) == (FIRST + 60, FIRST + 120)


def test_the_newest_row_stays_for_what_is_skipped_next_makes_it_grow(nightly: Store) -> None:
    nightly.commit(SchedulePaused(NIGHTLY))
    nightly.now += 60
    deal(nightly)
    assert trim(nightly, NOW + 400 * DAY) == TrimmedOccurrences(5, None)
    assert oldest(nightly) is None
    nightly.now += 60
    assert deal(nightly).is_more
    assert rows(nightly) == [(5, 6, 2, "skipped", "paused", None)]


def test_what_became_a_job_before_the_clock_was_set_back_stays_and_becomes_none_again(
    nightly: Store,
) -> None:
    nightly.now = FIRST + 90
    nightly.answer(SchedulesSetBack(((NIGHTLY, MINUTE),)))
    assert trim(nightly, NOW + 400 * DAY) == TrimmedOccurrences(1, None)
    assert [row[0] for row in rows(nightly)] == [1, 2, 3, 4]
    assert stored(nightly).known == {FIRST + 120, FIRST + 180, FIRST + 240}


def test_of_one_that_was_removed_all_rows_go_and_then_itself(nightly: Store) -> None:
    nightly.commit(SchedulesDefined(()))
    assert trim(nightly, FIRST + 240) == TrimmedOccurrences(4, None)
    assert trim(nightly, NOW + DAY) == TrimmedOccurrences(1, None)
    assert nightly.rows("SELECT name FROM schedules") == []


def test_many_rows_and_many_schedules_go_in_portions(nightly: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletions, "_ENTRIES_AT_ONCE", 3)
    monkeypatch.setattr(deletions, "_SCHEDULES_AT_ONCE", 2)
    define(nightly, *("a", "b", NIGHTLY, "o"))
    before = NOW + DAY
    assert trim(nightly, before) == TrimmedOccurrences(0, "b")
    assert trim(nightly, before, "b") == TrimmedOccurrences(3, "b")
    assert trim(nightly, before, "b") == TrimmedOccurrences(1, "o")
    assert trim(nightly, before, "o") == TrimmedOccurrences(0, None)
    assert [row[0] for row in rows(nightly)] == [4]


def test_a_long_row_stays_until_its_end_is_old(store: Store) -> None:
    define(store, NIGHTLY, is_new=True)
    store.commit(SchedulePaused(NIGHTLY))
    store.now = FIRST + 30 * DAY
    for _ in range(2):  # which are more than a transaction deals with
        deal(store)
    store.database.execute_sql("UPDATE schedules SET paused_at = NULL")
    store.now += 60
    deal(store)
    assert trim(store, FIRST + 29 * DAY) == TrimmedOccurrences(0, None)
    assert oldest(store) == FIRST + 30 * DAY
    assert trim(store, FIRST + 31 * DAY).rows == 1
