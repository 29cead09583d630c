"""The kernel's keyrings (keyrings(7)): this process has nothing of those of whoever started the daemon."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Final

from . import libc

_JOIN_SESSION_KEYRING = 1
_KEYCTL: Final = {
    "x86_64": 250,
    "ppc64le": 271,
    "s390x": 280,
    **dict.fromkeys(("aarch64", "riscv64", "loongarch64"), 219),
}
"""The system call's number, by machine: not every C library has a function for it."""


def leave() -> None:
    """From now on this process, and all that it forks, has a session keyring of its own, with nothing in it.

    Whoever has another's may read the keys in it, as any user: credentials of root's, such as Kerberos tickets.
    """
    number = _KEYCTL.get(os.uname().machine)
    if number is not None and sys.maxsize > 2**32:  # a 32-bit program has other numbers
        with suppress(OSError):  # a kernel, or a container, without keyrings: there is none to leave
            libc.syscall(number, _JOIN_SESSION_KEYRING, None)
