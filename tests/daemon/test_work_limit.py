"""A class whose working directories together hold more than its `work_limit` gets no start, and others do."""

from __future__ import annotations

import asyncio
import errno
import itertools
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bgjob.words import EntryType
from bgjobd.supervisor import work_dirs as works
from bgjobd.supervisor import work_limits
from bgjobd.supervisor.work_dirs import Holding, WorkDirs
from bgjobd.supervisor.work_limits import WorkLimits
from tests.daemon.running import daemon
from tests.support import eventually

# What is measured


def measured(directory: Path, most: int = 1 << 30) -> Holding:
    """What is in two directories of attempts, `1.1` and one that is not there."""
    work = WorkDirs(directory, None, lambda told: None)
    try:
        return work.measure(["1.1", "2.1"], most)
    finally:
        work.close()


def test_all_files_count_each_once_and_no_link_is_followed(tmp_path: Path) -> None:
    own = tmp_path / "1.1" / "deep" / "deeper"
    own.mkdir(parents=True)
    assert measured(tmp_path).size < 50_000
    (own / "file").write_bytes(bytes(100_000))
    os.link(own / "file", own / "again")
    (tmp_path / "outside").write_bytes(bytes(500_000))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "large").write_bytes(bytes(500_000))
    (own / "link").symlink_to(tmp_path / "outside")
    (own / "way").symlink_to(tmp_path / "elsewhere")
    with (own / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    before = os.listdir("/proc/self/fd")
    assert 100_000 <= measured(tmp_path).size < 200_000
    assert os.listdir("/proc/self/fd") == before


def test_no_more_is_looked_at_once_it_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "1.1").mkdir()
    for name in range(10):
        (tmp_path / "1.1" / str(name)).write_bytes(bytes(100_000))
    found = measured(tmp_path, most=150_000)
    assert found.is_cut
    assert found.is_beyond(150_000)
    assert found.size < 500_000


@pytest.mark.parametrize(("depth", "is_too_much"), [(64, False), (65, True)])
def test_what_is_too_deep_to_be_counted_is_too_much(tmp_path: Path, depth: int, is_too_much: bool) -> None:
    deepest = tmp_path.joinpath("1.1", *["d"] * depth)
    deepest.mkdir(parents=True)
    (deepest / "file").touch()
    assert measured(tmp_path).is_beyond(1 << 30) == is_too_much


def test_what_is_too_many_to_be_counted_is_too_much_and_not_counted_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "_MOST_ENTRIES", 5)
    (tmp_path / "1.1").mkdir()
    for number in range(5):
        (tmp_path / "1.1" / str(number)).write_bytes(bytes(50_000))
    assert not measured(tmp_path).is_beyond(1 << 30)
    for number in range(5, 20):
        (tmp_path / "1.1" / str(number)).write_bytes(bytes(50_000))
    found = measured(tmp_path)
    assert found.is_beyond(1 << 30)
    assert found.size < 500_000


def test_what_is_closed_to_the_daemon_holds_nothing_and_keeps_nothing_from_being_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_none_that_is_closed(name: str, parent: int | None = None) -> int:
        if name == "closed":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return really_open(name, parent)

    really_open = works._open
    monkeypatch.setattr(works, "_open", open_none_that_is_closed)
    (tmp_path / "1.1").mkdir()
    for number in range(5):
        (tmp_path / "1.1" / str(number)).write_bytes(bytes(50_000))
    (tmp_path / "1.1" / "closed").mkdir()
    assert measured(tmp_path).size > 250_000


# Who is held


@dataclass
class Scales:
    """What there is to measure in the one directory of the class Big, how long that takes, and what came of it.

    Time is the test's own: nobody has to wait.
    """

    size: int
    limit: int | None = 100
    runs: list[str] = field(default_factory=lambda: ["1.1"])
    takes: float = 0.0
    now: float = 1000.0
    looks: list[float] = field(default_factory=list)
    said: list[tuple[EntryType, str]] = field(default_factory=list)
    changes: int = 0

    def __post_init__(self) -> None:
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        self.begun, self.go = threading.Event(), threading.Event()
        self.go.set()
        self.limits = WorkLimits(
            lambda name: self.runs,
            lambda name: None if name == "Free" else self.limit,
            self._measure,
            lambda *told: self.said.append(told),
            self._change,
        )

    def _measure(self, names: Sequence[str], most: int) -> Holding:
        self.looks.append(self.now)
        self.begun.set()
        self.go.wait(10)
        self.now += self.takes
        return Holding(self.size)

    def _change(self) -> None:
        self.changes += 1

    @property
    def is_held(self) -> bool:
        return "Big" in self.limits.held()

    async def settle(self) -> None:
        """Wait until what measures has done what it was asked, by a timer that is due too."""
        await asyncio.sleep(0)  # what is due runs in this turn of the loop, but after who waits for it here
        await asyncio.to_thread(self.limits._measuring.submit(lambda: None).result)
        for _ in range(2):  # turns of the loop in which its end is heard of
            await asyncio.sleep(0)

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, second by second."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(self.now + 1.0, end)
            await asyncio.sleep(0)
            await self.settle()


