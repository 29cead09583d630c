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
    """The start time of a process in clock ticks since boot, the same to every reader. Raises OSError without one."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 1024)
    finally:
        os.close(descriptor)
    # The command name, in brackets, may hold anything; fields are counted from behind it (proc(5), field 22).
    told = int(text[text.rindex(b")") + 2 :].split(b" ", 20)[19])
    return told - round(ahead("boottime") * os.sysconf("SC_CLK_TCK"))


def ahead(clock: str, pid: int | None = None) -> float:
    """Seconds by which a process's clock, "monotonic" or "boottime", is ahead of the machine's: by its time namespace.

    Of this process where no pid is given; 0 where nothing is known of it.
    """
    try:
        with open(f"/proc/{pid or 'self'}/timens_offsets", "rb") as file:
            offsets = {name: (seconds, nanoseconds) for name, seconds, nanoseconds in map(bytes.split, file)}
    except OSError:
        return 0.0  # it is gone, or the kernel has no such namespaces
    seconds, nanoseconds = offsets[clock.encode()]
    return int(seconds) + int(nanoseconds) / 1e9
