"""What of the file may need somebody: jobs for review, errors that are new or back, what schedules have come to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bgjob.fingerprints import Whence
from bgjobd.core.digest import SECONDS, Digest
from bgjobd.core.fingerprint import BACK_AFTER, NEW_FOR
from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.need_kinds import DAY, Crashed, FailedInRow, ForReview, MetError, SkippedLast
from bgjobd.core.planner import Lanes
from bgjobd.store.items.schedules import ScheduleDefined, SchedulePaused, SchedulesDefined
from bgjobd.store.needs import Stored
from bgjobd.store.reader import Reader
from tests.store.samples import COMPLETED, NOW, Store, asked, ends, starts, text

GIVEN_UP = "quarantined: 3 attempts in a row were ended by signal 11"
ONCE = RetryPolicy(max_retries=0)
WHENCE = Whence("0123456789abcdef", "myapp.mail:send", "mail.py:88", None)
NO_ROUTE = Ending.failed("OSError", "no route", "Traceback …", error_class="builtins.OSError", whence=WHENCE)
INSERT_SKIPPED = """
    INSERT INTO schedule_occurrences (name, at, until, count, verdict, reason, dealt_at) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def run(store: Store, ending: Ending, **given: object) -> int:
    (job_id,) = store.submit(asked(policy=ONCE, **given))
    store.claim(Lanes(100, {"default": None}))
    store.commit(ends(job_id, ending, at=store.now))
    return job_id


def define(store: Store, *names: str) -> None:
    store.answer(SchedulesDefined(tuple(ScheduleDefined(name, "{}", is_new=True) for name in names)))


def skip(
    store: Store, name: str, reason: str, at: float = NOW, verdict: str = "skipped", count: int = 1
) -> None:
    values = (name, text(at), text(at), count, verdict, reason, text(at))
    store.database.execute_sql(INSERT_SKIPPED, values)


def test_of_a_file_where_all_is_well_nothing_is_told(store: Store, reader: Reader) -> None:
    run(store, COMPLETED)
    assert reader.needs.stored(store.now) == Stored(*((),) * len(Stored._fields))


def test_an_error_is_told_for_a_day_and_again_when_it_is_back(store: Store, reader: Reader) -> None:
    run(store, NO_ROUTE)
    title = "OSError at mail.py:88 in send"
    assert reader.needs.stored(NOW + NEW_FOR - 1).errors == (
        MetError(1, title, "myapp.jobs.ExampleJob", NOW, None, 1, 1, NOW),
    )
    assert reader.needs.stored(NOW + NEW_FOR + 1).errors == ()
    store.now += BACK_AFTER + 1
    run(store, NO_ROUTE)
    (met,) = reader.needs.stored(store.now).errors
    assert (met.back_at, met.attempts, met.failed) == (store.now, 2, 2)


def test_jobs_that_were_given_up_for_their_crashes_are_told_for_a_day_by_their_class(
    store: Store, reader: Reader
) -> None:
    for number, name in enumerate(("a.B", "a.B", "a.C")):
        store.now = NOW + number
        (job_id,) = store.submit(asked(class_name=name))
        store.database.execute_sql(
            "UPDATE background_jobs SET status = 'failed', crashes = 3, error = ?, finished_at = ? WHERE id = ?",
            (GIVEN_UP if name == "a.B" else "signal 11", text(store.now), job_id),
        )
    assert reader.needs.stored(store.now).crashed == (Crashed("a.B", 2, NOW, NOW + 1, GIVEN_UP),)
    assert reader.needs.stored(NOW + DAY + 3).crashed == ()


def test_what_runs_is_told_beside_what_its_method_takes(store: Store, reader: Reader) -> None:
    (job_id,) = store.submit(asked())
    store.claim(Lanes(100, {"default": None}))
    store.commit(starts(job_id))
    assert reader.needs.stored(store.now).runs == ()
    seconds = Digest(SECONDS)
    for _ in range(40):
        seconds.note(2.0)
    store.database.execute_sql(
        "INSERT INTO method_usage (class_name, method_name, seconds, memory, runs, completed_at) "
        "VALUES (?, ?, ?, ?, 40, ?)",
        ("myapp.jobs.ExampleJob", "run", seconds.to_bytes(), b"", text(NOW)),
    )
    (run_now,) = reader.needs.stored(store.now).runs
    assert (run_now.job_id, run_now.method_name, run_now.runs) == (job_id, "run", 40)
    assert run_now.p95 == pytest.approx(2.0, rel=0.2)


def test_jobs_for_review_are_told_by_their_class_and_since_the_first(store: Store, reader: Reader) -> None:
    for number, name in enumerate(("a.B", "a.C", "a.B")):
        store.now = NOW + number
        (job_id,) = store.submit(asked(class_name=name))
        store.database.execute_sql(
            "UPDATE background_jobs SET review_since = ?, status = 'failed' WHERE id = ?",
            (text(store.now), job_id),
        )
    assert reader.needs.stored(store.now).review == (ForReview("a.B", 2, NOW), ForReview("a.C", 1, NOW + 1))


@pytest.mark.parametrize(
    ("reason", "verdict", "is_told"),
    [
        ("missed", "skipped", True),
        ("refused", "skipped", True),
        ("queue full", "skipped", True),
        ("overlap", "skipped", False),
        ("paused", "skipped", False),
        ("changed", "skipped", False),
    ],
)
def test_an_occurrence_that_should_have_become_a_job_is_told(
    store: Store, reader: Reader, reason: str, verdict: str, is_told: bool
) -> None:
    define(store, "nightly")
    skip(store, "nightly", reason, verdict=verdict, count=3)
    assert reader.needs.stored(NOW).skipped == ((SkippedLast("nightly", NOW, 3, reason),) if is_told else ())


def test_a_skip_is_told_until_another_occurrence_for_a_day_and_not_of_a_schedule_that_is_paused(
    store: Store, reader: Reader
) -> None:
    define(store, "old", "paused", "later")
    for name in ("old", "paused", "later"):
        skip(store, name, "missed")
    skip(store, "later", "overlap", at=NOW + 60)
    store.answer(SchedulePaused("paused"))
    assert [one.schedule for one in reader.needs.stored(NOW + DAY - 1).skipped] == ["old"]
    assert reader.needs.stored(NOW + DAY + 1).skipped == ()


def test_jobs_of_a_schedule_that_failed_in_a_row_are_counted_up_to_the_last_that_has_ended(
    store: Store, reader: Reader
) -> None:
    define(store, "nightly", "hourly")
    for number, ending in enumerate((NO_ROUTE, COMPLETED, NO_ROUTE, NO_ROUTE)):
        store.now = NOW + number
        last = run(store, ending, schedule="nightly", occurrence=store.now)
        run(store, COMPLETED, schedule="hourly", occurrence=store.now)
    store.submit(asked(schedule="nightly", occurrence=store.now + 1))
    assert reader.needs.stored(store.now).failed_in_row == (FailedInRow("nightly", 2, NOW + 2, last),)
