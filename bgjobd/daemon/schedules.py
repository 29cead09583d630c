"""The schedules as they are dealt with: looks when the next occurrence is, and hands what is due to the ledger.

What becomes of it is a rule of the core, and decided where it is stored. An occurrence waits for the catalogue, and for
a file that can be written; then it is late, and the rules say what that means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bgjob.errors import (
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
)
from bgjob.words import EntryType
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.core.schedules import Calendar
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.due_schedules import DueSchedules, WhyNot
from bgjobd.daemon.kept_schedules import AGAIN_AFTER, KeptSchedule, ScheduleNews, kept_of
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedule_definitions import (
    all_defined,
    definition_of,
    job_of,
    meaning_of,
    try_schedule,
)
from bgjobd.daemon.terms import NOBODY
from bgjobd.host.pacing import Pace
from bgjobd.store.committed import SetBack, StoredSchedule
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import (
    SchedulesDefined,
    SchedulesSetBack,
)
from bgjobd.store.reader import Reader
from bgjobd.store.schedules import SOMEBODY


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundSchedules:
    """What they need of the daemon: `record` hands an item to the writer, `now` counts seconds since the epoch, `say`
    writes a line about the daemon.
    """

    config: Callable[[], Config]
    current_catalogue: CurrentCatalogue
    peers: Peers
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]
    counters: Counters
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]


class Schedules:
    """Has each occurrence dealt with at its time, and what a start finds due as soon as it may be.

    `why_no_submit` tells why a user may not submit, None where that one may. `trouble` is why they are not dealt with,
    unless the database cannot be written; None where they are.
    """

    def __init__(self, around: AroundSchedules) -> None:
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._taken_up: Config | None = None
        self.looking = asyncio.Lock()
        self._of_catalogue: Catalogue | None = None
        self._of_missing: dict[str, str] = {}
        self._of_others = NOBODY
        self._is_owed = False
        self._is_elsewhere = False
        self.trouble: str | None = None
        self.kept: dict[str, KeptSchedule] = {}
        self.why_no_submit: WhyNot = lambda uid: None
        self.news = ScheduleNews(around.say, around.counters)
        own, may = self.own_definition, lambda uid: self.why_no_submit(uid)
        self._due = DueSchedules(around.record, self.news, around.now, own, may)

    async def keep(self) -> None:
        """Look whenever something is due or has changed, for as long as the daemon takes anything."""
        while True:
            self._is_owed, error = False, await self._try_look()
            if isinstance(error, ShuttingDownError):
                return
            if isinstance(error, StorageUnavailableError):  # which is told; `on_commit` tells of its end
                self._is_owed = True
            else:
                self._note_trouble(error)
            self._arm()
            await self._woken.wait()
            self._woken.clear()

    async def _try_look(self) -> Exception | None:
        """What that met, if anything: whatever it is, there is another look."""
        try:
            async with self.looking:
                await self._look()
        except Exception as error:
            return error
        return None

    def _note_trouble(self, error: Exception | None) -> None:
        """Say once that schedules cannot be dealt with, by the fault of what is read of the file, or by a bug."""
        before = self.trouble
        if error is not None:
            self.trouble = f"schedules are not dealt with: {type(error).__name__}: {error}"
            if self.trouble != before:
                self._around.say(
                    EntryType.FAILURE, f"{self.trouble}; that is tried again every {AGAIN_AFTER:g} s"
                )
        elif before is not None:
            self.trouble = None
            self._around.say(EntryType.INFO, "schedules are dealt with again")

    def wake(self) -> None:
        """Something has changed: configuration, catalogue or clock."""
        self._woken.set()

    def on_commit(self) -> None:
        """The file can be written."""
        if self._is_owed:
            self._woken.set()

    def on_others(self) -> None:
        """Another daemon may have put some, deleted them, or dealt with what is due."""
        self._is_elsewhere = True
        self._woken.set()

    def refused(self, name: str) -> str | None:
        """Why the schedule's occurrences become no jobs as things are; None where they do, or that is not known yet."""
        kept = self.kept.get(name)
        return None if kept is None else kept.refused or kept.stuck

    async def have_taken_up(self) -> None:
        """What is configured, and new, is else looked at in a moment."""
        if self._taken_up is not self._around.config():
            async with self.looking:
                if self._taken_up is not self._around.config():
                    await self._take_up(self._around.config())
                    self.wake()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._is_owed or self.trouble is not None:
            self._timer = self._loop.call_later(AGAIN_AFTER, self.wake)
            return
        following = [kept.next for kept in self.kept.values() if kept.next is not None]
        if following and self._of_catalogue is not None:
            self._timer = self._loop.call_later(max(0.0, min(following) - self._around.now()), self.wake)

    async def _look(self) -> None:
        config = self._around.config()
        if self._taken_up is not config:
            await self._take_up(config)
        elif self._is_elsewhere:
            self._is_elsewhere = False
            try:
                await self._take_over(config)
            except BaseException:
                self._is_elsewhere = True  # of which nobody tells again
                raise
        ahead = {kept.name: kept.calendar for kept in self.kept.values() if kept.cursor > self._around.now()}
        if ahead:
            await self.set_back(ahead)
        catalogue = self._around.current_catalogue.try_catalogue()
        if catalogue is None or self._around.config() is not config:
            return  # a reload was faster, and has woken this: its code says nothing of what was configured before
        await self._ask_for_jobs(config, catalogue)
        await self._due.deal(self.kept, lambda: self._taken_up is self._around.config())

    # What is configured

    async def _take_up(self, config: Config) -> None:
        stored = await self._stored_until_now()
        defined, meaningless = await all_defined(config.schedules, stored, self._around.now)
        if defined or stored:
            stored = await self._around.record(SchedulesDefined(tuple(defined)))
        for one in defined:
            self.news.changed(one)
        for name, meant in meaningless.items():
            what = f"what it was before means nothing any more, and it begins anew: {meant.why}"
            self.news.tell(EntryType.FAILURE, name, what)
        self.kept = await self._kept_of(config, stored)
        # the configured ones first
        names = sorted(self.kept, key=lambda name: self.kept[name].uid is not None)
        self._around.counters.expect_schedules(
            await self._around.read(lambda reader: reader.schedules.last_successes(names))
        )
        self._taken_up, self._of_catalogue = config, None

    async def _take_over(self, config: Config) -> None:
        """What is put elsewhere is kept here, too; what is configured here goes on from where others have come to."""
        stored = {one.name: one for one in await self._around.read(lambda reader: reader.schedules.stored())}
        own = {name: kept for name, kept in self.kept.items() if kept.uid is None}
        for name, kept in own.items():
            if name not in stored:
                continue
            if stored[name].cursor != kept.cursor:
                kept.known = stored[name].known
                kept.move(stored[name].cursor)
            is_elsewhere = self.own_definition(name) not in (None, stored[name].definition)
            if is_elsewhere and kept.leave_to(stored[name].set_by or SOMEBODY, self._around.now()):
                self.news.defined_elsewhere(kept)
        put = await self._kept_of(config, [one for one in stored.values() if one.uid is not None])
        for name, kept in put.items():
            before = self.kept.get(name)
            kept.job = before.job if before is not None and before.definition == kept.definition else None
        self.kept = {**own, **put}
        self._of_catalogue = None

    async def _kept_of(self, config: Config, stored: Iterable[StoredSchedule]) -> dict[str, KeptSchedule]:
        """Those that mean something; say which do not."""
        pace, found = Pace(), {}
        for one in stored:
            meant = config.schedules.get(one.name) if one.uid is None else meaning_of(one.definition)
            if meant is None:
                continue  # another host's configuration has it
            if isinstance(meant, Schedule):
                told = self.kept.get(one.name)
                found[one.name] = kept_of(one, meant, None if told is None else told.refused)
            else:
                what = f"means nothing any more, put it anew: {meant.why}"
                self._around.say(EntryType.FAILURE, f"schedule {one.name} {what}")
            if pace.is_over:
                await pace.rest()
        return found

    async def _stored_until_now(self) -> tuple[StoredSchedule, ...]:
        """As they are stored; what is ahead of the clock is forgotten, by the times that it was counted by."""
        stored: tuple[StoredSchedule, ...] = await self._around.read(lambda reader: reader.schedules.stored())
        now = self._around.now()
        definitions = {one.name: try_schedule(one.definition) for one in stored if one.cursor > now}
        ahead = {name: known.calendar for name, known in definitions.items() if known is not None}
        if ahead:
            await self.set_back(ahead)
            stored = await self._around.read(lambda reader: reader.schedules.stored())
        return stored

    async def _ask_for_jobs(self, config: Config, catalogue: Catalogue) -> None:
        """What the occurrences ask for, by this catalogue; say where that is refused, and was not, or otherwise."""
        others = await self._around.peers.others()
        is_known = catalogue is self._of_catalogue and catalogue.missing == self._of_missing
        if is_known and others == self._of_others:
            return
        pace, missing = Pace(), dict(catalogue.missing)
        for kept in list(self.kept.values()):
            if pace.is_over:
                await pace.rest()
            before = kept.refused
            try:
                kept.job, kept.refused = job_of(config, catalogue, kept.definition, others), None
            except RequestError as refusal:
                kept.job, kept.refused = None, str(refusal)
                if kept.refused != before:
                    self.news.refused(kept)
        self._of_catalogue, self._of_missing, self._of_others = catalogue, missing, others

    # What is due

    def own_definition(self, name: str) -> str | None:
        """As this host has it, None where no other may have another one."""
        kept = self.kept.get(name)
        if kept is None or kept.uid is not None or self._around.peers.own is None:
            return None
        return definition_of(kept.definition)

    async def set_back(self, ahead: Mapping[str, Calendar]) -> None:
        """The clock is behind what these were dealt with: have what is yet to come be so again."""
        answers: tuple[SetBack, ...] = await self._around.record(SchedulesSetBack(tuple(ahead.items())))
        for name, answer in zip(ahead, answers, strict=True):
            kept = self.kept.get(name)
            if kept is not None:
                kept.known, kept.since = answer.known, min(kept.since, answer.cursor)
                kept.move(answer.cursor)
            self.news.set_back(name, answer)
