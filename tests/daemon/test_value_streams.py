"""What of an attempt's values goes to the writer, and that who follows is told each of them once, without a daemon."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from bgjobd.api import schemas, values
from bgjobd.daemon.followers import Followers
from bgjobd.forkserver.journal_lines import MAX_NOTES, MAX_VALUED, MAX_VALUES
from bgjobd.store.committed import StoredValue
from bgjobd.store.items import ValueNote
from bgjobd.store.values import ValuesOfJob
from bgjobd.supervisor.notes import NotesReader
from bgjobd.supervisor.spool import News

LOG = {"type": "log", "at": 1.0, "level": "INFO", "message": "m"}


def value(text: str = "1") -> dict[str, Any]:
    return {"type": "value", "at": 1.0, "place": 1, "step": None, "value": text}


class Forged:
    """A spool that has these records of an attempt, again and again, 200 at a time."""

    def __init__(self, *records: dict[str, Any]) -> None:
        self._records = records * (200 // len(records))

    def read_news(self, key: object, offset: int, pid: int, kind: str) -> News:
        return News(self._records, offset + 1, has_more=True, is_waiting=False)


def read_all(*records: dict[str, Any]) -> tuple[int, int]:
    """How many values are read, and how many other notes; of an attempt that tells these without end."""
    reader = NotesReader(Forged(*records), (1, 1))  # type: ignore[arg-type]  # all that it needs of a spool
    found = [note for _ in range(200) for note in reader.read(1)]
    assert reader.count == len(found)
    told = sum(isinstance(note, ValueNote) for note in found)
    return told, len(found) - told


def test_an_attempt_is_read_until_it_tells_more_values_than_it_may_or_more_other_notes() -> None:
    assert read_all(value()) == (MAX_VALUES, 0)
    assert read_all(LOG) == (0, MAX_NOTES)
    assert read_all(value(), value(), value(), LOG) == (MAX_VALUES, MAX_VALUES // 3)
    assert read_all(value("x" * 10_000)) == (MAX_VALUED // 10_000, 0)
    assert read_all(value("x"), value("x" * 64 * 1024 + "x")) == (1, 0)


def test_reading_ends_where_an_attempt_has_told_all_that_it_may() -> None:
    reader = NotesReader(Forged(value(), LOG), (1, 1))  # type: ignore[arg-type]  # all that it needs of a spool
    while reader.read(1):
        pass
    assert not reader.has_more


# A stream


def stored(*numbers: int) -> list[StoredValue]:
    return [StoredValue(1, number, 1, None, "2026-11-28T14:35:00.000000Z", str(number)) for number in numbers]


def committed(*numbers: int, is_end: bool = False) -> Any:
    job = SimpleNamespace(id=1, status=SimpleNamespace(is_final=True))
    changed = [job] if is_end else []
    return SimpleNamespace(changed=changed, lines=(), bulks=(), written=(), values=stored(*numbers))


@pytest.fixture
def daemon(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose job has the values 1 and 2 in its file, and runs."""

    async def summary_of_stored(daemon: Any, job_id: int) -> dict[str, str]:
        return {"status": "running"}

    class Reader:
        def values(self, job_id: int, after: int, limit: int) -> ValuesOfJob:
            found = [one for one in stored(1, 2) if one.number > after]
            return ValuesOfJob(found, max(after, 2), 0, has_more=False, has_ended=False)

    async def read(function: Any) -> Any:
        return function(Reader())

    monkeypatch.setattr(values, "summary_of_stored", summary_of_stored)
    return SimpleNamespace(followers=Followers(), readers=SimpleNamespace(read=read))


async def next_of(stream: AsyncIterator[Any]) -> tuple[list[int], int, bool]:
    told = json.loads((await anext(stream)).parameters)
    return [one["number"] for one in told["values"]], told["next"], told["is_end"]


def test_what_is_committed_while_the_file_is_read_is_told_once(daemon: Any) -> None:
    async def play() -> None:
        stream = values.follow(daemon, schemas.Values(id=1), None)  # type: ignore[arg-type]  # nobody asks for him
        assert await next_of(stream) == ([1, 2], 2, False)
        daemon.followers.publish(committed(1, 2))
        daemon.followers.publish(committed(2, 3))
        assert await next_of(stream) == ([3], 3, False)
        daemon.followers.publish(committed(4, 5, is_end=True))
        assert await next_of(stream) == ([4, 5], 5, True)
        assert [one async for one in stream] == []

    asyncio.run(play())


def test_an_end_without_values_is_told(daemon: Any) -> None:
    async def play() -> None:
        given = schemas.Values(id=1, after=7)
        stream = values.follow(daemon, given, None)  # type: ignore[arg-type]  # nobody asks for him
        assert await next_of(stream) == ([], 7, False)
        daemon.followers.publish(committed(is_end=True))
        assert await next_of(stream) == ([], 7, True)

    asyncio.run(play())


def test_a_reply_has_no_more_than_was_asked_for(daemon: Any) -> None:
    async def play() -> None:
        given = schemas.Values(id=1, limit=2)
        stream = values.follow(daemon, given, None)  # type: ignore[arg-type]  # nobody asks for him
        await next_of(stream)
        daemon.followers.publish(committed(3, 4, 5, is_end=True))
        assert [await next_of(stream) for _ in range(2)] == [([3, 4], 4, False), ([5], 5, True)]

    asyncio.run(play())
