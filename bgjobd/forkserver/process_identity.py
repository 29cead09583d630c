"""What the kernel tells of a process: who it is beyond its pid, which is given again, and what it has spent."""

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
    return _numbers(pid, 22, 22)[0] - round(ahead("boottime") * os.sysconf("SC_CLK_TCK"))


def parent(pid: int) -> int:
    """The pid of a process's parent; 0 where it has none, or none that this process may see. Raises OSError."""
    return _numbers(pid, 4, 4)[0]


def cpu_time(pid: int) -> float:
    """The seconds of CPU time that a process, and none of its children, has spent. Raises OSError without one."""
    return sum(_numbers(pid, 14, 15)) / os.sysconf("SC_CLK_TCK")


def caught_signals(pid: int) -> frozenset[int]:
    """The signals that a process has handlers for. Raises OSError without one."""
    return signals_in(status(pid).get("SigCgt", "0"))


def status(pid: int) -> dict[str, str]:
    """What proc_pid_status(5) has of a process, by name; no less of another user's. Raises OSError without one."""
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
        return {name: value.strip() for name, _, value in (line.partition(":") for line in file)}


def signals_in(mask: str) -> frozenset[int]:
    """The numbers of the signals in a mask as the kernel writes it."""
    bits = int(mask, 16)
    return frozenset(number for number in range(1, 65) if bits >> number - 1 & 1)


def place_of_arguments(pid: int) -> tuple[int, int]:
    """Where in its memory the command line of a process begins and ends; 0, 0 where that is not told."""
    try:
        begin, end = _numbers(pid, 48, 49)
    except OSError:
        return 0, 0
    return begin, end


def _numbers(pid: int, first: int, last: int) -> list[int]:
    """These fields of proc_pid_stat(5), counted as there, from behind the command's name, which may hold anything."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 1024)
    finally:
        os.close(descriptor)
    third = text.rindex(b")") + 2
    return list(map(int, text[third:].split(b" ", last - 2)[first - 3 : last - 2]))


def ahead(clock: str, pid: int | None = None) -> float:
    """Seconds by which a process's clock, "monotonic" or "boottime", is ahead of the machine's: by its time namespace.

    Of this process where no pid is given; 0 where nothing is known of it, nor of one that has ended: its file is empty.
    """
    try:
        with open(f"/proc/{pid or 'self'}/timens_offsets", "rb") as file:
            offsets = {name: (seconds, nanoseconds) for name, seconds, nanoseconds in map(bytes.split, file)}
    except OSError:
        return 0.0  # it is gone, or the kernel has no such namespaces
    seconds, nanoseconds = offsets.get(clock.encode(), (0, 0))
    return int(seconds) + int(nanoseconds) / 1e9
