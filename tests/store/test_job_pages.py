"""Pages of jobs: what is on them, in which order, by which filters."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjob.errors import InvalidParameterError
from bgjob.words import STATUS_WORDS, EntryType
from bgjobd.core.job import Call, Ending
from bgjobd.core.planner import Lanes
from bgjobd.store import sql_functions
from bgjobd.store.filters import JobFilter
from bgjobd.store.items.attempts import AttemptNotes, Note
from bgjobd.store.pages.page import Page
from bgjobd.store.reader import Reader
from tests.store.paging import all_pages, ended, every_status, ids
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
