"""Reads of what ended in spans of time, of how queues stood, and of what attempts used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bgjob.codec import JsonObject
from bgjobd.store import trends, usage
from bgjobd.store.engines import Database
from bgjobd.store.span_counts import Counted
from bgjobd.store.trends import Asked


class TrendReads:
    """What is asked of spans of time; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_spans(self, counted: Callable[[], Counted], asked: Asked) -> Sequence[JsonObject]:
        """What ended, or how queues stood, by spans; `counted` tells what is in no row yet."""
        return trends.trend(self._database, counted, asked)

    def of_each(self, counted: Callable[[], Counted], now: float) -> Sequence[JsonObject]:
        """What ended of each class within 14 days, and each hour of the last 24."""
        return trends.of_each(self._database, counted, now)

    def of_one(self, counted: Callable[[], Counted], name: str, limit: int, now: float) -> JsonObject:
        """The same of one class, with its newest attempts."""
        return trends.of_one(self._database, counted, name, limit, now)

    def usage(self) -> dict[str, JsonObject]:
        """What the latest attempts of each class used, as usage.by_class() tells it."""
        return usage.of_latest(self._database.connection())
