"""A wall clock that was set, while the daemon ran or while nobody did: what becomes of retries, sleeps and timeouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.words import Status
from bgjobd.core.facts import ClockJumped
from bgjobd.core.job import Ending, Job
from bgjobd.core.planner import Lanes
from bgjobd.core.state_machine import advance
from bgjobd.host.clock import from_text, to_text
from bgjobd.store.items.daemons import DaemonStarted, Look
from bgjobd.store.ledger import Ledger
from bgjobd.store.rows import job_from_row
from bgjobd.store.sql_functions import seconds_between, shifted
from bgjobd.store.statements import of_jobs
from bgjobd.store.written import WAITING
from tests.core.samples import seeded
from tests.store.samples import FAILED, NOW, Row, Store, asked, cancels, ends, statements_run_on, text

DAY: Final = 86400.0
FIRST: Final = "0001-01-01T00:00:00.000000Z"
LAST: Final = "9999-12-31T23:59:59.000000Z"

# The functions


@pytest.mark.parametrize(
    ("at", "seconds", "after"),
    [
        ("2024-12-04T14:31:53.123456Z", 3600.0, "2024-12-04T15:31:53.123456Z"),
        ("2024-12-04T14:31:53.123456Z", -0.123456, "2024-12-04T14:31:53.000000Z"),
        ("2024-12-31T23:59:59.999999Z", 0.000001, "2025-01-01T00:00:00.000000Z"),
        ("2024-12-04T14:31:53.123456Z", 0, "2024-12-04T14:31:53.123456Z"),
    ],
)
def test_an_instant_is_shifted_to_the_microsecond(at: str, seconds: float, after: str) -> None:
    assert shifted(at, seconds) == after


@pytest.mark.parametrize("seconds", [1e12, 1e300, float("inf")])
def test_an_instant_is_held_within_the_years_that_can_be_stored(seconds: float) -> None:
    assert shifted(text(NOW), seconds) == LAST
    assert shifted(text(NOW), -seconds) == FIRST
    assert shifted(shifted(text(NOW), seconds), 0.0) == LAST
    assert shifted(shifted(text(NOW), -seconds), 0.0) == FIRST


@pytest.mark.parametrize(
    ("at", "seconds"), [("tomorrow", 1.0), (None, 1.0), (7, 1.0), (b"x", 1.0), (text(NOW), None)]
)
def test_what_is_no_instant_stays_as_it_is(at: Any, seconds: Any) -> None:
    assert shifted(at, seconds) == at
    assert shifted(text(NOW), float("nan")) == text(NOW)


def test_the_seconds_between_two_instants_have_a_sign_and_are_none_where_one_is_none() -> None:
    assert seconds_between(text(NOW), text(NOW + 1.25)) == 1.25
    assert seconds_between(text(NOW), text(NOW - DAY)) == -DAY
    assert seconds_between("tomorrow", text(NOW)) is None
    assert seconds_between(text(NOW), None) is None  # type: ignore[arg-type]


# A jump while the daemon runs


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One file for all examples of a property, each of which begins by emptying it."""
    store = Store(tmp_path_factory.mktemp("shared"))
    yield store
    store.close()


instants = st.one_of(st.floats(0, 4e9), st.floats(253_402_200_000, 253_402_300_799)).map(to_text)
stands = st.fixed_dictionaries(
    {
        "status": st.one_of(st.just(Status.PENDING), st.sampled_from(Status)),
        "ready": st.sampled_from([0, 1, WAITING]),
        "waiting_on": st.sampled_from(["sleep 1", "signal packed", "until 2"]),
        "scheduled_at": instants,
        "updated_at": instants,
        "attempts": st.integers(0, 2),
    }
)
many = st.lists(stands, min_size=1, max_size=6)
deltas = st.one_of(st.floats(-1e6, 1e6), st.floats(-1e12, 1e12))


