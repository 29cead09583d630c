"""What is one error, whichever jobs meet it: what ends of attempts tell, when it is new or back, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from bgjob.errors import InvalidParameterError
from bgjob.fingerprints import Whence
from bgjob.words import ErrorSort
from bgjobd.core.facts import SettledAsCompleted, SettledAsFailed
from bgjobd.core.fingerprint import BACK_AFTER, KEPT_FOR, MOST_NAMES, NEW_FOR, OTHER
from bgjobd.core.job import Ending, RetryPolicy
from bgjobd.core.planner import Lanes
from bgjobd.store import error_pages, errors
from bgjobd.store.audit import Audit, Odd
from bgjobd.store.committed import TrimmedErrors
from bgjobd.store.error_pages import ErrorFilter, new_since
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.retention import ErrorTrimming
from bgjobd.store.items.wishes import JobSettled
from bgjobd.store.reader import Reader
from bgjobd.store.recent import RecentJobs
from tests.store.samples import (
    COMPLETED,
    NOW,
    STOPPED,
    Row,
    Store,
    asked,
    cancels,
    ends,
    retries,
    starts,
    statements_run_on,
    submission,
    text,
)

LANES = Lanes(100_000, {"default": None})
ONCE = RetryPolicy(max_retries=0)
MAIL, INVOICE = "myapp.jobs.Mail", "myapp.jobs.Invoice"


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def raising(number: int = 1, name: str | None = None, message: str = "no route") -> Ending:
    """An exception that comes from a place of its own."""
    whence = Whence(f"{number:016x}", f"myapp.mail:send_{number}", f"mail.py:{number}", name)
    return Ending.failed("OSError", message, "Traceback …", error_class="builtins.OSError", whence=whence)


def run(store: Store, *class_names: str, **given: Any) -> list[int]:
    """Jobs of these classes whose first attempts run."""
    ids = store.submit(*(asked(class_name=name, **{"policy": ONCE} | given) for name in class_names))
    store.claim(LANES)
    return ids


def fail(store: Store, *endings: Ending, class_name: str = MAIL) -> list[int]:
    """Jobs that end so, in one transaction."""
    ids = run(store, *[class_name] * len(endings))
    store.commit(*(ends(job_id, ending) for job_id, ending in zip(ids, endings, strict=True)))
    return ids


def rows(store: Store) -> list[Row]:
    return store.rows("SELECT * FROM error_groups ORDER BY id")


# What ends tell


def test_an_error_has_a_row_that_tells_what_it_is_and_who_met_it_first_and_last(store: Store) -> None:
    one, other = run(store, MAIL, INVOICE)
    store.commit(starts(one), starts(other))
    store.commit(ends(one, raising(message="no route to 1")))
    store.now += 60
    store.commit(ends(other, raising(message="no route to 2")))
    (row,) = rows(store)
    assert row == {
        "id": 1, "fingerprint": f"{1:016x}", "outcome": "failed", "error_type": "OSError", "message": "no route to 2",
        "place": "myapp.mail:send_1", "line": "mail.py:1", "class_name": MAIL, "is_named": 0, "name": None,
        "first_at": text(NOW), "first_job": one, "first_version": None,
        "last_at": text(NOW + 60), "last_job": other, "last_attempt": 1, "last_version": None,
        "attempts": 2, "failed": 2, "back_at": None,
    }  # fmt: skip
    assert [store.attempts(job_id)[0]["error_group"] for job_id in (one, other)] == [1, 1]


def test_an_error_knows_the_code_that_met_it_first_and_last(store: Store) -> None:
    ids = run(store, MAIL, MAIL)
    for job_id, code in zip(ids, ("aa", "bb"), strict=True):
        store.database.execute_sql(f"UPDATE job_attempts SET code_version = '{code}' WHERE job_id = {job_id}")
        store.commit(ends(job_id, raising()))
    (row,) = rows(store)
    assert (row["first_version"], row["last_version"]) == ("aa", "bb")


def test_what_is_met_many_times_in_a_transaction_is_written_once(store: Store) -> None:
    ids = run(store, *[MAIL] * 6)
    endings = [raising(1), raising(2), raising(1), COMPLETED, STOPPED, raising(1)]
    with statements_run_on(store.database) as run_meanwhile:
        store.commit(*(ends(job_id, ending) for job_id, ending in zip(ids, endings, strict=True)))
    upserts = [sql for sql in run_meanwhile if "INSERT INTO error_groups" in sql]
    assert len(upserts) == 2
    assert [(row["attempts"], row["failed"], row["last_job"]) for row in rows(store)] == [
        (3, 3, ids[5]),
        (1, 1, ids[1]),
    ]
    told = [store.attempts(job_id)[0]["error_group"] for job_id in ids]
    assert told == [1, 2, 1, None, None, 1]


def test_a_success_costs_no_statement(store: Store) -> None:
    ids = run(store, MAIL, MAIL)
    with statements_run_on(store.database) as run_meanwhile:
        store.commit(*(ends(job_id, COMPLETED) for job_id in ids))
    assert not [sql for sql in run_meanwhile if "error_group" in sql]


def test_ids_of_errors_go_on_without_gaps_however_often_they_are_met(store: Store) -> None:
    for _ in range(3):
        fail(store, raising(1), raising(2))
    fail(store, raising(3))
    assert [row["id"] for row in rows(store)] == [1, 2, 3]


def test_an_attempt_that_is_retried_counts_and_the_job_once_it_has_failed_for_good(store: Store) -> None:
    (job_id,) = run(store, MAIL, policy=RetryPolicy(max_retries=1, retry_delay=0.0))
    store.commit(ends(job_id, raising()))
    assert [(row["attempts"], row["failed"]) for row in rows(store)] == [(1, 0)]
    store.claim(LANES)
    store.commit(ends(job_id, raising(), number=2))
    assert [(row["attempts"], row["failed"]) for row in rows(store)] == [(2, 1)]
    assert [attempt["error_group"] for attempt in store.attempts(job_id)] == [1, 1]


def test_a_job_for_review_has_failed_by_its_error_once_a_person_says_so(store: Store) -> None:
    ids = fail(store, *[replace(Ending.signalled(9), for_review=True)] * 2)
    assert [(row["attempts"], row["failed"]) for row in rows(store)] == [(2, 0)]
    store.commit(
        JobSettled(ids[0], SettledAsFailed(1000, None)), JobSettled(ids[1], SettledAsCompleted(1000, "1"))
    )
    assert [(row["attempts"], row["failed"]) for row in rows(store)] == [(2, 1)]


def test_an_end_that_is_refused_leaves_no_error(store: Store) -> None:
    (job_id,) = run(store, MAIL)
    store.commit(ends(job_id, raising(), number=7))
    assert rows(store) == []


def test_what_is_known_in_memory_of_an_attempt_tells_its_error(store: Store, reader: Reader) -> None:
    recent = RecentJobs()
    recent.take(store.commit(submission(asked(policy=ONCE)), lanes=LANES))
    recent.take(store.commit(ends(1, raising())))
    known, stored = recent.job(1), reader.job(1)
    assert known is not None
    assert stored is not None
    assert known.attempts == stored.attempts
    assert [attempt["error_group"] for attempt in known.attempts] == [1]


# New, and back


def test_an_error_is_new_for_a_day_and_back_for_a_day_after_two_weeks_of_silence(
    store: Store, reader: Reader
) -> None:
    def told() -> tuple[bool, bool]:
        (error,), _ = reader.errors(ErrorFilter(), store.now)
        return error["is_new"], error["is_back"]

    fail(store, raising())
    assert told() == (True, False)
    store.now += NEW_FOR
    assert told() == (False, False)
    store.now = NOW + BACK_AFTER
    fail(store, raising())
    assert told() == (False, False)
    back_at = store.now = NOW + 2 * BACK_AFTER + 1
    fail(store, raising())
    assert told() == (False, True)
    store.now += NEW_FOR - 1
    fail(store, raising())
    assert (told(), rows(store)[0]["back_at"]) == ((False, True), text(back_at))
    store.now += 1
    assert told() == (False, False)


# Bounds


def test_of_those_that_a_class_names_itself_all_beyond_a_bound_are_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "MOST_NAMES", 3)
    fail(store, raising(1, "one"), raising(2, "two"))
    ids = fail(
        store, raising(3, "three"), raising(4, "four"), raising(5, "five"), raising(1, "one"), raising(6)
    )
    names = [(row["name"], row["attempts"]) for row in rows(store)]
    assert sorted(names, key=str) == [(OTHER, 2), ("one", 2), ("three", 1), ("two", 1), (None, 1)]
    assert len({store.attempts(job_id)[0]["error_group"] for job_id in ids[1:3]}) == 1
    fail(store, raising(7, "seven"), class_name=INVOICE)
    assert [row["name"] for row in rows(store)][-1] == "seven"


def test_a_hundred_thousand_errors_of_names_of_their_own_harm_but_their_class(store: Store) -> None:
    fail(store, raising(1, "one"), class_name=INVOICE)
    first = MOST_NAMES // 2
    fail(store, *(raising(number, f"{number}") for number in range(2, 2 + first)))
    fail(store, *(raising(number, f"{number}") for number in range(2 + first, 2 + 4 * first)))
    assert len(rows(store)) == 1 + MOST_NAMES + 1


def test_a_hundred_thousand_kinds_of_errors_stay_within_their_bound(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ten thousand at most, as here of a thousand, those are known that were met last."""
    monkeypatch.setattr(errors, "MOST_ERRORS", 1000)
    for portion in range(10):
        ids = fail(store, *(raising(1 + portion * 300 + number) for number in range(300)))
        store.now += 1
        assert store.count("error_groups") <= 1000
    assert store.count("error_groups") == 1000
    known = {row["id"]: row for row in rows(store)}
    assert all(store.attempts(job_id)[0]["error_group"] in known for job_id in ids[-300:])
    assert min(row["last_at"] for row in known.values()) == text(NOW + 6)


