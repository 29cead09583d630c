"""The named pipe: one request a line, for programs that can only write to a file; what a request means is the api's.

A line is checked as strictly as what stands in a request's `parameters`. Nobody hears an answer here: a line that
is refused, also because it could not be stored (a full disk, a daemon that ends), is told to `on_refused` and gone.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import stat
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from bgjob import codec
from bgjob.codec import JsonObject
from bgjob.errors import (
    InternalError,
    InvalidNameError,
    InvalidParametersError,
    ProtocolError,
    RequestError,
    ShuttingDownError,
)
from bgjobd.config.sections import Socket
from bgjobd.host import json_portions
from bgjobd.host.log import escaped
from bgjobd.host.pacing import paced

_CHUNK: Final = 65536
_OWNER_ONLY: Final = 0o600
_LAST_LINES: Final = 5.0
"""Seconds that a stop gives to the lines that came in before it."""

_LONGEST_REASON: Final = 500


class LineReader:
    """Cuts a stream of bytes into lines; None stands for one over `max_line` bytes, of which nothing is kept."""

    def __init__(self, max_line: int) -> None:
        self._max_line = max_line
        self._rest = bytearray()
        self._is_skipping = False

    @property
    def is_unfinished(self) -> bool:
        """Whether a line has begun and not ended; not one that was told as too long already."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes | None]:
        """The lines that `data` completes, in order, without their newline; a too long one as soon as it is."""
        lines: list[bytes | None] = []
        *ended, rest = data.split(b"\n")
        for piece in ended:
            lines += self._extend(piece)
            if not self._is_skipping:
                lines.append(bytes(self._rest))
            self._rest.clear()
            self._is_skipping = False
        return lines + self._extend(rest)

    def _extend(self, piece: bytes) -> list[None]:
        """Go on with the line; the answer has its None at the moment when it becomes too long."""
        if self._is_skipping:
            return []
        if len(self._rest) + len(piece) <= self._max_line:
            self._rest += piece
            return []
        self._rest.clear()
        self._is_skipping = True
        return [None]


