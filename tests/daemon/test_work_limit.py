"""A class whose working directories together hold more than its `work_limit` gets no start, and others do."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bgjob.words import EntryType
from bgjobd import work as works
from bgjobd import work_limits
from bgjobd.work import Holding, Work
from bgjobd.work_limits import WorkLimits
from tests.daemon.running import daemon
from tests.support import eventually

# What is measured


def measured(directory: Path, most: int = 1 << 30) -> Holding:
    """What is in two directories of attempts, `1.1` and one that is not there."""
    work = Work(directory, None, lambda told: None)
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
    assert 100_000 <= measured(tmp_path).size < 200_000


def test_no_more_is_looked_at_once_it_is_too_much(tmp_path: Path) -> None:
    (tmp_path / "1.1").mkdir()
    for name in range(10):
        (tmp_path / "1.1" / str(name)).write_bytes(bytes(100_000))
    found = measured(tmp_path, most=150_000)
    assert found.is_cut
    assert found.is_beyond(150_000)
    assert found.size < 500_000


@pytest.mark.parametrize("which", ["deep", "many"])
def test_what_is_too_deep_or_too_many_to_be_counted_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    monkeypatch.setattr(works, "_MOST_ENTRIES", 80)
    place = tmp_path / "1.1"
    place.mkdir()
    for name in range(70):
        place = place / "d" if which == "deep" else place
        (place / str(name)).mkdir(parents=True)
    assert measured(tmp_path).is_beyond(1 << 30) == (which == "deep")
    (tmp_path / "1.1" / "e" / "f").mkdir(parents=True)
    for name in range(70, 90):
        (tmp_path / "1.1" / str(name)).touch()
    assert measured(tmp_path).is_beyond(1 << 30)


# Who is held


@dataclass
class Scales:
    """What there is to measure in the one directory of the class Big, and what came of it."""

    size: int
    runs: list[str] = field(default_factory=lambda: ["1.1"])
    measured: int = 0
    said: list[tuple[EntryType, str]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def limits(self) -> WorkLimits:
        def measure(names: Sequence[str], most: int) -> Holding:
            self.measured += 1
            return Holding(self.size)

        return WorkLimits(
            lambda name: self.runs if name == "Big" else [],
            lambda name: None if name == "Free" else 100,
            measure,
            lambda *told: self.said.append(told),
            self.changed.set,
        )


def test_a_class_that_holds_too_much_is_held_until_it_holds_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_limits, "_PAUSE", 0.01)

    async def live() -> None:
        scales = Scales(size=101)
        limits = scales.limits()
        limits.look("Big")
        await scales.changed.wait()
        assert "hold 101 B, and its work_limit is 100 B" in limits.held()["Big"]
        scales.changed.clear()
        scales.size = 100  # nothing ends or starts: it is looked at again for as long as it is held
        await scales.changed.wait()
        assert limits.held() == {}
        limits.close()
        assert [type for type, _ in scales.said] == [EntryType.FAILURE, EntryType.INFO]
        assert all("Big" in told for _, told in scales.said)

    asyncio.run(live())


def test_a_start_waits_until_it_is_known_whether_its_class_is_held() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        limits = scales.limits()
        known = asyncio.Event()
        limits.before_start("Big", known.set)
        assert not known.is_set()
        await known.wait()
        assert set(limits.held()) == {"Big"}
        again = asyncio.Event()
        limits.before_start("Big", again.set)  # it is known
        assert again.is_set()
        assert scales.measured == 1
        limits.close()

    asyncio.run(live())


@pytest.mark.parametrize(("name", "runs"), [("Free", ["1.1"]), ("Big", [])], ids=["no limit", "nothing runs"])
def test_nothing_is_measured_where_nothing_can_be_held(name: str, runs: list[str]) -> None:
    async def live() -> None:
        scales = Scales(size=101, runs=runs)
        limits = scales.limits()
        known = asyncio.Event()
        limits.before_start(name, known.set)
        limits.look(name)
        assert known.is_set()
        assert (scales.measured, limits.held()) == (0, {})
        limits.close()

    asyncio.run(live())


def test_a_class_is_let_go_when_its_last_attempt_ends() -> None:
    async def live() -> None:
        scales = Scales(size=101)
        limits = scales.limits()
        limits.look("Big")
        await scales.changed.wait()
        scales.runs.clear()
        scales.changed.clear()
        limits.look("Big")
        await scales.changed.wait()
        assert limits.held() == {}
        limits.close()

    asyncio.run(live())


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
    told = [line for line in running.lines() if "hoarding.Hoarder" in line and "work_limit" in line]
    assert "no job of hoarding.Hoarder starts" in told[0]
    assert "below its work_limit again" in told[-1]
