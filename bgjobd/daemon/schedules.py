"""The schedules as they are dealt with: looks when the next occurrence is, and hands what is due to the ledger.

What becomes of it is a rule of the core, and decided where it is stored. An occurrence waits for the catalogue, and for
a file that can be written; then it is late, and the rules say what that means.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from bgjob.errors import (
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
)
from bgjob.words import EntryType
from bgjobd.config.schedules import Schedule
from bgjobd.config.sections import Config
from bgjobd.core.facts import Submitted
from bgjobd.core.log_entries import skip_entry
from bgjobd.core.schedules import Calendar, Reason, Skipped, due, surplus_of
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.peers import Peers
from bgjobd.daemon.schedule_definitions import (
    all_defined,
    definition_of,
    job_of,
    meaning_of,
    try_schedule,
)
from bgjobd.daemon.terms import NOBODY
from bgjobd.host.pacing import Pace, last_of
from bgjobd.store.committed import Dealt, SetBack, StoredSchedule
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import (
    OccurrencesDue,
    ScheduleDefined,
    ScheduleDue,
    SchedulesDefined,
    SchedulesSetBack,
)
from bgjobd.store.items.submitter import Submitter
from bgjobd.store.reader import Reader
from bgjobd.store.schedules import SOMEBODY

_LONG_AGO: Final = 86_400.0
"""Seconds since when so much may be due that it is counted by the day before it is looked at one by one."""

_PAUSE: Final = 10.0
"""Seconds until something is tried again that has failed by no fault of the database's."""

_WHILE: Final = 0.25
"""Seconds of a look, about, at most: then whoever asks for other schedules has a turn before the next one."""

_TOGETHER: Final = 100
"""About how many jobs one transaction may be about: who submits meanwhile waits for it, and for another one."""


_WhyNot = Callable[[int], str | None]
"""Tells why a user may not submit, None where that one may."""


@dataclass(slots=True)
class KeptSchedule:
    """A schedule and how far it was dealt with; `next` is its next occurrence, None where there is none.

    `job` is what each occurrence asks for, None where it is `refused`, or not yet known. What is due of one that is
    `stuck`, for this reason, cannot be dealt with, and `next` is when that is tried again. `uid` and `made_by` are of
    who has put it, None where the configuration has it.
    """

    name: str
    definition: Schedule
    calendar: Calendar = field(init=False)
    since: float
    cursor: float
    known: frozenset[float]
    job: Submitted | None = None
    refused: str | None = None
    stuck: str | None = None
    uid: int | None = None
    made_by: str | None = None
    next: float | None = field(init=False)

    def __post_init__(self) -> None:
        self.calendar = self.definition.calendar
        self.move(self.cursor)

    def move(self, cursor: float) -> None:
        """It was dealt with up to here."""
        self.cursor, self.stuck = cursor, None
        self.next = next(self.calendar.after(cursor), None)


