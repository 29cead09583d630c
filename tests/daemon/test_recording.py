"""Whether attempts can write how they end: looked at in trouble alone, said when it begins and when it is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bgjob.words import EntryType
from bgjobd.recording import Directory, Recording, fault_of
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


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_directory_that_was_removed_is_told_though_another_is_in_its_place(
    tmp_path: Path, comes_back: bool
) -> None:
    with opened(tmp_path / "well") as well, opened(tmp_path / "spool") as spool:
        spool.path.rmdir()
        if comes_back:
            (tmp_path / "other").mkdir()  # so that the inode is not given again
            spool.path.mkdir()
        told = fault_of([well, spool])
    assert told is not None
    assert told.startswith(f"{spool.path}: ")
    assert "removed" in told
    assert "restart the daemon" in told


@needs_root
@pytest.mark.parametrize("size", ["64k", "64k,nr_inodes=1"], ids=["bytes", "inodes"])
def test_a_full_directory_is_told_with_what_to_do(tmp_path: Path, size: str) -> None:
    with small_disk(tmp_path / "spool", size), opened(tmp_path / "spool") as spool:
        if "inodes" in size:
            told = fault_of([spool])
        else:
            assert fault_of([spool]) is None
            with full_disk(spool.path):
                told = fault_of([spool])
            assert fault_of([spool]) is None
    path = spool.path
    assert (
        told
        == f"{path}: No space left on device; make room there: `df -h {path}` and `df -i {path}` show what is short"
    )


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
