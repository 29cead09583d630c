"""Whether attempts can write how they end: looked at in trouble alone, said when it begins and when it is over."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bgjob.words import EntryType
from bgjobd.forkserver.journal_file import RESERVE
from bgjobd.supervisor import recording as module
from bgjobd.supervisor.recording import Directory, Recording, fault_of
from bgjobd.supervisor.supervisor import Supervisor
from tests.faults.injecting import full_disk, needs_root, small_disk


@contextmanager
def opened(path: Path) -> Iterator[Directory]:
    path.mkdir(exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield Directory(path, descriptor)
    finally:
        os.close(descriptor)


def test_a_directory_that_takes_a_file_is_well_and_has_none_of_it_afterwards(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        assert fault_of([spool]) is None
        assert list(spool.path.iterdir()) == []


@pytest.mark.parametrize(
    ("comes_back", "told"),
    [
        (
            False,
            "No such file or directory; it was removed: restart the daemon, which makes it again, once what runs has "
            "ended; or put back, or mount, what it is in",
        ),
        (
            True,
            "it was removed, and another is in its place; restart the daemon, which takes it up, "
            "once what runs has ended",
        ),
    ],
)
def test_a_directory_that_was_removed_is_told_though_another_is_in_its_place(
    tmp_path: Path, comes_back: bool, told: str
) -> None:
    with opened(tmp_path / "well") as well, opened(tmp_path / "spool") as spool:
        spool.path.rmdir()
        if comes_back:
            (tmp_path / "other").mkdir()  # so that the inode is not given again
            spool.path.mkdir()
        assert (well.is_in_place(), spool.is_in_place()) == (True, False)
        assert fault_of([well, spool]) == f"{spool.path}: {told}"


def test_a_directory_that_is_made_again_is_as_it_was_and_this_daemons(tmp_path: Path) -> None:
    with opened(tmp_path / "spool") as spool:
        spool.path.chmod(0o711)  # attempts of other users look for files in it
        spool.path.rmdir()
        before = os.listdir("/proc/self/fd")
        spool.renew()
        assert os.listdir("/proc/self/fd") == before
        assert spool.is_in_place()
        assert spool.path.stat().st_mode & 0o777 == 0o711
        assert not os.get_inheritable(spool.descriptor)
        with opened(spool.path) as others, pytest.raises(BlockingIOError):
            fcntl.flock(others.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@needs_root
@pytest.mark.parametrize("size", ["64k", "64k,nr_inodes=1"], ids=["bytes", "inodes"])
def test_a_full_directory_is_told_with_what_to_do(tmp_path: Path, size: str) -> None:
    with small_disk(tmp_path / "spool", size), opened(tmp_path / "spool") as spool:
        if "inodes" in size:
            told = fault_of([spool])
        else:
            assert fault_of([spool]) is None
            (spool.path / "little").write_bytes(bytes(RESERVE // 2))
            with full_disk(spool.path):
                (spool.path / "little").unlink()  # there is some room, and not enough
                told = fault_of([spool])
            assert fault_of([spool]) is None
    path = spool.path
    assert (
        told
        == f"{path}: No space left on device; make room there: `df -h {path}` and `df -i {path}` show what is short"
    )


class Looks:
    """What is found at each look, and what comes of it; nobody has to wait for the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *found: str | None) -> None:
        self.count = 0
        self.pauses: list[float] = []
        self.said: list[tuple[EntryType, str]] = []
        self.is_over = asyncio.Event()
        self._found = iter(found)
        self._loop = asyncio.get_running_loop()
        self._call_later = self._loop.call_later
        self.recording = Recording([], lambda *told: self.said.append(told), lambda: None, lambda _: False)
        monkeypatch.setattr(module, "fault_of", self._look)
        monkeypatch.setattr(self._loop, "call_later", self._call_soon)

    def _look(self, places: object) -> str | None:
        self.count += 1
        found = next(self._found, None)
        if found is None:
            self._loop.call_soon_threadsafe(self.is_over.set)
        return found

    def _call_soon(self, delay: float, *call: Any) -> asyncio.TimerHandle:
        self.pauses.append(delay)
        return self._call_later(0.0, *call)

    async def settle(self) -> None:
        """Wait until what looks has done what it was asked."""
        await asyncio.to_thread(self.recording._looking.submit(lambda: None).result)
        for _ in range(2):  # turns of the loop in which its end is heard of
            await asyncio.sleep(0)


