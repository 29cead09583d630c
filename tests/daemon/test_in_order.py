"""Who follows hears of what this daemon and others commit once, in the order of ids, without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import ExitStack
from typing import Any

from bgjob.errors import StorageUnavailableError
from bgjob.words import EntryType, Status
from bgjobd.core.job import Call, Job
from bgjobd.daemon.followers import Changes, Commit, Followers, Lines
from bgjobd.daemon.in_order import InOrder
from bgjobd.store.committed import Committed, LogLine
from bgjobd.store.news import News
from bgjobd.store.tally import Tally

_CALL = Call("shop.Email", "send")


def line(id: int, job_id: int = 1) -> LogLine:
    return LogLine(id, 0.0, EntryType.INFO, f"entry {id}", job_id, 1, "shop.Email", "send")


def job(id: int, status: Status = Status.RUNNING) -> Job:
    return Job(id, _CALL, status, attempt=1)


def commit(*ids: int, changed: tuple[Job, ...] = ()) -> Committed:
    return Committed((), (), (), (), tuple(map(line, ids)), None, changed, Tally({}, {}), ())


class Scene:
    """A database in which entries are there once somebody puts them; what followers hear is in `heard`."""

    def __init__(self) -> None:
        self.followers = Followers()
        self.heard: list[Any] = []
        self.stored: list[int] = []
        self.jobs: dict[int, Job] = {}
        self.asked: list[tuple[int, set[int]]] = []
        self.is_away = False
        self.most = 100
        self.tasks: list[asyncio.Task[None]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_order = InOrder(self.followers, self.ask, self.begin)

    def begin(self, work: Any) -> None:
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    async def ask(self, after: int, jobs: Collection[int], valued: dict[int, int]) -> News:
        self.asked.append((after, set(jobs)))
        if self.is_away:
            raise StorageUnavailableError(reason="away", may_be_stored=False)
        newer = [id for id in self.stored if id > after]
        standing = [self.jobs[id] for id in sorted({*jobs} & self.jobs.keys())]
        if len(newer) > self.most:
            return News([line(id) for id in newer[: self.most]], newer[self.most - 1], has_more=True)
        await self.gate.wait()
        return News([line(id) for id in newer], max([after, *self.stored]), jobs=standing)

    async def settled(self) -> list[Any]:
        while self.tasks:
            await self.tasks.pop()
        await asyncio.sleep(0)
        return self.heard

    def pick_lines(self, commit: Commit) -> Lines | None:
        self.heard += [line.id for line in commit.lines]
        return None

    def pick_changes(self, commit: Commit) -> Changes | None:
        self.heard += [f"{job.id} {job.status}" for job in commit.changed]
        return None


def play(scene: Callable[[Scene], Any], is_followed: bool = True) -> Scene:
    async def played() -> Scene:
        stage = Scene()
        with ExitStack() as following:
            if is_followed:
                following.enter_context(stage.followers.lines(stage.pick_lines))
                following.enter_context(stage.followers.changes(stage.pick_changes))
            await scene(stage)
        return stage

    return asyncio.run(played())


def test_own_commits_are_told_at_once_and_nothing_is_read() -> None:
    async def scene(stage: Scene) -> None:
        stage.in_order.publish(commit(1, 2))
        stage.in_order.publish(commit(changed=(job(1),)))
        stage.in_order.publish(commit(3))
        assert sorted(map(str, stage.heard)) == ["1", "1 running", "2", "3"]
        assert stage.asked == []

    play(scene)


def test_what_others_have_committed_before_comes_first() -> None:
    async def scene(stage: Scene) -> None:
        stage.in_order.publish(commit(1))
        stage.stored = [1, 2, 3, 4]
        stage.in_order.publish(commit(4))
        assert stage.heard == [1]
        assert await stage.settled() == [1, 2, 3, 4]

    play(scene)


def test_own_entries_that_were_read_with_those_of_others_are_told_once() -> None:
    async def scene(stage: Scene) -> None:
        stage.stored = [1, 2, 3]
        stage.in_order.note_others(3, ())
        assert await stage.settled() == [1, 2, 3]
        stage.in_order.publish(commit(2))
        stage.in_order.publish(commit(4))
        assert await stage.settled() == [1, 2, 3, 4]

    play(scene)


def test_what_is_committed_while_others_are_read_waits_for_that() -> None:
    async def scene(stage: Scene) -> None:
        stage.stored = [1]
        stage.gate.clear()
        stage.in_order.note_others(1, ())
        await asyncio.sleep(0)
        stage.in_order.publish(commit(2))
        assert stage.heard == []
        stage.gate.set()
        assert await stage.settled() == [1, 2]

    play(scene)


def test_nobody_hears_of_a_job_as_it_was_before_it_was_read() -> None:
    async def scene(stage: Scene) -> None:
        stage.jobs = {1: job(1, Status.COMPLETED), 2: job(2)}
        stage.stored = [1, 2]
        stage.in_order.note_others(1, [1])
        stage.in_order.publish(commit(2, changed=(job(1), job(2))))
        heard = await stage.settled()
        assert [one for one in heard if isinstance(one, str)] == ["1 completed", "2 running"]

    play(scene)


def test_what_waits_behind_a_read_is_part_of_it_also_without_an_entry() -> None:
    async def scene(stage: Scene) -> None:
        stage.jobs = {1: job(1, Status.COMPLETED)}
        stage.stored = [1, 2]
        stage.in_order.note_others(1, [1])
        stage.in_order.publish(commit(changed=(job(1),)))
        assert await stage.settled() == [1, 2, "1 completed"]

    play(scene)


def test_very_much_is_told_in_parts_and_jobs_come_last() -> None:
    async def scene(stage: Scene) -> None:
        stage.most = 2
        stage.stored = [1, 2, 3, 4, 5]
        stage.jobs = {1: job(1, Status.COMPLETED)}
        stage.in_order.note_others(5, ())
        assert await stage.settled() == [1, 2, 3, 4, 5, "1 completed"] * 1
        assert [after for after, _ in stage.asked] == [0, 2, 4]

    play(scene)


def test_what_cannot_be_read_now_is_told_the_next_time() -> None:
    async def scene(stage: Scene) -> None:
        stage.stored, stage.is_away = [1, 2], True
        stage.in_order.note_others(1, [7])
        stage.in_order.publish(commit(2))
        assert await stage.settled() == []
        stage.is_away = False
        stage.jobs = {7: job(7)}
        stage.in_order.note_others(2, ())
        assert await stage.settled() == [1, 2, "7 running"]

    play(scene)


def test_where_nobody_knows_what_there_is_it_is_read() -> None:
    async def scene(stage: Scene) -> None:
        stage.stored = [1]
        stage.in_order.note_others(None, ())
        assert await stage.settled() == [1]

    play(scene)


def test_nothing_is_read_where_nobody_follows() -> None:
    async def scene(stage: Scene) -> None:
        stage.in_order.note_others(5, [1])
        stage.in_order.publish(commit(9))
        assert (stage.asked, stage.in_order.last) == ([], 9)

    play(scene, is_followed=False)
