"""The sockets that systemd hands to the daemon, by the protocol of sd_listen_fds(3); they are served elsewhere."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_FIRST: Final = 3
_IS_NUMBER: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Handed:
    """The socket to serve at, if one was handed over, and a line about each descriptor that is no such thing."""

    listener: socket.socket | None = None
    refused: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        return None if self.listener is None else Path(self.listener.getsockname())


def take(environ: Mapping[str, str]) -> Handed:
    """What was handed to this process: the first Unix socket that listens at a path, the others are closed.

    To be asked once, before anything else is opened: the numbers are all that tells of them.
    """
    number = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid()) or not _IS_NUMBER.fullmatch(number):
        return Handed()
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    listener: socket.socket | None = None
    refused: list[str] = []
    for place in range(int(number)):
        descriptor = _FIRST + place
        if not _try_keep_from_others(descriptor):
            refused.append(f"systemd is said to have handed over descriptor {descriptor}, which is not open")
            break
        why = _why_not(descriptor) if listener is None else "one socket is all that is served"
        if why is None:
            listener = socket.socket(fileno=descriptor)
        else:
            os.close(descriptor)
            name = names[place] if place < len(names) else "unknown"
            text = f"systemd handed over descriptor {descriptor} ({name}), which was closed: {why}"
            refused.append(f"{text}; have the unit hand over one Unix socket alone")
    return Handed(listener, tuple(refused))


def _try_keep_from_others(descriptor: int) -> bool:
    """Let no process that is started inherit it; False where it is not open."""
    try:
        os.set_inheritable(descriptor, False)
    except OSError:
        return False
    return True


def _why_not(descriptor: int) -> str | None:
    """Why the daemon cannot serve at it; None where it can."""
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return "it is no socket"
    with socket.socket(fileno=os.dup(descriptor)) as found:
        if found.family != socket.AF_UNIX:
            return "it is no Unix socket, and the page binds its own port, [web] bind"
        if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return "it is no stream socket that listens"
        name = found.getsockname()
        return None if isinstance(name, str) and name else "it has no path"
