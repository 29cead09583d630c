"""Keys by the bodies' own record, with real processes that are killed: never more at once than their queue says."""

from __future__ import annotations

import os
import random
import signal
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.daemon.running import RunningDaemon, daemon
from tests.faults import books
from tests.protocol.peers import connect, ours
from tests.support import eventually

PLACES: Final = 2
MODULE: Final = """
import os, time

from ledgered import Ledgered, _ticks


class Keyed(Ledgered):
    def hold(self, ledger, book, seconds):
        with self._entered(ledger):
            own = f"{self._context.job_id} {os.getpid()} {_ticks(os.getpid())}"
            note(book, f"{own} begin {time.monotonic_ns()}")
            others = [pid for pid, ticks in unended(book) if pid != os.getpid() and _ticks(pid) == ticks]
            note(book, f"{own} beside {len(others)}")
            time.sleep(seconds)
            note(book, f"{own} end {time.monotonic_ns()}")


def note(book, line):
    descriptor = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\\n".encode())
    finally:
        os.close(descriptor)


def unended(book):
    found = {}
    with open(book) as lines:
        for _, pid, ticks, what, _ in map(str.split, lines):
            if what == "begin":
                found[int(pid)] = int(ticks)
            elif what == "end":
                found.pop(int(pid), None)
    return found.items()
"""
"""A book a key. Who begins looks which of the others that have begun, and not ended, still are processes."""

SETTINGS: Final = f"""
"keyed.Keyed" = {{}}
[queues]
default = {{ slots_per_key = {PLACES} }}
"""


class Line(NamedTuple):
    """Of a book: `what` is begin, beside or end; `told` the monotonic nanosecond, or beside how many others."""

    job: int
    pid: int
    ticks: int
    what: str
    told: int


@pytest.mark.parametrize(
    ("jobs", "keys", "kills"),
    [(200, 10, 2), pytest.param(20_000, 50, 30, marks=[pytest.mark.long, pytest.mark.timeout(3600)])],
)
def test_no_more_of_a_key_run_at_once_than_its_queue_says_however_often_processes_are_killed(
    tmp_path: Path, jobs: int, keys: int, kills: int
) -> None:
    chance = random.Random(22)
    ledger, shelf = tmp_path / "ledger", tmp_path / "books"
    shelf.mkdir()
    environ = {"BGJOBD_DAEMON__SLOTS": "8"}
    modules = {**books.MODULES, "keyed": MODULE}
    with daemon(tmp_path, SETTINGS, books.marked(tmp_path), environ, modules) as running:
        ids = _submitted(running, ledger, shelf, [str(chance.randrange(keys)) for _ in range(jobs)], chance)
        for number in range(kills):
            part = chance.uniform(number, number + 1) / (kills + 1)
            eventually(lambda part=part: _ended(running) >= part * jobs, 600.0)
            chance.choice(_KILLS)(running)
        books.check(running, ids, ledger, within=600.0)
        done = "SELECT count(*) FROM background_jobs WHERE status = 'completed'"
        assert running.query(done) == [(jobs,)]
        again = "SELECT DISTINCT outcome FROM job_attempts WHERE outcome <> 'completed'"
        assert {outcome for (outcome,) in running.query(again)} <= {"lost", "not_started"}
    assert _most_at_once(shelf) == PLACES


def _submitted(
    running: RunningDaemon, ledger: Path, shelf: Path, keys: list[str], chance: random.Random
) -> list[int]:
    ids: list[int] = []
    with connect(running) as peer:
        for first in range(0, len(keys), 500):
            asked = [_asked(key, ledger, shelf, chance) for key in keys[first : first + 500]]
            reply = peer.ask(ours("SubmitMany", jobs=asked))
            assert reply.error is None, reply
            ids += reply.parameters["ids"]
    return ids


def _asked(key: str, ledger: Path, shelf: Path, chance: random.Random) -> dict[str, Any]:
    parameters = {"ledger": str(ledger), "book": str(shelf / key), "seconds": chance.uniform(0.0, 0.05)}
    options = {"key": key, "priority": chance.choice((0, 0, 0, 1))}
    return {
        "class_name": "keyed.Keyed",
        "method_name": "hold",
        "parameters": parameters,
        "options": options,
    }


def _ended(running: RunningDaemon) -> int:
    ((count,),) = running.query("SELECT count(*) FROM background_jobs WHERE status = 'completed'")
    return int(count)


# Who is killed


def _kill_daemon(running: RunningDaemon) -> None:
    running.stop(signal.SIGKILL)
    running.start()


def _kill_server(running: RunningDaemon) -> None:
    with suppress(ProcessLookupError):
        os.kill(running.fork_server(), signal.SIGKILL)


def _kill_both(running: RunningDaemon) -> None:
    server = running.fork_server()
    running.stop(signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(server, signal.SIGKILL)
    running.start()


_KILLS: Final[tuple[Callable[[RunningDaemon], None], ...]] = (_kill_daemon, _kill_server, _kill_both)


# What the bodies tell


def _most_at_once(shelf: Path) -> int:
    """How many of one key ran at once at most: by what each saw as it began, and by the clock of those that ended."""
    most = 0
    for book in shelf.iterdir():
        lines = [_line(text) for text in book.read_text().splitlines()]
        most = max(most, *(line.told + 1 for line in lines if line.what == "beside"), _by_clock(lines))
    return most


def _line(text: str) -> Line:
    job, pid, ticks, what, told = text.split()
    return Line(int(job), int(pid), int(ticks), what, int(told))


def _by_clock(lines: list[Line]) -> int:
    spans: dict[tuple[int, int, int], list[int]] = defaultdict(list)
    for line in lines:
        if line.what in ("begin", "end"):
            spans[line.job, line.pid, line.ticks].append(line.told)
    whole = [span for span in spans.values() if len(span) == 2]
    moments = sorted((at, step) for span in whole for at, step in zip(span, (1, -1), strict=True))
    return max(accumulate(step for _, step in moments), default=0)
