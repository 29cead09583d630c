"""What this machine can do at best: bare processes with nothing of bgjobd, each a mode of this file under `python -I`.

As a module it gives functions that run the file and read its answer; the standard library only, on both sides.
"""

from __future__ import annotations

import gc
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


def _serve_echo(link: int, database: str) -> None:
    insert = _inserter(database)
    with socket.socket(fileno=link) as peer:
        while request := peer.recv(65536):
            insert()
            peer.sendall(request)


def _inserter(path: str) -> Callable[[], object]:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, text TEXT)")
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
        case "echo":
            _serve_echo(count, *more)
        case _:
            raise ValueError(f"no mode {mode!r}")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
