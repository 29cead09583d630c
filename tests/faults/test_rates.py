"""Rates by the bodies' own clock: never more starts than promised, through a restart and a clock that is set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from bgjobd.core.rates import Rate
from bgjobd.host.clock import from_text
from tests.daemon.running import RunningDaemon, daemon
from tests.faults.test_clocks import HOUR, Shifted, ended_at_last
from tests.protocol.peers import connect, ours
from tests.support import eventually

MODULE: Final = """
import os, time


class Ticking:
    def tick(self, book):
        begun = f"{time.monotonic()} {time.time()}\\n".encode()
        descriptor = os.open(book, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, begun)
        finally:
            os.close(descriptor)


class Keyed(Ticking):
    pass
"""
OF_CLASS, OF_KEY = Rate(20, 1.0, burst=5), Rate(10, 1.0)
SETTINGS: Final = """
"ticking.Ticking" = { rate = "20/1s burst 5" }
"ticking.Keyed" = {}
[queues]
slow = { rate_per_key = "10/1s" }
"""
_CLOCKS: Final = 0.001
"""Seconds by which the wall clock may have gone otherwise than the monotonic one meanwhile."""


class Start(NamedTuple):
    """Of an attempt, by the monotonic clock: as its body told, and as it was claimed."""

    told: float
    claimed: float


def test_no_stretch_has_more_starts_than_promised_through_a_restart_and_set_clocks(tmp_path: Path) -> None:
    of_class, of_key = tmp_path / "class", tmp_path / "key"
    (tmp_path / "ticking.py").write_text(MODULE)
    running = Shifted(tmp_path, SETTINGS)
    with ended_at_last(running):
        running.start()
        _submit(running, 70, "Ticking", of_class)
        _submit(running, 40, "Keyed", of_key, queue="slow", key="customer:7")
        eventually(lambda: _count(of_class) > 15 and _count(of_key) > 5)
        running.set_by(HOUR)
        eventually(lambda: _count(of_class) > 30 and _count(of_key) > 12)
        running.stop()
        running.start()
        eventually(lambda: _count(of_class) > 50 and _count(of_key) > 25)
        running.set_by(-HOUR)
        eventually(lambda: _count(of_class) == 70 and _count(of_key) == 40)
        _assert_kept(OF_CLASS, _starts(running, of_class))
        _assert_kept(OF_KEY, _starts(running, of_key))


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("words", "rate"), [("100/1m", Rate(100, 60.0)), ("10/1s", Rate(10, 1.0))])
def test_as_many_start_as_were_promised(tmp_path: Path, words: str, rate: Rate) -> None:
    book, minute = tmp_path / "book", 60.0
    settings = f'"ticking.Ticking" = {{ rate = "{words}" }}'
    with daemon(tmp_path, settings, modules={"ticking": MODULE}) as running:
        _submit(running, round(minute / rate.interval) + 50, "Ticking", book)
        first = eventually(lambda: _count(book) and _told(book)[0][0])
        eventually(lambda: time.monotonic() > first + minute + 1.0, within=2 * minute)
        starts = _starts(running, book)
        _assert_kept(rate, starts)
        within = [start for start in starts if start.told <= starts[0].told + minute]
        assert len(within) - 1 >= 0.97 * minute / rate.interval


def _submit(running: RunningDaemon, number: int, name: str, book: Path, **options: str) -> None:
    job = {"class_name": f"ticking.{name}", "method_name": "tick", "parameters": {"book": str(book)}}
    with connect(running) as peer:
        reply = peer.ask(ours("SubmitMany", jobs=[{**job, "options": options}] * number))
        assert reply.error is None, reply


def _count(book: Path) -> int:
    return book.read_text().count("\n") if book.exists() else 0


def _told(book: Path) -> list[tuple[float, float]]:
    return sorted((float(one), float(other)) for one, other in map(str.split, book.read_text().splitlines()))


def _starts(running: RunningDaemon, book: Path) -> list[Start]:
    """What bodies told, in order, beside what is stored: whose wall clock was set by an hour, or by none.

    Bodies overtake each other, and so it is not known which claim is whose: the first is the first's, and so on.
    """
    its = f"""instr(parameters, '"book":"{book}"') > 0"""
    sql = f"SELECT started_at FROM background_jobs WHERE started_at IS NOT NULL AND {its}"
    stored = [from_text(at) for (at,) in running.query(sql)]
    told = _told(book)
    ahead = told[0][1] - told[0][0]
    latest = told[-1][0] + 1.0
    claims = sorted(min(_readings(at - ahead), key=lambda one: (one > latest, latest - one)) for at in stored)
    return [Start(one, claimed) for (one, _), claimed in zip(told, claims, strict=False)]


def _readings(at: float) -> Sequence[float]:
    """What the instant may be, of a clock that was set by an hour, or was not."""
    return at, at - HOUR


def _assert_kept(rate: Rate, starts: Sequence[Start]) -> None:
    """The claims keep the promise to the letter, and the bodies but for the time that each took from its claim on: that
    is other each time, and by the most that it differs a stretch may be longer than it looks.
    """
    delays = [start.told - start.claimed for start in starts]
    assert min(delays) >= -_CLOCKS, "a body has begun before it was claimed"
    _assert_within(rate, sorted(start.claimed for start in starts), _CLOCKS)
    _assert_within(rate, [start.told for start in starts], max(delays) - min(delays) + _CLOCKS)


def _assert_within(rate: Rate, starts: Sequence[float], slack: float) -> None:
    for (first, begin), (last, end) in combinations(enumerate(starts), 2):
        promised = rate.burst + (end - begin + rate.early + slack) / rate.interval
        assert last - first + 1 <= promised, (first, last, end - begin)