def test_an_error_that_nobody_has_met_for_long_is_forgotten_in_portions(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(errors, "_AT_ONCE", 2)
    assert reader.old.oldest_error() is None
    fail(store, *(raising(number) for number in range(1, 4)))
    store.now += KEPT_FOR
    (job_id,) = fail(store, raising(4))
    assert reader.old.oldest_error() == NOW
    assert store.answer(ErrorTrimming(store.now - KEPT_FOR)) == TrimmedErrors(0, has_more=False)
    assert store.answer(ErrorTrimming(store.now - 1)) == TrimmedErrors(2, has_more=True)
    assert store.answer(ErrorTrimming(store.now - 1)) == TrimmedErrors(1, has_more=False)
    assert [row["last_job"] for row in rows(store)] == [job_id]
    fail(store, raising(1))
    assert [row["id"] for row in rows(store)] == [4, 5]


# What is read


def test_errors_are_told_in_pages_those_that_were_met_last_first(store: Store, reader: Reader) -> None:
    for number in (1, 2, 3, 4):
        fail(store, raising(number))
        store.now += number > 1
    page, following = reader.errors(ErrorFilter(), NOW, limit=3)
    rest, end = reader.errors(ErrorFilter(), NOW, before=following, limit=3)
    assert ([error["id"] for error in [*page, *rest]], end) == ([4, 3, 2, 1], None)
    assert [error["id"] for error in reader.errors(ErrorFilter(since=text(NOW + 1)), NOW)[0]] == [4, 3]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [(ErrorSort.LAST, [3, 1, 2]), (ErrorSort.NEWEST, [3, 2, 1]), (ErrorSort.FAILED, [2, 3, 1])],
)
def test_each_order_of_errors_goes_on_from_page_to_page(
    store: Store, reader: Reader, sort: ErrorSort, expected: list[int]
) -> None:
    fail(store, raising(1))
    fail(store, *[raising(2)] * 3)
    store.now += 1
    fail(store, raising(3), raising(3))
    run(store, MAIL, policy=RetryPolicy(max_retries=5, retry_delay=60.0))
    store.commit(ends(7, raising(1)))
    found: list[int] = []
    before = None
    for _ in range(3):
        (error,), before = reader.errors(ErrorFilter(sort=sort), store.now, before, limit=1)
        found.append(error["id"])
    assert (found, before) == (expected, None)


