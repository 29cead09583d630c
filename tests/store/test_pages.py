"""Pages of whatever it is: how one goes on, how large they are, and when a search stops."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjobd.core.job import Ending
from bgjobd.store import bounds
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.pages import entries, jobs, walks
from bgjobd.store.pages.page import MOST_BYTES, Page, in_pages
from bgjobd.store.pages.walks import FIRST_CHUNK
from bgjobd.store.reader import Reader
from bgjobd.store.readers import is_search
from tests.store.paging import all_pages, every_status, ids, lives, messages_of, said
from tests.store.samples import (
    NOW,
    Store,
    asked,
    ends,
    statements_run_on,
    text,
)

NO_TIME = 0.0
WHOLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""One file for all examples: each adds to it."""


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


# Going on from page to page


@pytest.mark.timeout(240)  # a server is asked for some thousand pages
@WHOLE
@given(
    limit=st.integers(1, 5),
    inserted=st.lists(st.integers(0, 3), max_size=12),
    wanted=st.sampled_from([LogFilter(), LogFilter(search="m"), LogFilter(type="info"), LogFilter(id=1)]),
    budget=st.sampled_from([NO_TIME, 60.0]),
)
def test_paging_through_entries_gives_each_once_whatever_is_inserted_meanwhile(
    store: Store, reader: Reader, limit: int, inserted: list[int], wanted: LogFilter, budget: float
) -> None:
    if not store.count("background_jobs"):
        store.submit(asked())
    floor = reader.last_log_id()
    said(store, *["message"] * 9)
    there = list(range(floor + 1, floor + 10))
    to_insert = iter(inserted)

    def meanwhile(page: Page) -> Page:
        said(store, *["message"] * next(to_insert, 0))
        return page

    rows = all_pages(lambda key: meanwhile(reader.logs(wanted, before=key, limit=limit, budget=budget)))
    found = [row["id"] for row in rows]
    assert [id for id in found if id > floor] == there[::-1]
    assert found == sorted(set(found), reverse=True)

    last = floor
    seen: list[int] = []
    while (page := meanwhile(reader.logs(wanted, after=last, limit=limit, budget=budget))).next is not None:
        seen += ids(page)
        last = page.next
    seen += ids(page)
    assert seen == list(range(floor + 1, floor + 1 + len(seen)))
    assert set(there) <= set(seen)


@pytest.mark.timeout(240)  # a server is asked for some thousand pages
@WHOLE
@given(
    limit=st.integers(1, 5),
    inserted=st.lists(st.integers(0, 3), max_size=12),
    wanted=st.sampled_from(
        [JobFilter(), JobFilter(search="EXAMPLE"), JobFilter(status=("pending",)), JobFilter(queue="default")]
    ),
)
def test_paging_through_jobs_gives_each_once_whatever_is_inserted_meanwhile(
    store: Store, reader: Reader, limit: int, inserted: list[int], wanted: JobFilter
) -> None:
    newest = store.submit(*[asked() for _ in range(7)])[-1]
    to_insert = iter(inserted)

    def ask(key: int | None) -> Page:
        page = reader.list(wanted, before=key, limit=limit, budget=60, now=NOW)
        store.submit(*[asked() for _ in range(next(to_insert, 0))])
        return page

    assert [row["id"] for row in all_pages(ask)] == list(range(newest, 0, -1))


# The size of a page

HALF = MOST_BYTES // 2


