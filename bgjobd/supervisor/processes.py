"""Processes of attempts and hooks: opened by what their journals tell of them, and signalled with their groups."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Final

from bgjobd.forkserver import journal as journals
from bgjobd.forkserver.journal import Journal
from bgjobd.forkserver.process_identity import ahead, start_time

_WHOLE_GROUP: Final = 4
"""PIDFD_SIGNAL_PROCESS_GROUP of linux/pidfd.h, from kernel 6.9 on."""


def began_at(record: journals.Record) -> float:
    """When the process of a `started` record began, by the monotonic clock of this one, in whatever time namespace."""
    told = float(record["monotonic"]) - ahead("monotonic", record["pid"]) + ahead("monotonic")
    return min(told, time.monotonic())  # a job can write a later moment over it, and is not given time for it


def try_open_process(journal: Journal, owner: int | None = None, parents: Collection[int] = ()) -> int | None:
    """A pidfd of the process that began this journal, or None where it is gone.

    A job can write another's pid over its own: it must be the owner's, and a child of one of the parents, where those
    are known. Raises OSError where no descriptor is to be had.
    """
    return None if journal.started is None else try_open(journal.started, owner, parents)


def try_open(record: journals.Record, owner: int | None = None, parents: Collection[int] = ()) -> int | None:
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


def _has_started_then(record: journals.Record) -> bool:
    """Whether the pid's process is as old as the record says; 0 says that the pidfd's inode tells enough (pidfs)."""
    told = int(record["start_time"])
    return told == 0 or start_time(record["pid"]) == told


def _is_likely(pid: int, owner: int | None, parents: Collection[int]) -> bool:
    """Whether the process may be an attempt of the owner's that one of these has forked. Raises OSError."""
    if owner is None and not parents:
        return True
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            told = {name: value.split() for name, _, value in (line.partition(":") for line in file)}
    except FileNotFoundError:
        return True  # it has just ended, or is hidden from this process (hidepid): nothing tells against it
    is_owners = owner is None or set(map(int, told["Uid"])) == {owner}
    return is_owners and (not parents or int(told["PPid"][0]) in parents)


def is_unreaped(pidfd: int) -> bool:
    """Whether the process is there, if only as one that has ended and is not reaped yet."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except OSError as error:
        return error.errno != errno.ESRCH
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
