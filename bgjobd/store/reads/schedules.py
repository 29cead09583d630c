"""Reads of schedules: those that are configured, how they stand, what became of their occurrences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bgjobd.store import backfills, occurrences, schedules
from bgjobd.store.committed import StoredSchedule
from bgjobd.store.engines import Database
from bgjobd.store.items.schedules import SkippedRow
from bgjobd.store.occurrences import OccurrencePage, ScheduleStanding
from bgjobd.store.pages.page import PAGE


class ScheduleReads:
    """What is asked of schedules; of one reader, for which it runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def stored(self) -> tuple[StoredSchedule, ...]:
        """The schedules that are configured."""
        return schedules.stored(self._database.connection().execute)

    def standings(self, name: str | None = None) -> Mapping[str, ScheduleStanding]:
        """How each schedule that is configured stands, or the one of this name, by name."""
        return occurrences.standings(self._database.connection(), name)

    def occurrences(self, name: str, before: str | None = None, limit: int = PAGE) -> OccurrencePage | None:
        """What became of a schedule's occurrences, newest first, from behind the stored instant `before`.

        None where there never was such a schedule.
        """
        return occurrences.page(self._database.connection(), name, before, limit)

    def last_successes(self, names: Sequence[str]) -> Mapping[str, float | None]:
        """When the newest job of each of these schedules that completed did; None where none has."""
        return occurrences.last_successes(self._database.connection(), names)

    def skipped(self, name: str, first: float, last: float) -> tuple[set[float], list[SkippedRow]]:
        """Which occurrences of a schedule in a span have become jobs, and the rows of those that have not."""
        return backfills.read(self._database.connection().execute, name, first, last)

    def end_of_older(self, name: str, since: float) -> float | None:
        """Up to when rows tell of other times that a schedule had before `since`; None where there are no such."""
        return backfills.end_of_older(self._database.connection().execute, name, since)
