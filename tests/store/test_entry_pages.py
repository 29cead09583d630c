"""Pages of log entries: what is on them, from which time on, and what a search of messages finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bgjob.words import EntryType
from bgjobd.core.job import Call
from bgjobd.core.planner import Lanes
from bgjobd.store.filters import LogFilter
from bgjobd.store.pages.page import Page
from bgjobd.store.reader import Reader
from tests.store.paging import ids, lives, messages_of, said
from tests.store.samples import (
    NOW,
    Store,
    asked,
    text,
)

WHOLE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
"""One file for all examples: each adds to it."""


@pytest.fixture
def reader(store: Store) -> Iterator[Reader]:
    reader = Reader(store.state_dir)
    yield reader
    reader.close()


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
