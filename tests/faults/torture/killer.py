"""The one who kills: at random moments, seeded, any process of the daemon's; each kill is noted with its time."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple

from bgjobd.commands.process_table import Process
from bgjobd.forkserver.process_identity import start_time
from tests.faults.torture.station import Station

_MEAN_PAUSE: Final = 0.5
_MEAN_PAUSE_IN_CONTAINERS: Final = 1.5
_MERCY: Final = 0.9
_LONGEST_STOP: Final = 0.4
_LONGEST_SEARCH: Final = 1.0
_SEARCH: Final = 0.02
_LONGEST_WHILE: Final = 4.0


class Deed(StrEnum):
    """What is done to whom."""

    KILL_DAEMON = "kill -9 the daemon"
    KILL_SERVER = "kill -9 a fork server"
    KILL_CHILD = "kill -9 a child"
    KILL_BOTH = "kill -9 the daemon and its fork servers"
    STOP_DAEMON = "SIGTERM to the daemon"
    RELOAD = "SIGHUP to the daemon"
    FREEZE = "SIGSTOP, SIGCONT"
    BREAK_CODE = "a broken deploy, kill -9 a fork server"
    BREAK_IMPORT = "break an import, for a while"
    FILL_SPOOL = "fill the spool, for a while"
    FILL_STATE = "fill the disk of the database, for a while"
    KILL_CONTAINER = "kill -9 the container"
    LEAVE = "kill -9 the daemon, and have it away until others take over"
    LEAVE_ALL = "the same with its fork servers, so that nobody ends what they left"


WEIGHTS: Final = {
    Deed.KILL_DAEMON: 45,
    Deed.KILL_SERVER: 16,
    Deed.KILL_CHILD: 17,
    Deed.KILL_BOTH: 4,
    Deed.STOP_DAEMON: 7,
    Deed.RELOAD: 6,
    Deed.FREEZE: 5,
    Deed.BREAK_CODE: 6,
    Deed.BREAK_IMPORT: 4,
    Deed.FILL_SPOOL: 3,
    Deed.FILL_STATE: 3,
}
IN_CONTAINERS: Final = {
    Deed.KILL_CONTAINER: 30,
    Deed.KILL_DAEMON: 30,
    Deed.STOP_DAEMON: 12,
    Deed.RELOAD: 8,
    Deed.BREAK_CODE: 6,
    Deed.BREAK_IMPORT: 6,
    Deed.FILL_STATE: 4,
}
"""The same where the daemon is in a container, whose other processes are not told apart from outside."""

OF_HOSTS: Final = {
    Deed.KILL_DAEMON: 40,
    Deed.KILL_SERVER: 14,
    Deed.KILL_CHILD: 14,
    Deed.KILL_BOTH: 6,
    Deed.STOP_DAEMON: 7,
    Deed.RELOAD: 5,
    Deed.FREEZE: 5,
    Deed.BREAK_CODE: 4,
    Deed.BREAK_IMPORT: 3,
    Deed.LEAVE: 5,
    Deed.LEAVE_ALL: 5,
}
"""Where several daemons work from one database."""

KEEPS_AWAY: Final = frozenset({Deed.LEAVE, Deed.LEAVE_ALL})
ENDS_DAEMON: Final = KEEPS_AWAY | {Deed.KILL_DAEMON, Deed.KILL_BOTH, Deed.STOP_DAEMON, Deed.KILL_CONTAINER}
ENDS_SERVER: Final = frozenset(
    {
        *(Deed.KILL_SERVER, Deed.KILL_BOTH, Deed.BREAK_CODE, Deed.KILL_CONTAINER, Deed.LEAVE_ALL),
        Deed.BREAK_IMPORT,  # half of which kill one
    }
)


class Done(NamedTuple):
    """A deed and when it was done, in seconds since the epoch."""

    deed: Deed
    at: float


class Plan(NamedTuple):
    """Which deeds, how often beside each other, and how many seconds are between two, on average.

    `mercy`: how often one is left out where the daemon cannot run jobs yet, for what is never there does nothing.
    """

    weights: Mapping[Deed, int]
    pause: float
    mercy: float = 0.0

    @classmethod
    def of(cls, station: Station, pause: float | None = None) -> Plan:
        """For a daemon by itself; where the pause is given a busy machine is to come to something nevertheless."""
        weights, usual = (
            (IN_CONTAINERS, _MEAN_PAUSE_IN_CONTAINERS) if station.is_contained else (WEIGHTS, _MEAN_PAUSE)
        )
        return cls(weights, usual) if pause is None else cls(weights, pause, _MERCY)


class Killer:
    """Kills until it is told to stop; `done` is all that it did."""

    def __init__(self, station: Station, seed: int | str, plan: Plan | None = None) -> None:
        self.done: list[Done] = []
        self._station = station
        self._plan = plan or Plan.of(station)
        self._chance = random.Random(f"{seed}.killer")
        self._is_over = threading.Event()
        self._mending: dict[Deed, tuple[float, Callable[[], object]]] = {}
        self._thread = threading.Thread(target=self._kill, name="killer")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def counts(self) -> Counter[Deed]:
        return Counter(one.deed for one in self.done)

    @property
    def ends(self) -> int:
        """How often it has ended the daemon."""
        return sum(one.deed in ENDS_DAEMON for one in self.done)

    def _kill(self) -> None:
        weights, pause, mercy = self._plan
        while not self._is_over.wait(self._chance.uniform(0.0, 2 * pause)):
            self._mend(time.monotonic())
            if mercy and self._chance.random() < mercy and not self._station.has_fork_server():
                continue
            (deed,) = self._chance.choices(list(weights), list(weights.values()))
            if deed not in self._mending and _ACTS[deed](self):
                self.done.append(Done(deed, time.time()))
        self._mend(math.inf)

    def _mend(self, now: float) -> None:
        """Undo what was done for a while, once the while is over."""
        for deed, (due, mend) in list(self._mending.items()):
            if due <= now:
                del self._mending[deed]
                mend()

    def _for_a_while(self, deed: Deed, mend: Callable[[], object]) -> bool:
        self._mending[deed] = (time.monotonic() + self._chance.uniform(0.0, _LONGEST_WHILE), mend)
        return True

    def _break_import(self) -> bool:
        """Break it, and have somebody come up meanwhile: a fork server after a kill, or after a reload."""
        self._station.break_import()
        self._chance.choice((self._kill_server, self._reload))()
        return self._for_a_while(Deed.BREAK_IMPORT, self._mend_import)

    def _mend_import(self) -> None:
        self._station.mend_import()
        self._reload()

    def _fill_spool(self) -> bool:
        return self._fill(Deed.FILL_SPOOL, "run")

    def _fill_state(self) -> bool:
        return self._fill(Deed.FILL_STATE, "state")

    def _fill(self, deed: Deed, disk: str) -> bool:
        return self._station.is_filled(disk) and self._for_a_while(deed, lambda: self._station.empty(disk))

    def _kill_daemon(self) -> bool:
        return self._station.kill_daemon()

    def _leave(self) -> bool:
        """It comes back once it counts as lost, a moment earlier, or later."""
        self._station.keep_down(self._station.lost_after * self._chance.uniform(0.8, 1.8))
        self._kill_daemon()
        return True  # also where it had just died

    def _leave_all(self) -> bool:
        self._station.keep_down(self._station.lost_after * self._chance.uniform(1.2, 1.8))
        self._kill_both()
        return True

    def _kill_container(self) -> bool:
        return self._station.signal(signal.SIGKILL)

    def _stop_daemon(self) -> bool:
        return self._station.signal(signal.SIGTERM)

    def _reload(self) -> bool:
        # Before that it would end it.
        return self._station.is_answering() and self._station.signal(signal.SIGHUP)

    def _kill_server(self) -> bool:
        return self._send(signal.SIGKILL, self._try_find(lambda one: one.is_fork_server))

    def _kill_child(self) -> bool:
        return self._send(signal.SIGKILL, self._try_find(_is_attempt))

    def _kill_both(self) -> bool:
        servers = [one for one in self._station.census().values() if one.is_fork_server]
        parts = [self._kill_daemon, *(lambda one=one: self._send(signal.SIGKILL, one) for one in servers)]
        self._chance.shuffle(parts)
        hits = sum(part() for part in parts)
        return hits == len(parts) > 1

    def _freeze(self) -> bool:
        """Stop a process for a moment: a fork server, a child, or the daemon."""
        victim = self._try_find(
            lambda one: one.is_fork_server or _is_attempt(one) or one.pid == self._station.pid
        )
        if not self._send(signal.SIGSTOP, victim):
            return False
        self._is_over.wait(self._chance.uniform(0.0, _LONGEST_STOP))
        self._send(signal.SIGCONT, victim)
        return True

    def _break_code(self) -> bool:
        """Have a fork server come up while the classes cannot be imported; they are mended a moment later."""
        self._station.deploy("import nosuch\n")
        has_met = self._kill_server()
        self._is_over.wait(self._chance.uniform(0.0, _LONGEST_STOP))
        self._station.deploy()
        self._reload()
        return has_met

    def _try_find(self, is_wanted: Callable[[Process], bool]) -> Process | None:
        """Any process of this kind; waits a moment for one."""
        deadline = time.monotonic() + _LONGEST_SEARCH
        while time.monotonic() < deadline and not self._is_over.is_set():
            found = [one for one in self._station.census().values() if is_wanted(one) and not one.is_zombie]
            if found:
                return self._chance.choice(found)
            self._is_over.wait(_SEARCH)
        return None

    def _send(self, number: int, victim: Process | None) -> bool:
        """Signal it, if it is still the same process."""
        if victim is None:
            return False
        with suppress(OSError):
            pidfd = os.pidfd_open(victim.pid)
            try:
                if start_time(victim.pid) == victim.start_time:
                    signal.pidfd_send_signal(pidfd, number)
                    return True
            finally:
                os.close(pidfd)
        return False


def _is_attempt(process: Process) -> bool:
    """Whether it is the main process of an attempt, which leads a session."""
    return bool(process.holds) and process.session == process.pid and not process.is_fork_server


_ACTS: Final[dict[Deed, Callable[[Killer], bool]]] = {
    Deed.KILL_DAEMON: Killer._kill_daemon,
    Deed.KILL_SERVER: Killer._kill_server,
    Deed.KILL_CHILD: Killer._kill_child,
    Deed.KILL_BOTH: Killer._kill_both,
    Deed.STOP_DAEMON: Killer._stop_daemon,
    Deed.RELOAD: Killer._reload,
    Deed.FREEZE: Killer._freeze,
    Deed.BREAK_CODE: Killer._break_code,
    Deed.BREAK_IMPORT: Killer._break_import,
    Deed.FILL_SPOOL: Killer._fill_spool,
    Deed.FILL_STATE: Killer._fill_state,
    Deed.KILL_CONTAINER: Killer._kill_container,
    Deed.LEAVE: Killer._leave,
    Deed.LEAVE_ALL: Killer._leave_all,
}
