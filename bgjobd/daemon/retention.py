"""Deletes what `[retention]` gives no more time, in small portions that let work pass; when, and in which order.

What may be deleted is the ledger's rule; here are the one timer, the pace, and the files that go with the rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from bgjob.errors import RequestError
from bgjob.words import EntryType, Status
from bgjobd.config import sections
from bgjobd.core.fingerprint import KEPT_FOR
from bgjobd.store.committed import Deleted, Trimmed, TrimmedErrors
from bgjobd.store.items.alerts import AlertTrimming
from bgjobd.store.items.daemons import TimeLeapt
from bgjobd.store.items.item import Item
from bgjobd.store.items.retention import (
    Deletion,
    ErrorTrimming,
    GroupTrimming,
    HostTrimming,
    KeyTrimming,
    OccurrenceTrimming,
    RateTrimming,
    RetentionDone,
    RetentionTaken,
    Trimming,
    UsageTrimming,
)
from bgjobd.store.reader import Reader
from bgjobd.store.retention import FIRST, Place
from bgjobd.supervisor.outputs import Outputs

AT_ONCE: Final = 200
"""Of how many jobs one question is asked."""

LEAP: Final = 86_400.0
"""Seconds by which time may leap ahead without a doubt about the clock."""

_DOUBT: Final = 3600.0
"""Seconds for which nothing is deleted after such a leap: time to set the clock right."""

_FIRST_LOOK: Final = 60.0
_LEAST_PAUSE: Final = 300.0
_LONGEST_PAUSE: Final = 86_400.0

_TIDY_AGAIN: Final = 3600.0
"""Seconds until files are looked at again whose jobs another host may have deleted."""

_REST: Final = 4
"""How many times as long as a portion took its pause is: so few of those that submit meet one."""

_DAY: Final = 86_400.0

P = TypeVar("P")


class _TrimmedRows(Protocol[P]):
    """How many rows are gone, and the place to go on behind; None where there is nothing more."""

    rows: int
    next: P | None


def ages(kept: sections.Retention) -> dict[Status, float]:
    """For how many seconds jobs are kept that ended so; those that are kept for ever are not named."""
    by_status = {Status.COMPLETED: kept.completed, Status.FAILED: kept.failed, Status.CANCELLED: kept.failed}
    return {status: age for status, age in by_status.items() if age is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundRetention:
    """What it needs of the daemon.

    `kept` tells `[retention]`, `in_use` the jobs that something is still owed, `classes` those that may run, None as
    long as nobody knows. `now` counts seconds since the epoch, `say` writes a line about the daemon itself.
    `is_shared`: other hosts delete from the same database; the files of a job are those of the hosts that ran it.
    """

    kept: Callable[[], sections.Retention]
    outputs: Outputs
    in_use: Callable[[], Collection[int]]
    classes: Callable[[], Collection[str] | None]
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]
    in_background: Callable[[Coroutine[Any, Any, None]], None]
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]
    is_shared: bool


class Retention:
    """Looks when something comes of age, and deletes it."""

    def __init__(self, around: AroundRetention) -> None:
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()
        self._is_at_work = False
        self._is_closed = False
        self._tidied_at: float | None = None
        self._doubts_until = 0.0
        self._leap: float | None = None

    def start(self, newest_entry: float | None, leapt_at: float | None) -> None:
        """Look in a while; `newest_entry` is until when, at least, an earlier daemon ran.

        `leapt_at` is when one last saw time leap: what it doubted is not certain because of a restart.
        """
        now = self._around.now()
        if leapt_at is not None and 0.0 <= now - leapt_at < _DOUBT:
            self._doubts_until = self._loop.time() + _DOUBT - (now - leapt_at)
        if newest_entry is not None:
            self.on_leap(now - newest_entry)
        self._look_in(_FIRST_LOOK)

    def look_now(self) -> None:
        """The configuration may have changed."""
        self._look_in(0.0)

    def on_leap(self, seconds: float) -> None:
        """Time has passed that nobody saw pass, or the clock was set."""
        if seconds > LEAP:
            self._leap = seconds
            self._doubts_until = self._loop.time() + _DOUBT
            self._around.in_background(self._remember_leap())

    async def _remember_leap(self) -> None:
        with suppress(RequestError):  # the file cannot be written, nor is anything deleted then
            await self._around.record(TimeLeapt())

    def close(self) -> None:
        """Look no more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    # Deleting

    async def delete(self, job_ids: Sequence[int], last_entry: int) -> Deleted:
        """Delete those of these jobs that have ended and have no newer log entry, and their files; what is gone then.

        A caller who leaves does not end it between the two. Raises StorageUnavailableError, ShuttingDownError.
        """
        return await asyncio.shield(self._loop.create_task(self._delete(job_ids, last_entry)))

    async def _delete(self, job_ids: Sequence[int], last_entry: int) -> Deleted:
        in_use = set(self._around.in_use())
        left = tuple([job_id for job_id in job_ids if job_id not in in_use])
        jobs: tuple[int, ...] = ()
        entries = 0
        while left:
            async with self._a_portion():
                deleted: Deleted = await self._around.record(Deletion(left, last_entry))
                await self._around.outputs.remove(deleted.attempts)
            jobs, entries, left = jobs + deleted.jobs, entries + deleted.entries, deleted.left
        return Deleted(jobs, entries=entries)

    async def trim(self, before: float, after: int = 0) -> Trimmed:
        """Delete some of the log entries from before that time. Raises StorageUnavailableError, ShuttingDownError."""
        async with self._a_portion():
            trimmed: Trimmed = await self._around.record(Trimming(before, after))
        return trimmed

    async def remove_unknown_outputs(self) -> None:
        """Remove the files of attempts that the database does not know, before another attempt gets their names."""
        async for keys in self._around.outputs.all_keys():
            known = await self._around.read(partial(_known_attempts, {job_id for job_id, _ in keys}))
            await self._around.outputs.remove([key for key in keys if key not in known])

    @asynccontextmanager
    async def _a_portion(self) -> AsyncIterator[None]:
        """One at a time, whoever wants it, and a pause after it."""
        async with self._turn:
            began_at = self._loop.time()
            yield
            await asyncio.sleep((self._loop.time() - began_at) * _REST)

    # Looking

    def _look_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._is_closed:
            self._timer = self._loop.call_later(seconds, self._look)

    def _look(self) -> None:
        if not self._is_at_work:
            self._is_at_work = True
            self._around.in_background(self._work())

    async def _work(self) -> None:
        """Delete what is due, and look again when more is; after trouble in a while."""
        pause = _LEAST_PAUSE
        try:
            if self._is_untidy():
                await self._tidy()
            pause = await self._due_in()
            if pause <= 0 and self._is_in_doubt():
                pause = self._doubts_until - self._loop.time()
            elif pause <= 0 and await self._around.record(RetentionTaken()):
                has_deleted = await self._delete_in_turn()
                pause = await self._due_in()
                if pause <= 0 and not has_deleted:
                    pause = _LONGEST_PAUSE  # what is due has to stay for now
        except RequestError:
            pass  # the daemon ends, or the file cannot be written, which the log tells
        finally:
            self._is_at_work = False
            self._look_in(min(max(pause, _LEAST_PAUSE), _LONGEST_PAUSE))

    def _is_in_doubt(self) -> bool:
        """Whether it is a clock that was set that made things old; the log says so once."""
        if self._loop.time() >= self._doubts_until:
            return False
        if self._leap is not None:
            message = f"time has leapt ahead by {self._leap / _DAY:.1f} days, as the clock tells it"
            self._around.say(
                EntryType.INFO,
                f"{message}: nothing is deleted for an hour; if that is wrong, set the clock right",
            )
            self._leap = None
        return True

    async def _due_in(self) -> float:
        """Seconds until something is old; none before that."""
        kept = self._around.kept()
        due = await self._around.read(partial(_first_due, kept, self._around.classes(), self._around.now()))
        return float("inf") if due is None else due - self._around.now()

    async def _delete_in_turn(self) -> bool:
        """Whether anything was old that could go; from then on another host may look."""
        try:
            return await self._delete_old()
        finally:
            with suppress(RequestError):  # this daemon ends, by which its turn does
                await self._around.record(RetentionDone())

    async def _delete_old(self) -> bool:
        """Whether anything was old that could go."""
        kept, now = self._around.kept(), self._around.now()
        jobs = entries = occurrences = groups = keys = 0
        try:
            for status, age in ages(kept).items():
                place: Place | None = FIRST
                while place is not None:
                    last_entry, places = await self._around.read(partial(old, status, now - age, place))
                    deleted = await self.delete([job_id for _, job_id in places], last_entry)
                    jobs, entries = jobs + len(deleted.jobs), entries + deleted.entries
                    place = places[-1] if places else None
            after = None if kept.logs is None else 0
            while after is not None and kept.logs is not None:
                trimmed = await self.trim(now - kept.logs, after)
                entries, after = entries + trimmed.entries, trimmed.next
            if kept.completed is not None:
                before = now - kept.completed
                groups = await self._trim_rows(0, partial(GroupTrimming, before))
                occurrences = await self._trim_rows("", partial(OccurrenceTrimming, before))
            keys = await self._trim_rows(KeyTrimming().after, KeyTrimming)
            keys += await self._trim_rows(RateTrimming().after, RateTrimming)
            keys += await self._trim_errors(now - KEPT_FOR)
            keys += await self._trim_usage(kept, now)
            if kept.failed is not None:
                keys += await self._trim_alerts(now - kept.failed)
                keys += await self._trim_hosts(now - kept.failed)
        finally:
            if jobs or entries or occurrences or groups:
                told = amount(jobs, entries, occurrences)
                self._around.say(EntryType.INFO, f"deleted after their time: {told}")
        return bool(jobs or entries or occurrences or groups or keys)

    async def _trim_rows(self, after: P, item: Callable[[P], Item]) -> int:
        """Have it carried out from this place on, until there is none to go on from; how many rows that deletes."""
        rows = 0
        while True:
            async with self._a_portion():
                trimmed: _TrimmedRows[P] = await self._around.record(item(after))
            rows += trimmed.rows
            if trimmed.next is None:
                return rows
            after = trimmed.next

    async def _trim_errors(self, before: float) -> int:
        """Forget the errors that nobody has met since; how many."""
        rows = 0
        while True:
            async with self._a_portion():
                trimmed: TrimmedErrors = await self._around.record(ErrorTrimming(before))
            rows += trimmed.rows
            if not trimmed.has_more:
                return rows

    async def _trim_usage(self, kept: sections.Retention, now: float) -> int:
        """Forget what classes took that are gone for as long as failed jobs are kept; of how many methods."""
        known = self._around.classes()
        if kept.failed is None or known is None:
            return 0
        async with self._a_portion():
            forgotten: int = await self._around.record(UsageTrimming(now - kept.failed, frozenset(known)))
        return forgotten

    async def _trim_alerts(self, before: float) -> int:
        """Forget the alerts that were over before that time; how many."""
        rows, has_more = 0, True
        while has_more:
            async with self._a_portion():
                forgotten, has_more = await self._around.record(AlertTrimming(before))
            rows += forgotten
        return rows

    async def _trim_hosts(self, before: float) -> int:
        """Forget the hosts that are gone since before that time; how many."""
        async with self._a_portion():
            names: tuple[str, ...] = await self._around.record(HostTrimming(before))
        for name in names:
            self._around.say(
                EntryType.INFO,
                f"host {name} is forgotten: it is gone for longer than jobs that failed are kept",
            )
        return len(names)

    def _is_untidy(self) -> bool:
        """Whether there may be files of jobs that are gone."""
        if self._tidied_at is None:
            return True
        return self._around.is_shared and self._loop.time() - self._tidied_at >= _TIDY_AGAIN

    async def _tidy(self) -> None:
        """Remove the files of jobs that are gone: whoever deleted them was killed before it came to the files, or was
        another host.
        """
        async for keys in self._around.outputs.all_keys():
            async with self._a_portion():
                known = await self._around.read(partial(_known, {job_id for job_id, _ in keys}))
                await self._around.outputs.remove([key for key in keys if key[0] not in known])
        self._tidied_at = self._loop.time()


