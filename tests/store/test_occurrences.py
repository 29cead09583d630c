"""What is read of schedules' occurrences: the latest of each, and those of one in pages, each found by its key."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjobd.core.planner import Lanes
from bgjobd.host.clock import to_text
from bgjobd.store.items.schedules import OccurrenceAsked, ScheduleDefined, SchedulePaused, SchedulesDefined
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.occurrences import OccurrencePage, ScheduleStanding
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, Store, asked, ends, starts, statements_run_on

OWN = Submitter(0, 0, 17)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def define(store: Store, *names: str) -> None:
    store.answer(SchedulesDefined(tuple(ScheduleDefined(name, "{}", is_new=True) for name in names)))


def test_the_latest_row_of_each_schedule_is_told_with_its_job_as_it_stands(
    store: Store, reader: Reader
) -> None:
    define(store, "none", "one", "paused")
    store.answer(OccurrenceAsked("one", asked(), OWN))
    store.now += 1
    store.answer(OccurrenceAsked("one", asked(), OWN))
    store.commit(SchedulePaused("paused"))
    told = reader.schedules.standings()
    assert told["none"] == ScheduleStanding()
    assert told["paused"] == ScheduleStanding(paused_at=to_text(store.now))
    last = told["one"].last
    assert last is not None
    assert (last["job_id"], last["at"], last["status"]) == (2, to_text(store.now + 1e-6), "pending")
    store.commit(lanes=Lanes(2))
    store.commit(starts(2), ends(2, COMPLETED))
    (standing,) = reader.schedules.standings("one").values()
    last = standing.last
    assert last is not None
    assert last["status"] == "completed"


def test_a_removed_schedule_has_its_past_alone(store: Store, reader: Reader) -> None:
    define(store, "one")
    store.answer(OccurrenceAsked("one", asked(), OWN))
    define(store)
    assert reader.schedules.standings() == {}
    page = reader.schedules.occurrences("one")
    assert page is not None
    assert [row["job_id"] for row in page.rows] == [1]
    assert reader.schedules.occurrences("other") is None
    define(store, "other")
    assert reader.schedules.occurrences("other") == OccurrencePage([], None)


def test_of_a_skip_the_job_in_the_way_is_told_and_not_how_it_stands(store: Store, reader: Reader) -> None:
    define(store, "one")
    store.answer(OccurrenceAsked("one", asked(), OWN))
    store.database.execute_sql("UPDATE schedule_occurrences SET verdict = 'skipped', reason = 'overlap'")
    page = reader.schedules.occurrences("one")
    assert page is not None
    assert [(row["job_id"], row["reason"], row["status"]) for row in page.rows] == [(1, "overlap", None)]


def test_pages_are_read_by_key_and_a_full_one_knows_whether_it_is_the_last(
    store: Store, reader: Reader
) -> None:
    define(store, "one", "other")
    for _ in range(4):
        store.answer(OccurrenceAsked("one", asked(), OWN))
        store.answer(OccurrenceAsked("other", asked(), OWN))
        store.now += 1
    first = reader.schedules.occurrences("one", limit=2)
    assert first is not None
    assert [row["job_id"] for row in first.rows] == [7, 5]
    assert first.next == to_text(NOW + 2 + 1e-6)
    second = reader.schedules.occurrences("one", before=first.next, limit=2)
    assert second is not None
    assert ([row["job_id"] for row in second.rows], second.next) == ([3, 1], None)


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_nothing_is_scanned_but_the_schedules(store: Store, reader: Reader, is_analyzed: bool) -> None:
    define(store, "one", "other")
    for _ in range(5):
        store.answer(OccurrenceAsked("one", asked(), OWN))
    if is_analyzed:
        store.database.execute_sql("ANALYZE")
    with statements_run_on(reader._database) as run:
        reader.schedules.standings()
        reader.schedules.occurrences("one", before=to_text(NOW))
    assert len(run) == 3
    steps = [
        step[3]
        for statement in run
        for step in reader._database.execute_sql(f"EXPLAIN QUERY PLAN {statement}").fetchall()
    ]
    assert [step for step in steps if step.startswith("SCAN") and not step.startswith("SCAN s")] == []
    assert not [step for step in steps if "TEMP B-TREE" in step]
