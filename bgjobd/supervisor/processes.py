"""Processes of attempts and hooks: opened by what their journals tell, signalled with their groups, watched, looked at
again, and collected where they fell to this process. What that means is known elsewhere.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from bgjobd.core.job import AttemptKey
from bgjobd.forkserver import journal_lines
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.process_identity import ahead, start_time
from bgjobd.forkserver.spool_names import ATTEMPT, directory_name
from bgjobd.supervisor.spool import Spool
from bgjobd.supervisor.work_dirs import WorkDirs

FIRST_LOOK: Final = 0.001
LAST_LOOK: Final = 1.0
"""Seconds until the first and the last of the looks at how a process ended; each takes twice as long to come."""

LONG_DYING: Final = 5.0
"""Seconds after SIGKILL in which a process ends, unless it waits in the kernel."""

Identity = tuple[int, int, int]
"""What a journal tells a process by: its pid, its pidfd's inode and its start time."""

_WHOLE_GROUP: Final = 4
"""PIDFD_SIGNAL_PROCESS_GROUP of linux/pidfd.h, from kernel 6.9 on."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of processes, whatever a job writes into its journal: who told of each `first`, and whether a pid
    is that of a child of the daemon's which is no attempt, such as a fork server.

    `leaders` are the processes of attempts that are open, by their pids: each leads its session.
    """

    first: dict[Identity, AttemptProcess] = field(default_factory=dict)
    leaders: dict[int, AttemptProcess] = field(default_factory=dict)
    is_helper: Callable[[int], bool] = lambda pid: False

    def job_of(self, leader: int) -> int | None:
        """The job whose attempt leads this session; None where none does that is there."""
        process = self.leaders.get(leader)
        return None if process is None or not process.is_unreaped else process.job


class AttemptProcess:
    """The process of an attempt, or of the hook after it: by a pidfd, once it is open, until `release`.

    `server_pid` is the fork server's whose child it is, None where it has none any more. `exit`: how it ended, where
    this process has reaped it, or was told. `output_bytes` measures what it has printed.
    """

    def __init__(
        self,
        spool: Spool,
        work: WorkDirs,
        known: Known,
        end_strays: Callable[[], Mapping[int, str]],
        key: AttemptKey,
        kind: str = ATTEMPT,
        output_bytes: Callable[[], int] = lambda: 0,
    ) -> None:
        self._spool, self._work, self._known, self._end_strays = spool, work, known, end_strays
        self._key, self._kind, self._output_bytes = key, kind, output_bytes
        self._identity: Identity | None = None
        self._loop = asyncio.get_running_loop()
        self._pidfd: int | None = None
        self._pid = 0
        self._next_look: asyncio.TimerHandle | None = None
        self.server_pid: int | None = None
        self.exit: journal_lines.Record | None = None

    @property
    def job(self) -> int:
        return self._key[0]

    @property
    def pid(self) -> int:
        """Its pid, once it was open; 0 before."""
        return self._pid

    @property
    def directory(self) -> str:
        """The name of the directory that it works in, and of its cgroup."""
        return directory_name(*self._key, self._kind)

    def try_read(self) -> Journal | None:
        """Its journal. Raises OSError, as for any."""
        return self._spool.files.try_read(self._key, self._kind)

    def try_open_for_others(self, journal: Journal) -> int | None:
        """A pidfd of it, and of no other process that the job may have written into its journal; None where it is gone.

        For any thread. Raises OSError.
        """
        if journal.started is None or self._known.is_helper(journal.started["pid"]):
            return None
        if self.server_pid is None:  # adopted: whose it is nobody knows better than its journal
            return try_open_process(journal, self._work.owner_of(self.directory))
        if self._known.first.get(_identity(journal.started), self) is not self:
            return None
        return try_open_process(journal, self._work.owner_of(self.directory), (self.server_pid,))

    def note(self, record: journal_lines.Record) -> None:
        """Its journal has told who it is; that of another, should it tell the same later, is not believed."""
        self._identity = _identity(record)
        self._known.first.setdefault(self._identity, self)

    def open(self, journal: Journal | None) -> bool:
        """Open it, if it is there; whether it is open. Raises OSError where no descriptor is to be had."""
        if self._pidfd is None and journal is not None and journal.started is not None:
            self._pidfd, self._pid = self.try_open_for_others(journal), journal.started["pid"]
            if self._pidfd is not None and self._kind == ATTEMPT:
                self._known.leaders[self._pid] = self
        return self._pidfd is not None

    def signal(self, number: int, journal: Journal | None) -> bool:
        """Signal its group, if it is there; whether it is known. Raises OSError."""
        is_open = self.open(journal)
        if self._pidfd is not None:
            signal_group(self._pidfd, self._pid, number)
        return is_open

    def watch(self, on_end: Callable[[], None]) -> None:
        """Call this once, when it has ended: at once, as soon as the loop goes on, where it has."""
        if self._pidfd is not None:
            self._loop.add_reader(self._pidfd, self._on_end, on_end)

    def _on_end(self, on_end: Callable[[], None]) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        on_end()

    @property
    def is_unreaped(self) -> bool:
        """Whether it has a parent that will tell how it ended."""
        return self._pidfd is not None and is_unreaped(self._pidfd)

    def try_collect(self) -> journal_lines.Record | None:
        """Its exit: it has ended, and is reaped, if it fell to this process from a dead fork server. Raises OSError."""
        if self.exit is None and self._pidfd is not None:
            group = self._work.try_group(self.directory)
            self.exit = self._spool.try_collect(
                self._pidfd, self._key, self._output_bytes, self._end_strays, group, self._kind
            )
        return self.exit

    def look_again(self, look: Callable[[float], bool], pause: float = FIRST_LOOK) -> None:
        """Look how it has ended, now and after pauses that double, until `look` has seen enough; it hears the pause.

        It looks again in a moment where something cannot be read for lack of descriptors or memory.
        """
        self._stop_looking()
        try:
            is_enough = look(pause)
        except OSError:
            self._next_look = self._loop.call_later(LAST_LOOK, self.look_again, look, pause)
            return
        if not is_enough:
            self._next_look = self._loop.call_later(min(pause, LAST_LOOK), self.look_again, look, pause * 2)

    def _stop_looking(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None

    def release(self) -> None:
        """Let go of it; it goes on."""
        self._stop_looking()
        if self._identity is not None and self._known.first.get(self._identity) is self:
            del self._known.first[self._identity]
        if self._known.leaders.get(self._pid) is self:
            del self._known.leaders[self._pid]
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = None


def _identity(record: journal_lines.Record) -> Identity:
    return record["pid"], record["pidfd_inode"], record["start_time"]


def began_at(record: journal_lines.Record) -> float:
    """When the process of a `started` record began, by the monotonic clock of this one, in whatever time namespace."""
    moment = float(record["monotonic"]) - ahead("monotonic", record["pid"]) + ahead("monotonic")
    # A job can write a later moment over it, and is not given time for it.
    return min(moment, time.monotonic())


def try_open_process(journal: Journal, owner: int | None = None, parents: Collection[int] = ()) -> int | None:
    """A pidfd of the process that began this journal, or None where it is gone.

    A job can write another's pid over its own: it must be the owner's, and a child of one of the parents, where those
    are known. Raises OSError where no descriptor is to be had.
    """
    return None if journal.started is None else try_open(journal.started, owner, parents)


def try_open(
    record: journal_lines.Record, owner: int | None = None, parents: Collection[int] = ()
) -> int | None:
    """A pidfd of the process with this pid, start time and pidfd's inode, as above.

    The pidfd is opened first and compared then, so a pid that the kernel gave again is found out.
    """
    try:
        pidfd = os.pidfd_open(record["pid"])
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL):
            return None  # it is gone, or the pid is a thread's by now
        raise
    try:
        is_same = os.fstat(pidfd).st_ino == record["pidfd_inode"] and _has_started_then(record)
        if is_same and _is_likely(record["pid"], owner, parents):
            return pidfd
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH):
            raise
    os.close(pidfd)
    return None


