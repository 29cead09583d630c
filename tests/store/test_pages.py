"""Pages of jobs and of log entries: what is on them, in which order, how one goes on, and when a search stops."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjob.errors import InvalidParameterError
from bgjob.words import STATUS_WORDS, EntryType
from bgjobd.core.edges import Place
from bgjobd.core.gate import KeyRules
from bgjobd.core.job import Call, Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import bounds, sql_functions
from bgjobd.store.committed import LogLine
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.items.attempts import AttemptNotes, Note, Noted
from bgjobd.store.pages import entries, jobs, walks
from bgjobd.store.pages.page import MOST_BYTES, Page, in_pages
from bgjobd.store.pages.walks import FIRST_CHUNK
from bgjobd.store.reader import Reader
from bgjobd.store.readers import is_search
from tests.core.samples import UNKNOWN
from tests.store.samples import (
    COMPLETED,
    FAILED,
    NOW,
    USAGE,
    Store,
    asked,
    cancels,
    ends,
    retries,
    signal,
    starts,
    statements_run_on,
    submission,
    text,
    waits,
)

NO_TIME = 0.0
WHOLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""One file for all examples: each adds to it."""


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


def ids(page: Page) -> list[int]:
    return [row["id"] for row in page.rows]


def all_pages(ask: Callable[[int | None], Page]) -> list[dict[str, Any]]:
    """All rows from page to page, each page's `next` given to the following."""
    page = ask(None)
    rows = list(page.rows)
    while page.next is not None:
        page = ask(page.next)
        rows += page.rows
    return rows


def every_status(store: Store) -> dict[str, int]:
    """A job of each word that a list understands; `pending` waits for a slot only."""
    retrying = store.run_one()
    store.commit(ends(retrying, FAILED))
    snoozed = store.run_one()
    store.commit(ends(snoozed, Ending.snoozed(60)))
    waiting = store.run_one()
    store.commit(waits(waiting, delay=60))
    key = f"customer:{retrying}"
    running = store.run_one(key=key)
    shared = Lanes(0, keys={"default": KeyRules(slots=1)})
    ((behind,),) = store.commit(submission(asked(key=key)), lanes=shared).answers
    completed, failed = (store.run_one(retry_count=3) for _ in range(2))
    store.commit(ends(completed, COMPLETED), ends(failed, FAILED))
    review = store.run_one()
    store.commit(ends(review, UNKNOWN))
    pending, scheduled, cancelled = store.submit(
        asked(queue="closed"), asked(scheduled_at=NOW + 60), asked(queue="closed")
    )
    (blocked,) = store.submit(asked(schedule="nightly", place=Place(waits_for=1), scheduled_at=NOW + 60))
    store.commit(cancels(cancelled))
    return {
        "blocked": blocked,
        "behind": behind.id,
        "retrying": retrying,
        "snoozed": snoozed,
        "waiting": waiting,
        "running": running,
        "completed": completed,
        "failed": failed,
        "review": review,
        "pending": pending,
        "scheduled": scheduled,
        "cancelled": cancelled,
    }


# Jobs


def test_a_summary_tells_how_a_job_stands(store: Store, reader: Reader) -> None:
    job_id = store.run_one(queue="mail", priority=3, parameters={"secret": 1})
    store.now += 1
    store.commit(AttemptNotes(job_id, 1, 0, (Note(NOW + 0.5, EntryType.INFO, "half", 0.5),)), cancels(job_id))
    expected = {
        "id": job_id,
        "class_name": "myapp.jobs.ExampleJob",
        "method_name": "run",
        "status": "running",
        "queue": "mail",
        "priority": 3,
        "retry_count": 0,
        "max_retries": 3,
        "attempt": 1,
        "outcome": None,
        "scheduled_at": None,
        "started_at": text(NOW),
        "finished_at": None,
        "created_at": text(NOW),
        "updated_at": text(NOW + 1),
        "cancel_requested_at": text(NOW + 1),
        "error": None,
        "schedule": None,
        "occurrence": None,
        "group_id": None,
        "key": None,
        "is_blocked": False,
        "is_behind": False,
        "steps": 0,
        "step": None,
        "review_since": None,
        "labels": [],
        "waiting_on": None,
        "progress": {"fraction": 0.5, "message": "half", "at": text(NOW + 0.5), "told": 1},
    }
    assert reader.summary(job_id) == expected
    assert reader.list(JobFilter(), now=NOW).rows == [expected | dict.fromkeys((*asdict(USAGE), "host"))]


