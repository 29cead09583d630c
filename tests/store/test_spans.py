"""What ends by spans of time: each attempt is counted once, whoever is killed, however clocks are set, and is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest

from bgjobd.core.job import Ending, RetryPolicy, Usage
from bgjobd.core.planner import Lanes
from bgjobd.core.spans import DAY, FIVE_MINUTES, HOUR, SPANS, begin, sum_of
from bgjobd.host.clock import to_text
from bgjobd.store.audit import Audit, Odd
from bgjobd.store.items.attempts import JobFact
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.retention import Deletion
from bgjobd.store.ledger import Ledger
from bgjobd.store.reader import Reader
from bgjobd.store.spans import Spans
from bgjobd.store.trends import try_asked
from tests.store.samples import (
    BOOT,
    COMPLETED,
    FAILED,
    NOW,
    Row,
    Store,
    asked,
    ends,
    starts,
    statements_run_on,
)

LANES = Lanes(100_000, {"default": None, "mail": None})
ONCE = RetryPolicy(max_retries=0)
MAIL = "myapp.jobs.Mail"
FIRST = float(begin(NOW, FIVE_MINUTES))


@pytest.fixture
def spans(store: Store) -> Spans:
    store.now = FIRST
    return counting(store)


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def counting(store: Store) -> Spans:
    """As a daemon that has just connected."""
    spans = Spans()
    store.ledger = Ledger(store.database, BOOT, lambda: 1.0, spans=spans)
    return spans


def run(store: Store, ending: Ending, took: float = 2.0, waited: float = 0.0, **given: Any) -> int:
    """A job whose first attempt ends so."""
    usage = given.pop("usage", None)
    (job_id,) = store.submit(asked(**({"class_name": MAIL} | given)))
    store.now += waited
    store.claim(LANES)
    begun = store.now
    store.commit(starts(job_id, at=begun))
    store.now += took
    store.commit(ends(job_id, ending, at=store.now, usage=usage))
    return job_id


def rows(store: Store, span: int = FIVE_MINUTES, name: str = MAIL) -> list[Row]:
    return store.rows("SELECT * FROM class_tallies WHERE span = ? AND class_name = ? ORDER BY at", span, name)


def told(store: Store, reader: Reader, spans: Spans, of: str = "", span: int = FIVE_MINUTES) -> list[Row]:
    wanted = try_asked(of, span, None, store.now)
    assert wanted is not None
    return list(reader.trends.of_spans(spans.counted, wanted))


def later(store: Store, seconds: float = FIVE_MINUTES) -> None:
    """The first commit after so long."""
    store.now += seconds
    store.commit(Look())


def test_what_ended_in_a_span_is_written_by_the_first_commit_after_it(store: Store, spans: Spans) -> None:
    run(store, COMPLETED, took=2.0, waited=3.0, usage=Usage(1 << 20, 0.25, 0.5))
    run(store, FAILED, took=1.0, policy=ONCE)
    assert rows(store) == []
    later(store)
    for span in SPANS:
        (row,) = rows(store, span)
        assert row["at"] == to_text(begin(NOW, span))
        assert (row["completed"], row["failed"], row["retried"]) == (1, 1, 0)
        assert (row["bad"], row["cpu"], row["memory"]) == ('{"failed": 1}', 0.75, 1 << 20)
        assert (sum(sum_of([row["seconds"]])), sum(sum_of([row["waited"]]))) == (2, 2)
        (whole,) = rows(store, span, "")
        assert {**whole, "class_name": MAIL} == row


def test_who_asks_is_told_of_the_open_span_as_well(store: Store, spans: Spans, reader: Reader) -> None:
    run(store, COMPLETED)
    later(store)
    run(store, COMPLETED)
    assert [one["completed"] for one in told(store, reader, spans)] == [1, 1]
    assert [one["completed"] for one in told(store, reader, spans, span=HOUR)] == [2]
    assert [one["at"] for one in told(store, reader, spans, f"class:{MAIL}", DAY)] == [
        to_text(begin(NOW, DAY))
    ]


def counts(store: Store, name: str = "") -> tuple[int, int, int]:
    """What the rows of 5 minutes come to: attempts that completed, jobs that failed, attempts that were retried."""
    found = rows(store, FIVE_MINUTES, name)
    completed, failed, retried = (
        sum(row[column] for row in found) for column in ("completed", "failed", "retried")
    )
    return completed, failed, retried


def test_after_a_kill_the_open_span_is_counted_again(store: Store, spans: Spans, reader: Reader) -> None:
    run(store, COMPLETED, took=2.0, waited=3.0, usage=Usage(1 << 20, 0.25, 0.5))
    run(store, FAILED, policy=ONCE)
    run(store, FAILED)
    before = told(store, reader, spans)
    again = counting(store)
    later(store, 0)
    assert told(store, reader, again) == before
    later(store)
    assert counts(store) == (1, 1, 1)


def test_an_attempt_of_which_nobody_knows_how_long_it_waited_is_not_counted_as_one_that_did_not(
    store: Store, spans: Spans
) -> None:
    (job_id,) = store.submit(asked(class_name=MAIL))
    store.claim(LANES)
    store.database.execute_sql("UPDATE job_attempts SET waited = NULL")  # as one from before an upgrade
    counting(store)
    store.commit(ends(job_id, COMPLETED, at=store.now))
    later(store)
    (row,) = rows(store)
    assert (row["completed"], sum(sum_of([row["waited"]]))) == (1, 0)


def test_a_stop_writes_the_open_span_and_nothing_of_it_is_counted_twice(store: Store, spans: Spans) -> None:
    for count in range(1, 4):
        run(store, COMPLETED, waited=1.0)
        spans.hurry()
        later(store, 1)
        assert counts(store) == (count, 0, 0)
        spans = counting(store)
        later(store, 1)
    counting(store)  # as after a kill
    later(store)
    assert counts(store) == (3, 0, 0)


def test_what_a_transaction_that_failed_came_to_is_not_counted(
    store: Store, spans: Spans, reader: Reader
) -> None:
    (job_id,) = store.submit(asked(class_name=MAIL))
    store.claim(LANES)
    store.now += FIVE_MINUTES
    with pytest.raises(KeyError):
        store.commit(ends(job_id, COMPLETED, at=store.now), JobFact(job_id, None))  # type: ignore[arg-type]
    later(store, 1)
    assert told(store, reader, spans) == []
    store.commit(ends(job_id, COMPLETED, at=store.now))
    assert [one["completed"] for one in told(store, reader, spans)] == [1]


def test_what_ended_in_a_span_that_is_written_is_added_to_it(store: Store, spans: Spans) -> None:
    run(store, COMPLETED)
    (job_id,) = store.submit(asked(class_name=MAIL))
    store.claim(LANES)
    later(store)
    assert counts(store) == (1, 0, 0)
    store.commit(ends(job_id, COMPLETED, at=FIRST + 299))
    assert [row["completed"] for row in rows(store)] == [2]
    later(store, 1)
    counting(store)
    later(store)
    assert [row["completed"] for row in rows(store)] == [2]


@pytest.mark.parametrize("leap", [-7200.0, -1.0, 7200.0])
def test_an_attempt_is_counted_once_however_the_clock_is_set(store: Store, spans: Spans, leap: float) -> None:
    for count in range(1, 6):
        run(store, COMPLETED)
        store.now += leap if count == 3 else 100
        if count == 4:
            counting(store)
    later(store, 3 * HOUR)
    later(store)
    assert counts(store) == (5, 0, 0)


def test_what_comes_late_into_a_span_that_a_stop_has_written_takes_nothing_of_the_open_one_along(
    store: Store, spans: Spans
) -> None:
    run(store, COMPLETED)
    (job_id,) = store.submit(asked(class_name=MAIL))
    store.claim(LANES)
    spans.hurry()
    later(store, 1)
    counting(store)
    later(store, 1)
    run(store, COMPLETED)
    store.commit(ends(job_id, COMPLETED, at=FIRST + 2))
    assert counts(store) == (2, 0, 0)
    counting(store)
    later(store)
    assert counts(store) == (3, 0, 0)


def test_after_the_clock_was_set_back_each_transaction_writes_only_what_ended_in_it(
    store: Store, spans: Spans
) -> None:
    run(store, COMPLETED)
    later(store)
    store.now -= HOUR
    for count in range(2, 5):
        run(store, COMPLETED)
        assert counts(store) == (count, 0, 0)
    later(store)
    with statements_run_on(store.database) as told:
        store.commit(Look())
    assert not [statement for statement in told if "_tallies" in statement]


def test_a_transaction_that_is_not_due_asks_nothing_of_the_tallies(store: Store, spans: Spans) -> None:
    run(store, COMPLETED)
    with statements_run_on(store.database) as told:
        run(store, COMPLETED)
        run(store, FAILED)
    assert not [statement for statement in told if "tallie" in statement or "tallied" in statement]


@pytest.mark.parametrize("seed", range(2))
def test_after_any_kills_stops_and_set_clocks_the_rows_are_a_count_of_the_books(
    store: Store, spans: Spans, seed: int
) -> None:
    random = Random(seed)
    running: list[int] = []
    for _ in range(400):
        match random.choice(["start", "start", "end", "end", "end", "wait", "kill", "stop", "set"]):
            case "start":
                store.submit(asked(class_name=random.choice([MAIL, "myapp.jobs.Report"]), policy=ONCE))
                running += [claim.job.id for claim in store.claim(LANES)]
            case "end" if running:
                job_id = running.pop(random.randrange(len(running)))
                ended_at = store.now - random.choice([0, 0, 0, 1, 200])
                store.commit(ends(job_id, random.choice([COMPLETED, FAILED]), at=ended_at))
            case "wait":
                later(store, random.choice([1, 60, FIVE_MINUTES, HOUR]))
            case "kill":
                spans = counting(store)
            case "stop":
                spans.hurry()
                later(store, 0.5)
                spans = counting(store)
            case "set":
                store.now += random.choice([-HOUR, -60, 60, HOUR])
    later(store, DAY)
    later(store)
    for name in (MAIL, "myapp.jobs.Report"):
        of_class = "JOIN background_jobs ON id = job_id WHERE class_name = ? AND outcome = ?"
        ended = [
            store.rows(f"SELECT count(*) AS number FROM job_attempts {of_class}", name, outcome)[0]["number"]
            for outcome in ("completed", "failed")
        ]
        for span in (HOUR, DAY):
            found = rows(store, span, name)
            assert [sum(row[column] for row in found) for column in ("completed", "failed")] == ended


def test_where_nothing_has_ended_a_stop_writes_nothing(store: Store, spans: Spans) -> None:
    store.submit(asked())
    spans = counting(store)
    spans.hurry()
    later(store)
    assert store.rows("SELECT * FROM properties WHERE name LIKE 'tallied%'") == []


# The books


def test_the_books_tell_where_less_is_counted_than_has_ended(store: Store, spans: Spans) -> None:
    with closing(Audit(store.state_dir)) as audit:
        run(store, COMPLETED)
        run(store, FAILED)
        assert audit.odd_spans() == ()
        later(store)
        run(store, COMPLETED)
        assert audit.odd_spans() == ()
        store.database.execute_sql(
            "UPDATE class_tallies SET completed = 0 WHERE span = 300 AND class_name = ''"
        )
        hour, since = to_text(begin(NOW, HOUR)), to_text(begin(store.now, FIVE_MINUTES) - HOUR)
        assert audit.odd_spans() == (
            Odd(f"what ended from {since} on", "1 attempts are counted from there on, and 2 have ended"),
            Odd(f"what ended from {hour} on", "its hour counts 2 attempts, and the spans in it 1"),
        )


def test_of_jobs_that_are_deleted_more_may_be_counted_than_the_books_know(store: Store, spans: Spans) -> None:
    job_id = run(store, COMPLETED)
    later(store)
    store.answer(Deletion((job_id,), 10**9))
    with closing(Audit(store.state_dir)) as audit:
        assert audit.odd_spans() == ()
    assert counts(store) == (1, 0, 0)
