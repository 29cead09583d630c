"""Outputs without end: what is kept of a file that grows, how it is read, and what a job may put in its place."""

from __future__ import annotations

import asyncio
import base64
import errno
import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bgjob import Client
from bgjob.words import EntryType
from bgjobd.forkserver import libc
from bgjobd.supervisor import outputs, sparse_files
from bgjobd.supervisor.outputs import Outputs, Part
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

BLOCK = 4096
KEY = (1, 1)


def kept_of(path: Path) -> int:
    """The bytes that the file takes of the disk."""
    return path.stat().st_blocks * 512


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory on the file system of the tests, and one on tmpfs."""
    if request.param == "disk":
        yield tmp_path
        return
    directory = Path(tempfile.mkdtemp(dir="/dev/shm"))
    yield directory
    shutil.rmtree(directory)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def content(size: int) -> bytes:
    """Bytes that tell their place, and no zero among them."""
    return _all_content(-(-size >> 23))[:size]


@functools.cache
def _all_content(parts: int) -> bytes:
    """Of so many times 8 MiB."""
    return b"".join(b"%07d\n" % number for number in range(parts << 20))


def read_all(descriptor: int, limit: int = 1 << 20) -> list[tuple[int, bytes]]:
    """Each piece of data with its place, until there is no more."""
    pieces, offset = [], 0
    while True:
        start, data = sparse_files.read(descriptor, offset, limit)
        if not data:
            return [*pieces, (start, b"")]
        pieces.append((start, data))
        offset = start + len(data)


# A file is bounded


@pytest.mark.parametrize("most", [0, 1, BLOCK, 100_000, 1 << 20])
@pytest.mark.parametrize("excess", [3 * BLOCK, 3 * BLOCK + 1, 1 << 20, (5 << 20) - 1])
def test_head_and_tail_are_kept_and_the_middle_takes_no_room(place: Path, most: int, excess: int) -> None:
    file, told = place / "1.1.out", content(most + most // 8 + excess)
    file.write_bytes(told)
    with opened(file) as descriptor:
        sparse_files.bound(descriptor, most)
        pieces = read_all(descriptor)
    for start, data in pieces:
        assert data == told[start : start + len(data)]
    kept = sum(len(data) for _, data in pieces)
    assert most - 1 <= kept <= most + 2 * BLOCK
    assert kept_of(file) <= kept + 2 * BLOCK
    assert file.stat().st_size == len(told)
    assert pieces[0][0] == 0 or most < 2
    assert pieces[-1] == (len(told), b"")


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (1 << 20) + (1 << 17) - 1])
def test_what_is_hardly_too_large_is_left_whole(place: Path, size: int) -> None:
    file, told = place / "1.1.out", content(size)
    file.write_bytes(told)
    with opened(file) as descriptor:
        sparse_files.bound(descriptor, 1 << 20)
        assert b"".join(data for _, data in read_all(descriptor)) == told


def test_a_file_that_grows_and_grows_is_bounded_at_every_look(place: Path) -> None:
    file, most = place / "1.1.out", 1 << 18
    told = content(5 << 20)
    with file.open("wb", buffering=0) as growing, opened(file) as descriptor:
        for start in range(0, len(told), 77_777):
            growing.write(told[start : start + 77_777])
            sparse_files.bound(descriptor, most)
            assert kept_of(file) <= most + most // 8 + 4 * BLOCK
        (head_at, head), (tail_at, tail), _ = [
            (start, b"".join(data for _, data in pieces)) for start, pieces in _runs(read_all(descriptor))
        ]
    assert (head_at, head) == (0, told[: most // 2])
    assert len(tail) >= most // 2
    assert (tail_at, tail) == (len(told) - len(tail), told[-len(tail) :])


def _runs(pieces: list[tuple[int, bytes]]) -> list[tuple[int, list[tuple[int, bytes]]]]:
    """Pieces that touch each other, together under the place of their first; the empty one at the end alone."""
    runs: list[tuple[int, list[tuple[int, bytes]]]] = []
    end = None
    for start, data in pieces:
        if start == end and data:
            runs[-1][1].append((start, data))
        else:
            runs.append((start, [(start, data)]))
        end = start + len(data)
    return runs


def test_whether_holes_can_be_punched_is_tried_without_a_trace(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sparse_files.can_punch(place)
    monkeypatch.setattr(sparse_files, "punch", _unsupported)
    assert not sparse_files.can_punch(place)
    monkeypatch.setattr(sparse_files, "punch", lambda *_: None)  # it says that it did
    assert not sparse_files.can_punch(place)
    assert list(place.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        sparse_files.can_punch(place / "nowhere")


def _unsupported(*_: object) -> None:
    raise OSError(errno.EOPNOTSUPP, "not supported")


# A file is read round its holes


def test_no_zeros_of_a_hole_are_ever_read_wherever_one_begins(place: Path) -> None:
    file, told = place / "1.1.out", content(8 * BLOCK + 5)
    file.write_bytes(told)
    data_at = [(0, 2 * BLOCK), (3 * BLOCK, 4 * BLOCK), (6 * BLOCK, len(told))]
    edges = [edge + by for edge in range(0, 10 * BLOCK, BLOCK) for by in (-1, 0, 1)]
    with opened(file) as descriptor:
        for (_, start), (end, _) in pairwise(data_at):
            sparse_files.punch(descriptor, start, end)
        for offset in [max(0, edge) for edge in edges] + [len(told) - 1, len(told), len(told) + 1]:
            start, end = next(
                ((max(start, offset), end) for start, end in data_at if offset < end),
                (max(offset, len(told)), offset),
            )
            for limit in (1, BLOCK - 1, BLOCK, 1 << 20):
                assert sparse_files.read(descriptor, offset, limit) == (
                    start,
                    told[start : min(end, start + limit)],
                )


def test_a_sparse_file_of_the_jobs_own_is_read_round_its_holes_and_may_end_in_one(place: Path) -> None:
    file = place / "1.1.out"
    with file.open("wb") as sparse:
        sparse.write(b"first")
        sparse.seek(1 << 30)
        sparse.write(b"second")
        sparse.truncate(1 << 40)
    with opened(file) as descriptor:
        assert sparse_files.read(descriptor, BLOCK, 100) == (1 << 30, b"second" + bytes(94))
        assert sparse_files.read(descriptor, (1 << 30) + BLOCK, 100) == (1 << 40, b"")
        assert read_all(descriptor)[-1] == (1 << 40, b"")
        sparse_files.bound(descriptor, 1 << 20)
        assert read_all(descriptor) == [(0, b"first" + bytes(BLOCK - 5)), (1 << 40, b"")]


def test_a_hole_that_comes_while_the_file_is_read_is_seen(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, told = place / "1.1.out", content(4 * BLOCK)
    file.write_bytes(told)
    pread = os.pread

    def punched_meanwhile(descriptor: int, limit: int, offset: int) -> bytes:
        sparse_files.punch(descriptor, BLOCK, 3 * BLOCK)
        return pread(descriptor, limit, offset)

    monkeypatch.setattr(os, "pread", punched_meanwhile)
    with opened(file) as descriptor:
        assert sparse_files.read(descriptor, 0, 1 << 20) == (0, told[:BLOCK])
        file.write_bytes(told)
        assert sparse_files.read(descriptor, BLOCK + 7, 1 << 20) == (3 * BLOCK, told[3 * BLOCK :])


def test_what_is_appended_or_cut_off_while_the_file_is_read_is_no_hole(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = place / "1.1.out"
    file.write_bytes(b"12345")
    lseek = os.lseek

    def appended_meanwhile(descriptor: int, offset: int, how: int) -> int:
        try:
            return lseek(descriptor, offset, how)
        finally:
            with file.open("ab") as printed:
                printed.write(b"6789")

    def cut_off_meanwhile(descriptor: int, offset: int, how: int) -> int:
        found = lseek(descriptor, offset, how)
        os.truncate(file, 0)
        return found

    with opened(file) as descriptor:
        with monkeypatch.context() as patched:
            patched.setattr(os, "lseek", appended_meanwhile)
            start, data = sparse_files.read(descriptor, 5, 100)
        assert (start, data[:4]) in [(5, b""), (5, b"6789")]
        monkeypatch.setattr(os, "lseek", cut_off_meanwhile)
        assert sparse_files.read(descriptor, 2, 100) == (2, b"")


# The directory of outputs


class Desk:
    """A directory of outputs with one file, and what was said about it."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "1.1.out"
        self.said: list[tuple[EntryType, str]] = []
        self.outputs = Outputs(
            directory, lambda type, message: self.said.append((type, message)), asyncio.to_thread
        )

    def print(self, data: bytes) -> None:
        with self.file.open("ab") as printed:
            printed.write(data)

    async def finish(self, key: tuple[int, int] = KEY) -> None:
        finished = asyncio.Event()
        self.outputs.finish(key, finished.set)
        await finished.wait()


