"""When what an attempt saves is handed to the writer; the file and the writer are values of the test's."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from bgjobd.forkserver.state_file import Saved
from bgjobd.store.entrusted import Entrusted, Outbox
from bgjobd.store.items.attempts import StateSaved
from bgjobd.supervisor.states import StateReader

KEY = (12, 1)
STARTED = {"state": True}


class Around:
    """A loop whose clock a test moves, its futures are of a `real` one; `found` is what the file has, an OSError where
    it cannot be read, `put` what was handed over.
    """

    real: asyncio.AbstractEventLoop

    def __init__(self) -> None:
        self.found: Saved | OSError | None = Saved()
        self.looks = 0
        self.put: list[Entrusted] = []
        self.outbox = Outbox(lambda *items: self.put.extend(items))
        self.spool = SimpleNamespace(try_read_state=self._read)
        self.loop = self
        self.now = 0.0
        self.timers: list[tuple[float, Any]] = []

    def _read(self, key: tuple[int, int]) -> Saved | None:
        self.looks += 1
        if isinstance(self.found, OSError):
            raise self.found
        return self.found

    def time(self) -> float:
        return self.now

    def create_future(self) -> asyncio.Future[Any]:
        return self.real.create_future()

    def call_at(self, at: float, call: Any) -> Any:
        self.timers.append((at, call))
        return SimpleNamespace(cancel=lambda: self.timers.remove((at, call)))

    def has(self, number: int, text: str = "{}", is_torn: bool = False, size: int | None = None) -> None:
        self.found = Saved(number, text, is_torn, len(text) if size is None else size)

    def wait(self) -> float:
        """Let the one timer come; when it was to."""
        ((at, call),) = self.timers
        self.timers.clear()
        self.now = max(self.now, at)
        call()
        return at

    def numbers(self) -> list[int]:
        items = [one.item for one in self.put]
        return [item.saved for item in items if isinstance(item, StateSaved)]

    def answer(self, error: Exception | None = None) -> None:
        ticket = self.put[-1].ticket
        ticket.set_exception(error) if error is not None else ticket.set_result(None)
        self.real.run_until_complete(asyncio.sleep(0))


def told(reader: StateReader, around: Around, number: int) -> None:
    """It has saved for the `number`-th time."""
    around.has(number)
    reader.look_soon()


@pytest.fixture(scope="module", autouse=True)
def real_loop() -> Iterator[None]:
    Around.real = asyncio.new_event_loop()
    yield
    Around.real.close()


def reading() -> tuple[Around, StateReader]:
    around = Around()
    return around, StateReader(around, KEY)  # type: ignore[arg-type]  # what it needs of it


@pytest.mark.parametrize(("size", "pause"), [(2, 1.0), (8 * 1024, 1.0), (64 * 1024, 8.0)])
def test_amid_changes_it_is_stored_as_often_as_its_size_allows_and_else_nobody_looks(
    size: int, pause: float
) -> None:
    around, reader = reading()
    assert around.timers == []
    around.has(1, size=size)
    for _ in range(3):
        reader.look_soon()
    assert (around.wait(), around.numbers()) == (1.0, [1])
    around.now = 1.25
    around.answer()
    around.has(7, size=size)
    assert (around.wait(), around.numbers()) == (1.25 + pause, [1, 7])
    around.answer()
    around.wait()
    assert (around.timers, around.numbers()) == ([], [1, 7])
    around.now = 3600.0
    told(reader, around, 8)
    assert (around.wait(), around.numbers()) == (3600.0, [1, 7, 8])


def test_as_long_as_the_database_takes_none_there_is_no_second() -> None:
    around, reader = reading()
    told(reader, around, 1)
    around.wait()
    for number in range(2, 10):
        told(reader, around, number)
    assert (around.timers, around.numbers()) == ([], [1])
    around.answer()
    around.wait()
    assert around.numbers() == [1, 9]


def test_at_the_end_the_last_is_handed_over_once_and_no_more_is_looked_at() -> None:
    around, reader = reading()
    told(reader, around, 1)
    around.has(2)
    reader.read_last(STARTED)
    reader.read_last(STARTED)
    reader.look_soon()
    around.outbox.send()
    assert (around.timers, around.numbers(), around.looks, reader.is_read) == ([], [2], 1, True)
    assert around.put[0].ticket is None


def test_what_is_stored_at_the_end_is_not_handed_over_again_unless_it_was_refused() -> None:
    for error, numbers in ((None, [1]), (ValueError("a bug"), [1, 1])):
        around, reader = reading()
        told(reader, around, 1)
        around.wait()
        around.answer(error)
        reader.read_last(STARTED)
        around.outbox.send()
        assert around.numbers() == numbers


def test_what_cannot_be_read_now_is_read_later() -> None:
    around, reader = reading()
    reader.look_soon()
    around.found = OSError("no descriptors")
    assert around.wait() == 1.0
    with pytest.raises(OSError, match="no descriptors"):
        reader.read_last(STARTED)
    assert not reader.is_read
    around.has(1)
    reader.read_last(STARTED)
    around.outbox.send()
    assert (reader.is_read, around.numbers()) == (True, [1])


def test_a_place_that_is_just_being_written_is_looked_at_once_more() -> None:
    around, reader = reading()
    around.has(0, "", is_torn=True)
    reader.look_soon()
    assert around.wait() == 1.0
    assert around.wait() == 2.0
    assert around.timers == []


def test_no_file_is_looked_for_where_the_start_says_that_there_is_none() -> None:
    around, reader = reading()
    reader.read_last({"state": False})
    assert (around.looks, reader.is_read) == (0, True)
    for started in (None, STARTED):
        around, reader = reading()
        around.found = None
        reader.read_last(started)
        assert (around.looks, reader.is_read) == (1, True)