def test_a_page_of_large_entries_is_cut_and_goes_on_behind_them(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, "small", "a" * HALF, "\u00e4" * (HALF // 2), "b" * HALF, "c" * 3 * HALF, "d")
    for direction in ({}, {"search": ""}, {"class_name": "myapp.jobs.ExampleJob"}):
        wanted = LogFilter(**direction)
        seen, key = [], None
        while True:
            page = reader.logs(wanted, before=key, limit=1000, budget=60)
            seen.append([message[0] for message in messages_of(page)])
            if page.next is None:
                break
            key = page.next
        assert seen == [["d"], ["c"], ["b"], ["\u00e4"], ["a", "s", "B"]]
    forwards = reader.logs(LogFilter(), after=0, limit=1000)
    assert (messages_of(forwards)[1:], forwards.next) == (["small", "a" * HALF], 3)
    assert ids(reader.logs(LogFilter(), after=4, limit=1)) == [5]


def test_the_limit_of_entries_holds_for_a_page_of_small_ones(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, *["x" * 900] * 999)
    page = reader.logs(LogFilter(), limit=1000)
    assert (len(page.rows), page.next) == (1000, None)


def test_a_large_entry_that_is_the_last_has_no_next_page(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, "x" * 4 * HALF)
    assert ids(reader.logs(LogFilter(), limit=1)) == [2]
    page = reader.logs(LogFilter(), after=1)
    assert (ids(page), page.next) == ([2], None)


def test_a_page_of_jobs_with_long_errors_is_cut_too(store: Store, reader: Reader) -> None:
    for _ in range(3):
        job_id = store.run_one(retry_count=3)
        store.commit(ends(job_id, Ending.failed("ValueError", "x" * HALF)))
    page = reader.list(JobFilter(), limit=1000, now=NOW)
    assert (ids(page), page.next) == ([3], 3)
    rows = all_pages(lambda key: reader.list(JobFilter(), before=key, limit=1000, now=NOW))
    assert [row["id"] for row in rows] == [3, 2, 1]


def test_rows_are_parted_into_pages_in_their_order() -> None:
    rows = [{"id": n, "text": "x" * HALF} for n in range(3)] + [{"id": n} for n in range(3, 9)]
    parted = list(in_pages(rows))
    assert [[row["id"] for row in part] for part in parted] == [[0], [1], [2, 3, 4, 5, 6, 7, 8]]
    assert list(in_pages([])) == []


# What takes looking through


@pytest.mark.parametrize(
    ("wanted", "is_one"),
    [
        (JobFilter(), False),
        (JobFilter(status=("failed", "running")), False),
        (JobFilter(search="x"), True),
        (JobFilter(search=""), False),
        (JobFilter(queue="q"), True),
        (JobFilter(class_name="c"), True),
        (JobFilter(method_name="m"), True),
        (JobFilter(status=("retrying",)), True),
        (JobFilter(status=("failed",), since="2024"), False),
        (JobFilter(since="2024"), True),
        (JobFilter(until="2024"), True),
        (JobFilter(sort="ended", until="2024"), False),
        (JobFilter(status=("failed",), sort="id"), False),
        (JobFilter(status=("failed",), sort="id", until="2024"), True),
        (JobFilter(outcome="lost"), True),
        (JobFilter(longer_than=0.0), True),
        (JobFilter(label="tenant:7"), False),
        (JobFilter(label="tenant:7", queue="q"), True),
        (LogFilter(), False),
        (LogFilter(id=1), False),
        (LogFilter(type="failure"), False),
        (LogFilter(type="success"), True),
        (LogFilter(search="x"), True),
        (LogFilter(class_name="c"), True),
        (LogFilter(id=1, method_name="m"), True),
    ],
)
def test_a_search_is_what_no_index_has_apart(wanted: JobFilter | LogFilter, is_one: bool) -> None:
    assert is_search(wanted) is is_one


# The time of a search


def test_a_search_that_has_no_more_time_says_how_far_it_got_and_goes_on(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, "needle", *["hay"] * 1000)
    first = reader.logs(LogFilter(search="needle"), budget=NO_TIME)
    assert (first.rows, first.is_complete) == ([], False)
    assert first.next == 1002 - FIRST_CHUNK + 1
    rows = all_pages(lambda key: reader.logs(LogFilter(search="needle"), before=key, budget=NO_TIME))
    assert [row["message"] for row in rows] == ["needle"]


def test_a_search_without_time_goes_on_oldest_first_too(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, *["hay"] * 1000, "needle")
    page = reader.logs(LogFilter(search="needle"), after=0, budget=NO_TIME)
    assert (page.rows, page.next, page.is_complete) == ([], FIRST_CHUNK, False)
    while page.next is not None:
        page = reader.logs(LogFilter(search="needle"), after=page.next, budget=NO_TIME)
    assert messages_of(page) == ["needle"]


def test_a_list_of_a_rare_queue_without_time_goes_on_too(store: Store, reader: Reader) -> None:
    store.submit(asked(queue="rare"), *[asked() for _ in range(500)])
    assert not reader.list(JobFilter(queue="rare"), budget=NO_TIME, now=NOW).is_complete
    rows = all_pages(lambda key: reader.list(JobFilter(queue="rare"), before=key, budget=NO_TIME, now=NOW))
    assert [row["id"] for row in rows] == [1]


class Hurried:
    """A clock for the walk: stands until it was asked a number of times, then it is long past any deadline."""

    def __init__(self, patience: int) -> None:
        self.left = patience

    def monotonic(self) -> float:
        self.left -= 1
        return 0.0 if self.left >= 0 else 1e9


def hurry(monkeypatch: pytest.MonkeyPatch, patience: int) -> None:
    """Have a walk, and the statements that it runs, look at such a clock."""
    clock = Hurried(patience)
    for module in (walks, jobs, entries, bounds):
        monkeypatch.setattr(module, "time", clock)


@pytest.mark.parametrize("patience", [2, 3, 5, 8, 13, 21, 34, 55])
def test_a_statement_that_is_interrupted_keeps_what_it_found_and_skips_nothing(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch, patience: int
) -> None:
    store.submit(asked())
    said(store, *[f"needle {n}" if n % 7 == 0 else "hay" for n in range(3000)])
    wanted = [f"needle {n}" for n in range(3000) if n % 7 == 0][::-1]
    monkeypatch.setattr(bounds, "_STEPS", 50)
    interrupted = 0
    found: list[str] = []
    key: int | None = None
    while True:
        hurry(monkeypatch, patience)
        page = reader.logs(LogFilter(search="needle"), before=key, limit=1000)
        found += messages_of(page)
        interrupted += not page.is_complete
        if page.next is None:
            break
        assert key is None or page.next < key
        key = page.next
    assert found == wanted
    assert interrupted


def test_a_reader_that_was_interrupted_answers_the_next_question_whole(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, *["hay"] * 1000)
    reader.logs(LogFilter(search="needle"), budget=0.0001)
    assert len(reader.logs(LogFilter(), limit=1000).rows) == 1000
    assert reader.logs(LogFilter(search="needle"), budget=60) == Page([], None)


# How many there are in all

COUNTED = [
    JobFilter(),
    JobFilter(status=()),
    JobFilter(status=("pending",)),
    JobFilter(status=("scheduled", "failed")),
    JobFilter(status=("running", "completed", "cancelled")),
    JobFilter(status=("failed", "completed"), since=text(NOW)),
    JobFilter(sort="ended", until=text(NOW + 1)),
    JobFilter(status=("failed",), sort="id"),
    JobFilter(outcome="failed", longer_than=0.0),
    JobFilter(queue="closed"),
    JobFilter(search="VALUEERROR"),
    JobFilter(search="nosuch"),
    LogFilter(),
    LogFilter(id=2),
    LogFilter(id=99),
    LogFilter(type="success"),
    LogFilter(type="info"),
    LogFilter(search="BACKGROUND JOB"),
    LogFilter(search="%"),
    LogFilter(type="failure", method_name="run", search="recipient"),
]


def asked_for(reader: Reader, wanted: JobFilter | LogFilter, **more: Any) -> Page:
    """A page of whatever it is; `after` is nothing to a list of jobs."""
    if isinstance(wanted, LogFilter):
        return reader.logs(wanted, **more)
    more.pop("after", None)
    return reader.list(wanted, now=NOW, **more)


@WHOLE
@given(
    wanted=st.sampled_from(COUNTED),
    before=st.none() | st.integers(1, 40),
    after=st.none() | st.integers(0, 40),
    limit=st.integers(1, 30),
    count=st.integers(1, 40),
)
def test_the_total_is_that_of_all_pages_and_at_most_what_was_asked_for(
    store: Store,
    reader: Reader,
    wanted: JobFilter | LogFilter,
    before: int | None,
    after: int | None,
    limit: int,
    count: int,
) -> None:
    if not store.count("background_jobs"):
        every_status(store)
        every_status(store)
    there = len(asked_for(reader, wanted, limit=1000, budget=60).rows)
    page = asked_for(reader, wanted, before=before, after=after, limit=limit, budget=60, count=count)
    assert page.total == min(there, count)
    assert asked_for(reader, wanted, before=before, limit=limit, budget=60).total is None


def test_a_total_that_takes_a_search_is_not_known_where_the_time_was_up(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.submit(asked())
    said(store, *["needle"] * 3000)
    monkeypatch.setattr(bounds, "_STEPS", 50)
    found = reader.logs(LogFilter(search="needle"), limit=5, budget=NO_TIME, count=10_000)
    assert (len(found.rows), found.is_complete, found.total) == (5, True, None)
    assert reader.logs(LogFilter(search="needle"), limit=10, budget=60, count=10_000).total == 3000
    assert reader.logs(LogFilter(), limit=10, budget=NO_TIME, count=10_000).total == 3001
    assert reader.logs(LogFilter(type="info"), limit=10, budget=NO_TIME, count=100).total == 100


def test_a_search_whose_time_was_up_does_not_go_on_to_count(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, *["hay"] * 1000)
    with statements_run_on(reader._database) as run:
        page = reader.logs(LogFilter(search="needle"), budget=NO_TIME, count=10)
    assert (page.is_complete, page.total) == (False, None)
    assert not [statement for statement in run if "count(*)" in statement]


def test_a_page_that_has_all_of_them_tells_the_total_without_counting(store: Store, reader: Reader) -> None:
    store.submit(asked(), asked())
    with statements_run_on(reader._database) as run:
        totals = [
            reader.list(JobFilter(), count=10, now=NOW).total,
            reader.list(JobFilter(search="nosuch"), budget=60, count=10, now=NOW).total,
            reader.logs(LogFilter(), after=0, count=1).total,
            reader.logs(LogFilter(id=1), count=10).total,
        ]
    assert totals == [2, 0, 1, 1]
    assert not [statement for statement in run if "count(*)" in statement]


# Reading beside the writer


def test_a_commit_does_not_wait_for_one_who_reads(store: Store, reader: Reader) -> None:
    store.submit(*[asked() for _ in range(200)])
    unread = reader._database.execute_sql("SELECT * FROM job_logs")
    assert unread.fetchone()
    store.submit(asked())
    said(store, "meanwhile")
    assert len(unread.fetchall()) == 199
    assert messages_of(reader.logs(LogFilter(), limit=1)) == ["meanwhile"]


def test_a_commit_does_not_wait_for_a_search(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, *["needle"] * 2000)
    is_searching, may_end = threading.Event(), threading.Event()

    def needle_or_wait(text: str, needle: str) -> int:
        is_searching.set()
        may_end.wait(30)
        return text.find(needle) + 1

    reader._database.connection().create_function("instr", 2, needle_or_wait)
    with ThreadPoolExecutor(1) as other:
        search = other.submit(reader.logs, LogFilter(search="needle"), limit=1000, budget=60)
        try:
            assert is_searching.wait(30)
            said(store, "a needle that came meanwhile")
            assert not search.done()
        finally:
            may_end.set()
        assert set(messages_of(search.result())) == {"needle"}
    assert messages_of(reader.logs(LogFilter(search="came"), budget=60)) == ["a needle that came meanwhile"]


# How it is looked up


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (JobFilter(), "jobs_pending|jobs_running|jobs_finished"),
        (JobFilter(status=("pending", "failed")), "jobs_pending|jobs_finished"),
        (JobFilter(status=("running",)), "jobs_running"),
        (
            JobFilter(status=("failed", "completed"), since=text(NOW)),
            "COVERING INDEX jobs_ended .*finished_at>",
        ),
        (LogFilter(), "COVERING INDEX logs_job"),
        (LogFilter(id=1), "COVERING INDEX logs_job"),
        (LogFilter(type="failure"), "INDEX logs_type"),
    ],
    ids=str,
)
def test_a_total_is_counted_on_indexes(
    store: Store, reader: Reader, wanted: JobFilter | LogFilter, places: str, is_analyzed: bool
) -> None:
    every_status(store)
    if is_analyzed:
        store.database.execute_sql("ANALYZE")
    connection = reader._database.connection()
    with statements_run_on(reader._database) as run:
        asked_for(reader, wanted, before=2, count=10)
    (count,) = [statement for statement in run if "count(*)" in statement]
    steps = [str(row[3]) for row in connection.execute(f"EXPLAIN QUERY PLAN {count}").fetchall()]
    on_rows = [step for step in steps if re.match(r"(SCAN|SEARCH) [ajl]\b", step)]
    assert on_rows
    assert all(re.search(places, step) for step in on_rows), steps
    assert not [step for step in steps if "TEMP B-TREE" in step]


def plans(reader: Reader, ask: Callable[[], Page]) -> list[str]:
    """The plan of each statement that the question takes, as one text."""
    connection = reader._database.connection()
    with statements_run_on(reader._database) as run:
        ask()
    told = [connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall() for statement in run]
    return ["\n".join(str(row[3]) for row in rows) for rows in told]


SORTS_THE_RUNNING = ("running",)
"""Few, as many as there are slots, and in no order that an index has."""


@pytest.mark.parametrize("is_analyzed", [False, True])
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (JobFilter(), "PRIMARY KEY"),
        (JobFilter(queue="q", search="s"), "PRIMARY KEY"),
        (JobFilter(status=("pending",)), "jobs_pending"),
        (JobFilter(status=("scheduled",)), "jobs_pending"),
        (JobFilter(status=("retrying",), search="s"), "jobs_pending"),
        (JobFilter(status=("snoozed",)), "jobs_pending"),
        (JobFilter(status=("blocked",)), "jobs_pending"),
        (JobFilter(schedule="nightly"), r"jobs_by_schedule \(schedule=\? AND "),
        (JobFilter(schedule="nightly", status=("pending",)), r"jobs_by_schedule \(schedule=\? AND "),
        (JobFilter(schedule="nightly", status=("failed",)), "jobs_ended"),
        (JobFilter(again_of=12), r"jobs_again \(again_of=\? AND "),
        (JobFilter(again_of=12, status=("pending",)), r"jobs_again \(again_of=\? AND "),
        (JobFilter(error=12), "INTEGER PRIMARY KEY"),
        (JobFilter(error=12, status=("pending",), group=7), "INTEGER PRIMARY KEY|jobs_of_group .* AND id="),
        (JobFilter(error=12, status=("failed",)), "jobs_ended"),
        (JobFilter(label="tenant:7"), "INTEGER PRIMARY KEY"),
        (JobFilter(label="tenant:7", status=("failed",)), "jobs_ended"),
        (JobFilter(sort="ended", until=text(NOW)), "jobs_ended .*finished_at<|jobs_ended .*>"),
        (JobFilter(status=("failed",), sort="id", outcome="lost"), "jobs_finished"),
        (JobFilter(key="customer:7"), r"jobs_by_key \(key=\? AND "),
        (JobFilter(key="customer:7", status=("behind",), schedule="nightly"), r"jobs_by_key \(key=\? AND "),
        (JobFilter(status=("behind",)), "jobs_pending"),
        (JobFilter(status=("failed",)), "jobs_ended (status=? AND finished_at<?)|jobs_ended .*>"),
        (JobFilter(status=("failed",), since=text(NOW)), "jobs_ended .*finished_at>"),
        (JobFilter(status=("completed", "failed", "cancelled"), class_name="c"), "jobs_ended"),
        (JobFilter(status=("pending", "failed")), "jobs_pending|jobs_finished"),
        (JobFilter(status=SORTS_THE_RUNNING), "jobs_running"),
    ],
)
def test_a_list_walks_an_index_and_sorts_nothing(
    store: Store, reader: Reader, wanted: JobFilter, places: str, is_analyzed: bool
) -> None:
    every_status(store)
    if is_analyzed:
        store.database.execute_sql("ANALYZE")
    for plan in plans(reader, lambda: reader.list(wanted, before=1000, before_at=text(NOW), now=NOW)):
        on_jobs = [step for step in plan.splitlines() if re.match(r"(SCAN|SEARCH) j\b", step)]
        assert on_jobs, plan
        assert all(re.search(places, step) for step in on_jobs), plan
        assert "TEMP B-TREE" not in plan or wanted.status == SORTS_THE_RUNNING, plan


@pytest.mark.parametrize("after", [None, 1])
@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        (LogFilter(), "PRIMARY KEY"),
        (LogFilter(search="s", class_name="c"), "PRIMARY KEY"),
        (LogFilter(type="success"), "PRIMARY KEY"),
        (LogFilter(type="failure"), "logs_type"),
        (LogFilter(id=1), "logs_job (job_id=? AND id"),
        (LogFilter(id=1, type="failure", search="s"), "logs_job (job_id=? AND id"),
    ],
)
def test_entries_are_walked_by_an_index_and_nothing_is_sorted(
    store: Store, reader: Reader, wanted: LogFilter, place: str, after: int | None
) -> None:
    lives(store)
    for plan in plans(reader, lambda: reader.logs(wanted, before=1000, after=after)):
        (on_logs,) = [step for step in plan.splitlines() if re.match(r"(SCAN|SEARCH) l\b", step)]
        assert place in on_logs, plan
        assert "TEMP B-TREE" not in plan, plan
