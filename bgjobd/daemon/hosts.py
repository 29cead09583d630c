"""This host among those that share its database: it says that it lives, sees who does not, and sees to what those left.

Whose silence is how long, the rules of `core.hosts` say. Where the database is this daemon's alone, nothing is done.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bgjob.errors import RequestError
from bgjob.words import EntryType
from bgjobd.config import sections
from bgjobd.config.policy import Policy
from bgjobd.config.sections import Config
from bgjobd.config.shared_rules import shared_rules
from bgjobd.core.attempt_life import lost_with_its_host
from bgjobd.core.hosts import Drained, Profile, Seen, Term, Vigil, acknowledged, lost
from bgjobd.core.job import AttemptKey
from bgjobd.host.clock import to_text
from bgjobd.store.engines import TermTakenError
from bgjobd.store.hosts import Beaten, Joined
from bgjobd.store.items.attempts import JobFact
from bgjobd.store.items.hosts import AttemptsLost, Beat, HooksTakenOver, HostDrained, HostLost
from bgjobd.store.writer import Delivery

_WHOLE_EVERY: Final = 60.0
"""Seconds after which a beat is a transaction in which all is looked at, though nothing has moved."""

_AT_ONCE: Final = 100
"""Attempts of a lost host that end in one transaction."""


def profile_of(config: Config, code_version: str | None = None, trouble: str | None = None) -> Profile:
    """What a host of this configuration says of itself."""
    return Profile(
        config.daemon.slots,
        tuple(config.queues),
        tuple(config.approved),
        code_version,
        trouble,
        rules=shared_rules(config),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class AroundHosts:
    """What they need of the daemon.

    `profile` is what this host says of itself, `policy` tells a class's, `record` has the writer store an item, `read`
    a reader answer. `say` writes a line about the daemon itself.
    """

    settings: sections.Hosts
    profile: Callable[[], Profile]
    policy: Callable[[str], Policy]
    record: Callable[[Any], Awaitable[Any]]
    read: Callable[..., Awaitable[Any]]
    now: Callable[[], float]
    say: Callable[[EntryType, str], None]


class Hosts:
    """Beats while `keep` runs. `joined` is the term that was taken at the start; None where there are no others.

    Who wants to hear of it sets `on_acknowledged`: a beat that was sent at this instant of CLOCK_BOOTTIME is stored;
    `on_lost`: this host has counted as lost, and others may run again what it runs; `on_ousted`: somebody else is this
    host by now; `on_drained`: it is to start nothing new from now on; `on_hooks`: it is to call those that another one
    owes after these attempts. `on_accept` takes the database as it is, and tells whether it had gone back.
    """

    def __init__(self, joined: Joined | None, around: AroundHosts) -> None:
        self._around = around
        self.term: Term | None = None if joined is None else joined.term
        self._was_lost = joined is not None and joined.was_lost
        self._loop = asyncio.get_running_loop()
        self._vigil = Vigil()
        self._told: Profile | None = None
        self._whole_at = -math.inf
        self._trouble: str | None = None
        self._is_closed = False
        self._to_call: list[AttemptKey] = []  # this host's by now
        self.drained: Drained | None = None
        self.on_drained: Callable[[], None] = lambda: None
        self.on_hooks: Callable[[Sequence[AttemptKey]], Awaitable[None]] = _no_hooks
        self.on_acknowledged: Callable[[float], None] = lambda sent_at: None
        self.on_lost: Callable[[], None] = lambda: None
        self.on_ousted: Callable[[TermTakenError], None] = lambda error: None
        self.on_accept: Callable[[], Awaitable[bool]] = _nothing_to_accept

    @property
    def name(self) -> str:
        """How this host is called."""
        return self._around.settings.name

    @property
    def host_id(self) -> int | None:
        """By which others know it; None where there are no others."""
        return None if self.term is None else self.term.host

    def profile(self) -> Profile:
        """What this host says of itself."""
        return self._around.profile()

    def close(self) -> None:
        """Say and see to no more."""
        self._is_closed = True

    async def keep(self) -> None:
        """Beat for as long as the daemon lives, and see to what follows from what is seen."""
        if self.term is None:
            return
        if self._was_lost:
            self._around.say(
                EntryType.FAILURE,
                f"host {self.name} had counted as lost: what it ran may have been run again elsewhere",
            )
        while not self._is_closed:
            sent_at = self._loop.time()
            try:
                beaten = await self._beat()
                if beaten is not None:
                    await self._see(beaten)
                self._trouble = None
            except Exception as error:  # whatever it meets: who beats no more counts as lost
                self._note_trouble(error)
            await asyncio.sleep(max(0.0, sent_at + self._around.settings.beat - self._loop.time()))

    def note(self, delivery: Delivery) -> None:
        """Hear that the term is over, or that there is another one."""
        if delivery.term is not None:
            self.term = delivery.term
            self._vigil = Vigil()
            self._around.say(
                EntryType.INFO, f"host {self.name} is back, in term {delivery.term.number}, and goes on"
            )
        if isinstance(delivery.term_over, TermTakenError):
            self.on_ousted(delivery.term_over)
        elif delivery.term_over is not None:
            self.on_lost()

    def _note_trouble(self, error: Exception) -> None:
        told = f"{type(error).__name__}: {error}"
        if told != self._trouble:
            self._trouble = told
            self._around.say(
                EntryType.FAILURE, f"bug: a beat of host {self.name} met {told}; it goes on beating"
            )

    async def _beat(self) -> Beaten | None:
        """What a beat has found; None where the database did not take it."""
        sent_at, profile = time.clock_gettime(time.CLOCK_BOOTTIME), self.profile()
        is_told, self._told = profile == self._told, None  # until it is known to be stored
        is_whole = not is_told or self._loop.time() - self._whole_at >= _WHOLE_EVERY
        try:
            beaten: Beaten = await self._around.record(
                Beat(None if is_told else profile, may_be_alone=not is_whole)
            )
        except RequestError:
            return None
        self._told = profile
        self._whole_at = self._loop.time() if is_whole else self._whole_at
        self.on_acknowledged(sent_at)
        return beaten

    async def _see(self, beaten: Beaten) -> None:
        self._vigil = acknowledged(self._vigil, self._loop.time(), self._around.settings.beat, beaten.others)
        if beaten.drained is not None:
            self._drain(beaten.drained)
        names = {one.host: one.name for one in beaten.others}
        owing = [host for host in beaten.owing if host in names]
        try:
            owing += [one.host for one in lost(self._vigil) if await self._declare(one)]
            for host in owing:
                await self._settle(host, names[host])
            await self._call_taken()
        except RequestError:
            pass  # the next beat finds what is left

    async def _declare(self, seen: Seen) -> bool:
        is_lost: bool = await self._around.record(HostLost(seen.host, seen.term, seen.beats))
        if is_lost:
            self._around.say(
                EntryType.FAILURE,
                f"host {seen.name} counts as lost: it was not seen for {seen.lost_after:g} s",
            )
        return is_lost

    async def _settle(self, host: int, name: str) -> None:
        """Have the attempts end that the host ran, of the classes that are known here; others see to the rest."""
        classes = self.profile().classes
        count, has_more = 0, True
        while has_more:
            rows = await self._around.read(lambda reader: reader.hosts.lost_attempts(host, classes, _AT_ONCE))
            ends = [self._end(name, *row) for row in rows]
            settled = await self._around.record(AttemptsLost(host, tuple(ends)))
            count += len(settled)
            has_more = len(rows) == _AT_ONCE and len(settled) > 0
        has_more = True
        while has_more:
            hooks = await self._around.record(HooksTakenOver(host, classes, _AT_ONCE))
            self._to_call += hooks
            has_more = len(hooks) == _AT_ONCE
        if count:
            attempts = "1 attempt" if count == 1 else f"{count} attempts"
            self._around.say(
                EntryType.INFO, f"of host {name}, which counts as lost, {attempts} lost; {_RETRIED}"
            )

    async def _call_taken(self) -> None:
        """Call the hooks that are this host's by now; what could not be is tried again at the next beat."""
        taken, self._to_call = self._to_call, []
        for place, key in enumerate(taken):
            try:
                await self.on_hooks([key])
            except BaseException:
                self._to_call += [*taken[place + 1 :], key]  # it comes behind the others
                raise

    def _end(self, name: str, job_id: int, number: int, class_name: str) -> JobFact:
        terms = self._around.policy(class_name).end_terms()
        return JobFact(job_id, lost_with_its_host(number, name, self._around.now(), terms))

    async def drain(self, name: str, by: str) -> bool:
        """Have the host of this name, which may be this one, start nothing new until its next daemon; False where it is
        not there. Raises RequestError.
        """
        if self.term is not None and not await self._around.record(HostDrained(name, by)):
            return False
        if name == self.name:
            self._drain(Drained(to_text(self._around.now()), by))
        return self.term is not None or name == self.name

    def _drain(self, drained: Drained) -> None:
        if self.drained is None:
            self.drained = drained
            told = "it starts nothing new until its daemon is started again"
            self._around.say(EntryType.INFO, f"host {self.name} drains, as asked for by {drained.by}: {told}")
            self.on_drained()

    async def declare(self, name: str, who: str) -> bool:
        """Have another host count as lost, for somebody says so, and see to what it ran; False where there is none.

        Raises RequestError.
        """
        beaten: Beaten = await self._around.record(Beat())
        found = [one for one in beaten.others if one.name == name and not one.is_lost]
        one = max(found, key=lambda one: (not one.has_left, one.is_owing, one.host), default=None)
        if one is None or not await self._around.record(HostLost(one.host, one.term, None, who)):
            return False
        await self._settle(one.host, name)
        return True


async def _no_hooks(keys: Sequence[AttemptKey]) -> None:
    pass


async def _nothing_to_accept() -> bool:
    return False


_RETRIED: Final = "their jobs run again as their classes have it"
