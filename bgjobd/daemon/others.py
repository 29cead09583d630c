"""What other daemons that share the database commit, and what this one does about it: the database is all that is
between them, and a notice says where in it to look.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bgjob.errors import RequestError
from bgjob.words import EntryType
from bgjobd.core.job import AttemptKey
from bgjobd.core.planner import Lanes
from bgjobd.core.verdict import StopReason
from bgjobd.daemon.followers import Followers
from bgjobd.daemon.in_order import InOrder
from bgjobd.daemon.schedules import Schedules
from bgjobd.daemon.waiters import Waiters
from bgjobd.store.committed import Committed
from bgjobd.store.engines import Engine, Listening, Looked
from bgjobd.store.items.daemons import Look
from bgjobd.store.items.item import Item
from bgjobd.store.news import Missed, News
from bgjobd.store.notices import APPLICATIONS, Notice, notice_from, text_of
from bgjobd.store.reader import Reader
from bgjobd.store.recent import RecentJobs
from bgjobd.supervisor.attempts import Attempts

T = TypeVar("T")

_NAME_BYTES: Final = 8

Stop = tuple[AttemptKey, StopReason]
"""An attempt that is to end, and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundOthers:
    """What they need of the daemon.

    `lanes` are those that are open, `on_sent` hears that an application has sent something, `call_others` gets this
    daemon's name while others listen, else None. `say` writes a line about the daemon itself.
    """

    attempts: Attempts
    followers: Followers
    waiters: Waiters
    group_waiters: Waiters
    recent: RecentJobs
    schedules: Schedules
    lanes: Callable[[], Lanes]
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]
    call_others: Callable[[str | None], None]
    in_background: Callable[[Coroutine[Any, Any, None]], None]
    on_sent: Callable[[], None]
    say: Callable[[EntryType, str], None]