def fill(store: Store, rows: list[Row]) -> None:
    store.database.execute_sql("DELETE FROM background_jobs")
    store.database.execute_sql("DELETE FROM job_attempts")
    for job_id, row in zip(store.submit(*(asked() for _ in rows)), rows, strict=True):
        store.database.execute_sql(
            "UPDATE background_jobs SET status = ?, ready = ?, scheduled_at = ?, updated_at = ?, waiting_on = ? "
            "WHERE id = ?",
            (row["status"], row["ready"], row["scheduled_at"], row["updated_at"], _waiting_on(row), job_id),
        )
        for number in range(1, row["attempts"] + (row["ready"] == WAITING) + 1):
            store.database.execute_sql(
                "INSERT INTO job_attempts (job_id, number, token, boot_id, outcome) VALUES (?, ?, 't', 'b', 'failed')",
                (job_id, number),
            )
    store.ledger = Ledger(store.database, "", lambda: 1.0)  # which counts what waits anew


def _waiting_on(row: Row) -> str | None:
    return row["waiting_on"] if row["ready"] == WAITING else None


def jobs(store: Store) -> list[tuple[Job, Row]]:
    """Every job as the rules know it, and its row."""
    rows = store.rows("SELECT * FROM background_jobs ORDER BY id")
    read = [store.database.execute_sql(of_jobs.SELECT_JOB, {"id": row["id"]}).fetchone() for row in rows]
    return [(job_from_row(values), row) for values, row in zip(read, rows, strict=True)]


def moved(job: Job, row: Row, fact: ClockJumped, now: float) -> Row:
    """The row that the rules of one job make of it; a job that is ready waits for no time any more."""
    if job.status is not Status.PENDING or row["ready"] == 1:
        return row
    after = advance(job, fact, now)
    if not job.is_waiting_for_retry or row["waiting_on"] == "until 2":
        assert after == job
        return row
    return row | {"scheduled_at": stored(after.scheduled_at or 0.0), "updated_at": to_text(now)}


def stored(at: float) -> str:
    if at < from_text(FIRST):
        return FIRST
    return LAST if at > from_text(LAST) else to_text(at)


@seeded
@given(rows=many, delta=deltas)
def test_a_jump_makes_of_all_rows_at_once_what_the_rules_make_of_each(
    shared: Store, rows: list[Row], delta: float
) -> None:
    fill(shared, rows)
    shared.now = NOW + 0.123456
    fact = ClockJumped(delta)
    expected = [moved(job, row, fact, shared.now) for job, row in jobs(shared)]
    assert shared.answer(fact) is None
    assert [row for _, row in jobs(shared)] == expected


def run_of_a_jump(store: Store, retries: int) -> list[str]:
    for _ in range(retries):
        store.commit(ends(store.run_one(), FAILED))
    with statements_run_on(store.database) as run:
        store.commit(ClockJumped(60.0))
    return run


def test_a_jump_is_one_statement_however_many_retries_wait(store: Store) -> None:
    few = run_of_a_jump(store, retries=1)
    assert len(run_of_a_jump(store, retries=20)) == len(few)
    assert len([sql for sql in few if "shifted" in sql and "scheduled_at" in sql]) == 1


def test_a_jump_to_the_end_of_time_and_back_costs_its_neighbours_nothing(store: Store) -> None:
    job_id = store.run_one()
    store.commit(ends(job_id, FAILED))
    committed = store.commit(ClockJumped(1e12), cancels(99), lanes=Lanes(1))
    assert committed.answers[0] is None
    assert store.job(job_id)["scheduled_at"] == LAST
    assert store.claim(Lanes(1)) == []
    store.commit(ClockJumped(-1e12))
    assert store.job(job_id)["scheduled_at"] == FIRST
    assert [claim.job.id for claim in store.claim(Lanes(1))] == [job_id]


def test_a_jump_is_applied_though_a_stored_instant_is_none(store: Store) -> None:
    broken, whole = store.run_one(), store.run_one()
    store.commit(ends(broken, FAILED), ends(whole, FAILED))
    store.database.execute_sql("UPDATE background_jobs SET scheduled_at = 'x' WHERE id = ?", (broken,))
    store.commit(ClockJumped(60.0))
    assert store.job(broken)["scheduled_at"] == "x"
    assert store.job(whole)["scheduled_at"] == text(NOW + 65)


