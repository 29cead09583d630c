"""Backfills of a real file: portions, and what changes between reading and writing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgjob.errors import InvalidParametersError, QueueFullError
from bgjobd.core.calendar import Every
from bgjobd.core.planner import Lanes
from bgjobd.core.schedules import Reason, Span
from bgjobd.daemon.backfills import MOST, Backfills
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import Backfill
from bgjobd.store.reader import Reader
from tests.store.samples import NOW, Store, asked
from tests.store.test_schedules import DAEMON, FIRST, MINUTE, NIGHTLY, deal, define, rows


class File:
    """The writer and a reader of one file, as the loop has them; `before` is called before each item is written."""

    def __init__(self, state_dir: Path) -> None:
        self.store = Store(state_dir)
        self.reader = Reader(self.store.state_dir)
        self.before: Callable[[], None] = lambda: None

    async def read(self, question: Callable[[Reader], Any]) -> Any:
        return question(self.reader)

    async def record(self, item: Item) -> Any:
        self.before()
        return self.store.answer(item)

    def backfills(self, calendar: Every = MINUTE) -> Backfills:
        return Backfills(
            name=NIGHTLY,
            calendar=calendar,
            since=NOW,
            job=asked(),
            submitter=DAEMON,
            read=self.read,
            record=self.record,
        )


def make(backfills: Backfills, wanted: Sequence[float]) -> list[int]:
    made: list[int] = []
    asyncio.run(backfills.make(wanted, [None] * len(wanted), made))
    return made


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    file = File(tmp_path)
    define(file.store, NIGHTLY, is_new=True)
    yield file
    file.reader.close()
    file.store.close()


def test_what_has_no_job_is_made_in_portions(file: File) -> None:
    file.store.now = FIRST + 2500 * 60 + 30
    for _ in range(2):  # which are more than a transaction deals with
        deal(file.store, job=None)
    backfills = file.backfills()
    newest: list[int] = []
    file.before = lambda: newest.append(file.store.count("background_jobs"))

    wanted = asyncio.run(backfills.wanted(FIRST, FIRST + 2100 * 60))
    assert len(wanted) == 2101
    assert make(backfills, wanted) == list(range(1, 2102))
    assert newest == list(range(0, 2101, 100))
    assert rows(file.store)[-1] == (2101, 2500, 400, "skipped", Reason.REFUSED, None)
    assert asyncio.run(backfills.wanted(FIRST, FIRST + 2100 * 60)) == []


def test_a_row_that_grows_meanwhile_is_read_again(file: File) -> None:
    file.store.now = FIRST + 600
    deal(file.store, job=None)

    def grow() -> None:
        file.before = lambda: None
        file.store.now += 60
        deal(file.store, job=None)

    file.before = grow
    backfills = file.backfills()

    assert make(backfills, [FIRST, FIRST + 60]) == [1, 2]
    assert rows(file.store)[-1] == (2, 11, 10, "skipped", Reason.REFUSED, None)


def test_rows_that_tell_of_other_times_stay_as_they_are(file: File) -> None:
    file.store.now = FIRST + 180
    define(file.store, NIGHTLY, is_new=True, changed=(Span(FIRST, FIRST + 180, 7),), since=FIRST + 200)
    before = rows(file.store)
    backfills = replace(file.backfills(), since=FIRST + 200)
    assert asyncio.run(backfills.wanted(FIRST, FIRST + 190)) == []
    assert asyncio.run(backfills.wanted(FIRST, FIRST + 300)) == [FIRST + 240, FIRST + 300]
    item = Backfill(NIGHTLY, ((FIRST, None),), (), (), asked(), DAEMON)
    assert file.store.answer(item) is None
    assert rows(file.store) == before


def test_too_many_are_refused_with_the_reason(file: File) -> None:
    backfills = file.backfills(Every(1.0))
    assert len(asyncio.run(backfills.wanted(NOW + 1, NOW + MOST))) == MOST
    with pytest.raises(InvalidParametersError, match="until: more than 10,000 occurrences have no job"):
        asyncio.run(backfills.wanted(NOW + 1, NOW + MOST + 1))


def test_those_that_have_a_job_are_not_too_many(file: File, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bgjobd.daemon.backfills.MOST", 10)
    monkeypatch.setattr("bgjobd.daemon.backfills.MOST_LOOKED_AT", 300)
    backfills = file.backfills()
    make(backfills, [FIRST + minute * 60 for minute in range(20)])
    assert len(asyncio.run(backfills.wanted(FIRST, FIRST + 29 * 60))) == 10
    make(backfills, [FIRST + minute * 60 for minute in range(20, 400)])
    with pytest.raises(InvalidParametersError, match="until: there are more than 300 occurrences"):
        asyncio.run(backfills.wanted(FIRST, FIRST + 399 * 60))


def test_what_is_made_before_a_refusal_is_told(file: File) -> None:
    async def record(item: Item) -> Any:
        answer = file.store.commit(item, lanes=replace(Lanes(0), max_pending={"default": 150})).answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    backfills = replace(file.backfills(), record=record)
    made: list[int] = []
    with pytest.raises(QueueFullError):
        asyncio.run(backfills.make([FIRST + minute * 60 for minute in range(200)], [None] * 200, made))
    assert made == list(range(1, 101))
