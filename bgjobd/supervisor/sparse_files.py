"""Holes: gives up the middle of a file while others write to its end, and reads round what was given up."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from bgjobd.forkserver import libc

_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02
"""FALLOC_FL_… of linux/falloc.h."""

_BLOCK: Final = 4096


_UNIT: Final = 512
"""Bytes of what stat(2) counts as a block."""

_AHEAD: Final = 8 * 1024 * 1024 * 1024
"""Bytes that xfs at most reserves behind the end of a file that grows (xfs(5), allocsize)."""


def allocated(status: os.stat_result) -> int:
    """The bytes of the disk that the file takes; more than its data where somebody has reserved some (fallocate(2))."""
    return status.st_blocks * _UNIT


def bound(descriptor: int, most: int, is_last: bool = False) -> None:
    """Give up the middle of a file that takes more than `most` bytes by an eighth or more; whole blocks only.

    At least the first and the last `most // 2` bytes stay, and the size is what it was. What is reserved behind the end
    goes too, once nobody writes any more, or where it is too much for a file system's own doing. Raises OSError,
    EOPNOTSUPP where the file system cannot do it.
    """
    status = os.fstat(descriptor)
    block = max(status.st_blksize, _BLOCK)
    kept = most // 2
    start, end = -(-kept // block) * block, (status.st_size - kept) // block * block
    excess = max(most // 8, 2 * block)
    is_reserved = allocated(status) >= most + 2 * excess  # which counts as a hole
    if start < end and (end - next_data(descriptor, start) >= excess or is_reserved):
        punch(descriptor, start, end)
        if next_data(descriptor, start) < end:
            raise OSError(errno.EOPNOTSUPP, "the file system does not tell holes from data")
    if is_reserved:
        status = os.fstat(descriptor)
        own = 0 if is_last else min(2 * status.st_size, _AHEAD)
        if allocated(status) >= most + 2 * excess + own:
            os.ftruncate(descriptor, status.st_size)


def punch(descriptor: int, start: int, end: int) -> None:
    """Make a hole of the bytes from `start` to `end`, multiples of the file's block. Raises OSError."""
    libc.fallocate(descriptor, _PUNCH_HOLE | _KEEP_SIZE, start, end - start)


def read(descriptor: int, offset: int, limit: int) -> tuple[int, bytes]:
    """Where data begins from `offset` on, and at most `limit` bytes of it, up to the next hole; b"" at the end."""
    start = next_data(descriptor, offset)
    while not (data := _data_at(descriptor, start, limit)):
        behind = next_data(descriptor, start)
        if behind == start:
            break
        start = behind  # the hole came while this was read
    return start, data


def _data_at(descriptor: int, start: int, limit: int) -> bytes:
    data = os.pread(descriptor, limit, start)
    return data[: _next_hole(descriptor, start) - start]  # looked for last, so that no hole is taken for data


def next_data(descriptor: int, offset: int) -> int:
    """Where data begins from `offset` on; the end of the file where there is none, and no place before `offset`."""
    size = os.fstat(descriptor).st_size  # first: what is appended meanwhile is no hole
    return _sought(descriptor, offset, os.SEEK_DATA, max(offset, size))


def _next_hole(descriptor: int, offset: int) -> int:
    """Where a hole, or the end of the file, comes from `offset` on."""
    return _sought(descriptor, offset, os.SEEK_HOLE, offset)


def _sought(descriptor: int, offset: int, how: int, otherwise: int) -> int:
    try:
        return os.lseek(descriptor, offset, how)
    except OSError as error:
        if error.errno != errno.ENXIO:  # there is no such place
            raise
        return otherwise


def can_punch(directory: Path) -> bool:
    """Whether files in this directory can have holes punched, which differ from data. Raises OSError."""
    descriptor = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        block = max(os.fstat(descriptor).st_blksize, _BLOCK)
        os.pwrite(descriptor, b"x" * (3 * block), 0)
        return _is_punched(descriptor, block)
    finally:
        os.close(descriptor)


def _is_punched(descriptor: int, block: int) -> bool:
    """Punch the second block; whether it is a hole now."""
    try:
        punch(descriptor, block, 2 * block)
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        return False
    return (_next_hole(descriptor, 0), next_data(descriptor, block)) == (block, 2 * block)
