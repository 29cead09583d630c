"""The life of this daemon, which its attempts do not outlive, and whether the process of one is surely gone."""

from __future__ import annotations

import errno
import hashlib
import os
import select
import time
from pathlib import Path
from typing import Final

from bgjobd.core.verdict import Life
from bgjobd.forkserver.process_identity import ahead, pidfd_inode, start_time

_OF_MACHINE: Final = 0xEFFFFFFC
"""The inode of the machine's own pid namespace: PROC_PID_INIT_INO of linux/proc_ns.h."""

_DOUBT: Final = 60.0
"""Seconds by which a process must be younger than an attempt not to be its."""


def own(proc: Path = Path("/proc")) -> Life:
    """The life of this process: within a pid namespace of a container, that of its pid 1; else the machine's boot."""
    boot_id = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    try:
        namespace = os.stat(proc / "self/ns/pid").st_ino
    except OSError:  # a kernel without such namespaces
        return Life(boot_id, boot_id)
    if namespace == _OF_MACHINE:
        return Life(boot_id, boot_id)
    name = f"{boot_id} {namespace} {_first_process()}"
    return Life(hashlib.sha256(name.encode()).hexdigest()[:32], boot_id)


def _first_process() -> str:
    """What tells pid 1 from any before it: the same for whoever asks in the same namespace, until it ends."""
    if _has_pidfs():
        return f"inode {pidfd_inode(1)}"
    try:
        return f"start {start_time(1)}"
    except OSError:  # hidden (hidepid): what is left is conservative, for it takes more for this life
        return "unknown"


def _has_pidfs() -> bool:
    """Whether pidfds have inodes of their own (Linux 6.9): else they are on the file system of all nameless files."""
    pidfd, nameless = os.pidfd_open(os.getpid()), os.eventfd(0)
    try:
        return os.fstat(pidfd).st_dev != os.fstat(nameless).st_dev
    finally:
        os.close(pidfd)
        os.close(nameless)


def is_gone(pid: int, began_at: float, now: float) -> bool:
    """Whether the process that had this pid when an attempt began, at this wall time, is certainly gone.

    The pid may have been given again since. Whoever has it now is not the attempt's if it is younger; but a wall clock
    that was set lies about that, so it must not lead a session either, as attempts do. Raises OSError for want of
    descriptors.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.EINVAL, errno.ENOENT):  # or the pid is a thread's by now
            return True
        raise
    try:
        return _has_ended(pidfd) or (_began(pid, now) > began_at + _DOUBT and os.getsid(pid) != pid)
    except ProcessLookupError:
        return True
    except (FileNotFoundError, PermissionError):
        return False  # it is hidden from this process
    finally:
        os.close(pidfd)


def _has_ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _began(pid: int, now: float) -> float:
    """When the process began, by the wall clock as it is now. Raises OSError."""
    since_boot = time.clock_gettime(time.CLOCK_BOOTTIME) - ahead("boottime")
    return now - since_boot + start_time(pid) / os.sysconf("SC_CLK_TCK")