def test_a_class_that_holds_too_much_is_held_and_looked_at_less_and_less_often_until_it_holds_less() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        scales.limits.look("Big")
        await scales.settle()
        assert "hold 101 B, and its work_limit is 100 B" in scales.limits.held()["Big"]
        scales.size = 102
        await scales.pass_time(200.0)
        assert [after - before for before, after in itertools.pairwise(scales.looks)] == [
            1,
            2,
            4,
            8,
            16,
            32,
            60,
            60,
        ]
        assert "102 B" in scales.limits.held()["Big"]
        scales.size = 100
        await scales.pass_time(60.0)
        assert scales.limits.held() == {}
        assert [type for type, _ in scales.said] == [EntryType.FAILURE, EntryType.INFO]
        assert all("Big" in told for _, told in scales.said)
        assert scales.changes == 2
        scales.size = 101
        scales.limits.look("Big")
        await scales.settle()
        count = len(scales.looks)
        await scales.pass_time(1.0)
        assert len(scales.looks) == count + 1
        scales.limits.close()

    asyncio.run(live())


def test_a_class_is_measured_once_a_second_and_less_often_where_that_takes_long() -> None:
    async def live() -> None:
        scales = Scales(size=1)
        for _ in range(3):
            scales.limits.look("Big")
            await scales.settle()
        assert scales.looks == [1000.0]
        scales.takes = 0.5
        await scales.pass_time(1.0)
        assert scales.looks == [1000.0, 1001.0]
        scales.limits.look("Big")
        await scales.pass_time(10.0)
        assert scales.looks == [1000.0, 1001.0, 1001.5 + 5.0]
        scales.limits.close()

    asyncio.run(live())


def test_a_look_that_comes_sooner_takes_the_place_of_the_one_that_was_to_come() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        scales.limits.look("Big")
        await scales.settle()
        await scales.pass_time(2.0)
        scales.limits.look("Big")
        await scales.settle()
        await scales.pass_time(3.0)
        assert scales.looks == [1000.0, 1001.0, 1002.0]
        scales.limits.close()

    asyncio.run(live())


def test_starts_wait_while_it_is_measured_whether_their_class_is_held() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        known: list[str] = []
        scales.go.clear()
        scales.limits.before_start("Big", lambda: known.append("first"))
        scales.limits.look("Big")  # which is under way
        scales.limits.before_start("Big", lambda: known.append("second"))
        assert known == []
        scales.go.set()
        await scales.settle()
        assert (known, scales.is_held, len(scales.looks)) == (["first", "second"], True, 1)
        scales.limits.before_start("Big", lambda: known.append("third"))  # what is known counts for a second
        assert known == ["first", "second", "third"]
        scales.size = 1
        await scales.pass_time(1.0)
        assert (known, scales.is_held, len(scales.looks)) == (["first", "second", "third"], False, 2)
        scales.limits.before_start("Big", lambda: None)
        scales.size = 101
        await scales.pass_time(1.0)  # it may have grown since
        assert scales.is_held
        scales.limits.close()

    asyncio.run(live())


@pytest.mark.parametrize(("name", "runs"), [("Free", ["1.1"]), ("Big", [])], ids=["no limit", "nothing runs"])
def test_nothing_is_measured_where_nothing_can_be_held(name: str, runs: list[str]) -> None:
    async def live() -> None:
        scales = Scales(size=101, runs=runs)
        known = asyncio.Event()
        scales.limits.before_start(name, known.set)
        scales.limits.look(name)
        assert known.is_set()
        await scales.settle()
        assert (scales.looks, scales.limits.held(), scales.limits._classes) == ([], {}, {})
        scales.limits.close()

    asyncio.run(live())


