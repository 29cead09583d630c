"""Binds the socket to its path: an old one is replaced, one that answers left alone, and its rights are never wider."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path


class SocketInUseError(Exception):
    """Another server answers at the socket's path."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"another daemon already answers at {path}; stop it first, or set [daemon] socket")


def bind(path: Path, mode: int, gid: int | None) -> socket.socket:
    """A bound socket at the path, which an old one gives up; at no moment are its rights wider than asked for."""
    if path.exists() and not path.is_socket():
        raise FileExistsError(errno.EEXIST, "something that is no socket is in the socket's place", str(path))
    if _is_served(path):
        raise SocketInUseError(path)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    old = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(old)
    try:
        _give(path, mode, gid)
    except OSError:
        listener.close()
        raise
    return listener


def _give(path: Path, mode: int, gid: int | None) -> None:
    """Let others use the socket; what somebody has put in its place meanwhile stays as it is, and is refused."""
    place = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(place).st_mode):
            raise FileExistsError(
                errno.EEXIST, "somebody has put something else in the socket's place", str(path)
            )
        if gid is not None:
            os.chown(f"/proc/self/fd/{place}", -1, gid)
        os.chmod(f"/proc/self/fd/{place}", mode)
    finally:
        os.close(place)


def _is_served(path: Path) -> bool:
    """Whether somebody serves at the path already."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


def inode(path: Path) -> int:
    return path.stat().st_ino
