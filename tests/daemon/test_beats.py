"""How a host beats, whatever a beat meets; without a database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from bgjob.errors import StorageUnavailableError
from bgjobd.config.sections import Hosts as Settings
from bgjobd.core.hosts import Profile, Seen, Term
from bgjobd.core.job import AttemptKey
from bgjobd.daemon.hosts import AroundHosts, Hosts
from bgjobd.store.hosts import Beaten, Joined
from bgjobd.store.items.hosts import Beat, HooksTakenOver


def test_a_beat_may_be_alone_but_where_there_is_something_to_say_and_once_a_minute() -> None:
    beats: list[Beat] = []
    profiles = iter([Profile(1, ("default",), ())] * 3 + [Profile(2, ("default",), ())] * 4)

    async def scene() -> None:
        async def record(item: Any) -> Beaten:
            beats.append(item)
            if len(beats) == 5:
                hosts._whole_at -= 60.0
            if len(beats) == 7:
                hosts.close()
            return Beaten(len(beats), (), ())

        hosts = _hosts(record, profile=lambda: next(profiles))
        await hosts.keep()

    asyncio.run(scene())
    assert [one.may_be_alone for one in beats] == [False, True, True, False, True, False, True]


def test_a_beat_that_fails_for_whatever_reason_is_said_once_and_followed_by_others() -> None:
    beats: list[Beat] = []
    said: list[str] = []
    enough = asyncio.Event()

    async def record(item: Any) -> Beaten:
        beats.append(item)
        if len(beats) == 6:
            enough.set()
        if len(beats) in (2, 3):
            raise RuntimeError("no such statement")
        return Beaten(len(beats), (), ())

    async def scene() -> None:
        hosts = _hosts(record, say=lambda type, text: said.append(text))
        keeping = asyncio.create_task(hosts.keep())
        await enough.wait()
        hosts.close()
        await keeping

    asyncio.run(scene())
    told = "bug: a beat of host web1 met RuntimeError: no such statement; it goes on beating"
    assert said == [told]
    assert [one.profile is None for one in beats[:6]] == [False, True, False, False, True, True]


def test_a_hook_that_was_taken_over_and_could_not_be_called_is_called_at_a_later_beat() -> None:
    offered: list[AttemptKey] = []
    owing, answers, beats = [(2,)], [((7, 1), (8, 1))], itertools.count(1)
    has_failed = False

    async def record(item: Any) -> Any:
        match item:
            case Beat():
                return Beaten(next(beats), (Seen(2, "web2", 1, 1, None),), owing.pop() if owing else ())
            case HooksTakenOver():
                return answers.pop() if answers else ()
        return ()

    async def call(hosts: Hosts, keys: Sequence[AttemptKey]) -> None:
        nonlocal has_failed
        if not has_failed:
            has_failed = True
            raise StorageUnavailableError(reason="the reader's connection broke")
        offered.extend(keys)
        if len(offered) == 2:
            hosts.close()

    _keep(record, call)
    assert sorted(offered) == [(7, 1), (8, 1)]


def test_a_hook_that_cannot_be_called_keeps_no_other_host_from_being_seen_to() -> None:
    owing, settled = [(3,), (2,)], list[int]()
    others = tuple([Seen(host, f"web{host}", 1, 1, None) for host in (2, 3)])

    async def record(item: Any) -> Any:
        match item:
            case Beat():
                return Beaten(1, others, owing.pop() if owing else ())
            case HooksTakenOver():
                settled.append(item.host)
                return ((7, 1),)
        return ()

    async def call(hosts: Hosts, keys: Sequence[AttemptKey]) -> None:
        if len(settled) == 2:
            hosts.close()
        raise StorageUnavailableError(reason="the reader's connection broke")

    _keep(record, call)
    assert settled == [2, 3]


def _keep(record: Any, call: Callable[[Hosts, Sequence[AttemptKey]], Awaitable[None]]) -> None:
    """Beat until the `call` of a hook closes it; there are no attempts to be read of."""

    async def nothing(question: Any) -> list[Any]:
        return []

    async def scene() -> None:
        hosts = _hosts(record, read=nothing)
        hosts.on_hooks = partial(call, hosts)
        async with asyncio.timeout(20):
            await hosts.keep()

    asyncio.run(scene())


def _hosts(record: Any, **given: Any) -> Hosts:
    usual: Any = {
        "settings": Settings.model_construct(name="web1", beat=0.001),
        "profile": lambda: Profile(1, ("default",), ()),
        **dict.fromkeys(("policy", "read", "now", "say")),
    }
    around = AroundHosts(record=record, **usual | given)
    return Hosts(Joined(Term(1, 1, "web1"), was_lost=False), around)
