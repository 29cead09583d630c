"""What a daemon does about what others commit, without a database: it knows no more of that than notices and looks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from bgjob.errors import StorageUnavailableError
from bgjob.words import EntryType
from bgjobd.core.planner import Lanes
from bgjobd.core.verdict import StopReason
from bgjobd.daemon.followers import Followers, Lines
from bgjobd.daemon.others import AroundOthers, Others
from bgjobd.daemon.waiters import Waiters
from bgjobd.store.committed import Committed, LogLine
from bgjobd.store.engines import Engine, Looked
from bgjobd.store.engines.sqlite import Sqlite
from bgjobd.store.news import Missed
from bgjobd.store.notices import Notice, notice_from, text_of
from bgjobd.store.recent import RecentJobs
from bgjobd.store.tally import Tally

BEAT = 5.0


class Scene:
    """`seen` is what was done; `held` are attempts that are here, `missed` what the database tells of what is awaited.

    A look for jobs brings the attempts `on_way`, as the claims of the writer would come before it.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.said: list[tuple[EntryType, str]] = []
        self.held: set[tuple[int, int]] = set()
        self.on_way: set[tuple[int, int]] = set()
        self.missed = Missed((), (), ())
        self.is_away = False
        self.lanes = Lanes(4, {"default": None})
        self.waiters, self.group_waiters, self.followers = Waiters(), Waiters(), Followers()
        self.name: str | None = None
        self._tasks: list[asyncio.Task[None]] = []
        note = self.seen.append
        self.others = Others(
            AroundOthers(
                attempts=cast(Any, _Attempts(self)),
                followers=self.followers,
                waiters=self.waiters,
                group_waiters=self.group_waiters,
                recent=cast(
                    RecentJobs,
                    SimpleNamespace(
                        forget=lambda ids: note(f"forget {sorted(ids)}"), take=lambda none: note("forget all")
                    ),
                ),
                schedules=cast(Any, SimpleNamespace(on_others=lambda: note("schedules"))),
                lanes=lambda: self.lanes,
                read=self._read,
                record=self._record,
                on_sent=lambda: note("sent"),
                call_others=self._call_others,
                in_background=lambda work: self._tasks.append(asyncio.ensure_future(work)),
                say=lambda type, message: self.said.append((type, message)),
            )
        )
        self.tell: Callable[[str], None] = lambda text: None
        self.look: Callable[[Looked], None] = lambda looked: None
        self.start(cast(Engine, SimpleNamespace(listen=self._listen)))

    def start(self, engine: Engine) -> None:
        self.name = None
        self.others.start(engine, BEAT, 10)

    def _listen(self, on_text: Any, on_look: Any, greeting: str, beat: float) -> Any:
        self.tell, self.look, self.greeting = on_text, on_look, greeting
        return SimpleNamespace(start=lambda: None, close=lambda: None)

    def _call_others(self, name: str | None) -> None:
        self.name = name

    async def _read(self, question: Any) -> Any:
        if self.is_away:
            raise StorageUnavailableError(reason="away")
        return question(SimpleNamespace(missed=lambda jobs, groups, attempts: self.missed))

    async def _record(self, item: object) -> None:
        self.held |= self.on_way
        self.seen.append(type(item).__name__)

    async def hear(self, **given: Any) -> list[str]:
        """What is done about a notice of another daemon."""
        return await self._done(lambda: self.tell(text_of(Notice("there", **given))))

    async def find(self, **given: Any) -> list[str]:
        """What is done about a look."""
        return await self._done(lambda: self.look(Looked(**given)))

    async def _done(self, act: Callable[[], None]) -> list[str]:
        self.seen.clear()
        act()
        await asyncio.sleep(0)
        while self._tasks:
            await self._tasks.pop()
        return self.seen


class _Attempts:
    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __len__(self) -> int:
        return len(self._scene.held)

    def keys(self) -> frozenset[tuple[int, int]]:
        return frozenset(self._scene.held)

    def stop(self, key: tuple[int, int], reason: StopReason) -> None:
        if key in self._scene.held:
            self._scene.seen.append(f"stop {key[0]}")


def play(scene: Callable[[Scene], Any]) -> None:
    async def played() -> None:
        await scene(Scene())

    asyncio.run(played())


def test_jobs_of_own_queues_are_looked_for_where_a_slot_is_free() -> None:
    async def scene(stage: Scene) -> None:
        assert "Look" in await stage.hear(queues=frozenset({"default"}))
        assert "Look" not in await stage.hear(queues=frozenset({"other"}))
        assert "Look" in await stage.hear(any_queue=True)
        stage.held = {(id, 1) for id in range(4)}
        assert "Look" not in await stage.hear(queues=frozenset({"default"}))

    play(scene)


def test_what_one_has_told_oneself_is_left_alone() -> None:
    async def scene(stage: Scene) -> None:
        own = notice_from(stage.greeting).by
        stage.tell(text_of(Notice(own, queues=frozenset({"default"}), jobs=frozenset({1}))))
        await asyncio.sleep(0)
        assert stage.seen == []

    play(scene)


def test_jobs_that_others_have_changed_are_forgotten_and_those_who_wait_hear_of_ends() -> None:
    async def scene(stage: Scene) -> None:
        with stage.waiters.waiting_for(7) as ended, stage.group_waiters.waiting_for(3) as group_ended:
            done = await stage.hear(jobs=frozenset({5}), ended=frozenset({7}), groups=frozenset({3}))
            assert "forget [5, 7]" in done
            assert await ended(0.0)
            assert await group_ended(0.0)

    play(scene)


