"""Faults that the kernel or another program makes for a daemon that runs: each lasts as long as its context."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon.running import RunningDaemon
from tests.support import eventually, needed

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount, trace others and set pids")

IN_THE_WAY = Path("filler")


@contextmanager
def failing_calls(pid: int, calls: str, error: str, record: Path = Path(os.devnull)) -> Iterator[None]:
    """These system calls of the process, of all its threads, fail with this error; each is a line of the record.

    One that is under way when that ends may fail with ENOSYS: strace has taken its number away, and gives no error.
    """
    with _injected(pid, calls, f"error={error}", record):
        yield


_LEASE = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
file = open(sys.argv[1], "r+b")
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """Nobody else can open the file without waiting: EAGAIN says so."""
    command = [sys.executable, "-c", _LEASE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        yield


@contextmanager
def hanging_calls(pid: int, calls: str) -> Iterator[None]:
    """These system calls of the process, of all its threads, do not come back."""
    with _injected(pid, calls, "delay_enter=600s", Path(os.devnull)):
        yield


@contextmanager
def _injected(pid: int, calls: str, fault: str, record: Path) -> Iterator[None]:
    needed("strace")
    command = ["strace", "-f", "-qq", "-o", str(record), "-p", str(pid), f"-etrace={calls}"]
    tracer = subprocess.Popen([*command, f"-einject={calls}:{fault}"], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _tracers(pid) == {tracer.pid})
        yield
    finally:
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(20)
    eventually(lambda: _tracers(pid) <= {0})


def calls_made(record: Path, name: str) -> int:
    """How often this system call is in the record."""
    return record.read_text().count(f"{name}(")


def _tracers(pid: int) -> set[int]:
    """Who traces the process's threads; 0 stands for nobody."""
    found = set()
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            found.add(int(lines["TracerPid"]))
    return found


def may_mount() -> bool:
    """Whether this process may: what tells is to try it."""
    with tempfile.TemporaryDirectory() as place:
        if (
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], stderr=subprocess.DEVNULL).returncode
            != 0
        ):
            return False
        subprocess.run(["umount", "-l", place], check=True)
    return True


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    """A file system of its own at the place, no larger than that."""
    place.mkdir(exist_ok=True)
    if (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)]
        ).returncode
        != 0
    ):
        pytest.skip("mounting is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def ext4(image: Path, place: Path) -> Iterator[str]:
    """The ext4 file system of an image, which is made if need be, at the place; gives its loop device's name."""
    needed("mkfs.ext4")
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(24 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-E", "nodiscard", str(image)], check=True)
    place.mkdir(exist_ok=True)
    command = ["mount", "-o", "loop,errors=remount-ro", str(image), str(place)]
    if subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
        pytest.skip("loop devices cannot be mounted here")
    try:
        yield _mounted_device(place)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@contextmanager
def frozen(place: Path) -> Iterator[None]:
    """Whoever writes to the file system at the place waits until it is thawed, and cannot be killed."""
    needed("fsfreeze")
    subprocess.run(["fsfreeze", "--freeze", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "--unfreeze", str(place)], check=True)


def _mounted_device(place: Path) -> str:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return next(Path(device).name for device, where, *_ in mounts if where == str(place))


@contextmanager
def full_disk(place: Path) -> Iterator[None]:
    """Not a byte is left on the file system at the place."""
    filler = place / IN_THE_WAY
    try:
        fill(filler)
        yield
    finally:
        filler.unlink()


def fill(path: Path, leave: int = 0) -> None:
    """Let the file take all that is left, but so many bytes."""
    with path.open("wb", buffering=0) as file:
        for size in (65536, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
        file.truncate(max(0, file.tell() - leave))


@contextmanager
def held_by_another_program(database: Path) -> Iterator[None]:
    """Another process has the database locked for writing."""
    script = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(database)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == b"held\n"
            yield
        finally:
            other.stdin.close()
            other.wait(20)


@contextmanager
def long_reader(database: Path) -> Iterator[None]:
    """Another program reads, and does not come to an end."""
    reader = sqlite3.connect(database, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM background_jobs").fetchone()
        yield
    finally:
        reader.close()


@contextmanager
def limited(pid: int, resource: str, soft: int | str) -> Iterator[None]:
    """The process has no more than that of a resource, as prlimit(1) names it."""
    before = _prlimit(pid, f"--{resource}", "--raw", "--noheadings", "--output=SOFT").strip()
    _prlimit(pid, f"--{resource}={soft}:")
    try:
        yield
    finally:
        _prlimit(pid, f"--{resource}={before}:")


def _prlimit(pid: int, *arguments: str) -> str:
    command = ["prlimit", f"--pid={pid}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def pid_of(running: RunningDaemon) -> int:
    assert running.process is not None
    return running.process.pid
