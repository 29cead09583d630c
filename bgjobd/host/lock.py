"""One daemon a state directory: a lock that ends with its process and is inherited by nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FILE_NAME: Final = "bgjobd.lock"


class AlreadyRunningError(Exception):
    """Another daemon holds the state directory; its pid is told as the lock file has it."""

    def __init__(self, state_dir: Path, pid: str) -> None:
        super().__init__(f"a daemon (pid {pid or 'unknown'}) already serves {state_dir}; stop it first")


def lock(state_dir: Path) -> int:
    """Take the lock; answers the descriptor that holds it. Raises AlreadyRunningError, OSError."""
    file = state_dir / FILE_NAME
    mode = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(file, mode, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:  # of another name's file nothing may be cut
        os.close(descriptor)
        raise FileExistsError(
            errno.EEXIST, "something that is no lock file is in its place; remove it", str(file)
        )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 32).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise AlreadyRunningError(state_dir, pid) from None
    with suppress(OSError):  # a full disk; the lock holds, and nothing but a message needs the pid
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