Play = Callable[[Callable[[Desk], Awaitable[None]]], None]


@pytest.fixture
def play(tmp_path: Path) -> Play:
    async def played(scene: Callable[[Desk], Awaitable[None]]) -> None:
        desk = Desk(tmp_path)
        try:
            async with asyncio.timeout(20):
                await scene(desk)
        finally:
            desk.outputs.close()

    return lambda scene: asyncio.run(played(scene))


async def soon(question: Callable[[], object]) -> None:
    """Wait for a truthy answer while the loop goes on."""
    await asyncio.to_thread(eventually, question)


def test_an_output_is_bounded_while_it_grows_and_when_it_ends(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 20)
        for _ in range(3):
            at.print(content(8 << 20))
            await soon(lambda: kept_of(at.file) < 2 << 20)
        at.print(content(8 << 20))
        await at.finish()
        assert kept_of(at.file) < 2 << 20
        head = await at.outputs.read(KEY, 0, 1 << 22)
        tail = await at.outputs.read(KEY, head.next, 1 << 22)
        assert head == Part(0, 0, content(1 << 19))
        assert (tail.left_out, tail.next) == (tail.offset - head.next, 32 << 20)
        assert tail.data == content(8 << 20)[-len(tail.data) :]
        assert (await at.outputs.read(KEY, tail.next, 1)).is_nothing
        assert at.outputs.measure(KEY) == 32 << 20
        assert at.said == []

    play(scene)


