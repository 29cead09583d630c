"""Get and Wait of a job that the daemon has in memory: answered by it, with no question to the file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from bgjob.errors import JobNotFoundError
from bgjobd.api import methods
from bgjobd.api.dispatch import Encoded
from bgjobd.api.inbox import Inbox
from bgjobd.api.peer import Caller
from bgjobd.api.schemas import Get, Wait
from bgjobd.core.planner import Lanes
from bgjobd.daemon.traces import Traces
from bgjobd.daemon.waiters import Waiters
from bgjobd.store.items.daemons import Look
from bgjobd.store.recent import RecentJobs
from tests.store.samples import COMPLETED, NOW, Store, asked, ends, starts, submission

_CALLER: Final = Caller(pid=1, uid=0, gid=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    yield store
    store.close()


class Silent:
    """Readers that know of no job, and count what they are asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def read(self, question: Any) -> None:
        self.asked += 1


class Scene:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.readers, self.waiters, self.recent = Silent(), Waiters(), RecentJobs()
        secrets = SimpleNamespace(policy=lambda class_name: SimpleNamespace(sensitive=("token",)))
        self.daemon = cast(
            Any,
            SimpleNamespace(
                readers=self.readers,
                waiters=self.waiters,
                recent=self.recent,
                current_catalogue=secrets,
                clock=SimpleNamespace(now=lambda: NOW),
                take_in=_nothing_came_in,
                traces=Traces(lambda: 3600.0, lambda: "database"),
            ),
        )

    def commit(self, *items: Any, slots: int = 1) -> None:
        committed = self.store.commit(*items, lanes=Lanes(slots))
        self.recent.take(committed)
        for job in committed.ended:
            self.waiters.announce(job.id)


async def _nothing_came_in(job_id: int) -> bool:
    return False


def told(reply: Encoded) -> Any:
    return json.loads(reply.parameters)["job"]


def test_a_known_job_that_does_not_run_is_told_and_waited_for_without_a_question_to_the_file(
    store: Store,
) -> None:
    async def play() -> None:
        scene = Scene(store)
        parameters = {"to": "a", "token": "s3cret"}
        scene.commit(submission(asked(parameters=parameters, idempotency_key="door")), slots=0)
        job = told(await methods.get(scene.daemon, Get(id=1), _CALLER))
        assert (job["status"], job["parameters"]) == ("pending", {"to": "a", "token": "***"})
        scene.commit(Look())
        waiting = asyncio.ensure_future(methods.wait(scene.daemon, Wait(id=1, timeout=10), _CALLER))
        await asyncio.sleep(0)
        scene.commit(starts(1), ends(1, COMPLETED))
        job = told(await waiting)
        assert (job["status"], job["result"], len(job["attempts"])) == ("completed", {"sent": 1}, 1)
        assert told(await methods.wait(scene.daemon, Wait(id=1), _CALLER)) == job
        assert told(await methods.wait(scene.daemon, Wait(key="door"), _CALLER)) == job
        assert told(await methods.get(scene.daemon, Get(key="door"), _CALLER)) == job
        assert scene.readers.asked == 0

    asyncio.run(play())


def test_a_job_that_is_not_known_and_a_page_of_attempts_are_asked_of_the_file(store: Store) -> None:
    async def play() -> None:
        scene = Scene(store)
        scene.commit(submission(asked()))
        for given in (Get(id=2), Get(id=1, limit=1), Get(id=1, before=5), Get(key="door")):
            try:
                await methods.get(scene.daemon, given, _CALLER)
            except JobNotFoundError:
                continue
            raise AssertionError(given)
        assert scene.readers.asked == 4

    asyncio.run(play())


def test_a_job_that_another_has_made_since_it_was_looked_for_is_found(store: Store) -> None:
    async def play() -> None:
        scene = Scene(store)

        async def made_elsewhere(question: Any) -> tuple[()]:
            scene.commit(submission(asked()), slots=0)
            return ()

        inbox = Inbox(
            cast(Any, SimpleNamespace(config=_CONFIG, readers=SimpleNamespace(read=made_elsewhere))), _GRANTS
        )
        scene.daemon.take_in = inbox.take_in
        assert told(await methods.get(scene.daemon, Get(id=1), _CALLER))["id"] == 1

    asyncio.run(play())


_CONFIG: Final = SimpleNamespace(socket=SimpleNamespace(max_depth=64))
_GRANTS: Final = cast(Any, None)