def test_an_error_tells_how_many_jobs_wait_for_a_retry_and_of_how_many_classes_they_are(
    store: Store, reader: Reader
) -> None:
    fail(store, raising(1))
    ids = run(store, MAIL, INVOICE, INVOICE, policy=RetryPolicy(max_retries=5, retry_delay=60.0))
    store.commit(*(ends(job_id, raising(1)) for job_id in ids))
    (listed,), _ = reader.errors(ErrorFilter(), store.now)
    assert (listed["classes"], listed["retrying"], listed["counted"]) == (2, 3, 4)
    read = reader.error(1, store.now)
    assert read is not None
    assert read.error.items() >= {"classes": 2, "retrying": 3, "counted": 4}.items()
    assert read.met_by == [
        {"class_name": INVOICE, "attempts": 2, "failed": 0, "retrying": 2},
        {"class_name": MAIL, "attempts": 2, "failed": 1, "retrying": 1},
    ]
    assert read.next_retry == text(store.now + 60)
    store.commit(cancels(ids[1]))
    store.now += 61
    assert reader.errors(ErrorFilter(), store.now)[0][0]["retrying"] == 0


def test_what_attempts_of_an_error_have_in_common_is_read_beside_those_of_its_class_before_and_after(
    store: Store, reader: Reader
) -> None:
    before = run(store, MAIL, MAIL)
    store.commit(*(ends(job_id, COMPLETED) for job_id in before))
    ids = run(store, MAIL, MAIL, INVOICE, queue="default")
    store.commit(*(starts(job_id, at=store.now - 3) for job_id in ids))
    store.commit(*(ends(job_id, raising(1)) for job_id in ids))
    store.now += 5
    after = run(store, MAIL)
    store.commit(ends(after[0], COMPLETED))
    fail(store, raising(2))
    read = reader.error(1, store.now, with_traits=True)
    assert read is not None
    assert read.traits is not None
    traits = read.traits
    assert (traits["attempts"], traits["others"], traits["seconds"]) == (3, 4, 3.0)
    assert traits["completed"] == {"job_id": after[0], "number": 1, "at": text(NOW)}
    assert {"of": "queue", "value": "default", "attempts": 3, "others": 4} in traits["each"]