class Others:
    """Hears of the others' commits, and has who waits or follows here hear of them; on the loop only."""

    def __init__(self, around: AroundOthers) -> None:
        self._around = around
        self._in_order = InOrder(around.followers, self._news, around.in_background)
        self._loop = asyncio.get_running_loop()
        self._listening: Listening | None = None
        self._name = secrets.token_hex(_NAME_BYTES)
        self._trouble: str | None = None
        self._beat = 0.0
        self._newest = 0
        self._is_wanted = False
        self._is_looking = False
        self._to_confirm: set[AttemptKey] = set()

    def start(self, engine: Engine, beat: float, last_entry: int) -> None:
        """Listen, where there may be others; from behind this log entry on."""
        self._beat = beat
        self._newest = self._in_order.last = last_entry
        self._listening = engine.listen(
            self._on_loop(self._on_text),
            self._on_loop(self._on_look),
            text_of(Notice(self._name, look=True)),
            beat,
        )
        if self._listening is not None:
            self._around.call_others(self._name)
            self._listening.start()

    def close(self) -> None:
        if self._listening is not None:
            self._listening.close()

    def publish(self, committed: Committed) -> None:
        """Tell those who follow of a commit of this daemon's."""
        if self._listening is None:
            self._around.followers.publish(committed)
            return
        self._newest = max([self._newest, *(line.id for line in committed.lines[-1:])])
        self._in_order.publish(committed)

    # What is heard

    def _on_loop(self, call: Callable[[T], None]) -> Callable[[T], None]:
        """For the thread that listens."""

        def later(heard: T) -> None:
            self._loop.call_soon_threadsafe(call, heard)

        return later

    def _on_text(self, text: str) -> None:
        notice = notice_from(text)
        if notice.by == self._name:
            return
        if notice.by == APPLICATIONS:
            self._around.on_sent()
            return
        self._around.call_others(self._name)
        self._newest = max(self._newest, notice.log)
        self._announce(notice.ended, notice.groups)
        self._confirm(frozenset([key for key, _ in notice.stops]))
        if notice.look:
            self._look_at_all(notice.log)
        else:
            self._on_notice(notice)

    def _on_notice(self, notice: Notice) -> None:
        changed = notice.jobs | notice.ended
        self._around.recent.forget(changed)
        if notice.any_queue or notice.queues & self._around.lanes().queues.keys():
            self._look_for_jobs()
        if notice.schedules:
            self._around.schedules.on_others()
        self._in_order.note_others(notice.log, changed | notice.valued)

    def _on_look(self, looked: Looked) -> None:
        """What comes by no notice, or has got lost, is found so."""
        self._note_trouble(looked.trouble)
        self._around.call_others(self._name if looked.has_others else None)
        if looked.has_sent or looked.trouble is not None:
            self._around.on_sent()
        self._confirm(frozenset())
        is_new = looked.has_others and looked.last_entry > self._newest
        self._newest = max(self._newest, looked.last_entry)
        if looked.may_have_missed or is_new:
            self._look_at_all(looked.last_entry if looked.trouble is None else None)

    def _note_trouble(self, trouble: str | None) -> None:
        """Say once that nothing is heard, and that it is again."""
        before, self._trouble = self._trouble, trouble
        if trouble is not None and before is None:
            what = f"what other daemons commit is not heard of, but looked for every {self._beat:g} s"
            self._around.say(EntryType.FAILURE, f"{what}: {trouble}")
        elif trouble is None and before is not None:
            self._around.say(EntryType.INFO, "what other daemons commit is heard of again")

    # What is done

    def _look_at_all(self, last_entry: int | None) -> None:
        """Everything may have changed; None: also which the newest entry is."""
        self._around.recent.take(None)
        self._look_for_jobs()
        self._around.schedules.on_others()
        self._around.in_background(self._look_for_ends())
        self._in_order.note_others(last_entry, ())

    def _announce(self, jobs: Iterable[int], groups: Iterable[int]) -> None:
        for job_id in jobs:
            self._around.waiters.announce(job_id)
        for group_id in groups:
            self._around.group_waiters.announce(group_id)

    def _stop(self, stops: Collection[Stop]) -> None:
        for key, reason in stops:
            self._around.attempts.stop(key, reason)

    def _confirm(self, attempts: frozenset[AttemptKey]) -> None:
        """End those of them that the database has as to be ended, and not for being told to: whoever may connect to it
        can send a notice. What could not be asked is asked at the next look.
        """
        self._to_confirm |= attempts
        if self._to_confirm:
            self._around.in_background(self._stop_confirmed())

    async def _stop_confirmed(self) -> None:
        """Only who holds an attempt knows it; that it was claimed here may be on its way from the writer yet."""
        asked = frozenset(self._to_confirm)
        with suppress(RequestError):
            if not asked <= self._around.attempts.keys():
                await self._around.record(Look())
            held = asked & self._around.attempts.keys()
            found: Missed = await self._around.read(lambda reader: reader.missed((), (), held))
            self._to_confirm -= asked
            self._stop(found.stops)

    def _look_for_jobs(self) -> None:
        """See what may start, and when the next job is due; not where no slot is free, for an end looks as well."""
        if len(self._around.attempts) >= self._around.lanes().slots:
            return
        self._is_wanted = True
        if not self._is_looking:
            self._is_looking = True
            self._around.in_background(self._claim())

    async def _claim(self) -> None:
        try:
            while self._is_wanted:
                self._is_wanted = False
                with suppress(RequestError):
                    await self._around.record(Look())
        finally:
            self._is_looking = False

    async def _look_for_ends(self) -> None:
        """Of what is waited for, and of attempts: who is to hear of it that it has ended, or is to."""
        around = self._around
        jobs, groups = around.waiters.awaited, around.group_waiters.awaited
        attempts = around.attempts.keys()
        with suppress(RequestError):
            found: Missed = await around.read(lambda reader: reader.missed(jobs, groups, attempts))
            self._announce(found.ended, found.groups)
            self._stop(found.stops)

    async def _news(self, after: int, job_ids: Collection[int], valued: dict[int, int]) -> News:
        news: News = await self._around.read(lambda reader: reader.news(after, job_ids, valued))
        return news