class Fifo:
    """Reads the pipe at `path` and submits its lines in order, `limits.max_pipelined` at once.

    Beyond that it reads no more, and the kernel holds the writers back. `on_refused` gets one line of text that
    never quotes parameters; `on_bug` hears of exceptions that no writer caused.
    """

    def __init__(
        self,
        path: Path,
        limits: Socket,
        *,
        submit: Callable[[JsonObject], Awaitable[object]],
        on_refused: Callable[[str], None],
        on_bug: Callable[[str, Exception], None],
    ) -> None:
        self._path = path
        self._limits = limits
        self._submit = submit
        self._on_refused = on_refused
        self._on_bug = on_bug
        self._lines = LineReader(limits.max_frame)
        self._backlog: deque[bytes | None] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        self._reading = asyncio.Lock()
        self._descriptor: int | None = None
        self._gid: int | None = None

    def open(self, mode: int, gid: int | None) -> None:
        """Make the pipe, or take over the one that an earlier daemon of ours left, and read it from now on.

        Raises OSError for anything else in its place. Whoever may read it can take lines away: a mode such as
        0o620 lets the group write only.
        """
        self._gid = gid
        self._descriptor = _open(self._path, mode, gid)
        self._read_on()

    def set_mode(self, mode: int) -> None:
        """Let others write to it from now on, or let them no more: then another takes its place, which nobody has open.

        Raises OSError.
        """
        if self._descriptor is None:
            return
        if not _is_open_to_more(os.fstat(self._descriptor), mode, self._gid):
            _set_rights(self._descriptor, mode, self._gid)
            return
        self._take_last()
        self._refuse_rest("the pipe was closed to its writer before the line had ended")
        self.open(mode, self._gid)
        if self._backlog or self._under_way:
            self._pause()  # until those are settled

    async def stop(self) -> None:
        """Take what is in the pipe, close it, and wait some seconds until that is submitted.

        The pipe stays in its place: a writer waits there for the next daemon, and makes no regular file.
        """
        if self._descriptor is None:
            return
        self._take_last()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_LINES):
                while self._under_way:
                    await asyncio.wait(self._under_way)
        while self._backlog:
            self._backlog.popleft()
            self._refuse(ShuttingDownError())
        self._refuse_rest("the daemon stopped before the line had ended")

    def _take_last(self) -> None:
        """Take what is in the pipe, and close it."""
        assert self._descriptor is not None
        self._pause()
        last = _all_in(self._descriptor)
        os.close(self._descriptor)
        self._descriptor = None
        self._take(last)

    def _refuse_rest(self, reason: str) -> None:
        """The rest of a line that has begun will not come."""
        if self._lines.is_unfinished:
            self._refuse(ProtocolError(reason))
        self._lines = LineReader(self._limits.max_frame)

    # Lines

    def _on_readable(self) -> None:
        assert self._descriptor is not None
        with suppress(BlockingIOError):
            self._take(os.read(self._descriptor, _CHUNK))

    def _take(self, data: bytes) -> None:
        self._backlog += (line for line in self._lines.feed(data) if line is None or line.strip())
        self._submit_backlog()
        if self._backlog or len(self._under_way) >= self._limits.max_pipelined:
            self._pause()

    def _submit_backlog(self) -> None:
        while self._backlog and len(self._under_way) < self._limits.max_pipelined:
            task = asyncio.ensure_future(self._settle(self._backlog.popleft()))
            self._under_way.add(task)
            task.add_done_callback(self._on_settled)

    def _on_settled(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._submit_backlog()
        if not self._under_way:
            self._read_on()

    async def _settle(self, line: bytes | None) -> None:
        """Submit the line, or tell why it is refused."""
        try:
            if line is None:
                raise ProtocolError(f"a line is longer than {self._limits.max_frame} bytes")
            await self._submit(await self._read(line))
        except (ProtocolError, RequestError) as error:
            self._refuse(error)
        except Exception as error:
            self._on_bug("a line of the named pipe", error)
            self._refuse(InternalError(reason=type(error).__name__))

    async def _read(self, line: bytes) -> JsonObject:
        """The parameters in a line; in portions where it is long, and lines behind it wait, for they have an order."""
        if len(line) <= json_portions.PORTION and not self._reading.locked():
            return codec.parse_parameters(line, self._limits.max_depth)
        async with self._reading:
            return await paced(json_portions.parameters_in(line, self._limits.max_depth))

    def _refuse(self, error: ProtocolError | RequestError) -> None:
        reason = escaped(_reason(error)[: _LONGEST_REASON + 1])  # it may quote a name as long as the line
        self._on_refused(reason if len(reason) <= _LONGEST_REASON else f"{reason[:_LONGEST_REASON]}…")

    # Reading

    def _read_on(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().add_reader(self._descriptor, self._on_readable)

    def _pause(self) -> None:
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)


def _reason(error: ProtocolError | RequestError) -> str:
    """The error's text, without values of the line where it quotes them: they may be secrets."""
    match error:
        case InvalidParametersError():
            paths = (problem["path"] or "parameters" for problem in error.parameters["problems"])
            return f"the parameters do not fit the method: {', '.join(dict.fromkeys(paths))}"
        case InvalidNameError():
            return f"{error.parameters['field']} is not a valid name"
        case _:
            return str(error)


def _open(path: Path, mode: int, gid: int | None) -> int:
    _make(path)
    _refuse_others(path, os.lstat(path))  # before the open: that of a device can have an effect
    # Also open for writing, so that there is no end of file when a writer leaves.
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        _refuse_others(path, found)
        if _is_open_to_more(found, mode, gid):
            os.unlink(path)
            fresh = _open(path, mode, gid)
            os.close(descriptor)  # by now: who waited for a reader of it learns that there is none any more
            return fresh
        _set_rights(descriptor, mode, gid)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_open_to_more(found: os.stat_result, mode: int, gid: int | None) -> bool:
    """Whether somebody may have the pipe open who is not to write to it: no mode takes that back."""
    is_anothers = gid not in (None, found.st_gid) and bool(found.st_mode & stat.S_IRWXG)
    return is_anothers or bool(stat.S_IMODE(found.st_mode) & ~mode)


def _make(path: Path) -> None:
    try:
        os.mkfifo(path, _OWNER_ONLY)
    except FileExistsError:
        return
    except OSError as error:  # it does not say where
        raise OSError(error.errno, error.strerror, str(path)) from None


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISFIFO(found.st_mode):
        raise FileExistsError(
            errno.EEXIST, "something that is no named pipe is in the named pipe's place", str(path)
        )
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, f"the named pipe belongs to uid {found.st_uid}", str(path))


def _set_rights(descriptor: int, mode: int, gid: int | None) -> None:
    """Give the pipe its group and mode; neither the old group nor the new one has more at any moment."""
    found = os.fstat(descriptor)
    if stat.S_IMODE(found.st_mode) == mode and gid in (None, found.st_gid):
        return
    os.fchmod(descriptor, _OWNER_ONLY & mode)
    if gid is not None:
        os.fchown(descriptor, -1, gid)
    os.fchmod(descriptor, mode)


def _all_in(descriptor: int) -> bytes:
    """Everything that is in the pipe, in one read, so that one who never stops writing cannot hold up an end."""
    try:
        return os.read(descriptor, fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ))
    except BlockingIOError:
        return b""
