"""What the daemon tells systemd, by the protocol of sd_notify(3); when to tell it is for those who know.

Where nobody listens, all of this says nothing: the same daemon runs in a terminal.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from bgjobd.host.log import escaped

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

_STATUS_EVERY: Final = 1.0
_LONGEST_STATUS: Final = 500
_MORE_TIME: Final = 30.0
_ASKED_EVERY: Final = 10.0
"""Seconds between two askings for more time, each of which asks for _MORE_TIME from then on."""


class Notifier:
    """Sends to an address as $NOTIFY_SOCKET has it: a path, or an abstract name that begins with @; None is nobody.

    `watchdog` is how many seconds may pass between two signs of life; None where nobody counts them.
    """

    def __init__(self, address: str | None = None, watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address is not None and address.startswith("@") else address
        self.watchdog = watchdog
        self._asked_at = -math.inf
        self._status = ""
        self._status_at = -math.inf
        self._status_timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Notifier:
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        allowed = environ.get("WATCHDOG_USEC", "")
        watchdog = int(allowed) / 1e6 if is_ours and allowed.isdecimal() and int(allowed) else None
        return cls(environ.get("NOTIFY_SOCKET"), watchdog)

    def ready(self) -> None:
        """The start is over."""
        self._send("READY=1")

    def reload_begins(self) -> None:
        """A reload begins; no other is under way."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}")

    def reload_ends(self, status: str) -> None:
        """However it ended, which only the status can tell."""
        self._status = _one_line(status)
        self._send("READY=1", f"STATUS={self._status}")

    def stopping(self, status: str) -> None:
        """The end has begun, of whoever asked for it."""
        self._status = _one_line(status)
        self._send("STOPPING=1", f"STATUS={self._status}")

    def alive(self) -> None:
        """The sign of life that the watchdog waits for."""
        self._send("WATCHDOG=1")

    def status(self, tell: Callable[[], str]) -> None:
        """A line for `systemctl status`; asked for when it is sent, which is at most once a second."""
        if self._address is None or self._status_timer is not None:
            return
        loop = asyncio.get_running_loop()
        self._status_timer = loop.call_at(self._status_at + _STATUS_EVERY, self._send_status, tell)

    def _send_status(self, tell: Callable[[], str]) -> None:
        self._status_timer = None
        self._status_at = asyncio.get_running_loop().time()
        before, self._status = self._status, _one_line(tell())
        if self._status != before:
            self._send(f"STATUS={self._status}")

    def more_time(self) -> None:
        """A start or an end goes on: its time is not over before half a minute from now. May be called very often."""
        if self._address is not None and time.monotonic() >= self._asked_at + _ASKED_EVERY:
            self._asked_at = time.monotonic()
            self._send(f"EXTEND_TIMEOUT_USEC={_MORE_TIME * 1e6:.0f}")

    async def keep_asking(self, hear: Callable[[], Awaitable[None]]) -> None:
        """Ask for more time until cancelled, for a wait that may be as long as it likes.

        Asking puts off the watchdog, too (systemd takes the later of both), so each time `hear` has to come back first.
        """
        while True:
            await hear()
            self.more_time()
            await asyncio.sleep(_ASKED_EVERY)

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            # Where it fails there is nobody to tell; systemd says itself what it has not heard in time.
            sender.settimeout(_PATIENCE)
            sender.connect(self._address)  # only so can the kernel wait until there is room in the queue
            sender.send("\n".join(lines).encode())


def _one_line(status: str) -> str:
    """All that a value may be, and no longer than systemd takes, which ignores messages of more than 4096 bytes."""
    line = escaped(" ".join(status.splitlines()))  # systemctl shows it as it is
    return line if len(line) <= _LONGEST_STATUS else f"{line[:_LONGEST_STATUS]}…"


def without_protocol(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a process that the daemon starts."""
    return {name: value for name, value in environ.items() if name not in PROTOCOL}