# A clock that was set back while nobody ran


def fail_ahead(store: Store, ahead: float, ending: Ending = FAILED) -> int:
    """A job whose attempt ended while the clock was so many seconds ahead; then the clock is right again."""
    job_id = store.run_one()
    store.now += ahead
    store.commit(ends(job_id, ending, at=store.now - 0.5))
    store.now -= ahead
    return job_id


def test_a_retry_is_held_no_longer_than_its_own_delay(store: Store) -> None:
    job_id, snoozed = fail_ahead(store, DAY), fail_ahead(store, 10.0, Ending.snoozed(100.25))
    store.now += 2
    committed = store.commit(DaemonStarted(), lanes=Lanes(1))
    assert committed.answers == (None,)
    assert (committed.lines, committed.claims) == ((), ())
    assert committed.next_due == NOW + 7
    assert store.job(job_id)["scheduled_at"] == text(NOW + 7)
    assert store.job(snoozed)["scheduled_at"] == text(NOW + 102.25)
    assert store.job(job_id)["updated_at"] == text(NOW + 2)


def test_a_daemon_that_starts_again_and_again_releases_no_retry_before_its_delay(store: Store) -> None:
    """Its attempt still ends in the future, by what is recorded of it."""
    job_id = fail_ahead(store, DAY)
    for seconds in range(5):
        store.now = NOW + seconds
        store.commit(DaemonStarted())
        assert store.job(job_id)["scheduled_at"] == text(NOW + 5)
    assert store.claim(Lanes(1)) == []
    store.now = NOW + 5
    assert [claim.job.id for claim in store.claim(Lanes(1))] == [job_id]


def test_a_start_moves_nothing_where_the_clock_went_on(store: Store) -> None:
    for ending in (FAILED, Ending.snoozed(1.0), Ending.snoozed(DAY)):
        store.commit(ends(store.run_one(), ending, at=NOW + 60))
    before = store.rows("SELECT * FROM background_jobs")
    store.commit(DaemonStarted())
    store.now += 30
    store.commit(DaemonStarted())
    assert store.rows("SELECT * FROM background_jobs") == before


def test_a_start_moves_nothing_but_retries_that_wait(store: Store) -> None:
    store.now += DAY
    retry, cancelled, running = (store.run_one(queue=queue) for queue in ("mail", "video", "default"))
    store.commit(ends(retry, FAILED), ends(cancelled, FAILED), cancels(cancelled))
    store.submit(asked(scheduled_at=store.now + 50), asked())
    before = {row["id"]: row for row in store.rows("SELECT * FROM background_jobs")}
    store.now -= DAY
    store.commit(DaemonStarted())
    assert before[running]["status"] == "running"
    assert [job_id for job_id, row in before.items() if store.job(job_id) != row] == [retry]


@seeded
@given(rows=many, now=st.floats(0, 4e9))
def test_a_start_makes_of_all_rows_at_once_what_the_rules_make_of_each(
    shared: Store, rows: list[Row], now: float
) -> None:
    """What the clock was set back by is, for each, what its row is ahead."""
    fill(shared, rows)
    shared.now = from_text(to_text(now))
    expected = []
    for job, row in jobs(shared):
        ahead = from_text(row["updated_at"]) - shared.now
        expected.append(moved(job, row, ClockJumped(-ahead), shared.now) if ahead > 0 else row)
    shared.commit(DaemonStarted())
    assert [row for _, row in jobs(shared)] == expected


def test_a_start_is_one_statement_however_many_retries_wait(store: Store) -> None:
    for _ in range(20):
        fail_ahead(store, DAY)
    with statements_run_on(store.database) as run:
        store.commit(DaemonStarted())
    with statements_run_on(store.database) as look:
        store.commit(Look())
    assert len([sql for sql in run if "scheduled_at" in sql and sql not in look]) == 1