class Schedules:
    """Has each occurrence dealt with at its time, and what a start finds due as soon as it may be.

    `record` hands an item to the writer, `now` counts seconds since the epoch, `say` writes a line about the daemon.
    `why_no_submit` tells why a user may not submit, None where that one may. `trouble` is why they are not dealt with,
    unless the database cannot be written; None where they are.
    """

    def __init__(
        self,
        *,
        config: Callable[[], Config],
        current_catalogue: CurrentCatalogue,
        peers: Peers,
        read: Callable[[Callable[[Reader], Any]], Awaitable[Any]],
        record: Callable[[Item], Awaitable[Any]],
        counters: Counters,
        now: Callable[[], float],
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._config = config
        self._current_catalogue = current_catalogue
        self._peers = peers
        self._read = read
        self._record = record
        self._counters = counters
        self._now = now
        self._say = say
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
        self.why_no_submit: _WhyNot = lambda uid: None

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
                self._say(EntryType.FAILURE, f"{self.trouble}; that is tried again every {_PAUSE:g} s")
        elif before is not None:
            self.trouble = None
            self._say(EntryType.INFO, "schedules are dealt with again")

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
        if self._taken_up is not self._config():
            async with self.looking:
                if self._taken_up is not self._config():
                    await self._take_up(self._config())
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
            self._timer = self._loop.call_later(_PAUSE, self.wake)
            return
        following = [kept.next for kept in self.kept.values() if kept.next is not None]
        if following and self._of_catalogue is not None:
            self._timer = self._loop.call_later(max(0.0, min(following) - self._now()), self.wake)

    async def _look(self) -> None:
        config = self._config()
        if self._taken_up is not config:
            await self._take_up(config)
        elif self._is_elsewhere:
            self._is_elsewhere = False
            try:
                await self._take_over(config)
            except BaseException:
                self._is_elsewhere = True  # of which nobody tells again
                raise
        ahead = {kept.name: kept.calendar for kept in self.kept.values() if kept.cursor > self._now()}
        if ahead:
            await self.set_back(ahead)
        catalogue = self._current_catalogue.try_catalogue()
        if catalogue is None or self._config() is not config:
            return  # a reload was faster, and has woken this: its code says nothing of what was configured before
        await self._ask_for_jobs(config, catalogue)
        await self._deal(self._due())

    # What is configured

    async def _take_up(self, config: Config) -> None:
        stored = await self._stored_until_now()
        defined, meaningless = await all_defined(config.schedules, stored, self._now)
        if defined or stored:
            stored = await self._record(SchedulesDefined(tuple(defined)))
        for one in defined:
            self.tell_changed(one)
        for name, meant in meaningless.items():
            what = f"what it was before means nothing any more, and it begins anew: {meant.why}"
            self._say(EntryType.FAILURE, f"schedule {name}: {what}")
        self.kept = await self._kept_of(config, stored)
        # the configured ones first
        names = sorted(self.kept, key=lambda name: self.kept[name].uid is not None)
        self._counters.expect_schedules(
            await self._read(lambda reader: reader.schedules.last_successes(names))
        )
        self._taken_up, self._of_catalogue = config, None

    async def _take_over(self, config: Config) -> None:
        """What is put elsewhere is kept here, too; what is configured here goes on from where others have come to."""
        stored = {one.name: one for one in await self._read(lambda reader: reader.schedules.stored())}
        own = {name: kept for name, kept in self.kept.items() if kept.uid is None}
        for name, kept in own.items():
            if name not in stored:
                continue
            if stored[name].cursor != kept.cursor:
                kept.known = stored[name].known
                kept.move(stored[name].cursor)
            if self.own_definition(name) not in (None, stored[name].definition):
                self._on_other_definition(kept, stored[name].set_by or SOMEBODY)
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
                self._say(EntryType.FAILURE, f"schedule {one.name} {what}")
            if pace.is_over:
                await pace.rest()
        return found

    async def _stored_until_now(self) -> tuple[StoredSchedule, ...]:
        """As they are stored; what is ahead of the clock is forgotten, by the times that it was counted by."""
        stored: tuple[StoredSchedule, ...] = await self._read(lambda reader: reader.schedules.stored())
        now = self._now()
        definitions = {one.name: try_schedule(one.definition) for one in stored if one.cursor > now}
        ahead = {name: known.calendar for name, known in definitions.items() if known is not None}
        if ahead:
            await self.set_back(ahead)
            stored = await self._read(lambda reader: reader.schedules.stored())
        return stored

    def tell_changed(self, defined: ScheduleDefined) -> None:
        """Say and count what is due no more."""
        for span in defined.changed:
            skipped = Skipped(span, Reason.CHANGED)
            self._counters.note_skipped(defined.name, skipped)
            self._say_skipped(defined.name, skipped)

    async def _ask_for_jobs(self, config: Config, catalogue: Catalogue) -> None:
        """What the occurrences ask for, by this catalogue; say where that is refused, and was not, or otherwise."""
        others = await self._peers.others()
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
                    self._say_refused(kept)
        self._of_catalogue, self._of_missing, self._of_others = catalogue, missing, others

    def _say_refused(self, kept: KeptSchedule) -> None:
        why = f"its occurrences are skipped, for the job is refused: {kept.refused}"
        self._say(EntryType.FAILURE, f"schedule {kept.name}: {why}")

    # What is due

    def _due(self) -> list[KeptSchedule]:
        """Those of which something is due, longest first; none waits for what takes long to count."""
        now = self._now()
        found = [(one.next, one) for one in self.kept.values() if one.next is not None and one.next <= now]
        found.sort(key=lambda due: (now - due[1].cursor > _LONG_AGO, due[0]))
        return [one for _, one in found]

    async def _deal(self, found: Iterable[KeptSchedule]) -> None:
        """With as many as there is time for, a few a transaction; the others are due still at the next look."""
        waiting, end = iter(found), self._loop.time() + _WHILE
        while self._taken_up is self._config() and (gathered := await self._gathered(waiting, end)):
            answers: tuple[Dealt, ...] = await self._record(OccurrencesDue(tuple(gathered), _own()))
            pace = Pace()
            for one, dealt in zip(gathered, answers, strict=True):
                if pace.is_over:
                    await pace.rest()
                self._on_dealt(self.kept[one.name], dealt)
            if self._loop.time() >= end:
                return

    async def _gathered(self, waiting: Iterator[KeptSchedule], end: float) -> list[ScheduleDue]:
        """What the next transaction is about; nothing, where the clock was set back meanwhile: it is yet to come."""
        gathered: list[ScheduleDue] = []
        jobs, now, pace = 0, self._now(), Pace()
        why_no_submit = cache(self.why_no_submit)  # another machine may have to tell a user's groups
        for kept in waiting:
            if pace.is_over:
                await pace.rest()
            try:
                one = await self._gather(kept, now, why_no_submit)
            except Exception as error:  # it costs itself alone
                self._on_stuck(kept, error)
                continue
            if self._now() < now:
                return []
            if one is not None:
                gathered.append(one)
                jobs += max(1, len(one.due.instants))
            if jobs >= _TOGETHER or self._loop.time() >= end:
                break
        return gathered

    async def _gather(self, kept: KeptSchedule, now: float, why_no_submit: _WhyNot) -> ScheduleDue | None:
        """What is due of one; None where nothing is."""
        rules, jitter = kept.definition.rules, kept.definition.jitter or 0.0
        is_long_ago = now - kept.cursor > _LONG_AGO
        surplus = surplus_of(kept.calendar, kept.cursor, kept.known, rules, now) if is_long_ago else None
        begin = kept.cursor if surplus is None else surplus.until
        found = await last_of(due(kept.calendar.after(begin), kept.known, rules, now, surplus))
        if found is None:
            return None
        job = kept.job if self._may_be_submitted(kept, why_no_submit) else None
        own = self.own_definition(kept.name)
        return ScheduleDue(kept.name, kept.cursor, found, rules, job, jitter, now, kept.uid, own)

    def own_definition(self, name: str) -> str | None:
        """As this host has it, None where no other may have another one."""
        kept = self.kept.get(name)
        if kept is None or kept.uid is not None or self._peers.own is None:
            return None
        return definition_of(kept.definition)

    def _may_be_submitted(self, kept: KeptSchedule, why_no_submit: _WhyNot) -> bool:
        """Whether who has put the schedule may submit by now; say where that has changed."""
        if kept.uid is None or kept.job is None:
            return True
        before, kept.refused = kept.refused, why_no_submit(kept.uid)
        if kept.refused is not None and kept.refused != before:
            self._say_refused(kept)
        return kept.refused is None

    def _on_dealt(self, kept: KeptSchedule, dealt: Dealt) -> None:
        if dealt.refusal is not None:
            self._on_stuck(kept, dealt.refusal)
            return
        if dealt.set_by is not None:
            self._on_other_definition(kept, dealt.set_by)
            return
        kept.move(dealt.cursor)
        for place, verdict in enumerate(dealt.verdicts):
            if isinstance(verdict, Skipped):
                self._counters.note_skipped(kept.name, verdict)
            if isinstance(verdict, Skipped) and not (dealt.is_more and place == 0):
                self._say_skipped(kept.name, verdict)

    def _on_other_definition(self, kept: KeptSchedule, host: str) -> None:
        """That one holds, and here nothing of it is dealt with, until a reload or an occurrence finds it the same."""
        before, kept.stuck = kept.stuck, f"host {host} has another definition of it, which holds"
        kept.next = next(kept.calendar.after(self._now()), None)
        if kept.stuck != before:
            why = f"{kept.stuck}; none of its occurrences is dealt with here"
            self._say(EntryType.FAILURE, f"schedule {kept.name}: {why}")

    def _say_skipped(self, name: str, skipped: Skipped) -> None:
        entry = skip_entry(name, skipped)
        self._say(entry.type, entry.message)

    def _on_stuck(self, kept: KeptSchedule, error: Exception) -> None:
        """That is a bug, or more than the file can hold; what is due of the others is dealt with all the same."""
        before, kept.stuck = kept.stuck, f"{type(error).__name__}: {error}"
        kept.next = self._now() + _PAUSE
        if kept.stuck != before:
            again = f"that is tried again every {_PAUSE:g} s"
            self._say(
                EntryType.FAILURE,
                f"schedule {kept.name}: what is due could not be dealt with, {again}: {kept.stuck}",
            )

    async def set_back(self, ahead: Mapping[str, Calendar]) -> None:
        """The clock is behind what these were dealt with: have what is yet to come be so again."""
        answers: tuple[SetBack, ...] = await self._record(SchedulesSetBack(tuple(ahead.items())))
        for name, answer in zip(ahead, answers, strict=True):
            kept = self.kept.get(name)
            if kept is not None:
                kept.known, kept.since = answer.known, min(kept.since, answer.cursor)
                kept.move(answer.cursor)
            if answer.taken_back:
                what = f"{answer.taken_back} skipped occurrences are yet to come, and forgotten"
                self._say(EntryType.INFO, f"schedule {name}: the clock was set back: {what}")


def kept_of(stored: StoredSchedule, definition: Schedule, refused: str | None) -> KeptSchedule:
    return KeptSchedule(
        stored.name,
        definition,
        stored.since,
        stored.cursor,
        stored.known,
        refused=refused,
        uid=stored.uid,
        made_by=stored.made_by,
    )


def _own() -> Submitter:
    return Submitter(os.geteuid(), os.getegid(), os.getpid())
