"""Schedules as the loop keeps them, with a file that is told what to answer: no trouble ends that for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from peewee import OperationalError

from bgjob.errors import StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.config import loading
from bgjobd.daemon import due_schedules
from bgjobd.daemon import schedules as looks
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedules import AroundSchedules, Schedules
from bgjobd.host import pacing
from bgjobd.store.committed import Dealt, StoredSchedule
from bgjobd.store.items.schedules import OccurrencesDue, SchedulesDefined
from tests.daemon.test_schedules_at_reload import catalogue_of

EACH_SECOND = "job = 'a.Job::run', every = '1s'"


class File:
    """Answers what is asked; `answers` has in order what becomes of that which is due, None for as it should be."""

    def __init__(self, *answers: Callable[[OccurrencesDue], Any] | None) -> None:
        self.answers = list(answers)
        self.reads: list[Exception | None] = []
        self.items: list[OccurrencesDue] = []

    async def record(self, item: Any) -> Any:
        if isinstance(item, SchedulesDefined):
            return [StoredSchedule(one.name, one.definition, 0.0, 0.0, None) for one in item.schedules]
        self.items.append(item)
        answer = self.answers.pop(0) if self.answers else None
        return [Dealt(one.due.until) for one in item.schedules] if answer is None else answer(item)

    async def read(self, question: Any) -> Any:
        error = self.reads.pop(0) if self.reads else None
        if error is not None:
            raise error
        return question(SimpleNamespace(schedules=self))

    def stored(self) -> list[StoredSchedule]:
        return []

    def last_successes(self, names: list[str]) -> dict[str, float | None]:
        return dict.fromkeys(names)


class Keeping:
    """Schedules that are kept, of a clock that stands where a test has put it."""

    def __init__(self, directory: Path, file: File, *names: str) -> None:
        place = directory / "bgjobd.toml"
        lines = [f"{name} = {{ {EACH_SECOND} }}\n" for name in names]
        place.write_text("[approved]\n'a.Job' = {}\n[schedules]\n" + "".join(lines))
        config = loading.load(place, {}, is_root=False)
        self.file, self.now = file, 1.5
        self.said: list[str] = []
        self.turns = 0
        catalogue = CurrentCatalogue(lambda: config, self.say)
        catalogue.take(catalogue_of(config, "run"))
        self.schedules = Schedules(
            AroundSchedules(
                config=lambda: config,
                current_catalogue=catalogue,
                read=file.read,
                record=file.record,
                peers=Peers(lambda: config, file.read, lambda: self.now),
                counters=Counters(),
                now=lambda: self.now,
                say=self.say,
            )
        )

    def say(self, _: EntryType, message: str) -> None:
        self.said.append(message)

    async def until(self, is_so: Callable[[], object]) -> None:
        """Others have their turn until it is so."""
        async with asyncio.timeout(20):
            for _ in iter(lambda: bool(is_so()), True):
                self.turns += 1
                await asyncio.sleep(0)

    def dealt_with(self) -> list[list[str]]:
        return [[one.name for one in item.schedules] for item in self.file.items]


def kept_while(keeping: Callable[[], Keeping], work: Callable[[Keeping], Awaitable[None]]) -> Keeping:
    async def keep() -> Keeping:
        one = keeping()
        task = asyncio.create_task(one.schedules.keep())
        try:
            await work(one)
            assert not task.done(), "nobody looks any more"
        finally:
            task.cancel()
            one.schedules.close()
        return one

    return asyncio.run(keep())


def refusing(name: str) -> Callable[[OccurrencesDue], Any]:
    def answer(item: OccurrencesDue) -> Any:
        return [
            Dealt(one.cursor, refusal=OverflowError("too large"))
            if one.name == name
            else Dealt(one.due.until)
            for one in item.schedules
        ]

    return answer


def test_a_schedule_that_cannot_be_dealt_with_is_said_once_and_tried_again_later(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        schedules = keeping.schedules
        await keeping.until(lambda: schedules.refused("x"))
        for _ in range(3):  # once for each occurrence of y, and x in the second of its second try
            keeping.now += looks.AGAIN_AFTER / 2
            schedules.wake()
            await keeping.until(lambda: schedules.kept["y"].cursor > keeping.now - 1)

    keeping = kept_while(lambda: Keeping(tmp_path, File(refusing("x"), None, refusing("x")), "x", "y"), work)
    assert keeping.dealt_with() == [["x", "y"], ["y"], ["y", "x"], ["y"]]
    assert [line for line in keeping.said if "could not be dealt with" in line] == [
        "schedule x: what is due could not be dealt with, that is tried again every 10 s: OverflowError: too large"
    ]


READ_ERROR = "schedules are not dealt with: OperationalError: disk I/O error"


def test_a_read_that_fails_once_is_said_and_told_until_there_was_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "AGAIN_AFTER", 0.01)
    file = File()
    file.reads = [OperationalError("disk I/O error")] * 2
    told: list[str | None] = []

    async def work(keeping: Keeping) -> None:
        schedules = keeping.schedules
        await keeping.until(lambda: schedules.trouble)
        told.append(schedules.trouble)
        await keeping.until(lambda: keeping.file.items)
        await keeping.until(lambda: schedules.trouble is None)

    keeping = kept_while(lambda: Keeping(tmp_path, file, "x"), work)
    assert keeping.said == [
        f"{READ_ERROR}; that is tried again every 0.01 s",
        "schedules are dealt with again",
    ]
    assert (told, keeping.schedules.trouble) == ([READ_ERROR], None)


def unavailable(_: OccurrencesDue) -> Any:
    raise StorageUnavailableError(reason="disk full", may_be_stored=False)


def test_what_the_database_does_not_take_is_tried_again_with_the_next_commit(tmp_path: Path) -> None:
    async def work(keeping: Keeping) -> None:
        await keeping.until(lambda: keeping.schedules._is_owed)
        assert keeping.schedules.trouble is None
        keeping.schedules.on_commit()
        await keeping.until(lambda: keeping.schedules.kept["x"].cursor == 1)
        await keeping.until(lambda: not keeping.schedules._is_owed)

    keeping = kept_while(lambda: Keeping(tmp_path, File(unavailable), "x"), work)
    assert (keeping.dealt_with(), keeping.said) == ([["x"], ["x"]], [])


def test_what_cannot_be_told_of_one_schedule_keeps_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def due(occurrences: Any, known: Any, *given: Any) -> Any:
        if known == {0.5}:
            raise ValueError("year 10000 is out of range")
        return real(occurrences, known, *given)

    real = due_schedules.due
    monkeypatch.setattr(due_schedules, "due", due)

    async def work(keeping: Keeping) -> None:
        schedules = keeping.schedules
        await keeping.until(lambda: keeping.file.items)
        schedules.kept["x"].known = frozenset({0.5})
        keeping.now += 1
        schedules.wake()
        await keeping.until(lambda: schedules.kept["y"].cursor == 2)
        assert schedules.refused("x") == "ValueError: year 10000 is out of range"
        assert schedules.refused("y") is None

    keeping = kept_while(lambda: Keeping(tmp_path, File(), "x", "y"), work)
    assert keeping.dealt_with() == [["x", "y"], ["y"]]


def test_nobody_waits_for_what_takes_long_to_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due_schedules, "_WHILE", 0.0)
    day = due_schedules._LONG_AGO

    async def work(keeping: Keeping) -> None:
        schedules = keeping.schedules
        await keeping.until(lambda: len(keeping.file.items) == 3)
        schedules.kept["z"].move(day)
        keeping.now = day + 1.5

        def answer(item: OccurrencesDue) -> Any:
            keeping.now += 1  # x and z are due again
            return [Dealt(one.due.until) for one in item.schedules]

        keeping.file.answers = [None, answer]
        schedules.wake()
        await keeping.until(lambda: len(keeping.file.items) >= 8)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), "x", "y", "z"), work)
    assert keeping.dealt_with() == [["x"], ["y"], ["z"], ["z"], ["x"], ["x"], ["z"], ["y"]]


def test_of_what_is_due_at_once_a_transaction_has_a_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_schedules, "_TOGETHER", 2)

    async def work(keeping: Keeping) -> None:
        await keeping.until(lambda: len(keeping.file.items) == 3)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), *"abcde"), work)
    assert keeping.dealt_with() == [["a", "b"], ["c", "d"], ["e"]]


def test_whether_who_has_put_schedules_may_submit_is_asked_once_a_transaction(tmp_path: Path) -> None:
    asked: list[int] = []

    async def work(keeping: Keeping) -> None:
        schedules = keeping.schedules
        schedules.why_no_submit = asked.append
        await keeping.until(lambda: keeping.file.items)
        for name, uid in {"x": 7, "y": 7, "z": 8}.items():
            schedules.kept[name].uid = uid
        for _ in range(2):
            keeping.now += 1
            schedules.wake()
            await keeping.until(lambda: schedules.kept["z"].cursor > keeping.now - 1)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), "x", "y", "z"), work)
    assert keeping.dealt_with() == [["x", "y", "z"]] * 3
    assert asked == [7, 8] * 2


def test_what_is_due_longest_comes_first_and_others_have_a_turn_where_all_is_due_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due_schedules, "_WHILE", 0.0)
    monkeypatch.setattr(pacing, "_AT_ONCE", 0.0)
    had_a_turn: list[int] = []

    async def work(keeping: Keeping) -> None:
        def answer(item: OccurrencesDue) -> Any:
            keeping.now += 1  # as long as it takes
            return [Dealt(one.due.until) for one in item.schedules]

        file = keeping.file
        file.answers = [answer] * 9
        await keeping.until(lambda: file.items)
        assert keeping.schedules.looking.locked()
        async with keeping.schedules.looking:
            had_a_turn.append(len(file.items))
        await keeping.until(lambda: not file.answers)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), "x", "y", "z"), work)
    assert keeping.dealt_with()[:9] == [["x"], ["y"], ["z"]] * 3
    assert had_a_turn == [1]


def test_a_clock_that_is_set_back_ends_the_look_at_what_was_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[float] = []
    real = due_schedules.due

    async def work(keeping: Keeping) -> None:
        def due(*given: Any) -> Any:
            looked_at.append(keeping.now)
            keeping.now = 0.5 if len(looked_at) == 1 else keeping.now
            return real(*given)

        monkeypatch.setattr(due_schedules, "due", due)
        await keeping.until(lambda: looked_at)
        await keeping.until(lambda: not keeping.schedules.looking.locked())
        keeping.now = 1.6
        keeping.schedules.wake()
        await keeping.until(lambda: keeping.file.items)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), "x", "y"), work)
    assert (looked_at, keeping.dealt_with()) == ([1.5, 1.6, 1.6], [["x", "y"]])


def test_others_have_their_turns_while_many_schedules_are_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pacing, "_AT_ONCE", 0.0)
    names = [f"x{number}" for number in range(50)]

    async def work(keeping: Keeping) -> None:
        await keeping.until(lambda: keeping.schedules._taken_up)

    keeping = kept_while(lambda: Keeping(tmp_path, File(), *names), work)
    assert keeping.turns > 3 * len(names)
