"""How a host beats, whatever a beat meets; without a database."""

from __future__ import annotations

import asyncio
from typing import Any

from bgjobd.config.sections import Hosts as Settings
from bgjobd.core.hosts import Profile, Term
from bgjobd.daemon.hosts import Hosts
from bgjobd.store.hosts import Beaten, Joined
from bgjobd.store.items.hosts import Beat


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


def _hosts(record: Any, **given: Any) -> Hosts:
    usual: Any = {
        "settings": Settings.model_construct(name="web1", beat=0.001),
        "profile": lambda: Profile(1, ("default",), ()),
        **dict.fromkeys(("policy", "read", "now", "say")),
    }
    return Hosts(Joined(Term(1, 1, "web1"), was_lost=False), record=record, **usual | given)
