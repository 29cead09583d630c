"""The page's process as the daemon sees it: started with it, started again where it ends, and ended with it.

It is a client of the socket like any other; the pipe that is its stdin tells it that the daemon has ended.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.config import Config

_TOKEN_FILE: Final = "web.token"
_IS_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{16,}")
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 60.0
_LONG: Final = 60.0
"""Seconds for which a page has to have run so that its end counts as the first."""


def settings_of(config: Config) -> dict[str, Any]:
    """What the page is told, as its Settings have it. Raises OSError where its token cannot be read or written."""
    web = config.web
    is_unix = str(web.bind).startswith("unix:")
    return {
        "socket": str(config.daemon.socket),
        "bind": str(web.bind),
        "token": None if is_unix else _token(config.daemon.state_dir / _TOKEN_FILE),
        "per_page": web.per_page,
        "actions": web.actions,
        "allow_remote": web.allow_remote,
    }


def _token(file: Path) -> str:
    """The token of this installation: made once, so that a login outlives a restart. What is none lets nobody in."""
    with suppress(FileNotFoundError):
        kept = file.read_bytes().strip()
        if _IS_TOKEN.fullmatch(kept):
            return kept.decode("ascii")
    token = secrets.token_urlsafe(24)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as opened:
        opened.write(token + "\n")
    fresh.replace(file)
    return token


class PageProcess:
    """Keeps one page running; its pid is among `pids` until it is reaped."""

    def __init__(
        self, settings: Mapping[str, Any], pids: set[int], say: Callable[[EntryType, str], None]
    ) -> None:
        self._settings = settings
        self._pids = pids
        self._say = say
        self._process: subprocess.Popen[str] | None = None
        self._is_wanted = True

    async def keep(self) -> None:
        """Start it, and start it again whenever it ends, more and more rarely where it does so at once."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            began = loop.time()
            told = await self._run()
            if not self._is_wanted:
                return
            if loop.time() - began > _LONG:
                pause = _FIRST_PAUSE
            if pause in (_FIRST_PAUSE, _LONGEST_PAUSE):
                hint = "its own message is on the console; [web] bind and enabled are its settings"
                self._say(EntryType.FAILURE, f"the page {told}; starting another; {hint}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        """End it, and start no other; it need not be waited for."""
        self._is_wanted = False
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def _run(self) -> str:
        """What became of one page."""
        try:
            self._process = self._start()
        except OSError as error:
            return f"could not be started: {error.strerror}"
        self._pids.add(self._process.pid)
        await _end_of(self._process)
        self._pids.discard(self._process.pid)
        return f"ended with code {self._process.returncode}"

    def _start(self) -> subprocess.Popen[str]:
        """In the daemon's own session: what ends the daemon at a terminal ends the page."""
        process = subprocess.Popen(
            [sys.executable, "-m", "bgjobd.web"],
            stdin=subprocess.PIPE,
            stdout=2,
            env={name: value for name, value in os.environ.items() if not name.startswith("BGJOBD_")},
            cwd="/",
            text=True,
        )
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(json.dumps(self._settings) + "\n")
            process.stdin.flush()
        return process


async def _end_of(process: subprocess.Popen[str]) -> None:
    """Wait for its end, and reap it."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    pidfd = os.pidfd_open(process.pid)
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
    process.wait()
