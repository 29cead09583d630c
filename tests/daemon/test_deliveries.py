"""What follows from a commit, and in which order: callers hear first, then it starts, is settled and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from bgjob.words import EntryType, Status
from bgjobd.core.edges import Group
from bgjobd.core.job import Call, Job
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.deliveries import Deliveries
from bgjobd.daemon.followers import Followers
from bgjobd.daemon.waiters import Waiters
from bgjobd.store.committed import Claim, Committed, LogLine
from bgjobd.store.recent import RecentJobs
from bgjobd.store.tally import Tally
from bgjobd.store.writer import Delivery

_JOB = Job(1, Call("shop.Email", "send"), Status.RUNNING, attempt=1)

_LINE = LogLine(1, 0.0, EntryType.INFO, "a line", 1, None, "shop.Email", "send")


class Scene:
    """Deliveries whose surroundings only note in `seen` what they are told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.waiters, self.group_waiters = Waiters(), Waiters()
        note = self.seen.append
        attempts = SimpleNamespace(
            start=lambda claim: note(f"start {claim.job.id}"),
            stop=lambda key, reason: note(f"stop {key[0]}"),
            on_refused_end=lambda key, reason: note(f"refused end of {key[0]}"),
        )
        supervisor = SimpleNamespace(
            attempts=attempts, on_end_of_attempt=lambda key, job: note(f"settle {key[0]}")
        )
        self.deliveries = Deliveries(
            supervisor=cast(Any, supervisor),
            due_timer=cast(Any, SimpleNamespace(arm=lambda at: None)),
            counters=Counters(),
            publish=Followers().publish,
            waiters=self.waiters,
            group_waiters=self.group_waiters,
            recent=RecentJobs(),
            log=cast(
                Any, SimpleNamespace(put=lambda lines: self.seen.extend(line.message for line in lines))
            ),
            say=lambda type, message: note(message),
            trace_of=lambda line: None,
        )

    async def call(self, asked: Awaitable[Any]) -> None:
        """What the api does for a caller: the task that asks sends the reply."""

        async def answer() -> None:
            await asked
            self.seen.append("reply")

        self._task = asyncio.ensure_future(answer())
        await asyncio.sleep(0)


def play(scene: Callable[[Scene], Any]) -> list[str]:
    async def played() -> list[str]:
        stage = Scene()
        await scene(stage)
        return stage.seen

    return asyncio.run(played())


def committed(*claimed: int, stopped: tuple[Job, ...] = (), ended: tuple[Job, ...] = ()) -> Committed:
    claims = tuple(Claim(Job(id, _JOB.call, Status.RUNNING, attempt=1), "t") for id in claimed)
    return Committed((), claims, ended, stopped, (), None, (), Tally({}, {}), ())


def test_callers_hear_before_anything_starts_and_stops_come_last() -> None:
    async def scene(stage: Scene) -> None:
        ticket: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await stage.call(ticket)
        answered = ((ticket, "stored"), ((2, 1), "ended"), ((3, 1), ValueError("no")))
        after = committed(1, stopped=(_JOB,))._replace(lines=(_LINE,))
        stage.deliveries.take(Delivery(answered, after))
        for _ in range(3):
            await asyncio.sleep(0)

    assert play(scene) == [
        *("reply", "a line", "start 1", "settle 2", "bug: ValueError: no", "refused end of 3"),
        "stop 1",
    ]


def test_who_waits_for_an_end_hears_before_the_next_one_starts() -> None:
    async def scene(stage: Scene) -> None:
        async def wait() -> None:
            with stage.waiters.waiting_for(1) as ended:
                assert await ended(10)

        await stage.call(wait())
        stage.deliveries.take(Delivery((), committed(2, ended=(_JOB,))))
        for _ in range(3):
            await asyncio.sleep(0)

    assert play(scene) == ["reply", "start 2"]


def test_who_waits_for_a_group_hears_of_its_end_as_who_waits_for_a_job() -> None:
    async def scene(stage: Scene) -> None:
        async def wait() -> None:
            with stage.group_waiters.waiting_for(5) as ended:
                assert await ended(10)

        await stage.call(wait())
        group = Group(5, since_id=0, name="mails", total=2, completed=2)
        stage.deliveries.take(Delivery((), committed(2)._replace(groups=(group,))))
        for _ in range(3):
            await asyncio.sleep(0)

    assert play(scene) == ["reply", "group 5 (mails) ended: 2 completed", "start 2"]


def test_where_nobody_asks_the_next_one_starts_at_once() -> None:
    async def scene(stage: Scene) -> None:
        stage.deliveries.take(Delivery((((1, 1), "ended"),), committed(2, ended=(_JOB,))))

    assert play(scene) == ["start 2", "settle 1"]


def test_a_delivery_is_carried_out_whole_before_the_next_one_and_once() -> None:
    async def scene(stage: Scene) -> None:
        ticket: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        stage.deliveries.take(Delivery(((ticket, "stored"),), committed(1)))
        stage.deliveries.take(Delivery((((1, 1), "ended"),), committed(2, stopped=(_JOB,))))
        stage.seen.append("next")
        stage.deliveries.carry_out()
        for _ in range(3):
            await asyncio.sleep(0)

    assert play(scene) == ["start 1", "start 2", "settle 1", "stop 1", "next"]