def test_in_trouble_it_is_looked_at_after_longer_and_longer_pauses_whatever_anybody_suspects(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def live() -> None:
        looks = Looks(monkeypatch, *["full", "gone", "full", "full", "full", "full", "full", None, "full"])
        for _ in range(2):
            looks.recording.suspect()
            await looks.is_over.wait()
            await looks.settle()
            looks.is_over.clear()
        assert looks.pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 0.25]
        assert [type for type, _ in looks.said] == [EntryType.FAILURE, EntryType.INFO] * 2
        assert re.fullmatch(r"ends of attempts can be recorded again, after [01]\.\d s", looks.said[1][1])
        looks.recording.close()

    asyncio.run(live())


def test_what_is_suspected_in_trouble_or_while_it_is_looked_at_makes_no_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def live() -> None:
        looks = Looks(monkeypatch, "full", "full")
        monkeypatch.setattr(
            looks, "_call_later", lambda delay, *call: asyncio.get_running_loop().call_at(1e9, *call)
        )
        looks.recording.suspect()
        looks.recording.suspect()
        await looks.settle()
        assert looks.recording.reason == "full"
        looks.recording.suspect()
        await looks.settle()
        assert looks.count == 1
        looks.recording.close()

    asyncio.run(live())


def test_a_look_that_is_under_way_at_the_end_comes_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def live() -> None:
        begun, go = threading.Event(), threading.Event()

        def look(places: object) -> str:
            begun.set()
            go.wait(10)
            return "full"

        looks = Looks(monkeypatch)
        monkeypatch.setattr(module, "fault_of", look)
        looks.recording.suspect()
        await asyncio.to_thread(begun.wait, 10)
        looks.recording.close()
        go.set()
        await asyncio.to_thread(looks.recording._looking.shutdown)
        assert (looks.recording.reason, looks.said) == (None, [])
        looks.recording.suspect()  # nor does anybody look again

    asyncio.run(live())


def test_what_was_removed_is_made_again_and_what_is_wrong_besides_is_told(tmp_path: Path) -> None:
    async def live() -> None:
        renewed = []
        has_changed = asyncio.Event()

        def renew(place: Directory) -> bool:
            renewed.append(place)
            place.renew()
            return True

        (tmp_path / "disk").mkdir()
        with opened(tmp_path / "spool") as spool, opened(tmp_path / "disk" / "work") as work:
            recording = Recording([spool, work], lambda *_: None, has_changed.set, renew)
            spool.path.rmdir()
            (tmp_path / "disk").rename(tmp_path / "unmounted")
            (tmp_path / "disk").mkdir()
            recording.suspect()
            await has_changed.wait()
            assert renewed == [spool]
            assert spool.is_in_place()
            assert str(recording.reason).startswith(f"{work.path}: ")
            recording.close()

    asyncio.run(live())


@needs_root
def test_what_this_user_may_not_look_at_any_more_is_told(tmp_path: Path) -> None:
    async def live() -> None:
        has_changed = asyncio.Event()
        with opened(tmp_path / "spool") as spool:
            recording = Recording([spool], lambda *_: None, has_changed.set, lambda _: False)
            os.setresuid(65534, 65534, 0)  # tmp_path is for root alone
            try:
                recording.suspect()
                await asyncio.wait_for(has_changed.wait(), 20)
            finally:
                os.setresuid(0, 0, 0)
            assert "Permission denied" in str(recording.reason)
            recording.close()

    asyncio.run(live())


def test_trouble_is_said_once_when_it_begins_and_once_when_it_is_over(tmp_path: Path) -> None:
    async def live() -> None:
        said: list[tuple[EntryType, str]] = []
        has_changed = asyncio.Event()
        with opened(tmp_path / "spool") as spool:
            recording = Recording([spool], lambda *told: said.append(told), has_changed.set, lambda _: False)
            spool.path.rename(tmp_path / "away")
            for _ in range(3):
                recording.suspect()
            await has_changed.wait()
            assert recording.reason is not None
            assert recording.trouble == f"ends of attempts cannot be recorded: {recording.reason}"
            has_changed.clear()
            (tmp_path / "away").rename(spool.path)
            await has_changed.wait()
            assert (recording.reason, recording.trouble) == (None, None)
            recording.close()
        assert [type for type, _ in said] == [EntryType.FAILURE, EntryType.INFO]
        assert "nothing starts" in said[0][1]
        assert said[1][1].startswith("ends of attempts can be recorded again, after ")

    asyncio.run(live())


@pytest.mark.parametrize(
    ("waiting", "told"),
    [
        ([7], "the result of job 7 waits for room in the spool"),
        ([7, 9], "results of 2 jobs wait for room in the spool, such as that of job 7"),
        ([], None),
    ],
)
def test_results_that_wait_for_room_are_trouble(waiting: list[int], told: str | None) -> None:
    one = SimpleNamespace(
        attempts=SimpleNamespace(waiting=lambda: waiting), recording=SimpleNamespace(trouble=None)
    )
    assert Supervisor.trouble.fget(one) == told  # type: ignore[attr-defined]  # a property's own function
