"""Waits for the end of a process that this one has started, as the kernel tells of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import Any, Final

_BETWEEN_LOOKS: Final = 1.0
"""Seconds between two looks where no descriptor is left that would tell."""


async def end_of(process: subprocess.Popen[Any]) -> None:
    """Wait for its end, and reap it; whoever else waits for it may have done that."""
    while process.poll() is None:
        try:
            pidfd = os.pidfd_open(process.pid)  # which is its own until it is reaped
        except OSError:
            await asyncio.sleep(_BETWEEN_LOOKS)
            continue
        await _readable(pidfd)


async def _readable(pidfd: int) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
