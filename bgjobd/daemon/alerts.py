"""Has what needs somebody told: looks when something has happened, or its time has come, and hands on what it finds.

What a look finds is what stands in the file: so a daemon that is killed between a failure and its look is followed by
one that finds the same. An idle daemon is not woken, but for what time alone changes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from bgjob.codec import JsonObject
from bgjob.errors import RequestError, ShuttingDownError
from bgjob.words import EntryType
from bgjobd.config.alerts import NOTICE
from bgjobd.config.sections import Config
from bgjobd.core import alerts
from bgjobd.core.alerts import DIRECT, HOUR, JOURNAL, Alert, Raised, Settings, Watch
from bgjobd.core.need_kinds import Seen
from bgjobd.core.planner import BESIDE
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.needs import Needs
from bgjobd.daemon.tellers import tellers
from bgjobd.host.clock import to_text
from bgjobd.store.committed import Committed
from bgjobd.store.items.alerts import AlertsLooked, AlertsTested, AlertsTold, Teller
from bgjobd.store.items.item import Item
from bgjobd.store.reader import Reader

_PAUSE: Final = 10.0
"""Seconds until the next look after one that has failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundAlerts:
    """What they need of the daemon.

    `record` hands an item to the writer, `run` a command a notice; `say` and `cry` write a line of the daemon's, the
    latter one that somebody is to be told of.
    """

    config: Callable[[], Config]
    needs: Needs
    current_catalogue: CurrentCatalogue
    read: Callable[[Callable[[Reader], Any]], Awaitable[Any]]
    record: Callable[[Item], Awaitable[Any]]
    run: Callable[[Sequence[str], JsonObject], None]
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]
    cry: Callable[[str], None]