def test_an_attempt_is_stopped_where_it_is_held_and_elsewhere_nothing_is() -> None:
    async def scene(stage: Scene) -> None:
        stops = frozenset({((7, 1), StopReason.CANCELLED)})
        stage.missed, stage.held = Missed([], [], [*stops]), {(7, 1)}
        assert "stop 7" in await stage.hear(stops=stops)
        stage.held = set()
        assert "stop 7" not in await stage.hear(stops=stops)

    play(scene)


def test_an_attempt_is_not_stopped_because_somebody_says_so_of_whom_the_database_knows_nothing() -> None:
    """Whoever may connect to the database can send a notice."""

    async def scene(stage: Scene) -> None:
        stage.held = {(7, 1)}
        assert "stop 7" not in await stage.hear(stops=frozenset({((7, 1), StopReason.CANCELLED)}))

    play(scene)


def test_a_stop_that_could_not_be_asked_about_is_asked_about_at_the_next_look() -> None:
    async def scene(stage: Scene) -> None:
        stops = frozenset({((7, 1), StopReason.CANCELLED)})
        stage.missed, stage.held, stage.is_away = Missed([], [], [*stops]), {(7, 1)}, True
        assert "stop 7" not in await stage.hear(stops=stops)
        stage.is_away = False
        assert await stage.find(last_entry=10) == ["stop 7"]
        assert await stage.find(last_entry=10) == []

    play(scene)


def test_an_attempt_whose_claim_is_not_heard_of_yet_is_stopped_once_it_is() -> None:
    async def scene(stage: Scene) -> None:
        stage.missed, stage.on_way = Missed([], [], [((7, 1), StopReason.CANCELLED)]), {(7, 1)}
        assert (await stage.hear(stops=frozenset({((7, 1), StopReason.CANCELLED)})))[-2:] == [
            "Look",
            "stop 7",
        ]

    play(scene)


def test_after_a_notice_that_says_no_more_than_to_look_all_is_looked_at() -> None:
    async def scene(stage: Scene) -> None:
        stage.missed = Missed([7], [], [((8, 1), StopReason.CANCELLED)])
        stage.held = {(8, 1)}
        with stage.waiters.waiting_for(7) as ended:
            done = await stage.hear(look=True)
            assert {"forget all", "Look", "schedules", "stop 8"} <= set(done)
            assert await ended(0.0)

    play(scene)


def test_what_a_notice_tells_beside_that_all_is_to_be_looked_at_is_not_lost() -> None:
    async def scene(stage: Scene) -> None:
        stage.held, stage.missed = {(7, 1)}, Missed((), (), (((7, 1), StopReason.CANCELLED),))
        stage.is_away = True
        with stage.waiters.waiting_for(3) as ended:
            seen = await stage.hear(
                look=True, ended=frozenset({3}), stops=frozenset({((7, 1), StopReason.CANCELLED)})
            )
            assert "stop 7" not in seen
            async with asyncio.timeout(5):
                await ended(None)
        stage.is_away = False
        assert "stop 7" in await stage.find()

    play(scene)


def test_a_look_that_finds_nothing_new_does_nothing() -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.find(last_entry=10) == []
        assert "forget all" in await stage.find(last_entry=11)
        assert await stage.find(last_entry=11) == []
        assert "forget all" in await stage.find(last_entry=11, may_have_missed=True)

    play(scene)


def test_entries_that_nobody_else_can_have_written_are_no_news() -> None:
    async def scene(stage: Scene) -> None:
        assert await stage.find(last_entry=11, has_others=False) == []
        assert await stage.find(last_entry=11, has_sent=True) == ["sent"]

    play(scene)


def test_others_are_told_as_long_as_there_are_any() -> None:
    async def scene(stage: Scene) -> None:
        own = notice_from(stage.greeting).by
        assert stage.name == own
        await stage.find(has_others=False)
        assert stage.name is None
        await stage.hear(look=True)
        assert stage.name == own

    play(scene)


def test_that_nothing_is_heard_is_said_once_and_looked_for_at_each_beat() -> None:
    async def scene(stage: Scene) -> None:
        for _ in range(2):
            assert "forget all" in await stage.find(may_have_missed=True, trouble="no connection is left")
        await stage.find()
        assert stage.said == [
            (
                EntryType.FAILURE,
                "what other daemons commit is not heard of, but looked for every 5 s: no connection is left",
            ),
            (EntryType.INFO, "what other daemons commit is heard of again"),
        ]

    play(scene)


def test_beside_a_file_there_is_nobody_and_no_thread_and_commits_are_told_as_they_come(
    tmp_path: Path,
) -> None:
    async def scene(stage: Scene) -> None:
        threads = threading.active_count()
        stage.start(Sqlite(tmp_path))
        assert threading.active_count() == threads
        assert stage.name is None
        with stage.followers.lines(lambda commit: Lines(commit.lines)) as follower:
            line = LogLine(99, 0.0, EntryType.INFO, "far ahead", 1, 1, "shop.Email", "send")
            stage.others.publish(Committed((), (), (), (), (line,), None, (), Tally({}, {}), ()))
            assert await follower.next() == [line]

    play(scene)
