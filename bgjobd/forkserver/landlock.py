"""Landlock: what a process takes away from itself, and from all below it, for as long as it lives.

Kernel: Documentation/userspace-api/landlock.rst; numbers and bits are those of linux/landlock.h.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from . import libc

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WHICH_VERSION = 1
_PATH_BENEATH = 1
_SIGNALS = 2
"""Signals to processes outside of the domain, which is the process and those below it."""

SCOPES_SINCE: Final = 6
TCP_SINCE: Final = 4
_FILES_SINCE: Final = 1

_TCP: Final = 1 | 2
"""To bind a port, and to connect to one."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
_REMOVE_AND_MAKE: Final = 0x1FF0
"""Remove directories and files; make devices, directories, files, sockets, pipes and links."""

_REFER, _TRUNCATE = 0x2000, 0x4000
_ADDED: Final = ((2, _REFER), (3, _TRUNCATE))
_OF_FILES: Final = EXECUTE | WRITE_FILE | READ_FILE | _TRUNCATE

READS: Final = EXECUTE | READ_FILE | READ_DIR
WRITES: Final = WRITE_FILE | _REMOVE_AND_MAKE | _REFER | _TRUNCATE


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # Python 3.14 asks for it beside _pack_
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def version() -> int:
    """The version of Landlock's interface that this kernel has; 0 where it has none, or it is switched off."""
    try:
        return libc.syscall(_CREATE_RULESET, None, 0, _WHICH_VERSION)
    except OSError:
        return 0


def is_forbidden() -> bool:
    """Whether the kernel has it, or may have it, and a filter of system calls (seccomp) keeps it from this process."""
    try:
        libc.syscall(_CREATE_RULESET, None, 0, _WHICH_VERSION)
    except PermissionError:
        return True
    except OSError:
        pass
    return False


def has_signal_scope() -> bool:
    """Whether a process can be kept from signalling those outside."""
    return version() >= SCOPES_SINCE


def has_tcp_rules() -> bool:
    """Whether a process can be kept from TCP."""
    return version() >= TCP_SINCE


def has_file_rules() -> bool:
    """Whether a process can be kept from files."""
    return version() >= _FILES_SINCE


def signal_scope() -> int:
    """A ruleset under which nobody outside can be signalled, and all else is as it was. Raises OSError."""
    return _ruleset(0, _SIGNALS)


def no_tcp() -> int:
    """The same under which no TCP can be used either. Raises OSError."""
    return _ruleset(0, _SIGNALS if has_signal_scope() else 0, _TCP)


def file_rules(
    rules: Iterable[tuple[str, int]], passing: Iterable[tuple[str, int]] = (), has_tcp: bool = True
) -> int:
    """A ruleset under which only these paths can be used, each with its rights, and nobody outside signalled.

    The rights at a directory hold for all below it. Raises OSError, also where a path is not there; those that are
    `passing` may be gone.
    """
    known = version()
    handled = _known(READS | WRITES, known)
    ruleset = _ruleset(handled, _SIGNALS if known >= SCOPES_SINCE else 0, 0 if has_tcp else _TCP)
    try:
        for path, rights in rules:
            _allow(ruleset, path, rights & handled)
        for path, rights in passing:
            with suppress(OSError):
                _allow(ruleset, path, rights & handled)
    except BaseException:
        os.close(ruleset)
        raise
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Put the ruleset on this process, which must have given up new privileges. Raises OSError."""
    libc.syscall(_RESTRICT_SELF, ruleset, 0)


def around(excluded: Iterable[str]) -> Iterator[str]:
    """The largest subtrees that hold none of the excluded paths; with the directories above those, nothing itself.

    Landlock grants a subtree and can take no part of it away. Links lead to what is granted under its own name.
    """
    paths = frozenset(map(os.path.realpath, excluded))
    if "/" not in paths:
        yield from _around("/", paths)


def _around(directory: str, excluded: frozenset[str]) -> Iterator[str]:
    above = tuple(path + "/" for path in excluded)
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return  # what cannot be listed cannot be granted in parts
    for entry in entries:
        if entry.is_symlink() or entry.path in excluded:
            continue
        if any(path.startswith(entry.path + "/") for path in above):
            yield from _around(entry.path, excluded)
        else:
            yield entry.path


def _known(rights: int, known: int) -> int:
    return rights & ~sum(right for since, right in _ADDED if known < since)


def _ruleset(handled: int, scoped: int, of_net: int = 0) -> int:
    attributes = _RulesetAttributes(handled, of_net, scoped)
    size = 24 if scoped else 16 if of_net else 8  # older kernels refuse what they do not know
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(attributes), size, 0)
    os.set_inheritable(ruleset, False)
    return ruleset


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        beneath = _PathBeneath(rights, place)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(place)
