"""A daemon put together: directories, lock, store, log, loop and socket, in the order that a start and a stop need."""

from __future__ import annotations

import asyncio
import errno
import grp
import os
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from bgjob.words import EntryType
from bgjobd import api, clock, ipc
from bgjobd.config import Config
from bgjobd.core.planner import Lanes
from bgjobd.daemon import Daemon
from bgjobd.lock import lock
from bgjobd.log import Log
from bgjobd.store import database
from bgjobd.store.reader import Reader

SOCKET_GROUP: Final = "bgjob"
_SOCKET_MODE: Final = 0o660


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Daemon]:
    """A daemon that answers at its socket; on leaving it commits what came in and ends, attempts go on.

    Raises AlreadyRunningError, UnusableDatabaseError, SchemaTooNewError, OSError.
    """
    os.umask(0o077)
    _make_directories(config)
    descriptor = lock(config.daemon.state_dir)
    try:
        database.prepare(config.daemon.state_dir)
        log = Log(config.daemon.log_dir, config.log.console, config.log.level, config.log.snapshots)
        try:
            daemon = Daemon(config, clock.Clock(), log, clock.boot_id(), _lanes(config))
            async with _serving(daemon, config):
                yield daemon
        finally:
            log.close()
    finally:
        os.close(descriptor)


@asynccontextmanager
async def _serving(daemon: Daemon, config: Config) -> AsyncIterator[None]:
    def on_bug(method: str, error: Exception) -> None:
        trace = "".join(traceback.format_exception(error))
        daemon.say(EntryType.FAILURE, f"bug: {method} raised {type(error).__name__}: {error}\n{trace}")

    server = ipc.Server(api.methods(daemon), _limits(config), on_bug)
    daemon.start()
    try:
        await server.listen(config.daemon.socket, _SOCKET_MODE, _socket_gid(daemon))
        daemon.start_fork_server()
        daemon.say(EntryType.INFO, f"serving at {config.daemon.socket} (pid {os.getpid()})")
        yield
    finally:
        server.stop_listening()
        await daemon.stop()
        await server.finish()
        daemon.close()
        await asyncio.sleep(0)  # the loop closes the connections' descriptors


def _make_directories(config: Config) -> None:
    """Our own directories, for our eyes only; wider ones are tightened."""
    place = config.daemon
    spool, output = place.runtime_dir / "spool", place.state_dir / "output"
    for directory in (place.state_dir, place.runtime_dir, place.log_dir, spool, output):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = directory.stat()
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"the directory belongs to uid {found.st_uid}", str(directory))
        if found.st_mode & 0o077:
            directory.chmod(0o700)


def _lanes(config: Config) -> Lanes:
    """The configured queues; one that only stored jobs know has no slots of its own, so that they still run."""
    known = {"default": None} | {name: queue.slots for name, queue in config.queues.items()}
    reader = Reader(config.daemon.state_dir)
    stored = reader.queues()
    reader.close()
    return Lanes(config.daemon.slots, dict.fromkeys(stored) | known)


def _limits(config: Config) -> ipc.Limits:
    own = config.socket
    return ipc.Limits(
        max_frame=own.max_frame,
        max_depth=own.max_depth,
        max_connections=own.max_connections,
        max_connections_per_uid=own.max_connections_per_uid,
        max_pipelined=own.max_pipelined,
        max_unread=own.max_unread,
        frame_timeout=own.frame_timeout,
    )


def _socket_gid(daemon: Daemon) -> int | None:
    """The group whose members may connect: only root can give the socket away."""
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(SOCKET_GROUP).gr_gid
    except KeyError:
        daemon.say(EntryType.INFO, f"there is no group {SOCKET_GROUP}; only root can reach the socket")
        return None
