"""Calls to the kernel that Python has no functions for, by ctypes."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument. Raises OSError."""
    _checked(_libc.prctl(option, value, 0, 0, 0))


def syscall(number: int, *arguments: Any) -> int:
    """The system call of this number; its result. Raises OSError."""
    return _checked(_libc.syscall(number, *arguments))


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