def test_there_is_no_summary_of_a_job_that_was_never_submitted(reader: Reader) -> None:
    assert reader.summary(1) is None
    assert reader.summaries([1, 2]) == {}


def test_many_jobs_are_read_at_once_and_each_is_as_if_it_were_read_alone(
    store: Store, reader: Reader
) -> None:
    made = sorted(every_status(store).values())
    with statements_run_on(reader._database) as run:
        found = reader.summaries([99, *made, made[0]])
    assert len(run) == 1
    assert found == {job_id: reader.summary(job_id) for job_id in made}


def test_the_progress_of_an_earlier_attempt_is_not_the_latest_ones(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.commit(AttemptNotes(job_id, 1, 0, (Note(NOW, EntryType.INFO, "half", 0.5),)), ends(job_id, FAILED))
    assert reader.list(JobFilter(), now=NOW).rows[0]["progress"] is not None
    store.now += 5
    store.claim(Lanes(1))
    (summary,) = reader.list(JobFilter(), now=NOW).rows
    assert (summary["attempt"], summary["progress"], summary["error"]) == (
        2,
        None,
        "ValueError: no recipient",
    )


def test_a_list_tells_what_the_latest_attempt_used_once_it_has_ended(store: Store, reader: Reader) -> None:
    job_id = store.run_one()
    store.submit(asked(queue="closed"))

    def told() -> list[dict[str, Any]]:
        return [{name: row[name] for name in asdict(USAGE)} for row in reader.list(JobFilter(), now=NOW).rows]

    unknown = dict.fromkeys(asdict(USAGE))
    assert told() == [unknown, unknown]
    store.commit(ends(job_id, FAILED, usage=USAGE))
    assert told() == [unknown, asdict(USAGE)]
    store.now += 5
    store.claim(Lanes(1))
    assert told() == [unknown, unknown]
    later = replace(USAGE, output_bytes=0)
    store.commit(ends(job_id, COMPLETED, 2, usage=later))
    assert told() == [unknown, asdict(later)]
    (found,) = reader.list(JobFilter(status=("completed",), search="example"), now=NOW).rows
    assert found["output_bytes"] == 0


def test_jobs_come_newest_first_and_page_by_page(store: Store, reader: Reader) -> None:
    assert reader.list(JobFilter(), now=NOW) == Page([], None)
    store.submit(*[asked() for _ in range(7)])
    first = reader.list(JobFilter(), limit=3, now=NOW)
    assert (ids(first), first.next, first.is_complete) == ([7, 6, 5], 5, True)
    last = reader.list(JobFilter(), before=4, limit=3, now=NOW)
    assert (ids(last), last.next) == ([3, 2, 1], None)
    assert reader.list(JobFilter(), before=1, now=NOW) == Page([], None)


def test_each_word_of_status_has_its_jobs(store: Store, reader: Reader) -> None:
    made = every_status(store)
    found = {word: ids(reader.list(JobFilter(status=(word,)), now=NOW)) for word in made}
    waiting = ("pending", "scheduled", "retrying", "snoozed", "blocked", "behind", "waiting")
    pending = sorted((made[word] for word in waiting), reverse=True)
    failed = [made["review"], made["failed"]]
    assert found == {word: [job_id] for word, job_id in made.items()} | {"pending": pending, "failed": failed}


def test_a_job_whose_time_has_come_is_called_nothing_else_but_pending(store: Store, reader: Reader) -> None:
    every_status(store)
    assert ids(reader.list(JobFilter(status=("scheduled", "retrying", "snoozed")), now=NOW + 60)) == []
    assert len(reader.list(JobFilter(status=("pending",)), now=NOW + 60).rows) == 7


def test_a_waiting_job_says_for_what_until_a_signal_wakes_it(store: Store, reader: Reader) -> None:
    made = every_status(store)["waiting"]

    def told() -> list[object]:
        job, summary = reader.job(made), reader.summary(made)
        assert job is not None
        assert summary is not None
        return [job.columns["waiting_on"], summary["waiting_on"], summary["steps"]]

    assert told() == ["signal packed", "signal packed", 0]
    store.commit(signal(made))
    assert told() == [None, None, 0]


def test_a_blocked_job_says_so_until_it_waits_for_none(store: Store, reader: Reader) -> None:
    made = every_status(store)
    told = reader.summary(made["blocked"])
    assert told is not None
    assert (told["schedule"], told["is_blocked"]) == ("nightly", True)
    job = reader.job(made["blocked"])
    assert job is not None
    assert job.columns["is_blocked"] is True
    assert reader.pending_count() == len(list(reader.pending())) == 7
    store.commit(cancels(made["blocked"]))
    told = reader.summary(made["blocked"])
    assert told is not None
    assert told["is_blocked"] is False


def test_jobs_of_a_schedule_are_told_apart_by_every_word(store: Store, reader: Reader) -> None:
    made = every_status(store)
    store.database.execute_sql("UPDATE background_jobs SET schedule = 'nightly'")
    (other,) = store.submit(asked(queue="closed", schedule="hourly"))
    every = sorted(made.values(), reverse=True)
    assert ids(reader.list(JobFilter(schedule="nightly"), now=NOW)) == every
    assert ids(reader.list(JobFilter(schedule="hourly"), now=NOW)) == [other]
    assert ids(reader.list(JobFilter(schedule="weekly"), now=NOW)) == []
    for words in [(word,) for word in made] + [("pending", "failed"), ("scheduled", "running"), ()]:
        alike = ids(reader.list(JobFilter(status=words), now=NOW))
        found = reader.list(JobFilter(status=words, schedule="nightly"), now=NOW, count=10)
        assert ids(found) == [one for one in alike if one != other], words
        assert found.total == len(found.rows)
    assert ids(reader.list(JobFilter(schedule="nightly", class_name="other"), now=NOW)) == []
    assert ids(reader.list(JobFilter(schedule="nightly"), now=NOW, before=every[2], limit=2)) == every[3:5]


def test_jobs_of_a_key_are_told_apart_by_every_word(store: Store, reader: Reader) -> None:
    made = every_status(store)
    assert ids(reader.list(JobFilter(key="customer:1"), now=NOW)) == [made["behind"], made["running"]]
    store.database.execute_sql("UPDATE background_jobs SET key = 'a'")
    (other,) = store.submit(asked(queue="closed", key="b"))
    for words in [(word,) for word in made] + [("pending", "failed"), ("behind", "running"), ()]:
        alike = ids(reader.list(JobFilter(status=words), now=NOW))
        found = reader.list(JobFilter(status=words, key="a"), now=NOW, count=20)
        assert ids(found) == [one for one in alike if one != other], words
        assert found.total == len(found.rows)
    nightly = reader.list(JobFilter(key="a", schedule="nightly"), now=NOW)
    assert ids(nightly) == [made["blocked"]]


@WHOLE
@given(
    words=st.sets(st.sampled_from(STATUS_WORDS)),
    limit=st.integers(1, 4),
)
def test_words_of_status_together_give_each_job_once_and_newest_first(
    store: Store, reader: Reader, words: set[str], limit: int
) -> None:
    made = every_status(store)
    rows = all_pages(
        lambda key: reader.list(JobFilter(status=tuple(words)), now=NOW, before=key, limit=limit)
    )
    found = [row["id"] for row in rows]
    assert found == sorted(set(found), reverse=True)
    wanted = {made[word] for word in words}
    if "pending" in words:
        wanted |= {
            made[word] for word in ("scheduled", "retrying", "snoozed", "blocked", "behind", "waiting")
        }
    wanted |= {made["review"]} if "failed" in words else set()
    assert set(found) & set(made.values()) == wanted


def test_an_unknown_word_of_status_is_refused(reader: Reader) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        reader.list(JobFilter(status=("failed", "lost")), now=NOW)
    assert caught.value.parameters == {"parameter": "status"}


def test_jobs_are_found_by_queue_class_and_method(store: Store, reader: Reader) -> None:
    other = Call("myapp.jobs.Other", "send", "{}")
    store.submit(asked(), asked(queue="mail"), asked(call=other), asked(call=other, queue="mail"))
    assert ids(reader.list(JobFilter(queue="mail"), now=NOW)) == [4, 2]
    assert ids(reader.list(JobFilter(class_name="myapp.jobs.Other"), now=NOW)) == [4, 3]
    assert ids(reader.list(JobFilter(method_name="run", queue="default"), now=NOW)) == [1]
    assert ids(reader.list(JobFilter(status=("pending",), method_name="send", queue="mail"), now=NOW)) == [4]


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("examplejob", [4, 3, 2, 1]),
        ("ExampleJob::RUN", [4, 3, 2, 1]),
        ("straße", [2]),
        ("STRASSE", [2]),
        ("100%", [3]),
        ("%", [3]),
        ("_", []),
        ("\\", [4]),
        ("", [4, 3, 2, 1]),
        ("recipient", [1]),
        ("nosuch", []),
    ],
)
def test_jobs_are_found_by_a_part_of_class_method_or_error(
    store: Store, reader: Reader, search: str, found: list[int]
) -> None:
    for message in ("no recipient", "keine Große STRAßE", "at 100% \x00 load", "C:\\x"):
        job_id = store.run_one(retry_count=3)
        store.commit(ends(job_id, Ending.failed("ValueError", message)))
    assert ids(reader.list(JobFilter(search=search), now=NOW)) == found


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("USER@example", [1]),
        ("groß", [1]),
        ("GROSS", [1]),
        ("47", [2]),
        ("true", [2]),
        ("null", [2]),
        ("C:\\x", [2]),
        ('say "x"', [2]),
        ("inner", [2]),
        ("to", []),
        ('"', [2]),
        (",", []),
        ("token", []),
        ("secret", [4]),
        ("***", []),
        ("4711,", []),
        ("\t", [5]),
        ("{shown", [5]),
        ("[{", [2]),
        ("x]", []),
    ],
)
def test_jobs_are_found_by_values_of_their_parameters_that_are_no_secrets(
    store: Store, reader: Reader, search: str, found: list[int]
) -> None:
    asked_for = {"to": "user@example.com", "size": "große Größe"}
    nested = {"of": [{"inner": 4711}, True, None, "C:\\x", 'say "x"']}
    store.submit(
        asked(parameters=asked_for),
        asked(parameters=nested),
        asked(parameters={"token": "secret"}, sensitive=("token",)),
        asked(parameters={"token": "secret"}),
        asked(call=Call("myapp.jobs.Other", "run", '{"a":"\\t{shown","token":"secret"}')),
    )
    wanted = JobFilter(search=search, sensitive={"myapp.jobs.Other": ("token",), "a.B": ("to",)})
    assert ids(reader.list(wanted, now=NOW)) == found


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The parameters of which searches have asked whether a value has what they look for."""
    really, told = sql_functions.has_value, list[str]()

    def has_value(parameters: str, *others: Any) -> bool:
        told.append(parameters)
        return really(parameters, *others)

    monkeypatch.setattr(sql_functions, "has_value", has_value)
    return told


@pytest.mark.parametrize(("search", "found"), [("secret", []), ("secreu", []), ("token", []), ("\\", [1])])
def test_what_a_search_does_with_a_secret_does_not_depend_on_what_it_is(
    store: Store, looked_at: list[str], reader: Reader, search: str, found: list[int]
) -> None:
    """Time, and where `next` stands, would tell a right guess from a wrong one."""
    by_job, by_class = '{"token":"secret","other":"\\\\"}', '{"token":"secret"}'
    store.submit(
        asked(parameters=json.loads(by_job), sensitive=("token",)),
        asked(parameters=json.loads(by_class), class_name="a.B"),
        asked(parameters={"of": "others"}),
    )
    wanted = JobFilter(search=search, sensitive={"a.B": ("token",)})
    assert ids(reader.list(wanted, now=NOW)) == found
    assert looked_at == [by_class, by_job]


def test_a_search_looks_at_few_parameters_before_it_looks_at_the_clock(
    store: Store, looked_at: list[str], reader: Reader
) -> None:
    store.submit(*[asked(parameters={"name": "value"}) for _ in range(50)])
    page = reader.list(JobFilter(search="name"), budget=NO_TIME, now=NOW)
    assert (page.rows, page.next, page.is_complete) == ([], 41, False)
    assert len(looked_at) == 10


def test_a_search_looks_at_parameters_of_64_kib_in_some_milliseconds() -> None:
    """Value by value it took 65 ms: a submitter could have searches of others take seconds."""
    parameters = json.dumps({"a": [1] * 20_000}, separators=(",", ":"))

    def looked_through() -> float:
        began_at = time.process_time()
        assert not sql_functions.has_value(parameters, None, None, "nosuch")
        return time.process_time() - began_at

    def read() -> float:
        began_at = time.process_time()
        json.dumps(json.loads(parameters))
        return time.process_time() - began_at

    assert min(looked_through() for _ in range(5)) < 3 * min(read() for _ in range(5))


def ended(store: Store, ending: Ending = FAILED, after: float = 0.0) -> int:
    """A job that ended so many seconds after `NOW`."""
    job_id = store.run_one(retry_count=3)
    store.commit(ends(job_id, ending, at=NOW + after))
    return job_id


FAILED_ONES = JobFilter(status=("failed",))


def test_jobs_that_have_ended_are_listed_by_their_end_and_not_by_their_submit(
    store: Store, reader: Reader
) -> None:
    first, second, third = ended(store, after=60), ended(store), ended(store, COMPLETED, after=30)
    assert ids(reader.list(FAILED_ONES, now=NOW)) == [first, second]
    assert ids(reader.list(JobFilter(status=("failed", "completed")), now=NOW)) == [first, third, second]
    assert ids(reader.list(JobFilter(status=("failed", "completed", "running")), now=NOW)) == [
        third,
        second,
        first,
    ]


def test_a_page_goes_on_where_it_stopped_although_its_last_job_was_retried_and_has_failed_again(
    store: Store, reader: Reader
) -> None:
    jobs = [ended(store, after=after) for after in (4, 3, 3, 2, 1)]
    page = reader.list(FAILED_ONES, limit=2, now=NOW)
    assert ids(page) == [jobs[0], jobs[2]]
    store.commit(retries(jobs[2]))
    (claim,) = store.claim(Lanes(1000, {"default": None}))
    store.commit(ends(claim.job.id, Ending.failed("ValueError", "again"), number=2, at=NOW + 60))
    page = reader.list(FAILED_ONES, before=page.next, before_at=page.next_at, limit=2, now=NOW)
    assert ids(page) == [jobs[1], jobs[3]]
    store.database.execute_sql("DELETE FROM background_jobs WHERE id = ?", (jobs[3],))
    page = reader.list(FAILED_ONES, before=page.next, before_at=page.next_at, limit=2, now=NOW)
    assert ids(page) == [jobs[4]]
    assert (page.next, page.next_at) == (None, None)


def test_a_job_that_somebody_names_stands_where_it_ended_last(store: Store, reader: Reader) -> None:
    jobs = [ended(store, after=after) for after in (3, 2, 1)]
    assert ids(reader.list(FAILED_ONES, before=jobs[0], now=NOW)) == jobs[1:]
    store.commit(retries(jobs[1]))
    assert ids(reader.list(FAILED_ONES, before=jobs[1], now=NOW)) == jobs[2:]
    store.database.execute_sql("DELETE FROM background_jobs WHERE id = ?", (jobs[1],))
    assert ids(reader.list(FAILED_ONES, before=jobs[1], now=NOW)) == [jobs[0], jobs[2]]


def test_since_is_of_the_end_where_all_have_ended_and_of_the_submit_else(
    store: Store, reader: Reader
) -> None:
    late, early = ended(store, after=60), ended(store)
    store.now += 30
    (new,) = store.submit(asked())
    since = text(NOW + 30)
    found = reader.list(replace(FAILED_ONES, since=since), count=10, limit=1, now=NOW)
    assert (ids(found), found.next, found.total) == ([late], None, 1)
    found = reader.list(replace(FAILED_ONES, since=text(NOW)), count=10, before=late, limit=1, now=NOW)
    assert (ids(found), found.total) == ([early], 2)
    assert ids(reader.list(JobFilter(since=since), now=NOW)) == [new]


def test_until_is_the_same_up_to_a_moment_that_is_no_part_of_it(store: Store, reader: Reader) -> None:
    late, mid, early = (ended(store, after=after) for after in (60, 30, 0))
    store.now += 30
    (new,) = store.submit(asked())
    found = reader.list(replace(FAILED_ONES, until=text(NOW + 60)), count=10, limit=1, now=NOW)
    assert (ids(found), found.next, found.next_at, found.total) == ([mid], mid, text(NOW + 30), 2)
    wanted = replace(FAILED_ONES, until=text(NOW + 60), since=text(NOW + 1))
    assert ids(reader.list(wanted, now=NOW)) == [mid]
    assert ids(reader.list(replace(wanted, until=text(NOW + 60)), before=late, now=NOW)) == [mid]
    assert ids(reader.list(replace(FAILED_ONES, until=text(NOW + 60)), before=mid, now=NOW)) == [early]
    assert ids(reader.list(JobFilter(until=text(NOW + 30)), now=NOW)) == [early, mid, late]
    assert ids(reader.list(JobFilter(until=text(NOW + 31)), now=NOW)) == [new, early, mid, late]


def test_what_has_ended_is_sorted_by_its_end_or_its_id_whatever_is_said_of_its_status(
    store: Store, reader: Reader
) -> None:
    first, second, third = ended(store, after=60), ended(store), ended(store, COMPLETED, after=30)
    store.submit(asked())
    all_ended = JobFilter(sort="ended")
    assert ids(reader.list(all_ended, now=NOW)) == [first, third, second]
    pages_of = [reader.list(all_ended, limit=2, count=10, now=NOW)]
    pages_of.append(reader.list(all_ended, before=third, before_at=pages_of[0].next_at, count=10, now=NOW))
    assert [(ids(page), page.total) for page in pages_of] == [([first, third], 3), ([second], 3)]
    assert ids(reader.list(replace(FAILED_ONES, sort="ended"), now=NOW)) == [first, second]
    assert ids(reader.list(replace(FAILED_ONES, sort="id"), now=NOW)) == [second, first]
    assert reader.list(replace(FAILED_ONES, sort="id"), limit=1, now=NOW).next_at is None
    by_id = replace(FAILED_ONES, sort="id", since=text(NOW + 1))  # which is of the end all the same
    assert ids(reader.list(by_id, now=NOW)) == [first]


def test_jobs_are_found_by_how_long_their_latest_attempt_took_or_takes(store: Store, reader: Reader) -> None:
    quick, slow, waiting = store.run_one(), store.run_one(retry_count=3), store.run_one()
    store.commit(starts(quick), starts(slow), starts(waiting), ends(quick, COMPLETED, at=NOW + 10))
    store.commit(ends(slow, FAILED, at=NOW + 60.5), ends(waiting, FAILED, at=NOW + 20))
    running = store.run_one()
    store.submit(asked())
    store.commit(starts(running))

    def longer(seconds: float, now: float = NOW + 30, **given: Any) -> list[int]:
        return sorted(ids(reader.list(JobFilter(longer_than=seconds, **given), now=now)))

    assert longer(0) == [quick, slow, waiting, running]
    assert longer(10) == [slow, waiting, running]
    assert longer(30) == [slow]
    assert longer(30, now=NOW + 31) == [slow, running]
    assert longer(60.4, status=("failed", "completed")) == [slow]
    assert longer(60.5) == []


def test_jobs_are_found_by_how_their_latest_attempt_ended(store: Store, reader: Reader) -> None:
    failed, retried = ended(store), store.run_one(retry_count=2)
    store.commit(ends(retried, FAILED))
    store.submit(asked())
    assert ids(reader.list(JobFilter(outcome="failed"), now=NOW)) == [retried, failed]
    store.now += 3600
    store.claim(Lanes(1000, {"default": None}))
    assert ids(reader.list(JobFilter(outcome="failed"), now=NOW)) == [failed]
    store.commit(ends(retried, COMPLETED, number=2))
    assert ids(reader.list(JobFilter(outcome="completed"), count=9, now=NOW)) == [retried]


# Log entries


def said(store: Store, *messages: str, job_id: int = 1) -> None:
    store.commit(*[Noted(job_id, None, EntryType.INFO, message) for message in messages])


def messages_of(page: Page) -> list[str]:
    return [row["message"] for row in page.rows]


def test_an_entry_names_its_job_and_has_its_context_as_an_object(store: Store, reader: Reader) -> None:
    (job_id,) = store.submit(asked(parameters={"to": "ann", "password": "x"}, sensitive=("password",)))
    (entry,) = reader.logs(LogFilter()).rows
    assert entry.pop("context")["parameters"] == {"to": "ann", "password": "***"}
    assert entry == {
        "id": 1,
        "job_id": job_id,
        "attempt": None,
        "attempts_allowed": None,
        "type": "success",
        "message": "Background job initiated",
        "created_at": text(NOW),
        "class_name": "myapp.jobs.ExampleJob",
        "method_name": "run",
    }
    store.claim(Lanes(1))
    assert reader.logs(LogFilter()).rows[0]["context"] is None
    assert reader.logs(LogFilter()).rows[0]["attempt"] == 1
    assert reader.logs(LogFilter()).rows[0]["attempts_allowed"] == 4


def test_entries_come_newest_first_and_oldest_first_after_a_key(store: Store, reader: Reader) -> None:
    store.submit(*[asked() for _ in range(5)])
    newest = reader.logs(LogFilter(), limit=2)
    assert (ids(newest), newest.next) == ([5, 4], 4)
    assert ids(reader.logs(LogFilter(), before=newest.next)) == [3, 2, 1]
    oldest = reader.logs(LogFilter(), after=0, limit=2)
    assert (ids(oldest), oldest.next) == ([1, 2], 2)
    rest = reader.logs(LogFilter(), after=2, limit=3)
    assert (ids(rest), rest.next) == ([3, 4, 5], None)
    assert ids(reader.logs(LogFilter(), after=1, before=4)) == [2, 3]
    assert reader.logs(LogFilter(), after=5) == Page([], None)


def test_the_newest_entry_has_the_last_id(store: Store, reader: Reader) -> None:
    assert reader.last_log_id() == 0
    store.submit(asked(), asked())
    assert reader.last_log_id() == 2


SAID: Final = (
    Note(NOW, EntryType.INFO, "half", 0.5),
    Note(NOW, EntryType.INFO, "Background job is at home"),
    Note(NOW, EntryType.INFO, "Background job started"),
)
"""A step of progress, and what is none and says that it is."""


def lives(store: Store) -> list[LogLine]:
    """All that was logged while jobs of two classes lived, and one talked."""
    other = Call("myapp.jobs.Other", "send", "{}")
    parts = [
        store.commit(submission(asked(), asked(call=other), asked(method="send")), lanes=Lanes(3)),
        store.commit(starts(1), ends(1, FAILED), starts(2), ends(2, COMPLETED), cancels(3)),
        store.commit(
            AttemptNotes(3, 1, 0, (Note(NOW, EntryType.FAILURE, "İstanbul: 50% CANCELLED", None), *SAID)),
            ends(3, FAILED),
        ),
    ]
    return [line for part in parts for line in part.lines]


@pytest.mark.parametrize(
    "wanted",
    [
        LogFilter(),
        LogFilter(id=3),
        LogFilter(id=99),
        LogFilter(type=EntryType.SUCCESS),
        LogFilter(type=EntryType.FAILURE),
        LogFilter(type="info"),
        LogFilter(id=1, type=EntryType.FAILURE),
        LogFilter(class_name="myapp.jobs.Other"),
        LogFilter(method_name="send"),
        LogFilter(class_name="myapp.jobs.ExampleJob", method_name="send", type="failure"),
        LogFilter(search="BACKGROUND JOB C"),
        LogFilter(search="i̇stanbul"),
        LogFilter(search="%"),
        LogFilter(search=""),
        LogFilter(search="cancelled", id=3, type="info"),
        LogFilter(said=True),
        LogFilter(said=True, type="success"),
        LogFilter(search="OTHER::"),
        LogFilter(search="jobs.other::SEND", type="success"),
    ],
)
def test_a_follower_is_sent_what_a_reader_finds(store: Store, reader: Reader, wanted: LogFilter) -> None:
    lines = lives(store)
    matching = [line.id for line in lines if wanted.matches(line)]
    assert ids(reader.logs(wanted, after=0)) == matching
    assert ids(reader.logs(wanted)) == matching[::-1]
    told = {LogFilter(id=99): 0, LogFilter(): len(lines), LogFilter(search=""): len(lines)}
    assert len(matching) == told.get(wanted, len(matching))
    assert matching or wanted.id == 99


def test_what_jobs_said_is_all_but_that_they_go_their_way(store: Store, reader: Reader) -> None:
    lives(store)
    assert messages_of(reader.logs(LogFilter(said=True, id=3), after=0)) == [
        "Background job cancel requested",
        "İstanbul: 50% CANCELLED",
        "Background job is at home",
        "Background job started",
        "Background job cancelled (ValueError: no recipient)",
    ]


# Going to a time


@WHOLE
@given(
    times=st.lists(st.integers(0, 9), max_size=30).map(sorted),
    gone=st.sets(st.integers(0, 29)),
    at=st.integers(-1, 10),
)
def test_the_log_is_entered_at_a_time_whatever_is_gone(
    store: Store, reader: Reader, times: list[int], gone: set[int], at: int
) -> None:
    if not store.count("background_jobs"):
        store.submit(asked())
    floor = reader.last_log_id()
    for place, when in enumerate(times):
        if place not in gone:
            store.database.execute_sql(
                "INSERT INTO job_logs (id, job_id, type, message, created_at) VALUES (?, 1, 'info', ?, ?)",
                [floor + 1 + place, str(when), text(NOW + 1 + when)],
            )
    page = reader.logs(LogFilter(), until=text(NOW + 1 + at), limit=1000, count=10)
    left = [str(when) for place, when in enumerate(times) if place not in gone and when <= at]
    assert messages_of(page)[: len(left)] == left[::-1]
    assert page.total is None
    store.database.execute_sql("DELETE FROM job_logs WHERE id > 1")


# Searching messages

SCRIPTS = "aAbB %_\\ßẞıİiIςσΣäÄ\u0308\u0130\u0307ﬀKkſs日Ǆǆ\x00'\"\U0001f98a"
SMALL = st.text(st.sampled_from(SCRIPTS), max_size=6)
ANY = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
NUL = {"\0": "\ufffd"}
"""What stands for it in PostgreSQL."""


@WHOLE
@given(messages=st.lists(SMALL | ANY, min_size=1, max_size=8), search=SMALL | ANY)
def test_a_search_finds_what_pythons_casefold_finds(
    store: Store, reader: Reader, messages: list[str], search: str
) -> None:
    if not store.count("background_jobs"):
        store.submit(asked(call=Call("Q7.Z7", "w7", "{}")))
    if not isinstance(store.state_dir, Path):
        *messages, search = (text.translate(str.maketrans(NUL)) for text in (*messages, search))
    last = reader.last_log_id()
    said(store, *messages)
    found = messages_of(reader.logs(LogFilter(search=search), after=last, limit=1000, budget=60))
    needle = search.casefold()
    assert found == [message for message in messages if needle in message.casefold() or needle in "q7.z7::w7"]


def test_a_search_of_the_log_looks_at_class_and_method_too_and_its_count(
    store: Store, reader: Reader
) -> None:
    store.submit(asked(call=Call("myapp.Straße", "Send", "{}")))
    store.submit(asked())
    for search in ("STRASSE::s", "aße::SEND"):
        page = reader.logs(LogFilter(search=search), count=100)
        assert ([row["job_id"] for row in page.rows], page.total) == ([1], 1)


@pytest.mark.parametrize("search", ["100%", "a_b", "\\", "'; DROP TABLE job_logs; --", "*", "[a]", ":needle"])
def test_no_character_of_a_search_has_a_meaning_of_its_own(store: Store, reader: Reader, search: str) -> None:
    store.submit(asked())
    said(store, f"before {search} after", "100 axb / aab")
    assert messages_of(reader.logs(LogFilter(search=search))) == [f"before {search} after"]


def test_no_more_than_the_first_200_characters_are_searched_for(store: Store, reader: Reader) -> None:
    store.submit(asked())
    said(store, "x" * 200, "x" * 199)
    assert messages_of(reader.logs(LogFilter(search="X" * 300))) == ["x" * 200]


# Going on from page to page


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
