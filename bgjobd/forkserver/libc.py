"""Calls to the kernel that Python has no functions for, by ctypes, and what it tells of this process."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of linux/capability.h."""

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = getattr(_libc, "fallocate64", _libc.fallocate)  # where the two differ, this takes large offsets
_TIMER_ABSTIME = 1
_IN_MOVED_TO = 0x80
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    _checked(_libc.prctl(option, value, 0, 0, 0))


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2), whose mode os.posix_fallocate does not take. Raises OSError."""
    _checked(_fallocate(descriptor, mode, offset, length))


def madvise(begin: int, length: int, advice: int) -> None:
    """madvise(2). Raises OSError."""
    _checked(_libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(length), advice))


def unshare(what: int) -> None:
    """unshare(2). Raises OSError."""
    _checked(_libc.unshare(what))


def setns(descriptor: int, kind: int) -> None:
    """setns(2), which Python has since 3.12. Raises OSError."""
    _checked(_libc.setns(descriptor, kind))


def capabilities() -> int:
    """Those in force, a bit each; none where that is not told."""
    try:
        return int(status()["CapEff"], 16)
    except (OSError, ValueError, KeyError):
        return 0


def status() -> dict[str, str]:
    """What the kernel tells of this process (proc_pid_status(5))."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        return dict(line.split(":", 1) for line in file if ":" in line)


def drop_capabilities() -> None:
    """Have none of them in force, nor any that could be (capset(2)). Raises OSError."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def timerfd_create(clock: int) -> int:
    """timerfd_create(2): a descriptor that never blocks, and is not inherited. Raises OSError."""
    return _checked(_libc.timerfd_create(clock, os.O_NONBLOCK | os.O_CLOEXEC))


def timerfd_settime(timer: int, at: float) -> None:
    """timerfd_settime(2): readable once the timer's clock has come to `at`; never at 0. Raises OSError."""
    seconds, nanoseconds = divmod(round(at * 1e9), 10**9)
    once = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
    _checked(_libc.timerfd_settime(timer, _TIMER_ABSTIME, once, None))


def inotify_of_moves(directory: str) -> int:
    """A descriptor that is readable once something is moved to this directory, never blocks, and is not inherited.

    Raises OSError.
    """
    descriptor = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        _checked(_libc.inotify_add_watch(descriptor, os.fsencode(directory), _IN_MOVED_TO))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def syscall(number: int, *arguments: Any) -> int:
    """The system call of this number; its result. Raises OSError."""
    return _checked(_libc.syscall(number, *arguments))


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
