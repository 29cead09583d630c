"""What is done to a host, or to the database of all, and undone again: a table of what may come between them."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from tests.faults.partition.effects import Standstill
from tests.faults.partition.site import GRACE, LOST_AFTER, Host, Site
from tests.proxy import Lost
from tests.support import eventually

_PATIENCE: Final = 120.0
_LONGEST_SHORT: Final = LOST_AFTER / 2 - 0.5
_ENDING: Final = GRACE + 4.0
"""Seconds that a host which goes on may take to end what it ran; on a busy machine."""


class Blow(StrEnum):
    """`…, lost`: for so long that the others take over."""

    CUT = "cut off, for a moment"
    CUT_LOST = "cut off, lost"
    PAUSE = "its messages held up, for a moment"
    PAUSE_LOST = "its messages held up, lost"
    PAUSE_AMID_LOST = "its messages held up from a COMMIT on, lost"
    DELAY = "each message late"
    STOP_DAEMON = "the daemon stopped, for a moment"
    STOP_DAEMON_LOST = "the daemon stopped, lost"
    KILL_DAEMON = "the daemon killed, and started"
    KILL_DAEMON_LOST = "the daemon killed, lost"
    STOP_BOTH_LOST = "daemon and fork server stopped, lost"
    KILL_BOTH_LOST = "daemon and fork server killed, lost"
    COMMITS = "COMMITs and their answers lost, on all hosts"
    SESSIONS = "sessions ended by the server"
    OUTAGE = "the server away, for a moment"
    OUTAGE_FENCED = "the server away for longer than the fence"


class Round:
    """A blow that is struck at a host: what it needs to know of time and chance. `standstills` are what it caused."""

    def __init__(self, site: Site, host: Host, chance: random.Random) -> None:
        self.site = site
        self.host = host
        self.chance = chance
        self.standstills: list[Standstill] = []
        self.was_lost = False
        self._clock = threading.Event()

    def strike(self, blow: Blow) -> None:
        """Do it, and undo it. Raises AssertionError where what was to come of it does not."""
        _BLOWS[blow](self)

    def short(self) -> None:
        """Wait for less than the fence does."""
        self.wait(self.chance.uniform(0.2, _LONGEST_SHORT))

    def until_lost(self, longest: float = 3.0) -> None:
        """Wait until the others have taken the host for lost, and at most so many seconds longer."""
        eventually(lambda: self.site.is_lost(self.host), _PATIENCE)
        self.was_lost = True
        self.wait(self.chance.uniform(0.0, longest))

    def wait(self, seconds: float) -> None:
        self._clock.wait(seconds)

    def each(self, seconds: float, pause: float, act: Callable[[], None]) -> None:
        """Do it again and again for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            act()
            self.wait(self.chance.uniform(0.0, 2 * pause))


def _cut(round: Round, wait: Callable[[], None]) -> None:
    round.host.proxy.cut()
    try:
        wait()
    finally:
        round.host.proxy.mend()


def _pause(round: Round, wait: Callable[[], None]) -> None:
    round.host.proxy.pause()
    try:
        wait()
    finally:
        round.host.proxy.resume()


def _pause_amid(round: Round) -> None:
    """It holds locks that the others wait for: its entries are in the log, and the COMMIT behind them is not there."""
    proxy = round.host.proxy

    def pause() -> None:
        proxy.loses = lambda: None
        proxy.pause()

    proxy.loses = pause
    try:
        round.until_lost()
    finally:
        proxy.loses = lambda: None
        proxy.resume()


def _delay(round: Round) -> None:
    round.host.proxy.delay = round.chance.uniform(0.005, 0.1)
    try:
        round.wait(round.chance.uniform(2.0, 6.0))
    finally:
        round.host.proxy.delay = 0.0


def _stop_daemon(round: Round, wait: Callable[[], None]) -> None:
    round.host.signal(signal.SIGSTOP)
    try:
        wait()
    finally:
        round.host.signal(signal.SIGCONT)


def _kill_daemon(round: Round, wait: Callable[[], None]) -> None:
    round.host.signal(signal.SIGKILL)
    try:
        wait()
    finally:
        round.host.start()


def _stop_both(round: Round) -> None:
    since = time.monotonic()
    round.host.signal(signal.SIGSTOP, with_servers=True)
    try:
        round.until_lost(longest=12.0)
    finally:
        round.host.signal(signal.SIGCONT, with_servers=True)
        round.standstills.append(Standstill(round.host.name, since, time.monotonic() + _ENDING))


def _kill_both(round: Round) -> None:
    since = time.monotonic()
    round.host.signal(signal.SIGSTOP, signal.SIGKILL, with_servers=True)
    try:
        round.until_lost(longest=12.0)
    finally:
        round.host.start()
        eventually(round.host.running.answers, _PATIENCE)
        round.standstills.append(Standstill(round.host.name, since, time.monotonic() + _ENDING))


def _lose_commits(round: Round) -> None:
    """Some of each: the wish, so that there was none, or the answer, so that nobody knows."""
    weights = (0.1, 0.1, 0.8)
    chance = random.Random(round.chance.random())
    for host in round.site.hosts:
        host.proxy.loses = lambda: chance.choices((Lost.WISH, Lost.ANSWER, None), weights)[0]
    try:
        round.wait(round.chance.uniform(2.0, 6.0))
    finally:
        for host in round.site.hosts:
            host.proxy.loses = lambda: None


def _end_sessions(round: Round) -> None:
    round.each(round.chance.uniform(2.0, 5.0), 0.2, lambda: round.site.end_a_session(round.chance))


def _outage(round: Round, wait: Callable[[], None]) -> None:
    round.chance.choice((round.site.database.stop, round.site.database.crash))()
    try:
        wait()
    finally:
        round.site.database.start()


def _longer_than_the_fence(round: Round) -> None:
    round.wait(round.chance.uniform(LOST_AFTER / 2 + 0.5, LOST_AFTER * 1.5))


_BLOWS: Final[dict[Blow, Callable[[Round], None]]] = {
    Blow.CUT: lambda round: _cut(round, round.short),
    Blow.CUT_LOST: lambda round: _cut(round, round.until_lost),
    Blow.PAUSE: lambda round: _pause(round, round.short),
    Blow.PAUSE_LOST: lambda round: _pause(round, round.until_lost),
    Blow.PAUSE_AMID_LOST: _pause_amid,
    Blow.DELAY: _delay,
    Blow.STOP_DAEMON: lambda round: _stop_daemon(round, round.short),
    Blow.STOP_DAEMON_LOST: lambda round: _stop_daemon(round, round.until_lost),
    Blow.KILL_DAEMON: lambda round: _kill_daemon(round, round.short),
    Blow.KILL_DAEMON_LOST: lambda round: _kill_daemon(round, round.until_lost),
    Blow.STOP_BOTH_LOST: _stop_both,
    Blow.KILL_BOTH_LOST: _kill_both,
    Blow.COMMITS: _lose_commits,
    Blow.SESSIONS: _end_sessions,
    Blow.OUTAGE: lambda round: _outage(round, round.short),
    Blow.OUTAGE_FENCED: lambda round: _outage(round, lambda: _longer_than_the_fence(round)),
}
