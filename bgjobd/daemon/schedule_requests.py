"""What is asked of a schedule: a job now, a pause, jobs of what it had none for; and schedules that are made so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from bgjob.errors import ScheduleNotFoundError
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.daemon.backfills import Backfills
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.kept_schedules import kept_of
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedule_definitions import Before, defined_as, job_of
from bgjobd.daemon.schedules import Schedules
from bgjobd.store.committed import StoredSchedule
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import (
    OccurrenceAsked,
    ScheduleDeleted,
    SchedulePaused,
    SchedulePut,
    ScheduleResumed,
)
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader

MOST_PUT: Final = 10_000
"""Schedules that are put while the daemon runs."""


class ScheduleRequests:
    """Carries out what callers ask of the schedules that are kept. The arguments are those of Schedules."""

    def __init__(
        self,
        schedules: Schedules,
        *,
        config: Callable[[], Config],
        current_catalogue: CurrentCatalogue,
        peers: Peers,
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        record: Callable[[Item], Awaitable[Any]],
        now: Callable[[], float],
    ) -> None:
        self._schedules = schedules
        self._config = config
        self._current_catalogue = current_catalogue
        self._peers = peers
        self._read = read
        self._record = record
        self._now = now

    async def run(self, name: str, submitter: Submitter) -> int:
        """Submit a job of the schedule now; its id. Raises ScheduleNotFoundError, and the refusals of a submit."""
        definition = await self._in_file(name)
        own = self._schedules.own_definition(name)
        catalogue = await self._current_catalogue.catalogue()
        job = job_of(self._config(), catalogue, definition, await self._peers.others())
        item = OccurrenceAsked(name, job, submitter, own)
        job_id: int = await self._record(item)
        return job_id

    async def pause(self, name: str, who: str) -> None:
        """Have its occurrences become no jobs. Raises ScheduleNotFoundError."""
        await self._in_file(name)
        await self._record(SchedulePaused(name, who))

    async def resume(self, name: str, who: str) -> None:
        """Have them become jobs again. Raises ScheduleNotFoundError."""
        await self._in_file(name)
        await self._record(ScheduleResumed(name, who))

    async def backfill(
        self,
        name: str,
        first: float,
        last: float,
        spread: float,
        submitter: Submitter,
        made: list[int] | None,
    ) -> int:
        """Make a job of each occurrence of a span that has none, and is not to come: how many there are.

        They start spread over so many seconds. `made` takes their ids, as they are made; where it is None, none is.
        Raises ScheduleNotFoundError, InvalidParametersError for too many, and the refusals of a submit.
        """
        definition = await self._in_file(name)
        own, kept = self._schedules.own_definition(name), self._schedules.kept[name]
        catalogue = await self._current_catalogue.catalogue()
        work = Backfills(
            name=name,
            calendar=kept.calendar,
            since=kept.since,
            job=job_of(self._config(), catalogue, definition, await self._peers.others()),
            submitter=submitter,
            definition=own,
            read=self._read,
            record=self._record,
        )
        wanted = await work.wanted(first, min(last, kept.cursor))
        if made is not None:
            begin, step = self._now(), spread / max(1, len(wanted))
            await work.make(
                wanted, [begin + step * place if spread else None for place in range(len(wanted))], made
            )
        return len(wanted)

    async def put(self, name: str, definition: Schedule, uid: int, made_by: str, who: str) -> bool:
        """Make a schedule, or change one that was put; whether it is new. Raises the refusals of a submit of its job,
        and PermissionDeniedError where there are too many.
        """
        await self._current_catalogue.catalogue()
        await self._schedules.have_taken_up()
        # What another catalogue, or configuration, makes of it is asked by the next look.
        async with self._schedules.looking:
            others, catalogue = await self._peers.others(), await self._current_catalogue.catalogue()
            job = job_of(self._config(), catalogue, definition, others)
            before = self._schedules.kept.get(name)
            if before is not None and before.cursor > self._now():
                await self._schedules.set_back({name: before.calendar})
            was = None if before is None else Before(before.definition, before.cursor, before.known)
            defined = defined_as(name, definition, was, self._now())
            answer: StoredSchedule = await self._record(SchedulePut(defined, uid, made_by, MOST_PUT, who))
            self._schedules.news.changed(defined)
            self._schedules.kept[name] = kept_of(answer, definition, None)
            self._schedules.kept[name].job = job
        self._schedules.wake()
        return before is None

    async def delete(self, name: str, who: str) -> None:
        """End a schedule that was put; its jobs go on. Raises ScheduleNotFoundError."""
        await self._schedules.have_taken_up()
        async with self._schedules.looking:
            if not await self._record(ScheduleDeleted(name, who)):
                raise ScheduleNotFoundError(name=name)
            self._schedules.kept.pop(name, None)  # one whose definition means nothing any more is not there
        self._schedules.wake()

    @property
    def many(self) -> int:
        """How many there are."""
        return len(self._schedules.kept)

    def refused(self, most: int) -> dict[str, str]:
        """The first of those whose occurrences become no jobs as things are, by name, each with why."""
        found = [
            (name, why)
            for name, one in self._schedules.kept.items()
            if (why := one.refused or one.stuck) is not None
        ]
        return dict(sorted(found)[:most])

    async def _in_file(self, name: str) -> Schedule:
        """The schedule as it is configured; the file has it by then."""
        await self._schedules.have_taken_up()
        if name not in self._schedules.kept:
            raise ScheduleNotFoundError(name=name)
        return self._schedules.kept[name].definition