def test_an_output_of_before_is_bounded_when_it_is_taken_over(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.print(content(8 << 20))
        at.outputs.keep_bounded(KEY, 1 << 20)
        await soon(lambda: kept_of(at.file) < 2 << 20)

    play(scene)


def test_an_output_without_a_bound_stays_whole(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, None)
        at.outputs.keep_bounded((2, 1), 1 << 20)
        at.print(content(8 << 20))
        (at.file.parent / "2.1.out").write_bytes(content(8 << 20))
        await soon(lambda: kept_of(at.file.parent / "2.1.out") < 2 << 20)
        await at.finish()
        assert kept_of(at.file) >= 8 << 20

    play(scene)


def test_an_attempt_that_prints_without_end_wakes_the_daemon_once_a_pause(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    wakes = []
    on_change = Outputs._on_change
    monkeypatch.setattr(
        Outputs, "_on_change", lambda outputs: (wakes.append(outputs._loop.time()), on_change(outputs))
    )

    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 20)

        def printed_on() -> bool:
            at.print(b"line\n")
            return len(wakes) >= 4

        await soon(printed_on)
        gaps = [after - before for before, after in pairwise(wakes)]
        assert min(gaps) >= outputs._PAUSE * 0.9

    play(scene)


def test_followers_are_told_at_once_though_there_is_a_pause(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "_PAUSE", 3600.0)

    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 20)
        has_news = asyncio.Event()
        at.print(b"nobody follows")
        await soon(lambda: at.outputs._is_pausing)
        with at.outputs.follow(1, has_news):
            for _ in range(3):
                has_news.clear()
                at.print(b"news")
                await has_news.wait()

    play(scene)