def test_no_more_of_an_error_are_counted_than_the_newest(
    store: Store, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(error_pages, "_MOST_OF_LISTED", 2)
    fail(store, *[raising(1)] * 3, class_name=INVOICE)
    fail(store, *[raising(1)] * 2)
    (listed,), _ = reader.errors(ErrorFilter(), store.now)
    assert (listed["classes"], listed["counted"]) == (1, 2)


@pytest.mark.parametrize("place", ["", "x", "2024 x", "2024 99999999999999999999999", "2024 -1", "2024 ٣"])
def test_a_place_that_is_none_is_refused(reader: Reader, place: str) -> None:
    with pytest.raises(InvalidParameterError, match="before"):
        reader.errors(ErrorFilter(), NOW, before=place)


def test_a_place_of_another_order_is_refused(reader: Reader) -> None:
    with pytest.raises(InvalidParameterError, match="before"):
        reader.errors(ErrorFilter(sort=ErrorSort.FAILED), NOW, before=f"{text(NOW)} 3")


def test_errors_of_a_class_are_those_that_it_met_whoever_met_them_first(store: Store, reader: Reader) -> None:
    fail(store, raising(1), raising(2))
    fail(store, raising(2), raising(3), class_name=INVOICE)

    def of(class_name: str) -> list[int]:
        return sorted(error["id"] for error in reader.errors(ErrorFilter(class_name=class_name), NOW)[0])

    assert (of(MAIL), of(INVOICE), of("myapp.jobs.Other")) == ([1, 2], [2, 3], [])


def test_errors_that_are_new_are_asked_for_alone(store: Store, reader: Reader) -> None:
    fail(store, raising(1))
    store.now += NEW_FOR + 1
    fail(store, raising(1), raising(2))
    wanted = ErrorFilter(first_since=new_since(store.now))
    assert [error["id"] for error in reader.errors(wanted, store.now)[0]] == [2]


def test_an_error_is_told_with_its_classes_and_its_newest_traceback(store: Store, reader: Reader) -> None:
    fail(store, raising(1), raising(1))
    fail(store, replace(raising(1), traceback="the newest"), class_name=INVOICE)
    read = reader.error(1, NOW)
    assert read is not None
    assert (read.classes, read.traceback) == ({MAIL: 2, INVOICE: 1}, "the newest")
    assert (read.error["attempts"], read.error["is_new"], read.error["is_named"]) == (3, True, False)
    assert reader.error(2, NOW) is None


def test_the_jobs_of_an_error_are_listed_each_once(store: Store, reader: Reader) -> None:
    (retried,) = run(store, MAIL, policy=RetryPolicy(max_retries=5, retry_delay=0.0))
    for number in (1, 2, 3):
        store.commit(ends(retried, raising(1 if number < 3 else 2), number=number))
        store.claim(LANES)
    one, _, other = fail(store, raising(1), raising(2), raising(1))

    def listed(**wanted: Any) -> list[int]:
        found: list[int] = []
        totals: set[int | None] = set()
        before = None
        while True:
            page = reader.list(
                JobFilter(**wanted), now=store.now, before=before, limit=1, count=100, budget=60.0
            )
            totals.add(page.total)
            found += [job["id"] for job in page.rows]
            before = page.next
            if before is None:
                assert totals == {len(found)}
                return found

    assert listed(error=1) == [other, one, retried]
    assert listed(error=1, status=("failed",)) == [other, one]
    assert listed(error=1, status=("running",)) == [retried]
    assert listed(error=1, class_name=INVOICE) == []
    assert listed(error=7) == []


def test_a_job_that_was_deleted_leaves_its_error_as_it_was(store: Store, reader: Reader) -> None:
    (job_id,) = fail(store, raising(1))
    for table, column in (("job_attempts", "job_id"), ("background_jobs", "id")):
        store.database.execute_sql(f"DELETE FROM {table} WHERE {column} = {job_id}")
    read = reader.error(1, NOW)
    assert read is not None
    assert (read.classes, read.traceback, read.error["attempts"]) == ({}, None, 1)


def test_a_retry_of_a_job_that_failed_by_an_error_takes_nothing_back(store: Store) -> None:
    (job_id,) = fail(store, raising(1))
    store.commit(retries(job_id), lanes=LANES)
    assert [(row["attempts"], row["failed"]) for row in rows(store)] == [(1, 1)]


# The books


def test_the_books_tell_of_an_error_that_counts_less_than_it_has_ended(store: Store) -> None:
    fail(store, raising(1), raising(1), raising(2))
    audit = Audit(store.state_dir)
    assert audit.odd_errors() == ()
    store.database.execute_sql("UPDATE error_groups SET attempts = 1 WHERE id = 1")
    store.database.execute_sql("UPDATE error_groups SET failed = 9 WHERE id = 2")
    assert audit.odd_errors() == (
        Odd("error 1", "it counts 1 attempts, and 2 say that it has ended them"),
        Odd("error 1", "it counts 2 jobs that failed by it, and 1 attempts"),
        Odd("error 2", "it counts 9 jobs that failed by it, and 1 attempts"),
    )
    audit.close()
