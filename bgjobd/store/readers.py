"""The threads that read the database: one for what is answered at once, and one for searches, which take long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from bgjobd.host import threads
from bgjobd.store.engines import Place
from bgjobd.store.filters import JobFilter, LogFilter
from bgjobd.store.pages.entries import ways_to_entries
from bgjobd.store.pages.job_sources import ways_to_jobs
from bgjobd.store.questions import Questions
from bgjobd.store.reader import Reader

T = TypeVar("T")


class Readers:
    """Two connections that only read, each with a thread of its own.

    `first` is for who starts the daemon: to be used before anybody asks.
    """

    def __init__(self, place: Place) -> None:
        self.first = Reader(place)
        self._reading = Questions(threads.one("reader"))
        self._searcher = Reader(place)
        self._searching = Questions(threads.one("searcher"))

    def read(self, question: Callable[[Reader], T]) -> Awaitable[T]:
        """Ask the file, off the loop."""
        return self._reading.ask(self.first.answer, question)

    def read_page(self, wanted: JobFilter | LogFilter, question: Callable[[Reader], T]) -> Awaitable[T]:
        """Ask the file for a page of what is wanted; behind a search, which takes long, nobody waits but searches."""
        return self.search(question) if is_search(wanted) else self.read(question)

    def search(self, question: Callable[[Reader], T]) -> Awaitable[T]:
        """Ask the file what takes long: only searches wait for it."""
        return self._searching.ask(self._searcher.answer, question)

    def ask(self, question: Callable[..., T], *given: Any) -> asyncio.Future[T]:
        """Ask something else that is read from a disk, in turn with what the file is asked."""
        return self._reading.ask(question, *given)

    def close(self) -> None:
        """Answer what was asked, but for searches that have not begun; nothing may be asked any more."""
        self._reading.close()
        self.first.close()
        self._searching.close(cancel=True)
        self._searcher.close()


def is_search(wanted: JobFilter | LogFilter) -> bool:
    """Whether it takes looking through rows that are not wanted, for no index has the others apart."""
    _, rest = ways_to_jobs(wanted) if isinstance(wanted, JobFilter) else ways_to_entries(wanted)
    return bool(rest)
