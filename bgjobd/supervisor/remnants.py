"""What fork servers leave when they are gone: processes that carry their marks, and fences against their starts.

Both go once nothing of such a fork server can start, or run, any more.

The processes of one that ends while this daemon runs fall to it, and are for `strays`. Those of earlier daemons' have
fallen to init, and nothing but the mark tells whose they were: /proc is searched once when such a fork server is found
to be gone, and once when its last attempt has ended.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.core.log_entries import left_behind
from bgjobd.forkserver import process_identity, subreaper
from bgjobd.supervisor import fork_server_marks, processes
from bgjobd.supervisor.fork_server_marks import Marked
from bgjobd.supervisor.spool import Spool

_MOST_ROUNDS: Final = 16
"""How often /proc is searched for what those who are ended have forked meanwhile."""

_PAUSE: Final = 1.0
"""Seconds until it is tried again what took a descriptor, when there was none."""

_MOST_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class Process:
    """A process that carries a mark; `start_time` in clock ticks since boot, `uids` all that it has."""

    pid: int
    mark: str
    start_time: int
    session: int
    uids: frozenset[int]


def is_left_behind(process: Process, server: Marked, has_attempts: bool) -> bool:
    """Whether a fork server that is gone has left this process, unless it has to do with somebody who is known.

    As long as it has attempts, only what is of its own session: a child that has not proved its start, or what its
    imports have forked.
    """
    return (
        process.mark == server.mark
        and process.start_time >= server.start_time
        and process.uids <= set(server.uids)
        and (not has_attempts or process.session == server.pid)
    )


class Remnants:
    """Sees to the fork servers that the spool keeps, until nothing of them is left.

    `at_work` are the marks of those whose attempts or hooks are not over, None among them where that is not known of
    one; `known` are the processes that somebody looks after. `end_strays` ends, in a moment, what has fallen to this
    process.
    """

    def __init__(
        self,
        spool: Spool,
        life_id: str,
        at_work: Callable[[], Collection[str | None]],
        known: Callable[[], Collection[int]],
        end_strays: Callable[[], None],
        in_background: Callable[[Coroutine[Any, Any, None]], None],
        say: Callable[[EntryType, str], None],
    ) -> None:
        self._spool = spool
        self._life_id = life_id
        self._at_work = at_work
        self._known = known
        self._end_strays = end_strays
        self._in_background = in_background
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._alive: dict[str, int] = {}  # of earlier daemons, each with a pidfd
        self._gone: dict[str, Marked] = {}  # of earlier daemons
        self._idle: set[str] = set()  # gone, and nothing of it can carry out a start
        self._reaped: set[str] = set()  # of this daemon
        self._is_looking = False

    def start(self) -> None:
        """Take over the fork servers of earlier daemons: watch those that live, see to what the others have left."""
        for server in self._spool.servers.all():
            if server.life_id == self._life_id:
                self._take_over(server)
            else:
                self._settle(server.mark)  # all that it had is gone with that life
        self._spool.fences.lift_all()

    def close(self) -> None:
        """Let go of descriptors; the next daemon goes on."""
        for pidfd in self._alive.values():
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
        self._alive.clear()
        self._gone.clear()

    def on_end(self) -> None:
        """An attempt or a hook is over: it may have been the last of a fork server that is gone."""
        if self._gone:
            self._look()
        if self._reaped and self._finished(self._reaped):
            self._end_strays()

    def on_reaped(self, mark: str) -> None:
        """A fork server of this daemon is gone, and reaped."""
        self._reaped.add(mark)
        self._end_strays()

    def on_rest(self) -> None:
        """No process has fallen to this one that nobody knows."""
        for mark in self._reaped - self._idle:
            self._set_idle(mark)
        for mark in self._finished(self._reaped):
            self._reaped.remove(mark)
            self._settle(mark)

    def _take_over(self, server: Marked) -> None:
        try:
            pidfd = processes.try_open(
                {"pid": server.pid, "start_time": server.start_time, "pidfd_inode": server.pidfd_inode}
            )
        except OSError:  # no descriptors
            self._loop.call_later(_PAUSE, self._take_over, server)
            return
        if pidfd is None:
            self._on_gone(server)
            return
        self._alive[server.mark] = pidfd
        self._loop.add_reader(pidfd, self._on_end_of_server, server)

    def _on_end_of_server(self, server: Marked) -> None:
        pidfd = self._alive.pop(server.mark)
        self._loop.remove_reader(pidfd)
        os.close(pidfd)
        self._on_gone(server)

    def _on_gone(self, server: Marked) -> None:
        self._gone[server.mark] = server
        self._look()

    def _finished(self, servers: Iterable[str]) -> set[str]:
        """Those of these fork servers that have no attempts any more, for sure."""
        at_work = set(self._at_work())
        return set() if None in at_work else set(servers) - at_work

    def _set_idle(self, mark: str) -> None:
        self._idle.add(mark)
        self._spool.set_idle(mark)

    def _settle(self, mark: str) -> None:
        """Nothing is left of this fork server."""
        self._idle.discard(mark)
        self._spool.servers.remove(mark)

    # The search

    def _look(self) -> None:
        if not self._is_looking and self._wanted():
            self._is_looking = True
            self._in_background(self._see_to_them())

    def _wanted(self) -> dict[str, bool]:
        """Those whose remnants are to be ended now, each with whether it has attempts."""
        finished = self._finished(self._gone)
        return {mark: mark not in finished for mark in self._gone.keys() - self._idle | finished}

    async def _see_to_them(self) -> None:
        try:
            while wanted := self._wanted():
                has_ended = await self._has_ended_all(wanted)
                for mark, has_attempts in wanted.items() & self._wanted().items():
                    self._note_end(mark, has_attempts, has_ended)
        except OSError:  # no descriptors, or no thread
            self._loop.call_later(_PAUSE, self._look)
        finally:
            self._is_looking = False

    def _note_end(self, mark: str, has_attempts: bool, has_ended: bool) -> None:
        """What is left of it has ended, or it is given up, and the next daemon tries again."""
        if not has_ended:
            del self._gone[mark]
            return
        self._set_idle(mark)
        if not has_attempts:
            del self._gone[mark]
            self._settle(mark)

    async def _has_ended_all(self, wanted: Mapping[str, bool]) -> bool:
        """End what these have left, each with whether it has attempts. False where something of it does not end."""
        ended: dict[int, str] = {}
        try:
            for _ in range(_MOST_ROUNDS):
                dying = await self._end_some(wanted, ended)
                if not dying:
                    return True
                await self._wait_for(dying)
            return False
        finally:
            if ended:
                text = left_behind(len(ended), subreaper.told_names(ended))
                self._say(EntryType.INFO, f"ended what a dead fork server left behind, processes: {text}")

    async def _end_some(self, wanted: Mapping[str, bool], ended: dict[int, str]) -> list[int]:
        """Kill those that are there now, with their names to `ended`; a pidfd of each. Raises OSError."""
        found = await self._off_the_loop(lambda: _search(wanted))
        known = {*self._known(), os.getpid()}
        dying = []
        try:
            for pidfd, process in found:
                server = self._gone.get(process.mark)
                is_remnant = server is not None and is_left_behind(process, server, wanted[process.mark])
                name = (
                    _try_end(pidfd, process.pid) if is_remnant and not _is_kin(process.pid, known) else None
                )
                if name is not None:
                    ended[process.pid] = name
                    dying.append(pidfd)
        except OSError:
            _close(pidfd for pidfd, _ in found)
            raise
        _close({pidfd for pidfd, _ in found}.difference(dying))
        return dying

    async def _wait_for(self, pidfds: list[int]) -> None:
        """Wait for the ends of these, and let go of them."""
        ends = {pidfd: asyncio.Event() for pidfd in pidfds}
        for pidfd, end in ends.items():
            self._loop.add_reader(pidfd, end.set)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(processes.LONG_DYING):
                    for end in ends.values():
                        await end.wait()
        finally:
            for pidfd in pidfds:
                self._loop.remove_reader(pidfd)
            _close(pidfds)

    async def _off_the_loop(
        self, question: Callable[[], list[tuple[int, Process]]]
    ) -> list[tuple[int, Process]]:
        """Ask on a thread that nobody waits for at the end: who is looked at can hold up whoever looks.

        Raises OSError, also where no thread is to be had.
        """
        answer: asyncio.Future[list[tuple[int, Process]]] = self._loop.create_future()

        def tell(found: list[tuple[int, Process]] | Exception) -> None:
            if answer.done():
                return  # nobody waits any more
            if isinstance(found, Exception):
                answer.set_exception(found)
            else:
                answer.set_result(found)

        def ask() -> None:
            try:
                found: list[tuple[int, Process]] | Exception = question()
            except Exception as error:  # whatever it is: somebody waits for an answer
                found = error
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(tell, found)

        try:
            threading.Thread(target=ask, name="remnants", daemon=True).start()
        except RuntimeError as error:
            raise OSError(errno.EAGAIN, str(error)) from None
        return await answer


def _search(wanted: Collection[str]) -> list[tuple[int, Process]]:
    """The processes that carry one of these marks, as far as this one may see, each with a pidfd of it. Raises OSError
    for want of descriptors.
    """
    found: list[tuple[int, Process]] = []
    try:
        for pid in [int(name) for name in os.listdir("/proc") if name.isascii() and name.isdecimal()]:
            if fork_server_marks.try_mark_of(pid) not in wanted:
                continue
            with suppress(ProcessLookupError):
                pidfd = os.pidfd_open(pid)
                process = _try_look(pid, pidfd)  # at who it is now, which the pidfd holds fast
                if process is not None:
                    found.append((pidfd, process))
    except OSError:
        _close(pidfd for pidfd, _ in found)
        raise
    return found


def _try_look(pid: int, pidfd: int) -> Process | None:
    """The process; where it is none that can be told, or for want of descriptors, the pidfd is closed."""
    process = None
    try:
        process = _try_read(pid)
    finally:
        if process is None:
            os.close(pidfd)
    return process


def _close(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _try_read(pid: int) -> Process | None:
    mark = fork_server_marks.try_mark_of(pid)
    if mark is None:
        return None
    try:
        # Its name comes first, and may have a \r in it, which ends no line.
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace", newline="\n") as file:
            uids = next((line.split()[1:] for line in file if line.startswith("Uid:")), [])
        began, session = process_identity.start_time(pid), os.getsid(pid)
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(pid, mark, began, session, frozenset(map(int, uids)))


def _try_end(pidfd: int, pid: int) -> str | None:
    """Kill it, and tell the name of its program; None where it has ended, or is not for this process to end."""
    name = subreaper.try_name(pid)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return None
    return name


def _is_kin(pid: int, known: Collection[int]) -> bool:
    """Whether it is one of these, or above one, or below; also where that cannot be told."""
    line = _try_line(pid)
    if line is None or not line.isdisjoint(known):
        return True
    return any(pid in (_try_line(one) or ()) for one in known)


def _try_line(pid: int) -> set[int] | None:
    """The process and all above it; None where it is gone.

    Who loses his parent meanwhile gets another, and is asked again. Raises OSError for want of descriptors.
    """
    for _ in range(_MOST_TRIES):
        line = {pid}
        one = pid
        try:
            while (one := process_identity.parent(one)) and one not in line:
                line.add(one)
        except (FileNotFoundError, ProcessLookupError):
            if not os.path.exists(f"/proc/{pid}"):
                return None
            continue
        return line
    return None
