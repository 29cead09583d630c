"""Has what is due of the schedules dealt with: gathers it for transactions, as time allows, and follows the answers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from bgjobd.core.schedules import Skipped, due, surplus_of
from bgjobd.daemon.kept_schedules import KeptSchedule, ScheduleNews
from bgjobd.host.pacing import Pace, last_of
from bgjobd.store.committed import Dealt
from bgjobd.store.items.item import Item
from bgjobd.store.items.schedules import OccurrencesDue, ScheduleDue
from bgjobd.store.items.submitter import Submitter

_LONG_AGO: Final = 86_400.0
"""Seconds since when so much may be due that it is counted by the day before it is looked at one by one."""

_WHILE: Final = 0.25
"""Seconds of a look, about, at most: then whoever asks for other schedules has a turn before the next one."""

_TOGETHER: Final = 100
"""About how many jobs one transaction may be about: who submits meanwhile waits for it, and for another one."""

WhyNot = Callable[[int], str | None]
"""Tells why a user may not submit, None where that one may."""


class DueSchedules:
    """Has what is due dealt with; `own_definition` tells this host's by its name, where others may have another."""

    def __init__(
        self,
        record: Callable[[Item], Awaitable[Any]],
        news: ScheduleNews,
        now: Callable[[], float],
        own_definition: Callable[[str], str | None],
        why_no_submit: WhyNot,
    ) -> None:
        self._record = record
        self._news = news
        self._now = now
        self._own_definition = own_definition
        self._why_no_submit = why_no_submit
        self._loop = asyncio.get_running_loop()

    async def deal(self, kept: Mapping[str, KeptSchedule], are_current: Callable[[], bool]) -> None:
        """With as many as there is time for, a few a transaction; the others are due still at the next look."""
        waiting, end = iter(self._due(kept)), self._loop.time() + _WHILE
        while are_current() and (gathered := await self._gathered(waiting, end)):
            answers: tuple[Dealt, ...] = await self._record(OccurrencesDue(tuple(gathered), _own()))
            pace = Pace()
            for one, dealt in zip(gathered, answers, strict=True):
                if pace.is_over:
                    await pace.rest()
                self._on_dealt(kept[one.name], dealt)
            if self._loop.time() >= end:
                return

    def _due(self, kept: Mapping[str, KeptSchedule]) -> list[KeptSchedule]:
        """Those of which something is due, longest first; none waits for what takes long to count."""
        now = self._now()
        found = [(one.next, one) for one in kept.values() if one.next is not None and one.next <= now]
        found.sort(key=lambda due: (now - due[1].cursor > _LONG_AGO, due[0]))
        return [one for _, one in found]

    async def _gathered(self, waiting: Iterator[KeptSchedule], end: float) -> list[ScheduleDue]:
        """What the next transaction is about; nothing, where the clock was set back meanwhile: it is yet to come."""
        gathered: list[ScheduleDue] = []
        jobs, now, pace = 0, self._now(), Pace()
        why_no_submit = cache(self._why_no_submit)  # another machine may have to tell a user's groups
        for kept in waiting:
            if pace.is_over:
                await pace.rest()
            try:
                one = await self._gather(kept, now, why_no_submit)
            except Exception as error:  # it costs itself alone
                self._put_off(kept, error)
                continue
            if self._now() < now:
                return []
            if one is not None:
                gathered.append(one)
                jobs += max(1, len(one.due.instants))
            if jobs >= _TOGETHER or self._loop.time() >= end:
                break
        return gathered

    async def _gather(self, kept: KeptSchedule, now: float, why_no_submit: WhyNot) -> ScheduleDue | None:
        """What is due of one; None where nothing is."""
        rules, jitter = kept.definition.rules, kept.definition.jitter or 0.0
        is_long_ago = now - kept.cursor > _LONG_AGO
        surplus = surplus_of(kept.calendar, kept.cursor, kept.known, rules, now) if is_long_ago else None
        begin = kept.cursor if surplus is None else surplus.until
        found = await last_of(due(kept.calendar.after(begin), kept.known, rules, now, surplus))
        if found is None:
            return None
        job = kept.job if self._may_be_submitted(kept, why_no_submit) else None
        own = self._own_definition(kept.name)
        return ScheduleDue(kept.name, kept.cursor, found, rules, job, jitter, now, kept.uid, own)

    def _may_be_submitted(self, kept: KeptSchedule, why_no_submit: WhyNot) -> bool:
        """Whether who has put the schedule may submit by now; say where that has changed."""
        if kept.uid is None or kept.job is None:
            return True
        before, kept.refused = kept.refused, why_no_submit(kept.uid)
        if kept.refused is not None and kept.refused != before:
            self._news.refused(kept)
        return kept.refused is None

    def _on_dealt(self, kept: KeptSchedule, dealt: Dealt) -> None:
        if dealt.refusal is not None:
            self._put_off(kept, dealt.refusal)
            return
        if dealt.set_by is not None:
            if kept.leave_to(dealt.set_by, self._now()):
                self._news.defined_elsewhere(kept)
            return
        kept.move(dealt.cursor)
        for place, verdict in enumerate(dealt.verdicts):
            if isinstance(verdict, Skipped):
                self._news.skipped(kept.name, verdict, is_known=dealt.is_more and place == 0)

    def _put_off(self, kept: KeptSchedule, error: Exception) -> None:
        if kept.put_off(error, self._now()):
            self._news.stuck(kept)


def _own() -> Submitter:
    return Submitter(os.geteuid(), os.getegid(), os.getpid())
