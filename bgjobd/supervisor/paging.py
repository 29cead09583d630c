"""Runs a program of the configuration with a notice on its stdin, where no job can tell it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.host import sd_notify
from bgjobd.host.child_process import end_of

_PATIENCE: Final = 30.0
"""Seconds that it may take."""


async def run(
    command: Sequence[str],
    notice: Mapping[str, Any],
    pids: set[int],
    say: Callable[[EntryType, str], None],
) -> None:
    """Run it, and say where that fails; its pid is among `pids` until it is reaped."""
    try:
        process = _started(command, notice)
    except OSError as error:
        say(
            EntryType.FAILURE,
            f"{command[0]}, which is to tell of an alert, could not be started: {error.strerror}",
        )
        return
    pids.add(process.pid)
    is_late = False
    try:
        async with asyncio.timeout(_PATIENCE):
            await end_of(process)
    except TimeoutError:
        is_late = True
        process.kill()
        await end_of(process)
    finally:
        pids.discard(process.pid)
    if process.returncode != 0:
        ended = f"was killed, for it took over {_PATIENCE:g} s" if is_late else _ended(process.returncode)
        say(EntryType.FAILURE, f"{command[0]}, which is to tell of an alert, {ended}")


def _ended(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"


def _started(command: Sequence[str], notice: Mapping[str, Any]) -> subprocess.Popen[bytes]:
    descriptor = os.memfd_create("notice", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, json.dumps(notice).encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        environment = sd_notify.without_protocol(os.environ)
        return subprocess.Popen(command, stdin=descriptor, stdout=2, env=environment, cwd="/")
    finally:
        os.close(descriptor)
