"""When alerts are looked at, and what the daemon tells by itself: with a file, and a writer, that are but functions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import pytest

from bgjob.codec import JsonObject
from bgjob.errors import NotApprovedError, StorageUnavailableError
from bgjobd.config.alerts import NOTICE, AlertTarget
from bgjobd.config.alerts import Alerts as Settings
from bgjobd.config.sections import Config
from bgjobd.core.need_kinds import HeldClass, Kind, MetError, Seen
from bgjobd.daemon.alerts import Alerts, AroundAlerts
from bgjobd.daemon.catalogue import Catalogue
from bgjobd.daemon.counters import Counters
from bgjobd.daemon.current_catalogue import CurrentCatalogue
from bgjobd.daemon.inspection import Inspection
from bgjobd.daemon.last_attempts import LastAttempts
from bgjobd.daemon.needs import Needs
from bgjobd.store.committed import Committed
from bgjobd.store.items.alerts import AlertsLooked, AlertsTold
from bgjobd.store.readers import Readers
from bgjobd.store.span_counts import Counted

NOW = 1_000_000.0
WELL = Seen("web1")
AWAY = Seen("web1", storage_trouble="the database cannot be written: disk full")
PAGE = AlertTarget(command=("/bin/page", "ops"))
ON = Settings(
    tell=("journal", "script"),
    gather=0.01,
    targets={"script": PAGE},
)


class Told:
    """An `Alerts` in the middle of all that it was given, and what it did."""

    def __init__(self, settings: Settings = ON) -> None:
        self.seen, self.now = WELL, NOW
        self.attempts = LastAttempts()
        self.looks = 0
        self.recorded: list[AlertsLooked] = []
        self.commands: list[tuple[Sequence[str], JsonObject]] = []
        self.cries: list[str] = []
        self.said: list[str] = []
        self.owed: tuple[bool, float | None] = (False, None)
        self.catalogue: Catalogue | None = None
        self.is_away = False
        self.muted: Mapping[str, float] = {}
        self.config = Config.model_construct(
            alerts=settings,
            hosts=Config.model_fields["hosts"].get_default(call_default_factory=True),
            retention=Config.model_fields["retention"].get_default(call_default_factory=True),
        )
        self.hand_over: Callable[[Any], Awaitable[Any]] = self.record
        self.alerts = Alerts(
            AroundAlerts(
                config=lambda: self.config,
                needs=cast(Needs, self),
                current_catalogue=cast(CurrentCatalogue, self),
                read=self.read,
                record=lambda item: self.hand_over(item),
                run=lambda command, notice: self.commands.append((command, notice)),
                now=lambda: self.now,
                say=lambda type, message: self.said.append(message),
                cry=self.cries.append,
            )
        )

    def known(self) -> Seen:
        return self.seen

    async def see(self) -> Seen:
        self.looks += 1
        if self.is_away:
            raise StorageUnavailableError(reason="no route to host", may_be_stored=False)
        return self.seen

    def peers(self) -> tuple[()]:
        return ()

    def mutes(self, now: float) -> Mapping[str, float]:
        if self.is_away:
            raise StorageUnavailableError(reason="no route to host", may_be_stored=False)
        return self.muted

    def try_catalogue(self) -> Catalogue | None:
        return self.catalogue

    def read(self, question: Callable[[Any], Any]) -> Awaitable[Any]:
        async def answer() -> Any:
            return question(SimpleNamespace(hosts=self, needs=self))

        return answer()

    def is_owed(self, item: AlertsLooked, now: float) -> tuple[bool, float | None]:
        return self.owed

    async def record(self, item: Any) -> Any:
        self.recorded.append(item)
        self.owed = (False, None)
        return AlertsTold()

    async def look(self) -> float | None:
        return await self.alerts._look()

    async def keep_for(self, seconds: float, *moments: Callable[[], None]) -> None:
        """Have it look by itself for so long, with this done in between."""
        keeping = asyncio.create_task(self.alerts.keep())
        for moment in (*moments, lambda: None):
            await asyncio.sleep(seconds)
            moment()
        keeping.cancel()
        self.alerts.close()


def run(scene: Callable[[Told], Awaitable[None]], settings: Settings = ON) -> Told:
    async def with_told() -> Told:
        told = Told(settings)
        await scene(told)
        return told

    return asyncio.run(with_told())


COMMITTED = cast(Committed, type("Nothing", (), {"attempts": ()})())


def test_an_idle_daemon_looks_once_and_is_not_woken() -> None:
    told = run(lambda told: told.keep_for(0.1))
    assert told.looks == 1


def test_however_much_is_committed_it_looks_no_more_often_than_it_gathers() -> None:
    async def scene(told: Told) -> None:
        def commit() -> None:
            for _ in range(1000):
                told.alerts.on_commit(COMMITTED)

        await told.keep_for(0.1, *[commit] * 3)

    assert run(scene).looks == 4


def test_where_nobody_is_told_nobody_looks() -> None:
    async def scene(told: Told) -> None:
        await told.keep_for(0.05, lambda: told.alerts.on_commit(COMMITTED))

    told = run(scene, Settings())
    assert (told.looks, told.recorded) == (0, [])


def test_where_nobody_is_told_any_more_what_is_open_is_closed() -> None:
    async def scene(told: Told) -> None:
        def put_off() -> None:
            told.config = told.config.model_copy(update={"alerts": Settings(gather=0.01)})
            told.owed = (True, None)
            told.alerts.wake()

        await told.keep_for(0.05, put_off)

    (item,) = run(scene).recorded
    assert (item.rules, item.found) == ({}, ())


def test_nothing_is_handed_to_the_writer_unless_something_is_owed() -> None:
    async def scene(told: Told) -> None:
        await told.look()
        assert told.recorded == []
        told.owed = (True, None)
        await told.look()

    told = run(scene)
    assert len(told.recorded) == 1
    assert told.recorded[0].rules["paused"] == ("journal", "script")


def test_what_cannot_be_stored_is_told_once_by_the_daemon_itself_and_its_end_too() -> None:
    async def scene(told: Told) -> None:
        told.seen = AWAY
        await told.look()
        await told.look()
        assert [(command, notice["kind"], notice["cleared"]) for command, notice in told.commands] == [
            (("/bin/page", "ops"), "storage", False)
        ]
        assert len(told.cries) == 1
        told.seen = WELL
        await told.look()
        told.seen = AWAY
        await told.look()  # the same again, too soon

    told = run(scene)
    assert [notice["cleared"] for _, notice in told.commands] == [False, True]
    assert [cry.startswith("over: ") for cry in told.cries] == [False, True]


def test_that_the_database_is_away_is_told_though_nothing_of_it_can_be_read() -> None:
    async def scene(told: Told) -> None:
        told.seen, told.is_away = AWAY, True
        with pytest.raises(StorageUnavailableError):
            await told.look()

    assert [notice["kind"] for _, notice in run(scene).commands] == ["storage"]


def test_a_rule_that_is_mute_is_not_told_by_the_daemon_itself_until_then() -> None:
    async def scene(told: Told) -> None:
        told.seen, told.muted = AWAY, {"storage": NOW + 60}
        await told.look()
        assert told.commands == []
        told.now = NOW + 61
        await told.look()

    assert len(run(scene).commands) == 1


def test_a_test_tells_nobody_where_the_job_of_a_target_is_refused() -> None:
    async def scene(told: Told) -> None:
        told.catalogue = cast(Catalogue, Refusing())
        with pytest.raises(NotApprovedError):
            await told.alerts.test(None)

    pager = Settings(targets={"pager": AlertTarget(job="ops.Pager::page"), "script": PAGE})
    told = run(scene, pager)
    assert (told.recorded, told.cries) == ([], [])


class Refusing:
    """A catalogue that has no class."""

    def check(self, class_name: str, method_name: str, parameters: JsonObject) -> None:
        raise NotApprovedError(class_name=class_name)


def test_what_is_known_without_the_database_is_needed_while_that_is_away() -> None:
    inspection = SimpleNamespace(storage_trouble=None, has_code=False, is_loading=False, held={})
    needs = Needs(
        readers=cast(Readers, SimpleNamespace(read=refuse)),
        inspection=cast(Inspection, inspection),
        counters=Counters(),
        current_catalogue=cast(CurrentCatalogue, SimpleNamespace(missing=dict)),
        refused=dict,
        queues=dict,
        directories=dict,
        host="web1",
        watches=tuple,
        now=lambda: NOW,
        counted=Counted,
    )
    with pytest.raises(StorageUnavailableError):
        asyncio.run(needs.look())
    inspection.storage_trouble = "the database is away"
    assert [need.kind for need in asyncio.run(needs.look())] == [Kind.STORAGE, Kind.NO_CODE]


async def refuse(question: Any) -> Any:
    raise StorageUnavailableError(reason="no route to host", may_be_stored=False)


def test_a_look_that_fails_is_said_once_and_followed_by_another() -> None:
    async def scene(told: Told) -> None:
        async def refuse(item: Any) -> Any:
            raise StorageUnavailableError(reason="disk full", may_be_stored=False)

        told.hand_over, told.owed = refuse, (True, None)
        await told.keep_for(0.05, told.alerts.wake, told.alerts.wake)

    told = run(scene)
    assert len([line for line in told.said if "not looked at just now" in line]) == 1
    assert told.looks > 1


def test_a_notice_that_fails_raises_none() -> None:
    async def scene(told: Told) -> None:
        told.seen = Seen("web1", errors=(MetError(1, "OSError", NOTICE, NOW, None, 1, 1),))
        told.owed = (True, None)
        await told.look()

    assert run(scene).recorded[0].found == ()


def test_the_class_of_notices_raises_none_while_it_is_held() -> None:
    async def scene(told: Told) -> None:
        told.seen = Seen("web1", held=(HeldClass(NOTICE, NOW, "10 attempts were ended by signal 9"),))
        told.owed = (True, None)
        await told.look()

    assert run(scene).recorded[0].found == ()


class Away:
    """What needs are asked of, while the database cannot be read."""

    has_code, is_loading, held = True, False, MappingProxyType[str, str]({})

    def __init__(self, trouble: str | None) -> None:
        self.storage_trouble = trouble

    async def read(self, question: Any) -> Any:
        raise StorageUnavailableError(reason="connection refused", may_be_stored=False)

    async def ask(self, question: Any, *given: Any) -> dict[str, str]:
        return {}

    def missing(self) -> dict[str, str]:
        return {}

    def try_catalogue(self) -> None:
        return None

    def usual_wait(self, queue: str) -> None:
        return None

    def needs(self) -> Needs:
        own: Any = self
        return Needs(
            readers=own,
            inspection=own,
            counters=own,
            current_catalogue=own,
            refused=dict,
            queues=lambda: {"default": None},
            directories=dict,
            host="web1",
            watches=tuple,
            now=lambda: NOW,
            counted=Counted,
        )


def test_a_database_that_cannot_be_read_is_what_needs_somebody() -> None:
    (need,) = asyncio.run(Away("no answer for 30 s").needs().look())
    assert (need.kind, need.sentence) == (Kind.STORAGE, "no answer for 30 s")
    with pytest.raises(StorageUnavailableError):
        asyncio.run(Away(None).needs().look())


def test_where_nobody_is_told_a_test_tells_nobody() -> None:
    async def scene(told: Told) -> None:
        assert await told.alerts.test(None) == ()

    told = run(scene, Settings(targets=ON.targets))
    assert (told.recorded, told.cries) == ([], [])
