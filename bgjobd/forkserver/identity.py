"""Who a process is beyond its pid, which the kernel gives again: the facts that tell an impostor apart."""

from __future__ import annotations

import os
from typing import Any


def own_identity() -> dict[str, Any]:
    """This process: pid, start time in clock ticks since boot, and the inode of a pidfd (unique with pidfs)."""
    pid = os.getpid()
    pidfd = os.pidfd_open(pid)
    try:
        return {"pid": pid, "start_time": start_time(pid), "pidfd_inode": os.fstat(pidfd).st_ino}
    finally:
        os.close(pidfd)


def start_time(pid: int) -> int:
    """The start time of a process in clock ticks since boot. Raises OSError where there is none."""
    descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    try:
        text = os.read(descriptor, 1024)
    finally:
        os.close(descriptor)
    # The command name, in brackets, may hold anything; fields are counted from behind it (proc(5), field 22).
    return int(text[text.rindex(b")") + 2 :].split(b" ", 20)[19])
