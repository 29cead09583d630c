"""The named pipe: real pipes and writers, first with a submit of the test's own, then with a real daemon."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import grp
import itertools
import json
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import termios
import threading
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgjob.codec import JsonObject
from bgjob.errors import (
    InvalidNameError,
    InvalidParametersError,
    JobNotFoundError,
    NotApprovedError,
    RequestError,
    ShuttingDownError,
    StorageUnavailableError,
)
from bgjobd.api import fifo
from bgjobd.api.fifo import Fifo, LineReader
from bgjobd.config.sections import Socket
from bgjobd.service import SOCKET_GROUP
from tests.daemon.running import RunningDaemon, daemon
from tests.support import eventually

PATIENCE = 20.0
CANARY = "hunter2"
IS_ROOT = os.getuid() == 0


def has_group() -> bool:
    return any(group.gr_name == SOCKET_GROUP for group in grp.getgrall())


as_root = pytest.mark.skipif(not IS_ROOT, reason="only root can be somebody else")


class House:
    """What the pipe submits to: notes, waits at the door while it is closed, refuses what it is told to."""

    def __init__(self) -> None:
        self.door = asyncio.Event()
        self.door.set()
        self.submitted: asyncio.Queue[JsonObject] = asyncio.Queue()
        self.refused: asyncio.Queue[str] = asyncio.Queue()
        self.bugs: list[Exception] = []
        self.refusal: Exception | None = None
        self.inside = 0
        self.most_inside = 0

    async def submit(self, parameters: JsonObject) -> object:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.submitted.put_nowait(parameters)
            await self.door.wait()
            if self.refusal is not None:
                raise self.refusal
            return {"id": 1}
        finally:
            self.inside -= 1

    def on_bug(self, name: str, error: Exception) -> None:
        self.bugs.append(error)

    def pipe(self, path: Path, **limits: Any) -> Fifo:
        return Fifo(
            path,
            Socket(**limits),
            submit=self.submit,
            on_refused=self.refused.put_nowait,
            on_bug=self.on_bug,
        )


Scene = Callable[[House, Fifo, Path], Awaitable[None]]


def play(path: Path, scene: Scene, mode: int = 0o600, gid: int | None = None, **limits: Any) -> House:
    """Runs a scene with an open pipe; whatever it waits for must come. Stops the pipe, and gives what became of it."""
    houses = []

    async def whole() -> None:
        house = House()
        houses.append(house)
        pipe = house.pipe(path, **limits)
        pipe.open(mode, gid)
        async with asyncio.timeout(PATIENCE):
            await scene(house, pipe, path)
        house.door.set()
        await pipe.stop()

    asyncio.run(whole())
    assert houses[0].bugs == []
    return houses[0]


def write(path: Path, content: bytes) -> None:
    """As a program that opens the file, writes and closes it."""
    with path.open("wb", buffering=0) as pipe:
        pipe.write(content)


def line(number: int, **more: object) -> bytes:
    return json.dumps({"n": number, **more}).encode() + b"\n"


def left(queue: asyncio.Queue[Any]) -> list[Any]:
    return [queue.get_nowait() for _ in range(queue.qsize())]


# Lines

pieces = st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r", b"dddd", b"eeeeeee"]), max_size=30)


@given(pieces, st.data())
def test_lines_are_the_same_wherever_the_stream_is_split(parts: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(parts)
    places = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    reader = LineReader(5)
    found = [
        line
        for start, end in itertools.pairwise([0, *places, len(stream)])
        for line in reader.feed(stream[start:end])
    ]
    *ended, rest = stream.split(b"\n")
    expected = [line if len(line) <= 5 else None for line in ended]
    assert found == expected + [None] * (len(rest) > 5)
    assert reader.is_unfinished is (0 < len(rest) <= 5)


def test_each_line_is_submitted_in_order(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        write(path, b"".join(line(number) for number in range(500)))
        assert [(await house.submitted.get())["n"] for _ in range(500)] == list(range(500))

    assert left(play(tmp_path / "fifo", scene, max_pipelined=7).refused) == []


def test_a_writer_that_leaves_ends_nothing_and_the_next_is_read(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        for number in range(3):
            write(path, line(number))
            assert await house.submitted.get() == {"n": number}

    play(tmp_path / "fifo", scene)


def test_a_pipe_that_nobody_writes_to_wakes_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    read_really = os.read

    def read(descriptor: int, size: int) -> bytes:
        reads.append(descriptor)
        return read_really(descriptor, size)

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        monkeypatch.setattr(os, "read", read)
        write(path, line(1))
        await house.submitted.get()
        await turns()
        assert len(reads) == 1

    play(tmp_path / "fifo", scene)


def test_a_line_may_come_in_pieces(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        with path.open("wb", buffering=0) as writer:
            for byte in line(1, text="ä€") + b"  " + line(2)[:-2]:
                writer.write(bytes([byte]))
            assert await house.submitted.get() == {"n": 1, "text": "ä€"}
            writer.write(b"}\n")
            assert await house.submitted.get() == {"n": 2}

    play(tmp_path / "fifo", scene)


def test_blank_lines_are_nothing_and_line_ends_of_windows_are_line_ends(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        write(path, b'\n\r\n  \t \n{"n":1}\r\n\n{"n":2}\n')
        assert [await house.submitted.get(), await house.submitted.get()] == [{"n": 1}, {"n": 2}]

    assert left(play(tmp_path / "fifo", scene).refused) == []


def test_writers_are_held_back_while_as_many_lines_are_under_way_as_may(tmp_path: Path) -> None:
    total = 1000

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        house.door.clear()
        sent = b"".join(line(number, text="x" * 1000) for number in range(total))
        writer = threading.Thread(target=write, args=[path, sent])
        writer.start()
        await asyncio.to_thread(eventually, lambda: in_pipe(path) >= 60_000)
        await turns()
        assert [(await house.submitted.get())["n"] for _ in range(2)] == [0, 1]
        assert house.submitted.empty()
        assert in_pipe(path) >= 60_000
        assert writer.is_alive()
        house.door.set()
        assert [(await house.submitted.get())["n"] for _ in range(total - 2)] == list(range(2, total))
        await asyncio.to_thread(writer.join)

    house = play(tmp_path / "fifo", scene, max_pipelined=2)
    assert house.most_inside == 2


async def turns() -> None:
    """Returns after the loop has had many chances to do what it would do."""
    for _ in range(50):
        await asyncio.to_thread(lambda: None)


def in_pipe(path: Path) -> int:
    """Bytes that nobody has read yet."""
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
    finally:
        os.close(descriptor)
    return int(count)


def test_a_line_over_the_limit_is_refused_once_and_the_next_is_taken(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        longest = line(1, text="x" * 80)
        assert len(longest) == 101
        write(path, longest + line(2, text="x" * 81) + line(3))
        assert [(await house.submitted.get())["n"] for _ in range(2)] == [1, 3]

    house = play(tmp_path / "fifo", scene, max_frame=100)
    assert left(house.refused) == ["a line is longer than 100 bytes"]


def test_a_line_without_end_is_refused_at_once_and_costs_no_memory(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        with path.open("wb", buffering=0) as writer:
            tracemalloc.start()
            try:
                await asyncio.to_thread(lambda: [writer.write(bytes(65536)) for _ in range(200)])
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert await house.refused.get() == "a line is longer than 1000 bytes"
            writer.write(b"\n" + line(1))
            assert await house.submitted.get() == {"n": 1}
        assert peak < 10 * 65536

    assert left(play(tmp_path / "fifo", scene, max_frame=1000).refused) == []


# Refusals


@pytest.mark.parametrize(
    ("refused", "part"),
    [
        (b"hunter2", "no valid JSON"),
        (b'{"a":hunter2}', "no valid JSON"),
        (b'{"a":"hunter2"', "no valid JSON"),
        (b'["hunter2"]', "no JSON object"),
        (b'"hunter2"', "no JSON object"),
        (b'{"hunter2":1,"hunter2":2}', "a key twice"),
        (b'{"a":"hunter2","b":NaN}', "NaN is no JSON number"),
        (b'{"a":"hunter2","b":1e999}', "not finite"),
        (b'{"a":"hunter2\xff"}', "no UTF-8 (at byte 13)"),
        (rb'{"a":"hunter2\ud800"}', "lone surrogate"),
        (rb'{"a":"hunter2\u0000"}', "NUL character"),
        (b'{"a":"hunter2"}\0', "no valid JSON"),
        (b'{"a":"hunter2","b":[[[]]]}', "nested too deeply"),
        (b'{"a":"hunter2","b":[9223372036854775808]}', "invalid value for b"),
        (b'{"a":"hunter2","x\\n\x7f\xe2\x80\xae":9223372036854775808}', r"invalid value for x\n\x7f\u202e"),
    ],
)
def test_a_line_that_is_no_strict_json_object_is_refused_without_quoting_it(
    tmp_path: Path, refused: bytes, part: str
) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        write(path, refused + b"\n" + line(1))
        assert await house.submitted.get() == {"n": 1}
        reason = await house.refused.get()
        assert part in reason
        assert reason.isprintable()
        assert CANARY not in reason

    house = play(tmp_path / "fifo", scene, max_depth=4)
    assert (left(house.submitted), left(house.refused)) == ([], [])


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (NotApprovedError(class_name="a.B"), "a.B is not an approved class; list it under [approved]"),
        (StorageUnavailableError(reason="disk full"), "nothing was stored: disk full; try again later"),
        (ShuttingDownError(), "the daemon is shutting down"),
        (InvalidNameError(field="class_name", value=CANARY), "class_name is not a valid name"),
        (
            InvalidParametersError(
                problems=[
                    {"path": "to", "message": f"'{CANARY}' is not of type 'integer'"},
                    {"path": "", "message": "'x' is a required property"},
                    {"path": "to", "message": f"'{CANARY}' is too long"},
                ]
            ),
            "the parameters do not fit the method: to, parameters",
        ),
    ],
)
def test_why_a_submit_was_refused_is_told_without_quoting_values(
    tmp_path: Path, refusal: RequestError, reason: str
) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        house.refusal = refusal
        write(path, line(1, text=CANARY))
        told = await house.refused.get()
        assert told.startswith(reason)
        assert CANARY not in told

    play(tmp_path / "fifo", scene)


def test_a_reason_is_never_long(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        write(path, b'{"' + b"x" * 10_000 + b'":9223372036854775808}\n')
        assert len(await house.refused.get()) < 600

    play(tmp_path / "fifo", scene)


def test_a_bug_is_told_to_whoever_keeps_the_log_and_the_next_line_is_taken(tmp_path: Path) -> None:
    async def scene() -> None:
        house, path = House(), tmp_path / "fifo"
        house.refusal = ValueError(CANARY)
        pipe = house.pipe(path)
        pipe.open(0o600, None)
        write(path, line(1) + line(2))
        for _ in range(2):
            assert "bug: ValueError" in await house.refused.get()
        assert [type(error) for error in house.bugs] == [ValueError, ValueError]
        await pipe.stop()

    asyncio.run(scene())


# The file


@pytest.fixture
def umask() -> Iterator[None]:
    """The widest umask; the tests' own comes back."""
    old = os.umask(0)
    yield
    os.umask(old)


