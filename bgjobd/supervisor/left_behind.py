"""Ends what an earlier daemon has left and others may repeat, by the journals alone: before the database is asked.

What has ended so is told by those who see its end; here nothing is recorded but why.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjobd.forkserver import host_fence, spool_names
from bgjobd.forkserver import journal as journals
from bgjobd.supervisor.application import AttemptDirs
from bgjobd.supervisor.processes import LONG_DYING, signal_group, try_open_process
from bgjobd.supervisor.work_dirs import owner_in

_PAUSE: Final = 5.0
"""Seconds between two words that this goes on."""


class LeftBehind:
    """The processes of attempts that nobody of this daemon has started, as far as their journals say that they end
    where their host is cut off.
    """

    def __init__(self, dirs: AttemptDirs) -> None:
        self._dirs = dirs
        self._ending: set[asyncio.Task[None]] = set()

    def end(self) -> None:
        """Have them told to stop, and killed after their grace."""
        with suppress(FileNotFoundError):  # there was no daemon before
            spool = os.open(self._dirs.spool, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                for pidfd, pid, grace in _found(spool, self._dirs):
                    self._ending.add(asyncio.get_running_loop().create_task(_end(pidfd, pid, grace)))
            finally:
                os.close(spool)

    async def wait(self, more_time: Callable[[], None]) -> None:
        """Come back once they are gone; `more_time` is called again and again meanwhile."""
        while self._ending:
            more_time()
            _, self._ending = await asyncio.wait(self._ending, timeout=_PAUSE)


def _found(spool: int, dirs: AttemptDirs) -> Iterator[tuple[int, int, float]]:
    """Each that lives: a pidfd, its pid, and its grace. It is left word of why it is to stop."""
    for name in os.listdir(spool):
        key = spool_names.try_key(name, spool_names.ATTEMPT)
        journal = None if key is None else _try_read(spool, name)
        record = None if journal is None else journal.started
        if key is None or journal is None or record is None or "grace" not in record:
            continue
        if record.get("boot_id") != dirs.life_id:
            continue
        pidfd = try_open_process(journal, _owner(dirs.work, spool_names.directory_name(*key)))
        if pidfd is not None:
            host_fence.leave_word(spool, *key)
            yield pidfd, record["pid"], record["grace"]


def _try_read(spool: int, name: str) -> journals.Journal | None:
    try:
        return journals.try_read(spool, name)
    except OSError:
        return None  # it cannot be read now: its fork server minds it, and whoever adopts it


def _owner(work: Path, name: str) -> int | None:
    try:
        return owner_in(None, str(work / name))
    except OSError:
        return None


async def _end(pidfd: int, pid: int, grace: float) -> None:
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, LONG_DYING)):
            with suppress(OSError):  # whose process it is by now may forbid that
                signal_group(pidfd, pid, number)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await gone.wait()
                return
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