def old(status: Status, before: float, after: Place, reader: Reader) -> tuple[int, Sequence[Place]]:
    """Jobs that ended so before that time, behind a place; before them the newest log entry that was there then."""
    last_entry = reader.last_log_id()
    return last_entry, reader.old.ended_before(status, before, after, AT_ONCE)


def _known(job_ids: Collection[int], reader: Reader) -> set[int]:
    return reader.old.known(job_ids)


def _known_attempts(job_ids: Collection[int], reader: Reader) -> set[tuple[int, int]]:
    return reader.old.known_attempts(job_ids)


def _first_due(
    kept: sections.Retention, classes: Collection[str] | None, now: float, reader: Reader
) -> float | None:
    """When the first job, log entry, group without members, occurrence, passed unique key, full bucket, error, class or
    host that is gone, or alert that is over, is old.
    """
    due = [
        at + age for status, age in ages(kept).items() if (at := reader.old.oldest_end(status)) is not None
    ]
    if kept.logs is not None and (oldest := reader.old.oldest_entry(now)) is not None:
        due.append(oldest + kept.logs)
    if kept.completed is not None:
        oldests = (reader.old.oldest_group(), reader.old.oldest_occurrence())
        due += [oldest + kept.completed for oldest in oldests if oldest is not None]
    if (until := reader.old.oldest_key()) is not None:
        due.append(until)
    if (full_at := reader.old.first_full_bucket()) is not None:
        due.append(full_at)
    if (met_at := reader.old.oldest_error()) is not None:
        due.append(met_at + KEPT_FOR)
    if kept.failed is not None and classes is not None:
        completed_at = reader.old.oldest_usage(classes)
        due += [] if completed_at is None else [completed_at + kept.failed]
    if kept.failed is not None and (over_at := reader.old.oldest_alert()) is not None:
        due.append(over_at + kept.failed)
    if kept.failed is not None and (gone_at := reader.old.oldest_gone()) is not None:
        due.append(gone_at + kept.failed)
    return min(due, default=None)


def amount(jobs: int, entries: int, occurrences: int = 0) -> str:
    """So many of each, in words; of occurrences nothing where there are none."""
    told = (
        f"{jobs:,} {'job' if jobs == 1 else 'jobs'}, {entries:,} log {'entry' if entries == 1 else 'entries'}"
    )
    if occurrences:
        told += f", {occurrences:,} {'row' if occurrences == 1 else 'rows'} of schedules' occurrences"
    return told
