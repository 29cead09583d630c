"""What others get while one user pours requests, each of the worst that fits: 56 connections that never pause.

Run as a file it is the one that pours, under `python -I`, the standard library only.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from measures import Latency
    from station import Station

CONNECTIONS: Final = 56
"""Of the 64 that a user may have: those who ping are of the same user here, and so is the bench itself."""

_LOOKS: Final = 5
"""How often memory is looked at meanwhile."""

_SETTLING: Final = 0.5
"""Seconds after which all connections have begun."""

_METHOD: Final = "org.bgjobd.Jobs."


def _wide(item: str, size: int) -> str:
    return "[" + ",".join([item] * (size // (len(item) + 1))) + "]"


def _submit(value: str, method: str = "run") -> str:
    job = f'{{"class_name":"bench_jobs.NoOp","method_name":"{method}","parameters":{{"value":{value}}}}}'
    return f'{{"method":"{_METHOD}Submit","parameters":{job}}}'


def _jobs(item: str, size: int) -> str:
    return f'{{"method":"{_METHOD}SubmitMany","parameters":{{"jobs":{_wide(item, size)}}}}}'


_MOST: Final = 1_000_000
FRAMES: Final = {
    "1 MiB of lists": _submit(_wide("[]", _MOST)),
    "1 MiB of numbers": _submit(_wide("1", _MOST)),
    "1 MiB of nested lists": _submit(_wide("[[[[[[]]]]]]", _MOST)),
    "1 MiB of keys": _submit("{" + ",".join(f'"{number:x}":0' for number in range(_MOST // 10)) + "}"),
    "1 MiB without commas": _submit("[" + "[[[]]]" * (_MOST // 6)),
    "9,000 jobs": _jobs('{"class_name":"bench_jobs.NoOp","method_name":"run","parameters":{"a":1}}', 700_000),
    "64 KiB of lists": _submit(_wide("[]", 64_000)),
    "64 KiB of numbers": _submit(_wide("1", 64_000)),
    "64 KiB for a union": _submit(_wide("[]", 64_000), "choose"),
    "4 KiB of lists": _submit(_wide("[]", 3_800)),
}
"""What is poured, by name. All of it is refused: `run` takes no parameters, `choose` no list of lists. So are the jobs,
at the first of them; that they are read is what is measured.
"""


@dataclass(frozen=True)
class Pouring:
    """Milliseconds of pings alone, and beside each of the frames; the daemon's PSS at most, in MiB."""

    alone: Latency
    beside: dict[str, Latency]
    memory: dict[str, float]


def pouring(station: Station, samples: int, frames: int) -> Pouring:
    """Ping alone, then while each of the first `frames` is poured."""
    import processes
    from measures import Latency

    alone = Latency.of(_pings(station.socket, samples))
    beside, memory = {}, {}
    for name in islice(FRAMES, frames):
        with _poured(station.socket, name):
            latencies, most = [], 0.0
            for _ in range(_LOOKS):
                latencies += _pings(station.socket, -(-samples // _LOOKS))
                most = max(most, processes.pss(station.pid))
        beside[name], memory[name] = Latency.of(latencies), most
    return Pouring(alone, beside, memory)


def _pings(path: Path, samples: int) -> list[float]:
    """Milliseconds of each."""
    latencies = []
    with socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))
        for _ in range(samples):
            time.sleep(0.002)
            before = time.perf_counter()
            peer.sendall(b'{"method":"org.varlink.service.GetInfo"}\0')
            while not peer.recv(65536).endswith(b"\0"):
                pass
            latencies.append((time.perf_counter() - before) * 1e3)
    return latencies


@contextmanager
def _poured(path: Path, name: str) -> Iterator[None]:
    command = [sys.executable, "-I", __file__, str(path), name]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(_SETTLING)
            yield
        finally:
            process.kill()


# The one that pours


def _pour(path: str, name: str) -> None:
    frame = FRAMES[name].encode() + b"\0"
    selector = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        _open(selector, path)
    print("pouring", flush=True)
    while True:
        for key, events in selector.select():
            peer: socket.socket = key.fileobj  # type: ignore[assignment]  # no other is registered
            try:
                if events & selectors.EVENT_READ and not peer.recv(65536):
                    raise ConnectionResetError
                if events & selectors.EVENT_WRITE:
                    sent = key.data + peer.send(frame[key.data :])
                    selector.modify(peer, key.events, sent % len(frame))
            except BlockingIOError:
                pass
            except OSError:
                selector.unregister(peer)
                peer.close()
                _open(selector, path)


def _open(selector: selectors.BaseSelector, path: str) -> None:
    peer = socket.socket(socket.AF_UNIX)
    with suppress(BlockingIOError):
        peer.connect(path)
    peer.setblocking(False)
    selector.register(peer, selectors.EVENT_READ | selectors.EVENT_WRITE, 0)


if __name__ == "__main__":
    os.nice(5)
    _pour(*sys.argv[1:])