def _has_started_then(record: journal_lines.Record) -> bool:
    """Whether the pid's process is as old as the record says; 0 says that the pidfd's inode tells enough (pidfs)."""
    recorded = int(record["start_time"])
    return recorded == 0 or start_time(record["pid"]) == recorded


def _is_likely(pid: int, owner: int | None, parents: Collection[int]) -> bool:
    """Whether the process may be an attempt of the owner's that one of these has forked. Raises OSError."""
    if owner is None and not parents:
        return True
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            fields = {name: value.split() for name, _, value in (line.partition(":") for line in file)}
    except FileNotFoundError:
        return True  # it has just ended, or is hidden from this process (hidepid): nothing tells against it
    is_owners = owner is None or set(map(int, fields["Uid"])) == {owner}
    return is_owners and (not parents or int(fields["PPid"][0]) in parents)


def is_unreaped(pidfd: int) -> bool:
    """Whether the process is there, if only as one that has ended and is not reaped yet."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
    return True


def signal_alone(pidfd: int, number: int) -> bool:
    """Signal the process, and none of its group; False where it is gone, or that is forbidden."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def signal_group(pidfd: int, pid: int, number: int) -> None:
    """Signal the process behind `pidfd`, whose pid is `pid`, and all of its process group. Silent where it is gone."""
    with suppress(ProcessLookupError):
        try:
            signal.pidfd_send_signal(pidfd, number, None, _WHOLE_GROUP)
        except ProcessLookupError:
            signal.pidfd_send_signal(pidfd, number)  # it does not lead its group yet
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            _signal_group_of_old_kernel(pidfd, pid, number)


def _signal_group_of_old_kernel(pidfd: int, pid: int, number: int) -> None:
    signal.pidfd_send_signal(pidfd, number)  # raises where it is reaped; until then the pid is its own
    with suppress(ProcessLookupError):
        os.killpg(pid, number)
