"""Who a process is beyond its pid, which the kernel gives again: the facts that tell an impostor apart."""

from __future__ import annotations

import os


def pidfd_inode(pid: int) -> int:
    """The inode of a pidfd of this process: its own for each process where the kernel has pidfs."""
    pidfd = os.pidfd_open(pid)
    try:
        return os.fstat(pidfd).st_ino
    finally:
        os.close(pidfd)


def has_pidfs() -> bool:
    """Whether this kernel gives each process an inode of its own, which no other ever gets within the boot."""
    return pidfd_inode(os.getpid()) != pidfd_inode(os.getppid())


def start_time(pid: int) -> int:
    """The start time of a process in clock ticks since boot. Raises OSError where there is none."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 1024)
    finally:
        os.close(descriptor)
    # The command name, in brackets, may hold anything; fields are counted from behind it (proc(5), field 22).
    return int(text[text.rindex(b")") + 2 :].split(b" ", 20)[19])