def test_so_many_changes_that_the_kernel_dropped_some_make_every_bounded_output_be_looked_at(
    play: Play,
) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())

    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 20)
        others = [(at.file.parent / name).open("wb", buffering=0) for name in ("8.1.out", "9.1.out")]
        for number in range(most + 10):  # the loop does not run meanwhile
            others[number % 2].write(b"x")
        at.print(content(8 << 20))
        for other in others:
            other.close()
        await soon(lambda: kept_of(at.file) < 2 << 20)

    play(scene)


def test_a_file_system_that_cannot_is_told_of_once(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sparse_files, "punch", _unsupported)

    async def scene(at: Desk) -> None:
        for number in (1, 2):
            at.outputs.keep_bounded((1, number), 1 << 20)
            at.print(content(8 << 20))
            await at.finish((1, number))
        told = (
            f"outputs are not bounded: the file system of {tmp_path} cannot give up the middle of a file; "
            "put [daemon] state_dir on ext4, xfs, btrfs or tmpfs"
        )
        assert at.said == [(EntryType.FAILURE, told)]

    play(scene)


def test_a_job_that_writes_into_its_hole_ends_the_bounding_of_no_other_output(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    punch = sparse_files.punch

    def punch_and_lose(descriptor: int, start: int, end: int) -> None:
        punch(descriptor, start, end)
        if os.fstat(descriptor).st_size > 8 << 20:
            os.pwrite(descriptor, b"x", start)  # the job was faster than the look at what came of it

    monkeypatch.setattr(sparse_files, "punch", punch_and_lose)

    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded((1, 1), 1 << 20)
        at.print(content((8 << 20) + 1))
        await at.finish((1, 1))
        at.outputs.keep_bounded((1, 2), 1 << 20)
        path = at.file.with_name("1.2.out")
        path.write_bytes(content(4 << 20))
        await at.finish((1, 2))
        assert kept_of(path) < 2 << 20
        assert at.said == []

    play(scene)


# What a job may reserve


@pytest.mark.parametrize("size", [5000, 8 << 20])
@pytest.mark.parametrize("is_behind", [True, False])
def test_what_is_reserved_and_not_written_is_given_up(place: Path, size: int, is_behind: bool) -> None:
    file, told = place / "1.1.out", content(size)
    file.write_bytes(told)
    with opened(file) as descriptor:
        if is_behind:
            libc.fallocate(descriptor, sparse_files._KEEP_SIZE, 0, 64 << 20)
        else:
            os.posix_fallocate(descriptor, 0, 64 << 20)
        whole = os.fstat(descriptor).st_size
        sparse_files.bound(descriptor, 1 << 20)
        assert kept_of(file) < 2 << 20
        assert os.fstat(descriptor).st_size == whole
        assert os.pread(descriptor, 5000, 0) == told[:5000]
        assert not is_behind or os.pread(descriptor, 5000, size - 5000) == told[-5000:]


def test_what_a_file_system_reserves_by_itself_for_a_file_that_grows_stays_until_its_end(place: Path) -> None:
    file = place / "1.1.out"
    file.write_bytes(content(8 << 20))
    with opened(file) as descriptor:
        libc.fallocate(descriptor, sparse_files._KEEP_SIZE, 0, 16 << 20)
        sparse_files.bound(descriptor, 1 << 20)
        assert kept_of(file) > 8 << 20
        sparse_files.bound(descriptor, 1 << 20, is_last=True)
        assert kept_of(file) < 2 << 20


def test_an_output_of_nothing_that_takes_much_of_the_disk_is_bounded(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded((1, 1), 1 << 20)
        at.print(b"x")
        with opened(at.file) as descriptor:
            libc.fallocate(descriptor, sparse_files._KEEP_SIZE, 0, 64 << 20)
        await soon(lambda: kept_of(at.file) < 1 << 20)
        with opened(at.file) as descriptor:
            libc.fallocate(descriptor, sparse_files._KEEP_SIZE, 0, 64 << 20)
        await at.finish()
        assert kept_of(at.file) < 1 << 20

    play(scene)


# What a job may put there instead


@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "directory", "nothing", "other owner"])
def test_what_is_no_file_of_the_attempts_is_left_alone(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(content(8 << 20))

    async def scene(at: Desk) -> None:
        match kind:
            case "symlink":
                at.file.symlink_to(precious)
            case "hard link":
                at.file.hardlink_to(precious)
            case "fifo":
                os.mkfifo(at.file)
            case "directory":
                at.file.mkdir()
            case "other owner":
                precious.rename(at.file)
                monkeypatch.setattr(os, "geteuid", lambda: at.file.stat().st_uid + 1)
        at.outputs.keep_bounded(KEY, 1 << 12)
        at.outputs._try_bound({KEY: 1 << 12})
        await at.finish()
        assert kept_of(at.file if kind == "other owner" else precious) >= 8 << 20
        if kind not in ("hard link", "other owner"):
            assert await at.outputs.read(KEY, 5, 100) == Part(0, 5, b"")
        assert at.said == []

    play(scene)


def test_a_file_that_is_emptied_while_it_grows_goes_on_from_its_begin(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 20)
        at.print(content(8 << 20))
        await soon(lambda: kept_of(at.file) < 2 << 20)
        os.truncate(at.file, 0)
        at.print(b"anew")
        assert await at.outputs.is_shorter(KEY, 8 << 20)
        assert await at.outputs.read(KEY, 8 << 20, 100) == Part(0, 8 << 20, b"")
        assert await at.outputs.read(KEY, 0, 100) == Part(0, 0, b"anew")
        at.print(content(8 << 20))
        await at.finish()
        assert kept_of(at.file) < 2 << 20

    play(scene)


def test_reading_while_it_is_bounded_gives_every_byte_or_leaves_it_out(play: Play) -> None:
    async def scene(at: Desk) -> None:
        at.outputs.keep_bounded(KEY, 1 << 16)
        told = content(4 << 20)

        def print_all() -> None:
            for start in range(0, len(told), 9999):
                at.print(told[start : start + 9999])

        async def read_all_of_it() -> int:
            offset = left_out = 0
            while offset < len(told):
                part = await at.outputs.read(KEY, offset, 5000)
                assert part.offset == offset + part.left_out
                assert part.data == told[part.offset : part.next]
                offset, left_out = part.next, left_out + part.left_out
            return left_out

        reading = asyncio.ensure_future(read_all_of_it())
        await asyncio.to_thread(print_all)
        await at.finish()
        await reading

    play(scene)


# At a real daemon

FLOODS = """
import os, time
from pathlib import Path

LINE = b"%07d" + b"." * 1016 + b"\\n"


class Flood:
    def run(self, lines, go=None):
        number = 0
        while number < lines or (go is not None and not Path(go).exists()):
            os.write(1, LINE % number)
            number += 1
            if number > lines and number % 64 == 0:
                time.sleep(0.001)


class Narrow(Flood):
    pass


class Whole(Flood):
    pass


class Hooked:
    def run(self):
        raise ValueError("no recipient")

    def failed(self, error):
        Flood().run(8192, Path(__file__).with_name("hook.go"))
        os.write(1, b"the hook is done\\n")


class Sparse:
    def run(self):
        os.write(1, b"head")
        os.ftruncate(1, 1 << 30)
"""
SETTINGS = """
"floods.Flood" = { max_output = "1M", max_retries = 0 }
"floods.Narrow" = { max_output = "8K", max_retries = 0 }
"floods.Whole" = { max_retries = 0 }
"floods.Sparse" = { max_retries = 0 }
"floods.Hooked" = { max_output = "1M", max_retries = 0 }
[limits]
max_output = false
"""
FLOOD = "floods.Flood"


def flooded(start: int, end: int) -> bytes:
    """What a flood prints, from one place to another."""
    first = start // 1024
    lines = b"".join(b"%07d" % number + b"." * 1016 + b"\n" for number in range(first, end // 1024 + 1))
    return lines[start - first * 1024 : end - first * 1024]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    with daemon(tmp_path_factory.mktemp("outputs"), SETTINGS, modules={"floods": FLOODS}) as running:
        yield running


@pytest.fixture
def client(running: RunningDaemon) -> Iterator[Client]:
    with running.client() as client:
        yield client


def output_file(running: RunningDaemon, job_id: int) -> Path:
    return running.directory / "state" / "output" / f"{job_id}.1.out"


def size_of(job: dict[str, Any]) -> int:
    size: int = job["attempts"][0]["output_bytes"]
    return size


def assert_cut(told: bytes, size: int, most: int) -> None:
    """It is the head and the tail of a flood of this size, and between them a line says what was left out."""
    found = re.fullmatch(rb"(.*)\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n(.*)", told, re.DOTALL)
    assert found is not None
    head, left_out, tail = found[1], int(found[2]), found[3]
    assert len(head) + left_out + len(tail) == size
    assert most <= len(head) + len(tail) <= most + most // 8 + 4 * BLOCK
    assert head == flooded(0, len(head))
    assert tail == flooded(size - len(tail), size)


def test_a_job_that_prints_much_leaves_its_head_and_its_tail(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job(FLOOD, "run", {"lines": 65_536})
    size = size_of(job.wait(30))
    assert size == 64 << 20
    assert kept_of(output_file(running, job.id)) < 2 << 20
    assert output_file(running, job.id).stat().st_size == size
    assert_cut(job.output(), size, 1 << 20)
    head, *_, tail = client.output_parts(job.id)
    assert (head.left_out, head.data[:7], tail.data[-1024:]) == (0, b"0000000", flooded(size - 1024, size))
    assert sum(part.left_out + len(part.data) for part in client.output_parts(job.id)) == size


def test_the_end_of_an_output_tells_what_was_left_out_within_it_and_no_more(
    running: RunningDaemon, client: Client
) -> None:
    job = client.run_background_job(FLOOD, "run", {"lines": 65_536})
    size = size_of(job.wait(30))
    assert job.output(tail=100_000) == flooded(size - 100_000, size)
    for part in client.output_parts(job.id, tail=100_000):
        assert (part.left_out, part.data[:1024]) == (0, flooded(part.offset, part.offset + 1024))
    first, *others = client.output_parts(job.id, tail=32 << 20)
    assert first.left_out > 16 << 20
    assert first.offset == size - (32 << 20) + first.left_out
    assert [part.left_out for part in others] == [0] * len(others)


def test_a_class_has_a_bound_of_its_own_and_none_where_there_is_no_limit(
    running: RunningDaemon, client: Client
) -> None:
    narrow, whole = (
        client.run_background_job(f"floods.{name}", "run", {"lines": 4000}) for name in ("Narrow", "Whole")
    )
    assert_cut((narrow.wait(30), narrow.output())[1], 4000 * 1024, 8 << 10)
    whole.wait(30)
    assert whole.output() == flooded(0, 4000 * 1024)


def test_a_follower_gets_everything_or_hears_that_it_was_left_out(
    running: RunningDaemon, client: Client, tmp_path: Path
) -> None:
    job = client.run_background_job(FLOOD, "run", {"lines": 16_384, "go": str(tmp_path / "go")})
    place = 0
    with job.output(follow=True) as parts:
        for part in parts:
            place += part.left_out
            assert part.data == flooded(place, place + len(part.data))
            place += len(part.data)
            if place > 20 << 20:
                (tmp_path / "go").touch()
    assert place == size_of(job.wait(30)) > 20 << 20


def test_the_daemon_is_killed_while_an_attempt_prints_and_the_next_one_bounds_what_it_printed(
    tmp_path: Path,
) -> None:
    go = tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"floods": FLOODS}) as running:
        with running.client() as client:
            job_id = client.run_background_job(FLOOD, "run", {"lines": 16_384, "go": str(go)}).id
        file = output_file(running, job_id)
        eventually(lambda: file.exists() and file.stat().st_size > 16 << 20)
        running.stop(signal.SIGKILL)
        eventually(lambda: kept_of(file) > 8 << 20)  # nobody bounds it now
        running.start()
        eventually(lambda: kept_of(file) < 2 << 20)
        go.touch()
        with running.client() as client:
            client.wait(job_id, 30)
            assert kept_of(file) < 2 << 20
            assert_cut(client.output(job_id), file.stat().st_size, 1 << 20)


def test_what_an_attempt_printed_that_ended_while_no_daemon_was_there_is_bounded(tmp_path: Path) -> None:
    go = tmp_path / "go"
    with daemon(tmp_path, SETTINGS, modules={"floods": FLOODS}) as running:
        with running.client() as client:
            job_id = client.run_background_job(FLOOD, "run", {"lines": 10, "go": str(go)}).id
        file = output_file(running, job_id)
        eventually(file.exists)
        running.stop(signal.SIGKILL)
        eventually(lambda: file.stat().st_size > 8 << 20)
        go.touch()
        ended = running.spool / f"{job_id}.1.journal"
        eventually(lambda: '"exit"' in ended.read_text())
        running.start()
        with running.client() as client:
            client.wait(job_id, 30)
            assert kept_of(file) < 2 << 20
            assert_cut(client.output(job_id), file.stat().st_size, 1 << 20)


def test_what_a_failed_hook_prints_is_bounded_with_what_its_attempt_printed(
    running: RunningDaemon, client: Client
) -> None:
    (running.directory / "hook.go").touch()
    job = client.run_background_job("floods.Hooked", "run")
    job.wait(30)
    eventually(lambda: job.output().endswith(b"the hook is done\n"))
    eventually(lambda: kept_of(output_file(running, job.id)) < 2 << 20)
    head, tail = job.output().split(b"bytes left out ...]", 1)
    assert head.startswith(b"0000000")
    assert tail.endswith(b"the hook is done\n")


def test_a_hook_that_prints_on_after_the_daemon_was_killed_is_bounded_by_the_next_one(tmp_path: Path) -> None:
    with daemon(tmp_path, SETTINGS, modules={"floods": FLOODS}) as running:
        with running.client() as client:
            job_id = client.run_background_job("floods.Hooked", "run").id
            client.wait(job_id, 30)
        file = output_file(running, job_id)
        eventually(lambda: file.exists() and file.stat().st_size > 16 << 20)
        running.stop(signal.SIGKILL)
        eventually(lambda: kept_of(file) > 8 << 20)
        running.start()
        eventually(lambda: kept_of(file) < 2 << 20)
        (tmp_path / "hook.go").touch()
        with running.client() as client:
            eventually(lambda: client.output(job_id).endswith(b"the hook is done\n"))


def test_a_hole_at_the_end_is_told_of_and_is_the_end(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job("floods.Sparse", "run")
    assert size_of(job.wait(30)) == 1 << 30
    parts = client.output_parts(job.id)
    assert parts[0].data.rstrip(b"\0") == b"head"
    left_out = (1 << 30) - len(parts[0].data)
    assert [(part.left_out, len(part.data)) for part in parts] == [(0, len(parts[0].data)), (left_out, 0)]
    assert list(client.follow_output(job.id)) == parts
    assert job.output().endswith(b"\n[... %d bytes left out ...]\n" % left_out)


def test_the_command_says_what_was_left_out_in_its_place(running: RunningDaemon, client: Client) -> None:
    job = client.run_background_job("floods.Narrow", "run", {"lines": 100})
    job.wait(30)

    def said(*options: str) -> bytes:
        command = [sys.executable, "-m", "bgjob", "output", str(job.id), *options]
        environ = os.environ | {"BGJOBD_SOCKET": str(running.socket)}
        return subprocess.run(command, env=environ, capture_output=True, check=True, timeout=50).stdout

    assert said() == said("-f") == job.output()
    assert_cut(said(), 100 * 1024, 8 << 10)
    for options in (("--json",), ("--json", "-f")):
        parts = [json.loads(line) for line in said(*options).splitlines()]
        assert [part["left_out"] > 0 for part in parts] == [False, True]
        data = [base64.b64decode(part["data"]) for part in parts]
        assert (data[0], data[1]) == (flooded(0, len(data[0])), flooded(102_400 - len(data[1]), 102_400))
        assert sum(map(len, data)) + parts[1]["left_out"] == 102_400


def test_nothing_went_wrong_with_the_daemon_meanwhile(running: RunningDaemon) -> None:
    assert not [line for line in running.lines() if "bug" in line or "bounded" in line]
