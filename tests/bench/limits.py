"""What this machine can do at best: bare processes with nothing of bgjobd, each a mode of this file under `python -I`.

As a module it gives functions that run the file and read its answer; the standard library only, on both sides.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

SLOTS: Final = 4
"""Children in flight, here and in the daemon that is measured."""

_REQUEST: Final = b"x" * 250 + b"\0"  # as long as a Submit of a job without parameters


def fork_rate(forks: int) -> float:
    """Fork, exit and wait of a small process with SLOTS children in flight: forks a second."""
    return forks / _run("rate", forks)[0]


def fork_latency(samples: int) -> list[float]:
    """From just before a fork to the child's first line: milliseconds."""
    return [seconds * 1e3 for seconds in _run("latency", samples)]


def commit_latency(directory: Path, samples: int) -> list[float]:
    """One row inserted and committed as durably as the daemon does: milliseconds."""
    return [seconds * 1e3 for seconds in _run("commit", samples, str(directory / "commit.db"))]


def committed_echo_latency(directory: Path, samples: int) -> list[float]:
    """A message to another process, a commit there, and the message back: milliseconds."""
    with _echo(directory / "echo.db") as peer:
        return [seconds * 1e3 for seconds in _timed(samples, lambda: _exchange(peer))]


def drain_rate(directory: Path, jobs: int, in_flight: int) -> float:
    """The least that a daemon with a process for each attempt does: a commit, a fork, what the child answers, another
    commit; jobs a second.
    """
    return jobs / _run("drain", jobs, str(directory / "drain.db"), str(in_flight))[0]


def row_rate(directory: Path, rows: int) -> float:
    """Rows inserted a thousand a commit: rows a second."""
    return rows / _run("rows", rows, str(directory / "rows.db"))[0]


def loop() -> float:
    """A million turns of a loop that adds, which tells how fast Python is here just now: milliseconds."""
    return median(_run("loop", 5)) * 1e3


def job_latency(directory: Path, samples: int) -> list[tuple[float, float]]:
    """Of the same as `drain_rate`, one job after the other: milliseconds to the child's first line, and to the end."""
    found = [seconds * 1e3 for seconds in _run("job", samples, str(directory / "job.db"))]
    return list(zip(found[::2], found[1::2], strict=True))


def _run(mode: str, count: int, *more: str) -> list[float]:
    command = [sys.executable, "-I", __file__, mode, str(count), *more]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [float(number) for number in answer.stdout.split()]


@contextmanager
def _echo(database: Path) -> Iterator[socket.socket]:
    ours, theirs = socket.socketpair()
    with ours:
        command = [sys.executable, "-I", __file__, "echo", str(theirs.fileno()), str(database)]
        with theirs:
            process = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        try:
            yield ours
        finally:
            ours.close()
            process.wait()


def _exchange(peer: socket.socket) -> None:
    peer.sendall(_REQUEST)
    missing = len(_REQUEST)
    while missing:
        missing -= len(peer.recv(missing)) or sys.exit("the echo ended early")


# In the bare process


def _rate(count: int) -> float:
    gc.freeze()
    running = 0
    before = time.perf_counter()
    for _ in range(count):
        if running == SLOTS:
            os.wait()
            running -= 1
        if os.fork() == 0:
            os._exit(0)
        running += 1
    for _ in range(running):
        os.wait()
    return time.perf_counter() - before


def _latency(count: int) -> list[float]:
    gc.freeze()
    read, write = os.pipe()
    samples = []
    for _ in range(count):
        before = time.monotonic_ns()
        if os.fork() == 0:
            os.write(write, b"%d" % time.monotonic_ns())
            os._exit(0)
        samples.append((int(os.read(read, 32)) - before) / 1e9)
        os.wait()
    return samples


def _commit(count: int, database: str) -> list[float]:
    insert = _inserter(database)
    return list(_timed(count, insert))


def _drain(count: int, database: str, in_flight: int) -> float:
    insert = _inserter(database)
    gc.freeze()
    poll = select.poll()
    running: dict[int, int] = {}
    left, before = count, time.perf_counter()
    while left or running:
        if left and len(running) < in_flight:
            insert()
            pid, read = _child()
            running[read] = pid
            poll.register(read, select.POLLIN)
            left -= 1
            continue
        for read, _ in poll.poll():
            poll.unregister(read)
            os.read(read, 64)
            os.close(read)
            os.waitpid(running.pop(read), 0)
            insert()
    return time.perf_counter() - before


def _child() -> tuple[int, int]:
    """A process that says when it began, by the pipe that is read from, and ends."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"%d" % time.monotonic_ns())
        os._exit(0)
    os.close(write)
    return pid, read


def _jobs(count: int, database: str) -> Iterator[float]:
    insert = _inserter(database)
    gc.freeze()
    for _ in range(count):
        time.sleep(0.01)
        before = time.monotonic_ns()
        insert()
        pid, read = _child()
        stamp = int(os.read(read, 64))
        os.close(read)
        os.waitpid(pid, 0)
        insert()
        yield (stamp - before) / 1e9
        yield (time.monotonic_ns() - before) / 1e9


def _loops(count: int) -> Iterator[float]:
    for _ in range(count):
        before, total = time.perf_counter(), 0
        for turn in range(1_000_000):
            total += turn
        yield time.perf_counter() - before


def _rows(count: int, path: str) -> float:
    database = _opened(path)
    before = time.perf_counter()
    for first in range(0, count, 1000):
        database.execute("BEGIN IMMEDIATE")
        rows = [("x" * 250,)] * min(1000, count - first)
        database.executemany("INSERT INTO rows (text) VALUES (?)", rows)
        database.execute("COMMIT")
    return time.perf_counter() - before


def _serve_echo(link: int, database: str) -> None:
    insert = _inserter(database)
    with socket.socket(fileno=link) as peer:
        while request := peer.recv(65536):
            insert()
            peer.sendall(request)


def _opened(path: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")
    return database


def _inserter(path: str) -> Callable[[], object]:
    database = _opened(path)
    return lambda: database.execute("INSERT INTO rows (text) VALUES (?)", ("x" * 250,))


def _timed(count: int, act: Callable[[], object]) -> Iterator[float]:
    for _ in range(count):
        before = time.perf_counter()
        act()
        yield time.perf_counter() - before


def _main(mode: str, count: int, *more: str) -> None:
    match mode:
        case "rate":
            print(_rate(count))
        case "latency":
            print(*_latency(count))
        case "commit":
            print(*_commit(count, *more))
        case "drain":
            print(_drain(count, more[0], int(more[1])))
        case "rows":
            print(_rows(count, *more))
        case "loop":
            print(*_loops(count))
        case "job":
            print(*_jobs(count, *more))
        case "echo":
            _serve_echo(count, *more)
        case _:
            raise ValueError(f"no mode {mode!r}")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
