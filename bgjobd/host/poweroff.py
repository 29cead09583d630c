"""Whether the machine, or its user's session, is about to end; what becomes of attempts then is decided elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Mapping
from typing import Final

from bgjobd.host.child_process import end_of
from bgjobd.host.sd_notify import without_protocol

_PATIENCE: Final = 5.0
"""Seconds that systemctl has for its answer, of the 30 that a unit usually has to stop."""


async def is_under_way(environ: Mapping[str, str], pids: set[int]) -> bool:
    """Whether systemd, which runs this daemon, is stopping everything. No, where there is no answer.

    Until systemctl is reaped, its pid is among `pids`.
    """
    if "NOTIFY_SOCKET" not in environ:
        return False
    try:
        asked = _ask(environ)
    except OSError:  # there is no systemctl
        return False
    pids.add(asked.pid)
    try:
        async with asyncio.timeout(_PATIENCE):
            await end_of(asked)
    except TimeoutError:
        asked.kill()  # left to whoever comes after this process, which ends
        return False
    pids.discard(asked.pid)
    return asked.communicate()[0].strip() == "stopping"


def _ask(environ: Mapping[str, str]) -> subprocess.Popen[str]:
    whose = ["--user"] if "MANAGERPID" in environ else []  # which only a user's systemd sets
    return subprocess.Popen(
        ["systemctl", *whose, "is-system-running"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=without_protocol(environ),
        text=True,
    )
