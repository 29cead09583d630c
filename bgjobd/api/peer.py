"""Who is at the other end of a connection, as the kernel knows it."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

from bgjobd.host import container

_NOBODY: Final = 65534
_CREDENTIALS: Final = struct.Struct("iII")
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Python has no name for it
_LONGEST_OPTION: Final = 1024  # bytes, and Python's getsockopt takes no larger buffer: 256 groups
_MOST_GROUPS: Final = 65536  # the kernel's NGROUPS_MAX


@dataclass(frozen=True)
class Caller:
    """Who is at the other end, as the kernel said when the connection was made; one a connection.

    `job` is the one whose attempt that is, None where it is none. `is_unmapped`: of a user that this container knows
    nothing of, so that its numbers are those of anybody.
    """

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    job: int | None = None
    is_unmapped: bool = False

    @cached_property
    def turn(self) -> asyncio.Lock:
        """The connection's: what others may have to wait for is done while it is held, so one thing at a time."""
        return asyncio.Lock()


def try_peer(peer: socket.socket) -> Caller | None:
    """Who is at the other end of this socket; None where the kernel knows nobody."""
    try:
        pid, uid, gid = _CREDENTIALS.unpack(
            peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        )
    except OSError:
        return None
    # (uid_t)-1 is what the kernel says where it knows no peer.
    return (
        None
        if uid == 0xFFFFFFFF
        else Caller(pid, uid, gid, _groups(peer), is_unmapped=uid == _unmapped_uid())
    )


@cache
def _unmapped_uid() -> int | None:
    """The number that users have in this user namespace who are not of it; None where all are."""
    if not container.is_of_other_users():
        return None
    try:
        return int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return _NOBODY


def _groups(peer: socket.socket) -> frozenset[int]:
    """The supplementary groups that the peer had when it connected; none where they cannot be read."""
    try:
        told = peer.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _LONGEST_OPTION)
    except OSError as error:
        return _many_groups(peer) if error.errno == errno.ERANGE else frozenset()
    return frozenset(memoryview(told).cast("I"))


def _many_groups(peer: socket.socket) -> frozenset[int]:
    import ctypes  # here, for hardly anybody is in more groups than Python's getsockopt can tell

    told = (ctypes.c_uint32 * _MOST_GROUPS)()
    size = ctypes.c_uint32(ctypes.sizeof(told))
    libc = ctypes.CDLL(None)
    if libc.getsockopt(peer.fileno(), socket.SOL_SOCKET, _SO_PEERGROUPS, told, ctypes.byref(size)) != 0:
        return frozenset()
    return frozenset(told[: size.value // 4])


class HangUp:
    """Hears that a peer is gone while nothing is read of it."""

    def __init__(self) -> None:
        self._epoll: select.epoll | None = None

    def watch(self, peer: socket.socket, on_hang_up: Callable[[], None]) -> None:
        """Call back once it has closed both ways. Raises OSError where no descriptor is left."""
        if self._epoll is None:
            self._epoll = select.epoll()
            self._epoll.register(peer.fileno(), 0)
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), on_hang_up)

    def unwatch(self) -> None:
        if self._epoll is not None:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None
