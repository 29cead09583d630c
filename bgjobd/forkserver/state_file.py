"""The state of a job as its attempt saves it: a file of two places, written in turn, so that a save which is cut short
costs none that had returned; how the child writes it, and how the daemon reads it.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
from binascii import crc32
from collections.abc import Callable
from typing import NamedTuple

from . import journal_file, spool_names
from .order import Order
from .steps import Carry, with_room

MAX_STATE = 64 * 1024
_PLACE = 68 * 1024
_HEAD = struct.Struct("<QII")
"""Of a place: which save it is, counted from 1; how many bytes of JSON follow; a checksum of both and of these."""

_LARGEST = 2**53


def open_state(spool: int, order: Order) -> int:
    """An empty file of the attempt's, whatever had its name. Raises OSError."""
    name = spool_names.file_name(order.job, order.number, spool_names.STATE)
    mode = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(name, mode, 0o600, dir_fd=spool)
    except FileExistsError:
        _put_aside(spool, name)
        return os.open(name, mode, 0o600, dir_fd=spool)


def _put_aside(spool: int, name: str) -> None:
    """Have nothing of this name, which a job has put there; a directory, with whatever is in it, gets another."""
    try:
        os.unlink(name, dir_fd=spool)
    except IsADirectoryError:
        os.rename(name, f"{name}.{time.monotonic_ns()}", src_dir_fd=spool, dst_dir_fd=spool)


class StateKeeper:
    """One attempt's, in the open file `state`. `carry` has what those before it have saved; `write` writes one after
    the other, and so that no limit of the class's is met.
    """

    def __init__(self, state: int, carry: Carry, write: Callable[[Callable[[], None]], None]) -> None:
        self._state, self._carry, self._write = state, carry, write
        found = os.fstat(state)
        self._own = found.st_dev, found.st_ino
        self._count = 0
        self._place = 0

    def saved_state(self) -> str | None:
        """The state that the attempts before it have left, as JSON text. Raises OSError where the job has closed it."""
        text: str | None = self._carry.read().get("state")
        return text

    def save_state(self, text: str) -> None:
        """Have the JSON text kept, for good; where there is no room, wait for some as long as the attempt may live.
        Raises OSError where the job has closed the file.
        """
        self._count += 1  # one that comes to nothing has its number for itself
        record = _record(self._count, text.encode())
        with_room(lambda: self._write(lambda: self._put(record)))
        self._place = 1 - self._place

    def _put(self, record: bytes) -> None:
        found = os.fstat(self._state)
        if (found.st_dev, found.st_ino) != self._own:  # something else took the number
            raise OSError(errno.EBADF, "the attempt has closed the file of its job's state")
        if os.pwrite(self._state, record, self._place * _PLACE) != len(record):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _record(count: int, text: bytes) -> bytes:
    return _HEAD.pack(count, len(text), _checksum(count, text)) + text


def _checksum(count: int, text: bytes) -> int:
    return crc32(text, crc32(_HEAD.pack(count, len(text), 0)))


class Saved(NamedTuple):
    """The latest save that is whole, the `number`-th, 0 where there is none; `is_torn`: one was cut short, or is just
    being written. The text, of `size` bytes, may be any: a job may have written it by itself.
    """

    number: int = 0
    text: str = ""
    is_torn: bool = False
    size: int = 0


def try_read(spool: int, name: str) -> Saved | None:
    """What is saved in the file of this name; None where there is none. Raises OSError, as for a journal."""
    descriptor = journal_file.try_open(spool, name)
    if descriptor is None:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = os.pread(descriptor, 2 * _PLACE, 0)
    finally:
        os.close(descriptor)
    found = [_saved(content[:_PLACE]), _saved(content[_PLACE:])]
    latest = max(found, key=lambda one: one.number)
    return latest._replace(is_torn=any(one.is_torn for one in found))


def _saved(place: bytes) -> Saved:
    head = place[: _HEAD.size]
    if not any(head):
        return Saved()
    if len(head) < _HEAD.size:
        return Saved(is_torn=True)
    count, length, checksum = _HEAD.unpack(head)
    text = place[_HEAD.size : _HEAD.size + length]
    is_whole = len(text) == length <= MAX_STATE and 0 < count < _LARGEST
    if not is_whole or _checksum(count, text) != checksum:
        return Saved(is_torn=True)
    try:
        return Saved(count, text.decode(), size=length)
    except UnicodeDecodeError:
        return Saved(is_torn=True)
