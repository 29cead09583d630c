"""The file of an attempt's journal: JSON lines in the spool, whose first line decides whether the attempt starts.

The file appears under its name by `link`, whole and never empty: with a `started` record by the attempt's own
process, or with a `fenced` record by a daemon that gives the job back. Whoever comes second finds the name
taken. Later records are appended, in the room that was set aside for them.
"""

from __future__ import annotations

import errno
import os
import resource
import stat
from contextlib import suppress

from . import libc

RESERVE = 16 * 1024
"""Bytes that the file system owes a journal from its start on, so that an end can be recorded however full it is."""

ENDING = 8 * 1024
"""What of them no note takes: a short outcome, that a result waits for room, and the exit."""

EXIT = 2 * 1024
"""What of them no outcome takes: the exit record, twice."""

_PAGE = 4096
_KEEP_SIZE = 1
"""FALLOC_FL_KEEP_SIZE of linux/falloc.h."""

_CANNOT_RESERVE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ENOMEM})
"""Why a record cannot be written now, and can later: it is the file system's trouble, not the journal's."""
_GONE = frozenset({errno.ENOENT, errno.EACCES})
"""Why a file will never be read: it is not there, or the job forbade it. Anything else may pass."""

NO_TRICKS = os.O_NOFOLLOW | os.O_NONBLOCK  # a job may have put anything under the name


def link_first(spool: int, name: str, line: bytes, reserve: int = 0) -> int | None:
    """Create the journal with its first line, in the directory `spool` (a descriptor), and so much room for others.

    Answers the journal's descriptor, open for appending, or None if the name is taken: somebody else decided.
    """
    journal = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600, dir_fd=spool)
    try:
        if os.write(journal, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        set_aside(journal, reserve)
        os.link(f"/proc/self/fd/{journal}", name, src_dir_fd=spool, dst_dir_fd=spool, follow_symlinks=True)
    except FileExistsError:
        os.close(journal)
        return None
    except OSError:
        os.close(journal)
        raise
    return _by_name(spool, name, journal)


def _by_name(spool: int, name: str, journal: int) -> int:
    """The journal, opened by its name: inotify tells of a change by the name that the file was opened by."""
    try:
        named = os.open(name, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | NO_TRICKS, dir_fd=spool)
    except OSError:
        return journal  # somebody has taken the name away
    one, other = os.fstat(named), os.fstat(journal)
    is_same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
    os.close(journal if is_same else named)
    return named if is_same else journal


def set_aside(journal: int, end: int) -> None:
    """Have the file system owe the journal all bytes below `end`, whatever its size. Raises OSError.

    Where a file system cannot do that, an end may find no room. Beyond RLIMIT_FSIZE it is not tried: that may kill.
    """
    known = os.fstat(journal).st_blocks * 512 // _PAGE * _PAGE
    if end <= known:
        return
    most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if most != resource.RLIM_INFINITY and end > most:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    try:
        # And nothing below: an error may take that away.
        libc.fallocate(journal, _KEEP_SIZE, known, end - known)
    except OSError as error:
        if error.errno not in _CANNOT_RESERVE:
            raise


def append_within(journal: int, line: bytes, now: os.stat_result, left: int) -> None:
    """Append a record, whole or not at all, and leave so many bytes to those who come later; `now` is the journal.

    Raises OSError.
    """
    end = now.st_size + 1 + len(line) + left
    if end > now.st_blocks * 512 // _PAGE * _PAGE:
        set_aside(journal, end)
    try:
        append(journal, line)
    except OSError:
        with suppress(OSError):
            os.ftruncate(journal, now.st_size)  # a part of it would take the room that others were left
        raise


def append(journal: int, line: bytes) -> None:
    """Append a record in one write, away from a torn line before it. Raises OSError, also for a write cut short."""
    if os.write(journal, b"\n" + line) <= len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def try_open(spool: int, name: str) -> int | None:
    """What has this name in the spool, open for reading; None where there is nothing to read, nor will be.

    Raises OSError where a file is there and cannot be opened for now.
    """
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | NO_TRICKS, dir_fd=spool)
    except OSError as error:
        if error.errno in _GONE or not _is_file(spool, name):
            return None  # gone, or replaced by something that is no file: either way there is none
        raise


def _is_file(spool: int, name: str) -> bool:
    """Whether a file has this name; asked without a descriptor. Raises OSError."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=spool, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