def test_a_class_is_let_go_when_its_last_attempt_ends_though_that_is_while_it_is_measured() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        scales.go.clear()
        scales.limits.look("Big")
        await asyncio.to_thread(scales.begun.wait, 10)
        scales.runs.clear()
        scales.go.set()
        await scales.settle()
        assert scales.is_held
        await scales.pass_time(1.0)
        assert (scales.limits.held(), scales.changes) == ({}, 2)
        assert scales.limits._classes == {}
        scales.limits.close()

    asyncio.run(live())


def test_an_end_while_a_class_is_measured_that_was_held_for_long_is_looked_at_in_a_second() -> None:
    async def live() -> None:
        scales = Scales(size=101, runs=["1.1", "2.1"])
        scales.limits.look("Big")
        await scales.settle()
        await scales.pass_time(40.0)  # the next look is far by now
        scales.begun.clear()
        scales.go.clear()
        scales.limits.look("Big")  # one attempt has ended
        await asyncio.to_thread(scales.begun.wait, 10)
        scales.runs.clear()
        scales.limits.look("Big")  # and the other one
        scales.go.set()
        await scales.settle()
        assert scales.is_held
        await scales.pass_time(1.0)
        assert not scales.is_held
        scales.limits.close()

    asyncio.run(live())


@pytest.mark.parametrize("limit", [None, 1000])
def test_a_class_is_let_go_when_its_limit_is_raised_or_gone(limit: int | None) -> None:
    async def live() -> None:
        scales = Scales(size=101)
        scales.limits.look("Big")
        await scales.settle()
        await scales.pass_time(20.0)
        scales.limit = limit
        scales.limits.look_at_all()
        await scales.settle()
        assert (scales.limits.held(), scales.changes) == ({}, 2)
        scales.limits.close()

    asyncio.run(live())


def test_after_the_end_nothing_is_measured_and_what_was_comes_to_nothing() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        scales.go.clear()
        scales.limits.look("Big")
        await asyncio.to_thread(scales.begun.wait, 10)
        scales.limits.close()
        scales.go.set()
        await asyncio.to_thread(scales.limits._measuring.shutdown)
        scales.limits.look_at_all()
        scales.limits.look("Other")
        assert (scales.limits.held(), scales.said) == ({}, [])

    asyncio.run(live())


def test_of_a_class_that_has_more_files_than_are_counted_that_is_told() -> None:
    told = work_limits._told("Big", 2**30, Holding(5, is_endless=True))
    assert told.startswith(
        "the working directories of its attempts that run have more files, or deeper, than are counted"
    )
    assert "hold 2 GiB and more" in work_limits._told("Big", 2**30, Holding(2**31, is_cut=True))


HOARDING = """
import os, time


class Hoarder:
    def hoard(self, path, size):
        with open("hoard", "wb") as file:
            file.write(bytes(size))
        while not os.path.exists(path):
            time.sleep(0.01)
"""


def test_a_real_class_that_fills_its_directories_waits_and_others_do_not(tmp_path: Path) -> None:
    go = tmp_path / "go"
    settings = '"hoarding.Hoarder" = { work_limit = "1M" }\n'
    with (
        daemon(tmp_path, settings, modules={"hoarding": HOARDING}) as running,
        running.client() as client,
    ):
        hoards = ("hoarding.Hoarder", "hoard")
        first = client.run_background_job(*hoards, {"path": str(go), "size": 2_000_000})
        hoard = tmp_path / "run" / "work" / "1.1" / "hoard"
        eventually(lambda: hoard.exists() and hoard.stat().st_size >= 2_000_000)
        eventually(lambda: client.get(first.id).snapshot["attempts"][0]["pid"])
        second = client.run_background_job(*hoards, {"path": str(go), "size": 1})
        held = eventually(lambda: client.stats()["held"])
        assert "its work_limit is 1 MiB" in held["hoarding.Hoarder"]
        eventually(lambda: "no job of its class starts" in client.why(second.id))
        assert client.run_background_job("probes.Probe", "echo", {"value": 1}).result(20) == 1
        go.touch()
        assert second.wait(20)["status"] == "completed"
        assert first.wait(20)["status"] == "completed"
        assert second.refresh()["retry_count"] == 0
        assert client.stats()["held"] == {}

        def told() -> list[str]:
            return [line for line in running.lines() if "hoarding.Hoarder" in line and "work_limit" in line]

        eventually(lambda: told() and "below its work_limit again" in told()[-1])
        assert "no job of hoarding.Hoarder starts" in told()[0]