class Alerts:
    """Looks while `keep` runs, and whenever it is woken."""

    def __init__(self, around: AroundAlerts) -> None:
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._looked_at = -HOUR
        self._is_awaited = self._was_on = False
        self._refused: dict[str, RequestError] = {}
        self._direct: dict[tuple[str, str], Alert] = {}
        self._mutes: Mapping[str, float] = {}
        self._trouble: str | None = None

    @property
    def is_on(self) -> bool:
        """Whether anybody is told anything."""
        return self._around.config().alerts.is_on

    async def keep(self) -> None:
        """Look for as long as the daemon takes anything."""
        while True:
            self._looked_at, self._is_awaited = self._loop.time(), False
            try:
                next_at = await self._look()
            except ShuttingDownError:
                return
            except Exception as error:  # whatever it meets: there is another look
                next_at = self._around.now() + _PAUSE
                self._note_trouble(error)
            self._arm(None if next_at is None else max(0.0, next_at - self._around.now()))
            await self._woken.wait()
            self._woken.clear()

    def close(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()

    def on_commit(self, committed: Committed | None) -> None:
        """Something was stored, or could not be."""
        if self.is_on:
            if committed is not None and committed.attempts:
                self._around.needs.attempts.note(committed.attempts, self._around.now())
            self.wake()

    def wake(self) -> None:
        """Something may need somebody: looked at now, or as soon as so much time has gone since the last look."""
        if not self._is_awaited and (self.is_on or self._was_on):
            self._is_awaited = True
            gather = self._around.config().alerts.gather
            self._arm(max(0.0, self._looked_at + gather - self._loop.time()))

    def _arm(self, delay: float | None) -> None:
        """Look in so many seconds at the latest."""
        if self._timer is not None and not self._is_awaited:
            self._timer.cancel()
            self._timer = None
        if delay is None:
            return
        if self._timer is not None and self._timer.when() <= self._loop.time() + delay:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        self._woken.set()

    # A look

    async def _look(self) -> float | None:
        """Store and tell what there is to; when to look again."""
        config = self._around.config()
        self._was_on = config.alerts.is_on
        if not self._was_on:
            await self._close_all(config)
            return None
        await self._tell_directly(config)
        all_seen = await self._around.needs.see()
        seen = _without_ours(all_seen)
        now, watches = self._around.now(), _telling(config)
        found = alerts.raised([one for one in watches if one.rule.kind not in DIRECT], seen, now)
        item = self._item(config, found, seen, alerts.partly_seen(all_seen, now), now)
        is_owed, next_at = await self._around.read(lambda reader: reader.needs.is_owed(item, now))
        if is_owed:
            told: AlertsTold = await self._around.record(item)
            self._on_told(told, item)
            next_at = told.next_at
        self._trouble = None
        times = [at for at in (next_at, alerts.next_change(watches, seen, now)) if at is not None]
        return min(times, default=None)

    async def _close_all(self, config: Config) -> None:
        """Where nobody is told any more nothing stays open, but what another host that lives looks after."""
        now = self._around.now()
        peers = await self._around.read(lambda reader: reader.hosts.peers())
        item = self._item(config, [], Seen(config.hosts.name, peers=peers), {}, now)
        is_owed, _ = await self._around.read(lambda reader: reader.needs.is_owed(item, now))
        if is_owed:
            await self._around.record(item)

    def _item(
        self, config: Config, found: Sequence[Raised], seen: Seen, partly: dict[str, float], now: float
    ) -> AlertsLooked:
        own = config.alerts
        living = {peer.name for peer in seen.peers if peer.lives(now)}
        return AlertsLooked(
            found=tuple(found),
            rules={watch.name: watch.tell for watch in _telling(config)},
            tellers=self._tellers(config) if own.is_on else {},
            settings=Settings(own.quiet, own.gather, own.most),
            host=config.hosts.name,
            uid=os.geteuid(),
            others=frozenset(living - {config.hosts.name}),
            awaiting=frozenset(watch.of_load for watch in own.awaiting),
            partly=partly,
        )

    def _tellers(self, config: Config) -> dict[str, Teller]:
        """Say where the job of one is refused, and was not."""
        found, refused = tellers(config, self._around.current_catalogue.try_catalogue())
        for name, why in refused.items():
            if str(self._refused.get(name)) != str(why):
                self._around.say(
                    EntryType.FAILURE, f"alerts cannot be told to {name}, for its job is refused: {why}"
                )
        self._refused = refused
        return found

    def _on_told(self, told: AlertsTold, item: AlertsLooked) -> None:
        for alert in told.told:
            if JOURNAL in item.rules[alert.rule]:
                self._around.cry(_line(alert))
        for name in told.untold:
            self._around.say(
                EntryType.FAILURE, f"alerts were not told to {name}: {self._refused.get(name, 'refused')}"
            )
        if told.is_full:
            self._around.say(
                EntryType.INFO,
                "as many notices were told as may be in an hour; `bgjob alerts` has the others",
            )

    def _note_trouble(self, error: Exception) -> None:
        if self._trouble != str(error):
            self._trouble = str(error)
            is_usual = isinstance(error, RequestError)
            what = str(error) if is_usual else f"{type(error).__name__}: {error}"
            self._around.say(EntryType.FAILURE, f"alerts are not looked at just now: {what}")

    # What no job can tell

    async def _tell_directly(self, config: Config) -> None:
        """Tell by itself what is new, and what is over, though the database may be away."""
        now = self._around.now()
        with suppress(Exception):  # however the file cannot be read, what was known of it holds
            self._mutes = await self._around.read(lambda reader: reader.needs.mutes(now))
        watches = [one for one in _telling(config) if one.rule.kind in DIRECT]
        by_rule = {watch.name: watch.tell for watch in watches}
        found = alerts.raised(watches, self._around.needs.known(), now)
        wanted = {(one.rule, one.need.subject): one for one in found}
        for key, one in wanted.items():
            before = self._direct.get(key)
            is_quiet = before is not None and (
                before.is_open or now - (before.told_at or 0.0) < config.alerts.quiet
            )
            if not (is_quiet or self._is_mute(one.rule, now)):
                self._direct[key] = _made(one, now)
                self._tell_now(self._direct[key], by_rule.get(one.rule, ()))
        for key, alert in list(self._direct.items()):
            if alert.is_open and key not in wanted and not self._is_mute(alert.rule, now):
                self._direct[key] = replace(alert, cleared_at=now)
                self._tell_now(self._direct[key], by_rule.get(alert.rule, ()))

    def _is_mute(self, rule: str, now: float) -> bool:
        return self._mutes.get(rule, now) > now

    def _tell_now(self, alert: Alert, targets: Collection[str]) -> None:
        config = self._around.config()
        notice = alerts.noted([alert], config.hosts.name) | {"since": to_text(alert.since)}
        if JOURNAL in targets:
            self._around.cry(_line(alert))
        for name in targets:
            target = config.alerts.targets.get(name)
            if target is not None and target.command is not None:
                self._around.run(target.command, notice)

    # What is asked

    async def test(self, rule: str | None) -> tuple[int, ...] | None:
        """Have a marked notice told by all targets of a rule, or all there are; the jobs' ids, None of no rule.

        Raises why the job of one is refused, before any is told.
        """
        config = self._around.config()
        by_rule = {watch.name: watch.tell for watch in config.alerts.watches}
        if rule is not None and rule not in by_rule:
            return None
        names = config.alerts.targets if rule is None else by_rule[rule]
        found = self._tellers(config)
        for name in names:
            if name in self._refused:
                raise self._refused[name]
        if not config.alerts.is_on:
            return ()  # what would tell it is not loaded, nor has it a slot
        wanted = {name: found[name] for name in names if name in found}
        now = self._around.now()
        alert = Alert(
            0, rule or "test", "test", "test", now, "this is a test of bgjobd's alerts", None, 1, now
        )
        if rule is None or JOURNAL in by_rule[rule]:
            self._around.cry(_line(alert))
        item = AlertsTested(alert, wanted, config.hosts.name, os.geteuid())
        ids: tuple[int, ...] = await self._around.record(item)
        return ids


def _telling(config: Config) -> list[Watch]:
    """The rules that tell somebody; what the others find is only shown."""
    return [watch for watch in config.alerts.watches if watch.tell]


def _without_ours(seen: Seen) -> Seen:
    """What is seen without what tells of it: a notice that fails raises none."""
    return replace(
        seen,
        crashed=tuple(one for one in seen.crashed if one.class_name != NOTICE),
        held=tuple(one for one in seen.held if one.class_name != NOTICE),
        errors=tuple(error for error in seen.errors if error.class_name != NOTICE),
        failures=tuple(error for error in seen.failures if error.class_name != NOTICE),
        attempts={name: minutes for name, minutes in seen.attempts.items() if name != NOTICE},
        queues=tuple(queue for queue in seen.queues if queue.name != BESIDE),
    )


def _made(one: Raised, now: float) -> Alert:
    need = one.need
    return Alert(
        0,
        one.rule,
        need.kind,
        need.subject,
        need.since,
        need.sentence,
        need.hint,
        need.jobs,
        now,
        told_at=now,
    )


def _line(alert: Alert) -> str:
    over = "" if alert.is_open else "over: "
    number = f"alert {alert.id}, " if alert.id else ""
    return f"{over}{alert.message} ({number}{alert.rule})"
