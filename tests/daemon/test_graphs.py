"""Graph: whose jobs are counted waits for searches, and that is only where there are more than are told."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bgjob.errors import JobNotFoundError
from bgjobd.api import groups, schemas
from bgjobd.api.peer import Caller
from bgjobd.store.graphs import Graph


class Readers:
    """Of a file that has a graph of these jobs, of which so many are told; they keep which of them were asked."""

    def __init__(self, *jobs: int, total: int) -> None:
        self._jobs = jobs
        self._total = total
        self.asked: list[str] = []

    async def read(self, question: Any) -> Any:
        self.asked.append("reader")
        return question(SimpleNamespace(groups=self))

    async def search(self, question: Any) -> Any:
        self.asked.append("searcher")
        return question(SimpleNamespace(groups=self))

    def graph(self, job_id: int, limit: int, count: int | None = None) -> Graph | None:
        if job_id not in self._jobs:
            return None
        is_whole, total = self._total == len(self._jobs), None if count is None else min(self._total, count)
        return Graph([{"id": id} for id in self._jobs], [], [], is_whole, total)


def told(readers: Readers, job_id: int, count: int | None) -> Any:
    asked = schemas.Graph(id=job_id, count=count)
    daemon, caller = cast(Any, SimpleNamespace(readers=readers)), Caller(pid=1, uid=0, gid=0)
    return json.loads(asyncio.run(groups.graph(daemon, asked, caller)).parameters)


def test_a_graph_that_is_told_whole_waits_for_no_search_and_is_counted_all_the_same() -> None:
    readers = Readers(1, 2, 3, total=3)
    assert [told(readers, 1, count)["total"] for count in (None, 100)] == [None, 3]
    assert readers.asked == ["reader", "reader"]


def test_of_a_larger_one_the_jobs_are_counted_by_a_search_and_only_where_somebody_asks_for_that() -> None:
    readers = Readers(1, 2, 3, total=5000)
    assert (told(readers, 1, None)["total"], readers.asked) == (None, ["reader"])
    assert (told(readers, 1, 100)["total"], readers.asked) == (100, ["reader", "reader", "searcher"])


def test_there_is_no_graph_of_a_job_that_there_is_not() -> None:
    for count in (None, 100):
        with pytest.raises(JobNotFoundError):
            told(Readers(1, total=2), 7, count)
