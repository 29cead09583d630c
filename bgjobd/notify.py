"""What the daemon tells systemd, by the protocol of sd_notify(3); when to tell it is for those who know.

Where nobody listens, all of this says nothing: the same daemon runs in a terminal.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

PROTOCOL: Final = frozenset(
    {
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "MAINPID"),
        *("LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDNAMES", "FDSTORE"),
        *("CREDENTIALS_DIRECTORY", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE"),
        *("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "MANAGERPIDFDID"),
    }
)
"""The variables that systemd sets for the daemon alone; what it starts would take them for its own."""

_PATIENCE: Final = 0.2
"""Seconds that a full queue of systemd's may take; a READY that is lost would cost the service."""


class Notifier:
    """Sends to the address in $NOTIFY_SOCKET: a path, or an abstract name that begins with @; None is nobody."""

    def __init__(self, address: str | None = None) -> None:
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self._reloads = 0

    def ready(self) -> None:
        """The start is over."""
        self._send("READY=1")

    def reload_begins(self) -> None:
        self._reloads += 1
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def reload_ends(self) -> None:
        """However it ended; of several at a time the last one counts."""
        self._reloads -= 1
        if self._reloads == 0:
            self.ready()

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # Where it fails there is nobody to tell; systemd says itself what it has not heard in time.
            sender.settimeout(_PATIENCE)
            sender.sendto("\n".join(lines).encode(), self._address)


def without_protocol(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that the daemon starts."""
    return {name: value for name, value in environ.items() if name not in PROTOCOL}
