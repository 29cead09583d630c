"""The page's process as the daemon sees it: started with it, started again where it ends, and ended with it.

It is a client of the socket like any other. Its stdin is a line from the daemon: what comes on it is to be sent back,
as a sign of life, and its end tells that the daemon has ended.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import secrets
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from bgjob.words import EntryType
from bgjobd.config.sections import Config
from bgjobd.host import sd_notify
from bgjobd.host.child_process import end_of
from bgjobd.host.journal_priorities import is_for_journald

_TOKEN_FILE: Final = "web.token"
_METRICS_TOKEN_FILE: Final = "metrics.token"
_CREDENTIAL: Final = "web-token"
_LONGEST_TOKEN: Final = 1024
_IS_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{16,%d}" % _LONGEST_TOKEN)
_FIRST_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 60.0
_LAST_MOMENT: Final = 1.0
_BETWEEN_BEATS: Final = 30.0
_MOST_SILENCE: Final = 30.0
_LONG: Final = 60.0
"""Seconds for which a page has to have run so that its end counts as the first."""


def settings_of(config: Config) -> dict[str, Any]:
    """What the page is told, as its Settings have it. Raises OSError where its token cannot be read or written.

    The page speaks on the daemon's console as the daemon does; who wants nothing there, not even where the page is,
    still has what went wrong, for no other place has that.
    """
    web, console = config.web, config.log.console
    is_unix = str(web.bind).startswith("unix:")
    return {
        "socket": str(config.daemon.socket),
        "bind": str(web.bind),
        "token": None if is_unix else _try_credential() or _token(config.daemon.state_dir / _TOKEN_FILE),
        "metrics_token": None if is_unix else _try_token(config.daemon.state_dir / _METRICS_TOKEN_FILE),
        "base_path": web.base_path,
        "per_page": web.per_page,
        "actions": web.actions,
        "allow_remote": web.allow_remote,
        "console": console if console != "auto" else "text" if os.isatty(2) else "json",
        "views": web.views,
        "for_journald": is_for_journald(os.environ),
    }


def _try_credential() -> str | None:
    """The token that systemd was told to give (`LoadCredential=web-token:…`), if it was. Raises OSError where that is
    none: whoever set it does not expect another to be taken.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory:
        return None
    file = Path(directory) / _CREDENTIAL
    try:
        token = file.read_bytes().strip()
    except FileNotFoundError:
        if file.is_symlink():
            raise
        return None
    if not _IS_TOKEN.fullmatch(token):
        rule = f"it is to have 16 to {_LONGEST_TOKEN} letters, digits, - and _ alone"
        raise OSError(errno.EINVAL, rule, str(file))
    return token.decode("ascii")


def _try_token(file: Path) -> str | None:
    """None where it can be neither read nor made: then the page's own token alone opens the metrics."""
    try:
        return _token(file)
    except OSError:
        return None


def _token(file: Path) -> str:
    """The token of this installation: made once, so that a login outlives a restart. What is none lets nobody in,
    nor does one that others may have read, or put there.
    """
    kept = _try_kept(file)
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


def _try_kept(file: Path) -> bytes:
    """What the file has, if it is the owner's alone; nothing where it is none, a link or a pipe."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        found = os.fstat(descriptor)
        is_owners = found.st_uid in (os.geteuid(), os.stat(file.parent).st_uid)
        is_alone = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
        is_private = is_alone and is_owners and not found.st_mode & 0o077
        return os.read(descriptor, _LONGEST_TOKEN + 1).strip() if is_private else b""
    finally:
        os.close(descriptor)


class PageProcess:
    """Keeps one page running; its pid is among `pids` until it is reaped."""

    def __init__(
        self, settings: Mapping[str, Any], pids: set[int], say: Callable[[EntryType, str], None]
    ) -> None:
        self._settings = settings
        self._pids = pids
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._is_wanted = True

    async def keep(self) -> None:
        """Start it, and start it again whenever it ends, more and more rarely where it does so at once."""
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            began = loop.time()
            end = await self._run()
            if not self._is_wanted:
                return
            if loop.time() - began > _LONG:
                pause = _FIRST_PAUSE
            if pause in (_FIRST_PAUSE, _LONGEST_PAUSE):
                hint = "its own message is on the console; [web] bind and enabled are its settings"
                self._say(EntryType.FAILURE, f"the page {end}; starting another; {hint}")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def stop(self) -> None:
        """Tell it to end, and start no other."""
        self._is_wanted = False
        if self._line is not None:
            with suppress(OSError):  # it has ended
                self._line.shutdown(socket.SHUT_WR)

    async def end(self) -> None:
        """After `stop`: give it a moment, then kill it; one that hangs would keep its address for ever."""
        process = self._process
        if process is None:
            return
        try:
            async with asyncio.timeout(_LAST_MOMENT):
                await end_of(process)
        except TimeoutError:
            process.kill()
            await end_of(process)

    async def _run(self) -> str:
        """What became of one page."""
        try:
            process, line = self._start()
        except OSError as error:
            return f"could not be started: {error.strerror}"
        self._process, self._line = process, line
        self._pids.add(process.pid)
        minding = asyncio.create_task(self._mind(process, line))
        try:
            await end_of(process)
        finally:
            self._line = None
            minding.cancel()
            await asyncio.wait([minding])
            line.close()
        self._pids.discard(process.pid)
        return f"ended with code {process.returncode}"

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process and the line to it; in the daemon's own session: what ends that at a terminal ends the page."""
        line, its_end = socket.socketpair()
        with its_end:
            try:
                process = subprocess.Popen(
                    [sys.executable, _isolation(), "-m", "bgjobd.web"],
                    stdin=its_end.fileno(),
                    stdout=2,
                    env=_environment(),
                    cwd="/",
                )
            except OSError:
                line.close()
                raise
        with suppress(OSError):  # it has ended before it heard its settings
            line.sendall(json.dumps(self._settings).encode() + b"\n")
        line.setblocking(False)
        return process, line

    async def _mind(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        """Kill it once it gives no sign of life: nobody can look at it, and it keeps its address from the next."""
        loop = asyncio.get_running_loop()
        with suppress(OSError):  # it has ended, or is to
            while True:
                await asyncio.sleep(_BETWEEN_BEATS)
                try:
                    async with asyncio.timeout(_MOST_SILENCE):
                        await loop.sock_sendall(line, b"\n")
                        if not await loop.sock_recv(line, 1):
                            return
                except TimeoutError:
                    self._say(
                        EntryType.FAILURE, f"the page has not answered for {_MOST_SILENCE:g} s: killing it"
                    )
                    process.kill()
                    return


def _isolation() -> str:
    """What keeps Python from importing what lies about in a directory, as strictly as was done for this process."""
    return "-I" if sys.flags.isolated else "-P"


def _environment() -> dict[str, str]:
    """The daemon's, without what is meant for the daemon alone."""
    inherited = sd_notify.without_protocol(os.environ)
    return {name: value for name, value in inherited.items() if not name.startswith("BGJOBD_")}