def opened_mode(path: Path, mode: int = 0o600, gid: int | None = None) -> int:
    """What stands at the path once a pipe was opened there."""

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        pass

    play(path, scene, mode, gid)
    return path.lstat().st_mode


@pytest.mark.usefixtures("umask")
@pytest.mark.parametrize("mode", [0o600, 0o620, 0o622])
def test_the_pipe_has_its_mode_and_at_no_moment_a_wider_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    seen = []
    chmod_really, chown_really = os.fchmod, os.fchown

    def fchmod(descriptor: int, mode: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        chmod_really(descriptor, mode)

    def fchown(descriptor: int, uid: int, gid: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        chown_really(descriptor, uid, gid)

    monkeypatch.setattr(os, "fchmod", fchmod)
    monkeypatch.setattr(os, "fchown", fchown)
    found = opened_mode(tmp_path / "fifo", mode, os.getgid())
    assert stat.S_ISFIFO(found)
    assert stat.S_IMODE(found) == mode
    assert set(seen) <= {0o600}


def test_a_pipe_that_was_left_is_taken_over_and_its_rights_are_set(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    path.chmod(0o600)
    inode = path.stat().st_ino
    assert stat.S_IMODE(opened_mode(path, 0o600)) == 0o600
    assert stat.S_IMODE(opened_mode(path, 0o620)) == 0o620
    assert path.stat().st_ino == inode


def test_who_has_a_pipe_open_that_was_left_and_is_closed_to_others_now_writes_to_nobody(
    tmp_path: Path,
) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    path.chmod(0o666)
    held = os.open(path, os.O_RDWR)  # so that a write does not fail, and is there for whoever opens the pipe
    writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    os.write(writer, line(1))

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        os.write(writer, line(2))
        write(path, line(3))
        assert await house.submitted.get() == {"n": 3}

    try:
        assert left(play(path, scene).submitted) == []
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.close(held)
        os.close(writer)


def test_who_has_the_pipe_open_when_it_is_closed_to_others_can_write_no_more(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        with path.open("wb", buffering=0) as writer:
            writer.write(line(1) + b'{"n": ')
            pipe.set_mode(0o600)
            with pytest.raises(BrokenPipeError):
                writer.write(b"2}\n")
        assert "closed to its writer" in await house.refused.get()
        write(path, line(3))
        assert [await house.submitted.get(), await house.submitted.get()] == [{"n": 1}, {"n": 3}]

    house = play(tmp_path / "fifo", scene, mode=0o620)
    assert left(house.submitted) == left(house.refused) == []
    assert stat.S_IMODE((tmp_path / "fifo").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["file", "symlink to a pipe", "dangling symlink", "directory", "socket"])
def test_anything_else_in_the_pipes_place_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "fifo", tmp_path / "other"
    match kind:
        case "file":
            path.write_text("precious")
        case "symlink to a pipe":
            os.mkfifo(other)
            path.symlink_to(other)
        case "dangling symlink":
            path.symlink_to(other)
        case "directory":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
    before = path.lstat()
    with pytest.raises(FileExistsError, match=r"no named pipe is in the named pipe's place.*fifo"):
        opened_mode(path)
    after = path.lstat()
    assert (after.st_ino, after.st_mode, after.st_mtime) == (before.st_ino, before.st_mode, before.st_mtime)


@as_root
def test_a_pipe_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path, 0o622)
    os.chown(path, 65534, -1)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(PermissionError, match="belongs to uid 65534"):
        opened_mode(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_missing_is_an_error_that_names_the_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing/fifo"):
        opened_mode(tmp_path / "missing" / "fifo")


def test_no_child_inherits_the_pipe_and_a_stop_closes_it(tmp_path: Path) -> None:
    def holders() -> list[int]:
        return [fd for fd in map(int, os.listdir("/proc/self/fd")) if is_pipe(fd, tmp_path / "fifo")]

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        (descriptor,) = holders()
        assert not os.get_inheritable(descriptor)

    play(tmp_path / "fifo", scene)
    assert holders() == []


def is_pipe(descriptor: int, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    except FileNotFoundError:
        return False


@as_root
def test_the_group_may_write_and_not_read_and_others_may_do_neither(tmp_path: Path) -> None:
    group = 4711
    for directory in (tmp_path, tmp_path.parent):
        directory.chmod(0o711)

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        member, outsider = (65534, group), (65534, 65534)
        assert await asyncio.to_thread(try_as, *member, path, "os.O_WRONLY") == "opened"
        assert await house.submitted.get() == {"n": 1}
        for who, flags in ((member, "os.O_RDONLY"), (member, "os.O_RDWR"), (outsider, "os.O_WRONLY")):
            assert await asyncio.to_thread(try_as, *who, path, flags) == "PermissionError"

    play(tmp_path / "fifo", scene, 0o620, group)


def try_as(uid: int, gid: int, path: Path, flags: str) -> str:
    """What becomes of somebody else's try to open the pipe, and to write a line if that is what it was for."""
    code = f"""
import os
os.chdir({str(path.parent)!r})
os.setgroups([]); os.setgid({gid}); os.setuid({uid})
try:
    descriptor = os.open({path.name!r}, {flags} | os.O_NONBLOCK)
except OSError as error:
    print(type(error).__name__)
else:
    print("opened")
    os.write(descriptor, {line(1)!r})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)
    return ran.stdout.strip()


# Ends


def test_a_stop_takes_what_is_in_the_pipe_and_waits_for_it(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        house.door.clear()
        write(path, b"".join(line(number) for number in range(300)))
        await house.submitted.get()
        write(path, b"".join(line(number) for number in range(300, 400)))
        stopping = asyncio.ensure_future(pipe.stop())
        await house.submitted.get()
        assert not stopping.done()
        house.door.set()
        await stopping
        assert [given["n"] for given in left(house.submitted)] == list(range(2, 400))

    house = play(tmp_path / "fifo", scene, max_pipelined=4)
    assert (house.most_inside, left(house.refused)) == (4, [])


def test_a_stop_refuses_the_line_that_has_not_ended(tmp_path: Path) -> None:
    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        write(path, line(1) + b'{"n":2}')
        await pipe.stop()
        assert left(house.submitted) == [{"n": 1}]
        assert left(house.refused) == ["the daemon stopped before the line had ended"]

    play(tmp_path / "fifo", scene)


def test_a_stop_does_not_wait_for_ever_and_tells_what_it_gave_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fifo, "_LAST_LINES", 0.05)

    async def scene(house: House, pipe: Fifo, path: Path) -> None:
        house.door.clear()
        write(path, line(1) + line(2) + line(3))
        await pipe.stop()
        assert left(house.submitted) == [{"n": 1}]
        assert [reason[:27] for reason in left(house.refused)] == ["the daemon is shutting down"] * 2
        # The one under way is told when its submit ends.
        house.refusal = ShuttingDownError()
        house.door.set()
        assert (await house.refused.get()).startswith("the daemon is shutting down")

    play(tmp_path / "fifo", scene, max_pipelined=1)


def test_a_writer_that_never_stops_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    # One that is open to more is replaced, and a writer who is there already is gone then.
    os.mkfifo(path, 0o600)
    for_ever = 'while echo "{}"; do :; done > "$0"'
    with subprocess.Popen(["sh", "-c", for_ever, str(path)], stderr=subprocess.DEVNULL) as writer:

        async def scene(house: House, pipe: Fifo, path: Path) -> None:
            await house.submitted.get()
            await pipe.stop()
            assert await asyncio.to_thread(writer.wait, PATIENCE) != 0

        play(path, scene)


def test_a_shell_that_writes_between_two_daemons_waits_and_its_line_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    opened_mode(path)
    command = 'echo "$1" > "$0"'
    with subprocess.Popen(["sh", "-c", command, str(path), '{"n":1}']) as shell:

        async def scene(house: House, pipe: Fifo, path: Path) -> None:
            assert await house.submitted.get() == {"n": 1}
            assert await asyncio.to_thread(shell.wait, PATIENCE) == 0

        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(0.1)
        assert shell.returncode is None
        play(path, scene)
    assert path.is_fifo()


def test_a_stop_of_a_pipe_that_was_never_opened_is_nothing(tmp_path: Path) -> None:
    async def scene() -> None:
        await House().pipe(tmp_path / "fifo").stop()

    asyncio.run(scene())
    assert list(tmp_path.iterdir()) == []


# A real daemon


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDaemon]:
    directory = tmp_path_factory.mktemp("pipe")
    with daemon(directory, environ={"BGJOBD_DAEMON__FIFO": str(directory / "jobs.fifo")}) as running:
        yield running


@pytest.fixture
def pipe(running: RunningDaemon) -> Path:
    return running.directory / "jobs.fifo"


def count_jobs(running: RunningDaemon) -> int:
    ((count,),) = running.query("SELECT COUNT(*) FROM background_jobs")
    return int(count)


def echo(path: Path, text: str) -> None:
    subprocess.run(["sh", "-c", 'echo "$1" > "$0"', str(path), text], check=True, timeout=PATIENCE)


def request(method: str, **parameters: object) -> str:
    return json.dumps({"class_name": "probes.Probe", "method_name": method, "parameters": parameters})


def wait_for_job(running: RunningDaemon, job_id: int) -> JsonObject:
    def try_job() -> JsonObject | None:
        with running.client() as client, contextlib.suppress(JobNotFoundError):
            return client.wait(job_id, PATIENCE)
        return None

    return eventually(try_job) or {}


def test_a_line_of_a_shell_becomes_a_job_whose_submitter_nobody_knows(
    running: RunningDaemon, pipe: Path
) -> None:
    before = count_jobs(running)
    echo(pipe, request("echo", value=[1, "ä"]))
    job = wait_for_job(running, before + 1)
    assert (job["status"], job["result"]) == ("completed", [1, "ä"])
    assert (job["submitted_uid"], job["submitted_gid"], job["submitted_pid"]) == (None, None, None)


def test_a_line_that_is_refused_is_one_line_of_the_log_without_its_content(
    running: RunningDaemon, pipe: Path
) -> None:
    before, lines_before = count_jobs(running), len(running.lines())
    echo(pipe, f'{{"password":"{CANARY}"')
    echo(pipe, json.dumps({"class_name": "a.B", "method_name": "run", "parameters": {"a": CANARY}}))
    echo(pipe, request("echo", valeu=CANARY))
    echo(pipe, request("echo", value=1))
    wait_for_job(running, before + 1)

    def refusals() -> list[str]:
        new = running.lines()[lines_before:]
        return [text for text in new if "FAILURE: bgjobd" in text and "named pipe" in text]

    eventually(lambda: len(refusals()) >= 3)
    told = refusals()
    assert len(told) == 3
    assert "no valid JSON" in told[0]
    assert "a.B is not an approved class" in told[1]
    assert told[2].endswith("refused: the parameters do not fit the method: parameters")
    assert CANARY not in running.log_file.read_text() + running.console()
    assert count_jobs(running) == before + 1


def test_lines_written_before_a_stop_are_jobs_after_it_and_the_pipe_stays(
    running: RunningDaemon, pipe: Path
) -> None:
    before = count_jobs(running)
    lines = "\n".join(request("echo", value=number) for number in range(200))
    # None of them starts: what the next test submits would wait behind all of them.
    echo(pipe, lines.replace('"parameters"', '"options": {"delay": 1e6}, "parameters"'))
    try:
        assert running.stop() == 0
        assert pipe.is_fifo()
        assert count_jobs(running) == before + 200
    finally:
        running.start()


def test_a_writer_that_comes_while_no_daemon_runs_waits_for_the_next(
    running: RunningDaemon, pipe: Path
) -> None:
    before = count_jobs(running)
    running.stop(signal.SIGKILL)
    with subprocess.Popen(["sh", "-c", 'echo "$1" > "$0"', str(pipe), request("echo", value=7)]) as shell:
        running.start()
        assert shell.wait(PATIENCE) == 0
    assert wait_for_job(running, before + 1)["result"] == 7


def test_a_file_in_the_pipes_place_stops_the_start_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "jobs.fifo"
    path.write_text("precious")
    running = RunningDaemon(tmp_path, environ={"BGJOBD_DAEMON__FIFO": str(path)})
    assert running.spawn().wait(PATIENCE) == 1
    assert "no named pipe is in the named pipe's place" in running.console()
    assert path.read_text() == "precious"


@pytest.mark.skipif(IS_ROOT and has_group(), reason="root has a group to give the pipe to")
def test_where_there_is_no_group_the_pipe_is_for_the_daemons_user_alone(
    running: RunningDaemon, pipe: Path
) -> None:
    assert running.process is not None
    assert stat.S_IMODE(pipe.stat().st_mode) == 0o600


@as_root
def test_where_submitting_is_restricted_the_pipe_is_for_the_daemons_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "jobs.fifo"
    settings = "[access]\nsubmit = ['65534']"
    with daemon(tmp_path, settings, environ={"BGJOBD_DAEMON__FIFO": str(path)}):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
